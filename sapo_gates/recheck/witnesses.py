"""Refuted entries: the witness evaluated again, at its exact rationals, from the declared formula."""

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Any, cast

import sympy
from flint import arb
from sympy import Expr, Integer, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.boxes import INFINITE, Box, Range, enclose, everywhere, is_defined, rational
from sapo_gates.recheck.cells import NUMBER, Branch, S, Section, fraction, limit_at, require, value_at
from sapo_gates.recheck.claims import limit_by, restricted, score_slope, spelled
from sapo_gates.recheck.formulas import convert, pieces, signs_in, slope
from sapo_gates.recheck.identities import same, tidy
from sapo_gates.recheck.limits import ABOVE, Limit, limit
from sapo_gates.recheck.spans import INFINITY, Span, Undefined, rational_span, span_of

Entry = Mapping[str, Any]
DECIMAL = re.compile(r"-?\d{1,4000}(\.\d{1,4000})?(e[+-]?\d{1,60})?")
HERE: Box = {}


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


def exact(text: object) -> Any:
    """A rational as SymPy's."""
    value = fraction(text)
    return Rational(value.numerator, value.denominator)


class Place:
    """The branch at the witness's parameters."""

    def __init__(self, branch: Branch, witness: Entry) -> None:
        """Every parameter has a value, inside its domain; the ratios are positive."""
        self.branch = branch
        values = witness["parameters"]
        require(set(values) == set(branch.parameters), "the witness does not give every parameter a value")
        self.point = {p: exact(values[name]) for name, p in branch.parameters.items()}
        for p, value in self.point.items():
            require(branch.domain[p].holds(value), "{} = {} is outside {}", p, value, branch.domain[p])
        self.declared = substitute(branch.declared, self.point)
        self.ratios = [exact(text) for text in witness["r"]]
        self.at_zero = witness["kind"] == "tail" and self.ratios[0] == 0  # on (0, r[1]]
        require(all(ratio > 0 for ratio in self.ratios[self.at_zero :]), "the witness's r is not positive")
        self.stated = witness["enclosure"]

    @property
    def kind(self) -> Kind:
        """What is declared."""
        return self.branch.kind

    @property
    def quantities(self) -> tuple[Kind, ...]:
        """What is declared or derived by differentiation alone."""
        return ("value", "weight") if self.kind == "value" else ("weight",)

    def formula(self, ratio: Rational, side: int, quantity: Kind) -> Expr:
        """The smooth formula that holds at the ratio (side 0) or just beside it."""

        def signs(switch: Expr) -> Collection[int]:
            there = value_at(switch, r, ratio, HERE)
            if not same(there, Integer(0)):
                return signs_in(enclose(there, HERE))
            return _signs_beside(substitute(switch, {r: ratio + side * S})) if side else [0]

        (found, *others) = pieces(self.declared, signs)
        require(not others, "which piece holds at r = {} is not certain", ratio)
        return convert(self.kind, found, quantity)

    def at(self, ratio: Rational, side: int, quantity: Kind, order: int = 0, less: int = 0) -> Span:
        """The quantity (its derivative of that order) at the ratio, or its one-sided limit there, less a number."""
        formula = self.formula(ratio, side, quantity) - less
        for _ in range(order):
            formula = slope(formula, r)
        found = limit_at(formula, r, ratio, side * S, HERE) if side else value_at(formula, r, ratio, HERE)
        return found.number if isinstance(found, Limit) else enclose(found, HERE)

    def value(self, ratio: Rational) -> Expr:
        """f at the ratio."""
        return value_at(self.formula(ratio, 0, "value"), r, ratio, HERE)

    def end_section(self, entry: Entry) -> Section:
        """The section that reaches to r = oo, or to r = 0 where the witness does, in a cell that holds the point."""
        cell = self.branch.cell(entry)
        require(not (self.at_zero and cell.chart == "scaled"), "r = 0 is inside this chart")
        section = cell.sections[0 if self.at_zero else -1]
        for p, value in self.point.items():
            require(section.cell[cast(Any, p)].holds(value), "{} = {} is outside the cell", p, value)
        return section

    def candidates(self, ratio: Rational, sides: tuple[int, ...] = (-1, 1)) -> Iterator[Span]:
        """w at the ratio where the text declares it, and its limits from the sides asked for."""
        for side in ((0,) if self.kind != "value" else ()) + sides:
            try:
                yield self.at(ratio, side, "weight")
            except (Undefined, RecheckFailed):
                continue

    def jump(self, ratio: Rational, quantity: Kind, order: int = 0) -> tuple[Span, Span] | None:
        """Both one-sided limits, if they lie in the stated ranges and apart."""
        try:
            left, right = self.at(ratio, -1, quantity, order), self.at(ratio, 1, quantity, order)
        except (Undefined, RecheckFailed):
            return None
        apart = left.high < right.low or right.high < left.low
        return (left, right) if apart and within(left, self.stated[0]) and within(right, self.stated[1]) else None


def _signs_beside(near: Expr) -> Collection[int]:
    """Of a function that vanishes at S = 0, for small S > 0."""
    for form in (near, tidy(near)):
        try:
            found = limit(form, S, ABOVE, {}).near
        except Undefined:
            continue
        if found:
            return [found]
    return [0] if same(near, Integer(0)) else [-1, 0, 1]


def refuted(branch: Branch, id_: str, witness: Entry, evidence: Entry) -> None:
    """The witness breaks the requirement."""
    place, kind = Place(branch, witness), witness["kind"]
    ratios, enclosures, check = CHECKS.get((id_, kind), (0, 0, None))
    require(check is not None, "a {!r} is no witness against {}", kind, id_)
    require(len(place.ratios) == ratios + place.at_zero, "a {} has {} r", kind, ratios)
    require(id_ != "vanishing-score" or not place.at_zero, "phi may be large near r = 0")
    require(len(place.stated) == enclosures, "a {} against {} has {} enclosures", kind, id_, enclosures)
    require(kind == "tail" or not evidence, "evidence where the witness is all there is")
    try:
        check(place, evidence) if kind == "tail" else check(place, *place.ratios)
    except Undefined as error:
        raise RecheckFailed(f"the witness cannot be evaluated: {error}") from error


def _grows(place: Place, low: Rational, high: Rational) -> None:
    require(low < high and (low >= 1 or high <= 1), "the pair is not in order on one side of 1")
    pairs = product(place.candidates(low, (1,)), place.candidates(high, (-1,)))
    holds = any(
        (b.low > a.high if low >= 1 else a.low > b.high) and within(a, place.stated[0]) and within(b, place.stated[1])
        for a, b in pairs
    )
    require(holds, "w does not grow from {} to {} as stated", low, high)


def _jumps_up(place: Place, ratio: Rational) -> None:
    left, right = place.jump(ratio, "weight") or (None, None)
    rises = left is not None and right is not None and (right.low > left.high if ratio > 1 else left.low > right.high)
    require(ratio != 1 and rises, "w does not jump up at {} as stated", ratio)


def _jumps(place: Place, ratio: Rational) -> None:
    require(any(place.jump(ratio, quantity) for quantity in place.quantities), "nothing jumps at {} as stated", ratio)


def _jumps_at_one(place: Place, ratio: Rational) -> None:
    require(ratio == 1, "the jump is not at r = 1")
    _jumps(place, ratio)


def _has_no_peak(place: Place, ratio: Rational) -> None:
    _jumps_at_one(place, ratio)
    there = Integer(0) if place.kind == "value" else substitute(place.formula(ratio, 0, "weight"), {r: ratio})
    require(not same(there, Integer(1)), "the text itself says w(1) = 1")


def _not_peak(place: Place, ratio: Rational) -> None:
    """w(1) is not 1, by the text where it declares w, or w > 1 elsewhere."""
    if ratio == 1:
        _not_one(place, ratio, (-1, 1) if place.kind == "value" else (0,))
    else:
        found = [w for w in place.candidates(ratio) if w.low > 1 and within(w, place.stated[0])]
        require(found, "w({}) is not > 1 as stated", ratio)


def _not_one(place: Place, ratio: Rational, sides: tuple[int, ...] = (-1, 1)) -> None:
    """A one-sided derivative of f at 1 is not 1, whatever the text says w(1) is."""
    require(ratio == 1, "the point is not r = 1")
    for side in sides:
        gap = place.at(ratio, side, "weight", less=1)
        if (gap.is_positive or gap.is_negative) and within(gap, place.stated[0]):
            return
    raise RecheckFailed("w(1) - 1 is not as stated, or 0")


def _negative(place: Place, ratio: Rational) -> None:
    found = [w for w in place.candidates(ratio) if w.is_negative and within(w, place.stated[0])]
    require(found, "w({}) is not < 0 as stated", ratio)


def _undefined_at(place: Place, ratio: Rational) -> None:
    """f or w has a pole at the ratio, or the root or logarithm of a number there that has none."""
    formulas = [place.formula(ratio, side, quantity) for quantity in place.quantities for side in (-1, 1)]
    holds = any(_outside(formula, ratio) or _pole(formula, ratio) for formula in formulas)
    require(holds, "f and w are not shown to be undefined at r = {}", ratio)


def _outside(formula: Expr, ratio: Rational) -> bool:
    """Some root, power or logarithm is taken of a negative number."""
    for node in sympy.preorder_traversal(formula):
        condition = restricted(node)
        try:
            if condition is not None and enclose(substitute(condition[0], {r: ratio}), HERE).is_negative:
                return True
        except Undefined:
            continue
    return False


def _pole(formula: Expr, ratio: Rational) -> bool:
    """The denominator of the formula as one fraction is 0 there and its numerator is not."""
    try:
        top, bottom = (value_at(part, r, ratio, HERE) for part in sympy.fraction(tidy(formula)))
        found = enclose(top, HERE)
        return same(bottom, Integer(0)) and (found.is_positive or found.is_negative)
    except Undefined:
        return False


def _broken_between(place: Place, low: Rational, high: Rational) -> None:
    """f or w takes values on both sides of a number that it takes nowhere between: it is not continuous there."""
    require(low < high, "the pair is not in order")
    holds = any(_leaps(place, low, high, quantity) for quantity in place.quantities)
    require(holds, "f and w are not shown to break between {} and {}", low, high)


def _leaps(place: Place, low: Rational, high: Rational, quantity: Kind) -> bool:
    inside = {r: Range(fraction(str(low)), fraction(str(high)), True, True)}

    def signs(switch: Expr) -> Collection[int]:
        try:
            return signs_in(enclose(switch, inside))
        except Undefined:
            return [-1, 0, 1]

    try:
        left, right = place.at(low, 1, quantity), place.at(high, -1, quantity)
    except (Undefined, RecheckFailed):
        return False
    if not (within(left, place.stated[0]) and within(right, place.stated[1])):
        return False
    if right.high < left.low:
        left, right = right, left
    between = Integer(0) if left.is_negative and right.is_positive else _middle(left.high, right.low)
    formulas = [convert(place.kind, piece, quantity) for piece in pieces(place.declared, signs)]
    return left.high < right.low and all(_is_nowhere(formula, between, inside) for formula in formulas)


def _middle(low: arb, high: arb) -> Rational:
    mantissa, exponent = (int(part) for part in ((low + high) / 2).mid().man_exp())
    return Integer(mantissa) * Integer(2) ** exponent


def _is_nowhere(formula: Expr, level: Rational, inside: Box) -> bool:
    """The formula does not take the value: its range is apart from it, or that of 1/(formula - level) is bounded."""
    gap = formula - level
    try:
        if everywhere(gap, inside, lambda x: x.is_positive or x.is_negative):
            return True
    except Undefined:
        pass
    return everywhere(tidy(1 / tidy(gap)), inside, lambda x: x.is_finite)


def _tail(place: Place, evidence: Entry) -> None:
    """|phi| >= c > 0 on [R, oo), or on (0, R], with one sign."""
    start, tail, at_zero = place.ratios[-1], evidence["tail"], place.at_zero
    require(tail["end"] == ("zero" if at_zero else "infinity"), "the end is not r = {}", "0" if at_zero else "oo")
    section, first = place.end_section(tail), fraction(tail["start"])
    whole = section.t_range
    require(whole.low <= first <= whole.high, "the tail does not start in the section at its end")
    ratio, weight = (substitute(e, place.point) for e in (section.ratio, place.branch.on(section, "weight")))
    behind = enclose(start - substitute(ratio, {section.t: rational(first)}), HERE)
    require((-behind if at_zero else behind).low >= 0, "the tail starts after r = {}", start)
    beyond = Range(whole.low, first, False, True) if at_zero else Range(first, INFINITE, True)
    require(is_defined(weight, {section.t: beyond}), "w is not defined on the tail")
    (low, high) = map(number, place.stated[0])
    require((low > 0 and high == INFINITY) or (high < 0 and low == -INFINITY), "the bound of phi has no sign")
    phi = ratio * weight

    def image(expression: Expr) -> Span:
        form, inverse = spelled(place.branch, section, expression, tail["form"])
        require(not (inverse and at_zero), "a form in s = 1/t is one for t -> oo")
        variable: Symbol = S if inverse else section.t
        return span_of(form)({variable: beyond.span.reciprocal() if inverse else beyond.span})

    if tail["rule"] == "enclosure":
        found = image(phi)
    else:
        require(tail["rule"] == "slope", "no rule {!r}", tail["rule"])
        growth = image(_rate(place, section))
        require((-growth if at_zero else growth).low >= 0, "phi is not shown to grow")
        found = enclose(phi, {section.t: Range.at(first)})
    holds = found.low >= low if low > 0 else found.high <= high
    require(holds, "|phi| >= {} does not hold on the tail", place.stated[0])


def _rate(place: Place, section: Section) -> Expr:
    return substitute(score_slope(section, place.branch.on(section, "weight")), place.point)


def _unbounded(place: Place, evidence: Entry) -> None:
    """|phi| -> oo: by its limit, or because it grows like a power of r."""
    _tail(place, evidence)
    section, grown = place.end_section(evidence["tail"]), evidence["limit"]
    require(grown["rule"] in ("limit", "slope"), "no rule {!r}", grown["rule"])
    if grown["rule"] == "limit":
        phi = substitute(section.ratio * place.branch.on(section, "weight"), place.point)
        holds = limit_by(place.branch, section, phi, grown["form"], HERE).is_infinite
    else:
        holds = limit_by(place.branch, section, _rate(place, section), grown["form"], HERE).tends(
            -1 if place.at_zero else 1
        )
    require(holds, "phi does not grow without end")


CHECKS: dict[tuple[str, str], tuple[int, int, Any]] = {  # how many r, how many enclosures, and the check
    ("monotone-decay", "pair"): (2, 2, _grows),
    ("monotone-decay", "jump"): (1, 2, _jumps_up),
    ("unit-peak", "point"): (1, 1, _not_peak),
    ("unit-peak", "jump"): (1, 2, _has_no_peak),
    ("nonnegative-weight", "point"): (1, 1, _negative),
    ("first-order-agreement", "point"): (1, 1, _not_one),
    ("first-order-agreement", "jump"): (1, 2, _jumps_at_one),
    ("continuously-differentiable", "jump"): (1, 2, _jumps),
    ("continuously-differentiable", "pair"): (2, 2, _broken_between),
    ("continuously-differentiable", "point"): (1, 0, _undefined_at),
    ("vanishing-score", "tail"): (1, 1, _tail),
    ("bounded-value", "tail"): (1, 1, _tail),
    ("bounded-score", "tail"): (1, 1, _unbounded),
}
