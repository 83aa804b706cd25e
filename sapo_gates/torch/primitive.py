"""The value of a gate whose weight has no antiderivative in closed form: f(r) = 1 + integral of phi over log r from 0.

Between breakpoints phi is interpolated at Chebyshev nodes, by ball arithmetic, and the polynomial integrated exactly;
cells are halved until the interpolant agrees with phi beside its nodes to float64's precision of f.
"""

import math
from collections.abc import Iterator

import flint
from flint import arb, arb_poly
from sympy import Expr

from sapo_gates.errors import ExportError
from sapo_gates.torch.reference import Ball, ball_function, breakpoints, two_floats, value_at

DEGREE = 15
_NODES = [math.cos(math.pi * (2 * k + 1) / (2 * DEGREE + 2)) for k in range(DEGREE + 1)]
_BESIDE = (-0.99, -0.8, -0.45, -0.1, 0.2, 0.6, 0.9, 0.995)
_CLOSE = arb(2) ** -60
_BITS = 250
_NARROWEST = 2.0**-44
_MOST = 8000  # a score weight that tends to a constant needs 1000, up to the largest float64
_LARGEST = arb(1.7e308)
_CURE = "declare the gate by its value."

Row = tuple[float, ...]
"""Left end, middle, 1/half-width, lowest coefficient's second float, coefficients: what `wide.Primitive` reads."""


def table(score: Expr) -> list[Row]:
    """The value for a score weight in r alone, from z = -oo to oo.

    Raises:
        ExportError: phi has no finite integral up to somewhere, or turns too often.
    """
    ball, corners = ball_function(score), breakpoints(score)
    with flint.ctx.workprec(_BITS):
        left, right = (list(_Walk(ball, corners, direction).rows()) for direction in (-1, 1))
    return [*reversed(left), *right]


class _Walk:
    """From z = 0 in one direction, cell by cell; `value` is f where it has come to."""

    def __init__(self, score: Ball, corners: list[float], direction: int) -> None:
        self.score, self.direction = score, direction
        self.corners = sorted(abs(corner) for corner in corners if corner * direction > 0)
        self.value = arb(1)
        self.tried = 0

    def rows(self) -> Iterator[Row]:
        """In steps that double between corners, until nothing changes or f is infinite."""
        at = 0.0
        while at < 2.0**1022 and not self._settled(at) and self._representable(self.value):
            end = min([max(1.0, 2 * at), *(corner for corner in self.corners if corner > at)])
            yield from self._cells(at, end)
            at = end
        if self._representable(self.value):
            yield _constant(at if self.direction > 0 else -math.inf, float(self.value))

    def _settled(self, at: float) -> bool:
        if at == 0 or any(corner > at for corner in self.corners):
            return False
        left = max(arb(4 * at) * abs(self._phi(self.direction * far)) for far in (at, 2 * at))
        return left < _CLOSE * abs(self.value)

    def _representable(self, value: arb) -> bool:
        return bool(abs(value) < _LARGEST)

    def _phi(self, z: float) -> arb:
        found = value_at(self.score, z, bits=100)
        if not found.is_finite():
            raise ExportError(f"the gate has no value: its score weight is not finite at z = {z!r}; {_CURE}")
        return found

    def _cells(self, start: float, end: float) -> Iterator[Row]:
        self.tried += 1
        if self.tried > _MOST:
            raise ExportError(
                f"the gate has no value: its score weight turns too often around z = {self.direction * start!r} to be "
                f"integrated in {_MOST} pieces; {_CURE}"
            )
        low, high = sorted((self.direction * start, self.direction * end))
        middle, half = (low + high) / 2, (high - low) / 2
        nodes, beside = ([middle + half * t for t in places] for places in (_NODES, _BESIDE))
        exactly = lambda z: (arb(z) - arb(middle)) / arb(half)  # noqa: E731
        phi = arb_poly.interpolate([exactly(z) for z in nodes], [self._phi(z) for z in nodes])  # type: ignore[attr-defined]
        rise = phi.integral() * arb(half)
        reached = self.value + self.direction * (rise(arb(1)) - rise(arb(-1)))
        error = max(abs(phi(exactly(z)) - self._phi(z)) for z in beside) * arb(half)
        scale = max(abs(self.value), abs(reached), _CLOSE)
        width = (end - start) / max(1.0, start)
        close = self._representable(reached) and error <= _CLOSE * scale
        if abs(self.value) > 4 * abs(reached) or abs(reached) > 4 * abs(self.value):
            close = close and width < 2**-20  # near a zero of f the terms of a wide cell's polynomial cancel
        if not close and width > _NARROWEST:
            yield from self._cells(start, (start + end) / 2)
            if self._representable(self.value):
                yield from self._cells((start + end) / 2, end)
            return
        if error > arb(2) ** -40 * scale:
            raise ExportError(f"the gate has no value: phi cannot be integrated at z = {middle!r}; {_CURE}")
        polynomial = rise + (self.value - rise(arb(-self.direction)))
        self.value = arb(reached.mid())
        if not self._representable(reached):
            yield _constant(low, math.copysign(math.inf, float(reached)))
            return
        lowest, rest = two_floats(polynomial[0])
        yield (low, middle, 1 / half, rest, lowest, *(float(polynomial[k].mid()) for k in range(1, DEGREE + 2)))


def _constant(left: float, value: float) -> Row:
    return (left, 0.0, 0.0, 0.0, value, *[0.0] * (DEGREE + 1))
