"""Temperatures that make gates comparable: at equal tau, families have unequal widths."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from sympy import Expr, Piecewise, Rational

from sapo_gates.derive import formula
from sapo_gates.errors import CalibrationError, GateTextError
from sapo_gates.functions import r
from sapo_gates.gate import Gate, Number, Parameter, exact
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.interval import Interval, working_precision
from sapo_gates.verdict import Sign

REACH = 2**30
"""The largest tau (and 1/tau) tried."""

TIGHT = Fraction(1, 2**40)
"""Relative width of the bracket returned."""


def half_width_temperature(gate: Gate, sign: Sign, half_width: Number) -> tuple[Fraction, Fraction]:
    """The tau with w(1 + half_width) = 1/2, as a bracket: w > 1/2 at the lower end and w < 1/2 at the upper, by Arb.

    w is continuous in tau, so a root lies inside. Where `monotone-decay` is proved, half_width is then the gate's right
    half-width h = inf{h > 0 : w(1 + h) <= 1/2}, up to the bracket; for a gate in tau (r - 1) alone it also makes w
    monotone in tau, so there is no other root. Parameters other than tau take their trained values.

    Raises:
        CalibrationError: half_width is not a number > 0, the gate has no tau, or w(1 + half_width) crosses 1/2 at no
            tau in its domain that was tried.
    Source: the comparison at equal width that arXiv:2602.19345v2 does not make.
    """
    weight, tau, h = formula(gate, sign, "weight"), _temperature(gate), _positive(half_width)
    assert weight is not None  # only a value can lack a closed form
    others = {p: p.value_for(sign) for p in gate.parameters if p != tau}
    above_half: Any = (weight - Rational(1, 2)).xreplace(others)

    def side(temperature: Fraction) -> int:
        """+1: w > 1/2 there, -1: w < 1/2, 0: cannot be told."""
        at = {tau: exact(temperature), r: 1 + h}
        found = compiled(_piece_at(above_half, at))({symbol: _point(value) for symbol, value in at.items()})
        return 1 if found.is_positive else -1 if found.is_negative else 0

    with working_precision():
        bracket = _first_crossing([rung for rung in _ladder() if exact(rung) in tau.domain], side)
        if bracket is None:
            raise CalibrationError(
                f"half_width={half_width} is reached by gate {gate.name!r} at no tau in {tau.domain} between 1/{REACH} "
                f"and {REACH}; choose another half-width."
            )
        return _bisect(*bracket, side)


def _temperature(gate: Gate) -> Parameter:
    for parameter in gate.parameters:
        if parameter.name == "tau":
            return parameter
    raise CalibrationError(
        f"gate {gate.name!r} has no parameter 'tau' to calibrate; it has {[p.name for p in gate.parameters]}."
    )


def _positive(half_width: Number) -> Rational:
    try:
        h = exact(half_width)
    except GateTextError:
        h = None
    if h is None or h <= 0:
        raise CalibrationError(f"half_width={half_width} must be a number > 0: it is a distance from r = 1; try 0.2.")
    return h


def _piece_at(expression: Expr, at: dict[Any, Rational]) -> Any:
    """The expression with every Piecewise replaced by its piece at that point."""

    def chosen(*pieces: Any) -> Expr:
        return next(piece for piece, holds in pieces if sympy.sympify(holds).subs(at) == sympy.true)

    return expression.replace(Piecewise, chosen)


def _point(value: Rational) -> Interval:
    number = Fraction(int(value.p), int(value.q))
    return Interval.of(number, number)


def _ladder() -> list[Fraction]:
    """Powers of two from 1/REACH to REACH."""
    top = REACH.bit_length() - 1
    return [Fraction(2) ** k for k in range(-top, top + 1)]


def _first_crossing(rungs: list[Fraction], side: Callable[[Fraction], int]) -> tuple[Fraction, Fraction] | None:
    last = None
    for rung in rungs:
        now = side(rung)
        if now > 0:
            last = rung
        elif now < 0 and last is not None:
            return last, rung
    return None


def _bisect(lower: Fraction, upper: Fraction, side: Callable[[Fraction], int]) -> tuple[Fraction, Fraction]:
    while upper - lower > TIGHT * lower:
        for share in (Fraction(1, 2), Fraction(3, 8)):  # the second where the first hits the root itself
            middle = lower + share * (upper - lower)
            if found := side(middle):
                break
        else:
            break
        lower, upper = (middle, upper) if found > 0 else (lower, middle)
    return lower, upper
