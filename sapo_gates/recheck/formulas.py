"""From the gate's text to smooth formulas: corners resolved, derivatives."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import sympy
from sympy import Add, Dummy, Expr, Integer, Mul, Piecewise, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.spans import Undefined

CORNERS = (Piecewise, sympy.Abs, sympy.Max, sympy.Min, sympy.sign)
NOT_FINITE = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.AccumBounds)
Values = Mapping[Any, Any]
Sign = Callable[[Expr], int]
"""The sign that a smooth formula has at the places in question."""


def assigned(expression: Expr, values: Values) -> Expr:
    """The expression at these values of symbols.

    Raises:
        Undefined: an operation in it is not; SymPy would go on, and takes 1/log(0) for 0.
    """
    for node in sympy.preorder_traversal(expression) if values else ():
        if isinstance(node, Pow | sympy.Function) and substitute(cast(Expr, node), values).has(*NOT_FINITE):
            raise Undefined(f"{node} at {values}")
    return substitute(expression, values)


def piece(expression: Expr, values: Values, sign: Sign) -> Expr:
    """The smooth formula that the expression is at these values, where its corners' switches have these signs."""
    corners: dict[Any, Any] = {corner: Dummy(real=True) for corner in _outermost(expression)}
    found = assigned(substitute(expression, corners), values)
    for corner, symbol in sorted(corners.items(), key=lambda one: r in one[0].free_symbols):
        if symbol in found.free_symbols:
            found = assigned(found, {symbol: _choice(corner, lambda one: piece(one, values, sign), sign)})
        else:
            assigned(corner, values)  # times 0, which makes nothing of what is not there
    return piece(found, values, sign) if found.has(*CORNERS) else found


def _outermost(expression: Any) -> Iterator[Any]:
    if isinstance(expression, CORNERS):
        yield expression
    else:
        for part in expression.args:
            yield from _outermost(part)


def _choice(corner: Any, smooth: Callable[[Any], Any], sign: Sign) -> Expr:
    match corner:
        case Piecewise():
            try:
                return smooth(next(formula for formula, condition in corner.args if _holds(condition, smooth, sign)))
            except RecheckFailed:  # where parameters make all pieces one it does not matter which of them it is
                found = {smooth(formula) for formula, _ in corner.args}
                if len(found) > 1:
                    raise
                return found.pop()
        case sympy.Abs():
            one = smooth(corner.args[0])
            return one if sign(one) >= 0 else -one
        case sympy.sign():
            return Integer(sign(smooth(corner.args[0])))
    larger = 1 if isinstance(corner, sympy.Max) else -1
    best, *others = map(smooth, corner.args)
    for one in others:
        best = one if larger * sign(one - best) >= 0 else best
    return best


def _holds(condition: Any, smooth: Callable[[Any], Any], sign: Sign) -> bool:
    if isinstance(condition, Relational):
        difference = smooth(condition.lhs - condition.rhs)  # type: ignore[operator]
        return bool(type(condition)(Integer(sign(difference)), 0))  # type: ignore[operator]
    if not condition.args:
        return bool(condition)
    return bool(condition.func(*(_holds(part, smooth, sign) for part in condition.args)))


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


LOG_SLOPES: dict[Any, Callable[[Any], Any]] = {  # (log |f|)' for functions f, without cancelling
    sympy.exp: lambda g: Integer(1),
    sigmoid: lambda g: sigmoid(-g),
    sympy.sinh: sympy.coth,
    sympy.cosh: sympy.tanh,
    sympy.sech: lambda g: -sympy.tanh(g),
}


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
    if factor.func in LOG_SLOPES:
        return LOG_SLOPES[factor.func](factor.args[0]) * slope(factor.args[0], by)
    return slope(factor, by) / factor
