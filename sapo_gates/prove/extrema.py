"""Suprema of smooth functions on sections, and the first place where one falls to 0: enclosures, by branch and bound.

A box on which the function is monotone counts only at its ends, so what remains to be split are brackets of stationary
points; towards the ends of (0, oo) limits count. Parameters are numbers here: one variable t is left.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any, Literal, TypeVar

import sympy
from flint import arb
from sympy import Add, Expr, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.prove.boxes import FARTHEST, Range
from sapo_gates.prove.case import one_sided
from sapo_gates.prove.enclose import Enclosure
from sapo_gates.prove.forms import MAX_SIMPLIFIED, derivative_by_terms, log_derivative, normal, tamed
from sapo_gates.prove.interval import INFINITY, Interval, Undefined, hull
from sapo_gates.prove.limits import Limit
from sapo_gates.prove.sections import Branch, Section
from sapo_gates.prove.signs import enclosure_of
from sapo_gates.prove.tails import S, expressions_at_infinity, limit_at_infinity

End = Literal["lower", "upper"]
MAX_SPLITS = 3000
FAR = Fraction(2**40)
TIGHT = Fraction(1, 2**52)  # relative width of a supremum; its place is known to about the square root of it
NARROW = Fraction(1, 2**44)  # relative width of a bracket around a crossing
T = TypeVar("T")
Ranges = Mapping[Symbol, Interval]


@dataclass(frozen=True, eq=False)
class Curve:
    """An expression on one section.

    mean: an expression in t whose values between r = 1 and r contain this one's value at r, for sections that touch 1;
    it stands in where this one is 0/0. depth: how many derivatives in turn may be enclosed by their own monotony, for
    functions whose derivative touches 0 at an end of the section.
    """

    branch: Branch
    section: Section
    expression: Expr
    mean: "Curve | None" = None
    depth: int = 0

    @property
    def t(self) -> Symbol:
        """The section's coordinate."""
        return self.section.t

    @property
    def whole(self) -> Range:
        """The section."""
        return Range(self.section.t_lower, self.section.t_upper, True, True)

    def __neg__(self) -> "Curve":
        mean = None if self.mean is None else -self.mean
        return Curve(self.branch, self.section, -self.expression, mean, self.depth)

    @cached_property
    def _values(self) -> "Forms":
        return Forms(form for form in (self.expression, tamed(normal, self.expression)))

    @cached_property
    def _slope(self) -> Expr:
        return derivative(self.expression, self.t)

    @cached_property
    def _slope_curve(self) -> "Curve":
        return Curve(self.branch, self.section, self._slope, depth=self.depth - 1)

    @cached_property
    def _slopes(self) -> "Forms":
        def forms() -> Iterator[Expr]:
            yield self._slope
            yield derivative_by_terms(self.expression, self.t)
            if sympy.count_ops(self._slope) < 3 * MAX_SIMPLIFIED:
                yield tamed(sympy.factor, self._slope)

        return Forms(forms())

    @cached_property
    def _log_slopes(self) -> "Forms":
        rate = log_derivative(self.expression, self.t)
        return Forms(form() for form in (lambda: rate, lambda: tamed(_as_one_fraction, rate)))

    @cached_property
    def _far_values(self) -> "Forms":
        return Forms(expressions_at_infinity(self.expression, self.t), self.t)

    @cached_property
    def _far_slopes(self) -> "Forms":
        """d log |g| / d log t, where t goes to infinity."""
        return Forms(expressions_at_infinity(self.t * log_derivative(self.expression, self.t), self.t), self.t)

    @cached_property
    def _terms(self) -> tuple["Curve", ...]:
        terms = Add.make_args(_expanded(self.expression))
        return tuple(Curve(self.branch, self.section, term) for term in terms) if len(terms) > 1 else ()

    def limit(self, end: End) -> Limit:
        """The limit at that end of the section, from inside.

        Raises:
            Undefined: it is not known.
        """
        found = self._limits.get(end)
        if found is None:
            found = self._limits[end] = self._find_limit(end)
        if isinstance(found, Undefined):
            raise found
        return found

    @cached_property
    def _limits(self) -> dict[End, "Limit | Undefined"]:
        return {}

    def _find_limit(self, end: End) -> "Limit | Undefined":
        if self.mean is not None and end == ("lower" if self.section.side == "right" else "upper"):
            return self.mean._find_limit(end)
        at = getattr(self.section, f"t_{end}")
        try:
            if isinstance(at, float):
                return self._limit_far_out(at)
            if is_flat(self.expression, self.t, at, end):
                return Limit(interval=Interval(arb(0), arb(0)))
            found = one_sided(self.section, self.expression, end, self.branch)
            return found.limit if found.limit is not None else Limit(interval=found.enclosure({}))
        except Undefined as error:
            return error

    def _limit_far_out(self, at: float) -> Limit:
        """As t -> +-oo: of the expression; by how fast it grows; or term by term, where what falls fast goes to 0."""

        def of(expression: Expr) -> Limit | None:
            found = limit_at_infinity(expression if at > 0 else substitute(expression, {self.t: -self.t}), self.t, {})
            return None if found is None else found[0]

        whole = of(self.expression)
        if whole is not None:
            return whole
        growth = of(self.t * log_derivative(self.expression, self.t))
        if growth is not None and (
            growth.infinite > 0 or (growth.interval is not None and growth.interval.is_positive)
        ):
            far = Range(FAR, inf) if at > 0 else Range(-inf, -FAR)
            sign = _sign(lambda: _first({self.t: far.interval}, self._values), strict=True)
            if sign:
                return Limit(infinite=sign)
        total: Interval | None = None
        for term in Add.make_args(_expanded(self.expression)):
            found = of(term)
            if found is None:
                rate = of(self.t * log_derivative(term, self.t))
                if rate is None or not (rate.infinite < 0 or (rate.interval is not None and rate.interval.is_negative)):
                    raise Undefined("no limit known")
                found = Limit(interval=Interval(arb(0), arb(0)))
            total = found.finite if total is None else total + found.finite
        return Limit(interval=total)

    def at(self, point: Fraction) -> Interval:
        """The value at one t inside the section.

        Raises:
            Undefined: it is not enclosed.
        """
        return _first({self.t: Interval.of(point, point)}, self._values)

    def image(self, box: Range) -> Interval:
        """An enclosure of the values on a part of the section.

        Raises:
            Undefined: none is found.
        """
        found = [image for image in self._images(box) if image is not None]
        if not found:
            raise Undefined("no enclosure")
        lower, upper = max(i.lower for i in found), min(i.upper for i in found)
        return Interval(lower, max(lower, upper))

    def _images(self, box: Range) -> Iterator[Interval | None]:
        here = {self.t: box.interval}
        if self.mean is not None:
            right = self.section.side == "right"
            wide = (
                Range(self.section.t_lower, box.upper, True, box.upper_open)
                if right
                else Range(box.lower, self.section.t_upper, box.lower_open, True)
            )
            yield _try(lambda: self.mean.image(wide) if self.mean else None)
        unbounded = isinstance(box.lower, float) or isinstance(box.upper, float)
        for enclose in (*self._values, *(self._far_values if box.upper == inf and box.lower > 0 else ())):
            found = _try(lambda: enclose(here))  # noqa: B023
            yield found
            if found is not None and (not unbounded or (found.lower.is_finite() and found.upper.is_finite())):
                break
            unbounded = unbounded or found is None or not (found.lower.is_finite() and found.upper.is_finite())
        if self.slope_sign(box):
            yield _try(lambda: hull(self._end(box, "lower"), self._end(box, "upper")))
        elif unbounded:
            yield _try(lambda: _total([term.image(box) for term in self._terms]) if self._terms else None)
        else:
            yield _try(lambda: self._by_mean_value(box))

    def _by_mean_value(self, box: Range) -> Interval:
        middle = box.middle
        inner = box.interval + -Interval.of(middle, middle)
        return self.at(middle) + _first({self.t: box.interval}, self._slopes) * inner

    def _end(self, box: Range, end: End) -> Interval:
        at = getattr(box, end)
        if at == getattr(self.section, f"t_{end}"):
            found = self.limit(end)
            if found.infinite:
                top = INFINITY if found.infinite > 0 else -INFINITY
                return Interval(top, top)
            return found.finite
        return self.at(at)

    def slope_sign(self, box: Range, *, strict: bool = False) -> Literal[-1, 0, 1]:
        """+1 where the function does not fall on the box, -1 where it does not grow, 0 if that is not certain.

        strict: it grows, or falls.
        """
        here = {self.t: box.interval}
        for enclose in self._slopes:
            sign = _sign(lambda: enclose(here), strict=strict)  # noqa: B023
            if sign:
                return sign
        if self.depth:
            sign = _sign(lambda: self._slope_curve.image(box), strict=strict)
            if sign:
                return sign
        sign: Literal[-1, 0, 1] = _sign(lambda: _first(here, self._values), strict=True)
        if not sign:
            return 0

        def log_sign(rate: Enclosure) -> Literal[-1, 0, 1]:
            return _sign(lambda: rate(here) if sign > 0 else -rate(here), strict=strict)

        far = self._far_slopes if box.upper == inf and box.lower > 0 else ()
        for rate in (*self._log_slopes, *far):
            found = log_sign(rate)
            if found:
                return found
        return 0

    def place(self, box: Range) -> Interval:
        """The ratios r of a box of t."""
        x = Curve(self.branch, self.section, substitute(self.branch.chart.ratio, {self.branch.chart.x: self.position}))
        return hull(x._end(box, "lower"), x._end(box, "upper"))

    @property
    def position(self) -> Expr:
        """x in terms of t."""
        return self.section.position


def is_flat(expression: Expr, t: Symbol, at: Fraction, end: End) -> bool:
    """e is 0, or R exp(Q) with rational R and Q -> -oo as t -> at from inside: e and all its derivatives go to 0."""
    exponentials = expression.atoms(sympy.exp)
    if expression == 0 or len(exponentials) != 1:
        return bool(expression == 0)
    exponential = next(iter(exponentials))
    factor = sympy.Dummy("factor")
    rational = sympy.cancel(substitute(expression, {exponential: factor}) / factor)
    exponent = sympy.cancel(exponential.args[0])
    if factor in rational.free_symbols or not (rational.is_rational_function(t) and exponent.is_rational_function(t)):
        return False
    numerator, denominator = sympy.fraction(exponent)
    point = sympy.Rational(at.numerator, at.denominator)
    there = {t: point}
    if substitute(denominator, there) != 0 or substitute(numerator, there) == 0:
        return False
    inwards = limit_at_pole(numerator, denominator, t, point, 1 if end == "lower" else -1)
    return inwards is not None and inwards < 0


def limit_at_pole(numerator: Expr, denominator: Expr, t: Symbol, point: Expr, direction: int) -> int | None:
    """The sign of the quotient of polynomials next to a zero of the denominator alone, on one side."""
    order, lowest = 0, denominator
    while substitute(lowest, {t: point}) == 0:
        order, lowest = order + 1, lowest.diff(t)
        if lowest == 0:
            return None
    leading = substitute(numerator, {t: point}) * substitute(lowest, {t: point}) * direction**order
    return 1 if leading.is_positive else -1 if leading.is_negative else None


def _expanded(expression: Expr) -> Expr:
    """Products of sums as sums; exp of a sum stays whole, as its factors may grow and fall against each other."""
    return Add(*(sympy.expand_mul(term, deep=False) for term in Add.make_args(expression)))


def _as_one_fraction(expression: Expr) -> Expr:
    return sympy.factor(expression)


class Forms:
    """Enclosures of equal expressions, each made when the ones before it did not do."""

    def __init__(self, forms: Iterator[Any], t: Symbol | None = None) -> None:
        """forms: expressions; with t, what `expressions_at_infinity` gives."""
        self._left, self._made, self._seen, self._t = forms, [], set(), t

    def __iter__(self) -> Iterator[Enclosure]:
        yield from self._made
        for form in self._left:
            expression, variable = form[:2] if self._t is not None else (form, None)
            if expression in self._seen:
                continue
            self._seen.add(expression)
            made = enclosure_of(expression)
            self._made.append(made if self._t is None or variable == self._t else _in_t(expression, S, self._t))
            yield self._made[-1]


def _in_t(form: Expr, variable: Symbol, t: Symbol) -> Enclosure:
    enclose = enclosure_of(form)
    if variable != S:
        return enclose
    return lambda ranges: enclose({S: ranges[t].reciprocal()})


def _first(here: Ranges, enclosures: Forms) -> Interval:
    for enclose in enclosures:
        found = _try(lambda: enclose(here))  # noqa: B023
        if found is not None:
            return found
    raise Undefined("no enclosure")


def _try(image: Callable[[], T | None]) -> T | None:
    try:
        return image()
    except Undefined:
        return None


def _sign(image: Callable[[], Interval], *, strict: bool = False) -> Literal[-1, 0, 1]:
    found = _try(image)
    if found is None:
        return 0
    if found.is_positive or (not strict and found.is_nonnegative):
        return 1
    return -1 if found.is_negative or (not strict and found.is_nonpositive) else 0


def _total(images: Sequence[Interval]) -> Interval:
    total = images[0]
    for image in images[1:]:
        total = total + image
    return total


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

    ends: tuple[End, End] = ("lower", "upper")
    for curve in curves:
        for end in ends:
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
        value = _try(lambda: curve._end(box, end))
        if value is not None:
            return _Part(curve, Range(at, at), value.upper, True), max(reached, value.lower)
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
                value = _try(lambda: curve._end(box, end))  # noqa: B023
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
    return curve.slope_sign(box, strict=True) == (-1 if far == "upper" else 1)


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
