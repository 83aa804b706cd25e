"""Boxes of exact ranges: what an expression is over one, and whether boxes are all of another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

import sympy
from flint import arb, fmpq
from sympy import Dummy, Expr, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import substitute
from sapo_gates.gate import Domain
from sapo_gates.recheck.formulas import slope
from sapo_gates.recheck.identities import same, sign_by_coefficients, tidy
from sapo_gates.recheck.spans import Span, Undefined, span_of

Bound = Fraction | float
INFINITE = float("inf")


@dataclass(frozen=True)
class Range:
    """The values of one symbol, with exact ends; an infinite one is never attained."""

    low: Bound
    high: Bound
    low_in: bool = False
    high_in: bool = False

    @staticmethod
    def of(domain: Domain) -> "Range":
        """A parameter's domain."""
        return Range(bound(domain.lower), bound(domain.upper), not domain.lower_open, not domain.upper_open)

    @staticmethod
    def at(number: Rational | Fraction) -> "Range":
        """One number."""
        exact = Fraction(int(number.numerator), int(number.denominator))
        return Range(exact, exact, True, True)

    @cached_property
    def span(self) -> Span:
        """As a span, rounded outwards."""
        low, high = (
            arb(e) if isinstance(e, float) else arb(fmpq(e.numerator, e.denominator)) for e in (self.low, self.high)
        )
        return Span(low, high, self.low_in, self.high_in)

    def halves(self) -> "tuple[Range, ...]":
        """Two closed parts, if there is something to split."""
        if self.low == self.high:
            return (self,)
        middle = _middle(self.low, self.high)
        return Range(self.low, middle, self.low_in, True), Range(middle, self.high, True, self.high_in)

    def holds(self, number: Rational) -> bool:
        """The number is one of the values."""
        exact = Range.at(number).low
        above = exact > self.low or (exact == self.low and self.low_in)
        return above and (exact < self.high or (exact == self.high and self.high_in))


def _middle(low: Bound, high: Bound) -> Fraction:
    if isinstance(low, Fraction):
        return (low + high) / 2 if isinstance(high, Fraction) else max(4 * low, Fraction(1))
    return min(4 * high, Fraction(-1)) if isinstance(high, Fraction) else Fraction(0)


def bound(end: Any) -> Bound:
    """A rational as a Fraction, an infinity as a float."""
    return Fraction(int(end.p), int(end.q)) if isinstance(end, Rational) else float(end)


def rational(end: Bound) -> Any:
    """The same as SymPy's."""
    return Rational(end.numerator, end.denominator) if isinstance(end, Fraction) else sympy.oo * (1 if end > 0 else -1)


Box = Mapping[Any, Range]


def points_of(box: Box) -> dict[Any, Any]:
    """The symbols that have one value only, with it."""
    return {symbol: rational(one.low) for symbol, one in box.items() if one.low == one.high}


def spans(box: Box) -> dict[Symbol, Span]:
    """Every range as a span."""
    return {symbol: one.span for symbol, one in box.items()}


def enclose(expression: Expr, box: Box) -> Span:
    """The expression's values over the box.

    Raises:
        Undefined: it is not defined and continuous on all of it, or not shown to be.
    """
    return span_of(expression)(spans(box))


def everywhere(expression: Expr, box: Box, settles: Callable[[Span], object], splits: int = 6) -> bool:
    """Whether the expression's values on every part of the box settle, splitting it a few times where they do not."""
    image = span_of(expression)
    used = [symbol for symbol in box if symbol in expression.free_symbols]
    waiting = [(dict(box), splits)]
    while waiting:
        part, left = waiting.pop()
        try:
            if settles(image(spans(part))):
                continue
        except Undefined:
            pass
        halves = [dict(zip(used, half, strict=True)) for half in product(*(part[symbol].halves() for symbol in used))]
        if left == 0 or len(halves) == 1:
            return False
        waiting += [({**part, **half}, left - 1) for half in halves]
    return True


def is_defined(expression: Expr, box: Box) -> bool:
    """Whether it is defined and continuous on the box."""
    return everywhere(expression, box, lambda _: True)


def sign_over(expression: Expr, box: Box) -> int:
    """The sign that the expression has everywhere on the box.

    Raises:
        RecheckFailed: it cannot be told, or is not constant.
    """
    tests = ((1, lambda x: x.is_positive), (-1, lambda x: x.is_negative), (0, lambda x: x.is_zero))
    for splits in (0, 4):
        for sign, settles in tests:
            try:
                if everywhere(expression, box, settles, splits):
                    return sign
            except Undefined:
                break
        found = {sign_by_coefficients(substitute(expression, face)) for face in _faces(expression, box)}
        if len(found) == 1 and None not in found:
            return int(*found)  # type: ignore[arg-type]
    for symbol in set(box) & expression.free_symbols:
        for end, away in ((box[symbol].low, 1), (box[symbol].high, -1)):
            if isinstance(end, Fraction) and same(substitute(expression, {symbol: rational(end)}), sympy.Integer(0)):
                return away * sign_over(slope(expression, symbol), box)  # 0 at one end, strictly monotone from there
    raise RecheckFailed(f"the sign of {expression} is not certain")


def is_at_most_zero(expression: Expr, box: Box) -> bool:
    """Whether the expression, as it stands or as one fraction, is <= 0 on the box."""
    for form in (expression, tidy(expression)):
        try:
            if enclose(form, box).high <= 0:
                return True
        except Undefined:
            continue
    return False


def _faces(expression: Expr, box: Box) -> Iterator[dict[Symbol, Expr]]:
    """The inside of the box in coordinates q > 0, and likewise every face of it that belongs to the box."""
    symbols = [symbol for symbol in box if symbol in expression.free_symbols]
    for ends in product(*(_ends(box[symbol]) for symbol in symbols)):
        yield dict(zip(symbols, ends, strict=True))


def _ends(range_: Range) -> list[Expr]:
    low, high, q = rational(range_.low), rational(range_.high), Dummy(positive=True)
    closed = [end for end, belongs in ((low, range_.low_in), (high, range_.high_in)) if belongs]
    if low == high:
        return [low]
    if low == -sympy.oo:
        return [*closed, Dummy(real=True) if high == sympy.oo else high - q]
    return [*closed, low + q if high == sympy.oo else (low + high * q) / (1 + q)]


def covers(boxes: Sequence[Sequence[Range]], whole: Sequence[Range], *, inside: bool = True) -> bool:
    """Whether the boxes are all of the whole, attained ends included, and overlap in faces at most.

    Along the first side the ends of all boxes are the even slots, what lies between two neighbours the odd ones; the
    boxes that hold a slot must be all of the rest of the sides.
    """
    if not whole:
        return len(boxes) == 1 if inside else bool(boxes)
    first, rest = whole[0], whole[1:]
    ends = sorted({e for box in boxes for e in (box[0].low, box[0].high)})
    if not ends or (ends[0], ends[-1]) != (first.low, first.high):
        return False
    place = {end: 2 * index for index, end in enumerate(ends)}
    slots: list[list[Sequence[Range]]] = [[] for _ in range(2 * len(ends) - 1)]
    for box in boxes:
        for k in _slots(place, box[0]):
            slots[k].append(box[1:])
    is_flat = first.low == first.high
    needed = set(_slots(place, first))
    return all(
        covers(slot, rest, inside=inside and (k % 2 == 1 or is_flat)) if k in needed else not slot
        for k, slot in enumerate(slots)
    )


def _slots(place: Mapping[Bound, int], one: Range) -> range:
    return range(place[one.low] + (not one.low_in), place[one.high] + one.high_in)
