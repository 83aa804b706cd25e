"""The first sign change of an enclosed function of one parameter, as a bracket of rationals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from sapo_gates.gate import Domain, exact
from sapo_gates.prove.cell_signs import as_end
from sapo_gates.prove.interval import Interval, Undefined

Gap = Callable[[Fraction], Interval]
"""The quantity less its target, enclosed at one value of the parameter."""

DOUBLINGS = 30
"""Values are tried from 2^-30 to 2^30 away from the domain's ends."""


@dataclass(frozen=True)
class Bracket:
    """The function has opposite signs at the ends, by Arb."""

    lower: Fraction
    upper: Fraction


def ladder(domain: Domain, step: int = 1, doublings: int = DOUBLINGS) -> list[Fraction]:
    """Values of the domain in increasing order, each the step's power of two farther from an end than the last."""
    low, high = as_end(domain.lower), as_end(domain.upper)
    scales = [Fraction(2) ** k for k in range(-doublings, doublings + 1, step)]
    if isinstance(low, Fraction) and isinstance(high, Fraction):
        half = (high - low) / 2
        near = [half * scale for scale in scales if scale <= 1]
        found = [low, *(low + d for d in near), *(high - d for d in near), high]
    elif isinstance(low, Fraction):
        found = [low, *(low + scale for scale in scales)]
    elif isinstance(high, Fraction):
        found = [high, *(high - scale for scale in scales)]
    else:
        found = [Fraction(0), *scales, *(-scale for scale in scales)]
    return sorted({rung for rung in found if exact(rung) in domain})


def first_sign_change(gap: Gap, rungs: Sequence[Fraction]) -> Bracket | None:
    """Between the first neighbours on the ladder with opposite signs; those without a certain sign do not count."""
    last, before = None, 0
    for rung in rungs:
        sign = _sign(gap, rung)
        if sign and before and sign != before:
            assert last is not None
            return Bracket(last, rung)
        if sign:
            last, before = rung, sign
    return None


def narrowed(gap: Gap, bracket: Bracket, tight: Fraction) -> Bracket:
    """The bracket narrowed by secants to that relative width; next to each secant's root both sides are looked at."""
    lower, upper = bracket.lower, bracket.upper
    at_lower, at_upper = _middle(gap(lower)), _middle(gap(upper))
    rises = _sign(gap, upper)
    for _ in range(100):
        if upper - lower <= tight * max(abs(lower), abs(upper)):
            break
        before = upper - lower
        share = at_lower / (at_lower - at_upper) if -inf < at_lower < inf and -inf < at_upper < inf else 0.5
        root = lower + Fraction(min(max(share, 0.0), 1.0)) * before
        reach = max(tight * abs(root) / 3, before * Fraction(1, 2**10))
        for probe in (_short(root - reach), _short(root + reach), _short((lower + upper) / 2)):
            if not lower < probe < upper or (upper - lower <= before / 2**8):
                continue
            found = _value(gap, probe)
            if found is None or found.contains_zero:
                continue
            if (1 if found.is_positive else -1) == rises:
                upper, at_upper = probe, _middle(found)
            else:
                lower, at_lower = probe, _middle(found)
        if upper - lower == before:
            break
    return Bracket(lower, upper)


def _value(gap: Gap, at: Fraction) -> Interval | None:
    try:
        return gap(at)
    except Undefined:
        return None


def _sign(gap: Gap, at: Fraction) -> int:
    found = _value(gap, at)
    return 0 if found is None or found.contains_zero else 1 if found.is_positive else -1


def _middle(found: Interval) -> float:
    return float((found.lower + found.upper) / 2)


def _short(number: Fraction) -> Fraction:
    """A dyadic number next to it, of 56 digits."""
    if number == 0:
        return number
    scale = Fraction(2) ** (56 - (abs(number.numerator).bit_length() - number.denominator.bit_length()))
    return Fraction(round(number * scale)) / scale
