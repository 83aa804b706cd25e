"""From the one declared formula to the two others: value f, weight w = df/dr, score weight phi = r w."""

import sympy
from sympy import Abs, Expr, Max, Min, Piecewise, log, sign, tanh

from sapo_gates.functions import r, sigmoid, z
from sapo_gates.gate import Gate, Kind
from sapo_gates.verdict import Sign


def formula(gate: Gate, side: Sign, quantity: Kind) -> Expr | None:
    """The value, weight or score weight of one branch as an expression in r and the parameters.

    Abs, sign, Min and Max appear as Piecewise, so that the result can be differentiated piece by piece; at a
    breakpoint the piece whose condition holds counts. None where a value would need an integral without closed form
    (gates declared by weight or score weight); its constant is chosen so that f(1) = 1.
    """
    return declared_formula(gate.kind, gate.declared(side), quantity)


def declared_formula(kind: Kind, declared: Expr, quantity: Kind) -> Expr | None:
    """The same for a bare expression of the given kind."""
    expression = smooth_pieces(declared)
    if kind == quantity:
        return expression
    if kind == "value":
        weight = derivative(expression, r)
    else:
        weight = expression / r if kind == "score" else expression
        if quantity == "value":
            return _antiderivative(weight)
    return weight if quantity == "weight" else r * weight


def smooth_pieces(expression: Expr) -> Expr:
    """The expression in r alone, with every corner spelled as a Piecewise."""
    expression = expression.subs(z, log(r))
    for corner, spelled in (
        (Max, lambda *a: _extreme(a, larger=True)),
        (Min, lambda *a: _extreme(a, larger=False)),
        (Abs, lambda a: Piecewise((a, a >= 0), (-a, True))),
        (sign, lambda a: Piecewise((sympy.Integer(1), a > 0), (sympy.Integer(-1), a < 0), (sympy.Integer(0), True))),
    ):
        expression = expression.replace(corner, spelled)
    return expression


def _extreme(arguments: tuple[Expr, ...], *, larger: bool) -> Expr:
    chosen = arguments[0]
    for other in arguments[1:]:
        chosen = Piecewise((chosen, chosen >= other if larger else chosen <= other), (other, True))
    return chosen


def derivative(expression: Expr, by: sympy.Symbol) -> Expr:
    """The derivative, inside every piece.

    tanh(g) is taken as 2 sigma(2g) - 1, whose derivative sech^2 has no cancellation: 1 - tanh^2 would have one.
    """
    return expression.replace(tanh, lambda g: 2 * sigmoid(2 * g) - 1).diff(by)


def _antiderivative(weight: Expr) -> Expr | None:
    """The f with f' = w and f(1) = 1, or None where sympy has no closed form."""
    try:
        primitive = sympy.integrate(weight, r)
    except (NotImplementedError, ValueError, TypeError):
        return None
    if primitive.has(sympy.Integral) or primitive.subs(r, 1).has(sympy.nan, sympy.zoo):
        return None
    return 1 + primitive - primitive.subs(r, 1)
