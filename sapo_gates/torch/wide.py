"""The functions gates are written in, for float64 tensors and for `Wide` numbers. Imports only torch.

A generated formula is printed once, as ordinary Python, and evaluated with either kind of number. `Wide` is
(hi + lo) * exp(scale): a mantissa of two float64, about 100 bits, and a logarithmic scale of two float64. So exp(z) is
exact in its scale for every z, nothing overflows or cancels on the way, and only the result is rounded.
Source: T. J. Dekker, A floating-point technique for extending the available precision, Numer. Math. 18 (1971).
"""

import math
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import torch
from torch import Tensor

FAR = 1e290  # a scale beyond which every number is 0 or infinite, with room to multiply


def finite(correction: Tensor) -> Tensor:
    """A low part: meaningless, hence 0, where the high part is not finite."""
    return torch.nan_to_num(correction, nan=0.0, posinf=0.0, neginf=0.0)


class Pair:
    """hi + lo, |lo| <= ulp(hi)/2."""

    def __init__(self, hi: Tensor, lo: Tensor) -> None:
        self.hi, self.lo = hi, lo

    def __neg__(self) -> "Pair":
        return Pair(-self.hi, -self.lo)

    def __add__(self, other: "Pair") -> "Pair":
        high, low = exact_sum(self.hi, other.hi), exact_sum(self.lo, other.lo)
        first = renormalised(high.hi, high.lo + low.hi)
        return renormalised(first.hi, first.lo + low.lo)

    def __sub__(self, other: "Pair") -> "Pair":
        return self + -other

    def __mul__(self, other: "Pair") -> "Pair":
        product = exact_product(self.hi, other.hi)
        return renormalised(product.hi, product.lo + (self.hi * other.lo + self.lo * other.hi))

    def __truediv__(self, other: "Pair") -> "Pair":
        quotient = self.hi / other.hi
        rest = self - other * Pair(quotient, torch.zeros_like(quotient))
        return renormalised(quotient, rest.hi / other.hi)

    def sqrt(self) -> "Pair":
        """Newton's correction of the rounded root."""
        root = torch.sqrt(self.hi)
        return renormalised(root, (self - exact_product(root, root)).hi / (2 * root))

    def times(self, power_of_two: Tensor) -> "Pair":
        """Exact, short of underflow."""
        return Pair(self.hi * power_of_two, self.lo * power_of_two)


def exact_sum(a: Tensor, b: Tensor) -> Pair:
    """A + b without error."""
    total = a + b
    part = total - a
    return Pair(total, finite((a - (total - part)) + (b - part)))


def renormalised(hi: Tensor, lo: Tensor) -> Pair:
    """Hi + lo for |lo| <= |hi|."""
    lo = finite(lo)
    total = hi + lo
    return Pair(total, finite(lo - (total - hi)))


def exact_product(a: Tensor, b: Tensor) -> Pair:
    """A * b without error (Veltkamp's splitting; torch has no fused multiply-add to rely on)."""
    product = a * b
    a_high = 134217729.0 * a - (134217729.0 * a - a)
    b_high = 134217729.0 * b - (134217729.0 * b - b)
    a_low, b_low = a - a_high, b - b_high
    return Pair(product, finite(((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low))


def choose(condition: Tensor, yes: Pair, no: Pair) -> Pair:
    """Elementwise choice."""
    return Pair(torch.where(condition, yes.hi, no.hi), torch.where(condition, yes.lo, no.lo))


def pair(hi: float, lo: float, like: Tensor) -> Pair:
    """A constant on the device of `like`."""
    make = lambda number: torch.full((), number, dtype=torch.float64, device=like.device)  # noqa: E731
    return Pair(make(hi), make(lo))


_STEPS = 64
_MOST_STEPS = 23  # log(2)/2 in steps
_DIGITS = Context(prec=50)
_POWERS = [_DIGITS.exp(Decimal(j) / _STEPS) for j in range(-_MOST_STEPS, _MOST_STEPS + 1)]
_TABLE = torch.tensor([[float(p), float(_DIGITS.subtract(p, Decimal(float(p))))] for p in _POWERS], dtype=torch.float64)
"""e^(j/64) as two float64 each."""


def expm1_reduced(a: Pair) -> tuple[Pair, Tensor]:
    """(E, k) with exp(a) = 2^k (1 + E), E to about 2^-69: a = k log 2 + j/64 + t, a table for j and Taylor for t."""
    k = torch.clamp(torch.round(a.hi / math.log(2)), -3300, 3300)
    rest = a - pair(0.6931471805599453, 2.3190468138462996e-17, a.hi) * Pair(k, torch.zeros_like(k))
    rest = choose(a.hi.abs() < 2288, rest, rest.times(torch.zeros_like(k)))
    j = torch.clamp(torch.round(_STEPS * rest.hi), -_MOST_STEPS, _MOST_STEPS)
    t = renormalised(rest.hi - j / _STEPS, rest.lo)
    tail = torch.zeros_like(k)
    for n in range(9, 2, -1):
        tail = (tail + 1 / math.factorial(n)) * t.hi if n > 3 else tail + 1 / 6
    square = t * t
    e = t + square.times(torch.full_like(k, 0.5)) + renormalised(square.hi * t.hi * tail, torch.zeros_like(k))
    row = (torch.nan_to_num(j) + _MOST_STEPS).long()
    step = Pair(*_TABLE.to(k.device)[row].unbind(-1))
    return step - pair(1.0, 0.0, k) + step * e, k


def scaled(m: Pair, k: Tensor) -> Pair:
    """M 2^k in three steps, so that nothing but the result over- or underflows."""
    first = torch.round(k / 3)
    second = torch.round((k - first) / 2)
    return m.times(torch.exp2(first)).times(torch.exp2(second)).times(torch.exp2(k - first - second))


def times_exp(m: Pair, a: Pair) -> Pair:
    """M exp(a)."""
    e, k = expm1_reduced(a)
    return scaled(m * (pair(1.0, 0.0, k) + e), k)


class Wide:
    """m * exp(scale)."""

    def __init__(self, m: Pair, scale: Pair) -> None:
        self.m = m
        self.scale = choose(scale.hi.abs() < FAR, scale, pair(FAR, 0.0, scale.hi).times(torch.sign(scale.hi)))

    def lift(self, other: "Wide | Tensor | float") -> "Wide":
        """An exact number beside self."""
        if isinstance(other, Wide):
            return other
        zero = torch.zeros_like(self.m.hi)
        return Wide(Pair(zero + other, zero), Pair(zero, zero))

    def real(self) -> Pair:
        """The number itself, infinite or 0 where float64 has no better."""
        return times_exp(self.m, self.scale)

    def __neg__(self) -> "Wide":
        return Wide(-self.m, self.scale)

    def __add__(self, other: "Wide | float") -> "Wide":
        other = self.lift(other)
        mine = torch.where(self.m.hi == 0, -FAR, self.scale.hi)
        theirs = torch.where(other.m.hi == 0, -FAR, other.scale.hi)
        first = mine >= theirs
        large = Wide(choose(first, self.m, other.m), choose(first, self.scale, other.scale))
        small = Wide(choose(first, other.m, self.m), choose(first, other.scale, self.scale) - large.scale)
        return Wide(large.m + small.real(), large.scale)

    def __sub__(self, other: "Wide | float") -> "Wide":
        return self + -self.lift(other)

    def __rsub__(self, other: float) -> "Wide":
        return self.lift(other) - self

    def __mul__(self, other: "Wide | float") -> "Wide":
        other = self.lift(other)
        return Wide(self.m * other.m, self.scale + other.scale)

    def __truediv__(self, other: "Wide | float") -> "Wide":
        other = self.lift(other)
        return Wide(self.m / other.m, self.scale - other.scale)

    def __rtruediv__(self, other: float) -> "Wide":
        return self.lift(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, exponent: "Wide | int") -> "Wide":
        if isinstance(exponent, Wide):
            return exp(exponent * log(self))
        if exponent < 0:
            return 1 / self**-exponent
        half = self ** (exponent // 2) if exponent > 1 else self.lift(1)
        return half * half * self if exponent % 2 else half * half

    def sign(self) -> Tensor:
        """-1, 0 or 1."""
        return torch.sign(self.m.hi)

    def above(self, other: "Wide | float") -> Tensor:
        """The sign of self - other."""
        plainly = isinstance(other, int | float) and other == 0
        return self.sign() if plainly else (self - other).sign()

    def __lt__(self, other: "Wide | float") -> Tensor:
        return self.above(other) < 0

    def __le__(self, other: "Wide | float") -> Tensor:
        return self.above(other) <= 0

    def __gt__(self, other: "Wide | float") -> Tensor:
        return self.above(other) > 0

    def __ge__(self, other: "Wide | float") -> Tensor:
        return self.above(other) >= 0

    def apply(
        self, f: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor], slope: Pair | None = None
    ) -> "Wide":
        """f to first order in lo; slope: f'(0) of an odd f, which is linear near 0 beyond float64's precision."""
        u = self.real()
        zero = torch.zeros_like(u.hi)
        result = renormalised(f(u.hi), derivative(u.hi) * u.lo)
        if slope is None:
            return Wide(result, Pair(zero, zero))
        tiny = u.hi.abs() < 1e-12
        return Wide(choose(tiny, self.m * slope, result), choose(tiny, self.scale, Pair(zero, zero)))

    def odd(self, f: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor]) -> "Wide":
        """An odd f with f'(0) = 1."""
        return self.apply(f, derivative, pair(1.0, 0.0, self.m.hi))


Number = Any  # a float64 tensor or constant, or a Wide


def where(condition: Tensor, yes: Number, no: Number) -> Number:
    """Elementwise choice; what stands on the other side may be anything."""
    if isinstance(yes, Wide):
        return Wide(choose(condition, yes.m, no.m), choose(condition, yes.scale, no.scale))
    if isinstance(yes, float) and isinstance(no, float):  # of which torch would make float32
        yes = torch.full((), yes, dtype=torch.float64, device=condition.device)
    return torch.where(condition, yes, no)


def absolute(u: Number) -> Number:
    """|u|."""
    return where(u.sign() < 0, -u, u) if isinstance(u, Wide) else torch.abs(u)


def inverse(u: Number) -> Number:
    """1/u, which torch would make two operations of."""
    return 1 / u if isinstance(u, Wide) else torch.reciprocal(u)


def sign(u: Number) -> Number:
    """-1, 0 or 1."""
    return u.lift(u.sign()) if isinstance(u, Wide) else torch.sign(u)


def sqrt(u: Number) -> Number:
    """The square root."""
    return Wide(u.m.sqrt(), u.scale.times(torch.full_like(u.m.hi, 0.5))) if isinstance(u, Wide) else torch.sqrt(u)


def power(u: Number, exponent: Number) -> Number:
    """u^exponent for a constant exponent that is neither whole nor half, or a constant u."""
    return u**exponent


_LOG2_E = 1.4426950408889634


def plain_exp(u: Tensor) -> Tensor:
    """e^u; compiled in float32, for 16-bit inputs, by exp2: twice as fast.

    torch's compiler for CPUs keeps the result of an exp that is used twice, computes that in a loop body of its own
    and, with a body that reads no 16-bit number, loads the others by half vectors.
    """
    by_two = u.dtype == torch.float32 and torch.compiler.is_compiling()
    return torch.exp2(u * _LOG2_E) if by_two else torch.exp(u)


def exp(u: Number) -> Number:
    """e^u: for a Wide the whole of u becomes the scale."""
    if not isinstance(u, Wide):
        return plain_exp(u)
    scale = u.real()
    return Wide(Pair(torch.ones_like(scale.hi), torch.zeros_like(scale.hi)), scale)


def log(u: Number) -> Number:
    """The natural logarithm, with Newton's correction of the rounded one."""
    if not isinstance(u, Wide):
        return torch.log(u)
    zero = torch.zeros_like(u.m.hi)
    first = Pair(torch.log(u.m.hi), zero)
    corrected = first + (times_exp(u.m, -first) - pair(1.0, 0.0, zero))
    return Wide(choose(torch.isfinite(first.hi), corrected, first) + u.scale, Pair(zero, zero))


def log1p(u: Number) -> Number:
    """log(1 + u)."""
    return log(1 + u) if isinstance(u, Wide) else torch.log1p(u)


def decay(u: Number) -> tuple[Number, Number]:
    """|u| and e^-|u|: what every hyperbolic function is made of, so that none overflows."""
    size = absolute(u)
    return size, exp(-size)


def sigmoid(u: Number) -> Number:
    """1/(1 + e^-u)."""
    _, e = decay(u)
    return where(u >= 0, 1 / (1 + e), e / (1 + e))


def sech(u: Number) -> Number:
    """1/cosh u."""
    _, e = decay(u)
    return 2 * e / (1 + e * e)


def cosh(u: Number) -> Number:
    """(e^u + e^-u)/2."""
    return 1 / sech(u)


def sinh(u: Number) -> Number:
    """(e^u - e^-u)/2."""
    if not isinstance(u, Wide):
        return torch.sinh(u)
    size, e = decay(u)
    large = where(u >= 0, 1 / e - e, e - 1 / e) / 2
    return where(size > 1, large, u.odd(torch.sinh, torch.cosh))


def tanh(u: Number) -> Number:
    """Sinh u / cosh u."""
    return u.odd(torch.tanh, lambda t: 1 / torch.cosh(t) ** 2) if isinstance(u, Wide) else torch.tanh(u)


def coth(u: Number) -> Number:
    """1/tanh u."""
    return 1 / tanh(u)


def csch(u: Number) -> Number:
    """1/sinh u."""
    return 1 / sinh(u)


def sin(u: Number) -> Number:
    """The sine."""
    return u.odd(torch.sin, torch.cos) if isinstance(u, Wide) else torch.sin(u)


def cos(u: Number) -> Number:
    """The cosine."""
    return u.apply(torch.cos, lambda t: -torch.sin(t)) if isinstance(u, Wide) else torch.cos(u)


def tan(u: Number) -> Number:
    """The tangent."""
    return u.odd(torch.tan, lambda t: 1 + torch.tan(t) ** 2) if isinstance(u, Wide) else torch.tan(u)


def asin(u: Number) -> Number:
    """The inverse sine."""
    return u.odd(torch.asin, lambda t: 1 / torch.sqrt(1 - t * t)) if isinstance(u, Wide) else torch.asin(u)


def acos(u: Number) -> Number:
    """The inverse cosine."""
    return u.apply(torch.acos, lambda t: -1 / torch.sqrt(1 - t * t)) if isinstance(u, Wide) else torch.acos(u)


def atan(u: Number) -> Number:
    """The inverse tangent."""
    return u.odd(torch.atan, lambda t: 1 / (1 + t * t)) if isinstance(u, Wide) else torch.atan(u)


def asinh(u: Number) -> Number:
    """The inverse hyperbolic sine; log(2|u|) where u is too large for anything else to matter."""
    if not isinstance(u, Wide):
        return torch.asinh(u)
    large = log(2 * absolute(u))
    return where(
        absolute(u) > 1e10, where(u >= 0, large, -large), u.odd(torch.asinh, lambda t: 1 / torch.hypot(t, t * 0 + 1))
    )


def acosh(u: Number) -> Number:
    """The inverse hyperbolic cosine."""
    return log(u + sqrt(u * u - 1)) if isinstance(u, Wide) else torch.acosh(u)


def atanh(u: Number) -> Number:
    """The inverse hyperbolic tangent."""
    return u.odd(torch.atanh, lambda t: 1 / (1 - t * t)) if isinstance(u, Wide) else torch.atanh(u)


TWO_OVER_ROOT_PI = (1.1283791670955126, 1.533545961316588e-17)


def erf(u: Number) -> Number:
    """The error function."""
    if not isinstance(u, Wide):
        return torch.erf(u)
    slope = pair(*TWO_OVER_ROOT_PI, u.m.hi)
    return u.apply(torch.erf, lambda t: slope.hi * torch.exp(-t * t), slope)


def erfc(u: Number) -> Number:
    """1 - erf u; beyond 1 as e^(-u^2) erfcx(u)."""
    if not isinstance(u, Wide):
        return torch.special.erfc(u)
    scaled_form = exp(-u * u) * u.apply(
        torch.special.erfcx, lambda t: 2 * t * torch.special.erfcx(t) - TWO_OVER_ROOT_PI[0]
    )
    return where(u > 1, scaled_form, u.apply(torch.special.erfc, lambda t: -TWO_OVER_ROOT_PI[0] * torch.exp(-t * t)))


def interpolated(function: Callable[[Tensor], Tensor], count: int, low: float, high: float) -> list[float]:
    """The polynomial that is the function at Chebyshev's nodes of [low, high]: its coefficients, constant first."""
    cosines = torch.cos(torch.pi / count * (torch.arange(count, dtype=torch.float64) + 0.5))
    nodes = (high + low) / 2 + (high - low) / 2 * cosines
    return torch.linalg.solve(torch.linalg.vander(nodes), function(nodes)).tolist()


def polynomial(t: Tensor, coefficients: list[float]) -> Tensor:
    """By Estrin's scheme, in which few operations wait for one another, as nearly all do in Horner's."""
    terms: list[Any] = coefficients
    while len(terms) > 1:
        paired = [high * t + low for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms, t = paired + terms[len(terms) // 2 * 2 :], t * t
    return terms[0]


_TWO_TO = [1.0, *interpolated(torch.exp2, 8, -0.5, 0.5)[1:]]  # e^0 is 1
_ATAN_RATIO = interpolated(lambda s: torch.atan(torch.sqrt(s)) / torch.sqrt(s), 9, 0.0, 1.0)  # s = u^2
_ERFCX = interpolated(lambda t: torch.special.erfcx(1 / t - 2), 8, 1 / 6, 1 / 2)  # t = 1/(|u| + 2), |u| < 4
_TO_WHOLE = 1.5 * 2.0**52  # added to a float64, it leaves the nearest whole number in the last bits


def _in_powers(u: Tensor) -> tuple[Tensor, Tensor]:
    """f and 2^k of e^u = 2^(f + k), |f| <= 1/2, |u| < 700."""
    t = u * _LOG2_E
    exponent = (t + _TO_WHOLE).view(torch.int64) + 1023
    return t - torch.round(t), (exponent << 52).view(torch.float64)


def quick_exp(u: Tensor) -> Tensor:
    """e^u to 2^-33 of itself, |u| < 700."""
    f, power = _in_powers(u)
    return polynomial(f, _TWO_TO) * power


def coarse_exp(u: Tensor) -> Tensor:
    """e^u to float32's precision, of all that float64 knows of u.

    Below u = -700 what it is there, of which times any r nothing is left; above 350 too, so that its square is finite.
    """
    f, power = _in_powers(torch.clamp(u, -700, 350))
    near = f.float()
    _, slope, *rest = _TWO_TO
    return ((near * polynomial(near, rest) + slope).double() * f + 1) * power


def coarse_erf(u: Tensor, bell: Tensor) -> Tensor:
    """The error function in float32, given e^(-u^2): 1 - e^(-u^2) erfcx |u|."""
    near = u.float()
    size = 1 - polynomial(1 / (near.abs() + 2), _ERFCX) * bell.float()
    return torch.where(near < 0, -size, size).double()


def coarse_atan(u: Tensor) -> Tensor:
    """The inverse tangent to float32's precision; beyond 1 that of -1/u and a quarter turn."""
    near = u.float()
    far = near.abs() > 1
    t = torch.where(far, -1 / near, near)
    turns = torch.where(far, torch.where(near > 0, 0.25, -0.25), 0.0)
    _, *rest = _ATAN_RATIO
    s = t * t
    return (t * s * polynomial(s, rest) + t).double() + 2 * torch.pi * turns.double()


def loggamma(u: Number) -> Number:
    """log Gamma(u)."""
    return u.apply(torch.lgamma, torch.digamma) if isinstance(u, Wide) else torch.lgamma(u)


def incomplete(regularised: Callable[[Tensor, Tensor], Tensor], sign: float) -> Callable[[Number, Number], Number]:
    """Gamma(a) P(a, u) or Gamma(a) Q(a, u) for a constant a > 0."""

    def function(a: Number, u: Number) -> Number:
        if not isinstance(u, Wide):
            return math.gamma(a) * regularised(torch.full_like(u, a), u)
        order = a.real().hi
        whole = torch.exp(torch.lgamma(order))
        density = lambda t: sign * torch.exp((order - 1) * torch.log(t) - t)  # noqa: E731
        return u.apply(lambda t: whole * regularised(order, t), density)

    return function


lowergamma = incomplete(torch.special.gammainc, 1.0)
uppergamma = incomplete(torch.special.gammaincc, -1.0)


class Primitive:
    """A function of z without closed form as polynomials in pieces, to float64's precision.

    rows: left end, middle m, 1/half-width h, second float of the lowest coefficient, coefficients in (z - m)/h.
    """

    def __init__(self, rows: tuple[tuple[float, ...], ...]) -> None:
        self.table = torch.tensor(rows, dtype=torch.float64).T.contiguous()

    def __call__(self, z: Number) -> Number:
        """A NaN stays one."""
        if isinstance(z, Wide):
            return z.lift(self(z.real().hi))
        z = z.double()
        left, *columns = self.table.to(z.device)
        row = torch.bucketize(z, left[1:], right=True)
        middle, inverse, rest, lowest, *higher = (column[row] for column in columns)
        t = torch.where(inverse == 0, 0 * z, (z - middle) * inverse)
        result = torch.zeros_like(t)
        for coefficient in reversed(higher):
            result = (result + coefficient) * t
        return lowest + (rest + result)
