"""Exact parameter values at which to look for a counterexample."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product

from sympy import Expr, Pow, Rational, Symbol

from sapo_gates.functions import substitute
from sapo_gates.gate import Domain, Gate
from sapo_gates.prove.boxes import Box, Range
from sapo_gates.prove.cell_signs import as_end
from sapo_gates.prove.forms import MAX_EXPONENT
from sapo_gates.verdict import Sign

Point = Mapping[Symbol, Rational]


def rational(number: Fraction) -> Rational:
    """A Fraction as sympy's."""
    return Rational(number.numerator, number.denominator)


def parameter_points(
    gate: Gate, side: Sign, domains: Mapping[Symbol, Domain], box: Box | None = None
) -> Iterator[Point]:
    """Exact parameter values worth trying: the trained ones, the corners of the box, powers of ten and its middle.

    Without those at which SymPy would write out a number of millions of digits.
    """
    choices: dict[Symbol, list[Rational]] = {}
    powers = gate.declared(side).atoms(Pow)
    for p, domain in domains.items():
        whole = Range(as_end(domain.lower), as_end(domain.upper), domain.lower_open, domain.upper_open)
        here = box[p] if box is not None and p in box else whole
        trained = gate.parameter(p.name).value_for(side)
        wanted = [trained, *map(Rational, ("1", "20", "1/10", "100", "1000", "1/100", "1000000", "2", "1/2"))]
        wanted += [rational(e) for e in (here.lower, here.upper) if isinstance(e, Fraction)] + [rational(here.middle)]
        inside = [value for value in wanted if here.contains(Fraction(int(value.p), int(value.q))) and value in domain]
        choices[p] = list(dict.fromkeys(inside))[:12]
    choices = {p: values for p, values in choices.items() if values}
    longest = max((len(values) for values in choices.values()), default=1)
    found = [tuple(values[index % len(values)] for values in choices.values()) for index in range(longest)]
    if 1 < len(choices) <= MAX_CORNERED:
        found[1:1] = product(*([min(values), max(values)] for values in choices.values()))
    cornered = corners(gate, side, domains) if box is None else []
    for values in dict.fromkeys([*cornered, *found]):
        point: Point = dict(zip(choices, values, strict=True))
        if not any(power.base.free_symbols <= set(point) and is_long(power, point) for power in powers):
            yield point


def is_long(power: Pow, point: Mapping[Symbol, Expr]) -> bool:
    """Whether the exponent at the point is a number so large that SymPy would write out millions of digits."""
    exponent = substitute(power.exp, point)
    return bool(exponent.is_Rational and abs(exponent) > MAX_EXPONENT)


def corners(gate: Gate, side: Sign, domains: Mapping[Symbol, Domain]) -> list[tuple[Rational, ...]]:
    """The trained values where they are in the domains, and with them the ends that belong to a domain."""
    trained = [gate.parameter(p.name).value_for(side) for p in domains]
    if len(domains) > MAX_CORNERED or not all(t in d for t, d in zip(trained, domains.values(), strict=True)):
        return []
    ends = (
        [end for end, is_open in ((d.upper, d.upper_open), (d.lower, d.lower_open)) if not is_open] or [value]
        for value, d in zip(trained, domains.values(), strict=True)
    )
    return list(dict.fromkeys([tuple(trained), *product(*ends)]))


MAX_CORNERED = 3  # parameters whose box is looked at in every corner
