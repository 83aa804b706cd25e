"""Proved entries of the profiles: what each requirement asks of every cell, its sections, breakpoints and ends."""

from collections.abc import Mapping
from typing import Any, cast

from sympy import Expr, Integer

from sapo_gates.gate import Kind
from sapo_gates.recheck.boxes import enclose, is_at_most_zero
from sapo_gates.recheck.cells import Branch, Cell, Section, require
from sapo_gates.recheck.claims import at_end, claim
from sapo_gates.recheck.identities import same
from sapo_gates.recheck.limits import Limit

Entry = Mapping[str, Any]
Cells = list[tuple[Cell, Entry]]


# What is asked of a breakpoint ------------------------------------------------------------------------------------


def is_smooth(branch: Branch, before: Section, after: Section, quantity: Kind, order: int = 0) -> bool:
    """Both one-sided limits are one finite expression."""
    left, right = branch.limits_at(before, after, quantity, order)
    return isinstance(left, Expr) and isinstance(right, Expr) and same(left, right)


def is_filled(branch: Branch, before: Section, after: Section, quantity: Kind) -> bool:
    """What the text says at the breakpoint itself is one of the one-sided limits (or it says nothing there)."""
    there = branch.text_at(before, quantity)
    sides = branch.limits_at(before, after, quantity)
    return there is None or any(isinstance(side, Expr) and same(there, side) for side in sides)


def continuous_at(branch: Branch, before: Section, after: Section, quantity: Kind) -> None:
    """One-sided limits and text agree."""
    require(is_smooth(branch, before, after, quantity), "the {} jumps at {}", quantity, before.upper)
    require(is_filled(branch, before, after, quantity), "the {} at {} is not its limit", quantity, before.upper)


def _no_lone_values(branch: Branch, cell: Cell) -> None:
    for pair in cell.breakpoints:
        require(is_filled(branch, *pair, "weight"), "at {} the text gives w a value of its own", pair[0].upper)


def _weight_is_one(branch: Branch, cell: Cell, *, limits: bool) -> None:
    """w(1) = 1 as the text says it there, or by both limits; limits: by these in any case."""
    there = branch.text_at(cell.at_one[0], "weight")
    found = branch.limits_at(*cell.at_one, "weight") if limits or there is None else (there,)
    holds = all(isinstance(one, Expr) and same(one, Integer(1)) for one in found)
    require(holds, "w(1) = 1 does not hold")


def _does_not_jump_up(branch: Branch, cell: Cell, before: Section, after: Section) -> None:
    """Away from r = 1 w does not jump upwards; at r = 1, where the text says what w is, neither side is larger."""
    left, right = branch.limits_at(before, after, "weight")
    if is_smooth(branch, before, after, "weight"):
        return
    if (before, after) == cell.at_one:
        there = branch.text_at(before, "weight")
        rises = [] if there is None else [(side, there) for side in (left, right)]
    else:
        rises = [(right, left) if after.outward > 0 else (left, right)]
    for far, near in rises:
        require(_at_most(far, near, cell), "w jumps up, away from r = 1, at {}", before.upper)


def _at_most(a: Expr | Limit, b: Expr | Limit, cell: Cell) -> bool:
    if not isinstance(a, Limit) and not isinstance(b, Limit):
        return is_at_most_zero(cast(Any, a) - b, cell.parameters)
    low, high = (enclose(one, cell.parameters) if not isinstance(one, Limit) else one.number for one in (b, a))
    return bool((high + -low).high <= 0)


# One check for each requirement -----------------------------------------------------------------------------------


def claimed(branch: Branch, evidence: Entry, *names: str) -> Cells:
    """The claims hold on every section of every cell, and the cells are the declared domain."""
    cells = branch.cells(evidence["cells"])
    for cell, entry in cells:
        for section, shown in zip(cell.sections, entry["sections"], strict=True):
            require(set(shown) == set(names), "on a section {} are shown, not {}", sorted(shown), names)
            for name in names:
                key = section, name, repr(shown[name])
                if key not in branch.known:
                    claim(branch, section, name, shown[name])
                    branch.known[key] = True
    return cells


def continuously_differentiable(branch: Branch, evidence: Entry) -> None:
    """f and w are defined and continuous inside every section, and across every breakpoint."""
    quantities: tuple[Kind, ...] = ("value", "weight") if branch.kind == "value" else ("weight",)
    for cell, _ in claimed(branch, evidence, *(f"{quantity} defined" for quantity in quantities)):
        for pair in cell.breakpoints:
            for quantity in quantities:
                continuous_at(branch, *pair, quantity)


def monotone_decay(branch: Branch, evidence: Entry) -> list[Cell]:
    """w falls inside every section, and does not jump up away from r = 1."""
    cells = [cell for cell, _ in claimed(branch, evidence, "decay")]
    for cell in cells:
        for pair in cell.breakpoints:
            _does_not_jump_up(branch, cell, *pair)
        _no_lone_values(branch, cell)
    return cells


def unit_peak(branch: Branch, evidence: Entry, decay: list[Cell] | None) -> None:
    """w(1) = 1, and w <= 1: because w decays, or box by box."""
    by_decay = evidence == {"by": "monotone-decay"}
    if not by_decay:
        decay = [cell for cell, _ in claimed(branch, evidence, "at most one")]
    require(decay is not None, "monotone-decay is not proved")
    for cell in decay or ():
        _weight_is_one(branch, cell, limits=not by_decay)
        _no_lone_values(branch, cell)


def nonnegative_weight(branch: Branch, evidence: Entry) -> None:
    """w >= 0 inside every section, and at breakpoints."""
    for cell, _ in claimed(branch, evidence, "nonnegative"):
        _no_lone_values(branch, cell)


def first_order_agreement(branch: Branch, evidence: Entry) -> None:
    """f is continuous at 1 and w -> 1 from both sides."""
    for cell, _ in branch.cells(evidence["cells"]):
        _weight_is_one(branch, cell, limits=True)
        if branch.kind == "value":
            continuous_at(branch, *cell.at_one, "value")


def vanishing_score(branch: Branch, evidence: Entry) -> None:
    """Every term of phi tends to 0 as r -> oo, or falls like a power of r."""
    for cell, entry in branch.cells(evidence["cells"]):
        at_end(branch, cell.sections[-1], entry["infinity"], "score", _vanishes)


def bounded_score(branch: Branch, evidence: Entry) -> None:
    """w is bounded inside, and phi towards both ends."""
    for cell, entry in _bounded_inside(branch, evidence, "weight"):
        if cell.chart != "scaled":  # where r = 0 is not an end but a place inside
            at_end(branch, cell.sections[0], entry["zero"], "score", _rises_from_zero)
        at_end(branch, cell.sections[-1], entry["infinity"], "score", _falls_or_has_limit)


def bounded_value(branch: Branch, evidence: Entry) -> None:
    """f is bounded inside and towards both ends; where only w is declared, w is, or phi falls like a power of r."""
    quantity: Kind = "value" if branch.kind == "value" else "weight"
    for cell, entry in _bounded_inside(branch, evidence, quantity):
        if cell.chart != "scaled":
            at_end(branch, cell.sections[0], entry["zero"], quantity,
                   _has_limit if quantity == "value" else _rises_from_zero)  # fmt: skip
        at_end(branch, cell.sections[-1], entry["infinity"], quantity,
               _has_limit if quantity == "value" else _falls)  # fmt: skip


def _bounded_inside(branch: Branch, evidence: Entry, quantity: Kind) -> Cells:
    """Continuous inside every section, with finite limits at every breakpoint."""
    cells = claimed(branch, evidence, f"{quantity} defined")
    for cell, _ in cells:
        for before, after in cell.breakpoints:
            for side in branch.limits_at(before, after, quantity):
                require(isinstance(side, Expr) or not side.is_infinite, "no finite limit at {}", before.upper)
    return cells


# What is asked of a term at an end ----------------------------------------------------------------------------------


def _has_limit(rule: str, found: Limit) -> bool:
    return rule == "limit" and not found.is_infinite


def _falls(rule: str, found: Limit) -> bool:
    """phi goes like a negative power of r as r -> oo, or faster: it vanishes, and w is integrable."""
    return rule == "slope" and found.tends(-1)


def _vanishes(rule: str, found: Limit) -> bool:
    return _falls(rule, found) or (rule == "limit" and found.is_zero)


def _falls_or_has_limit(rule: str, found: Limit) -> bool:
    return _falls(rule, found) or _has_limit(rule, found)


def _rises_from_zero(rule: str, found: Limit) -> bool:
    """Finite as r -> 0, or phi goes like a positive power of r there: it vanishes, and w is integrable."""
    return _has_limit(rule, found) or (rule == "slope" and found.tends(1))
