"""Certified gates as torch functions of the log-ratio."""

from sapo_gates.torch.runtime import TorchGate
from sapo_gates.torch.surrogate import surrogate

__all__ = ["TorchGate", "surrogate"]
