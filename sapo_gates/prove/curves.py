"""A function of one variable on one section, with its enclosures; parameters are numbers here.

Inside, by Taylor coefficients; next to an end that is infinite, or where the function is not analytic, by its growth.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal

import sympy
from flint import arb, arb_series, ctx, fmpq
from sympy import Expr, Rational, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.prove.boxes import Range
from sapo_gates.prove.case import one_sided
from sapo_gates.prove.enclose import Enclosure, compiled
from sapo_gates.prove.forms import log_derivative
from sapo_gates.prove.growth import growth
from sapo_gates.prove.interval import INFINITY, ZERO, Interval, Undefined, hull
from sapo_gates.prove.jets import Jet, jet_of
from sapo_gates.prove.limits import TO_INFINITY, Limit, limit
from sapo_gates.prove.sections import Branch, Section
from sapo_gates.prove.tails import S

End = Literal["lower", "upper"]
ENDS: tuple[End, End] = ("lower", "upper")
FAR = (Fraction(2**100), Fraction(2**1000))
"""Where the growth is looked at for a limit; an algebraic tail has reached it there to the last digit."""


@dataclass(frozen=True, eq=False)
class _Forms:
    """One quotient in every form that is enclosed; shared by a function and its negative."""

    section: Section
    expression: Expr
    over: Expr

    @property
    def quotient(self) -> Expr:
        return self.expression / self.over

    @cached_property
    def top(self) -> Jet:
        return jet_of(self.expression, self.section.t)

    @cached_property
    def bottom(self) -> Jet:
        return jet_of(self.over, self.section.t)

    @cached_property
    def interval(self) -> Enclosure:
        return compiled(self.quotient)

    def germ(self, end: End) -> Expr:
        """In terms of s, which goes to oo at that end."""
        if end not in self._germs:
            self._germs[end] = in_s(self.section, self.quotient, end)
        return self._germs[end]

    @cached_property
    def _germs(self) -> dict[End, Expr]:
        return {}

    @cached_property
    def slopes(self) -> tuple[Expr, Expr]:
        """f' and f'/f."""
        return derivative(self.quotient, self.section.t), log_derivative(self.quotient, self.section.t)


@dataclass(frozen=True, eq=False)
class Curve:
    """sign * expression / over on one section.

    order: how many Taylor coefficients of the expression, and of over, vanish exactly at the section's inner end, the
    one nearer to r = 1; the quotient is then analytic there too.
    """

    branch: Branch
    section: Section
    forms: _Forms
    order: int = 0
    sign: Literal[-1, 1] = 1

    @staticmethod
    def of(branch: Branch, section: Section, expression: Expr, over: Expr = sympy.S.One, order: int = 0) -> "Curve":
        """expression / over."""
        return Curve(branch, section, _Forms(section, expression, over), order)

    @property
    def t(self) -> Symbol:
        """The section's coordinate."""
        return self.section.t

    @property
    def quotient(self) -> Expr:
        """As one expression."""
        return self.sign * self.forms.quotient

    @property
    def whole(self) -> Range:
        """The section."""
        return Range(self.section.t_lower, self.section.t_upper, True, True)

    def __neg__(self) -> "Curve":
        return replace(self, sign=-self.sign)

    def _signed(self, found: Interval) -> Interval:
        return found if self.sign > 0 else -found

    # Inside -----------------------------------------------------------------------------------------------------------

    def jet(self, ball: arb, count: int) -> list[arb]:
        """f, f', f''/2, ... on the ball.

        Raises:
            Undefined: f is not shown to be analytic there.
        """
        is_whole = self.forms.over is sympy.S.One
        found = self.forms.top(ball, count) if is_whole else self._divided(ball, count)
        return found if self.sign > 0 else [-coefficient for coefficient in found]

    def _divided(self, ball: arb, count: int) -> list[arb]:
        """N/D as it is, and next to the inner end also with the zeros they have there divided out."""
        direct = None
        inner = as_ball(self._inner) if self.order else None
        if inner is None or not ball.contains(inner):
            with suppress(Undefined):
                direct = self._quotient(ball, count, 0)
        if inner is None or (direct is not None and ball.rad() * 64 < abs(ball - inner)):
            if direct is None:
                raise Undefined("division by zero")
            return direct
        # taken as t = 0: with N = t^n P, the coefficients of P over a ball around 0 are those of N, n further on
        around = self._quotient(ball.union(inner), count, self.order)
        return around if direct is None else [a.intersection(b) for a, b in zip(direct, around, strict=True)]

    def _quotient(self, ball: arb, count: int, shift: int) -> list[arb]:
        top, bottom = (jet(ball, count + shift)[shift:] for jet in (self.forms.top, self.forms.bottom))
        if bottom[0].contains(0):
            raise Undefined("division by zero")
        before, ctx.cap = ctx.cap, count
        try:
            found = arb_series(top) / arb_series(bottom)
            return [found[k] for k in range(count)]
        finally:
            ctx.cap = before

    @property
    def _inner(self) -> Fraction:
        """The end nearer to r = 1, where order > 0."""
        end = self.section.t_lower if self.section.side == "right" else self.section.t_upper
        assert isinstance(end, Fraction)
        return end

    def at(self, point: Fraction) -> Interval:
        """The value at one t inside the section.

        Raises:
            Undefined: it is not enclosed.
        """
        try:
            return Interval.around(self.jet(as_ball(point), 1)[0])
        except Undefined:
            return self._signed(self.forms.interval({self.t: Interval.of(point, point)}))

    def image(self, box: Range) -> Interval:
        """An enclosure of the values on a part of the section.

        Raises:
            Undefined: none is found.
        """
        end = self._outer(box)
        if end is not None:
            return self._far_out(box, end)
        lower, upper = -INFINITY, INFINITY
        for found in self._images(box):
            lower, upper = max(lower, found.lower), min(upper, found.upper)
        if not (lower.is_finite() or upper.is_finite()):
            raise Undefined("no enclosure")
        return Interval(lower, max(lower, upper))

    def _images(self, box: Range) -> Iterator[Interval]:
        assert isinstance(box.lower, Fraction)
        assert isinstance(box.upper, Fraction)
        try:
            found = self.jet(_hull(box.lower, box.upper), 3)
        except Undefined:
            found = None
        if found is None or not (found[1] > 0 or found[1] < 0):
            with suppress(Undefined):
                yield self._signed(self.forms.interval({self.t: box.interval}))
        if found is None:
            return
        if found[1] > 0 or found[1] < 0:
            yield hull(self.at_end(box, "lower"), self.at_end(box, "upper"))
            return
        yield Interval.around(found[0])
        for point in (box.lower, box.middle, box.upper):
            yield self._about(point, box, found[2])

    def _about(self, point: Fraction, box: Range, half_second: arb) -> Interval:
        """f(p) + f'(p) d + f''/2 d^2, over the box."""
        try:
            value, slope = self.jet(as_ball(point), 2)
        except Undefined:
            return Interval(-INFINITY, INFINITY)
        below, above = (Interval.of(Fraction(0), abs(end - point)) for end in (box.lower, box.upper))
        around, bend = Interval.around(slope), Interval.around(half_second)

        def side(d: Interval, direction: int) -> Interval:
            return (around if direction > 0 else -around) * d + bend * d.integer_power(2)

        return Interval.around(value) + hull(side(below, -1), side(above, 1))

    def slope_sign(self, box: Range, *, far_out: bool = False) -> Literal[-1, 0, 1]:
        """+1 where the function grows on the box, -1 where it falls, 0 if that is not certain.

        far_out: also where no Taylor coefficients reach, which takes longer.
        """
        end = self._outer(box)
        if end is not None:
            return self._sign_far_out(box, end) if far_out else 0
        try:
            _, slope, bend = self.jet(_hull(box.lower, box.upper), 3)
            if not (slope > 0 or slope < 0):
                middle = box.middle
                slope = self.jet(as_ball(middle), 2)[1] + 2 * bend * (_hull(box.lower, box.upper) - as_ball(middle))
        except Undefined:
            return 0
        return 1 if slope > 0 else -1 if slope < 0 else 0

    def peak(self, box: Range) -> Range | None:
        """A narrow bracket around the maximum inside the box, where the function is concave; by Newton's method."""
        if self._outer(box) is not None:
            return None
        low, high = box.lower, box.upper
        assert isinstance(low, Fraction)
        assert isinstance(high, Fraction)
        try:
            if not (self.jet(_hull(low, high), 3)[2] < 0 and self._rises(low) and not self._rises(high)):
                return None
            for _ in range(80):
                middle = (low + high) / 2
                step = self.jet(as_ball(middle), 2)[1] / (2 * self.jet(_hull(low, high), 3)[2])
                root = as_ball(middle) - step
                newton = (_fraction(root.lower()), _fraction(root.upper())) if root.is_finite() else (low, high)
                closer = max(low, newton[0]), min(high, newton[1])
                if closer[1] - closer[0] > (high - low) / 2:
                    closer = (middle, high) if self._rises(middle) else (low, middle)
                low, high = closer
                if high - low <= Fraction(1, 2**60) * max(abs(low), abs(high)):
                    break
        except Undefined:
            return None
        return Range(low, high)

    def _rises(self, point: Fraction) -> bool:
        slope = self.jet(as_ball(point), 2)[1]
        if not (slope > 0 or slope <= 0):
            raise Undefined("a stationary point to working precision")
        return bool(slope > 0)

    # Ends -------------------------------------------------------------------------------------------------------------

    def _outer(self, box: Range) -> End | None:
        """The end of the section that the box touches, if Taylor coefficients do not reach it."""
        for end in ENDS:
            if getattr(box, end) == getattr(self.section, f"t_{end}") and not self._is_analytic(end):
                return end
        return None

    def outer_ends(self) -> list[End]:
        """The ends of the section that Taylor coefficients do not reach."""
        return [end for end in ENDS if not self._is_analytic(end)]

    def _is_analytic(self, end: End) -> bool:
        if end not in self._analytic:
            at = getattr(self.section, f"t_{end}")
            try:
                self._analytic[end] = isinstance(at, Fraction) and bool(self.jet(as_ball(at), 3))
            except Undefined:
                self._analytic[end] = False
        return self._analytic[end]

    @cached_property
    def _analytic(self) -> dict[End, bool]:
        return {}

    def start_of_s(self, box: Range, end: End) -> Fraction:
        """The least s on a box at that end.

        Raises:
            Undefined: the box reaches too far for s to be > 0.
        """
        at, other = getattr(self.section, f"t_{end}"), box.upper if end == "lower" else box.lower
        if isinstance(other, float):
            raise Undefined("a box without a finite end")
        start = Fraction(abs(other)) if isinstance(at, float) else 1 / Fraction(abs(other - at))
        if start <= 0 or (isinstance(at, float) and (other > 0) != (at > 0)):
            raise Undefined("a box across 0")
        return start

    def _far_out(self, box: Range, end: End) -> Interval:
        found = self._signed(growth(self.forms.germ(end), S, self.start_of_s(box, end)).interval)
        if not (found.lower.is_finite() and found.upper.is_finite()) and self._sign_far_out(box, end):
            return hull(self.at_end(box, "lower"), self.at_end(box, "upper"))
        return found

    def _sign_far_out(self, box: Range, end: End) -> Literal[-1, 0, 1]:
        try:
            start = self.start_of_s(box, end)
            value = growth(self.forms.germ(end), S, start).interval
            plain, rate = (growth(in_s(self.section, e, end), S, start).interval for e in self.forms.slopes)
        except Undefined:
            return 0
        slopes = [plain, rate if value.is_positive else -rate] if not value.contains_zero else [plain]
        for slope in map(self._signed, slopes):
            if slope.is_positive or slope.is_negative:
                return 1 if slope.is_positive else -1
        return 0

    def limit(self, end: End) -> Limit:
        """The limit at that end of the section, from inside.

        Raises:
            Undefined: it is not known.
        """
        if end not in self._limits:
            try:
                self._limits[end] = self._find_limit(end)
            except Undefined as error:
                self._limits[end] = error
        found = self._limits[end]
        if isinstance(found, Undefined):
            raise found
        return found

    @cached_property
    def _limits(self) -> dict[End, "Limit | Undefined"]:
        return {}

    def _find_limit(self, end: End) -> Limit:
        if self._is_analytic(end):
            return Limit(interval=Interval.around(self.jet(as_ball(getattr(self.section, f"t_{end}")), 1)[0]))
        germ = self.sign * self.forms.germ(end)
        try:
            return limit(germ, S, TO_INFINITY, {})
        except (Undefined, KeyError):
            pass
        for start in FAR:
            try:
                found = growth(germ, S, start)
            except Undefined:
                continue
            if found.power == 0 and found.range.lower.is_finite() and found.range.upper.is_finite():
                return Limit(interval=Interval(found.range.lower, found.range.upper))
            if found.power < 0 and found.range.lower.is_finite() and found.range.upper.is_finite():
                return Limit(interval=Interval(ZERO, ZERO))
            if found.power > 0 and (found.range.lower > 0 or found.range.upper < 0):
                return Limit(infinite=1 if found.range.lower > 0 else -1)
        if self._falls_like_a_power(germ):
            return Limit(interval=Interval(ZERO, ZERO))
        if isinstance(getattr(self.section, f"t_{end}"), Fraction):
            known = one_sided(self.section, self.quotient, end, self.branch)
            return known.limit if known.limit is not None else Limit(interval=known.enclosure({}))
        raise Undefined("no limit known")

    @staticmethod
    def _falls_like_a_power(germ: Expr) -> bool:
        """d log|f|/d log s <= -p < 0 from some s on, so that f goes to 0."""
        try:
            return any(growth(S * log_derivative(germ, S), S, start).interval.upper < 0 for start in FAR)
        except Undefined:
            return False

    def at_end(self, box: Range, end: End) -> Interval:
        """The value at one end of a part of the section; at the section's own end the limit.

        Raises:
            Undefined: it is not known.
        """
        at = getattr(box, end)
        if at == getattr(self.section, f"t_{end}"):
            found = self.limit(end)
            if found.infinite:
                top = INFINITY if found.infinite > 0 else -INFINITY
                return Interval(top, top)
            return found.finite
        return self.at(at)

    def place(self, box: Range) -> Interval:
        """The ratios r of a box of t."""
        chart = self.branch.chart
        x = Curve.of(self.branch, self.section, substitute(chart.ratio, {chart.x: self.section.position}))
        return hull(x.at_end(box, "lower"), x.at_end(box, "upper"))


def as_ball(point: Fraction) -> arb:
    """The rational, enclosed."""
    return arb(fmpq(point.numerator, point.denominator))


def _hull(lower: Fraction | float, upper: Fraction | float) -> arb:
    assert isinstance(lower, Fraction)
    assert isinstance(upper, Fraction)
    return as_ball(lower).union(as_ball(upper))


def _fraction(number: arb) -> Fraction:
    """An exact ball as a rational."""
    mantissa, exponent = (int(part) for part in number.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


def in_s(section: Section, expression: Expr, end: End) -> Expr:
    """An expression in t in terms of s, which goes to oo at that end; rational parts factored, so nothing cancels."""
    at, inwards = getattr(section, f"t_{end}"), 1 if end == "lower" else -1
    if isinstance(at, float):
        return substitute(expression, {section.t: -inwards * S})
    moved = substitute(expression, {section.t: Rational(at.numerator, at.denominator) + inwards / S})
    return moved.replace(lambda a: a.is_Add and a.is_rational_function(S), _factored)


@lru_cache(maxsize=4096)
def _factored(expression: Expr) -> Expr:
    return sympy.factor(expression)
