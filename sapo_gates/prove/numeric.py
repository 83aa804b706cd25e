"""One sign of A at fixed parameters: sections on which f, w and phi are expressions in one variable.

A weight in log r is described by t = log r, where it is simple; every other section keeps its own coordinate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from math import inf
from typing import cast

import sympy
from sympy import Expr, Rational, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import r, sigmoid, substitute, z
from sapo_gates.gate import Gate, Parameter
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.curves import Curve
from sapo_gates.prove.forms import SECONDS, SYMPY_GIVES_UP, is_identity, normal, tamed
from sapo_gates.prove.removable import MAX_ORDER, as_fraction
from sapo_gates.prove.sections import Branch, Section, branches_of, in_x
from sapo_gates.timelimit import OutOfTime, within
from sapo_gates.verdict import Sign

Values = Mapping[Parameter, Rational]


@dataclass(frozen=True, eq=False)
class Numeric:
    """A branch without parameters, and its sections from left to right."""

    gate: Gate
    side: Sign
    values: Values

    @cached_property
    def branch(self) -> Branch:
        """The branch in the chart x = r.

        Raises:
            Unsupported: a corner that cannot be placed.
        """
        (branch,) = branches_of(self.gate.kind, substitute(self.gate.declared(self.side), self.values), {}, ())
        sections = [self._shortened(branch, section) for section in branch.sections]
        return replace(branch, sections=tuple(_tidied(_in_log(section)) for section in sections))

    @cached_property
    def symbolic(self) -> "Symbolic | None":
        """The same branch with its parameters left in."""
        return Symbolic.of(self.gate, self.side, self.values)

    def _shortened(self, branch: Branch, section: Section) -> Section:
        """The weight in the short form that it has in the symbolic chart: softsign's is (1 + u^2)^(-3/2) there."""
        symbolic = self.symbolic
        if symbolic is None or len(symbolic.branch.sections) != len(branch.sections):
            return section
        twin = symbolic.branch.sections[branch.sections.index(section)]
        in_ratio = substitute(symbolic.in_ratio(twin, tamed(normal, twin.weight)), self.values)
        short = substitute(in_ratio, {r: section.position})
        return replace(section, weight=short) if sympy.count_ops(short) < sympy.count_ops(section.weight) else section

    @property
    def sections(self) -> tuple[Section, ...]:
        """From left to right."""
        return self.branch.sections

    @property
    def left(self) -> list[Section]:
        """Those below r = 1, walking away from it."""
        return [section for section in reversed(self.sections) if section.side == "left"]

    @property
    def right(self) -> list[Section]:
        """Those above r = 1, walking away from it."""
        return [section for section in self.sections if section.side == "right"]

    def curve(self, section: Section, expression: Expr, over: Expr = sympy.S.One, order: int = 0) -> Curve:
        """The quotient on the section; both parts vanish to that order at the section's inner end."""
        filled = _removable(section, expression, over)
        return Curve.of(self.branch, section, *(filled or (expression, over, order)))

    @cached_property
    def values_by_section(self) -> tuple[Expr | None, ...]:
        """f on every section: as declared, or the integral of w with f(1) = 1, checked by its derivative; else None."""
        if self.gate.kind == "value":
            return tuple(section.value for section in self.sections)
        found: dict[int, Expr | None] = {}
        for walk, inner, outer in ((self.right, "lower", "upper"), (self.left, "upper", "lower")):
            start: Expr | None = sympy.Integer(1)
            for section in walk:
                primitive = None if start is None else _primitive(section, inner)
                found[self.sections.index(section)] = None if primitive is None or start is None else start + primitive
                at = getattr(section, f"t_{outer}")
                start = None
                if primitive is not None and isinstance(at, Fraction):
                    start = found[self.sections.index(section)]
                    assert start is not None
                    start = substitute(start, {section.t: Rational(at.numerator, at.denominator)})
        return tuple(found[i] for i in range(len(self.sections)))


def _removable(section: Section, expression: Expr, over: Expr) -> tuple[Expr, Expr, int] | None:
    """expression / over as one fraction, with the order of its zeros, if the expression is 0/0 at the inner end."""
    at = section.t_lower if section.side == "right" else section.t_upper
    if not isinstance(at, Fraction):
        return None
    point = Rational(at.numerator, at.denominator)
    if not substitute(expression, {section.t: point}).has(sympy.nan):
        return None
    top, bottom = as_fraction(expression)
    order = _zeros(bottom * over, section.t, point)
    return (top, bottom * over, order) if 0 < order <= _zeros(top, section.t, point) else None


def _zeros(expression: Expr, t: Symbol, point: Expr) -> int:
    """How many Taylor coefficients there are exactly 0; at most MAX_ORDER are looked at."""
    for order in range(MAX_ORDER):
        here = substitute(expression, {t: point})
        if here.has(sympy.nan, sympy.zoo) or not is_identity(here, sympy.Integer(0)):
            return order
        expression = derivative(expression, t)
    return MAX_ORDER


def shortened(section: Section, expression: Expr) -> Expr:
    """A rational function factored, where that is shorter: factors in common cancel, but powers are not expanded."""
    if not expression.is_rational_function(section.t):
        return expression
    factored = sympy.factor(expression)
    return factored if sympy.count_ops(factored) <= sympy.count_ops(expression) else expression


def by_ratio(section: Section, expression: Expr) -> Expr:
    """The derivative by r of an expression in t."""
    return derivative(expression, section.t) / derivative(section.position, section.t)


def by_log_ratio(section: Section, expression: Expr) -> Expr:
    """The derivative by z = log r of an expression in t."""
    rate = sympy.cancel(section.position / derivative(section.position, section.t))
    return rate * derivative(expression, section.t)


def in_ratio(section: Section, expression: Expr) -> Expr:
    """An expression in t as one in r."""
    if section.t == z:
        return substitute(expression, {z: sympy.log(r)})
    offset = substitute(section.position, {section.t: sympy.Integer(0)})
    return substitute(expression, {section.t: (r - offset) / derivative(section.position, section.t)})


def _in_log(section: Section) -> Section:
    """In t = log r, if f or w is a function of log r and the ends stay rational."""
    ends = {sympy.Integer(0): -inf, sympy.Integer(1): Fraction(0), sympy.oo: inf}
    formulas = [section.weight] + ([] if section.value is None else [section.value])
    if section.t != r or not any(f.has(sympy.log) for f in formulas) or not {section.lower, section.upper} <= set(ends):
        return section
    moved = {r: sympy.exp(z)}
    return replace(
        section,
        t=z,
        position=sympy.exp(z),
        t_lower=ends[section.lower],
        t_upper=ends[section.upper],
        weight=substitute(section.weight, moved),
        value=None if section.value is None else substitute(section.value, moved),
    )


def _tidied(section: Section) -> Section:
    """The weight with its rational parts factored: a moved section spells t (2 - t) as 1 - 100 (t/10 - 1/10)^2."""
    x = sympy.Wild("x")
    section = replace(section, weight=section.weight.replace(1 - sigmoid(x), sigmoid(-x)))  # 1 - sigma(x) cancels
    if section.t in (r, z):
        return section
    t = section.t
    weight = section.weight
    try:  # only rational parts are factored, so that an exponential cannot explode
        short = within(SECONDS, lambda: weight.replace(lambda a: a.is_Add and a.is_rational_function(t), sympy.factor))
    except (OutOfTime, *SYMPY_GIVES_UP):
        return section
    is_short = sympy.count_ops(short) <= sympy.count_ops(section.weight) + 8
    return replace(section, weight=short) if is_short else section


def _primitive(section: Section, inner: str) -> Expr | None:
    """The integral of w dr from the section's inner end, confirmed: its derivative is w dr/dt, identically."""
    integrand = section.weight * derivative(section.position, section.t)
    at = getattr(section, f"t_{inner}")
    if not (_is_elementary(integrand, section.t) and isinstance(at, Fraction)):
        return None
    # rational functions and roots by the general method, exponentials of quadratics by rules: each is quick there
    by_rules = bool(integrand.atoms(sympy.Function))
    found = tamed(lambda e: sympy.integrate(e, section.t, manual=by_rules or None), integrand)
    if found.has(sympy.Integral, sympy.Piecewise, sympy.I):
        return None
    try:
        if not is_identity(derivative(found, section.t), integrand):
            return None
    except (TypeError, ValueError, NotImplementedError):
        return None
    start = substitute(found, {section.t: Rational(at.numerator, at.denominator)})
    return None if start.has(sympy.nan, sympy.zoo, sympy.oo) else found - start


def _is_elementary(expression: Expr, t: Symbol) -> bool:
    """A sum of polynomials times exp of a quadratic, sin or cos; or a rational function; or a power of one quadratic.

    On others SymPy searches for seconds, mostly in vain.
    """
    functions = expression.atoms(sympy.Function)
    if not functions:
        roots = [p for p in expression.atoms(sympy.Pow) if not p.exp.is_Integer and t in p.free_symbols]
        return all(p.exp.is_Rational and p.base.is_polynomial(t) and sympy.degree(p.base, t) <= 2 for p in roots)
    if not all(isinstance(f, sympy.exp | sympy.sin | sympy.cos) and f.args[0].is_polynomial(t) for f in functions):
        return False
    quadratic = all(sympy.degree(f.args[0], t) <= (2 if isinstance(f, sympy.exp) else 1) for f in functions)
    plain = substitute(expression, {f: sympy.Dummy() for f in functions})
    return quadratic and plain.is_polynomial(t)


@lru_cache(maxsize=64)
def _branches(gate: Gate, side: Sign) -> tuple[Branch, ...]:
    """None where the corners cannot be placed for all parameters at once."""
    try:
        return branches_of(gate.kind, gate.declared(side), {p: p.domain for p in gate.parameters_for(side)})
    except Unsupported:
        return ()


@dataclass(frozen=True, eq=False)
class Symbolic:
    """The same branch with its parameters left in: for closed forms and for what scales with tau."""

    branch: Branch
    trained: Values

    @staticmethod
    def of(gate: Gate, side: Sign, values: Values) -> "Symbolic | None":
        """The cell of the parameter domain in which the values lie, or None if the corners cannot be placed there."""
        for branch in _branches(gate, side):
            if all(values[p] in domain for p, domain in branch.all_domains.items() if isinstance(p, Parameter)):
                return Symbolic(branch, values)
        return None

    @property
    def scale(self) -> Parameter | None:
        """The tau for which w is a function of tau (r - 1) alone, besides other parameters."""
        return self.branch.chart.parameter if self.branch.chart.kind == "scaled" else None

    def in_ratio(self, section: Section, expression: Expr) -> Expr:
        """An expression in t as one in r and the parameters."""
        chart = self.branch.chart
        return substitute(in_x(self.branch, section, expression), {chart.x: chart.of_ratio})

    def scaled(self) -> "tuple[Branch, Sequence[Section]] | None":
        """The sections in u = tau (r - 1) over all real u, with every other parameter at its value."""
        if self.scale is None:
            return None
        others = {p: v for p, v in self.trained.items() if p != self.scale}
        sections = []
        for section in self.branch.sections:
            placed = {name: substitute(getattr(section, name), others) for name in ("position", "weight")}
            if not placed["weight"].free_symbols | placed["position"].free_symbols <= {section.t}:
                return None
            sections.append(replace(section, **placed, value=None))
        return replace(self.branch, domains={}, eliminated={}), sections


def solutions(expression: Expr, level: Expr, x: Symbol) -> list[Expr]:
    """Candidates for every x with expression = level: by inverting one function after another, or roots of a quadratic.

    Nothing is promised: whoever uses one checks it.
    """
    reached = _peeled(expression, level, x)
    if reached is not None:
        return reached
    numerator, _ = sympy.fraction(sympy.together(expression - level))
    if not numerator.is_polynomial(x) or not 1 <= sympy.degree(numerator, x) <= 2:
        return []
    a, b, c = (sympy.Poly(numerator, x).coeff_monomial(x**k) for k in (2, 1, 0))
    if a == 0:
        return [-c / b]
    root = sympy.sqrt(sympy.factor(b**2 - 4 * a * c))
    return [sympy.simplify((-b + sign * root) / (2 * a)) for sign in (1, -1)]


def _peeled(expression: Expr, level: Expr, x: Symbol) -> list[Expr] | None:
    """c F(g(x)) = level as g(x) = F^-1(level/c), repeatedly; None where it gets stuck."""
    factor, inner = expression.as_independent(x, as_Add=False)
    level, expression = level / factor, inner
    constant, inner = expression.as_independent(x, as_Add=True)
    if constant != 0:
        return _peeled(inner, level - constant, x)
    match expression:
        case Symbol():
            return [level]
        case sympy.Pow() if x not in expression.exp.free_symbols:
            roots = [level ** (1 / expression.exp)]
            roots += [-roots[0]] if expression.exp.is_even else []
        case sympy.exp():
            roots = [sympy.log(level)]
        case sympy.sech():
            roots = [sympy.acosh(1 / level), -sympy.acosh(1 / level)]
        case sympy.log():
            roots = [sympy.exp(level)]
        case sympy.Mul():
            return _product_log(expression, level, x)
        case _:
            return None
    inside = cast(Expr, expression.args[0])
    found = [_peeled(inside, root, x) for root in roots]
    return None if any(one is None for one in found) else [e for one in found if one is not None for e in one]


def _product_log(expression: Expr, level: Expr, x: Symbol) -> list[Expr] | None:
    """x^a e^(b x + c) = level by Lambert's W, both real branches."""
    exponent = sympy.expand_log(sympy.log(expression), force=True)
    a = exponent.coeff(sympy.log(x))
    linear = sympy.expand(exponent - a * sympy.log(x))
    if a == 0 or not linear.is_polynomial(x) or sympy.degree(linear, x) != 1:
        return None
    b, c = linear.coeff(x, 1), linear.coeff(x, 0)
    inner = b / a * (level * sympy.exp(-c)) ** (1 / a)
    return [a / b * sympy.LambertW(inner, branch) for branch in (0, -1)]
