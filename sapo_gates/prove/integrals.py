"""Integrals of one section's functions, enclosed: Taylor polynomials on boxes, the widest enclosure split first.

On a box of half-width h around m the integral is the sum of 2 h^(k+1)/(k+1) times the k-th Taylor coefficient at m
over even k, and 2 h^(n+1)/(n+1) times the n-th coefficient over the whole box. Next to an end where there are no Taylor
coefficients the integrand g falls at least like s^-p, p > 1, where s goes to oo; beyond R at most g(R) R/(p - 1) is
left.
"""

import heapq
import itertools
from fractions import Fraction
from math import inf

from flint import arb

from sapo_gates.prove.boxes import Range
from sapo_gates.prove.curves import Curve, End, as_ball, in_s
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import log_derivative
from sapo_gates.prove.growth import growth
from sapo_gates.prove.interval import ZERO, Interval, Undefined, hull
from sapo_gates.prove.tails import S

ORDER = 12  # of the remainder; even
MAX_BOXES = 1500
DOUBLINGS = 120  # of s, before an end is given up


def integral(curve: Curve, width: float, box: Range | None = None) -> Interval:
    """The integral over the section by t, or over a box of it, to about the given absolute width.

    Raises:
        Undefined: it is not shown to be finite, or not enclosed tightly.
    """
    inner = curve.whole if box is None else box
    total = Interval(ZERO, ZERO)
    for end in curve.outer_ends():
        if getattr(inner, end) != getattr(curve.section, f"t_{end}"):
            continue
        cut, beyond = _beyond(curve, end, width / 4)
        inner = Range(cut, inner.upper) if end == "lower" else Range(inner.lower, cut)
        total = total + beyond
    return total + _over(curve, inner, width / 2)


def _beyond(curve: Curve, end: End, width: float) -> tuple[Fraction, Interval]:
    """Where to cut next to that end, and the integral over what is cut off."""
    at, inwards = getattr(curve.section, f"t_{end}"), 1 if end == "lower" else -1
    other = getattr(curve.section, "t_upper" if end == "lower" else "t_lower")
    moved = in_s(curve.section, curve.quotient, end)
    density = moved if isinstance(at, float) else moved / S**2
    slope = S * log_derivative(density, S)
    for doubling in range(DOUBLINGS):
        start = Fraction(2) ** doubling
        cut = -inwards * start if isinstance(at, float) else at + inwards / start
        if (cut - other) * inwards >= 0:
            continue
        try:
            fall = -growth(slope, S, start).interval.upper - 1
            if not fall > 0:
                continue
            most = compiled(density * S)({S: Interval.of(start, start)}) * Interval.around(1 / fall)
        except Undefined:
            continue
        if max(abs(most.lower), abs(most.upper)) < width:
            return cut, hull(most, Interval(ZERO, ZERO))
    raise Undefined("the integral is not shown to be finite")


def _over(curve: Curve, whole: Range, width: float) -> Interval:
    order = itertools.count()

    def part(box: Range) -> tuple[float, int, Range, Interval]:
        found = _part(curve, box)
        size = float(found.upper - found.lower)
        return (-size if size == size else -inf), next(order), box, found

    parts = [part(whole)]
    while -sum(one[0] for one in parts) > width:
        if len(parts) > MAX_BOXES:
            raise Undefined("the integral is not enclosed tightly")
        _, _, widest, _ = heapq.heappop(parts)
        for half in widest.halves():
            heapq.heappush(parts, part(half))
    total = parts[0][3]
    for _, _, _, found in parts[1:]:
        total = total + found
    return total


def _part(curve: Curve, box: Range) -> Interval:
    assert isinstance(box.lower, Fraction)
    assert isinstance(box.upper, Fraction)
    middle, half = (box.lower + box.upper) / 2, as_ball((box.upper - box.lower) / 2)
    try:
        remainder = curve.jet(as_ball(box.lower).union(as_ball(box.upper)), ORDER + 1)[ORDER]
        coefficients = [*curve.jet(as_ball(middle), ORDER), remainder]
    except Undefined:
        return Interval(arb("-inf"), arb("inf"))
    return Interval.around(
        sum((2 * c * half ** (k + 1) / (k + 1) for k, c in enumerate(coefficients) if k % 2 == 0), arb(0))
    )
