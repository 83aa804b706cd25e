"""Ranges of expressions, rounded outwards: the checker's own interval arithmetic.

A span holds the real numbers between two ends, each an exact Arb number or infinite, attained or not. Infinity is never
attained, so 0 * oo = 0; an end that had to be rounded counts as attained, which only makes the span larger.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, reduce
from operator import add, mul
from typing import Any

import sympy
from flint import arb, ctx, fmpq
from sympy import Expr, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid

BITS = 192
INFINITY, ONE, ZERO = arb("inf"), arb(1), arb(0)
End = tuple[arb, bool]


class Undefined(ArithmeticError):
    """An operation is not defined, or not known to be continuous, somewhere on its operands."""


class Span:
    """Real numbers from low to high; low_in, high_in: that end may be attained."""

    __slots__ = ("high", "high_in", "low", "low_in")

    def __init__(self, low: arb, high: arb, low_in: bool = True, high_in: bool = True) -> None:
        """Balls are rounded outwards."""
        if low.is_nan() or high.is_nan():
            raise Undefined("Arb gives no enclosure")
        self.low, self.high = low.lower(), high.upper()
        if self.low == INFINITY or self.high == -INFINITY:
            raise Undefined("an empty range")
        self.low_in = bool(self.low.is_finite()) and (low_in or not low.is_exact())
        self.high_in = bool(self.high.is_finite()) and (high_in or not high.is_exact())

    @staticmethod
    def around(ball: arb) -> "Span":
        """Everything a ball stands for."""
        return Span(ball, ball)

    @property
    def is_positive(self) -> bool:
        """Every number in it is > 0."""
        return bool(self.low > 0 or (self.low == 0 and not self.low_in))

    @property
    def is_negative(self) -> bool:
        """Every number in it is < 0."""
        return bool(self.high < 0 or (self.high == 0 and not self.high_in))

    @property
    def is_zero(self) -> bool:
        """It is the number 0."""
        return bool(self.low == 0 and self.high == 0)

    @property
    def is_finite(self) -> bool:
        """Both ends are numbers."""
        return bool(self.low.is_finite() and self.high.is_finite())

    @property
    def ball(self) -> arb:
        """One Arb ball around it."""
        if not self.is_finite:
            raise Undefined("no ball holds an unbounded range")
        return self.low.union(self.high)

    def __neg__(self) -> "Span":
        return Span(-self.high, -self.low, self.high_in, self.low_in)

    def __add__(self, other: "Span") -> "Span":
        return Span(
            self.low + other.low, self.high + other.high, self.low_in and other.low_in, self.high_in and other.high_in
        )

    def __mul__(self, other: "Span") -> "Span":
        ours, theirs = (((one.low, one.low_in), (one.high, one.high_in)) for one in (self, other))
        return hull([_product(a, b) for a in ours for b in theirs])

    def reciprocal(self) -> "Span":
        """1/x, where no x is 0."""
        if not (self.is_positive or self.is_negative):
            raise Undefined("division by a number that may be 0")
        low = ZERO if self.high == INFINITY else -INFINITY if self.high == 0 else ONE / self.high
        high = ZERO if self.low == -INFINITY else INFINITY if self.low == 0 else ONE / self.low
        return Span(low, high, self.high_in, self.low_in)

    def absolute(self) -> "Span":
        """|x|."""
        if self.low >= 0:
            return self
        if self.high <= 0:
            return -self
        return hull([(ZERO, True), (-self.low, self.low_in), (self.high, self.high_in)])

    def power(self, exponent: Any) -> "Span":
        """x^q for rational q; x > 0 where q is no integer and negative, x >= 0 where it is no integer."""
        if exponent < 0:
            return self.reciprocal().power(-exponent)
        p, q = int(exponent.p), int(exponent.q)
        if q != 1 and not self.low >= 0:
            raise Undefined("a root of a number that may be negative")
        base = self.absolute() if p % 2 == 0 else self
        return base.increasing(lambda x: x**p if q == 1 else x if x == 0 else x.root(q) ** p, -INFINITY, INFINITY)

    def general_power(self, exponent: "Span") -> "Span":
        """x^y where every x is positive, or not negative and every y is positive."""
        if self.is_positive or not (self.low == 0 and exponent.is_positive):
            return (exponent * self.log()).exp()
        if self.is_zero:
            return self
        image = (exponent * Span(ZERO, self.high, False, self.high_in).log()).exp()
        return hull([(ZERO, True), (image.low, image.low_in), (image.high, image.high_in)])

    def increasing(self, f: Callable[[arb], arb], left: arb, right: arb) -> "Span":
        """The image under an increasing function with these limits at -oo and +oo, which it does not attain."""
        low = f(self.low) if self.low.is_finite() else left
        high = f(self.high) if self.high.is_finite() else right
        image = Span(low, high, self.low_in, self.high_in)
        if not image.low > left:
            image = Span(left, image.high, False, image.high_in)
        return image if image.high < right else Span(image.low, right, image.low_in, False)

    def log(self) -> "Span":
        """Natural logarithm, where every x is positive."""
        if not self.is_positive:
            raise Undefined("the logarithm of a number that may not be positive")
        return self.increasing(lambda x: x.log() if x != 0 else -INFINITY, -INFINITY, INFINITY)

    def exp(self) -> "Span":
        """e^x."""
        return self.increasing(arb.exp, ZERO, INFINITY)


def _product(a: End, b: End) -> End:
    if a[0] == 0 or b[0] == 0:  # 0 * oo is 0: infinity is not among the numbers
        return ZERO, (a[0] == 0 and a[1]) or (b[0] == 0 and b[1])
    return a[0] * b[0], a[1] and b[1]


def hull(ends: list[End]) -> Span:
    """The smallest span around numbers, each attained or only approached."""
    low, high = min(ball.lower() for ball, _ in ends), max(ball.upper() for ball, _ in ends)
    low_in = any(attained or not ball.is_exact() for ball, attained in ends if ball.lower() == low)
    high_in = any(attained or not ball.is_exact() for ball, attained in ends if ball.upper() == high)
    return Span(low, high, low_in, high_in)


def _wave(f: Callable[[arb], arb], slope: Callable[[arb], arb]) -> Callable[[Span], Span]:
    def image(x: Span) -> Span:
        if not x.is_finite:
            return Span(-ONE, ONE)
        rise = slope(x.ball)
        ends = f(x.low), f(x.high)
        low, high = ends if rise >= 0 else ends[::-1] if rise <= 0 else (f(x.ball), f(x.ball))
        return Span(max(low.lower(), -ONE), min(high.upper(), ONE))

    return image


def _by_ball(f: Callable[..., arb]) -> Callable[..., Span]:
    """Functions whose Arb version is finite only where they are continuous on the whole ball."""

    def image(*xs: Span) -> Span:
        ball = f(*(x.ball for x in xs))
        if not ball.is_finite():
            raise Undefined("Arb gives no enclosure")
        return Span.around(ball)

    return image


FUNCTIONS: dict[Any, Callable[..., Span]] = {
    sympy.exp: Span.exp,
    sympy.log: Span.log,
    sympy.tanh: lambda x: x.increasing(arb.tanh, -ONE, ONE),
    sympy.erf: lambda x: x.increasing(arb.erf, -ONE, ONE),
    sympy.erfc: lambda x: -x.increasing(lambda e: -e.erfc(), arb(-2), ZERO),
    sympy.erfi: lambda x: x.increasing(arb.erfi, -INFINITY, INFINITY),
    sympy.sinh: lambda x: x.increasing(arb.sinh, -INFINITY, INFINITY),
    sympy.cosh: lambda x: x.absolute().increasing(arb.cosh, ZERO, INFINITY),
    sympy.asinh: lambda x: x.increasing(arb.asinh, -INFINITY, INFINITY),
    sympy.atan: lambda x: x.increasing(arb.atan, -arb.pi() / 2, arb.pi() / 2),
    sigmoid: lambda x: x.increasing(lambda e: 1 / (1 + (-e).exp()), ZERO, ONE),
    sympy.sech: lambda x: FUNCTIONS[sympy.cosh](x).reciprocal(),
    sympy.csch: lambda x: FUNCTIONS[sympy.sinh](x).reciprocal(),
    sympy.coth: lambda x: FUNCTIONS[sympy.tanh](x).reciprocal(),
    sympy.sin: _wave(arb.sin, arb.cos),
    sympy.cos: _wave(arb.cos, lambda e: -e.sin()),
    sympy.tan: _by_ball(arb.tan),
    sympy.asin: _by_ball(arb.asin),
    sympy.acos: _by_ball(arb.acos),
    sympy.acosh: _by_ball(arb.acosh),
    sympy.atanh: _by_ball(arb.atanh),
    sympy.gamma: _by_ball(arb.gamma),
    sympy.loggamma: _by_ball(arb.lgamma),
    sympy.lowergamma: _by_ball(lambda s, x: x.gamma_lower(s)),
    sympy.uppergamma: _by_ball(lambda s, x: x.gamma_upper(s)),
    sympy.LambertW: _by_ball(lambda x: x.lambertw()),
    sympy.Ei: _by_ball(arb.ei),
}
NUMBERS: dict[Any, Callable[[], arb]] = {sympy.pi: arb.pi, sympy.E: arb.const_e}

Image = Callable[[Mapping[Symbol, Span]], Span]


def rational_span(number: Any) -> Span:
    """A rational number, to the last bit if it is dyadic."""
    return Span.around(arb(fmpq(int(number.numerator), int(number.denominator))))


def span_of(expression: Expr) -> Image:
    """The expression as a function from the ranges of its symbols to a span that contains all its values.

    A span is at the same time a proof that the expression is defined and continuous on the whole box: every single
    operation was. Otherwise Undefined is raised.
    """
    return _compiled(expression, ctx.prec)


@lru_cache(maxsize=4096)
def _compiled(expression: Expr, bits: int) -> Image:
    """bits: the precision that the numbers in it are rounded to."""
    nodes: dict[Any, int] = {}
    for node in sympy.postorder_traversal(expression):  # operands first, each once
        nodes.setdefault(node, len(nodes))
    steps = [(_operation(node), [nodes[part] for part in node.args]) for node in nodes]

    def image(box: Mapping[Symbol, Span]) -> Span:
        values: list[Span] = []
        for operation, operands in steps:
            values.append(operation(box, *(values[k] for k in operands)))
        return values[-1]

    return image


def _operation(node: Any) -> Callable[..., Span]:
    """What the node makes of the ranges of all symbols and the spans of its operands."""
    match node:
        case Rational():
            number = rational_span(node)
            return lambda box: number
        case Symbol():
            return lambda box: box[node]
        case sympy.Add():
            return lambda box, *terms: reduce(add, terms)
        case sympy.Mul():
            return lambda box, *factors: reduce(mul, factors)
        case Pow() if isinstance(node.exp, Rational):
            return lambda box, base, _: base.power(node.exp)
        case Pow():
            return lambda box, base, exponent: base.general_power(exponent)
    if node in NUMBERS:
        constant = Span.around(NUMBERS[node]())
        return lambda box: constant
    if node.func not in FUNCTIONS:
        raise Undefined(f"no enclosure of {node.func.__name__}")
    function = FUNCTIONS[node.func]
    return lambda box, *operands: function(*operands)


def working_precision(bits: int = BITS) -> AbstractContextManager[object]:
    """Arb's precision is a global: set for a block, then put back."""
    return ctx.workprec(bits)
