"""From the gate's text to smooth formulas: corners as pieces, which piece may hold where, derivatives."""

from collections.abc import Callable, Collection
from itertools import product
from typing import Any, cast

import sympy
from sympy import Add, Expr, Integer, Mul, Piecewise, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.spans import Span

Signs = Callable[[Expr], Collection[int]]
"""The signs that a function may have at the places in question."""


CORNERS = (Piecewise, sympy.Abs, sympy.Max, sympy.Min, sympy.sign)


def pieces(expression: Expr, signs: Signs) -> list[Expr]:
    """Every smooth formula that the expression may be, given the signs that its corners' switches may have."""
    inmost_first = sympy.postorder_traversal(expression)
    corner = next((node for node in inmost_first if isinstance(node, CORNERS)), None)
    if corner is None:
        return [expression]
    found = [substitute(expression, {corner: choice}) for choice in _choices(corner, signs)]
    return list(dict.fromkeys(piece for one in found for piece in pieces(one, signs)))


def _choices(corner: Any, signs: Signs) -> list[Expr]:
    match corner:
        case Piecewise():
            found = []
            for formula, condition in corner.args:
                truths = _truths(condition, signs)
                found += [formula] if True in truths else []
                if False not in truths:
                    return found
            raise RecheckFailed(f"no piece of {corner} may hold")
        case sympy.Abs():
            return [corner.args[0] if sign >= 0 else -corner.args[0] for sign in signs(corner.args[0])]
        case sympy.sign():
            return [Integer(sign) for sign in signs(corner.args[0])]
    larger = 1 if isinstance(corner, sympy.Max) else -1
    best = [corner.args[0]]
    for one in corner.args[1:]:
        best = [other if larger * sign >= 0 else one for other in best for sign in signs(other - one)]
    return best


def _truths(condition: Any, signs: Signs) -> set[bool]:
    if isinstance(condition, Relational):
        switch = cast(Expr, condition.lhs - condition.rhs)  # type: ignore[operator]
        return {bool(type(condition)(Integer(sign), 0)) for sign in signs(switch)}
    parts = product(*(_truths(part, signs) for part in condition.args))
    return {bool(condition.func(*part)) for part in parts} if condition.args else {bool(condition)}


def signs_in(span: Span) -> list[int]:
    """The signs of the numbers in a span."""
    is_there = {-1: span.low < 0, 0: not (span.is_positive or span.is_negative), 1: span.high > 0}
    return [sign for sign, holds in is_there.items() if holds]


def convert(kind: Kind, formula: Expr, quantity: Kind) -> Expr:
    """value, weight or score weight from one declared piece; a value only where it is declared."""
    if kind == quantity:
        return formula
    weight = slope(formula, r) if kind == "value" else formula / r if kind == "score" else formula
    assert quantity != "value"
    return weight if quantity == "weight" else r * weight


def slope(expression: Any, by: Symbol) -> Expr:
    """The derivative; 1 - tanh^2 would cancel, sech^2 does not."""
    return expression.replace(sympy.tanh, lambda g: 2 * cast(Expr, sigmoid(2 * g)) - 1).diff(by)


def log_slope(factor: Any, by: Symbol) -> Expr:
    """(log |e|)' by factors; holds where no factor is 0."""
    if by not in factor.free_symbols:
        return Integer(0)
    match factor:
        case Mul():
            return Add(*(log_slope(one, by) for one in factor.args))
        case Pow() if by not in factor.exp.free_symbols:
            return factor.exp * log_slope(factor.base, by)
        case Pow():
            return slope(factor.exp * sympy.log(factor.base), by)
        case sympy.exp():
            return slope(factor.args[0], by)
        case sigmoid():
            return cast(Expr, sigmoid(-cast(Expr, factor.args[0]))) * slope(factor.args[0], by)
        case sympy.sinh():
            return sympy.coth(factor.args[0]) * slope(factor.args[0], by)
        case sympy.sech() | sympy.cosh():
            rate = sympy.tanh(factor.args[0]) * slope(factor.args[0], by)
            return -rate if isinstance(factor, sympy.sech) else rate
    return slope(factor, by) / factor


def slope_by_terms(expression: Expr, by: Symbol) -> Expr:
    """The derivative as a sum of term * (log term)'."""
    return Add(*(term * log_slope(term, by) for term in Add.make_args(expression)))
