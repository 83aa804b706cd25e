"""Where a branch is smooth: charts of (0, oo), breakpoints, and the sections between them.

A chart is a coordinate x for the ratio in which the weight is as simple as it can be. If the weight is a function of
u = tau (r - 1) alone (or of u = tau log r), one statement about u settles every tau at once. u then runs over all
reals although r > 0 means u > -tau: a proof on more than is needed is still a proof.

A section is a piece of the chart between neighbouring breakpoints (r = 1 counts as one), described by a coordinate t
with a constant range, so that sections whose ends move with a parameter are boxes too.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from types import MappingProxyType
from typing import Any, Literal, cast

import sympy
from sympy import Dummy, Expr, Mul, Piecewise, Pow, Rational, Symbol
from sympy.core.relational import Relational

from sapo_gates.derive import declared_formula, derivative
from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.gate import Domain, Kind, Parameter
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import MAX_EXPONENT, is_identity, tamed
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.removable import denominators, filled

ChartKind = Literal["ratio", "log", "scaled", "log-scaled"]


class Unsupported(Exception):
    """The expression has corners this module cannot place; what it says is what remains undecided."""


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


@dataclass(frozen=True)
class Branch:
    """One sign of A on one cell of the parameter domain: a chart and its sections from left to right.

    domains: the parameters that the weight still depends on in this chart; eliminated: the one it does not.
    value and weight are the whole piecewise expressions in the chart's x (value: None unless it is declared).
    """

    chart: Chart
    domains: Mapping[Symbol, Domain]
    eliminated: Mapping[Symbol, Domain]
    sections: tuple[Section, ...]
    breakpoints: tuple[Expr, ...]
    value: Expr | None
    weight: Expr

    @property
    def ranges(self) -> dict[Symbol, Interval]:
        """The domains as intervals."""
        return {p: domain_interval(domain) for p, domain in self.domains.items()}

    @property
    def all_domains(self) -> dict[Symbol, Domain]:
        """Every parameter of the gate's branch with its domain in this cell."""
        return {**self.domains, **self.eliminated}


def domain_interval(domain: Domain) -> Interval:
    """The domain as an interval; open ends stay open where they are dyadic."""
    return Interval.of(as_end(domain.lower), as_end(domain.upper), domain.lower_open, domain.upper_open)


def as_end(end: Expr) -> Fraction | float:
    """A rational as a Fraction, an infinity as a float."""
    return Fraction(int(end.p), int(end.q)) if isinstance(end, Rational) else float(end)


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
    cells: list[dict[Symbol, Domain]] = [dict(domains)]
    finished: list[Branch] = []
    while cells:
        cell = cells.pop()
        try:
            finished.append(_on_cell(value, weight, cell, ratios))
        except Straddles as straddles:
            parts = _cut(cell, straddles.switch)
            if len(finished) + len(cells) + len(parts) > MAX_CELLS:
                raise Unsupported(f"{straddles}; more than {MAX_CELLS} parameter cells would be needed") from None
            cells += parts
    return tuple(finished)


MAX_CELLS = 32


class Straddles(Unsupported):
    """A function of the parameters alone decides between pieces and has no constant sign on the cell."""

    def __init__(self, switch: Expr, says: str) -> None:
        """The function whose zero cuts the cell."""
        super().__init__(says)
        self.switch = switch


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
    holes = [hole for section in sections for hole in _holes(section, chart, domains)]
    if holes:
        breakpoints = _ordered([*corners, *dict.fromkeys(holes)], chart, domains)
        sections = _between(breakpoints, switches, chart, domains, weight, value)
    eliminated = {p: domain for p, domain in cell.items() if p == chart.parameter}
    return Branch(chart, domains, eliminated, tuple(sections), tuple(breakpoints), value, weight)


def _between(
    breakpoints: list[Expr],
    switches: Sequence[Expr],
    chart: Chart,
    domains: Mapping[Symbol, Domain],
    weight: Expr,
    value: Expr | None,
) -> list[Section]:
    ends = [chart.lower, *breakpoints, sympy.oo]
    sections: list[Section] = []
    for lower, upper in pairwise(ends):
        side = "left" if len(sections) <= breakpoints.index(chart.on_policy) else "right"
        t, position, t_lower, t_upper = coordinate(chart, lower, upper)
        inside = {**domains, t: Domain(_number(t_lower), _number(t_upper), True, True)}
        signs = _signs_on(switches, _sign_finder({chart.x: position}, inside), domains)
        w, f = (None if e is None else substitute(resolve(e, signs), {chart.x: position}) for e in (weight, value))
        assert w is not None
        sections.append(Section(side, lower, upper, t, position, t_lower, t_upper, w, f))
    return sections


def _holes(section: Section, chart: Chart, domains: Mapping[Symbol, Domain]) -> Iterator[Expr]:
    """The removable singularities inside a section, in the chart's x: breakpoints, so that limits fill them."""
    t, ends = section.t, (section.t_lower, section.t_upper)
    ranges = {p: domain_interval(domain) for p, domain in domains.items()}
    for expression in (section.weight, section.value):
        for denominator in () if expression is None else set(denominators(expression, t)):
            with suppress(Unsupported):
                for zero in zeros(denominator, t, domains):
                    finite = [(end, side) for end, side in zip(ends, (1, -1), strict=True) if isinstance(end, Fraction)]
                    is_inside = all(_certain_sign(zero - _number(end), domains) == side for end, side in finite)
                    if is_inside and filled(expression, t, zero, ranges) is not None:
                        yield substitute(section.position, {t: zero})


def _sign_finder(position: Mapping[Symbol, Expr], inside: Mapping[Symbol, Domain]) -> Callable[[Expr], int | None]:
    """Signs of switches on one section, exactly where they are polynomials."""
    ranges = {symbol: domain_interval(domain) for symbol, domain in inside.items()}

    def find(switch: Expr) -> int | None:
        placed = substitute(switch, position)
        exact = polynomial_sign(placed, inside)
        found = _sign(placed, ranges) if exact is None else exact
        return _sign_by_slope(placed, inside, ranges) if found is None else found

    return find


def _sign_by_slope(
    switch: Expr, inside: Mapping[Symbol, Domain], ranges: Mapping[Symbol, Interval], depth: int = 2
) -> int | None:
    """The sign of a switch that is 0 at an open end of a variable's range and strictly monotone inside."""
    for t in sorted(set(inside) & switch.free_symbols, key=str):
        ends = (inside[t].lower, inside[t].lower_open, 1), (inside[t].upper, inside[t].upper_open, -1)
        for end, is_open, away in ends:
            if end.is_finite and is_open and is_identity(substitute(switch, {t: end}), sympy.Integer(0)):
                slope = derivative(switch, t)
                found = _sign(slope, ranges) or (depth and _sign_by_slope(slope, inside, ranges, depth - 1))
                if found:
                    return away * found
    return None


def switches_of(expressions: Iterable[Expr]) -> list[Expr]:
    """Every function whose sign decides between pieces; those that decide inside others come first."""
    found = {relation.lhs - relation.rhs for e in expressions for relation in e.atoms(Relational)}
    return sorted(found, key=lambda s: (s.count(Piecewise), sympy.default_sort_key(s)))


def _ordered(candidates: Iterable[Expr], chart: Chart, cell: Mapping[Symbol, Domain]) -> list[Expr]:
    """The candidates inside the chart and r = 1, in increasing order for every parameter value."""
    inside: list[Expr] = [chart.on_policy]
    for candidate in candidates:
        if chart.parameter in candidate.free_symbols:
            raise Unsupported(f"the breakpoint {candidate} is not free of {chart.parameter}")
        if chart.lower is not -sympy.oo and _certain_sign(candidate - chart.lower, cell) <= 0:
            continue
        place = 0
        for other in inside:
            order = _certain_sign(candidate - other, cell)
            if order == 0:
                break
            place += order > 0
        else:
            inside.insert(place, candidate)
    return inside


def zeros(switch: Expr, x: Symbol, cell: Mapping[Symbol, Domain] = MappingProxyType({})) -> list[Expr]:
    """Every x at which the expression may be 0 or have a pole, exactly, for all parameters in the cell.

    Raises:
        Straddles: how many there are depends on the parameters.
        Unsupported: it is not a polynomial in x or log x with solvable roots.
    """
    if switch.has(Piecewise):
        inner = [z for s in switches_of([switch]) for z in zeros(s, x, cell)]
        return inner + [z for choice in _choices(switch) for z in zeros(choice, x, cell)]
    return [zero for part in sympy.fraction(sympy.together(switch)) for zero in _roots(part, x, cell)]


def _choices(expression: Expr) -> list[Expr]:
    """The expression with each of its outermost Piecewise replaced by each of its pieces."""
    pieces = [node for node in sympy.preorder_traversal(expression) if isinstance(node, Piecewise)][:1]
    if not pieces:
        return [expression]
    return [c for piece, _ in pieces[0].args for c in _choices(substitute(expression, {pieces[0]: piece}))]


def _roots(part: Expr, x: Symbol, cell: Mapping[Symbol, Domain]) -> list[Expr]:
    if x not in part.free_symbols:
        return []
    factored = tamed(sympy.factor, part)
    if isinstance(factored, Mul):
        return [root for factor in factored.args for root in _roots(factor, x, cell)]
    if isinstance(factored, Pow) and factored.exp.is_Integer and factored.exp.is_positive:
        return _roots(factored.base, x, cell)
    inverted = _inverted(part, x, cell)
    if inverted is not None:
        return inverted
    log_x = sympy.Dummy("log_x", real=True)
    in_log = substitute(sympy.expand_log(part), {sympy.log(x): log_x})
    logarithmic = log_x in in_log.free_symbols
    if logarithmic and x in in_log.free_symbols:
        raise Unsupported(f"the corner at {part} = 0 mixes r and log r")
    variable = log_x if logarithmic else x
    if not in_log.is_polynomial(variable):
        raise Unsupported(f"the corner at {part} = 0 cannot be solved for {x}")
    polynomial = sympy.Poly(in_log, variable)
    if polynomial.degree() == 1:
        slope, constant = polynomial.all_coeffs()
        roots = [_short(-constant / slope)]
    elif polynomial.degree() == 2 and polynomial.free_symbols_in_domain:
        square, slope, constant = polynomial.all_coeffs()
        discriminant = sympy.factor(slope**2 - 4 * square * constant)
        some = 1 if discriminant.is_positive else _certain_sign(discriminant, cell)
        signs = {-1: (), 0: (0,), 1: (-1, 1)}[some]
        roots = [sympy.simplify((-slope + sign * sympy.sqrt(discriminant)) / (2 * square)) for sign in signs]
    elif polynomial.free_symbols_in_domain:
        raise Unsupported(f"the corner at {part} = 0 is of degree {polynomial.degree()} with parameters")
    else:
        try:
            roots = list(dict.fromkeys(sympy.real_roots(polynomial)))
        except NotImplementedError as error:
            raise Unsupported(f"the roots of {part} = 0 are not known: {error}") from error
    return [sympy.exp(root) for root in roots] if logarithmic else roots


def _inverted(part: Expr, x: Symbol, cell: Mapping[Symbol, Domain]) -> list[Expr] | None:
    """The zeros of c F(g(x)) - level for an increasing function F or a root; None if it is not of that form.

    Raises:
        Unsupported: whether F takes the level is not certain.
    """
    constant, rest = part.as_independent(x, as_Add=True)
    factor, function = rest.as_independent(x, as_Add=False)
    level: Any = cast(Any, constant) / -cast(Any, factor)
    is_root = isinstance(function, Pow) and function.exp.is_Rational and not function.exp.is_Integer
    if is_root and function.exp.is_positive and level.is_nonnegative:
        return zeros(function.base - level ** (1 / function.exp), x, cell)
    if level == 0 and isinstance(function, ZERO_AT_ZERO):
        return zeros(function.args[0], x, cell)
    if function.func not in INVERSES or level.free_symbols:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    low, high, inverse = INVERSES[function.func]
    inside = [sign * _certain_sign(level - end, {}) for end, sign in ((low, 1), (high, -1)) if end.is_finite]
    return zeros(function.args[0] - inverse(level), x, cell) if all(sign > 0 for sign in inside) else []


INVERSES: dict[Any, tuple[Expr, Expr, Callable[[Expr], Expr]]] = {
    sympy.atan: (-sympy.pi / 2, sympy.pi / 2, sympy.tan),
    sympy.tanh: (sympy.Integer(-1), sympy.Integer(1), lambda level: sympy.log((1 + level) / (1 - level)) / 2),
    sympy.sinh: (-sympy.oo, sympy.oo, lambda level: sympy.log(level + sympy.sqrt(1 + level**2))),
    sympy.exp: (sympy.Integer(0), sympy.oo, sympy.log),
    sigmoid: (sympy.Integer(0), sympy.Integer(1), lambda level: sympy.log(level / (1 - level))),
}
"""Increasing functions with the range of their values and their inverse."""
ZERO_AT_ZERO = (sympy.sinh, sympy.tanh, sympy.atan, sympy.asinh, sympy.erf)


def _short(fraction: Expr) -> Expr:
    """As a sum or, if that is shorter, as one fraction: 1 - 1/tau forgets less than (tau - 1)/tau."""
    return min(sympy.expand(fraction), sympy.cancel(fraction), key=sympy.count_ops)


def coordinate(chart: Chart, lower: Expr, upper: Expr) -> tuple[Symbol, Expr, Fraction | float, Fraction | float]:
    """t, x(t) and the range of t on a section; t = x where both ends are numbers that intervals hold exactly."""
    t = Symbol("t_", real=True)
    if all(end.is_infinite or (isinstance(end, Rational) and end.q & (end.q - 1) == 0) for end in (lower, upper)):
        return chart.x, chart.x, as_end(lower), as_end(upper)
    if upper is sympy.oo:
        return t, lower + t, Fraction(0), float("inf")
    if lower is -sympy.oo:
        return t, upper + t, float("-inf"), Fraction(0)
    width = _short(upper - lower)  # 1/tau, where r runs from 1 - 1/tau to 1
    if upper == chart.on_policy:  # measured from r = 1, where formulas in r - 1 are simplest
        return t, upper + t * width, Fraction(-1), Fraction(0)
    return t, lower + t * width, Fraction(0), Fraction(1)


def in_x(branch: Branch, section: Section, expression: Expr) -> Expr:
    """An expression in the section's t as one in the chart's x."""
    x, t = branch.chart.x, section.t
    if t == x:
        return expression
    if section.upper is sympy.oo:
        return substitute(expression, {t: x - section.lower})
    if section.lower is -sympy.oo:
        return substitute(expression, {t: x - section.upper})
    return substitute(expression, {t: (x - section.lower) / (section.upper - section.lower)})


def _sign(expression: Expr, ranges: Mapping[Symbol, Interval]) -> int | None:
    """The sign of the expression over all the ranges, or None if it is not certain or not constant."""
    if not expression.free_symbols <= set(ranges):
        return None
    for form in (expression, sympy.expand(expression), tamed(sympy.factor, expression)):
        try:
            range_ = compiled(form)(ranges)
        except Undefined:
            continue
        if range_.is_positive:
            return 1
        if range_.is_negative:
            return -1
        if range_.is_point:
            return 0
    return None


def polynomial_sign(expression: Expr, cell: Mapping[Symbol, Domain]) -> int | None:
    """The sign of a rational function on a cell, exactly; None where this rule does not show one.

    Every variable is written in q > 0: x = lower + q, or x = (lower + upper q)/(1 + q). If numerator and denominator
    then have coefficients of one sign each, so has the function on the open cell; ends that belong to the cell are
    looked at one by one.
    """
    symbols = sorted(expression.free_symbols, key=str)
    if not set(symbols) <= set(cell):
        return None
    signs = set()
    for ends in product(*(_faces(cell[symbol]) for symbol in symbols)):
        face = dict(zip(symbols, ends, strict=True))
        signs.add(_open_sign(substitute(expression, face)))
    return signs.pop() if len(signs) == 1 else None


def _faces(domain: Domain) -> list[Expr]:
    """The inside of a domain as an expression in a positive q, and each end that belongs to it."""
    q = Dummy("q", positive=True)
    lower, upper = domain.lower, domain.upper
    closed = [end for end, is_open in ((lower, domain.lower_open), (upper, domain.upper_open)) if not is_open]
    if lower == upper:
        return [lower]
    if lower.is_infinite:
        return [*closed, upper - q] if upper.is_finite else []
    return [*closed, lower + q if upper.is_infinite else (lower + upper * q) / (1 + q)]


def _open_sign(expression: Expr) -> int | None:
    """The sign for every positive value of its symbols, by the signs of its coefficients."""
    numerator, denominator = sympy.fraction(sympy.together(expression))
    if numerator == 0:
        return 0
    sign = 1
    for part in (numerator, denominator):
        if not part.is_polynomial():
            return None
        symbols = sorted(part.free_symbols, key=str)
        coefficients = sympy.Poly(part, *symbols).coeffs() if symbols else [part]
        if all(c.is_negative for c in coefficients):
            sign = -sign
        elif not all(c.is_positive for c in coefficients):
            return None
    return sign


def _number(end: Fraction | float) -> Expr:
    return Rational(end.numerator, end.denominator) if isinstance(end, Fraction) else sympy.oo * (1 if end > 0 else -1)


def _certain_sign(expression: Expr, cell: Mapping[Symbol, Domain]) -> int:
    sign = polynomial_sign(expression, cell)
    ranges = {p: domain_interval(domain) for p, domain in cell.items()}
    if sign is None:
        sign = _sign(expression, ranges)
    if sign is None:
        sign = _sign_by_slope(expression, cell, ranges)
    if sign is None:
        raise Straddles(expression, f"the sign of {expression} depends on the parameters")
    return sign


def _signs_on(
    switches: Sequence[Expr], sign_of: Callable[[Expr], int | None], parameters: Collection[Symbol]
) -> dict[Expr, int]:
    """The sign of every switch, the inner ones used to resolve the outer ones."""
    signs: dict[Expr, int] = {}
    for switch in switches:
        resolved = resolve(switch, signs)
        sign = sign_of(resolved)
        if sign is None and not resolved.free_symbols <= set(parameters):
            raise Unsupported(f"the sign of {resolved} between two breakpoints could not be enclosed")
        if sign is None:
            raise Straddles(resolved, f"the sign of {resolved} between two breakpoints could not be enclosed")
        signs[switch] = sign
    return signs


def resolve(expression: Expr, signs: Mapping[Expr, int]) -> Expr:
    """The expression with every Piecewise replaced by the piece that holds for these signs of the switches."""
    if isinstance(expression, Piecewise):
        return next(resolve(piece, signs) for piece, condition in expression.args if _holds(condition, signs))
    if not expression.has(Piecewise):
        return expression
    return expression.func(*(resolve(argument, signs) for argument in expression.args))


def _holds(condition: Any, signs: Mapping[Expr, int]) -> bool:
    match condition:
        case sympy.And() | sympy.Or() | sympy.Not() | sympy.ITE():
            answers = [sympy.true if _holds(c, signs) else sympy.false for c in condition.args]
            return bool(condition.func(*answers))
        case Relational():
            return bool(type(condition)(sympy.Integer(signs[condition.lhs - condition.rhs]), 0))
    return bool(condition)


def value_at(expression: Expr, point: Mapping[Symbol, Expr], ranges: Mapping[Symbol, Interval]) -> Expr:
    """The piecewise expression at a point; as `formula_at`."""
    return substitute(formula_at(expression, point, ranges), point)


def formula_at(expression: Expr, point: Mapping[Symbol, Expr], ranges: Mapping[Symbol, Interval]) -> Expr:
    """The formula of a piecewise expression at a point, where the piece whose condition holds there counts.

    ranges: the symbols that the point leaves free.

    Raises:
        Unsupported: which piece holds is not certain, or a number would have millions of digits.
        Undefined: what decides between the pieces divides by 0 there.
    """
    check_digits(expression, point)

    def sign_of(switch: Expr) -> int | None:
        at = sympy.simplify(substitute(switch, point))
        if at.has(sympy.nan, sympy.zoo):
            raise Undefined(f"{switch} at {point}")
        return 0 if at == 0 else _sign(at, ranges)

    return resolve(expression, _signs_on(switches_of([expression]), sign_of, ranges))


def check_digits(expression: Expr, point: Mapping[Symbol, Expr]) -> None:
    """Raises Unsupported where a power at the point would have millions of digits, which SymPy would write out."""
    for power in expression.atoms(Pow):
        exponent = substitute(power.exp, point)
        if exponent.is_Rational and max(abs(int(exponent.p)), int(exponent.q)) > MAX_EXPONENT:
            raise Unsupported(f"the power {power} at {exponent} has too many digits")
