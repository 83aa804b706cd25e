"""Limits as one variable goes to an end, for whole ranges of the parameters at once.

Every operation continues to the extended line where that is continuous (tanh(oo) = 1, 1/oo = 0+), and refuses where
it is not (0 * oo, oo - oo): a limit is either certain or not claimed. What swings without end, as a sine does, stays in
an interval, and has a limit where something squeezes that to one number. SymPy's own `limit` is not used, because it
cannot be checked.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import sympy
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid
from sapo_gates.prove.enclose import compiled, power
from sapo_gates.prove.forms import log_derivative, tamed
from sapo_gates.prove.interval import ONE, ZERO, Interval, Undefined


@dataclass(frozen=True)
class Limit:
    """+-oo, or a number that lies in the interval for every parameter value.

    approach: +1 or -1 if the limit is 0 and reached from above or from below.
    swings: there need be no limit, but all that the expression comes back to lies in the interval.
    """

    infinite: Literal[-1, 0, 1] = 0
    interval: Interval | None = None
    approach: Literal[-1, 0, 1] = 0
    swings: bool = False

    @property
    def finite(self) -> Interval:
        """The interval of a finite limit.

        Raises:
            Undefined: the limit is infinite.
        """
        if self.interval is None:
            raise Undefined("infinite limit")
        return self.interval

    @property
    def sign(self) -> Literal[-1, 0, 1]:
        """The sign that the expression has near the end for every parameter value, 0 if that is not certain."""
        if self.infinite or self.approach:
            return self.infinite or self.approach
        return 1 if self.finite.is_positive else -1 if self.finite.is_negative else 0

    @property
    def is_away_from_zero(self) -> int:
        """+1 or -1 if the limit itself has that sign for every parameter value, infinite included; 0 otherwise."""
        if self.infinite:
            return self.infinite
        return 1 if self.finite.is_positive else -1 if self.finite.is_negative else 0

    @property
    def is_zero(self) -> bool:
        """The limit is exactly 0."""
        return self.interval is not None and bool(self.interval.lower == 0 and self.interval.upper == 0)


TO_INFINITY = Limit(infinite=1)
TO_MINUS_INFINITY = Limit(infinite=-1)
ZERO_FROM_ABOVE = Limit(interval=Interval(ZERO, ZERO), approach=1)

_AT_INFINITY: dict[object, tuple[Limit, Limit]] = {  # at -oo, at +oo
    sympy.exp: (ZERO_FROM_ABOVE, TO_INFINITY),
    sympy.tanh: (Limit(interval=Interval(-ONE, -ONE)), Limit(interval=Interval(ONE, ONE))),
    sympy.erf: (Limit(interval=Interval(-ONE, -ONE)), Limit(interval=Interval(ONE, ONE))),
    sympy.erfc: (Limit(interval=Interval(ONE + 1, ONE + 1)), ZERO_FROM_ABOVE),
    sigmoid: (ZERO_FROM_ABOVE, Limit(interval=Interval(ONE, ONE))),
    sympy.sech: (ZERO_FROM_ABOVE, ZERO_FROM_ABOVE),
    sympy.coth: (Limit(interval=Interval(-ONE, -ONE)), Limit(interval=Interval(ONE, ONE))),
    sympy.csch: (Limit(interval=Interval(ZERO, ZERO), approach=-1), ZERO_FROM_ABOVE),
    sympy.cosh: (TO_INFINITY, TO_INFINITY),
    sympy.sinh: (TO_MINUS_INFINITY, TO_INFINITY),
    sympy.asinh: (TO_MINUS_INFINITY, TO_INFINITY),
}


def limit(
    expression: Expr, variable: Symbol, end: Limit, parameters: Mapping[Symbol, Interval], rates: int = 2
) -> Limit:
    """The limit as variable -> end (+oo, -oo or 0 from above), the parameters anywhere in their ranges.

    rates: how many times a product 0 * oo may be judged by the rate at which it falls.

    Raises:
        Undefined: an indeterminate form, or a function whose continuation is not known; nothing is claimed.
    """
    found = _near(expression, variable, end, parameters, rates)
    if found.swings:
        raise Undefined("no limit")
    return found


def _near(expression: Expr, variable: Symbol, end: Limit, parameters: Mapping[Symbol, Interval], rates: int) -> Limit:
    """The same, or what the expression swings in."""
    if variable not in expression.free_symbols:
        return Limit(interval=compiled(expression)(parameters))
    if expression == variable:
        return end
    if expression.is_rational_function(variable):
        return _rational(expression, variable, end, parameters)

    def vanishes(g: Expr) -> bool:
        return limit(g, variable, end, parameters, rates).is_zero

    def leading(total: Expr) -> Expr:
        if rates == 0:
            raise Undefined("oo - oo")
        return _leading(total, variable, lambda g: _near(g, variable, end, parameters, rates))

    grouped = _grouped(expression, variable)
    arguments = [_near(argument, variable, end, parameters, rates) for argument in grouped]
    match expression:
        case Add():
            try:
                return _sum(arguments)
            except Undefined:
                return _near(leading(expression), variable, end, parameters, rates)
        case Mul():
            try:
                return _product(arguments)
            except Undefined:
                if rates == 0:
                    raise
            equivalent = Mul(
                *(_equivalent(e, found, vanishes, leading) for e, found in zip(grouped, arguments, strict=True))
            )
            if equivalent != expression:
                return limit(equivalent, variable, end, parameters, rates)
            decisive = Mul(
                *(
                    e
                    for e, found in zip(grouped, arguments, strict=True)
                    if found.infinite or not (found.is_away_from_zero or found.swings)
                )
            )
            rate = sympy.expand(variable * log_derivative(decisive, variable))
            return _by_rate(limit(rate, variable, end, parameters, rates - 1), end, arguments)
        case Pow(exp=Rational() as exponent):
            return _power(arguments[0], exponent)
        case Pow():
            return _function(sympy.exp, _product([arguments[1], _function(sympy.log, arguments[0])]))
    if len(arguments) != 1:
        raise Undefined(f"no limit known for {expression.func.__name__}")
    return _function(expression.func, arguments[0])


MAX_TERMS = 4  # of a sum whose terms are compared, each with each


def _leading(total: Expr, variable: Symbol, near: Callable[[Expr], Limit]) -> Expr:
    """The term of a sum that goes to infinity and beside which all others vanish.

    Raises:
        Undefined: none is shown to.
    """
    terms = _grouped(total, variable)
    for first in terms if 1 < len(terms) <= MAX_TERMS else ():
        with suppress(Undefined):
            if near(first).infinite and all(near(one / first).is_zero for one in terms if one is not first):
                return first
    raise Undefined("no term outgrows the others")


def _equivalent(factor: Expr, found: Limit, vanishes: Callable[[Expr], bool], leading: Callable[[Expr], Expr]) -> Expr:
    """A factor that goes to 0 or infinity, or what goes there with it, their quotient going to 1; fixed powers only.

    A sum and the term that outgrows the others; erfc(g) and exp(-g^2)/(sqrt(pi) g) as g -> oo; sin(g) and g as g -> 0,
    and likewise others.
    """
    base, power = (factor.base, factor.exp) if isinstance(factor, Pow) else (factor, sympy.Integer(1))
    if not power.is_number or not (found.is_zero or found.infinite):
        return factor
    if isinstance(base, sympy.erfc):
        return (sympy.exp(-(base.args[0] ** 2)) / (sympy.sqrt(sympy.pi) * base.args[0])) ** power
    if isinstance(base, Add):
        with suppress(Undefined):
            return leading(base) ** power
        return factor
    slope = SLOPES_AT_ZERO.get(base.func)
    return (slope * base.args[0]) ** power if slope is not None and vanishes(base.args[0]) else factor


SLOPES_AT_ZERO: dict[object, Expr] = {
    **dict.fromkeys((sympy.sin, sympy.tan, sympy.asin, sympy.atan), sympy.Integer(1)),
    **dict.fromkeys((sympy.sinh, sympy.tanh, sympy.asinh, sympy.atanh), sympy.Integer(1)),
    **dict.fromkeys((sympy.erf, sympy.erfi), 2 / sympy.sqrt(sympy.pi)),
}
"""Functions with F(0) = 0, and F'(0)."""


def _grouped(expression: Expr, variable: Symbol) -> list[Expr]:
    """The arguments, those that are rational functions of the variable as one."""
    if not isinstance(expression, Add | Mul):
        return list(expression.args)
    rational = [argument for argument in expression.args if argument.is_rational_function(variable)]
    rest = [argument for argument in expression.args if argument not in rational]
    return [expression.func(*rational), *rest] if rational else rest


def _rational(expression: Expr, variable: Symbol, end: Limit, parameters: Mapping[Symbol, Interval]) -> Limit:
    """By the terms of highest degree, or of lowest where the variable goes to 0."""
    leading = []
    for part in sympy.fraction(sympy.together(expression)):
        terms = sympy.Poly(part, variable).terms()
        leading.append(terms[-1 if end.is_zero else 0])
    ((above,), top), ((below,), bottom) = leading
    return _product([_quotient(top, bottom, parameters), _power(end, Rational(above - below))])


def _quotient(top: Expr, bottom: Expr, parameters: Mapping[Symbol, Interval]) -> Limit:
    """top/bottom, where bottom is never 0; as factors where its sign shows by these alone: a - a b over a is 1 - b."""

    def over(quotient: Expr, below: Expr) -> Limit:
        compiled(below)(parameters).reciprocal()
        return Limit(interval=compiled(quotient)(parameters))

    quotient = top / bottom
    has_factors = bool(quotient.free_symbols) and quotient.is_rational_function()
    with suppress(Undefined):
        plain = over(quotient, bottom)
        if plain.sign or not has_factors:
            return plain
    if not has_factors:
        raise Undefined("1/0")
    return over(tamed(sympy.factor, quotient), tamed(sympy.factor, bottom))


def _by_rate(rate: Limit, end: Limit, factors: list[Limit]) -> Limit:
    """Of a product e by the limit p of x (log |e|)': if that is not 0, e goes like x^p, or faster, to 0 or infinity."""
    direction = rate.is_away_from_zero * (-1 if end.is_zero else 1)
    sign = _sign_of_product(factors)
    if direction < 0:
        return Limit(interval=Interval(ZERO, ZERO), approach=sign)
    if direction > 0 and sign:
        return Limit(infinite=sign)
    raise Undefined("0 * oo")


def _sign_of_product(factors: list[Limit]) -> Literal[-1, 0, 1]:
    signs = [factor.sign for factor in factors]
    return 0 if 0 in signs else 1 if signs.count(-1) % 2 == 0 else -1


def _sum(terms: list[Limit]) -> Limit:
    infinite: set[Literal[-1, 0, 1]] = {term.infinite for term in terms if term.infinite}
    if len(infinite) > 1:
        raise Undefined("oo - oo")
    if infinite:
        return Limit(infinite=infinite.pop())
    total = terms[0].finite
    for term in terms[1:]:
        total = total + term.finite
    approaches: set[Literal[-1, 0, 1]] = {term.approach for term in terms}
    return Limit(interval=total, approach=approaches.pop() if len(approaches) == 1 else 0, swings=_swing(terms))


def _product(factors: list[Limit]) -> Limit:
    sign = _sign_of_product(factors)
    if any(factor.infinite for factor in factors):
        if sign == 0 or any(factor.interval is not None and factor.is_zero for factor in factors):
            raise Undefined("0 * oo")
        return Limit(infinite=sign)
    total = factors[0].finite
    for factor in factors[1:]:
        total = total * factor.finite
    zero = any(factor.is_zero for factor in factors)
    return Limit(interval=total, approach=sign if zero else 0, swings=_swing(factors) and not zero)


def _swing(parts: list[Limit]) -> bool:
    return any(part.swings for part in parts)


def _power(base: Limit, exponent: Rational) -> Limit:
    positive_base = base.sign > 0 or exponent.q != 1 or exponent.p % 2 == 0
    if exponent.q != 1 and base.sign <= 0 and not (base.interval is not None and base.interval.is_positive):
        raise Undefined("root of a number that may be negative")
    direction: Literal[-1, 1] = 1 if positive_base else -1
    if exponent == 0:
        return Limit(interval=Interval(ONE, ONE))
    if base.infinite:
        return Limit(infinite=direction) if exponent > 0 else Limit(interval=Interval(ZERO, ZERO), approach=direction)
    if base.is_zero:
        if exponent < 0:
            if base.sign == 0:
                raise Undefined("1/0 from both sides")
            return Limit(infinite=direction)
        even = exponent.q == 1 and exponent.p % 2 == 0 and base.sign != 0
        return Limit(interval=base.finite, approach=1 if even else base.approach)
    return Limit(interval=power(base.finite, exponent), swings=base.swings)


def _function(function: object, argument: Limit) -> Limit:
    if argument.infinite:
        if function is sympy.log and argument.infinite > 0:
            return TO_INFINITY
        if function is sympy.atan:
            value = compiled(sympy.pi / 2)({})
            return Limit(interval=value if argument.infinite > 0 else -value)
        if function in (sympy.sin, sympy.cos):
            return Limit(interval=Interval(-ONE, ONE), swings=True)
        if function not in _AT_INFINITY:
            raise Undefined(f"no limit known for {function}")
        return _AT_INFINITY[function][argument.infinite > 0]
    if function is sympy.log and argument.is_zero and argument.approach > 0:
        return TO_MINUS_INFINITY
    dummy = Symbol("argument")
    value = compiled(function(dummy))({dummy: argument.finite})  # type: ignore[operator]
    approach = argument.approach if function in SLOPES_AT_ZERO and argument.is_zero else 0
    return Limit(interval=value, approach=approach, swings=argument.swings)
