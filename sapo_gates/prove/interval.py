"""Rigorous intervals on the extended real line, with ends that may be open.

Ends are exact Arb numbers or infinite; every operation rounds outwards. An infinite end is never attained, and an end
that no point of the operand attains stays open: so sech^2 over all reals is (0, 1], which *is* positive, and 0 * oo is
0, because an interval stands for the finite points in it. Arb balls alone can express none of that.
"""

from collections.abc import Callable
from fractions import Fraction

from flint import arb, ctx, fmpq

PRECISION = 128  # bits; enough for w to be told from 1 at a height of 1e-12 with 80 bits to spare

ZERO, ONE, INFINITY = arb(0), arb(1), arb("inf")


class Undefined(ArithmeticError):
    """An operation is not defined at every point of its operands: nothing is claimed there."""


class NowhereDefined(Undefined):
    """An operation is defined at no point of its operands."""


class Interval:
    """The points between lower and upper; *_open: that end is not attained."""

    __slots__ = ("lower", "lower_open", "upper", "upper_open")

    def __init__(self, lower: arb, upper: arb, lower_open: bool = False, upper_open: bool = False) -> None:
        """Ends must be exact."""
        self.lower, self.upper = lower, upper
        self.lower_open = lower_open or not lower.is_finite()
        self.upper_open = upper_open or not upper.is_finite()

    @staticmethod
    def of(
        lower: Fraction | float, upper: Fraction | float, lower_open: bool = False, upper_open: bool = False
    ) -> "Interval":
        """From rationals or infinities, outwards; an end that is no dyadic number comes out closed."""
        low, high = _ball(lower), _ball(upper)
        return Interval(low.lower(), high.upper(), lower_open and low.is_exact(), upper_open and high.is_exact())

    @staticmethod
    def around(ball: arb) -> "Interval":
        """Everything the ball may stand for."""
        if ball.is_nan():
            raise Undefined("Arb gives no enclosure")
        return Interval(ball, ball) if ball.is_exact() else Interval(ball.lower(), ball.upper())

    def __repr__(self) -> str:
        left, right = "[("[self.lower_open], "])"[self.upper_open]
        low, high = (
            e.str(12, radius=False) if e.is_finite() else "oo" if e > 0 else "-oo" for e in (self.lower, self.upper)
        )
        return f"{left}{low}, {high}{right}"

    @property
    def is_positive(self) -> bool:
        """Every point is > 0."""
        return bool(self.lower > 0 or (self.lower == 0 and self.lower_open))

    @property
    def is_negative(self) -> bool:
        """Every point is < 0."""
        return bool(self.upper < 0 or (self.upper == 0 and self.upper_open))

    @property
    def is_nonnegative(self) -> bool:
        """Every point is >= 0."""
        return bool(self.lower >= 0)

    @property
    def is_nonpositive(self) -> bool:
        """Every point is <= 0."""
        return bool(self.upper <= 0)

    @property
    def contains_zero(self) -> bool:
        """Some point may be 0."""
        return not (self.is_positive or self.is_negative)

    @property
    def is_point(self) -> bool:
        """Exactly one number."""
        return bool(self.lower == self.upper)

    def __neg__(self) -> "Interval":
        return Interval(-self.upper, -self.lower, self.upper_open, self.lower_open)

    def __add__(self, other: "Interval") -> "Interval":
        low, high = self.lower + other.lower, self.upper + other.upper
        return Interval(
            low.lower(),
            high.upper(),
            (self.lower_open or other.lower_open) and low.is_exact(),
            (self.upper_open or other.upper_open) and high.is_exact(),
        )

    def __mul__(self, other: "Interval") -> "Interval":
        corners = [
            _corner(a, a_open, b, b_open)
            for a, a_open in ((self.lower, self.lower_open), (self.upper, self.upper_open))
            for b, b_open in ((other.lower, other.lower_open), (other.upper, other.upper_open))
        ]
        return hull_of_ends(corners)

    def reciprocal(self) -> "Interval":
        """1/x.

        Raises:
            Undefined: the interval may contain 0.
        """
        if self.contains_zero:
            raise (NowhereDefined if self.is_point else Undefined)("division by zero")
        low = arb(0) if not self.upper.is_finite() else ONE / self.upper if self.upper != 0 else -INFINITY
        high = arb(0) if not self.lower.is_finite() else ONE / self.lower if self.lower != 0 else INFINITY
        return Interval(
            low.lower(), high.upper(), self.upper_open and low.is_exact(), self.lower_open and high.is_exact()
        )

    def integer_power(self, n: int) -> "Interval":
        """x^n for an integer n >= 1, tight for even n."""
        if n % 2 == 1 or self.is_nonnegative:
            return self._monotone(lambda x: x**n)
        if self.is_nonpositive:
            return (-self)._monotone(lambda x: x**n)
        larger = Interval(ZERO, -self.lower, upper_open=self.lower_open)._monotone(lambda x: x**n)
        other = Interval(ZERO, self.upper, upper_open=self.upper_open)._monotone(lambda x: x**n)
        return hull(larger, other)

    def root_power(self, exponent: Fraction) -> "Interval":
        """x^q for rational q > 0 and x >= 0.

        Raises:
            Undefined: the interval reaches below 0.
        """
        if not self.is_nonnegative:
            raise (NowhereDefined if self.is_negative else Undefined)("root of a negative number")
        p, q = exponent.numerator, exponent.denominator
        return self._monotone(lambda x: x if x == 0 else x.root(q) ** p)

    def _monotone(self, f: Callable[[arb], arb]) -> "Interval":
        """f of both ends, f increasing with f(+-oo) = +-oo."""
        return self.increasing(f, -INFINITY, INFINITY)

    def increasing(self, f: Callable[[arb], arb], at_minus_infinity: arb, at_infinity: arb) -> "Interval":
        """The image under an increasing function with these limits, which it does not attain; clipped to its range."""
        low = f(self.lower) if self.lower.is_finite() else at_minus_infinity if self.lower < 0 else at_infinity
        high = f(self.upper) if self.upper.is_finite() else at_infinity if self.upper > 0 else at_minus_infinity
        if low.is_nan() or high.is_nan():
            raise Undefined("Arb gives no enclosure")
        lower, upper = low.lower(), high.upper()
        lower_open, upper_open = self.lower_open and low.is_exact(), self.upper_open and high.is_exact()
        if not lower > at_minus_infinity:
            lower, lower_open = at_minus_infinity.lower(), at_minus_infinity.is_exact()
        if not upper < at_infinity:
            upper, upper_open = at_infinity.upper(), at_infinity.is_exact()
        return Interval(lower, upper, lower_open, upper_open)

    def even_decreasing(self, f: Callable[[arb], arb], at_infinity: arb) -> "Interval":
        """The image under an even function that decreases in |x| to a limit it does not attain."""
        magnitude = self.absolute()
        return -magnitude.increasing(lambda x: -f(x), -INFINITY, -at_infinity)

    def absolute(self) -> "Interval":
        """|x|."""
        if self.is_nonnegative:
            return self
        if self.is_nonpositive:
            return -self
        negated = -self
        return hull(
            Interval(ZERO, self.upper, upper_open=self.upper_open),
            Interval(ZERO, negated.upper, upper_open=negated.upper_open),
        )


def _ball(number: Fraction | float) -> arb:
    if isinstance(number, Fraction):
        return arb(fmpq(number.numerator, number.denominator))
    return arb(number)


def _corner(a: arb, a_open: bool, b: arb, b_open: bool) -> tuple[arb, bool]:
    """The product of two ends, and whether it is not attained; 0 * oo = 0."""
    if a == 0 or b == 0:
        attained = (a == 0 and not a_open) or (b == 0 and not b_open)
        return ZERO, not attained
    return a * b, a_open or b_open


def hull_of_ends(corners: list[tuple[arb, bool]]) -> Interval:
    """The smallest interval around some values; open where no attained value lies at that end."""
    lowers = [(value.lower(), is_open and value.is_exact()) for value, is_open in corners]
    uppers = [(value.upper(), is_open and value.is_exact()) for value, is_open in corners]
    lower, upper = min(value for value, _ in lowers), max(value for value, _ in uppers)
    return Interval(
        lower,
        upper,
        all(is_open for value, is_open in lowers if value == lower),
        all(is_open for value, is_open in uppers if value == upper),
    )


def hull(a: Interval, b: Interval) -> Interval:
    """The smallest interval around both."""
    ends = [(a.lower, a.lower_open), (a.upper, a.upper_open), (b.lower, b.lower_open), (b.upper, b.upper_open)]
    return hull_of_ends(ends)


class working_precision:
    """Arb's precision is a global; this sets it for a block and puts the old one back."""

    def __init__(self, bits: int = PRECISION) -> None:
        """Bits of every Arb operation inside the block."""
        self.bits = bits

    def __enter__(self) -> None:
        """Set."""
        self.before, ctx.prec = ctx.prec, self.bits

    def __exit__(self, *error: object) -> None:
        """Restore."""
        ctx.prec = self.before
