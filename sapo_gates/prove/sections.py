"""Where a branch is smooth: charts of (0, oo), breakpoints, and the sections between them.

A chart is a coordinate x for the ratio in which the weight is as simple as it can be. If the weight is a function of
u = tau (r - 1) alone (or of u = tau log r), one statement about u settles every tau at once. u then runs over all
reals although r > 0 means u > -tau: a proof on more than is needed is still a proof.

A section is a piece of the chart between neighbouring breakpoints (r = 1 counts as one), described by a coordinate t
with a constant range, so that sections whose ends move with a parameter are boxes too.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, cast

import sympy
from sympy import Add, Dummy, Expr, Piecewise, Pow, Rational, Symbol
from sympy.core.relational import Relational

from sapo_gates.derive import CORNERS, declared_formula, derivative, smooth_pieces
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Domain, Kind, Parameter
from sapo_gates.prove.cell_signs import Straddles, Unsupported, as_end, certain_sign, domain_interval, sign_on
from sapo_gates.prove.corners import check_digits, resolve, short, signs_on, switches_of, zeros
from sapo_gates.prove.enclose import compiled, enclose_at
from sapo_gates.prove.forms import tamed
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.removable import denominators, filled, is_zero_at

ChartKind = Literal["ratio", "log", "scaled", "log-scaled"]


@dataclass(frozen=True)
class Chart:
    """A coordinate x on (0, oo): ratio = r as a function of x, increasing.

    `ratio`: x = r. `log`: x = log r. `scaled`: x = tau (r - 1). `log-scaled`: x = tau log r; parameter is the tau that
    disappears.
    """

    kind: ChartKind
    parameter: Parameter | None = None

    @property
    def x(self) -> Symbol:
        """The coordinate."""
        return r if self.kind == "ratio" else Symbol("u_", real=True)

    @property
    def of_ratio(self) -> Expr:
        """x in terms of r."""
        if self.kind == "ratio":
            return r
        return (self.parameter or sympy.Integer(1)) * (r - 1 if self.kind == "scaled" else sympy.log(r))

    @property
    def ratio(self) -> Expr:
        """r in terms of x."""
        if self.kind == "ratio":
            return r
        scaled = self.x / (self.parameter or sympy.Integer(1))
        return 1 + scaled if self.kind == "scaled" else sympy.exp(scaled)

    @property
    def on_policy(self) -> Rational:
        """The x of r = 1."""
        return Rational(1) if self.kind == "ratio" else Rational(0)

    @property
    def lower(self) -> Expr:
        """The lower end of x, not attained."""
        return Rational(0) if self.kind == "ratio" else -sympy.oo


@dataclass(frozen=True)
class Section:
    """One smooth piece of a branch.

    position is x in terms of t; t runs over (t_lower, t_upper), the ends being breakpoints or the ends of the chart.
    weight is w in terms of t (and the parameters that remain), value is f or None.
    """

    side: Literal["left", "right"]
    lower: Expr
    upper: Expr
    t: Symbol
    position: Expr
    t_lower: Fraction | float
    t_upper: Fraction | float
    weight: Expr
    value: Expr | None

    @property
    def is_unbounded(self) -> bool:
        """The section reaches to r = oo."""
        return self.upper is sympy.oo


@dataclass(frozen=True, eq=False)
class Branch:
    """One sign of A on one cell of the parameter domain: a chart and its sections from left to right.

    domains: the parameters that the weight still depends on in this chart; eliminated: the one it does not.
    value and weight are the whole piecewise expressions in the chart's x (value: None unless it is declared).
    Of the text itself, in r: compared, both sides of every comparison by which it chooses a piece; operations, those
    outside its corners, which a formula may have lost: (tau - 1) log(r - 5) is 0 at tau = 1.
    """

    chart: Chart
    domains: Mapping[Symbol, Domain]
    eliminated: Mapping[Symbol, Domain]
    sections: tuple[Section, ...]
    breakpoints: tuple[Expr, ...]
    value: Expr | None
    weight: Expr
    compared: tuple[Expr, ...] = ()
    operations: tuple[Expr, ...] = ()

    @property
    def ranges(self) -> dict[Symbol, Interval]:
        """The domains as intervals."""
        return {p: domain_interval(domain) for p, domain in self.domains.items()}

    @property
    def all_domains(self) -> dict[Symbol, Domain]:
        """Every parameter of the gate's branch with its domain in this cell."""
        return {**self.domains, **self.eliminated}


def branches_of(
    kind: Kind, declared: Expr, domains: Mapping[Parameter, Domain], ratios: Collection[Expr] | None = None
) -> tuple[Branch, ...]:
    """The declared expression on cells that cover these domains, each in the chart with fewest parameters.

    One cell, unless corners of the formula change their order or cross 1 at some parameter value.
    ratios: further breakpoints, which are numbers; then the chart is that of the ratio.

    Raises:
        Unsupported: a corner that cannot be placed, with what it is.
    """
    value = declared_formula(kind, declared, "value") if kind == "value" else None
    weight = declared_formula(kind, declared, "weight")
    assert weight is not None
    conditions = [condition for piecewise in declared.atoms(Piecewise) for _, condition in piecewise.args]
    relations: set[Any] = {relation for condition in conditions for relation in condition.atoms(Relational)}
    compared = tuple(smooth_pieces(side) for relation in relations for side in relation.args)
    operations = tuple(dict.fromkeys(smooth_pieces(node) for node in _operations(declared)))
    cells: list[dict[Symbol, Domain]] = [dict(domains)]
    finished: list[Branch] = []
    while cells:
        cell = cells.pop()
        try:
            finished.append(replace(_on_cell(value, weight, cell, ratios), compared=compared, operations=operations))
        except Straddles as straddles:
            parts = _cut(cell, straddles.switch)
            if len(finished) + len(cells) + len(parts) > MAX_CELLS:
                raise Unsupported(f"{straddles}; more than {MAX_CELLS} parameter cells would be needed") from None
            cells += parts
    return tuple(finished)


def _operations(expression: Any) -> Iterator[Expr]:
    """The powers and functions in it that hold no corner and are neither in one nor times one, operands first."""
    if isinstance(expression, CORNERS) or (expression.is_Mul and expression.has(*CORNERS)):
        return
    for part in expression.args:
        yield from _operations(part)
    if isinstance(expression, Pow | sympy.Function) and not expression.has(*CORNERS):
        yield cast(Expr, expression)


MAX_CELLS = 32


def _cut(cell: Mapping[Symbol, Domain], switch: Expr) -> list[dict[Symbol, Domain]]:
    """The cell cut where the function of one parameter is 0: below, at and above."""
    if len(switch.free_symbols) != 1:
        raise Unsupported(f"the sign of {switch} depends on several parameters")
    parameter = next(iter(switch.free_symbols))
    domain = cell[parameter]
    cuts = sorted(c for c in zeros(switch, parameter) if c.is_Rational and c in domain)
    if not cuts:
        raise Unsupported(f"the sign of {switch} could not be enclosed")
    ends = [domain.lower, *cuts, domain.upper]
    parts = [
        Domain(low, high, low in cuts or domain.lower_open, high in cuts or domain.upper_open)
        for low, high in pairwise(ends)
        if low < high
    ]
    if domain.lower == domain.upper:
        raise Unsupported(f"the sign of {switch} at {parameter} = {domain.lower} could not be enclosed")
    return [{**cell, parameter: part} for part in (*parts, *(Domain(c, c, False, False) for c in cuts))]


def _on_cell(value: Expr | None, weight: Expr, cell: dict[Symbol, Domain], ratios: Collection[Expr] | None) -> Branch:
    """The chart with the fewest parameters on one cell."""
    points = {p: domain.lower for p, domain in cell.items() if domain.lower == domain.upper}
    check_digits(weight if value is None else value, points)
    value, weight = (None if e is None else substitute(e, points) for e in (value, weight))
    assert weight is not None
    for parameter, domain in cell.items() if ratios is None else ():
        if parameter in points or not domain.is_positive or not parameter.is_positive:
            continue
        for kind in ("scaled", "log-scaled"):
            try:
                branch = _in_chart(Chart(kind, parameter), value, weight, cell)
            except Unsupported:
                continue
            decisive = [*branch.breakpoints, *(section.weight for section in branch.sections)]
            if not any(parameter in expression.free_symbols for expression in decisive):
                return branch
    by_logarithm = ratios is None and all(e is None or _is_by_logarithm(e) for e in (value, weight))
    return _in_chart(Chart("log" if by_logarithm else "ratio"), value, weight, cell, ratios or ())


def _is_by_logarithm(expression: Expr) -> bool:
    """Whether r stands in it only as log r."""
    logarithm = sympy.log(r)
    return expression.has(logarithm) and not substitute(expression, {logarithm: Dummy()}).has(r)


def _moved(expression: Expr, chart: Chart) -> Expr:
    """The expression in the chart; conditions lose positive factors, so that the parameter cancels there too."""
    moved = substitute(expression, {r: chart.ratio})
    return substitute(moved, {relation: _without_positive_factors(relation) for relation in moved.atoms(Relational)})


def _without_positive_factors(relation: Relational) -> Expr:
    """u/tau >= 0 says what u >= 0 says, for tau > 0."""
    switch = relation.lhs - relation.rhs
    if switch.has(Piecewise):
        return relation
    for _ in range(2):
        numerator, denominator = sympy.fraction(sympy.together(switch))
        switch = numerator if denominator.is_positive else switch
    return type(relation)(switch, 0)


def _in_chart(
    chart: Chart, value: Expr | None, weight: Expr, cell: Mapping[Symbol, Domain], others: Collection[Expr] = ()
) -> Branch:
    weight = _moved(weight, chart)
    value = None if value is None else _moved(value, chart)
    domains = {p: domain for p, domain in cell.items() if p != chart.parameter}
    switches = switches_of([weight] + ([] if value is None else [value]))
    corners = list(dict.fromkeys([*others, *(zero for switch in switches for zero in zeros(switch, chart.x, domains))]))
    breakpoints = _ordered(corners, chart, domains)
    sections = _between(breakpoints, switches, chart, domains, weight, value)
    from_one = any(_hides_its_zero(section, chart) for section in sections)
    if from_one:
        if breakpoints[0] == chart.on_policy and chart.lower.is_finite:
            corners.append(HALFWAY)
            breakpoints.insert(0, HALFWAY)
        sections = _between(breakpoints, switches, chart, domains, weight, value, from_one=True)
    holes = [hole for section in sections for hole in _holes(section, chart, domains)]
    if holes:
        breakpoints = _ordered([*corners, *dict.fromkeys(holes)], chart, domains)
        sections = _between(breakpoints, switches, chart, domains, weight, value, from_one=from_one)
    eliminated = {p: domain for p, domain in cell.items() if p == chart.parameter}
    return Branch(chart, domains, eliminated, tuple(sections), tuple(breakpoints), value, weight)


HALFWAY = Rational(1, 2)
"""A breakpoint, so that the section next to r = 1 may be measured from there and the first one from r = 0."""


def _hides_its_zero(section: Section, chart: Chart) -> bool:
    """Whether intervals do not see that a sum is 0 at r = 1, as 0.11 r - 0.11, which is 0.11 t where r = 1 + t."""
    if section.t != chart.x or chart.on_policy not in (section.lower, section.upper):
        return False
    formulas = (e for e in (section.weight, section.value) if e is not None)
    sums = {cast(Expr, e) for formula in formulas for e in formula.atoms(Add)}
    one = {section.t: chart.on_policy}
    return any(_is_zero_at(e, section.t, chart.on_policy) and not enclose_at(e, one).is_point for e in sums)


def _is_zero_at(e: Expr, t: Symbol, at: Rational) -> bool:
    """Whether it is a rational function of t alone that is 0 there."""
    return e.free_symbols == {t} and bool(e.is_rational_function(t)) and is_zero_at(e, t, at)


def _between(
    breakpoints: list[Expr],
    switches: Sequence[Expr],
    chart: Chart,
    domains: Mapping[Symbol, Domain],
    weight: Expr,
    value: Expr | None,
    *,
    from_one: bool = False,
) -> list[Section]:
    ends = [chart.lower, *breakpoints, sympy.oo]
    sections: list[Section] = []
    for lower, upper in pairwise(ends):
        side = "left" if len(sections) <= breakpoints.index(chart.on_policy) else "right"
        t, position, t_lower, t_upper = coordinate(chart, lower, upper, from_one=from_one)
        inside = {**domains, t: Domain(_number(t_lower), _number(t_upper), True, True)}
        signs = _signs_in(switches, {chart.x: position}, inside, domains)
        w, f = (None if e is None else substitute(resolve(e, signs), {chart.x: position}) for e in (weight, value))
        if from_one and chart.on_policy in (lower, upper):
            w, f = (None if e is None else _with_zero_in_front(e, t) for e in (w, f))
        assert w is not None
        sections.append(Section(side, lower, upper, t, position, t_lower, t_upper, w, f))
    return sections


def _with_zero_in_front(formula: Expr, t: Symbol) -> Expr:
    """The formula with sums that are 0 at t = 0 as products: t (2 + t)/(1 + t) for 1 + t - 1/(1 + t)."""
    return formula.replace(
        lambda e: e.is_Add and _is_zero_at(e, t, Rational(0)),
        lambda e: tamed(sympy.factor, e),
    )


def _signs_in(
    switches: Sequence[Expr],
    position: Mapping[Symbol, Expr],
    inside: Mapping[Symbol, Domain],
    domains: Collection[Symbol],
) -> dict[Expr, int]:
    """The signs of the switches on one section."""
    return signs_on(switches, lambda switch: sign_on(substitute(switch, position), inside), domains)


def _holes(section: Section, chart: Chart, domains: Mapping[Symbol, Domain]) -> Iterator[Expr]:
    """The removable singularities inside a section, in the chart's x: breakpoints, so that limits fill them."""
    t, ends = section.t, (section.t_lower, section.t_upper)
    ranges = {p: domain_interval(domain) for p, domain in domains.items()}
    inside = {**ranges, t: Interval.of(*ends, True, True)}
    for expression in (section.weight, section.value):
        for denominator in () if expression is None else set(denominators(expression, t)):
            with suppress(Undefined, KeyError):
                if not compiled(denominator)(inside).contains_zero:
                    continue
            with suppress(Unsupported):
                for zero in zeros(denominator, t, domains):
                    finite = [(end, side) for end, side in zip(ends, (1, -1), strict=True) if isinstance(end, Fraction)]
                    is_inside = all(certain_sign(zero - _number(end), domains) == side for end, side in finite)
                    if is_inside and filled(expression, t, zero, ranges) is not None:
                        yield substitute(section.position, {t: zero})


def _ordered(candidates: Iterable[Expr], chart: Chart, cell: Mapping[Symbol, Domain]) -> list[Expr]:
    """The candidates inside the chart and r = 1, in increasing order for every parameter value."""
    inside: list[Expr] = [chart.on_policy]
    for candidate in candidates:
        if chart.parameter in candidate.free_symbols:
            raise Unsupported(f"the breakpoint {candidate} is not free of {chart.parameter}")
        if chart.lower is not -sympy.oo and certain_sign(candidate - chart.lower, cell) <= 0:
            continue
        place = 0
        for other in inside:
            order = certain_sign(candidate - other, cell)
            if order == 0:
                break
            place += order > 0
        else:
            inside.insert(place, candidate)
    return inside


def coordinate(
    chart: Chart, lower: Expr, upper: Expr, *, from_one: bool = False
) -> tuple[Symbol, Expr, Fraction | float, Fraction | float]:
    """t, x(t) and the range of t on a section; t = x where both ends are numbers that intervals hold exactly.

    from_one: but next to r = 1 measured from there.
    """
    t = Symbol("t_", real=True)
    from_one = from_one and chart.on_policy in (lower, upper)
    if not from_one and all(
        end.is_infinite or (isinstance(end, Rational) and end.q & (end.q - 1) == 0) for end in (lower, upper)
    ):
        return chart.x, chart.x, as_end(lower), as_end(upper)
    if upper is sympy.oo:
        return t, lower + t, Fraction(0), float("inf")
    if lower is -sympy.oo:
        return t, upper + t, float("-inf"), Fraction(0)
    width = short(upper - lower)  # 1/tau, where r runs from 1 - 1/tau to 1
    if upper == chart.on_policy:  # measured from r = 1, where formulas in r - 1 are simplest
        return t, upper + t * width, Fraction(-1), Fraction(0)
    return t, lower + t * width, Fraction(0), Fraction(1)


def in_x(branch: Branch, section: Section, expression: Expr) -> Expr:
    """An expression in the section's t as one in the chart's x."""
    x, t = branch.chart.x, section.t
    if t == x:
        return expression
    offset = substitute(section.position, {t: sympy.Integer(0)})
    return substitute(expression, {t: (x - offset) / derivative(section.position, t)})


def _number(end: Fraction | float) -> Expr:
    return Rational(end.numerator, end.denominator) if isinstance(end, Fraction) else sympy.oo * (1 if end > 0 else -1)
