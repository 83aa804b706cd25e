"""From a sympy expression to a function that encloses its range over a box."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import sympy
from flint import arb
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid
from sapo_gates.prove.interval import INFINITY, ONE, ZERO, Interval, NowhereDefined, Undefined, hull

Enclosure = Callable[[Mapping[Symbol, Interval]], Interval]


def _positive(x: Interval, what: str) -> Interval:
    if not x.is_positive:
        raise (NowhereDefined if x.is_nonpositive else Undefined)(f"{what} of a number that may not be positive")
    return x


def _log(x: Interval) -> Interval:
    return _positive(x, "logarithm").increasing(lambda e: e.log() if e != 0 else -INFINITY, -INFINITY, INFINITY)


def _exp(x: Interval) -> Interval:
    return x.increasing(arb.exp, ZERO, INFINITY)


def _cosh(x: Interval) -> Interval:
    return x.absolute().increasing(arb.cosh, ONE.lower() - 1, INFINITY)


def _hull_ball(x: Interval) -> arb:
    if not (x.lower.is_finite() and x.upper.is_finite()):
        raise Undefined("no enclosure over an unbounded interval")
    return x.lower.union(x.upper)


def _wave(f: Callable[[arb], arb], slope: Callable[[arb], arb]) -> Callable[[Interval], Interval]:
    """sin or cos: by its ends where the slope keeps one sign, else [-1, 1] at worst."""

    def enclose(x: Interval) -> Interval:
        if not (x.lower.is_finite() and x.upper.is_finite()):
            return Interval(arb(-1), ONE)
        rise = slope(_hull_ball(x))
        if rise >= 0:
            found = x.increasing(f, arb(-2), arb(2))
        elif rise <= 0:
            found = -x.increasing(lambda e: -f(e), arb(-2), arb(2))
        else:
            found = Interval.around(f(_hull_ball(x)))
        return Interval(max(found.lower, arb(-1)), min(found.upper, ONE))

    return enclose


def _ball_function(f: Callable[..., arb]) -> Callable[..., Interval]:
    """Any other function Arb knows, on bounded intervals."""

    def enclose(*xs: Interval) -> Interval:
        ball = f(*map(_hull_ball, xs))
        if not ball.is_finite():
            raise Undefined("Arb gives no enclosure")
        return Interval.around(ball)

    return enclose


def _limits(low: arb, high: arb) -> Callable[[Callable[[arb], arb]], Callable[[Interval], Interval]]:
    return lambda f: lambda x: x.increasing(f, low, high)


def _falling(f: Callable[[arb], arb], limit: arb) -> Callable[[Interval], Interval]:
    """An odd function with a pole at 0 that falls to this limit."""

    def enclose(x: Interval) -> Interval:
        if x.contains_zero:
            raise Undefined("a pole")
        if x.is_negative:
            return -enclose(-x)
        return -x.increasing(lambda e: -f(e) if e != 0 else -INFINITY, -INFINITY, -limit)

    return enclose


FUNCTIONS: dict[Any, Callable[..., Interval]] = {
    sympy.exp: _exp,
    sympy.log: _log,
    sympy.tanh: _limits(arb(-1), ONE)(arb.tanh),
    sympy.erf: _limits(arb(-1), ONE)(arb.erf),
    sympy.erfc: lambda x: -x.increasing(lambda e: -e.erfc(), arb(-2), ZERO),
    sympy.erfi: _limits(-INFINITY, INFINITY)(arb.erfi),
    sympy.sinh: _limits(-INFINITY, INFINITY)(arb.sinh),
    sympy.asinh: _limits(-INFINITY, INFINITY)(arb.asinh),
    sympy.atan: lambda x: x.increasing(arb.atan, -arb.pi() / 2, arb.pi() / 2),
    sigmoid: _limits(ZERO, ONE)(lambda e: 1 / (1 + (-e).exp())),
    sympy.sech: lambda x: x.even_decreasing(arb.sech, ZERO),
    sympy.cosh: _cosh,
    sympy.sin: _wave(arb.sin, arb.cos),
    sympy.cos: _wave(arb.cos, lambda e: -e.sin()),
    sympy.tan: _ball_function(arb.tan),
    sympy.coth: _falling(arb.coth, ONE),
    sympy.csch: _falling(arb.csch, ZERO),
    sympy.asin: _ball_function(arb.asin),
    sympy.acos: _ball_function(arb.acos),
    sympy.acosh: _ball_function(arb.acosh),
    sympy.atanh: _ball_function(arb.atanh),
    sympy.gamma: _ball_function(arb.gamma),
    sympy.loggamma: _ball_function(arb.lgamma),
    sympy.lowergamma: _ball_function(lambda s, x: x.gamma_lower(s)),
    sympy.uppergamma: _ball_function(lambda s, x: x.gamma_upper(s)),
    sympy.LambertW: _ball_function(lambda x, branch=0: x.lambertw(-1 if branch == -1 else 0)),
    sympy.Ei: _ball_function(arb.ei),
}


def power(base: Interval, exponent: Rational) -> Interval:
    """x^q for a rational q."""
    size = Fraction(abs(int(exponent.p)), int(exponent.q))
    if size.denominator == 1:
        # 1/x first: x^n may not be 0 where x is not, but its enclosure of an even power knows only [0, ...]
        inner = base.reciprocal() if exponent < 0 else base
        return inner.integer_power(size.numerator)
    return (base.reciprocal() if exponent < 0 else base).root_power(size)


def general_power(base: Interval, exponent: Interval) -> Interval:
    """x^y for x > 0, and for x = 0 where every y is positive."""
    if base.is_positive or not (base.is_nonnegative and exponent.is_positive):
        return _exp(exponent * _log(base))
    beyond = Interval(ZERO, base.upper, True, base.upper_open)
    return base if base.is_point else hull(Interval(ZERO, ZERO), _exp(exponent * _log(beyond)))


def compiled(expression: Expr) -> Enclosure:
    """The expression as a function from the ranges of its symbols to an enclosure of its range.

    The enclosure raises Undefined where an operation is not defined (or not continuous) on the whole box; so a value
    is also a proof that the expression is defined and continuous there.

    Raises:
        Undefined: the expression holds a function without a rigorous enclosure.
    """
    steps: list[Callable[[list[Interval], Mapping[Symbol, Interval]], Interval]] = []
    place: dict[Expr, int] = {}

    def step(node: Expr) -> int:
        if node in place:
            return place[node]
        steps.append(_step(node, [step(child) for child in node.args]))
        place[node] = len(steps) - 1
        return place[node]

    last = step(expression)

    def enclose(box: Mapping[Symbol, Interval]) -> Interval:
        values: list[Interval] = []
        for one in steps:
            values.append(one(values, box))
        return values[last]

    return enclose


def _step(node: Expr, children: list[int]) -> Callable[[list[Interval], Mapping[Symbol, Interval]], Interval]:
    if isinstance(node, Rational):
        constant = Interval.of(Fraction(int(node.p), int(node.q)), Fraction(int(node.p), int(node.q)))
        return lambda values, box: constant
    if node is sympy.pi:
        return lambda values, box: Interval.around(arb.pi())
    if node is sympy.E:
        return lambda values, box: Interval.around(arb.const_e())
    if isinstance(node, Symbol):
        return lambda values, box: box[node]
    if isinstance(node, Add | Mul):
        first, rest, is_sum = children[0], children[1:], isinstance(node, Add)

        def fold(values: list[Interval], box: Mapping[Symbol, Interval]) -> Interval:
            total = values[first]
            for child in rest:
                total = total + values[child] if is_sum else total * values[child]
            return total

        return fold
    if isinstance(node, Pow):
        base, exponent = children
        if isinstance(node.exp, Rational):
            q = node.exp
            return lambda values, box: power(values[base], q)
        return lambda values, box: general_power(values[base], values[exponent])
    function = FUNCTIONS.get(node.func)
    if function is None:
        raise Undefined(f"no rigorous enclosure for {node.func.__name__}")
    return lambda values, box: function(*(values[child] for child in children))


def enclose_at(expression: Expr, point: Mapping[Symbol, Rational]) -> Interval:
    """The expression's enclosure at one exact point."""
    box = {}
    for symbol, value in point.items():
        exact = Fraction(int(value.p), int(value.q))
        box[symbol] = Interval.of(exact, exact)
    return compiled(expression)(box)
