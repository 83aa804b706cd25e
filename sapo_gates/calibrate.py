"""Temperatures that make gates comparable: at equal tau, families have unequal widths.

A target is a quantity that tau moves: half-width, curvature w''(1), sup phi, or the effective update ratio under a
distribution of log-ratios. The answer is a bracket of tau at whose ends the quantity lies on opposite sides of the
target, by Arb; the quantity is continuous in tau, so a root lies inside.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, cast

import mpmath
import sympy
from sympy import Expr, Piecewise, Rational

from sapo_gates.datasheet.strength import largest_score
from sapo_gates.derive import formula
from sapo_gates.errors import CalibrationError, GateTextError
from sapo_gates.functions import r, sigmoid, substitute, z
from sapo_gates.gate import Gate, Number, Parameter, exact
from sapo_gates.prove.boxes import Budget
from sapo_gates.prove.case import Case, Requirement
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.interval import Interval, working_precision
from sapo_gates.prove.numeric import Numeric, Symbolic
from sapo_gates.prove.sections import Unsupported, domain_interval
from sapo_gates.requirements import monotone_decay
from sapo_gates.verdict import Proved, Sign

REACH = 2**30
"""The largest tau (and 1/tau) tried."""

TIGHT = Fraction(1, 2**40)
"""Relative width of the bracket returned."""


@dataclass(frozen=True)
class LogRatios:
    """A distribution of log-ratios: a normal one, so that r is log-normal, or a histogram's bins by their middles."""

    mean: Expr = sympy.S.Zero
    std: Expr = sympy.S.Zero
    bins: tuple[tuple[Expr, Expr], ...] = ()

    @staticmethod
    def normal(mean: Number, std: Number) -> "LogRatios":
        """log r of this mean and standard deviation, in nats.

        Raises:
            CalibrationError: std is not a number > 0, or mean is none.
        """
        return LogRatios(_finite("log_ratio_mean", mean), _positive("log_ratio_std", std))

    @staticmethod
    def histogram(path: str | Path) -> "LogRatios":
        """From a JSON object with `edges` and `counts`, named as numpy.histogram's results.

        Raises:
            CalibrationError: the file cannot be read, or is no histogram.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=str, parse_int=str)
            edges = [_finite("edge", edge) for edge in content["edges"]]
            counts = [_finite("count", count) for count in content["counts"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(
                f"{path} is no histogram ({error}); give JSON with edges and counts, as numpy.histogram returns them."
            ) from error
        rises = all(low < high for low, high in pairwise(edges))
        if len(edges) != len(counts) + 1 or not rises or min(counts) < 0 or sum(counts) <= 0:
            raise CalibrationError(
                f"{path} has {len(edges)} edges and {len(counts)} counts: edges must rise and be one more than the "
                f"counts, which are >= 0 and not all 0; write what numpy.histogram returns."
            )
        middles = [(low + high) / 2 for low, high in pairwise(edges)]
        return LogRatios(
            bins=tuple((middle, count / sum(counts)) for middle, count in zip(middles, counts, strict=True))
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """tau lies in [lower, upper]; unique: no other tau meets the target, proved; says: how that is known."""

    gate: str
    sign: Sign
    target: str
    lower: Fraction
    upper: Fraction
    unique: bool
    says: str


def calibrate(
    gate: Gate,
    sign: Sign,
    *,
    half_width: Number | None = None,
    curvature: Number | None = None,
    sup_score: Number | None = None,
    eur: Number | None = None,
    log_ratios: LogRatios | None = None,
) -> Calibration:
    """The tau at which a gate meets one target; its other parameters take their trained values.

    Args:
        gate: a gate with a parameter tau.
        sign: the sign of A.
        half_width: w(1 + half_width) = 1/2.
        curvature: w''(1) from the right, a number < 0 for a gate that decays.
        sup_score: sup phi over r > 0, a number > 1.
        eur: the mean of w over the log_ratios, in (0, 1).
        log_ratios: the distribution for eur.

    Raises:
        CalibrationError: not exactly one target, one that no tau tried meets, or a gate without tau.
    """
    given = {"half_width": half_width, "curvature": curvature, "sup_score": sup_score, "eur": eur}
    targets = {name: number for name, number in given.items() if number is not None}
    if len(targets) != 1 or (eur is None) != (log_ratios is None):
        raise CalibrationError(
            f"calibrate takes one target of {list(given)}, and log_ratios with eur alone; it was given {list(targets)}."
        )
    ((name, number),) = targets.items()
    if name == "half_width":
        lower, upper = half_width_temperature(gate, sign, number)
        found = _Quantity(gate, sign)
        return found.answer(f"half_width = {number}", lower, upper, "w(1 + h) crosses 1/2, by Arb", found.is_nested())
    quantity = _Quantity(gate, sign)
    with working_precision():
        if name == "curvature":
            return quantity.with_curvature(_finite("curvature", number))
        if name == "sup_score":
            return quantity.with_sup_score(_finite("sup_score", number))
        assert log_ratios is not None
        return quantity.with_eur(_finite("eur", number), log_ratios)


@dataclass(frozen=True, eq=False)
class _Quantity:
    """One sign of A of a gate whose tau is sought."""

    gate: Gate
    sign: Sign

    @cached_property
    def tau(self) -> Parameter:
        return _temperature(self.gate)

    @property
    def others(self) -> dict[Any, Rational]:
        return {p: p.value_for(self.sign) for p in self.gate.parameters if p != self.tau}

    def answer(
        self, target: str, lower: Fraction, upper: Fraction, says: str, unique: bool, why: str = "w falls with tau"
    ) -> Calibration:
        """With what is known of other roots."""
        more = f"no other tau does, as {why}" if unique else "other tau may do so too"
        return Calibration(
            gate=self.gate.name,
            sign=self.sign,
            target=target,
            lower=lower,
            upper=upper,
            unique=unique,
            says=f"{says}; {more}",
        )

    @cached_property
    def symbolic(self) -> Symbolic | None:
        values = {p: p.value_for(self.sign) for p in self.gate.parameters_for(self.sign)}
        return Symbolic.of(self.gate, self.sign, values)

    def is_nested(self) -> bool:
        """w does not grow with tau at any r: it is a function of tau (r - 1) or of tau log r, and decays, proved."""
        if self.symbolic is None or self.symbolic.branch.chart.parameter != self.tau:
            return False
        with working_precision():
            case = Case(self.gate, self.sign, Budget.seconds(10))
            return isinstance(case.verdict(_REQUIREMENT), Proved)

    def bracket(self, target: str, side: Callable[[Fraction], int], rungs: list[Fraction], tight: Fraction) -> Any:
        """The first crossing from above on the ladder, bisected."""
        inside = [rung for rung in rungs if exact(rung) in self.tau.domain]
        found = _first_crossing(inside, side)
        if found is None:
            raise CalibrationError(
                f"{target} is reached by gate {self.gate.name!r} at no tau in {self.tau.domain} that was tried, "
                f"{inside[0] if inside else '-'} to {inside[-1] if inside else '-'}; choose another target."
            )
        return _bisect(*found, side, tight)

    def with_curvature(self, curvature: Rational) -> Calibration:
        """w''(1) as a formula in tau."""
        target = f"curvature = {curvature}"
        if self.symbolic is None:
            raise CalibrationError(f"gate {self.gate.name!r}: its corners cannot be placed, so w''(1) has no formula.")
        formulas = {}
        for section in self.symbolic.branch.sections:
            on_policy = self.symbolic.branch.chart.on_policy
            if on_policy in (section.lower, section.upper):
                second = sympy.diff(self.symbolic.in_ratio(section, section.weight), r, 2)
                formulas[section.side] = sympy.simplify(substitute(substitute(second, {r: Rational(1)}), self.others))
        right = formulas["right"]
        if right.has(sympy.nan, sympy.zoo, sympy.oo) or self.tau not in right.free_symbols:
            raise CalibrationError(
                f"gate {self.gate.name!r}: w''(1) = {right} does not move with tau; choose another target."
            )
        found = compiled(right - curvature)
        grows = compiled(sympy.diff(right, self.tau))({self.tau: domain_interval(self.tau.domain)})
        sign = -1 if grows.is_positive else 1

        def side(temperature: Fraction) -> int:
            at = found({self.tau: Interval.of(temperature, temperature)})
            return sign * (1 if at.is_positive else -1 if at.is_negative else 0)

        lower, upper = self.bracket(target, side, _ladder(), TIGHT)
        says = f"w''(1) = {sympy.sstr(right)} from the right"
        if sympy.simplify(formulas["left"] - right) != 0:
            says += f", {sympy.sstr(formulas['left'])} from the left"
        return self.answer(target, lower, upper, says, not grows.contains_zero, "this is monotone in tau")

    def with_sup_score(self, bound: Rational) -> Calibration:
        """sup phi enclosed at every tau tried."""
        target = f"sup_score = {bound}"
        if bound <= 1:
            raise CalibrationError(f"sup_score={bound} must be > 1: phi(1) = 1 already; try 1.1.")
        goal = compiled(bound)({})

        def gap(temperature: Fraction) -> Interval:
            numeric = Numeric(self.gate, self.sign, {**self.others, self.tau: exact(temperature)})
            try:
                return largest_score(numeric).interval + -goal
            except Unsupported as error:
                raise CalibrationError(f"gate {self.gate.name!r}: {error}; its sup phi is not enclosed.") from error

        rungs = [Fraction(2) ** k for k in range(-4, 13, 2)]
        coarse = self.bracket(target, lambda tau: _side(gap(tau)), rungs, Fraction(4))
        lower, upper = _narrowed(coarse[0], coarse[1], gap, Fraction(1, 2**24))
        return self.answer(target, lower, upper, "sup phi crosses the target, by enclosures", self.is_nested())

    def _corners(self) -> list[Expr]:
        """The ratios at which the formula of w changes, and r = 1, in tau."""
        if self.symbolic is None:
            return [sympy.Integer(1)]
        chart = self.symbolic.branch.chart
        return [substitute(substitute(chart.ratio, {chart.x: s.upper}), self.others)
                for s in self.symbolic.branch.sections[:-1]]  # fmt: skip

    def with_eur(self, eur: Rational, log_ratios: LogRatios) -> Calibration:
        """The mean of w(e^z): over bins by Arb; over a normal distribution by quadrature, its error estimated."""
        target = f"eur = {eur}"
        if not 0 < eur < 1:
            raise CalibrationError(f"eur={eur} must lie in (0, 1): it is a mean of weights; try 0.9.")
        weight = formula(self.gate, self.sign, "weight")
        assert weight is not None
        weight = substitute(weight, self.others)
        if log_ratios.bins:

            def side(temperature: Fraction) -> int:
                total = compiled(-eur)({})
                for middle, share in log_ratios.bins:
                    at: dict[Any, Any] = {self.tau: exact(temperature), r: sympy.exp(middle)}
                    total = total + compiled(share * substitute(_piece_at(weight, at), at))({})
                return 1 if total.is_positive else -1 if total.is_negative else 0

            lower, upper = self.bracket(target, side, _ladder(), Fraction(1, 2**30))
            says = "the mean of w over the middles of the bins crosses the target, by Arb"
            return self.answer(target, lower, upper, says, self.is_nested())
        mean = _Mean(weight, self.tau, log_ratios, self._corners())

        def estimated(temperature: Fraction) -> int:
            value, error = mean.at(temperature)
            gap = value - _mpf(eur)
            return 1 if gap > error else -1 if gap < -error else 0

        lower, upper = self.bracket(target, estimated, [Fraction(2) ** k for k in range(-10, 21)], Fraction(1, 2**26))
        says = f"the mean of w crosses the target, by quadrature to about {float(mean.worst):.0e} (estimated, no proof)"
        return self.answer(target, lower, upper, says, False)


@dataclass(eq=False)
class _Mean:
    """E[w(e^z)] for a normal z, by mpmath's tanh-sinh quadrature between the corners of w."""

    weight: Expr
    tau: Parameter
    log_ratios: LogRatios
    corners: list[Expr]
    worst: Any = mpmath.mpf(10) ** -15

    @cached_property
    def function(self) -> Callable[[Any, Any], Any]:
        in_z = substitute(self.weight, {r: sympy.exp(z)}).replace(sigmoid, lambda x: 1 / (1 + sympy.exp(-x)))
        return sympy.lambdify((z, self.tau), in_z, "mpmath")

    def at(self, temperature: Fraction) -> tuple[Any, Any]:
        """The mean and an estimate of its error."""
        with mpmath.workdps(20):
            mean, std, tau = (_mpf(q) for q in (self.log_ratios.mean, self.log_ratios.std, exact(temperature)))
            reach = [mean + k * std for k in (-12, -6, -3, -1, 0, 1, 3, 6, 12)]
            corners = [mpmath.mpf(sympy.N(corner.subs(self.tau, exact(temperature)), 20)) for corner in self.corners]
            inside = [mpmath.log(c) for c in corners if c > 0 and reach[0] < mpmath.log(c) < reach[-1]]
            points = sorted({*reach, *inside})
            found, error = mpmath.quad(lambda x: self.function(x, tau) * mpmath.npdf(x, mean, std), points, error=True)
            self.worst = max(self.worst, 10 * error)
            return found, max(10 * error, mpmath.mpf(10) ** -15)


def _side(gap: Interval) -> int:
    return 1 if gap.is_positive else -1 if gap.is_negative else 0


def _narrowed(
    lower: Fraction, upper: Fraction, gap: Callable[[Fraction], Interval], tight: Fraction
) -> tuple[Fraction, Fraction]:
    """The bracket narrowed by secants: next to each of them the gap is looked at on both sides."""
    at_lower, at_upper = (float(gap(end).lower) for end in (lower, upper))
    for _ in range(60):
        if upper - lower <= tight * lower:
            break
        share = at_lower / (at_lower - at_upper) if 0 < at_lower < inf and at_upper < 0 else 0.5
        share = min(max(share, 0.02), 0.98) if upper - lower > lower / 64 else share
        middle = lower + Fraction(share) * (upper - lower)
        for probe in (_short(middle * (1 - tight / 3)), _short(middle * (1 + tight / 3))):
            if lower < probe < upper and (side := _side(found := gap(probe))):
                if side > 0:
                    lower, at_lower = probe, float(found.lower)
                else:
                    upper, at_upper = probe, float(found.upper)
    return lower, upper


def _short(number: Fraction) -> Fraction:
    """A dyadic number next to it."""
    return Fraction(round(number * 2**44), 2**44)


def _mpf(number: Expr) -> Any:
    return mpmath.mpf(int(cast(Any, number).p)) / int(cast(Any, number).q)


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
    weight, tau, h = formula(gate, sign, "weight"), _temperature(gate), _positive("half_width", half_width)
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


_REQUIREMENT = cast(Requirement, monotone_decay)


def _temperature(gate: Gate) -> Parameter:
    for parameter in gate.parameters:
        if parameter.name == "tau":
            return parameter
    raise CalibrationError(
        f"gate {gate.name!r} has no parameter 'tau' to calibrate; it has {[p.name for p in gate.parameters]}."
    )


def _finite(name: str, number: Number) -> Rational:
    try:
        found = exact(number)
    except (TypeError, ValueError, GateTextError):
        found = None
    if found is None or not found.is_finite:
        raise CalibrationError(f"{name}={number} must be a number; try 0.2.")
    return cast(Rational, found)


def _positive(name: str, number: Number) -> Rational:
    try:
        found = _finite(name, number)
    except CalibrationError:
        found = None
    if found is None or found <= 0:
        what = "a distance from r = 1" if name == "half_width" else "a standard deviation"
        raise CalibrationError(f"{name}={number} must be a number > 0: it is {what}; try 0.2.")
    return found


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


def _bisect(
    lower: Fraction, upper: Fraction, side: Callable[[Fraction], int], tight: Fraction = TIGHT
) -> tuple[Fraction, Fraction]:
    while upper - lower > tight * lower:
        for share in (Fraction(1, 2), Fraction(3, 8)):  # the second where the first hits the root itself
            middle = lower + share * (upper - lower)
            if found := side(middle):
                break
        else:
            break
        lower, upper = (middle, upper) if found > 0 else (lower, middle)
    return lower, upper
