"""Refuted entries: a place with exact rational numbers at which the requirement fails.

The evidence is a cell over the one point of the parameters that the witness names. Its ratios are breakpoints of the
cell, so that f, w and phi there are what limits and text say at a breakpoint; what goes on to r = oo, to r = 0 or all
the way to a distance is shown as a proof shows it, on sections.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any, cast

import sympy
from flint import arb
from sympy import Expr, Integer, Pow, Rational

from sapo_gates.errors import RecheckFailed
from sapo_gates.gate import Kind
from sapo_gates.recheck.boxes import NUMBER, Range, enclose, is_at_most, is_defined, rational, require, value_at
from sapo_gates.recheck.cells import Branch, Entry, Section
from sapo_gates.recheck.claims import Claim, at_end, show
from sapo_gates.recheck.formulas import operations
from sapo_gates.recheck.identities import same
from sapo_gates.recheck.limits import Limit
from sapo_gates.recheck.proofs import HALF, continuous_at, no_lone_values
from sapo_gates.recheck.spans import INFINITY, Span, Undefined, rational_span

DECIMAL = re.compile(r"-?\d{1,4000}(\.\d{1,4000})?(e[+-]?\d{1,60})?", re.ASCII)
KEYS = {"kind", "r", "parameters", "enclosure", "why"}


def number(text: object) -> arb:
    """A stated end: a decimal, a fraction or an infinity."""
    if text in ("oo", "-oo"):
        return INFINITY if text == "oo" else -INFINITY
    require(isinstance(text, str) and (DECIMAL.fullmatch(text) or NUMBER.fullmatch(text)), "{!r} is not a number", text)
    return rational_span(rational(text)).ball if "/" in str(text) else arb(str(text))


class Place:
    """The cell at the witness's parameters, and what f, w and phi are at its breakpoints."""

    def __init__(self, branch: Branch, witness: Entry, evidence: Entry) -> None:
        """Every parameter has a value, inside its domain; the ratios are positive."""
        self.branch, self.evidence, self.stated = branch, evidence, witness["enclosure"]
        require(set(witness) == KEYS, "the witness has other keys than {}", sorted(KEYS))
        values = witness["parameters"]
        require(set(values) == set(branch.parameters), "the witness does not give every parameter a value")
        self.box = {p: Range.at(rational(values[name])) for name, p in branch.parameters.items()}
        for p, value in self.box.items():
            require(branch.domain[p].holds(value.low), "{} = {} is outside its domain", p, value.low)
        self.ratios = [rational(text) for text in witness["r"]]
        self.at_zero = witness["kind"] == "tail" and self.ratios[0] == 0  # on (0, r[1]]
        require(all(ratio > 0 for ratio in self.ratios[self.at_zero :]), "the witness's r is not positive")
        self.cell = branch.cell(evidence, self.box)
        self.last = self.cell.sections[0 if self.at_zero else -1]

    def at(self, ratio: Any) -> tuple[Section, Section]:
        """The sections on both sides of the ratio."""
        found = [pair for pair in self.cell.breakpoints if same(pair[0].ends[1], ratio)]
        require(found, "r = {} is none of the cell's breakpoints", ratio)
        return found[0]

    def limits(self, ratio: Any, quantity: Kind, order: int = 0, less: int = 0) -> list[Limit]:
        """Both one-sided limits of the quantity, or of its derivative of that order, less a number."""
        found = self.branch.limits_at(*self.at(ratio), quantity, order)
        return [self._limit_less(one, less) for one in found]

    def _limit_less(self, found: Expr | Limit, number: int) -> Limit:
        if isinstance(found, Limit):
            return found if found.span is None else Limit(_less(found.span, number))
        return Limit(enclose(found - number, self.box))

    def text(self, ratio: Any, quantity: Kind, less: int = 0) -> list[Limit]:
        """What the text itself says there, if it says anything."""
        there = self.branch.text_at(self.at(ratio)[0], quantity)
        return [] if there is None else [self._limit_less(there, less)]

    def values(self, ratio: Any, quantity: Kind, *sides: int) -> Iterator[Span]:
        """The quantity at the ratio, or as it is approached from the sides: 0 from below, 1 from above."""
        limits = self.limits(ratio, quantity)
        yield from (one.number for one in (*self.text(ratio, quantity), *(limits[side] for side in sides)))

    def states(self, *found: Span) -> bool:
        """Whether each lies in the range that the witness states for it."""
        ranges = [(number(low), number(high)) for low, high in self.stated]
        return all(bool(x.low >= low and x.high <= high) for x, (low, high) in zip(found, ranges, strict=True))

    def jumps(self, ratio: Any, quantity: Kind, order: int = 0) -> int:
        """Up (1) or down (-1), if both one-sided limits are as stated and apart; else 0."""
        with suppress(Undefined, RecheckFailed):
            left, right = (one.number for one in self.limits(ratio, quantity, order))
            if self.states(left, right):
                return 1 if left.high < right.low else -1 if right.high < left.low else 0
        return 0


def refuted(branch: Branch, kind: str, bound: Any, witness: Entry, evidence: Entry) -> None:
    """The witness breaks the requirement."""
    place = Place(branch, witness, evidence)
    ratios, enclosures, check = CHECKS.get((kind, witness["kind"]), (0, 0, None))
    require(check is not None, "a {!r} is no witness against {}", witness["kind"], kind)
    require(len(place.ratios) == ratios + place.at_zero, "a {} has {} r", witness["kind"], ratios)
    require(len(place.stated) == enclosures, "a {} against {} has {} enclosures", witness["kind"], kind, enclosures)
    check(place, bound, *place.ratios)


# At breakpoints -----------------------------------------------------------------------------------------------------


def _less(x: Span, bound: Any) -> Span:
    return x + -rational_span(bound)


def _is_not_zero(x: Span) -> bool:
    return x.is_positive or x.is_negative


def _exceeds(place: Place, ratio: Any, quantity: Kind, bound: Any, sign: int = 1) -> None:
    """The quantity at the ratio, or as it is approached, is above (with sign -1, below) the number, and as stated."""
    gaps = [_less(x, bound) for x in place.values(ratio, quantity, 0, 1) if place.states(x)]
    holds = any((gap if sign > 0 else -gap).is_positive for gap in gaps)
    require(holds, "the {} at {} is not beyond {} as stated", quantity, ratio, bound)


def _not_peak(place: Place, _: Any, ratio: Any) -> None:
    """w(1) is not 1, by the text where it declares w, or w > 1 elsewhere."""
    if ratio == 1:
        _is_not_one(place, place.text(ratio, "weight", 1) or place.limits(ratio, "weight", less=1))
    else:
        _exceeds(place, ratio, "weight", 1)


def _not_first_order(place: Place, _: Any, ratio: Any) -> None:
    """w as 1 is approached from one of the sides is not 1."""
    require(ratio == 1, "the point is not r = 1")
    _is_not_one(place, place.limits(ratio, "weight", less=1))


def _is_not_one(place: Place, gaps: list[Limit]) -> None:
    holds = any(place.states(gap.number) and _is_not_zero(gap.number) for gap in gaps)
    require(holds, "w(1) - 1 is not as stated, or 0")


def _grows(place: Place, _: Any, low: Any, high: Any) -> None:
    """w is larger at the ratio that is farther from 1."""
    require(low < high and (low >= 1 or high <= 1), "the pair is not in order on one side of 1")
    pairs = product(place.values(low, "weight", 1), place.values(high, "weight", 0))
    holds = any((b.low > a.high if low >= 1 else a.low > b.high) and place.states(a, b) for a, b in pairs)
    require(holds, "w does not grow from {} to {} as stated", low, high)


def _jumps_up(place: Place, _: Any, ratio: Any) -> None:
    rises = place.jumps(ratio, "weight") == (1 if ratio > 1 else -1)
    require(ratio != 1 and rises, "w does not jump up at {} as stated", ratio)


def _jumps(place: Place, _: Any, ratio: Any) -> None:
    holds = any(place.jumps(ratio, quantity) for quantity in place.branch.declared_kinds)
    require(holds, "nothing jumps at {} as stated", ratio)


def _jumps_at_one(place: Place, _: Any, ratio: Any) -> None:
    require(ratio == 1, "the jump is not at r = 1")
    _jumps(place, _, ratio)


def _has_no_peak(place: Place, _: Any, ratio: Any) -> None:
    """f or w jumps at 1, and the text says nothing there, or not that w(1) = 1."""
    _jumps_at_one(place, _, ratio)
    holds = all(_is_not_zero(gap.number) for gap in place.text(ratio, "weight", 1))
    require(holds, "the text itself may say w(1) = 1")


def _is_rough(place: Place, order: Any, ratio: Any) -> None:
    """A derivative of f below the order, f itself included, jumps."""
    jumps = place.branch.kind == "value" and place.jumps(ratio, "value")
    holds = jumps or any(place.jumps(ratio, "weight", j) for j in range(int(order)))
    require(holds, "nothing jumps at {} as stated", ratio)


def _is_undefined(place: Place, _: Any, ratio: Any) -> None:
    """f or w goes to infinity at the ratio, or is the root or logarithm of a number there that has none."""
    before, _after = place.at(ratio)
    for quantity in place.branch.declared_kinds:
        with suppress(Undefined, RecheckFailed):
            if any(one.is_infinite for one in place.limits(ratio, quantity)):
                return
        if _is_outside(place.branch.on(before, quantity), before):
            return
    raise RecheckFailed(f"f and w are not shown to be undefined at r = {ratio}")


def _is_outside(formula: Expr, before: Section) -> bool:
    """Some logarithm, root or power is taken of a negative number there, by an exponent that is surely not whole."""
    for node in operations(formula):
        if isinstance(node, sympy.log) or (isinstance(node, Pow) and node.exp.is_integer is False):
            with suppress(Undefined):
                if enclose(value_at(node.args[0], before.t, before.t_range.high, {}), {}).is_negative:
                    return True
    return False


def _breaks_between(place: Place, _: Any, low: Any, high: Any) -> None:
    """f or w jumps at a breakpoint between the ratios, or has a pole between them.

    A pole, if it has values of both signs at the ratios, and the formula `inverse` of the evidence is continuous
    between them and 1/q wherever q is defined: the inverse has a zero, where q can be no number.
    """
    require(low < high, "the pair is not in order")
    inside = [one for one in place.cell.sections if _is_ordered(low, one.ends[0]) and _is_ordered(one.ends[1], high)]
    kinds = place.branch.declared_kinds
    holds = any(place.jumps(one.ends[0], quantity) for one in inside[1:] for quantity in kinds)
    if not holds and len(inside) == 1:
        holds = any(_has_pole(place, inside[0], quantity, low, high) for quantity in kinds)
    require(holds, "f and w are not shown to break between {} and {}", low, high)


def _is_ordered(a: Expr, b: Expr) -> bool:
    return sympy.oo not in (a, b) and is_at_most(a - b, 0, {})


def _has_pole(place: Place, section: Section, quantity: Kind, low: Any, high: Any) -> bool:
    if "inverse" not in place.evidence:
        return False
    own, inverse = place.branch.on(section, quantity), place.branch.read(place.evidence["inverse"], section.t)
    with suppress(Undefined, RecheckFailed):
        left, right = place.limits(low, quantity)[1].number, place.limits(high, quantity)[0].number
        opposite = (left.is_positive and right.is_negative) or (left.is_negative and right.is_positive)
        is_inverse = same(own * inverse, Integer(1)) and is_defined(inverse, section.box)
        return opposite and place.states(left, right) and is_inverse
    return False


def _is_hopeful(place: Place, side: int, ratio: Any) -> None:
    """f(r) A - f(1) A + A - r A > 0 for |A| = 1."""
    sign = 1 if place.branch.sign == "positive" else -1
    require(place.branch.kind == "value" and sign * side * (ratio - 1) > 0, "r = {} is not on that side", ratio)
    here, one = _value_at(place, ratio), _value_at(place, Integer(1))
    found = enclose(sign * (here - one + 1 - ratio), place.box)
    require(place.states(found) and found.is_positive, "f(r) A > r A does not hold at {}", ratio)


def _value_at(place: Place, ratio: Any) -> Expr:
    """f there, as the text says it or by its limit."""
    there = place.branch.text_at(place.at(ratio)[0], "value")
    if there is not None:
        return there
    continuous_at(place.branch, *place.at(ratio), "value")
    return cast(Expr, place.branch.limits_at(*place.at(ratio), "value")[0])


# On sections and at their ends --------------------------------------------------------------------------------------


def _tail(place: Place, _: Any, *ratios: Any) -> None:
    """|phi| >= c > 0 on [R, oo), or on (0, R], with one sign."""
    section, start, (low, high) = place.last, ratios[-1], place.stated[0]
    require(place.cell.ends_at_zero or not place.at_zero, "r = 0 lies inside a section")
    late = start - section.ends[1] if place.at_zero else section.ends[0] - start
    require(is_at_most(late, 0, place.box), "the tail starts after r = {}", start)
    c = rational(low if high == "oo" else high)
    require(c > 0 if high == "oo" else c < 0 and low == "-oo", "the bound of phi has no sign")
    if same(section.ends[1 if place.at_zero else 0], start):
        for there in place.text(start, "weight"):
            beyond = _less(there.number * rational_span(start), c)
            require((beyond if c > 0 else -beyond).low >= 0, "the text at r = {} is not beyond the bound", start)
    claim = Claim("score", "at least" if c > 0 else "at most", c)
    show(place.branch, section, claim, place.evidence["sections"][0 if place.at_zero else -1][claim.name])


def _is_unbounded(place: Place, _: Any, *ratios: Any) -> None:
    """The same of phi, of which f is the integral over log r."""
    place.branch.value_exists(place.last)
    _tail(place, _, *ratios)


def _vanishes_not(place: Place, _: Any, *ratios: Any) -> None:
    require(not place.at_zero, "phi may be large near r = 0")
    _tail(place, _, *ratios)


def _grows_without_end(place: Place, _: Any, *ratios: Any) -> None:
    """|phi| -> oo: by its limit, or because it grows like a power of r."""
    _tail(place, _, *ratios)
    _goes(place, "zero" if place.at_zero else "infinity", "score", lambda rule, found:
          found.is_infinite if rule == "limit" else found.tends(-1 if place.at_zero else 1))  # fmt: skip


def _goes(place: Place, name: str, quantity: Kind, judge: Any) -> None:
    require(len(place.evidence[name]) == 1, "one limit is needed")
    at_end(place.branch, place.cell, place.evidence, name, quantity, judge)


def _is_heavy(place: Place, bound: Any, ratio: Any) -> None:
    """w -> a number above the bound as r -> 0, in the section that the ratio lies in."""
    require(_is_ordered(ratio, place.cell.sections[0].ends[1]), "r = {} is not where the limit is taken", ratio)
    _goes(place, "zero", "weight", lambda rule, found:
          rule == "limit" and place.states(found.number) and _is_above(found, bound))  # fmt: skip


def _is_slow(place: Place, order: Any, ratio: Any) -> None:
    """d log phi/d log r tends to more than 1 - p as r -> oo, in the section the ratio lies in, and w is not 0 there."""
    section = place.last
    require(_is_ordered(section.ends[0], ratio), "r = {} is not where the limit is taken", ratio)
    there = enclose(place.branch.on(section, "weight"), {**section.box, section.t: Range.at(section.t_range.low + 1)})
    require(_is_not_zero(there), "w may be 0 at r = oo")
    _goes(place, "infinity", "weight", lambda rule, found: rule == "slope" and _is_above(found, 1 - order)
          and (place.stated[0] == ["oo", "oo"] if found.is_infinite else place.states(found.number)))  # fmt: skip


def _is_above(found: Limit, bound: Any) -> bool:
    return found.near > 0 if found.is_infinite else _less(found.number, bound).is_positive


def _is_wide(place: Place, h: Any, ratio: Any) -> None:
    """w >= c > 1/2 from r = 1 to beyond the distance h, or all the way to r = 0, and at the ratio as stated."""
    side, claim = 1 if ratio > 1 else -1, Claim("weight", "at least", rational(place.evidence["above"]))
    require(claim.number > HALF, "w > 1/2 is not what is shown")
    shown = dict(zip(place.cell.sections, place.evidence["sections"], strict=True))
    reached = False
    for section in place.cell.outwards(side):
        if not reached:
            show(place.branch, section, claim, shown[section][claim.name])
            end = section.ends[1 if side > 0 else 0]
            reached = end == 0 or (end != sympy.oo and is_at_most(h - side * (end - 1), -Rational(1, 2**41), {}))
    require(reached, "w > 1/2 is not shown as far as {}", h)
    no_lone_values(place.branch, place.cell)
    _exceeds(place, ratio, "weight", HALF)


CHECKS: dict[tuple[str, str], tuple[int, int, Any]] = {  # how many r, how many enclosures, and the check
    ("monotone-decay", "pair"): (2, 2, _grows),
    ("monotone-decay", "jump"): (1, 2, _jumps_up),
    ("unit-peak", "point"): (1, 1, _not_peak),
    ("unit-peak", "jump"): (1, 2, _has_no_peak),
    ("nonnegative-weight", "point"): (1, 1, lambda place, _, at: _exceeds(place, at, "weight", 0, -1)),
    ("first-order-agreement", "point"): (1, 1, _not_first_order),
    ("first-order-agreement", "jump"): (1, 2, _jumps_at_one),
    ("continuously-differentiable", "jump"): (1, 2, _jumps),
    ("continuously-differentiable", "pair"): (2, 2, _breaks_between),
    ("continuously-differentiable", "point"): (1, 0, _is_undefined),
    ("vanishing-score", "tail"): (1, 1, _vanishes_not),
    ("bounded-value", "tail"): (1, 1, _is_unbounded),
    ("bounded-score", "tail"): (1, 1, _grows_without_end),
    ("half_width", "point"): (1, 1, _is_wide),
    ("sup score", "point"): (1, 1, lambda place, c, at: _exceeds(place, at, "score", c)),
    ("smoothness", "jump"): (1, 2, _is_rough),
    ("weight(0)", "point"): (1, 1, _is_heavy),
    ("tail order", "tail"): (1, 1, _is_slow),
    ("pessimistic on kill side", "point"): (1, 1, lambda place, _, at: _is_hopeful(place, 1, at)),
    ("pessimistic on pass side", "point"): (1, 1, lambda place, _, at: _is_hopeful(place, -1, at)),
}
