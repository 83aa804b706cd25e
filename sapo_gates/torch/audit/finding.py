"""The answer to one property: it holds, it fails at an input, or it does not apply."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Answer = Literal["holds", "fails", "not-applicable"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """id: the property. says: why. input: for a failure, the smallest input found that shows it."""

    id: str
    verdict: Answer
    says: str
    input: Mapping[str, Any] = field(default_factory=dict)


def holds(id: str, says: str) -> Finding:
    """The property holds at every input tried."""
    return Finding(id=id, verdict="holds", says=says)


def fails(id: str, says: str, **at: Any) -> Finding:
    """The property fails at an input."""
    return Finding(id=id, verdict="fails", says=says, input=at)


def inapplicable(id: str, says: str) -> Finding:
    """The property says nothing about such a function."""
    return Finding(id=id, verdict="not-applicable", says=says)
