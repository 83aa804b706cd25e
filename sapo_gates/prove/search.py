"""Refutations from numbers alone: w at many exact ratios of a gate without parameters, before any proof is tried.

Where the formula suggests it: around the zeros of its linear parts, at distances of their own scale, and along its
waves; and from r = 1, from r = 0 and towards infinity, at distances that grow by powers of 2. What is found is
evaluated again on the declared formula itself before it is a witness.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from heapq import nsmallest
from itertools import pairwise
from typing import TypeVar

import sympy
from flint import arb
from sympy import Expr, Rational

from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Gate
from sapo_gates.prove.enclose import Enclosure, compiled
from sapo_gates.prove.interval import Interval, Undefined, working_precision
from sapo_gates.prove.limits import ZERO_FROM_ABOVE, limit
from sapo_gates.prove.points import Point, linear_parts, linear_zero, near_zeros, rational
from sapo_gates.prove.removable import denominators
from sapo_gates.prove.sections import Branch, Section, in_x
from sapo_gates.prove.signs import enclosure_of
from sapo_gates.prove.tails import S
from sapo_gates.prove.witness import WITNESS_PRECISION, evaluate, growth_between, point
from sapo_gates.verdict import Sign, Witness

NEAREST, LOWEST, FARTHEST = 100, 60, 90  # powers of 2: how close to 1, to 0 and to infinity w is looked at
LOG_FARTHEST = 60  # nats
HEAVY_FROM = 60  # a power of 2
HEAVY = Fraction(9, 10)  # a phi that keeps this share of itself from there to the farthest ratio may not vanish
MAX_CONFIRMED = 4  # places that are evaluated on the declared formula in vain before the search is given up


@dataclass(frozen=True, eq=False)
class Scan:
    """w at exact ratios inside the sections of a branch whose parameters are numbers."""

    gate: Gate
    side: Sign
    branch: Branch

    @cached_property
    def parameters(self) -> Point:
        """The one value of each."""
        return {p: domain.lower for p, domain in self.branch.all_domains.items()}

    @cached_property
    def weights(self) -> dict[Fraction, Interval]:
        """w at the ratios at which it is enclosed, in increasing order."""
        found: dict[Fraction, Interval] = {}
        with working_precision(WITNESS_PRECISION):
            chart = self.branch.chart
            ends = [compiled(substitute(chart.ratio, {chart.x: end}))({}) for end in self.branch.breakpoints]
            for ratio in sorted(self._ratios()):
                at = Interval.of(ratio, ratio)
                index = bisect_left(ends, True, key=lambda end: bool(end.upper >= at.lower))
                if index == len(ends) or at.upper < ends[index].lower:
                    with suppress(Undefined):
                        found[ratio] = self._enclosures[index]({r: at})
        return found

    @cached_property
    def _formulas(self) -> list[Expr]:
        """w in r, section by section."""
        chart = self.branch.chart
        in_chart = [in_x(self.branch, section, section.weight) for section in self.branch.sections]
        return [substitute(substitute(one, {chart.x: chart.of_ratio}), self.parameters) for one in in_chart]

    @cached_property
    def _enclosures(self) -> list[Enclosure]:
        return [enclosure_of(one) for one in self._formulas]

    def _ratios(self) -> set[Fraction]:
        found = {Fraction(2) ** k for k in range(-LOWEST, FARTHEST + 1, 2)}
        found |= {1 + sign * Fraction(1, 2**k) for k in range(1, NEAREST, 3) for sign in (-1, 1)}
        for formula in self._formulas:
            found |= {*near_zeros(formula, r), *_along_waves(formula)}
            in_log = substitute(formula, {sympy.log(r): z})
            found |= {Fraction(math.exp(near)) for near in near_zeros(in_log, z) if abs(near) < LOG_FARTHEST}
        return {ratio for ratio in found if ratio > 0}

    def growth(self) -> Witness | None:
        """Two ratios between which w grows away from r = 1."""
        right = [(ratio, weight) for ratio, weight in self.weights.items() if ratio > 1]
        left = [(ratio, weight) for ratio, weight in reversed(self.weights.items()) if ratio < 1]
        neighbours = (*pairwise(right), *pairwise(left))
        rises = {(inner, outer): after.lower - before.upper for (inner, before), (outer, after) in neighbours}
        for pair in _plainest({pair: rise for pair, rise in rises.items() if rise > 0}):
            inner, outer = map(rational, pair)
            found = growth_between(self.gate, self.side, inner, outer, self.parameters)
            if found is not None:
                return found
        return None

    def excess(self) -> Witness | None:
        """A ratio at which w > 1."""
        return self._where(lambda weight: weight.lower - 1, "> 1")

    def negative(self) -> Witness | None:
        """A ratio at which w < 0."""
        return self._where(lambda weight: -weight.upper, "< 0")

    def _where(self, failure: Callable[[Interval], arb], says: str) -> Witness | None:
        failures = {(ratio,): failure(weight) for ratio, weight in self.weights.items()}
        for (at,) in _plainest({place: size for place, size in failures.items() if size > 0}):
            with suppress(Undefined):
                ratio = rational(at)
                weight = evaluate(self.gate, self.side, "weight", ratio, self.parameters)
                if failure(weight) > 0:
                    return point(ratio, self.parameters, weight, f"w({ratio}) {says}")
        return None

    def pole(self) -> Witness | None:
        """A rational ratio inside a section at which f or w goes to infinity."""
        for section in self.branch.sections:
            for formula in (section.value, section.weight):
                for at in () if formula is None else _poles(formula, section):
                    there = substitute(section.position, {section.t: at})
                    ratio = substitute(self.branch.chart.ratio, {self.branch.chart.x: there})
                    if isinstance(ratio, Rational) and ratio > 0:
                        return point(ratio, self.parameters, None, f"not defined at r = {ratio}: a denominator is 0")
        return None

    @property
    def is_heavy(self) -> bool:
        """Whether phi = r w stays, far out, as large as it was."""
        near, far = Fraction(2) ** HEAVY_FROM, Fraction(2) ** FARTHEST
        if near not in self.weights or far not in self.weights:
            return False
        least = HEAVY * near / far
        before, behind = self.weights[near].absolute(), self.weights[far].absolute()
        return bool(behind.lower > (before * Interval.of(least, least)).upper)


Place = TypeVar("Place", bound=tuple[Fraction, ...])


def _plainest(failures: Mapping[Place, arb]) -> list[Place]:
    """The first few: of those of at least half the largest size, or half of 1, those of the shortest ratios."""
    sizes = {place: min(float(size), 1.0) for place, size in failures.items()}
    enough = max(sizes.values(), default=0.0) / 2

    def order(place: Place) -> tuple[bool, int, float]:
        bits = sum(ratio.numerator.bit_length() + ratio.denominator.bit_length() for ratio in place)
        return sizes[place] < enough, bits, -sizes[place]

    return nsmallest(MAX_CONFIRMED, failures, key=order)


def _poles(formula: Expr, section: Section) -> Iterator[Expr]:
    """Where a denominator that is linear is 0 inside the section, and the formula has an infinite limit."""
    for denominator in set(denominators(formula, section.t)):
        zero = linear_zero(denominator, section.t)
        if zero is not None and section.t_lower < zero < section.t_upper:
            with suppress(Undefined):
                near = substitute(formula, {section.t: rational(zero) + S})
                if limit(near, S, ZERO_FROM_ABOVE, {}).infinite:
                    yield rational(zero)


def _along_waves(formula: Expr) -> Iterator[Fraction]:
    """A period or so of every sine and cosine of something linear, at distances from its zero that grow.

    However little a wave rises, it does so faster than a power of r falls, far out.
    """
    for wave in formula.atoms(sympy.sin, sympy.cos):
        for zero, scale in linear_parts(wave.args[0], r):
            for k in range(0, 64, 4):
                yield from (zero + scale * (2**k + Fraction(2 * step, 5)) for step in range(9))
