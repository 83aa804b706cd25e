"""Suprema of functions on sections, and the first place where one falls to 0: enclosures, by branch and bound.

A box on which the function is monotone counts only at its ends, and one on which it is concave only at its peak, which
Newton's method brackets; towards the ends of (0, oo) limits count.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from flint import arb

from sapo_gates.prove.boxes import Range
from sapo_gates.prove.curves import ENDS, Curve, End
from sapo_gates.prove.interval import INFINITY, Interval, Undefined
from sapo_gates.prove.limits import Limit

MAX_SPLITS = 1000
FARTHEST = Fraction(2**80)  # unbounded boxes beyond it are not split any more
TIGHT = Fraction(1, 2**52)  # relative width of a supremum
NARROW = Fraction(1, 2**44)  # relative width of a bracket around a crossing
T = TypeVar("T")


def _try(image: Callable[[], T]) -> T | None:
    try:
        return image()
    except Undefined:
        return None


@dataclass(frozen=True)
class Supremum:
    """sup of some curves lies in [lower, upper]; places: where it is reached or approached, curve by curve."""

    lower: arb
    upper: arb
    places: tuple[tuple[Curve, Range], ...]

    @property
    def interval(self) -> Interval:
        """The enclosure."""
        return Interval(self.lower, self.upper)

    @property
    def is_infinite(self) -> bool:
        """The functions are unbounded above, proved."""
        return bool(self.lower == INFINITY)


@dataclass(frozen=True)
class _Part:
    curve: Curve
    box: Range
    upper: arb
    final: bool


def supremum(curves: Sequence[Curve], tolerance: Fraction = TIGHT) -> Supremum:
    """The least upper bound over all the curves, enclosed.

    Best first: the part with the largest bound is split until no bound exceeds a value that is reached, or approached,
    by more than the tolerance. The enclosure is right also where that is not achieved; then it is wide.
    """
    order, best = itertools.count(), -INFINITY
    heap: list[tuple[float, bool, int, _Part]] = []

    def add(part: _Part) -> None:
        heapq.heappush(heap, (-float(part.upper), part.final, next(order), part))

    for curve in curves:
        for end in ENDS:
            found = _try_limit(curve, end)
            if found is not None:
                at = getattr(curve.section, f"t_{end}")
                top = arb(found.infinite) * INFINITY if found.infinite else found.finite.upper
                best = max(best, top if found.infinite else found.finite.lower)
                add(_Part(curve, Range(at, at), top, True))
        add(_Part(curve, curve.whole, INFINITY, False))
    for _ in range(MAX_SPLITS):
        top = heap[0][3]
        if best == INFINITY or (top.upper.is_finite() and top.upper - best <= arb(float(tolerance)) * abs(top.upper)):
            break
        if top.final or _is_spent(top.box):
            break
        heapq.heappop(heap)
        for half in top.box.halves():
            part, reached = _bounded(top.curve, half)
            best = max(best, reached)
            if part.upper >= best:
                add(part)
    candidates = [entry[3] for entry in heap if entry[3].upper >= best]
    upper = max((part.upper for part in candidates), default=best)
    return Supremum(best, max(upper, best), tuple((part.curve, part.box) for part in candidates))


def _is_spent(box: Range) -> bool:
    if isinstance(box.upper, float) or isinstance(box.lower, float):
        ends = [abs(e) for e in (box.lower, box.upper) if isinstance(e, Fraction)]
        return bool(ends and ends[0] > FARTHEST)
    return box.upper - box.lower < Fraction(1, 2**90)


def _bounded(curve: Curve, box: Range) -> tuple[_Part, arb]:
    """The part with its bound, and a value that is reached on it."""
    reached = -INFINITY
    found = _try(lambda: curve.at(box.middle))
    if found is not None:
        reached = found.lower
    sign = curve.slope_sign(box)
    if sign:
        end: End = "upper" if sign > 0 else "lower"
        at = getattr(box, end)
        value = _try(lambda: curve.at_end(box, end))
        if value is not None:
            return _Part(curve, Range(at, at), value.upper, True), max(reached, value.lower)
    peak = curve.peak(box)
    if peak is not None:
        value = curve.image(peak)
        return _Part(curve, peak, value.upper, True), max(reached, value.lower)
    image = _try(lambda: curve.image(box))
    return _Part(curve, box, INFINITY if image is None else image.upper, False), reached


def _try_limit(curve: Curve, end: End) -> Limit | None:
    try:
        return curve.limit(end)
    except Undefined:
        return None


@dataclass(frozen=True)
class Crossing:
    """The first t, seen from r = 1, at which the function is <= 0, lies in the box; curve is None if there is none."""

    curve: Curve | None
    box: Range | None
    certain: bool = True


def first_crossing(curves: Sequence[Curve]) -> Crossing:
    """Where a function first falls to 0 or below, walking away from r = 1 along the sections in that order."""
    splits = 0
    for curve in curves:
        right = curve.section.side == "right"
        doubtful: Range | None = None  # a narrow box that the function may have left below 0 already
        waiting = [curve.whole]
        while waiting:
            box = waiting.pop()
            image = _try(lambda: curve.image(box))  # noqa: B023
            if image is not None and (image.is_positive or _falls_to_end(curve, box)):
                if doubtful is not None:
                    return Crossing(curve, doubtful, certain=False)
                continue
            near, far = (box.lower, box.upper) if right else (box.upper, box.lower)
            if image is not None and image.is_nonpositive:
                return Crossing(curve, _joined(doubtful, Range(near, near)))
            splits += 1
            if splits > MAX_SPLITS or _is_spent(box):
                return Crossing(curve, box, certain=False)
            if _is_narrow(box) and not isinstance(far, float):
                end: End = "upper" if right else "lower"
                value = _try(lambda: curve.at_end(box, end))  # noqa: B023
                if value is not None and value.is_nonpositive:
                    return Crossing(curve, _joined(doubtful, box))
                if value is not None and value.contains_zero and far != getattr(curve.section, f"t_{end}"):
                    doubtful = _joined(doubtful, box)
                    if not _is_narrow(doubtful, 16):
                        return Crossing(curve, doubtful, certain=False)
                    continue
            first, second = box.halves()
            waiting += [second, first] if right else [first, second]
    return Crossing(None, None)


def _joined(before: Range | None, box: Range) -> Range:
    return box if before is None else Range(min(before.lower, box.lower), max(before.upper, box.upper))


def _falls_to_end(curve: Curve, box: Range) -> bool:
    """The function falls strictly, towards a limit >= 0 at the far end of the section, which it does not attain."""
    far: End = "upper" if curve.section.side == "right" else "lower"
    if getattr(box, far) != getattr(curve.section, f"t_{far}"):
        return False
    found = _try_limit(curve, far)
    if found is None or found.interval is None or not found.interval.is_nonnegative:
        return False
    return curve.slope_sign(box, far_out=True) == (-1 if far == "upper" else 1)


def _is_narrow(box: Range, times: int = 1) -> bool:
    if isinstance(box.lower, float) or isinstance(box.upper, float):
        return False
    return box.upper - box.lower <= times * NARROW * max(abs(box.lower), abs(box.upper))


def is_nonpositive(curves: Sequence[Curve]) -> bool | None:
    """Whether all of them are <= 0 on their sections; None if that is not settled."""
    splits = 0
    waiting = deque((curve, curve.whole) for curve in curves)
    while waiting:
        curve, box = waiting.popleft()
        image = _try(lambda: curve.image(box))  # noqa: B023
        if image is not None and image.is_nonpositive:
            continue
        if image is not None and image.is_positive:
            return False
        splits += 1
        if splits > MAX_SPLITS or _is_spent(box):
            return None
        waiting.extend((curve, half) for half in box.halves())
    return True
