"""What a declared formula is worth at a float, by ball arithmetic, so that every digit used is known to be right."""

import bisect
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import flint
import mpmath
import sympy
from flint import arb, fmpq
from sympy import Expr, Piecewise
from sympy.core.relational import Relational

from sapo_gates.derive import CORNERS
from sapo_gates.errors import ExportError
from sapo_gates.functions import r, sigmoid
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.corners import zeros

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
    if isinstance(expression, sympy.Add):
        return lambda *at: reduce(operator.add, (part(*at) for part in parts))
    if isinstance(expression, sympy.Mul):
        return _product(parts, [argument.has(*CORNERS) for argument in expression.args])
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


def _product(factors: list[Ball], cornered: list[bool]) -> Ball:
    """The product; what a factor with a corner makes 0 is 0, whether the other factors exist there or not."""

    def product(*at: arb) -> arb:
        balls = [factor(*at) for factor in factors]
        if any(ball == 0 for ball, corner in zip(balls, cornered, strict=True) if corner):
            return arb(0)
        return reduce(operator.mul, balls)

    return product


def _piecewise(expression: Piecewise) -> Ball:
    pieces = [(_condition(condition), ball_function(piece)) for piece, condition in expression.args]  # type: ignore[misc]

    def chosen(*at: arb) -> arb:
        return next((piece(*at) for condition, piece in pieces if condition(*at)), arb.nan())

    return chosen


def _condition(condition: Any) -> Callable[[arb, arb], bool]:
    if condition in (sympy.true, sympy.false):
        return lambda *_: bool(condition)
    if isinstance(condition, sympy.Not):
        denied = _condition(condition.args[0])
        return lambda *at: not denied(*at)
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
    return exactly_at(function, arb(max(min(log_ratio, 1e300), -1e300)), bits, tiny)


def exactly_at(function: Ball, z: arb, bits: int, tiny: int = -1100) -> arb:
    """The same at a z of any precision, itself without error."""
    precision, z = START_BITS, z.mid()
    result = arb.nan()
    while precision <= MOST_BITS:
        with flint.ctx.workprec(precision):
            try:
                result = function(z.exp(), z)
            except Undecided:
                result = arb.nan()
            if result.rel_accuracy_bits() >= bits or (result.is_finite() and abs(result) < arb(2) ** tiny):
                return result
        precision *= 2
    return result


def breakpoints(expression: Expr) -> list[float]:
    """The log-ratios at which a piece of an expression in r ends, as far as they can be solved for."""
    found: set[float] = set()
    for relation in expression.atoms(Relational):
        try:
            points = zeros(relation.lhs - relation.rhs, r)
        except Unsupported:
            continue
        found |= {float(sympy.log(point).evalf(30)) for point in points if point.is_positive}
    return sorted(found)


class PrimitiveReference:
    """1 + the integral of phi from 0 to z, by Gauss-Legendre quadrature on a grid that grows with what is asked."""

    def __init__(self, score: Expr) -> None:
        self.score = ball_function(score)
        self.corners = breakpoints(score)
        with mpmath.workprec(_QUADRATURE_BITS):
            nodes = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(4, _QUADRATURE_BITS)  # type: ignore[attr-defined]
        with flint.ctx.workprec(_QUADRATURE_BITS):
            self.rule = [(arb(mpmath.nstr(t, 50)), arb(mpmath.nstr(w, 50))) for t, w in nodes]
        self.grid = {1.0: [(0.0, arb(1))], -1.0: [(0.0, arb(1))]}

    def __call__(self, log_ratio: float) -> arb:
        """To about 80 bits; z = +-inf as +-1e300."""
        direction, size = (1.0 if log_ratio >= 0 else -1.0), min(abs(log_ratio), 1e300)
        corners = sorted(abs(corner) for corner in self.corners if corner * direction > 0)
        grid = self.grid[direction]
        with flint.ctx.workprec(_QUADRATURE_BITS):
            while grid[-1][0] < size:
                at, value = grid[-1]
                if self._settled(at, value, direction, corners):
                    return value
                end = min([at + max(1 / 4, at / 64), *(corner for corner in corners if corner > at)])
                grid.append((end, value + self._between(at, end, direction)))
            at, value = grid[bisect.bisect_right(grid, size, key=lambda point: point[0]) - 1]
            return value + self._between(at, size, direction) if size > at else value

    def _settled(self, at: float, value: arb, direction: float, corners: list[float]) -> bool:
        """Whether what is beyond no longer counts, for f has stopped or is beyond every float."""
        if abs(value) > arb(2) ** 1100:
            return True
        if at < 64 or (corners and corners[-1] > at):
            return False
        left = (arb(at) * abs(exactly_at(self.score, arb(direction * far), 80)) for far in (at, 2 * at))
        return max(left) < arb(2) ** -90 * abs(value)

    def _between(self, start: float, end: float, direction: float) -> arb:
        """Halved until the halves say the same as the whole."""
        centre = (start + end) / 2
        whole, left, right = (self._gauss(*ends, direction) for ends in ((start, end), (start, centre), (centre, end)))
        if abs(left + right - whole) < arb(2) ** -85 * (1 + abs(whole)) or end - start < 1e-9:
            return left + right
        return self._between(start, centre, direction) + self._between(centre, end, direction)

    def _gauss(self, start: float, end: float, direction: float) -> arb:
        middle, half = (arb(start) + arb(end)) / 2, (arb(end) - arb(start)) / 2
        total = sum((w * exactly_at(self.score, direction * (middle + half * t), 100) for t, w in self.rule), arb(0))
        return direction * half * total


_QUADRATURE_BITS = 160


def two_floats(ball: arb) -> tuple[float, float]:
    """The ball's middle as the nearest float64 and what is left of it; infinite where it is too large."""
    with flint.ctx.workprec(300):
        middle = ball.mid()
        hi = float(middle)
        return (hi, float(middle - arb(hi))) if abs(hi) != float("inf") else (hi, 0.0)
