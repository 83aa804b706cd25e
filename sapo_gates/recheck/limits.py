"""Limits on the extended line: certain for every parameter value in its range, or refused.

Every operation is continued to +-oo where it is continuous there (tanh(oo) = 1, 1/oo = 0 from above); 0 * oo, oo - oo
and their kind are refused. Sine and cosine have no limit there, but stay in [-1, 1], which something else may squeeze
to one number.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import add, mul
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid
from sapo_gates.recheck.formulas import log_slope
from sapo_gates.recheck.spans import FUNCTIONS, ONE, ZERO, Span, Undefined, rational_span, span_of

Box = Mapping[Symbol, Span]


@dataclass(frozen=True)
class Limit:
    """span None: infinity of that sign; else a number in the span, and sign the side a limit 0 is reached from.

    swings: there need be no limit, but all accumulation points lie in the span.
    """

    span: Span | None
    sign: int = 0
    swings: bool = False

    @property
    def is_infinite(self) -> bool:
        """It is +-oo."""
        return self.span is None

    @property
    def number(self) -> Span:
        """Where a finite limit lies."""
        if self.span is None:
            raise Undefined("an infinite limit")
        return self.span

    @property
    def is_zero(self) -> bool:
        """It is 0 for every parameter value."""
        return self.span is not None and self.span.is_zero

    @property
    def near(self) -> int:
        """The sign of the expression near the end, 0 if that is not certain."""
        if self.span is None or self.is_zero:
            return self.sign
        return 1 if self.span.is_positive else -1 if self.span.is_negative else 0

    def is_at_most(self, number: Any) -> bool:
        """It is a number that is not larger, or -oo."""
        return self.sign < 0 if self.span is None else bool((self.span + -rational_span(number)).high <= 0)

    def tends(self, sign: int) -> bool:
        """It is a number of that sign, or infinity; 0 approached from that side is neither."""
        return self.near == sign and not self.is_zero


UP, DOWN = Limit(None, 1), Limit(None, -1)
ABOVE, BELOW = Limit(Span(ZERO, ZERO), 1), Limit(Span(ZERO, ZERO), -1)
ONES = (Limit(Span(-ONE, -ONE)), Limit(Span(ONE, ONE)))

TAILS: dict[object, tuple[Limit | None, Limit]] = {  # at -oo, at +oo
    sympy.exp: (ABOVE, UP),
    sympy.log: (None, UP),
    sympy.tanh: ONES,
    sympy.erf: ONES,
    sympy.erfc: (Limit(Span(ONE + ONE, ONE + ONE)), ABOVE),
    sigmoid: (ABOVE, ONES[1]),
    sympy.sech: (ABOVE, ABOVE),
    sympy.coth: ONES,
    sympy.csch: (BELOW, ABOVE),
    sympy.cosh: (UP, UP),
    sympy.sinh: (DOWN, UP),
    sympy.asinh: (DOWN, UP),
}
ONE_SIDED = (sympy.asin, sympy.acos, sympy.acosh, sympy.LambertW)
"""Functions with an enclosure at an end of where they are defined; all others are defined around each such point."""
ODD = (sympy.tanh, sympy.erf, sympy.erfi, sympy.sinh, sympy.asinh, sympy.atan, sympy.sin, sympy.tan)


def limit(expression: Expr, variable: Symbol, end: Limit, box: Box, rates: int = 2) -> Limit:
    """The limit as the variable goes to the end (ABOVE, UP or DOWN), for all parameters in the box.

    Raises:
        Undefined: an indeterminate form, or nothing is known.
    """
    found = _near(expression, variable, end, box, rates)
    if found.swings:
        raise Undefined("no limit")
    return found


def _near(expression: Expr, variable: Symbol, end: Limit, box: Box, rates: int) -> Limit:
    """The same, or what the expression swings in."""
    if expression == variable:
        return end
    if variable not in expression.free_symbols:
        return Limit(span_of(expression)(box))
    arguments: list[Any] = list(expression.args)
    if expression.is_rational_function(variable):
        return _rational(expression, variable, end, box)
    if isinstance(expression, Add | Mul):
        arguments = _grouped(expression, variable)

    def near(part: Expr) -> Limit:
        return _near(part, variable, end, box, rates)

    parts = [near(argument) for argument in arguments]
    try:
        return _operation(expression, parts)
    except Undefined:
        if isinstance(expression, Add):
            return near(_outgrowing(arguments, near))
        if not isinstance(expression, Mul) or rates == 0:
            raise
    equivalent = Mul(
        *(
            _equivalent(a, variable, near) if part.is_infinite or part.is_zero else a
            for a, part in zip(arguments, parts, strict=True)
        )
    )
    if equivalent != expression:
        return limit(equivalent, variable, end, box, rates)
    found = zip(arguments, parts, strict=True)
    decisive = Mul(*(a for a, part in found if part.is_infinite or part.is_zero or not (part.near or part.swings)))
    # e goes like x^p, or faster, where p is the limit of x (log |e|)', term by term or expanded
    terms = [variable * term for term in Add.make_args(log_slope(decisive, variable))]
    sign, grows = prod(part.near for part in parts), -1 if end.is_zero else 1
    for total in (Add(*terms), sympy.expand(Add(*terms))):
        with suppress(Undefined):
            rate = limit(total, variable, end, box, rates - 1)
            if rate.tends(-grows):
                return Limit(Span(ZERO, ZERO), sign)
            if rate.tends(grows) and sign:
                return Limit(None, sign)
    raise Undefined("0 * oo")


def _operation(expression: Expr, parts: list[Limit]) -> Limit:
    """The expression's outermost operation, on the limits of its arguments."""
    match expression:
        case Add():
            return _sum(parts)
        case Mul():
            return _product(parts)
        case Pow() if isinstance(expression.exp, Rational):
            return _power(parts[0], expression.exp)
        case Pow():
            return _of(sympy.exp, _product([parts[1], _of(sympy.log, parts[0])]))
    if len(parts) != 1:
        raise Undefined(f"no limit of {expression.func.__name__}")
    return _of(expression.func, parts[0])


def _grouped(expression: Expr, variable: Symbol) -> list[Any]:
    """The arguments, what is rational in them together: (r + 1)/r has a limit, 1/r * (r + 1) none."""
    rational = [a for a in expression.args if a.is_rational_function(variable)]
    return [expression.func(*rational), *(a for a in expression.args if a not in rational)]


MAX_DEGREE = 100
MAX_TERMS = 4  # of a sum whose terms are compared, each with each


def _outgrowing(terms: list[Any], near: Callable[[Expr], Limit]) -> Expr:
    """The one of a sum's terms that goes to infinity and beside which all others vanish, so that the sum is like it.

    Raises:
        Undefined: none is shown to.
    """
    for first in terms if 1 < len(terms) <= MAX_TERMS else ():
        with suppress(Undefined):
            if near(first).is_infinite and all(near(term / first).is_zero for term in terms if term is not first):
                return first
    raise Undefined("no term outgrows the others")


def _equivalent(factor: Any, variable: Symbol, near: Callable[[Expr], Limit]) -> Expr:
    """A factor that goes to 0 or infinity, or what goes there with it, their quotient going to 1; fixed powers only.

    A sum and the term that outgrows the others; erfc(g) and exp(-g^2)/(sqrt(pi) g) as g -> oo; an odd F(g) and F'(0) g
    as g -> 0, if F'(0) is not 0.
    """
    base, power = (factor.base, factor.exp) if isinstance(factor, Pow) else (factor, Integer(1))
    if not power.is_number:
        return factor
    with suppress(Undefined):
        if isinstance(base, Add):
            return _outgrowing(_grouped(base, variable), near) ** power
    if isinstance(base, sympy.erfc):
        return (sympy.exp(-(base.args[0] ** 2)) / (sympy.sqrt(sympy.pi) * base.args[0])) ** power
    if base.func not in ODD or not near(base.args[0]).is_zero:
        return factor
    x = sympy.Dummy()
    return (base.func(x).fdiff().subs(x, 0) * base.args[0]) ** power


def _rational(expression: Expr, variable: Symbol, end: Limit, box: Box) -> Limit:
    """By its leading term, or where that cancels by those of numerator and denominator."""
    choose = min if end.is_zero else max
    try:
        factor, degree = _leading(expression, variable, choose, box)
    except Undefined:
        top, bottom = map(sympy.expand, sympy.fraction(sympy.together(expression)))
        factor, degree = _leading(top / bottom, variable, choose, box)
    span_of(factor)(box)  # it is a number
    coefficient = Limit(span_of(sympy.factor(factor) if _is_short(factor) else factor)(box))
    return _product([coefficient, _power(end, Rational(degree))]) if degree else coefficient


def _is_short(factor: Expr) -> bool:
    """Whether it is a rational function of parameters, of no huge degree: exp(10^6) is the power 10^6 of E to SymPy."""
    powers = factor.atoms(Pow)
    is_rational = not factor.has(sympy.Function) and all(power.exp.is_Integer for power in powers)
    return bool(factor.free_symbols) and is_rational and all(abs(power.exp) < MAX_DEGREE for power in powers)


def _leading(expression: Any, variable: Symbol, choose: Callable[..., int], box: Box) -> tuple[Expr, int]:
    """The factor c and degree d of a rational function's term of highest (choose: max) or lowest degree.

    At parameter values where c is 0 the function is smaller; no denominator's is.
    """
    if variable not in expression.free_symbols:
        return expression, 0
    if expression == variable:
        return Integer(1), 1
    leading = [_leading(one, variable, choose, box) for one in expression.args]
    match expression:
        case Add():
            degree = choose(degree for _, degree in leading)
            factor = Add(*(factor for factor, own in leading if own == degree))
            expanded = sympy.expand(factor)
            if expanded == 0:
                raise Undefined("the leading terms cancel")
            return min(factor, expanded, key=sympy.count_ops), degree
        case Mul():
            return Mul(*(factor for factor, _ in leading)), sum(degree for _, degree in leading)
    (factor, degree), exponent = leading[0], int(expression.exp)
    power = factor**exponent
    span_of(power)(box)  # a denominator's factor is never 0
    return power, degree * exponent


def _sum(terms: list[Limit]) -> Limit:
    infinities = {term.sign for term in terms if term.is_infinite}
    if infinities:
        if len(infinities) > 1:
            raise Undefined("oo - oo")
        return Limit(None, infinities.pop())
    total = reduce(add, (term.number for term in terms))
    sides = {term.sign if term.is_zero else 0 for term in terms}
    return Limit(total, sides.pop() if len(sides) == 1 else 0, any(term.swings for term in terms))


def _product(factors: list[Limit]) -> Limit:
    sign = 1
    for factor in factors:
        sign *= factor.near
    if any(factor.is_infinite for factor in factors):
        if sign == 0 or any(factor.is_zero for factor in factors):
            raise Undefined("0 * oo")
        return Limit(None, sign)
    if any(factor.is_zero for factor in factors):
        return Limit(Span(ZERO, ZERO), sign)
    return Limit(reduce(mul, (factor.number for factor in factors)), 0, any(factor.swings for factor in factors))


def _power(base: Limit, exponent: Rational) -> Limit:
    p, q = int(exponent.p), int(exponent.q)
    if q != 1 and base.near != 1:
        raise Undefined("a root of what may be negative")
    sign = 1 if base.near == 1 or (base.near == -1 and p % 2 == 0) else base.near
    if base.is_infinite or base.is_zero:
        grows = base.is_infinite == (exponent > 0)
        if grows and sign == 0:
            raise Undefined("1/0 from both sides")
        return Limit(None, sign) if grows else Limit(Span(ZERO, ZERO), sign)
    return Limit(base.number.power(exponent), 0, base.swings)


def _of(function: object, argument: Limit) -> Limit:
    if argument.span is None:
        if function is sympy.atan:
            return Limit(span_of(argument.sign * sympy.pi / 2)({}))
        if function in (sympy.sin, sympy.cos):
            return Limit(Span(-ONE, ONE), 0, True)
        found = TAILS.get(function, (None, None))[argument.sign > 0]
        if found is None:
            raise Undefined(f"no limit of {function} at infinity")
        return found
    if argument.is_zero and function is sympy.log and argument.sign > 0:
        return DOWN
    if function in ONE_SIDED or function not in FUNCTIONS:
        raise Undefined(f"no limit of {function}")
    image = FUNCTIONS[function](argument.number)
    return Limit(image, argument.sign if argument.is_zero and function in ODD else 0, argument.swings)
