"""What gates can share, as functions of one parameter: half-width, curvature, sup phi, effective update ratio."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, cast

import sympy
from sympy import Expr, Piecewise, Rational

from sapo_gates.calibrate.log_ratios import LogRatios
from sapo_gates.calibrate.search import Gap
from sapo_gates.datasheet.sheet import COARSE, exactly
from sapo_gates.datasheet.strength import largest_score
from sapo_gates.derive import derivative, formula
from sapo_gates.errors import CalibrationError
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Gate, Parameter
from sapo_gates.prove.boxes import Budget, Range
from sapo_gates.prove.case import Case, Requirement
from sapo_gates.prove.cell_signs import domain_interval
from sapo_gates.prove.curves import Curve
from sapo_gates.prove.enclose import compiled, enclose_at
from sapo_gates.prove.extrema import supremum
from sapo_gates.prove.forms import tamed
from sapo_gates.prove.integrals import integral
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.numeric import Numeric, Symbolic
from sapo_gates.prove.points import rational
from sapo_gates.prove.sections import Section
from sapo_gates.requirements import monotone_decay
from sapo_gates.verdict import Proved, Sign

SPREAD = 12
"""Standard deviations of log r that are integrated over; beyond them lies a mass of 4e-33."""


LARGEST = 700.0  # log-ratio whose ratio is a double; what lies beyond it counts as what lies beyond SPREAD
AREA = 1e-10  # absolute width of integrals: a hundredth of what the brackets resolve


@dataclass(frozen=True, eq=False)
class Quantities:
    """One sign of A of a gate as functions of one parameter; its other parameters have their trained values."""

    gate: Gate
    sign: Sign
    parameter: Parameter

    @property
    def others(self) -> dict[Any, Rational]:
        """The other parameters."""
        return {p: p.value_for(self.sign) for p in self.gate.parameters if p != self.parameter}

    @cached_property
    def weight(self) -> Expr:
        """w in r and the parameter."""
        weight = formula(self.gate, self.sign, "weight")
        assert weight is not None  # only a value can lack a closed form
        return substitute(weight, self.others)

    @cached_property
    def symbolic(self) -> Symbolic | None:
        """The branch with its parameters, at the trained values."""
        return Symbolic.of(
            self.gate, self.sign, {p: p.value_for(self.sign) for p in self.gate.parameters_for(self.sign)}
        )

    def numeric(self, value: Fraction) -> Numeric:
        """The branch at one value of the parameter."""
        depends = self.gate.parameters_for(self.sign)
        values = {**self.others, self.parameter: rational(value)}
        return Numeric(self.gate, self.sign, {p: v for p, v in values.items() if p in depends})

    # As functions of the parameter ------------------------------------------------------------------------------------

    def weight_above_half(self, ratio: Rational) -> Gap:
        """w - 1/2 at that ratio."""
        return lambda value: self._weight_at(ratio, value) + exactly(Rational(-1, 2))

    def _weight_at(self, ratio: Expr, value: Fraction) -> Interval:
        piece = _piece_at(self.weight, {self.parameter: rational(value), r: ratio})
        return compiled(piece)({self.parameter: Interval.of(value, value), r: compiled(ratio)({})})

    def curvature(self, target: Rational) -> tuple[Gap, dict[str, Expr]]:
        """w''(1) from the right less the target, and the formulas from both sides.

        Raises:
            CalibrationError: there is no formula, or it does not depend on the parameter.
        """
        if self.symbolic is None:
            raise CalibrationError(f"gate {self.gate.name!r}: its corners cannot be placed, so w''(1) has no formula.")
        sides: dict[str, Expr] = {}
        for section in self.symbolic.branch.sections:
            if self.symbolic.branch.chart.on_policy in (section.lower, section.upper):
                second = sympy.diff(self.symbolic.in_ratio(section, section.weight), r, 2)
                sides[section.side] = sympy.factor(substitute(substitute(second, {r: Rational(1)}), self.others))
        right = sides["right"]
        if right.has(sympy.nan, sympy.zoo, sympy.oo) or self.parameter not in right.free_symbols:
            raise CalibrationError(
                f"gate {self.gate.name!r}: w''(1) = {right} does not move with {self.parameter}; choose another target."
            )
        return lambda value: enclose_at(right - target, {self.parameter: rational(value)}), sides

    def sup_score(self, target: Rational) -> Gap:
        """sup phi less the target."""
        return lambda value: largest_score(self.numeric(value), COARSE).interval + exactly(-target)

    def update_ratio(self, target: Rational, log_ratios: LogRatios) -> Gap:
        """The mean of w over the log-ratios less the target."""
        if log_ratios.bins:
            return lambda value: self._mean_over_bins(value, log_ratios) + exactly(-target)
        return lambda value: self._mean_over_normal(value, log_ratios) + exactly(-target)

    def _mean_over_bins(self, value: Fraction, log_ratios: LogRatios) -> Interval:
        total = exactly(0)
        for middle, share in log_ratios.bins:
            total = total + self._weight_at(sympy.exp(middle), value) * exactly(share)
        return total

    def _mean_over_normal(self, value: Fraction, log_ratios: LogRatios) -> Interval:
        """By Taylor polynomials over SPREAD standard deviations; beyond, |w| counts with its supremum."""
        numeric = self.numeric(value)
        curves = [numeric.curve(section, section.weight) for section in numeric.sections]
        largest = supremum([*curves, *(-curve for curve in curves)], Fraction(1, 2)).upper
        if not largest.is_finite():
            raise Undefined("|w| is not bounded")
        mean, std = log_ratios.mean, log_ratios.std
        total, covered = exactly(0), exactly(0)
        for section in numeric.sections:
            box = _window(section, float(mean - SPREAD * std), float(mean + SPREAD * std))
            if box is None:
                continue
            z = sympy.log(section.position)
            density = sympy.exp(-(((z - mean) / std) ** 2) / 2) / (std * sympy.sqrt(2 * sympy.pi))
            by_t = density * derivative(section.position, section.t) / section.position
            total = total + integral(numeric.curve(section, section.weight * by_t), AREA, box)
            covered = covered + _mass(numeric.curve(section, section.position), box, mean, std)
        beyond = largest * (exactly(1) + -covered).upper
        return total + Interval((-beyond).lower(), beyond.upper())

    # Proofs that there is no other root -------------------------------------------------------------------------------

    def falls_at_every_ratio(self) -> bool:
        """w is a function of tau (r - 1), or of tau log r, and decays on both sides, proved: so w falls with tau."""
        if self.symbolic is None or self.symbolic.branch.chart.parameter != self.parameter:
            return False
        case = Case(self.gate, self.sign, Budget.seconds(10))
        return isinstance(case.verdict(cast(Requirement, monotone_decay)), Proved)

    def is_monotone_at(self, ratio: Rational) -> bool:
        """Whether w there grows, or falls, with the parameter on its whole domain."""
        return self.is_monotone(substitute(self.weight, {r: ratio}))

    def is_monotone(self, expression: Expr) -> bool:
        """Whether the derivative of a formula in the parameter keeps one sign on its whole domain."""
        slope = sympy.diff(expression, self.parameter)
        if slope.has(Piecewise):
            return False
        ranges = {self.parameter: domain_interval(self.parameter.domain)}
        for form in (slope, tamed(sympy.factor, slope) if slope.is_rational_function() else slope):
            with suppress(Undefined):
                if not compiled(form)(ranges).contains_zero:
                    return True
        return False


def _piece_at(expression: Expr, at: Mapping[Any, Any]) -> Expr:
    """The expression with every Piecewise replaced by its piece at that point."""

    def chosen(*pieces: Any) -> Expr:
        return next(piece for piece, holds in pieces if sympy.sympify(holds).subs(at) == sympy.true)

    return cast(Expr, expression.replace(Piecewise, chosen))


def _window(section: Section, low: float, high: float) -> Range | None:
    """The part of a section on which log r lies between about these, or None."""
    if section.position.has(sympy.exp):
        start, end = Fraction(low), Fraction(high)
    else:
        at_zero = Fraction(str(substitute(section.position, {section.t: sympy.Integer(0)}).evalf(30)))
        slope = Fraction(str(derivative(section.position, section.t).evalf(30)))
        start, end = ((Fraction(math.exp(min(z, LARGEST))) - at_zero) / slope for z in (low, high))
    lower = start if isinstance(section.t_lower, float) else max(start, section.t_lower)
    upper = end if isinstance(section.t_upper, float) else min(end, section.t_upper)
    return Range(lower, upper) if lower < upper else None


def _mass(ratio: Curve, box: Range, mean: Expr, std: Expr) -> Interval:
    """The probability that r lies between the box's ends."""
    end = sympy.Symbol("end")
    below = compiled(sympy.erf((sympy.log(end) - mean) / (std * sympy.sqrt(2))) / 2)
    return below({end: ratio.at_end(box, "upper")}) + -below({end: ratio.at_end(box, "lower")})
