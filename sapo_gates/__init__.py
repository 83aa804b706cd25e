"""Prove, look at and train with gate functions for GRPO/SAPO."""

from sapo_gates.certificate import Certificate, certify, load_certificate
from sapo_gates.families import FAMILIES
from sapo_gates.gate import Domain, Gate, Parameter
from sapo_gates.gatefile import load_gate

__all__ = ["FAMILIES", "Certificate", "Domain", "Gate", "Parameter", "certify", "load_certificate", "load_gate"]
