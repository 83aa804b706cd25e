"""From the gate's text to smooth formulas: corners resolved, derivatives."""

from collections.abc import Callable
from typing import Any, cast

import sympy
from sympy import Add, Expr, Integer, Mul, Piecewise, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.gate import Kind

Sign = Callable[[Expr], int]
"""The sign that a function has at the places in question."""
CORNERS = (Piecewise, sympy.Abs, sympy.Max, sympy.Min, sympy.sign)


def piece(expression: Expr, sign: Sign) -> Expr:
    """The smooth formula that the expression is where its corners' switches have these signs."""
    inmost_first = sympy.postorder_traversal(expression)
    corner: Any = next((node for node in inmost_first if isinstance(node, CORNERS)), None)
    if corner is None:
        return expression
    return piece(substitute(expression, {corner: _choice(corner, sign)}), sign)


def _choice(corner: Any, sign: Sign) -> Expr:
    match corner:
        case Piecewise():
            return next(formula for formula, condition in corner.args if _holds(condition, sign))
        case sympy.Abs():
            return corner.args[0] if sign(corner.args[0]) >= 0 else -corner.args[0]
        case sympy.sign():
            return Integer(sign(corner.args[0]))
    best, larger = corner.args[0], 1 if isinstance(corner, sympy.Max) else -1
    for one in corner.args[1:]:
        best = one if larger * sign(one - best) >= 0 else best
    return best


def _holds(condition: Any, sign: Sign) -> bool:
    if isinstance(condition, Relational):
        return bool(type(condition)(Integer(sign(cast(Expr, condition.lhs - condition.rhs))), 0))  # type: ignore[operator]
    return (
        bool(condition.func(*(bool(_holds(part, sign)) for part in condition.args)))
        if condition.args
        else bool(condition)
    )


def convert(kind: Kind, formula: Expr, quantity: Kind) -> Expr:
    """value, weight or score weight from one declared piece; a value only where it is declared."""
    if kind == quantity:
        return formula
    weight = slope(formula, r) if kind == "value" else formula / r if kind == "score" else formula
    assert quantity != "value"
    return weight if quantity == "weight" else r * weight


def slope(expression: Any, by: Symbol) -> Expr:
    """The derivative; sums and products by their rules, functions by SymPy's table."""
    if expression == by:
        return Integer(1)
    if by not in expression.free_symbols:
        return Integer(0)
    slopes = [slope(one, by) for one in expression.args]
    match expression:
        case Add():
            return Add(*slopes)
        case Mul():
            factors = expression.args
            return Add(*(Mul(*factors[:k], one, *factors[k + 1 :]) for k, one in enumerate(slopes) if one != 0))
        case Pow() if isinstance(expression.exp, sympy.Rational):
            return expression.exp * expression.base ** (expression.exp - 1) * slopes[0]
        case Pow():
            return expression * (slopes[1] * sympy.log(expression.base) + expression.exp * slopes[0] / expression.base)
        case sympy.tanh():  # 1 - tanh^2 would cancel
            return sympy.sech(expression.args[0]) ** 2 * slopes[0]
    return Add(*(expression.fdiff(k) * one for k, one in enumerate(slopes, start=1) if one != 0))


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
