"""What a declared formula is worth at a float, by ball arithmetic, so that every digit used is known to be right."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import flint
import sympy
from flint import arb, fmpq
from sympy import Expr, Piecewise

from sapo_gates.errors import ExportError
from sapo_gates.functions import r, sigmoid

Ball = Callable[[arb, arb], arb]
START_BITS, MOST_BITS = 200, 20_000


class Undecided(ArithmeticError):
    """A comparison of two balls that overlap: more bits are needed."""


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sympy.exp: lambda a: a.exp(),
    sigmoid: lambda a: 1 / (1 + (-a).exp()),
    sympy.sech: lambda a: 2 * (-abs(a)).exp() / (1 + (-2 * abs(a)).exp()),  # Arb's own is undecided for huge a
    sympy.loggamma: lambda a: a.lgamma(),
    sympy.gamma: lambda a: a.gamma(),
    sympy.LambertW: lambda a: a.lambertw(),
    sympy.lowergamma: lambda a, u: u.gamma_lower(a),
    sympy.uppergamma: lambda a, u: u.gamma_upper(a),
    sympy.Ei: lambda a: a.ei(),
    sympy.Abs: lambda a: abs(a),
    sympy.sign: lambda a: a.sgn(),
    sympy.polygamma: lambda n, a: a.digamma() if n == 0 else arb.nan(),
}
_FUNCTIONS |= {getattr(sympy, name): operator.methodcaller(name) for name in (
    "tanh", "sinh", "cosh", "coth", "csch", "sin", "cos", "tan", "sec", "csc", "cot",
    "asin", "acos", "atan", "asinh", "acosh", "atanh", "erf", "erfc", "erfi",
)}  # fmt: skip
_RELATIONS: dict[Any, Callable[[arb], bool]] = {
    sympy.StrictLessThan: lambda d: d < 0,
    sympy.LessThan: lambda d: d <= 0,
    sympy.StrictGreaterThan: lambda d: d > 0,
    sympy.GreaterThan: lambda d: d >= 0,
}


def ball_function(expression: Expr) -> Ball:
    """The expression in r alone as a function of balls (r, log r).

    Raises:
        ExportError: a function Arb does not have.
    """
    if expression == r:
        return lambda ratio, _: ratio
    if expression == sympy.log(r):
        return lambda _, log_ratio: log_ratio
    if isinstance(expression, sympy.Rational):
        number = fmpq(int(expression.p), int(expression.q))
        return lambda *_: arb(number)
    if expression == sympy.pi or expression == sympy.E:
        return lambda *_: arb.pi() if expression == sympy.pi else arb(1).exp()
    if isinstance(expression, Piecewise):
        return _piecewise(expression)
    parts = [ball_function(argument) for argument in expression.args]  # type: ignore[arg-type]
    if isinstance(expression, sympy.Add | sympy.Mul):
        join = operator.add if isinstance(expression, sympy.Add) else operator.mul
        return lambda *at: reduce(join, (part(*at) for part in parts))
    if isinstance(expression, sympy.Pow):
        base, exponent = parts
        if expression.exp.is_Integer:
            whole = int(expression.exp)
            return lambda *at: base(*at) ** whole
        if (2 * expression.exp).is_Integer:
            twice = int(2 * expression.exp)
            return lambda *at: base(*at).sqrt() ** twice
        return lambda *at: base(*at) ** exponent(*at)
    if isinstance(expression, sympy.log):
        return lambda *at: parts[0](*at).log()
    function = _FUNCTIONS.get(expression.func)
    if function is None:
        raise ExportError(
            f"cannot evaluate {expression.func.__name__} to check the exported function; write the gate with "
            f"elementary functions."
        )
    return lambda *at: function(*(part(*at) for part in parts))


def _piecewise(expression: Piecewise) -> Ball:
    pieces = [(_condition(condition), ball_function(piece)) for piece, condition in expression.args]  # type: ignore[misc]

    def chosen(*at: arb) -> arb:
        return next((piece(*at) for condition, piece in pieces if condition(*at)), arb.nan())

    return chosen


def _condition(condition: Any) -> Callable[[arb, arb], bool]:
    if condition in (sympy.true, sympy.false):
        return lambda *_: bool(condition)
    if isinstance(condition, sympy.And | sympy.Or):
        parts, join = [_condition(part) for part in condition.args], all if isinstance(condition, sympy.And) else any
        return lambda *at: join([part(*at) for part in parts])
    if isinstance(condition, sympy.ITE):
        which, yes, no = (_condition(part) for part in condition.args)
        return lambda *at: yes(*at) if which(*at) else no(*at)
    difference, holds = ball_function(condition.lhs - condition.rhs), _RELATIONS[condition.func]

    def decided(*at: arb) -> bool:
        ball = difference(*at)
        if not ball.is_exact() and ball.contains(0):
            raise Undecided
        return holds(ball)

    return decided


def value_at(function: Ball, log_ratio: float, tiny: int = -1100, bits: int = 80) -> arb:
    """The function at r = e^z, to `bits` correct bits or known to be below 2^tiny; z = +-inf as +-1e300."""
    precision = START_BITS
    result = arb.nan()
    while precision <= MOST_BITS:
        with flint.ctx.workprec(precision):
            z = arb(max(min(log_ratio, 1e300), -1e300))
            try:
                result = function(z.exp(), z)
            except Undecided:
                result = arb.nan()
            if result.rel_accuracy_bits() >= bits or (result.is_finite() and abs(result) < arb(2) ** tiny):
                return result
        precision *= 2
    return result


def two_floats(ball: arb) -> tuple[float, float]:
    """The ball's middle as the nearest float64 and what is left of it; infinite where it is too large."""
    with flint.ctx.workprec(300):
        middle = ball.mid()
        hi = float(middle)
        return (hi, float(middle - arb(hi))) if abs(hi) != float("inf") else (hi, 0.0)
