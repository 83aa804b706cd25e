"""Branch and bound: split a box until a rule settles every part of it."""

import heapq
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isqrt

from sympy import Symbol

from sapo_gates.prove.interval import Interval

End = Fraction | float
MAX_BOXES = 20_000
FARTHEST = 2**40  # beyond it unbounded boxes are not split any more: tails need a rule, not more boxes


@dataclass(frozen=True)
class Range:
    """The values of one variable; *_open: that end is not among them."""

    lower: End
    upper: End
    lower_open: bool = False
    upper_open: bool = False

    @property
    def interval(self) -> Interval:
        """As an interval, rounded outwards."""
        return Interval.of(self.lower, self.upper, self.lower_open, self.upper_open)

    @property
    def extent(self) -> float:
        """Length on the compactified line x/(1 + |x|), so that unbounded ranges compare with bounded ones."""
        return _compact(self.upper) - _compact(self.lower)

    @property
    def middle(self) -> Fraction:
        """A simple rational well inside."""
        low, high = self.lower, self.upper
        if isinstance(low, float) and isinstance(high, float):
            return Fraction(0)
        if isinstance(low, float):
            return min(Fraction(4 * high), Fraction(-1)) if high <= 0 else Fraction(0)
        if isinstance(high, float):
            return max(Fraction(4 * low), Fraction(1)) if low >= 0 else Fraction(0)
        if low > 0 and high > 4 * low:
            product = low * high  # the geometric middle, rounded to a rational
            geometric = Fraction(isqrt(int(product * 2**80)), 2**40).limit_denominator(2**30)
            if low < geometric < high:
                return geometric
        if high < 0 and low < 4 * high:
            return -Range(-high, -low).middle
        return Fraction(low + high) / 2

    def halves(self) -> tuple["Range", "Range"]:
        """Both parts, with the splitting point in both."""
        middle = self.middle
        return Range(self.lower, middle, self.lower_open), Range(middle, self.upper, False, self.upper_open)

    def contains(self, number: Fraction) -> bool:
        """The number is one of the values."""
        above = number > self.lower or (number == self.lower and not self.lower_open)
        return above and (number < self.upper or (number == self.upper and not self.upper_open))


def _compact(end: End) -> float:
    return (1.0 if end > 0 else -1.0) if isinstance(end, float) else float(end / (1 + abs(end)))


Box = Mapping[Symbol, Range]


@dataclass(frozen=True)
class Leaf:
    """A box and the rule that settles it."""

    box: Box
    rule: str


@dataclass(frozen=True)
class Closed:
    """Every part is settled."""

    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Violated:
    """At every point of this box the claim is false."""

    box: Box


@dataclass(frozen=True)
class Open:
    """This box was neither settled nor violated within the budget."""

    box: Box


class Violation(Exception):
    """Raised by a rule that sees the claim fail everywhere on the box."""


@dataclass
class Budget:
    """What a proof may cost; shared by all claims about one gate."""

    deadline: float
    boxes: int = MAX_BOXES

    @staticmethod
    def seconds(limit: float) -> "Budget":
        """From now on."""
        return Budget(time.process_time() + limit)

    @property
    def left(self) -> float:
        """Seconds left; negative when it is spent."""
        return self.deadline - time.process_time()

    @property
    def is_spent(self) -> bool:
        """No time left."""
        return self.left < 0


Rule = Callable[[Mapping[Symbol, Interval], Box], bool]


def cover(box: Box, rules: Sequence[tuple[str, Rule]], budget: Budget) -> Closed | Violated | Open:
    """Split the box, largest part first, until each part is settled by one of the rules.

    A rule answers True (settled), False (it cannot tell) or raises Violation.
    """
    order = itertools.count()
    waiting = [(-1.0, next(order), box)]
    leaves: list[Leaf] = []
    favourite = list(rules)
    while waiting:
        if budget.is_spent or len(leaves) + len(waiting) > budget.boxes:
            return Open(waiting[0][2])
        _, _, part = heapq.heappop(waiting)
        intervals = {symbol: range_.interval for symbol, range_ in part.items()}
        try:
            settled = next((rule for rule in favourite if rule[1](intervals, part)), None)
        except Violation:
            return Violated(part)
        if settled is not None:
            leaves.append(Leaf(part, settled[0]))
            favourite.remove(settled)
            favourite.insert(0, settled)
            continue
        widest = max(part, key=lambda symbol: part[symbol].extent, default=None)
        if widest is None or part[widest].extent < 2.0**-60:
            return Open(part)
        for half in part[widest].halves():
            if abs(half.lower) != inf and abs(half.lower) > FARTHEST and half.upper == inf:
                return Open(part)
            child = {**part, widest: half}
            heapq.heappush(waiting, (-max(r.extent for r in child.values()), next(order), child))
    return Closed(tuple(leaves))
