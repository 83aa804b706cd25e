"""From the gate's text to smooth formulas: corners resolved, derivatives."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import sympy
from sympy import Add, Dummy, Expr, Integer, Mul, Piecewise, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, sigmoid, substitute, z
from sapo_gates.gate import Kind
from sapo_gates.recheck.spans import Undefined

CORNERS = (Piecewise, sympy.Abs, sympy.Max, sympy.Min, sympy.sign)
NOT_FINITE = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.AccumBounds)
Values = Mapping[Any, Any]


class Signs(Protocol):
    """What is known where a text is read: at some ratios and parameter values."""

    def sign(self, formula: Expr) -> int:
        """The sign that a smooth formula has there."""
        ...

    def exists(self, operation: Expr) -> None:
        """RecheckFailed unless the operation is shown to be defined there, but at isolated ratios."""
        ...


def operations(expression: Any) -> dict[Any, None]:
    """What may be undefined in it, each once, the outer ones first; sums and products of what is defined are."""
    return dict.fromkeys(
        node for node in sympy.preorder_traversal(expression) if isinstance(node, Pow | sympy.Function)
    )


def lost(expression: Expr, values: Values, found: Expr) -> set[Any]:
    """What operations in it become at these values of symbols, if that is no longer in the expression found."""
    return {substitute(node, values) for node in operations(expression)} - operations(found).keys()


def assigned(expression: Expr, values: Values) -> Expr:
    """The expression at these values of symbols.

    Raises:
        Undefined: an operation in it is not; SymPy would go on, and takes 1/log(0) for 0.
    """
    for node in operations(expression) if values else ():
        if substitute(node, values).has(*NOT_FINITE):
            raise Undefined(f"{node} at {values}")
    return substitute(expression, values)


def piece(expression: Expr, values: Values, at: Signs) -> Expr:
    """The smooth formula that the expression is at these values of symbols, read there.

    What vanishes on the way has to exist, as log(r - 5) in (tau - 1) log(r - 5) at tau = 1, but for what is times a
    corner that is 0.
    """
    corners: dict[Any, Any] = {corner: Dummy(real=True) for corner in _outermost(expression)}
    plain = substitute(expression, corners)
    found = assigned(plain, values)
    missing = lost(plain, values, found)
    choices: dict[Any, Any] = {}
    gone = [symbol for symbol in corners.values() if symbol not in found.free_symbols]
    for corner, symbol in sorted(corners.items(), key=lambda one: not one[0].free_symbols.isdisjoint((r, z))):
        if symbol in found.free_symbols or symbol in gone:
            choices[symbol] = choice = _choice(corner, lambda one: piece(one, values, at), at)
            found = assigned(found, {symbol: choice})
            missing |= lost(choice, {}, found)
    for node in missing:
        at.exists(substitute(node, choices))
    return piece(found, values, at) if found.has(*CORNERS) else found


def _outermost(expression: Any) -> Iterator[Any]:
    if isinstance(expression, CORNERS):
        yield expression
    else:
        for part in expression.args:
            yield from _outermost(part)


def _choice(corner: Any, smooth: Callable[[Any], Any], at: Signs) -> Expr:
    match corner:
        case Piecewise():
            try:
                return smooth(next(formula for formula, condition in corner.args if _holds(condition, smooth, at)))
            except RecheckFailed:  # where parameters make all pieces one it does not matter which of them it is
                found = {smooth(formula) for formula, _ in corner.args}
                if len(found) > 1:
                    raise
                return found.pop()
        case sympy.Abs():
            one = smooth(corner.args[0])
            return one if at.sign(one) >= 0 else -one
        case sympy.sign():
            return Integer(at.sign(smooth(corner.args[0])))
    larger = 1 if isinstance(corner, sympy.Max) else -1
    best, *others = map(smooth, corner.args)
    for one in others:
        best = one if larger * at.sign(one - best) >= 0 else best
    return best


def _holds(condition: Any, smooth: Callable[[Any], Any], at: Signs) -> bool:
    if isinstance(condition, Relational):
        left, right = map(smooth, condition.args)
        for node in lost(left, {}, left - right) | lost(right, {}, left - right):
            at.exists(node)
        return bool(type(condition)(Integer(at.sign(left - right)), 0))  # type: ignore[operator]
    if not condition.args:
        return bool(condition)
    return bool(condition.func(*(_holds(part, smooth, at) for part in condition.args)))


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
