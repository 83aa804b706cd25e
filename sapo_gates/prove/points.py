"""Exact parameter values at which to look for a counterexample."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product

import sympy
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.functions import substitute
from sapo_gates.gate import Domain, Gate
from sapo_gates.prove.boxes import Box, Range
from sapo_gates.prove.cell_signs import as_end
from sapo_gates.prove.forms import MAX_EXPONENT
from sapo_gates.verdict import Sign

MAX_ZEROS = 4  # of linear parts, for each parameter
DIGITS = 20
Point = Mapping[Symbol, Rational]


def rational(number: Fraction) -> Rational:
    """A Fraction as sympy's."""
    return Rational(number.numerator, number.denominator)


def fraction_of(number: Rational) -> Fraction:
    """SymPy's rational as Python's."""
    return Fraction(int(number.p), int(number.q))


def linear_parts(expression: Expr, t: Symbol) -> Iterator[tuple[Fraction, Fraction]]:
    """Zero and scale, c and |d| of (t - c)/d, of every subexpression that is that; of pi, nearly."""
    for node in expression.atoms(Add, Mul, Symbol):
        found = _linear(node, t, nearly=True)
        if found is not None:
            yield -found[1] / found[0], 1 / abs(found[0])


def linear_zero(expression: Expr, t: Symbol) -> Fraction | None:
    """The zero of a t + b with rational a and b; None for anything else."""
    found = _linear(expression, t)
    return None if found is None else -found[1] / found[0]


def _linear(expression: Expr, t: Symbol, *, nearly: bool = False) -> tuple[Fraction, Fraction] | None:
    """a and b of a t + b, both rational; nearly: b may be a number near it."""
    coefficients = expression.as_coefficients_dict()
    slope = coefficients.pop(t, sympy.Integer(0))
    constant = sympy.Add(*(factor * rest for rest, factor in coefficients.items()))
    if nearly and not constant.is_Rational and constant.is_number and constant.is_real:
        constant = Rational(str(sympy.N(constant, DIGITS)))
    is_linear = slope != 0 and isinstance(slope, Rational) and isinstance(constant, Rational)
    return (fraction_of(slope), fraction_of(constant)) if is_linear else None


def near_zeros(expression: Expr, t: Symbol) -> list[Fraction]:
    """Points around the zeros of every subexpression linear in t, at distances of its own scale."""
    offsets = (0, *(sign * Fraction(k, 8) for k in (1, 4, 8, 12, 20, 32) for sign in (1, -1)))
    return [zero + scale * offset for zero, scale in linear_parts(expression, t) for offset in offsets]


def suspects(expression: Expr, t: Symbol) -> list[Fraction]:
    """These, and a coarse grid."""
    grid = [Fraction(2) ** k for k in range(-20, 21)]
    around = near_zeros(expression, t)
    return list(dict.fromkeys([*around, *grid, *(-g for g in grid), *(1 - g for g in grid if g < 1)]))


def parameter_points(
    gate: Gate, side: Sign, domains: Mapping[Symbol, Domain], box: Box | None = None
) -> Iterator[Point]:
    """Exact parameter values worth trying: trained ones, zeros of linear parts, corners of the box, powers of ten.

    Without those at which SymPy would write out a number of millions of digits.
    """
    choices: dict[Symbol, list[Rational]] = {}
    powers = gate.declared(side).atoms(Pow)
    for p, domain in domains.items():
        whole = Range(as_end(domain.lower), as_end(domain.upper), domain.lower_open, domain.upper_open)
        here = box[p] if box is not None and p in box else whole
        trained = gate.parameter(p.name).value_for(side)
        zeros = [rational(zero) for zero, _ in linear_parts(gate.declared(side), p)]
        wanted = [
            trained,
            *zeros[:MAX_ZEROS],
            *map(Rational, ("1", "20", "1/10", "100", "1000", "1/100", "1000000", "2", "1/2")),
        ]
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
