"""Piecewise formulas over boxes without placing their corners: every piece that may hold there counts."""

from collections.abc import Mapping
from typing import Any, cast

import sympy
from sympy import Expr, Piecewise, Symbol
from sympy.core.relational import Relational

from sapo_gates.functions import substitute
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.interval import Interval, Undefined

Ranges = Mapping[Symbol, Interval]


def possible(expression: Expr, ranges: Ranges | None) -> list[Expr]:
    """Every formula that the expression may be at some point of the box; of all points, without ranges."""
    piecewise = next((node for node in sympy.preorder_traversal(expression) if isinstance(node, Piecewise)), None)
    if piecewise is None:
        return [expression]
    found: list[Expr] = []
    for piece, condition in cast(Any, piecewise).args:
        holds = _holds(condition, ranges)
        if holds is not False:
            found += possible(substitute(expression, {piecewise: piece}), ranges)
        if holds:
            break
    return list(dict.fromkeys(found))


def images(expression: Expr, ranges: Ranges) -> list[Interval]:
    """The range of each of them.

    Raises:
        Undefined: one is not enclosed.
    """
    return [compiled(piece)(ranges) for piece in possible(expression, ranges)]


def _holds(condition: Any, ranges: Ranges | None) -> bool | None:
    """Whether a condition holds on the whole box, nowhere on it, or neither is certain."""
    match condition:
        case sympy.And() | sympy.Or():
            decisive = isinstance(condition, sympy.Or)
            answers = [_holds(part, ranges) for part in condition.args]
            if decisive in answers:
                return decisive
            return None if None in answers else not decisive
        case sympy.Not():
            inner = _holds(condition.args[0], ranges)
            return None if inner is None else not inner
        case sympy.ITE():
            which, *ways = condition.args
            chosen = _holds(which, ranges)
            if chosen is not None:
                return _holds(ways[0 if chosen else 1], ranges)
            answers = {_holds(way, ranges) for way in ways}
            return answers.pop() if len(answers) == 1 else None
        case Relational():
            if ranges is None:
                return None
            difference = cast(Expr, condition.lhs) - condition.rhs
            for form in dict.fromkeys((difference, sympy.expand(difference))):  # either may be the better enclosed
                try:
                    answers = {_compares(type(condition), one) for one in images(form, ranges)}
                except Undefined:
                    continue
                if len(answers) == 1 and None not in answers:
                    return answers.pop()
            return None
    return bool(condition) if condition in (sympy.true, sympy.false) else None


def _compares(relation: Any, found: Interval) -> bool | None:
    """Whether x > 0 (or <, <=, >=) for all or for no x of the range."""
    greater = relation in (sympy.GreaterThan, sympy.StrictGreaterThan)
    x = found if greater else -found
    if relation in (sympy.StrictGreaterThan, sympy.StrictLessThan):
        return True if x.is_positive else False if x.is_nonpositive else None
    return True if x.is_nonnegative else False if x.is_negative else None
