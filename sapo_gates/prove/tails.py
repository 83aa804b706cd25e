"""Does phi = r w vanish as r -> oo? Rules for one term of w on the section that reaches to infinity:

    limit     phi, brought into a form in s = 1/t without indeterminate operations, has the limit 0
    slope     d log phi / d log r has a limit < 0: phi falls at least like a power of r, faster still if it is -oo

and refutations: at one parameter value phi >= c > 0 on all of [R, oo), by its enclosure there or because it grows. The
same on (0, R] makes f unbounded as r -> 0: f(R) - f(r) is the integral of phi over log r, at least c log(R/r).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar, Literal

import sympy
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.prove.cell_signs import Unsupported, domain_interval
from sapo_gates.prove.corners import value_at
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import is_identity, is_shown, log_derivative, normal, tamed
from sapo_gates.prove.interval import INFINITY, Interval, Undefined
from sapo_gates.prove.limits import TO_INFINITY, TO_MINUS_INFINITY, ZERO_FROM_ABOVE, Limit, limit
from sapo_gates.prove.sections import Branch, Section, in_x

S = Symbol("s_", positive=True)


def expressions_at_infinity(expression: Expr, t: Symbol) -> Iterator[tuple[Expr, Symbol, Limit]]:
    """The expression as it stands and in s = 1/t, with the end that its variable goes to."""
    yield expression, t, TO_INFINITY
    expanded = tamed(sympy.expand_mul, expression)
    if expanded != expression:
        yield expanded, t, TO_INFINITY
    inverse = substitute(expression, {t: 1 / S})
    for form in (inverse, tamed(sympy.expand_mul, inverse)):
        yield tamed(_rational_parts_cancelled, form), S, ZERO_FROM_ABOVE
    for rewriting in (sympy.cancel, normal, lambda e: sympy.powdenest(sympy.factor(sympy.together(e)))):
        yield tamed(lambda e: sympy.expand_power_base(rewriting(e)), inverse), S, ZERO_FROM_ABOVE  # noqa: B023


def _rational_parts_cancelled(expression: Expr) -> Expr:
    """Term by term: what is rational in s as one fraction in lowest terms, after roots of fractions are split."""
    terms = []
    for term in Add.make_args(expression):
        rational, rest = [], []
        for factor in Mul.make_args(Mul(*map(_root_split, Mul.make_args(term)))):
            (rational if factor.is_rational_function(S) else rest).append(factor)
        terms.append(sympy.cancel(Mul(*rational)) * Mul(*rest))
    return Add(*terms)


def _root_split(factor: Expr) -> Expr:
    """The root of a fraction as one of its numerator over one of its denominator: that of s^2 is s."""
    if not (isinstance(factor, Pow) and factor.exp.is_Rational and factor.base.is_rational_function(S)):
        return factor
    top, bottom = sympy.fraction(sympy.factor(factor.base))
    return top**factor.exp / bottom**factor.exp


def limits_at_infinity(expression: Expr, t: Symbol, ranges: Mapping[Symbol, Interval]) -> Iterator[tuple[Limit, Expr]]:
    """Enclosures of the limit as t -> oo, each with the form that shows it; another form's may be narrower."""
    for form, variable, end in expressions_at_infinity(expression, t):
        try:
            found = limit(form, variable, end, ranges)
        except Undefined:
            continue
        if form == expression or is_shown(form, expression if variable == t else substitute(expression, {t: 1 / S})):
            yield found, form


@dataclass(frozen=True)
class Tail:
    """The last section of a branch, seen from r = oo."""

    branch: Branch
    section: Section
    end: ClassVar[Literal["zero", "infinity"]] = "infinity"
    outwards: ClassVar[Literal[-1, 1]] = 1

    @property
    def ratio(self) -> Expr:
        """r in terms of t."""
        return substitute(self.branch.chart.ratio, {self.branch.chart.x: self.section.position})

    def score(self, term: Expr) -> Expr:
        """phi of one term of the weight."""
        return self.ratio * term

    def score_slope(self, term: Expr) -> Expr:
        """d log |phi| / d log r = 1 + r/(dr/dt) * w'/w, term by term."""
        t = self.section.t
        rate = sympy.cancel(self.ratio / derivative(self.ratio, t))
        return 1 + Add(*(rate * part for part in Add.make_args(log_derivative(term, t))))

    @property
    def ranges(self) -> dict[Symbol, Interval]:
        """All parameters, the eliminated one included: phi depends on it."""
        return {p: domain_interval(d) for p, d in self.branch.all_domains.items()}

    def rule(self, term: Expr, *, integrably: bool = False) -> dict[str, str] | None:
        """How phi of one term vanishes; integrably: so fast that f has a limit, which the rule `limit` does not say."""
        key, t = {"term": sympy.sstr(term)}, self.section.t
        if not integrably:
            for found, form in limits_at_infinity(self.score(term), t, self.ranges):
                if found.is_zero:
                    return {**key, "rule": "limit", "form": sympy.sstr(form)}
                if found.is_away_from_zero:
                    return None
        for found, form in limits_at_infinity(self.score_slope(term), t, self.ranges):
            if found.is_away_from_zero < 0:
                return {**key, "rule": "slope", "form": sympy.sstr(form)}
            if found.is_zero or found.is_away_from_zero > 0:
                return None
        return None

    @property
    def starts(self) -> Iterator[Fraction]:
        """Values of t from which on a bound of phi is sought."""
        for exponent in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
            yield max(Fraction(2**exponent), Fraction(self.section.t_lower))

    def beyond(self, start: Fraction) -> Interval:
        """The values of t from the start to the end."""
        return Interval.of(start, float("inf"))

    def forms(self, expression: Expr) -> Iterator[tuple[Expr, Symbol]]:
        """Equal expressions in t or in s = 1/t, dear ones last."""
        return ((form, variable) for form, variable, _ in expressions_at_infinity(expression, self.section.t))

    def in_x(self, parameters: Mapping[Symbol, Rational]) -> "Tail | None":
        """The same in the chart's x, from a binary fraction on that is near its start at these parameters."""
        start = self._start(self.section.lower, parameters)
        return None if start is None else self._moved(t_lower=start)

    def _start(self, edge: Expr, parameters: Mapping[Symbol, Rational]) -> Fraction | None:
        """A binary fraction near an edge of the section, at it only where w is there what it is beyond."""
        edge, x = substitute(edge, parameters), self.branch.chart.x
        start = _binary_near(edge, outwards=self.outwards)
        if start is None or Rational(start.numerator, start.denominator) != edge:
            return start
        if self.branch.value is not None:  # a derived weight is nothing at a corner
            is_corner = edge != self.branch.chart.on_policy
            return _binary_near(edge, outwards=self.outwards, strictly=is_corner)
        weight = substitute(in_x(self.branch, self.section, self.section.weight), parameters)
        try:
            said = value_at(substitute(self.branch.weight, parameters), {x: edge}, {})
            if said.has(sympy.nan, sympy.zoo) or is_identity(said, substitute(weight, {x: edge})):
                return start
        except (Unsupported, Undefined):
            pass
        return _binary_near(edge, outwards=self.outwards, strictly=True)

    def _moved(self, **ends: Fraction) -> "Tail":
        x = self.branch.chart.x
        weight = in_x(self.branch, self.section, self.section.weight)
        whole = {
            "t_lower": float("-inf") if self.branch.chart.lower.is_infinite else Fraction(0),
            "t_upper": float("inf"),
        }
        return replace(self, section=replace(self.section, t=x, position=x, weight=weight, **{**whole, **ends}))

    def limit(self, expression: Expr) -> tuple[Limit, Expr] | None:
        """The limit of a parameter-free expression at the end, and the form that shows it."""
        return next(limits_at_infinity(expression, self.section.t, {}), None)

    def lower_bound(self, weight: Expr, parameters: Mapping[Symbol, Rational]) -> "TailBound | None":
        """c, R with |phi| >= c > 0 from R to the end at these parameters, or None."""
        t = self.section.t
        weight = substitute(weight, parameters)
        phi = substitute(self.score(weight), parameters)
        # a tail does not start at a singularity
        starts = [start for start in self.starts if _range(weight, {t: Interval.of(start, start)}) is not None]
        for form, variable in self.forms(phi):
            for start in starts:
                range_ = self._range_beyond(start, form, variable)
                if range_ is None:
                    continue
                for sign, signed in ((1, range_), (-1, -range_)):
                    if signed.lower > 0:
                        return TailBound(start, below_number(signed.lower), sign, "enclosure", sympy.sstr(form))
        for form, variable in self.forms(self.outwards * substitute(self.score_slope(weight), parameters)):
            for start in starts:
                range_ = self._range_beyond(start, form, variable)
                at_start = _range(phi, {t: Interval.of(start, start)})
                if range_ is None or not range_.is_nonnegative or at_start is None or at_start.contains_zero:
                    continue
                sign = 1 if at_start.is_positive else -1
                smallest = below_number((at_start if sign > 0 else -at_start).lower)
                if smallest > 0:
                    return TailBound(start, smallest, sign, "slope", sympy.sstr(self.outwards * form))
        return None

    def _range_beyond(self, start: Fraction, form: Expr, variable: Symbol) -> Interval | None:
        """The range of a form in t or in s = 1/t, from the start to the end."""
        beyond = self.beyond(start)
        return _range(form, {variable: beyond if variable == self.section.t else beyond.reciprocal()})


@dataclass(frozen=True)
class Head(Tail):
    """The first section of a branch, seen from r = 0; not in the scaled chart, where r = 0 is an inner point."""

    end: ClassVar[Literal["zero", "infinity"]] = "zero"
    outwards: ClassVar[Literal[-1, 1]] = -1

    @property
    def starts(self) -> Iterator[Fraction]:
        """Values of t down to which a bound of phi is sought."""
        upper = self.section.t_upper
        for exponent in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
            if isinstance(self.section.t_lower, float):
                yield min(Fraction(-(2**exponent)), Fraction(upper))
            else:
                yield Fraction(upper) / 2**exponent

    def beyond(self, start: Fraction) -> Interval:
        """The values of t from r = 0 to the start."""
        return Interval.of(self.section.t_lower, start, True)

    def forms(self, expression: Expr) -> Iterator[tuple[Expr, Symbol]]:
        """Equal expressions in t."""
        yield expression, self.section.t
        yield tamed(sympy.cancel, expression), self.section.t

    def in_x(self, parameters: Mapping[Symbol, Rational]) -> "Tail | None":
        """The same in the chart's x, up to a binary fraction that is near its start at these parameters."""
        start = self._start(self.section.upper, parameters)
        return None if start is None else self._moved(t_upper=start)

    def limit(self, expression: Expr) -> tuple[Limit, Expr] | None:
        """The limit of a parameter-free expression as r -> 0, and the form that shows it."""
        end = TO_MINUS_INFINITY if isinstance(self.section.t_lower, float) else ZERO_FROM_ABOVE
        for form, variable in self.forms(expression):
            with suppress(Undefined):
                return limit(form, variable, end, {}), form
        return None


@dataclass(frozen=True)
class TailBound:
    """sign * phi >= bound from t = start to the end, shown by an enclosure or by phi growing towards it."""

    start: Fraction
    bound: Fraction
    sign: int
    rule: str
    form: str


def _binary_near(number: Expr, *, outwards: int, strictly: bool = False) -> Fraction | None:
    """A short binary fraction at or beyond a number, whole if that is at least 1; None for a huge one."""
    if isinstance(number, Rational) and number.q & (number.q - 1) == 0 and not strictly:
        return Fraction(int(number.p), int(number.q))
    range_ = compiled(number)({})
    end = range_.upper if outwards > 0 else range_.lower
    if not end.is_finite() or abs(end) > 2**60 or abs(end) < 2**-60:
        return None
    mantissa, exponent = (int(part) for part in end.man_exp())
    exact, scale = Fraction(mantissa) * Fraction(2) ** exponent, 1
    while abs(exact * scale) < 1:
        scale *= 2
    near = Fraction(ceil(exact * scale) if outwards > 0 else floor(exact * scale), scale)
    return near + Fraction(outwards, 2 * scale) if strictly and near == exact else near


def _range(expression: Expr, box: Mapping[Symbol, Interval]) -> Interval | None:
    try:
        return compiled(expression)(box)
    except (Undefined, KeyError):
        return None


def below_number(number: object) -> Fraction:
    """A short rational below a positive exact number."""
    assert number != INFINITY
    mantissa, exponent = number.man_exp()  # type: ignore[attr-defined]
    mantissa, exponent = int(mantissa), int(exponent)
    extra = mantissa.bit_length() - 12
    if extra > 0:
        mantissa, exponent = mantissa >> extra, exponent + extra
    if abs(exponent) > 400:
        return Fraction(0)
    return Fraction(mantissa) * Fraction(2) ** exponent
