"""Prove, look at and train with gate functions for GRPO/SAPO."""

from typing import TYPE_CHECKING, Any

from sapo_gates.certificate import Certificate, certify, load_certificate
from sapo_gates.gate import Domain, Gate, Parameter
from sapo_gates.gatefile import load_gate

if TYPE_CHECKING:
    from sapo_gates.families import FAMILIES

__all__ = ["FAMILIES", "Certificate", "Domain", "Gate", "Parameter", "certify", "load_certificate", "load_gate"]


def __getattr__(name: str) -> Any:
    """FAMILIES is built when it is asked for: sympy takes a tenth of a second for its forty formulas."""
    if name != "FAMILIES":
        raise AttributeError(f"module 'sapo_gates' has no attribute {name!r}")
    from sapo_gates.families import FAMILIES

    return FAMILIES
