"""What a foreign loss or gate really does, property by property, each failure with a small input that shows it."""

from sapo_gates.torch.audit.audit import PROPERTIES, Audit, audit
from sapo_gates.torch.audit.finding import Finding
from sapo_gates.torch.audit.shapes import SHAPES

__all__ = ["PROPERTIES", "SHAPES", "Audit", "Finding", "audit"]
