"""Temperatures that make gates comparable: at equal tau, families have unequal widths.

A target is a quantity that the parameter moves: half-width, curvature w''(1), sup phi, or the effective update ratio
under a distribution of log-ratios. The answer is a bracket of the parameter at whose ends the quantity lies on opposite
sides of the target, by Arb. A quantity that is continuous in the parameter has a root inside; a half-width may jump.
Source: the comparison at equal width that arXiv:2602.19345v2 does not make.
"""

from dataclasses import dataclass
from fractions import Fraction

import sympy

from sapo_gates.calibrate.log_ratios import LogRatios, finite, positive
from sapo_gates.calibrate.quantities import Quantities
from sapo_gates.calibrate.search import Bracket, Gap, first_sign_change, ladder, narrowed
from sapo_gates.errors import CalibrationError
from sapo_gates.gate import Gate, Number, Parameter
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.interval import working_precision
from sapo_gates.verdict import SIGNS, Sign

__all__ = ["Calibration", "LogRatios", "calibrate", "distinct_signs"]

EXACT = Fraction(1, 2**40)
ENCLOSED = Fraction(1, 2**24)
"""Relative widths of brackets, for quantities that are formulas and for those that are enclosed at each value."""
WIDE = Fraction(1, 2**16)  # a bracket wider than this may hold a stretch on which the quantity is its target


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The parameter lies in [lower, upper]; unique: no other value meets the target, proved; says: how it is known."""

    gate: str
    sign: Sign
    parameter: str
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
    """The value of a gate's parameter at which it meets one target.

    Solved for is tau, or, where the branch has none, its first parameter; the others have their trained values.

    Args:
        gate: a gate with a parameter.
        sign: the sign of A.
        half_width: w(1 + half_width) = 1/2.
        curvature: w''(1) from the right, a number < 0 for a gate that decays.
        sup_score: sup phi over r > 0, a number > 1.
        eur: the mean of w over the log_ratios, in (0, 1).
        log_ratios: the distribution for eur.

    Raises:
        CalibrationError: not exactly one target, one that no value tried meets, or a gate without parameters.
    """
    given = {"half_width": half_width, "curvature": curvature, "sup_score": sup_score, "eur": eur}
    targets = {name: number for name, number in given.items() if number is not None}
    if len(targets) != 1:
        raise CalibrationError(
            f"calibrate takes exactly one target of {', '.join(given)}; it was given "
            f"{' and '.join(targets) or 'none'}; choose one."
        )
    ((name, number),) = targets.items()
    if (name == "eur") != (log_ratios is not None):
        raise CalibrationError(
            "eur is a mean over log-ratios: give their standard deviation, or a histogram of them."
            if name == "eur"
            else f"log-ratios were given, and {name} does not depend on them: leave them out, or calibrate by eur."
        )
    quantities = Quantities(gate, sign, _parameter(gate, sign))
    try:
        with working_precision():
            return _SOLVERS[name](quantities, number, log_ratios)
    except Unsupported as error:
        raise CalibrationError(f"gate {gate.name!r} cannot be calibrated: {error}.") from error


def distinct_signs(gate: Gate) -> tuple[Sign, ...]:
    """Both signs of A, or one where the other has the same formula and the same values of what is not solved for."""
    solved = _parameter(gate, "positive")
    others = [p for p in gate.parameters if p != solved]
    same = gate.declared("positive") == gate.declared("negative") and all(p.positive == p.negative for p in others)
    return SIGNS[:1] if same else SIGNS


def _parameter(gate: Gate, sign: Sign) -> Parameter:
    candidates = gate.parameters_for(sign)
    if not candidates:
        raise CalibrationError(
            f"gate {gate.name!r} has no parameter to calibrate where A {_WHERE[sign]}; leave it out."
        )
    return next((p for p in candidates if p.name == "tau"), candidates[0])


_WHERE = {"positive": "> 0", "negative": "<= 0"}


# Targets --------------------------------------------------------------------------------------------------------------


def _with_half_width(quantities: Quantities, number: Number, _: object) -> Calibration:
    """On the right of r = 1; on the left where the weight never halves on the right, as a clip of A <= 0 does."""
    width = positive("half_width", number, "a distance from r = 1")
    target = f"half_width = {width}"
    for sign, ratio in (("+", 1 + width), *((("-", 1 - width),) if width < 1 else ())):
        bracket = _bracket(quantities, quantities.weight_above_half(ratio))
        if bracket is not None:
            unique = quantities.falls_at_every_ratio() or quantities.is_monotone_at(ratio)
            says = f"w(1 {sign} h) - 1/2 changes its sign between the ends, by Arb"
            return _answer(quantities, target, bracket, says, unique=unique)
    raise _unmet(quantities, target)


def _with_curvature(quantities: Quantities, number: Number, _: object) -> Calibration:
    target = finite("curvature", number)
    gap, sides = quantities.curvature(target)
    bracket = _found(quantities, f"curvature = {target}", _bracket(quantities, gap))
    says = f"w''(1) = {sympy.sstr(sides['right'])} from the right"
    if sympy.simplify(sides["left"] - sides["right"]) != 0:
        says += f", {sympy.sstr(sides['left'])} from the left"
    unique = quantities.is_monotone(sides["right"])
    return _answer(quantities, f"curvature = {target}", bracket, says, unique=unique)


def _with_sup_score(quantities: Quantities, number: Number, _: object) -> Calibration:
    target = finite("sup_score", number)
    if target <= 1:
        raise CalibrationError(f"sup_score={target} must be > 1: phi(1) = 1 already; try 1.1.")
    bracket = _found(quantities, f"sup_score = {target}", _bracket(quantities, quantities.sup_score(target), dear=True))
    says = "sup phi lies on opposite sides of it at the ends, by Arb"
    return _answer(quantities, f"sup_score = {target}", bracket, says, unique=quantities.falls_at_every_ratio())


def _with_eur(quantities: Quantities, number: Number, log_ratios: LogRatios | None) -> Calibration:
    target = finite("eur", number)
    if not 0 < target < 1:
        raise CalibrationError(f"eur={target} must lie in (0, 1): it is a mean of weights; try 0.9.")
    assert log_ratios is not None
    gap = quantities.update_ratio(target, log_ratios)
    bracket = _found(quantities, f"eur = {target}", _bracket(quantities, gap, dear=True))
    what = "over the middles of the bins" if log_ratios.bins else "over normal log-ratios, integrated,"
    says = f"the mean of w {what} lies on opposite sides of it at the ends, by Arb"
    return _answer(quantities, f"eur = {target}", bracket, says, unique=quantities.falls_at_every_ratio())


_SOLVERS = {
    "half_width": _with_half_width,
    "curvature": _with_curvature,
    "sup_score": _with_sup_score,
    "eur": _with_eur,
}


def _bracket(quantities: Quantities, gap: Gap, *, dear: bool = False) -> Bracket | None:
    # a quantity that takes milliseconds is looked at in fewer places, and less closely
    domain, tight = quantities.parameter.domain, ENCLOSED if dear else EXACT
    found = first_sign_change(gap, ladder(domain, step=2, doublings=16) if dear else ladder(domain))
    return None if found is None else narrowed(gap, found, tight)


def _found(quantities: Quantities, target: str, bracket: Bracket | None) -> Bracket:
    if bracket is None:
        raise _unmet(quantities, target)
    return bracket


def _unmet(quantities: Quantities, target: str) -> CalibrationError:
    parameter = quantities.parameter
    return CalibrationError(
        f"{target} is met by gate {quantities.gate.name!r} where A {_WHERE[quantities.sign]} at no {parameter} that "
        f"was tried in {parameter.domain}; choose another target."
    )


def _answer(quantities: Quantities, target: str, bracket: Bracket, says: str, *, unique: bool) -> Calibration:
    """With what is known of other roots."""
    name = quantities.parameter.name
    if bracket.upper - bracket.lower > WIDE * max(abs(bracket.lower), abs(bracket.upper)):
        more, unique = f"what lies closer to it is not told apart: several {name} between the ends may meet it", False
    elif unique:
        more = f"no other {name} meets it, proved"
    else:
        more = f"the smallest {name} found; others may meet it too"
    return Calibration(
        gate=quantities.gate.name,
        sign=quantities.sign,
        parameter=name,
        target=target,
        lower=bracket.lower,
        upper=bracket.upper,
        unique=unique,
        says=f"{says}; {more}",
    )
