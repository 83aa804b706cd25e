"""Refuted entries: the witness evaluated again, at its exact rationals, from the declared formula."""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any, cast

import sympy
from flint import arb
from sympy import Expr, Piecewise, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.algebra import (
    SPELLINGS,
    Range,
    bound,
    convert,
    enclose_split,
    piece,
    restricted,
    same,
    value_at_end,
)
from sapo_gates.recheck.claims import limit_of, score_slope, spelled
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, limit
from sapo_gates.recheck.sections import NUMBER, Branch, S, fraction, read_section, require
from sapo_gates.recheck.spans import INFINITY, Span, Undefined, rational_span, span_of, working_precision

Witness = Mapping[str, Any]
WITNESS_BITS = 512
DECIMAL = re.compile(r"-?\d{1,4000}(\.\d{1,4000})?(e[+-]?\d{1,12})?")


def number(text: object) -> arb:
    """A stated end: a decimal, a fraction or an infinity."""
    if text in ("oo", "-oo"):
        return INFINITY if text == "oo" else -INFINITY
    require(isinstance(text, str) and (DECIMAL.fullmatch(text) or NUMBER.fullmatch(text)), "{!r} is not a number", text)
    return rational_span(fraction(text)).ball if "/" in str(text) else arb(str(text))


def within(found: Span, stated: Any) -> bool:
    """The stated range holds what was found."""
    low, high = map(number, stated)
    return bool(found.low >= low and found.high <= high)


ONE: Any = Rational(1)


def exact(text: object) -> Any:
    """A rational as sympy's."""
    value = fraction(text)
    return Rational(value.numerator, value.denominator)


class Place:
    """The branch at the witness's parameters."""

    def __init__(self, branch: Branch, witness: Witness) -> None:
        """Every parameter has a value, inside its domain."""
        self.branch = branch
        self.kind: Kind = branch.kind
        values = witness["parameters"]
        require(set(values) == set(branch.parameters), "the witness does not give every parameter a value")
        self.point = {p: exact(values[name]) for name, p in branch.parameters.items()}
        for p, value in self.point.items():
            require(value in p.domain, "{} = {} is outside {}", p, value, p.domain)
        self.declared = substitute(branch.declared, self.point)

    def beside(self, ratio: Rational, side: int, quantity: Kind) -> Expr:
        """The smooth formula that holds at the ratio (side 0) or just beside it."""

        def sign(switch: Expr) -> int:
            there = substitute(switch, {r: ratio})
            found = 0 if same(there, sympy.Integer(0)) else _sign(there)
            return found or (_sign_beside(switch, ratio, side) if side else 0)

        return convert(self.kind, piece(self.declared, sign), quantity)

    def at(self, ratio: Rational, side: int, quantity: Kind, less: int = 0) -> Span:
        """The quantity at the ratio, or its one-sided limit there, less a number."""
        formula = self.beside(ratio, side, quantity) - less
        try:
            return span_of(value_at_end(formula, r, ratio, {}))({})
        except Undefined:
            if side == 0:
                raise
        found = limit(substitute(formula, {r: ratio + side * S}), S, ABOVE, {})
        if found.span is None:
            raise Undefined("infinite")
        return found.span

    def candidates(self, ratio: Rational, sides: tuple[int, ...]) -> Iterator[Span]:
        """w at the ratio where the text declares it, and its limits from the sides asked for."""
        for side in ((0,) if self.kind != "value" else ()) + sides:
            try:
                yield self.at(ratio, side, "weight")
            except Undefined:
                continue


def _sign(there: Expr) -> int:
    found = span_of(there)({})
    require(found.is_positive or found.is_negative, "the sign of {} is not certain", there)
    return 1 if found.is_positive else -1


def _sign_beside(switch: Expr, ratio: Rational, side: int) -> int:
    near = substitute(switch, {r: ratio + side * S})
    for spell in SPELLINGS:
        try:
            found = limit(spell(near), S, ABOVE, {}).near
        except Undefined:
            continue
        if found:
            return found
    require(same(near, sympy.Integer(0)), "the sign of {} beside r = {} is not certain", switch, ratio)
    return 0


def refuted(branch: Branch, id_: str, witness: Witness, evidence: Mapping[str, Any]) -> None:
    """The witness breaks the requirement."""
    with working_precision(WITNESS_BITS):
        place = Place(branch, witness)
        ratios = [exact(text) for text in witness["r"]]
        kind, stated = witness["kind"], witness["enclosure"]
        at_zero = kind == "tail" and ratios[0] == 0  # on (0, r[1]]
        require(all(ratio > 0 for ratio in ratios[at_zero:]), "the witness's r is not positive")
        checks = {
            ("monotone-decay", "pair"): _grows,
            ("monotone-decay", "jump"): _jumps_up,
            ("unit-peak", "point"): _not_peak,
            ("unit-peak", "jump"): _no_weight_at_one,
            ("nonnegative-weight", "point"): _negative,
            ("first-order-agreement", "point"): _not_one,
            ("first-order-agreement", "jump"): _jumps_at_one,
            ("continuously-differentiable", "jump"): _jumps,
            ("continuously-differentiable", "pair"): _broken_between,
            ("continuously-differentiable", "point"): _undefined_at,
        }
        count = 2 if kind == "pair" or at_zero else 1
        require(len(ratios) == count, "a {} has {} r", kind, count)
        ranges = 0 if checks.get((id_, kind)) is _undefined_at else 1 if kind in ("point", "tail") else 2
        require(kind == "tail" or not evidence, "evidence where the witness is all there is")
        require(len(stated) == ranges, "a {} against {} has {} enclosures", kind, id_, ranges)
        if kind == "tail" and id_ in ("bounded-value", "bounded-score", *(() if at_zero else ("vanishing-score",))):
            _tail(place, ratios[-1], stated, evidence, at_zero, grows=id_ == "bounded-score")
            return
        require((id_, kind) in checks, "a {!r} is no witness against {}", kind, id_)
        try:
            checks[id_, kind](place, ratios, stated)
        except Undefined as error:
            raise RecheckFailed(f"the witness cannot be evaluated: {error}") from error


def _grows(place: Place, ratios: list[Rational], stated: Any) -> None:
    low, high = ratios
    require(low < high and (low >= 1 or high <= 1), "the pair is not in order on one side of 1")
    pairs = product(place.candidates(low, (1,)), place.candidates(high, (-1,)))
    require(
        any(
            (b.low > a.high if low >= 1 else a.low > b.high) and within(a, stated[0]) and within(b, stated[1])
            for a, b in pairs
        ),
        "w does not grow from {} to {} as stated",
        low,
        high,
    )


def _sides(place: Place, ratio: Rational, quantity: Kind, stated: Any) -> tuple[Span, Span] | None:
    """Both one-sided limits, if they lie in the stated ranges and apart."""
    try:
        left, right = place.at(ratio, -1, quantity), place.at(ratio, 1, quantity)
    except Undefined:
        return None
    apart = left.high < right.low or right.high < left.low
    return (left, right) if apart and within(left, stated[0]) and within(right, stated[1]) else None


def _quantities(place: Place) -> tuple[Kind, ...]:
    return ("value", "weight") if place.kind == "value" else ("weight",)


def _jumps_up(place: Place, ratios: list[Rational], stated: Any) -> None:
    (ratio,) = ratios
    found = _sides(place, ratio, "weight", stated)
    require(found is not None and ratio != 1, "w does not jump at {} as stated", ratio)
    assert found is not None
    left, right = found
    require(right.low > left.high if ratio > 1 else left.low > right.high, "w does not jump up at {}", ratio)


def _jumps(place: Place, ratios: list[Rational], stated: Any) -> None:
    require(
        any(_sides(place, ratios[0], q, stated) for q in _quantities(place)), "nothing jumps at {} as stated", ratios[0]
    )


def _jumps_at_one(place: Place, ratios: list[Rational], stated: Any) -> None:
    require(ratios == [1], "the jump is not at r = 1")
    _jumps(place, ratios, stated)


def _no_weight_at_one(place: Place, ratios: list[Rational], stated: Any) -> None:
    there = None if place.kind == "value" else substitute(place.beside(ONE, 0, "weight"), {r: ONE})
    require(there is None or not same(there, ONE), "the text itself says w(1) = 1")
    _jumps_at_one(place, ratios, stated)


def _not_peak(place: Place, ratios: list[Rational], stated: Any) -> None:
    (ratio,) = ratios
    if ratio == 1:
        _not_one(place, ratios, stated)
    else:
        found = [w for w in place.candidates(ratio, (-1, 1)) if w.low > 1 and within(w, stated[0])]
        require(found, "w({}) is not > 1 as stated", ratio)


def _not_one(place: Place, ratios: list[Rational], stated: Any) -> None:
    require(ratios == [1], "the point is not r = 1")
    for side in (0,) if place.kind != "value" else (-1, 1):
        gap = place.at(ONE, side, "weight", less=1)
        if (gap.is_positive or gap.is_negative) and within(gap, stated[0]):
            return
    raise RecheckFailed("w(1) - 1 is not as stated, or 0")


def _negative(place: Place, ratios: list[Rational], stated: Any) -> None:
    found = [w for w in place.candidates(ratios[0], (-1, 1)) if w.is_negative and within(w, stated[0])]
    require(found, "w({}) is not < 0 as stated", ratios[0])


def _undefined_at(place: Place, ratios: list[Rational], stated: Any) -> None:
    """f or w has a pole at the ratio, or the root or logarithm of a number there that has none."""
    (ratio,) = ratios
    for quantity in _quantities(place):
        for side in (-1, 1):
            formula = place.beside(ratio, side, quantity)
            if _outside(formula, ratio) or _pole(formula, ratio) or _diverges(formula, ratio, side):
                return
        try:
            left, right = place.at(ratio, -1, quantity), place.at(ratio, 1, quantity)
        except Undefined:
            continue
        if left.high < right.low or right.high < left.low:
            return
    raise RecheckFailed(f"f and w are not shown to be undefined at r = {ratio}")


def _outside(formula: Expr, ratio: Rational) -> bool:
    """Some root, power or logarithm is taken of a negative number."""
    for node in sympy.preorder_traversal(formula):
        condition = restricted(node)
        try:
            if condition is not None and span_of(substitute(condition[0], {r: ratio}))({}).is_negative:
                return True
        except Undefined:
            continue
    return False


def _pole(formula: Expr, ratio: Rational) -> bool:
    """The denominator of the formula as one fraction is 0 there and its numerator is not."""
    top, bottom = (substitute(part, {r: ratio}) for part in sympy.fraction(sympy.together(formula)))
    try:
        return same(bottom, sympy.Integer(0)) and _sign(top) != 0
    except (Undefined, RecheckFailed):
        return False


def _diverges(formula: Expr, ratio: Rational, side: int) -> bool:
    near = substitute(formula, {r: ratio + side * S})
    for form in (near, cast(Expr, near.replace(lambda e: e.is_Add, sympy.factor))):
        try:
            if limit(form, S, ABOVE, {}).is_infinite:
                return True
        except Undefined:
            continue
    return False


def _broken_between(place: Place, ratios: list[Rational], stated: Any) -> None:
    """f or w takes values on both sides of a gap that it never enters, or a denominator passes through 0."""
    low, high = ratios
    require(low < high, "the pair is not in order")
    for quantity in _quantities(place):
        if _leaps(place, low, high, quantity, stated) or _pole_between(place, low, high, quantity, stated):
            return
    raise RecheckFailed(f"f and w are not shown to break between {low} and {high}")


def _leaps(place: Place, low: Rational, high: Rational, quantity: Kind, stated: Any) -> bool:
    """A continuous function takes every value between two of its own; one made of these pieces does not."""
    if not place.declared.has(Piecewise):
        return False
    box = {r: Range(bound(low), bound(high), True, True).span}
    try:
        pieces = [span_of(convert(place.kind, one, quantity))(box) for one in _choices(place.declared)]
        left, right = (place.at(low, 1, quantity), place.at(high, -1, quantity))
    except Undefined:
        return False
    if not (within(left, stated[0]) and within(right, stated[1])):
        return False
    if right.high < left.low:
        left, right = right, left
    below = [one for one in pieces if not one.low > left.high]
    above = [one for one in pieces if one.low > left.high]
    return bool(above) and max(one.high for one in below) < min(one.low for one in above) <= right.low


def _choices(expression: Expr) -> list[Expr]:
    """Every formula that the expression may stand for."""
    found: Any = next((node for node in sympy.preorder_traversal(expression) if isinstance(node, Piecewise)), None)
    if found is None:
        return [expression]
    return [choice for formula, _ in found.args for choice in _choices(substitute(expression, {found: formula}))]


def _pole_between(place: Place, low: Rational, high: Rational, quantity: Kind, stated: Any) -> bool:
    """One smooth formula on the whole interval whose denominator changes sign where its numerator has no zero."""
    inside = {r: Range(bound(low), bound(high), True, True)}

    def sign(switch: Expr) -> int:
        for told, settles in ((1, lambda x: x.is_positive), (-1, lambda x: x.is_negative)):
            if enclose_split(switch, inside, settles):
                return told
        raise RecheckFailed(f"the sign of {switch} between {low} and {high} is not certain")

    try:
        formula = convert(place.kind, piece(place.declared, sign), quantity)
    except RecheckFailed:
        return False
    top, bottom = cast(tuple[Expr, Expr], sympy.fraction(sympy.together(formula)))
    vanishing = [p.base for p in formula.atoms(sympy.Pow) if p.exp.is_negative and r in p.base.free_symbols]
    for base in vanishing:
        try:
            ends = [span_of(substitute(base, {r: end}))({}) for end in (low, high)]
            opposite = (ends[0].is_negative and ends[1].is_positive) or (ends[0].is_positive and ends[1].is_negative)
            if not (opposite and all(within(end, one) for end, one in zip(ends, stated, strict=True))):
                continue
            if sympy.rem(sympy.expand(bottom), sympy.expand(base), r) != 0:
                continue
            if enclose_split(bottom, inside, lambda _: True) and enclose_split(top, inside, _is_apart_from_zero):
                return True
        except (Undefined, RecheckFailed, sympy.PolynomialError):
            continue
    return False


def _is_apart_from_zero(range_: Span) -> bool:
    return range_.is_finite and (range_.is_positive or range_.is_negative)


def _tail(
    place: Place, start: Rational, stated: Any, evidence: Mapping[str, Any], at_zero: bool, *, grows: bool
) -> None:
    """|phi| >= c > 0 on [R, oo), or on (0, R], with one sign; and |phi| -> oo if it is to be unbounded."""
    tail = evidence["tail"]
    section = read_section(place.branch, tail)
    for p, one in section.cell:
        value = Fraction(int(place.point[p].p), int(place.point[p].q))
        inside = (value > one.low or (value == one.low and one.low_in)) and (
            value < one.high or (value == one.high and one.high_in)
        )
        require(inside, "{} = {} is outside the section's cell", p, value)
    t, whole = section.t, section.t_range
    first = fraction(tail["start"])
    require(tail["end"] == ("zero" if at_zero else "infinity"), "the end is not r = {}", "0" if at_zero else "oo")
    starts = (section.chart, section.lower) in (("ratio", 0), ("log-scaled", -sympy.oo))
    is_end = starts if at_zero else section.upper is sympy.oo
    require(is_end and whole.low <= first <= whole.high, "the tail does not start in the last section before its end")
    at = Rational(first.numerator, first.denominator)
    ratio = substitute(section.ratio, place.point)
    behind = span_of(start - substitute(ratio, {t: at}))({})
    require((-behind if at_zero else behind).low >= 0, "the tail starts after r = {}", start)
    branch_weight = place.branch.quantity(section, "weight")
    weight = substitute(branch_weight, place.point)
    phi = ratio * weight
    rate = substitute(score_slope(section, branch_weight), place.point)
    beyond = Range(whole.low, first, False, True) if at_zero else Range(first, float("inf"), True)
    require(enclose_split(weight, {t: beyond}, lambda _: True), "w is not defined on the tail")
    (low, high) = map(number, stated[0])
    sign = 1 if low > 0 else -1
    require((low > 0 and high == INFINITY) or (high < 0 and low == -INFINITY), "the bound of phi has no sign")
    c = low if sign > 0 else -high

    def image(expression: Expr) -> Span:
        form, inverse = spelled(place.branch, section, expression, tail["form"])
        here: dict[Symbol, Span] = {S: beyond.span.reciprocal()} if inverse else {t: beyond.span}
        return span_of(form)(here)

    if tail["rule"] == "enclosure":
        found = image(phi)
    else:
        require(tail["rule"] == "slope", "no rule {!r}", tail["rule"])
        growth = image(rate)
        require((-growth if at_zero else growth).low >= 0, "phi is not shown to grow")
        found = span_of(substitute(phi, {t: at}))({})
    require((found if sign > 0 else -found).low >= c, "|phi| >= {} does not hold on the tail", stated[0])
    if grows:
        grown = evidence["limit"]
        require(grown["rule"] in ("limit", "slope"), "no rule {!r}", grown["rule"])
        by_limit = grown["rule"] == "limit"
        end = (ABOVE if section.chart == "ratio" else DOWN) if at_zero else UP
        towards = limit_of(place.branch, section, phi if by_limit else rate, grown["form"], {}, end)
        grew = towards.is_infinite if by_limit else towards.tends(-1 if at_zero else 1)
        require(grew, "phi does not grow without end")
