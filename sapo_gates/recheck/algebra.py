"""Exact facts: the weight from the gate's text, which piece holds where, derivatives, identities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, Literal, cast

import sympy
from flint import arb, fmpq
from sympy import Add, Expr, Mul, Piecewise, Pow, Rational, Symbol
from sympy.core.relational import Relational

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, sigmoid, substitute, z
from sapo_gates.gate import Domain, Kind
from sapo_gates.recheck.spans import Span, Undefined, span_of

Bound = Fraction | float
INFINITE = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.AccumBounds)


@dataclass(frozen=True)
class Range:
    """The values of one symbol, with exact ends."""

    low: Bound
    high: Bound
    low_in: bool = False
    high_in: bool = False

    @staticmethod
    def of(domain: Domain) -> "Range":
        """A parameter's domain."""
        return Range(bound(domain.lower), bound(domain.upper), not domain.lower_open, not domain.upper_open)

    @property
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


def _middle(low: Bound, high: Bound) -> Fraction:
    if isinstance(low, Fraction):
        return (low + high) / 2 if isinstance(high, Fraction) else max(4 * low, Fraction(1))
    return min(4 * high, Fraction(-1)) if isinstance(high, Fraction) else Fraction(0)


def bound(end: Expr) -> Bound:
    """A rational as a Fraction, an infinity as a float."""
    return Fraction(int(end.p), int(end.q)) if isinstance(end, Rational) else float(end)


Ranges = Mapping[Any, Range]
SPELLINGS: tuple[Callable[[Expr], Any], ...] = (lambda e: e, sympy.expand, sympy.factor)


def spans(ranges: Ranges) -> dict[Symbol, Span]:
    """Every range as a span."""
    return {symbol: one.span for symbol, one in ranges.items()}


def enclose(expression: Expr, ranges: Ranges) -> Span:
    """The expression's values over the ranges, or Undefined."""
    return span_of(expression)(spans(ranges))


def enclose_split(expression: Expr, ranges: Ranges, settles: Callable[[Span], bool], splits: int = 6) -> bool:
    """Whether every part of the box settles, splitting it a few times where it does not."""
    image = span_of(expression)
    waiting = [(dict(ranges), splits)]
    while waiting:
        box, left = waiting.pop()
        try:
            if settles(image(spans(box))):
                continue
        except Undefined:
            pass
        if left == 0:
            return False
        used = [symbol for symbol in box if symbol in expression.free_symbols]
        parts = [dict(zip(used, halves, strict=True)) for halves in product(*(box[symbol].halves() for symbol in used))]
        if len(parts) == 1:
            return False
        waiting += [({**box, **part}, left - 1) for part in parts]
    return True


def sign_over(expression: Expr, ranges: Ranges) -> Literal[-1, 0, 1]:
    """The sign that the expression has everywhere on the box.

    Raises:
        RecheckFailed: it cannot be told, or is not constant.
    """
    if expression == 0:
        return 0
    for splits in (0, 4):
        for spell in SPELLINGS:
            form = spell(expression)
            try:
                if enclose_split(form, ranges, lambda image: image.is_positive, splits):
                    return 1
                if enclose_split(form, ranges, lambda image: image.is_negative, splits):
                    return -1
                if enclose_split(form, ranges, lambda image: image.is_zero, 0):
                    return 0
            except Undefined:
                continue
    if same(expression, sympy.Integer(0)):
        return 0
    parts = sympy.fraction(sympy.together(expression))
    signs = [_sign_at_corners(part, ranges) for part in parts]
    if 0 not in signs:
        return 1 if signs[0] == signs[1] else -1
    raise RecheckFailed(f"the sign of {expression} is not certain")


def _sign_at_corners(part: Expr, ranges: Ranges) -> int:
    """The sign on the box of an expression that is linear in each symbol, or 0.

    Inside the box it is a mean, with positive weights, of its values at the corners (for an end at infinity: of the
    slope towards it). So corners >= 0 that are not all 0 make it > 0 inside; ends that belong to the box are boxes of
    their own.
    """
    symbols = [symbol for symbol in ranges if symbol in part.free_symbols]
    if part.free_symbols != set(symbols) or not all(
        part.is_polynomial(symbol) and sympy.degree(part, symbol) == 1 for symbol in symbols
    ):
        return 0
    found = 0
    for sign in (1, -1):
        if _corners_at_least_zero(sign * part, symbols, ranges):
            found = sign
    for symbol in symbols:
        for end, belongs in (
            (ranges[symbol].low, ranges[symbol].low_in),
            (ranges[symbol].high, ranges[symbol].high_in),
        ):
            if belongs and isinstance(end, Fraction):
                face = sympy.expand(part.xreplace({symbol: Rational(end.numerator, end.denominator)}))
                if face == 0 or _sign_at_corners(face, ranges) != found:
                    return 0
    return found


def _corners_at_least_zero(part: Expr, symbols: list[Any], ranges: Ranges) -> bool:
    if not symbols:
        return bool(part >= 0)
    first, rest = symbols[0], symbols[1:]
    slope = sympy.expand(sympy.diff(part, first))
    corners = []
    for end, towards in ((ranges[first].low, -1), (ranges[first].high, 1)):
        at = (
            slope * towards
            if isinstance(end, float)
            else part.xreplace({first: Rational(end.numerator, end.denominator)})
        )
        corners.append(sympy.expand(at))
    return all(_corners_at_least_zero(corner, rest, ranges) for corner in corners)


@lru_cache(maxsize=4096)
def same(a: Expr, b: Expr) -> bool:
    """Whether a = b wherever both are defined, by one fraction whose numerator expands to 0."""
    if a == b:
        return True
    for spell in (lambda e: e, lambda e: e.rewrite(sympy.exp), exponentials):
        spelled = spell(a - b)
        numerator = sympy.fraction(sympy.together(spelled))[0]
        for tidy in (sympy.expand, lambda n: sympy.expand(sympy.powsimp(sympy.expand(n))), _algebraic):
            if tidy(numerator) == 0:
                return True
    return False


def exponentials(expression: Expr) -> Expr:
    """Hyperbolic functions spelled by exp, expanded."""
    return sympy.expand(expression.rewrite(sympy.exp), power_exp=True, power_base=False, log=False)


def _algebraic(numerator: Expr) -> Expr:
    """The numerator with every root of a sum as a symbol of its own, reduced by root^q = sum."""
    roots: dict[Expr, tuple[Symbol, int]] = {}
    powers: list[Any] = [p for p in numerator.atoms(Pow) if isinstance(p.exp, Rational) and p.exp.q != 1]
    for power in powers:
        base, q = sympy.expand(power.base), int(power.exp.q)
        known = roots.get(base)
        roots[base] = (known[0], sympy.ilcm(known[1], q)) if known else (sympy.Dummy(positive=True), q)
    spelled = substitute(
        numerator, {p: roots[b][0] ** (p.exp * roots[b][1]) for p in powers for b in [sympy.expand(p.base)]}
    )
    expanded: Any = sympy.expand(spelled)
    for base, (root, q) in roots.items():
        if not expanded.is_polynomial(root):
            return numerator
        expanded = sympy.rem(expanded, root**q - base, root)
    return sympy.expand(expanded)


def plain(declared: Any) -> Expr:
    """The declaration in r alone, every corner spelled as a Piecewise."""

    def extreme(arguments: tuple[Expr, ...], larger: bool) -> Expr:
        best = arguments[0]
        for one in arguments[1:]:
            best = Piecewise((best, best >= one if larger else best <= one), (one, True))
        return best

    declared = substitute(declared, {z: sympy.log(r)})
    declared = declared.replace(sympy.Max, lambda *a: extreme(a, True)).replace(sympy.Min, lambda *a: extreme(a, False))
    declared = declared.replace(sympy.Abs, lambda a: Piecewise((a, a >= 0), (-a, True)))
    return declared.replace(sympy.sign, lambda a: Piecewise((1, a > 0), (-1, a < 0), (0, True)))


def piece(expression: Any, sign: Callable[[Expr], int]) -> Expr:
    """The expression where every condition's left side minus right side has the sign told."""
    if isinstance(expression, Piecewise):
        pieces: Any = expression.args
        for formula, condition in pieces:
            if _holds(condition, sign):
                return piece(formula, sign)
        raise RecheckFailed(f"no piece of {expression} holds")
    return expression.func(*(piece(a, sign) for a in expression.args)) if expression.has(Piecewise) else expression


def _holds(condition: Any, sign: Callable[[Expr], int]) -> bool:
    if isinstance(condition, Relational):
        left, right = (cast(Expr, part) for part in condition.args)
        told = sign(piece(left - right, sign))
        return bool(type(condition)(sympy.Integer(told), 0))
    if isinstance(condition, sympy.And | sympy.Or | sympy.Not | sympy.ITE):
        return bool(condition.func(*(sympy.true if _holds(c, sign) else sympy.false for c in condition.args)))
    if condition in (sympy.true, sympy.false):
        return bool(condition)
    raise RecheckFailed(f"the condition {condition} cannot be read")


def convert(kind: Kind, formula: Expr, quantity: Kind) -> Expr:
    """value, weight or score weight from one declared piece; a value only where it is declared."""
    if kind == quantity:
        return formula
    weight = slope(formula, r) if kind == "value" else formula / r if kind == "score" else formula
    assert quantity != "value"
    return weight if quantity == "weight" else r * weight


def slope(expression: Any, by: Symbol) -> Expr:
    """The derivative; 1 - tanh^2 would cancel, sech^2 does not."""
    return expression.replace(sympy.tanh, lambda g: 2 * cast(Expr, sigmoid(2 * g)) - 1).diff(by)


def log_slope(factor: Any, by: Symbol) -> Expr:
    """(log |e|)' by factors; holds where no factor is 0."""
    if by not in factor.free_symbols:
        return sympy.Integer(0)
    match factor:
        case Mul():
            return Add(*(log_slope(one, by) for one in factor.args))
        case Pow() if by not in factor.exp.free_symbols:
            return factor.exp * log_slope(factor.base, by)
        case Pow():
            return slope(factor.exp * sympy.log(factor.base), by)
        case sympy.exp():
            return slope(factor.args[0], by)
        case sigmoid():
            return cast(Expr, sigmoid(-cast(Expr, factor.args[0]))) * slope(factor.args[0], by)
        case sympy.sinh():
            return sympy.coth(factor.args[0]) * slope(factor.args[0], by)
        case sympy.sech() | sympy.cosh():
            rate = sympy.tanh(factor.args[0]) * slope(factor.args[0], by)
            return -rate if isinstance(factor, sympy.sech) else rate
    return slope(factor, by) / factor


def restricted(node: Any) -> tuple[Expr, bool] | None:
    """For a root, general power or logarithm: what must be positive, and whether 0 will do."""
    if isinstance(node, sympy.log):
        return cast(Expr, node.args[0]), False
    if isinstance(node, Pow) and not node.exp.is_Integer and node.base is not sympy.E:
        return node.base, bool(node.exp.is_Rational and node.exp.is_positive)
    return None


def slope_by_terms(expression: Expr, by: Symbol) -> Expr:
    """The derivative as a sum of term * (log term)'."""
    return Add(*(term * log_slope(term, by) for term in Add.make_args(expression)))


def value_at_end(expression: Expr, t: Symbol, at: Expr, ranges: Ranges) -> Expr:
    """The expression at t = at, which is its limit there: every operation in it is defined at that point.

    Raises:
        Undefined: one is not.
    """
    box = spans(ranges)
    for node in sympy.preorder_traversal(expression):
        if t in node.free_symbols:
            there: Any = substitute(cast(Expr, node), {t: at})
            if there.has(*INFINITE):
                raise Undefined(f"{node} at {t} = {at}")
            span_of(there)(box)
    return substitute(expression, {t: at})


def quotient(expression: Any) -> tuple[Expr, Expr]:
    """One numerator over one denominator, with the poles of coth, csch and tan in the latter."""
    for f, spell in (
        (sympy.coth, lambda g: sympy.cosh(g) / sympy.sinh(g)),
        (sympy.csch, lambda g: 1 / sympy.sinh(g)),
        (sympy.tan, lambda g: sympy.sin(g) / sympy.cos(g)),
    ):
        expression = expression.replace(f, spell)
    return sympy.fraction(sympy.together(expression))  # type: ignore[return-value]


def filled(expression: Expr, t: Symbol, at: Expr, ranges: Ranges) -> Expr:
    """The limit at t = at, where numerator and denominator vanish, by l'Hopital's rule.

    Raises:
        Undefined: it does not show one.
    """
    top, bottom = quotient(expression)
    for _ in range(MAX_ORDER):
        above, below = (value_at_end(part, t, at, ranges) for part in (top, bottom))
        if not same(below, sympy.Integer(0)):
            span = enclose(below, ranges)
            if span.is_positive or span.is_negative:
                return above / below
            break
        if not same(above, sympy.Integer(0)):
            break
        top, bottom = slope(top, t), slope(bottom, t)
    raise Undefined(f"{expression} at {t} = {at}")


MAX_ORDER = 6
