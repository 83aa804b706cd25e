"""Proved entries: what each requirement asks of every cell, its sections, breakpoints and ends.

The cells are the declared domain of the parameters, and the sections of a cell with their breakpoints are (0, oo). So a
requirement holds if, in every cell, something holds inside every section, at every breakpoint, and at r -> 0 and oo.
"""

from collections.abc import Callable, Mapping
from typing import Any

import sympy
from sympy import Expr, Integer, Rational

from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Kind
from sapo_gates.recheck.boxes import enclose, everywhere, is_at_most, is_defined, lies_in, require
from sapo_gates.recheck.cells import Branch, Cell, Entry, Section
from sapo_gates.recheck.claims import Claim, at_end, show
from sapo_gates.recheck.identities import same
from sapo_gates.recheck.limits import Limit
from sapo_gates.recheck.statements import PROFILES

HALF = Rational(1, 2)
DECAYS, AT_MOST_ONE = Claim("weight", "decays"), Claim("weight", "at most", Integer(1))


def proved(branch: Branch, kind: str, number: Any, evidence: Entry) -> None:
    """The evidence shows the requirement of every part, or on every cell of the declared domain."""
    if "parts" in evidence:
        return mixed(branch, kind, evidence["parts"])
    for cell, entry in branch.cells(evidence["cells"]):
        for section in cell.sections:
            branch.value_exists(section)
        PROOFS[kind](branch, number, cell, entry)


def mixed(branch: Branch, kind: str, parts: Any) -> None:
    """The formula is a sum of share * part, shares >= 0 of sum 1, and every part is a gate that meets the requirement.

    What the profiles ask for is true of such a sum if it is of every part; w(1) = 1 where it is so by both limits of
    each. A part's parameters stand for expressions in the branch's, whose values lie in its own domains.
    """
    require(kind in PROFILES["trust-region"], "parts do not show {}", kind)
    total, shares = Integer(0), Integer(0)
    for shown in parts:
        own = branch.part(shown["gate"])
        values = {p: branch.read(shown["values"][name]) for name, p in own.parameters.items()}
        for p, value in values.items():
            require(lies_in(value, own.domain[p], branch.domain), "{} = {} leaves its domain", p, value)
        share = branch.read(shown["share"])
        require(everywhere(share, branch.domain, lambda x: x.low >= 0), "the share {} may be negative", share)
        for one in (kind, "first-order-agreement") if kind == "unit-peak" else (kind,):
            proved(own, one, None, shown)
        require(own.kind == branch.kind, "a part declares its {}", own.kind)
        total, shares = total + share * substitute(own.declared, values), shares + share
    holds = branch.read(sympy.sstr(total), r, z) == branch.declared and same(shares, Integer(1))
    require(holds, "the parts are not {}", branch.declared)


# Inside, at breakpoints, and at r = 1 -----------------------------------------------------------------------------


def inside(branch: Branch, cell: Cell, entry: Entry, *claims: Claim, side: int = 0) -> None:
    """The claims hold on every section, or on those of one side of r = 1."""
    for section, shown in zip(cell.sections, entry["sections"], strict=True):
        for claim in claims if side in (0, section.outward) else ():
            show(branch, section, claim, shown[claim.name])


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
    require(is_smooth(branch, before, after, quantity), "the {} jumps at {}", quantity, before.ends[1])
    require(is_filled(branch, before, after, quantity), "the {} at {} is not its limit", quantity, before.ends[1])


def no_lone_values(branch: Branch, cell: Cell) -> None:
    """What holds of w inside the sections holds at their breakpoints too: there w is one of its limits."""
    for pair in cell.breakpoints:
        require(is_filled(branch, *pair, "weight"), "at {} the text gives w a value of its own", pair[0].ends[1])


def weight_is_one(branch: Branch, cell: Cell, *, limits: bool) -> None:
    """w(1) = 1 as the text says it there, or by both limits; limits: by these in any case. A declared f has a slope."""
    if branch.kind == "value":
        continuous_at(branch, *cell.at_one, "value")
    there = branch.text_at(cell.at_one[0], "weight")
    found = branch.limits_at(*cell.at_one, "weight") if limits or there is None else (there,)
    holds = all(isinstance(one, Expr) and same(one, Integer(1)) for one in found)
    require(holds, "w(1) = 1 does not hold")


def does_not_jump_up(branch: Branch, cell: Cell, before: Section, after: Section) -> None:
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
        require(_is_below(far, near, cell), "w jumps up, away from r = 1, at {}", before.ends[1])


def _is_below(a: Expr | Limit, b: Any, cell: Cell) -> bool:
    if isinstance(a, Expr) and isinstance(b, Expr):
        return is_at_most(a - b, 0, cell.parameters)
    high, low = (one.number if isinstance(one, Limit) else enclose(one, cell.parameters) for one in (a, b))
    return bool((high + -low).high <= 0)


# The requirements of the profiles on one cell ---------------------------------------------------------------------


def continuously_differentiable(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """f and w are defined and continuous inside every section, and across every breakpoint."""
    inside(branch, cell, entry, *(Claim(quantity, "defined") for quantity in branch.declared_kinds))
    for pair in cell.breakpoints:
        for quantity in branch.declared_kinds:
            continuous_at(branch, *pair, quantity)


def monotone_decay(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """w falls inside every section, and does not jump up away from r = 1."""
    inside(branch, cell, entry, DECAYS)
    for pair in cell.breakpoints:
        does_not_jump_up(branch, cell, *pair)
    no_lone_values(branch, cell)


def unit_peak(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """w(1) = 1, and w <= 1: box by box, or because w decays."""
    decays = all(DECAYS.name in shown for shown in entry["sections"])
    weight_is_one(branch, cell, limits=not decays)
    if decays:
        monotone_decay(branch, _, cell, entry)
    else:
        inside(branch, cell, entry, AT_MOST_ONE)
        no_lone_values(branch, cell)


def nonnegative_weight(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """w >= 0 inside every section, and at breakpoints."""
    inside(branch, cell, entry, Claim("weight", "at least"))
    no_lone_values(branch, cell)


def first_order_agreement(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """f is continuous at 1 and w -> 1 from both sides."""
    weight_is_one(branch, cell, limits=True)


def vanishing_score(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """Every term of phi tends to 0 as r -> oo, or falls like a power of r."""
    at_end(branch, cell, entry, "infinity", "score", lambda rule, found:
           found.is_zero if rule == "limit" else found.tends(-1))  # fmt: skip


def bounded_value(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """f is bounded inside and towards both ends; where only w is declared, w is, and phi is integrable over log r."""
    quantity = branch.declared_kinds[0]
    bounded_inside(branch, cell, entry, quantity)
    if cell.ends_at_zero:  # else r = 0 is a place inside
        at_end(branch, cell, entry, "zero", quantity, lambda rule, found:
               not found.is_infinite if rule == "limit" else quantity == "weight" and found.tends(1))  # fmt: skip
    at_end(branch, cell, entry, "infinity", quantity, lambda rule, found:
           quantity == "value" and not found.is_infinite if rule == "limit"
           else quantity == "weight" and found.tends(-1))  # fmt: skip


def bounded_score(branch: Branch, _: Any, cell: Cell, entry: Entry) -> None:
    """w is bounded inside, and phi towards both ends: by its limit, or because it falls towards them."""
    bounded_inside(branch, cell, entry, "weight")
    for name, sign in (("zero", 1), ("infinity", -1)):
        if cell.ends_at_zero or name == "infinity":
            at_end(branch, cell, entry, name, "score", lambda rule, found, sign=sign:
                   not found.is_infinite if rule == "limit" else found.tends(sign))  # fmt: skip


def bounded_inside(branch: Branch, cell: Cell, entry: Entry, quantity: Kind) -> None:
    """Continuous inside every section, with finite limits at every breakpoint."""
    inside(branch, cell, entry, Claim(quantity, "defined"))
    for pair in cell.breakpoints:
        finite_at(branch, *pair, quantity)


def finite_at(branch: Branch, before: Section, after: Section, quantity: Kind) -> None:
    """Both one-sided limits are numbers."""
    for side in branch.limits_at(before, after, quantity):
        require(isinstance(side, Expr) or not side.is_infinite, "no finite limit at {}", before.ends[1])


def value_continuous_at(branch: Branch, before: Section, after: Section) -> None:
    """f is: as the text has it, or as the integral of what is bounded."""
    if branch.kind == "value":
        continuous_at(branch, before, after, "value")
    else:
        finite_at(branch, before, after, "weight")


# The requirements that users state, on one cell -------------------------------------------------------------------


def half_width(branch: Branch, h: Any, cell: Cell, entry: Entry) -> None:
    """On each side of 1, at a breakpoint at most h away, w is continuous and <= 1/2, or tends to less than 1/2."""
    require(h > 0, "a half-width is a distance > 0")
    for side in (-1, 1):
        pairs = [(a, b) for a, b in cell.breakpoints if (a.outward, b.outward) == (side, side)]
        near = [pair for pair in pairs if _is_within(h, side, pair[0].ends[1], cell)]
        require(any(_halves(branch, cell, *pair) for pair in near), "w <= 1/2 is not shown within {} of 1", h)


def _is_within(h: Any, side: int, ratio: Expr, cell: Cell) -> bool:
    """The ratio, which is one, is at most that far from 1."""
    positive = everywhere(ratio, cell.parameters, lambda x: x.is_positive)
    return positive and is_at_most(side * (ratio - 1), h, cell.parameters)


def _halves(branch: Branch, cell: Cell, before: Section, after: Section) -> bool:
    limits = [limit for limit in branch.limits_at(before, after, "weight") if isinstance(limit, Expr)]
    if is_smooth(branch, before, after, "weight") and is_filled(branch, before, after, "weight"):
        return is_at_most(limits[0], HALF, cell.parameters)
    return any(everywhere(one - HALF, cell.parameters, lambda x: x.is_negative) for one in limits)


def sup_score(branch: Branch, c: Any, cell: Cell, entry: Entry) -> None:
    """phi <= c inside every section, and at breakpoints."""
    inside(branch, cell, entry, Claim("score", "at most", c))
    no_lone_values(branch, cell)


def smoothness(branch: Branch, order: Any, cell: Cell, entry: Entry) -> None:
    """f, w and the derivatives of w below the order are defined inside, and agree across every breakpoint."""
    quantities = branch.declared_kinds[:1] if order == 0 else branch.declared_kinds
    inside(branch, cell, entry, *(Claim(quantity, "defined") for quantity in quantities))
    for section in cell.sections:
        holds = all(is_defined(branch.derivative(section, "weight", j), section.box) for j in range(1, int(order)))
        require(holds, "a derivative is not defined at r = {}", section.ratio)
    for before, after in cell.breakpoints:
        value_continuous_at(branch, before, after)
        holds = all(is_smooth(branch, before, after, "weight", j) for j in range(int(order)))
        require(holds, "a derivative of f jumps at {}", before.ends[1])
    if order > 0:
        no_lone_values(branch, cell)


def weight_at_zero(branch: Branch, c: Any, cell: Cell, entry: Entry) -> None:
    """w -> at most c as r -> 0."""
    require(len(entry["zero"]) == 1, "one limit at r = 0 is needed")
    at_end(branch, cell, entry, "zero", "weight", lambda rule, found:
           rule == "limit" and not found.is_infinite and found.is_at_most(c))  # fmt: skip


def tail_order(branch: Branch, order: Any, cell: Cell, entry: Entry) -> None:
    """Every term of phi goes like r^(1 - p) or less as r -> oo."""
    at_end(branch, cell, entry, "infinity", "weight", lambda rule, found:
           rule == "slope" and found.is_at_most(1 - order))  # fmt: skip


def pessimistic(branch: Branch, side: int, cell: Cell, entry: Entry) -> None:
    """f is continuous on the side, and f' = w at most 1 there if it is the kill side, at least 1 if the pass side."""
    outward = side if branch.sign == "positive" else -side
    slope = AT_MOST_ONE if side > 0 else Claim("weight", "at least", Integer(1))
    values = [Claim("value", "defined")] if branch.kind == "value" else []
    inside(branch, cell, entry, *values, slope, side=outward)
    for before, after in cell.breakpoints:
        if outward in (before.outward, after.outward):
            value_continuous_at(branch, before, after)


PROOFS: Mapping[str, Callable[[Branch, Any, Cell, Entry], None]] = {
    "continuously-differentiable": continuously_differentiable,
    "unit-peak": unit_peak,
    "monotone-decay": monotone_decay,
    "vanishing-score": vanishing_score,
    "nonnegative-weight": nonnegative_weight,
    "bounded-value": bounded_value,
    "bounded-score": bounded_score,
    "first-order-agreement": first_order_agreement,
    "half_width": half_width,
    "sup score": sup_score,
    "smoothness": smoothness,
    "weight(0)": weight_at_zero,
    "tail order": tail_order,
    "pessimistic on kill side": lambda branch, _, cell, entry: pessimistic(branch, 1, cell, entry),
    "pessimistic on pass side": lambda branch, _, cell, entry: pessimistic(branch, -1, cell, entry),
}
