"""Integrals of one section's functions, enclosed: Taylor on boxes, the widest split first.

On a box of width h around m the integral of g is g(m) h + g''(m) h^3/24 + h^5/1920 times a value of the 4th derivative.
On a tail the function falls at least like t^-p, p > 1, which bounds what is left beyond a start T by
g(T) T/(p - 1).
"""

from collections.abc import Callable
from fractions import Fraction
from math import inf

import sympy
from flint import arb
from sympy import Expr

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.prove.boxes import Range
from sapo_gates.prove.enclose import Enclosure
from sapo_gates.prove.extrema import Curve
from sapo_gates.prove.forms import log_derivative
from sapo_gates.prove.interval import ZERO, Interval, Undefined, hull
from sapo_gates.prove.signs import enclosure_of
from sapo_gates.prove.tails import expressions_at_infinity

MAX_BOXES = 1500
FARTHEST = 100  # doublings of the start of a tail


def integral(curve: Curve, width: float) -> Interval:
    """The integral over the whole section, to about the given absolute width.

    Raises:
        Undefined: it is not shown to be finite.
    """
    low, high = curve.section.t_lower, curve.section.t_upper
    if isinstance(low, float) and isinstance(high, float):
        raise Undefined("the section has no finite end")
    if low == -inf:
        mirrored = Curve(curve.branch, curve.section, substitute(curve.expression, {curve.t: -curve.t}))
        assert isinstance(high, Fraction)
        return _to_infinity(mirrored, -high, width)
    assert isinstance(low, Fraction)
    if high == inf:
        return _to_infinity(curve, low, width)
    return _over(curve.expression, curve, Range(low, high, True, True), width)


def _to_infinity(curve: Curve, start: Fraction, width: float) -> Interval:
    rate = curve.t * log_derivative(curve.expression, curve.t)
    rates = [(enclosure_of(form), variable) for form, variable, _ in expressions_at_infinity(rate, curve.t)]
    value = enclosure_of(curve.expression)
    for exponent in range(FARTHEST):
        far = max(Fraction(2) ** exponent, start + 1)
        beyond = Interval.of(far, inf)
        falls = [_image(e, {v: beyond if v == curve.t else beyond.reciprocal()}) for e, v in rates]
        slowest = min((one.upper for one in falls if one is not None), default=arb(0))
        if not slowest < -1:
            continue
        at = value({curve.t: Interval.of(far, far)})
        most = at * Interval.around(arb(far.numerator) / arb(far.denominator) / (-slowest - 1))
        if max(abs(most.lower), abs(most.upper)) < width / 2:
            tail = hull(most, Interval(ZERO, ZERO))
            return _over(curve.expression, curve, Range(start, far, True, False), width / 2) + tail
    raise Undefined("the integral is not shown to be finite")


def _over(expression: Expr, curve: Curve, whole: Range, width: float) -> Interval:
    derivatives = [expression]
    for _ in range(4):
        derivatives.append(derivative(derivatives[-1], curve.t))
    g, second, fourth = (enclosure_of(derivatives[k]) for k in (0, 2, 4))
    parts = [_part(curve, whole, g, second, fourth)]
    while True:
        total = parts[0][0]
        for found, _ in parts[1:]:
            total = total + found
        if total.upper - total.lower < width:
            return total
        if len(parts) > MAX_BOXES:
            raise Undefined("the integral is not enclosed tightly")
        ordered = sorted(parts, key=lambda part: -float(part[0].upper - part[0].lower))
        count = max(1, len(parts) // 4)
        parts = ordered[count:]
        for _, box in ordered[:count]:
            parts += [_part(curve, half, g, second, fourth) for half in box.halves()]


def _part(curve: Curve, box: Range, g: Enclosure, second: Enclosure, fourth: Enclosure) -> tuple[Interval, Range]:
    assert isinstance(box.lower, Fraction)
    assert isinstance(box.upper, Fraction)
    h, m = box.upper - box.lower, (box.lower + box.upper) / 2
    here, middle = {curve.t: box.interval}, {curve.t: Interval.of(m, m)}

    def times(found: Interval, factor: Fraction) -> Interval:
        return found * Interval.of(factor, factor)

    def by_taylor() -> Interval:
        return times(g(middle), h) + times(second(middle), h**3 / 24) + times(fourth(here), h**5 / 1920)

    candidates = [_result(by_taylor), _result(lambda: times(g(here), h))]
    found = [one for one in candidates if one is not None]
    if not found:
        return Interval(arb("-inf"), arb("inf")), box
    lower, upper = max(one.lower for one in found), min(one.upper for one in found)
    return Interval(lower, max(lower, upper)), box


def _image(enclose: Enclosure, here: dict[sympy.Symbol, Interval]) -> Interval | None:
    return _result(lambda: enclose(here))


def _result(make: Callable[[], Interval]) -> Interval | None:
    try:
        return make()
    except Undefined:
        return None
