"""Is a quantity bounded near r = 0 and near r = oo?

Near 0: in the scaled chart r = 0 is u = -tau, a point inside the real line on which the weight is proved continuous, so
nothing is left to show. In the other charts the limit from inside is enclosed. Near oo: the limit, or, for a value that
is only known as the integral of w, that phi falls at least like a negative power of r.
"""

from collections.abc import Sequence

import sympy
from sympy import Add, Expr

from sapo_gates.prove.case import Case, Settled, first_open
from sapo_gates.prove.forms import forms_of
from sapo_gates.prove.interval import Undefined
from sapo_gates.prove.joins import Quantity, joins_of
from sapo_gates.prove.limits import TO_MINUS_INFINITY, ZERO_FROM_ABOVE, limit
from sapo_gates.prove.sections import Branch
from sapo_gates.prove.tails import Tail, limits_at_infinity

Terms = list[dict[str, str]]
"""The terms of a quantity, each with the rule that says where it goes and the form that shows it."""


def near_zero(branch: Branch, factor: Expr, expression: Expr) -> Terms | None:
    """Evidence that factor * expression, in the first section's t, is bounded as r -> 0; None if that is not shown."""
    section = branch.sections[0]
    if branch.chart.kind == "scaled":
        return []
    end = ZERO_FROM_ABOVE if branch.chart.kind == "ratio" else TO_MINUS_INFINITY
    tail = Tail(branch, section)
    for form in forms_of(factor * expression):
        try:
            if not limit(form, section.t, end, tail.ranges).infinite:
                return [{"term": sympy.sstr(expression), "rule": "limit", "form": sympy.sstr(form)}]
        except Undefined:
            continue
    return None


def integrable_near_zero(branch: Branch) -> Terms | None:
    """Evidence that f, known as the integral of w, is bounded as r -> 0: w is, or phi falls like a power of r."""
    section = branch.sections[0]
    found = near_zero(branch, sympy.Integer(1), section.weight)
    if found is not None or section.weight == 0:
        return found
    end = ZERO_FROM_ABOVE if branch.chart.kind == "ratio" else TO_MINUS_INFINITY
    tail = Tail(branch, section)
    for form in forms_of(tail.score_slope(section.weight)):
        try:
            if limit(form, section.t, end, tail.ranges).is_away_from_zero > 0:
                return [{"term": sympy.sstr(section.weight), "rule": "slope", "form": sympy.sstr(form)}]
        except Undefined:
            continue
    return None


def limit_near_infinity(branch: Branch, factor: Expr, expression: Expr) -> Terms | None:
    """Evidence that factor * expression, in the last section's t, has a finite limit as r -> oo."""
    tail = Tail(branch, branch.sections[-1])
    found = next(limits_at_infinity(factor * expression, tail.section.t, tail.ranges), None)
    if found is None or found[0].infinite:
        return None
    return [{"term": sympy.sstr(expression), "rule": "limit", "form": sympy.sstr(found[1])}]


def vanishes_near_infinity(branch: Branch, *, integrably: bool) -> Terms | None:
    """Evidence that phi -> 0 as r -> oo, term by term; integrably: like a power of r, so that f has a limit."""
    tail = Tail(branch, branch.sections[-1])
    for form in forms_of(tail.section.weight):
        rules = [tail.rule(term, integrably=integrably) for term in Add.make_args(form) if term != 0]
        if all(rule is not None for rule in rules):
            return [rule for rule in rules if rule is not None]
    return None


def open_inside(case: Case, quantity: Quantity, settled: Sequence[Settled]) -> str | None:
    """Where the quantity is not shown to be continuous inside a section, or to have finite limits at a breakpoint."""
    left = first_open(settled)
    if left is not None:
        return left
    for join in (join for branch in case.branches for join in joins_of(branch, quantity)):
        if any(side.expression is None and (side.limit is None or side.limit.infinite) for side in join.sides):
            return f"a one-sided limit at {join.place} is not known to be finite"
    return None
