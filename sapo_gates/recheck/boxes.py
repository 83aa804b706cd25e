"""Boxes of exact ranges: trees of cuts, and what an expression is over a box.

A proof over a box is a tree. Its inner nodes cut one range at an exact number, its leaves say by which rule a claim
holds on the part that the cuts have left. The parts are worked out here and never read, so they always are the whole
box: no leaf can be missing, too wide, or elsewhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, cast

import sympy
from sympy import Dummy, Expr, Integer, Pow, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import substitute
from sapo_gates.gate import Domain
from sapo_gates.recheck.formulas import NOT_FINITE, assigned, operations, slope
from sapo_gates.recheck.identities import same, tidy
from sapo_gates.recheck.spans import INFINITY, Span, Undefined, rational_span, span_of

NUMBER = re.compile(r"-?\d{1,4000}(/(?!0+$)\d{1,4000})?", re.ASCII)


def require(holds: object, says: str, *about: object) -> None:
    """RecheckFailed unless it holds; formulas are printed only then, which takes its time."""
    if not holds:
        raise RecheckFailed(says.format(*about) if about else says)


def rational(text: object) -> Rational:
    """An exact number as certificates spell it."""
    require(isinstance(text, str) and NUMBER.fullmatch(text), "{!r} is not a rational number", text)
    return Rational(text)


def end(text: object) -> Any:
    """The same, or an infinity."""
    return sympy.oo if text == "oo" else -sympy.oo if text == "-oo" else rational(text)


@dataclass(frozen=True)
class Range:
    """The values of one symbol: its ends are exact rationals, attained or not, or infinite."""

    low: Any
    high: Any
    low_in: bool = False
    high_in: bool = False

    @staticmethod
    def of(domain: Domain) -> "Range":
        """A parameter's domain."""
        return Range(domain.lower, domain.upper, not domain.lower_open, not domain.upper_open)

    @staticmethod
    def at(number: Rational) -> "Range":
        """One number."""
        return Range(number, number, True, True)

    @cached_property
    def span(self) -> Span:
        """As a span, rounded outwards."""
        low = -INFINITY if self.low == -sympy.oo else rational_span(self.low).low
        high = INFINITY if self.high == sympy.oo else rational_span(self.high).high
        return Span(low, high, self.low_in, self.high_in)

    def holds(self, number: Rational) -> bool:
        """The number is one of the values."""
        above = number > self.low or (number == self.low and self.low_in)
        return bool(above and (number < self.high or (number == self.high and self.high_in)))

    def cut(self, at: Any, *, closed: bool) -> "tuple[Range, Range]":
        """What lies below and above the number; closed: it belongs to both."""
        return Range(self.low, at, self.low_in, closed), Range(at, self.high, closed, self.high_in)

    def halves(self) -> "tuple[Range, ...]":
        """Two closed parts, if there is something to split."""
        return (self,) if self.low == self.high else self.cut(_middle(self.low, self.high), closed=True)


def _middle(low: Any, high: Any) -> Any:
    if low.is_finite:
        return (low + high) / 2 if high.is_finite else max(4 * low, Integer(1))
    return min(4 * high, Integer(-1)) if high.is_finite else Integer(0)


Box = Mapping[Any, Range]


def parts(tree: Mapping[str, Any], box: Box) -> Iterator[tuple[dict[Any, Range], Mapping[str, Any]]]:
    """The leaves of a tree, each with its part of the box; every point of the box is in one of the parts.

    An inner node {cut: symbol, at: number, below: tree, above: tree} gives the number itself to both sides, unless it
    has a third tree, there, for it alone.
    """
    if "cut" not in tree:
        yield dict(box), tree
        return
    symbol = next((symbol for symbol in box if str(symbol) == tree["cut"]), None)
    require(symbol is not None, "nothing is called {!r} here", tree["cut"])
    at, whole, apart = rational(tree["at"]), box[symbol], "there" in tree
    require(whole.low < at < whole.high or (apart and whole.holds(at)), "{} = {} cuts nothing", symbol, tree["at"])
    below, above = whole.cut(at, closed=not apart)
    for side, part in (("below", below), ("above", above), ("there", Range.at(at))):
        if part.low < part.high or (side == "there" and apart):
            require(side in tree, "nothing is shown {} {} = {}", side, symbol, tree["at"])
            yield from parts(tree[side], {**box, symbol: part})


def points_of(box: Box) -> dict[Any, Any]:
    """The symbols that have one value only, with it."""
    return {symbol: one.low for symbol, one in box.items() if one.low == one.high}


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
    used = [symbol for symbol in box if symbol in expression.free_symbols]
    waiting = [(dict(box), splits)]
    while waiting:
        part, left = waiting.pop()
        with suppress(Undefined):
            if settles(enclose(expression, part)):
                continue
        halves = [dict(zip(used, half, strict=True)) for half in product(*(part[symbol].halves() for symbol in used))]
        if left == 0 or len(halves) == 1:
            return False
        waiting += [({**part, **half}, left - 1) for half in halves]
    return True


def value_at(formula: Expr, t: Symbol, at: Expr, box: Box) -> Expr:
    """The formula at t = at, which is its limit there: every operation in it is defined and continuous at that point.

    Raises:
        Undefined: one is not.
    """
    for node in operations(formula):
        there: Any = substitute(node, {t: at})
        if there.has(*NOT_FINITE):
            raise Undefined(f"{node} at {t} = {at}")
        enclose(there, box)
        if isinstance(node, Pow) and not node.exp.is_number:  # SymPy takes 0^0 for 1
            base, exponent = (enclose(substitute(cast(Expr, part), {t: at}), box) for part in node.args)
            if not (base.is_positive or (base.low >= 0 and exponent.is_positive)):
                raise Undefined(f"{node} at {t} = {at}")
    return substitute(formula, {t: at})


def is_defined(expression: Expr, box: Box) -> bool:
    """Whether it is defined and continuous on the box."""
    return everywhere(expression, box, lambda _: True)


def is_at_most(expression: Expr, number: Any, box: Box) -> bool:
    """Whether the expression, as it stands or as one fraction, is at most the number on the box."""
    for form in (expression - number, tidy(expression - number)):
        with suppress(Undefined):
            if everywhere(form, box, lambda x: x.high <= 0):
                return True
    return False


def lies_in(expression: Expr, range_: Range, box: Box) -> bool:
    """Whether the expression is defined on the box, with all its values in the range."""
    if box.get(expression) == range_:
        return True
    ends = ((1, range_.low, range_.low_in), (-1, range_.high, range_.high_in))
    return is_defined(expression, box) and all(
        everywhere(side * (expression - end), box, lambda x, own=own: x.is_positive or (own and x.low >= 0))
        for side, end, own in ends
        if end.is_finite
    )


def sign_over(expression: Expr, box: Box) -> int:
    """The sign that the expression has everywhere on the box.

    By its range, by its coefficients, or because it is continuous, 0 at an open end and strictly monotone from there.

    Raises:
        RecheckFailed: it cannot be told, or is not constant.
    """
    tests = ((1, lambda x: x.is_positive), (-1, lambda x: x.is_negative), (0, lambda x: x.is_zero))
    for splits in (0, 4):
        with suppress(Undefined):
            for sign, settles in tests:
                if everywhere(expression, box, settles, splits):
                    return sign
        with suppress(Undefined):
            found = {_sign_by_coefficients(assigned(expression, face)) for face in _faces(expression, box)}
            if len(found) == 1 and None not in found:
                return int(*found)  # type: ignore[arg-type]
    used = [symbol for symbol in box if symbol in expression.free_symbols]
    for symbol in used if is_defined(expression, box) else ():
        one = box[symbol]
        for end, belongs, away in ((one.low, one.low_in, 1), (one.high, one.high_in, -1)):
            if end.is_finite and not belongs and _is_zero_at(expression, symbol, end, box):
                with suppress(RecheckFailed):  # another variable may do
                    return away * sign_over(slope(expression, symbol), box)
    raise RecheckFailed(f"the sign of {expression} is not certain")


def _is_zero_at(expression: Expr, symbol: Symbol, end: Any, box: Box) -> bool:
    with suppress(Undefined):
        return same(value_at(expression, symbol, end, box), Integer(0))
    return False


def _faces(expression: Expr, box: Box) -> Iterator[dict[Symbol, Expr]]:
    """The inside of the box in coordinates q > 0, and likewise every face of it that belongs to the box."""
    symbols = [symbol for symbol in box if symbol in expression.free_symbols]
    for ends in product(*(_ends(box[symbol]) for symbol in symbols)):
        yield dict(zip(symbols, ends, strict=True))


def _ends(range_: Range) -> list[Expr]:
    low, high, q = range_.low, range_.high, Dummy(positive=True)
    closed = [end for end, belongs in ((low, range_.low_in), (high, range_.high_in)) if belongs]
    if low == high:
        return [low]
    if low == -sympy.oo:
        return [*closed, Dummy(real=True) if high == sympy.oo else high - q]
    return [*closed, low + q if high == sympy.oo else (low + high * q) / (1 + q)]


def _sign_by_coefficients(expression: Expr) -> int | None:
    """The sign of a rational function of positive symbols whose numerator's and denominator's coefficients agree.

    One fraction may have lost a factor of both, so every denominator in the expression needs a sign of its own.
    """
    if not all(_sign_by_coefficients(node.base) for node in expression.atoms(Pow) if node.exp.is_negative):
        return None
    numerator, denominator = sympy.fraction(sympy.together(expression))
    if sympy.expand(numerator) == 0:
        return 0 if expression.is_rational_function() else None  # functions that cancel may not exist
    sign = 1
    for part in (numerator, denominator):
        symbols = list(part.free_symbols)
        if not part.is_polynomial() or not all(symbol.is_positive for symbol in symbols):
            return None
        coefficients = sympy.Poly(part, *symbols).coeffs() if symbols else [part]
        if all(c.is_negative for c in coefficients):
            sign = -sign
        elif not all(c.is_positive for c in coefficients):
            return None
    return sign
