"""From the one declared formula to the two others: value f, weight w = df/dr, score weight phi = r w."""

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, cast

import mpmath
import sympy
from sympy import Abs, Add, And, Expr, Integer, Max, Min, Mul, Not, Or, Piecewise, Pow, exp, log, sech, sign, tanh
from sympy.core.relational import Relational

from sapo_gates.functions import ELEMENTARY, r, sigmoid, z
from sapo_gates.gate import Gate, Kind
from sapo_gates.timelimit import OutOfTime, interrupted
from sapo_gates.verdict import Sign

HANG = 60.0
"""Seconds after which sympy is taken to hang."""


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


CORNERS = (Piecewise, Abs, Max, Min, sign)
"""What has corners."""


def smooth_pieces(expression: Expr) -> Expr:
    """The expression in r alone, with every corner spelled as a Piecewise."""
    return _spelled(expression.subs(z, log(r)))


@cache
def _spelled(expression: Any) -> Any:
    if not expression.has(*CORNERS):
        return expression
    parts = [_spelled(part) for part in expression.args]
    match expression:
        case Max() | Min():
            return _extreme(parts, larger=isinstance(expression, Max))
        case Abs():
            return Piecewise((parts[0], _decided(parts[0] >= 0)), (-parts[0], True))
        case sign():
            signs = (sympy.Integer(1), parts[0] > 0), (sympy.Integer(-1), parts[0] < 0), (sympy.Integer(0), sympy.true)
            return Piecewise(*((number, _decided(condition)) for number, condition in signs))
        case Relational():
            return _decided(expression.func(*parts))
    return expression.func(*parts)


def _extreme(arguments: Sequence[Expr], *, larger: bool) -> Expr:
    chosen = arguments[0]
    for other in arguments[1:]:
        chosen = Piecewise((chosen, _decided(chosen >= other if larger else chosen <= other)), (other, True))
    return chosen


def _decided(relation: Any) -> Any:
    """A comparison of pieces as one of what they are, where they hold: SymPy would look for the set where it does."""
    piecewise = next((node for node in sympy.preorder_traversal(relation) if isinstance(node, Piecewise)), None)
    if piecewise is None:
        return relation
    ways, before = [], sympy.true
    for piece, condition in cast(Any, piecewise).args:
        ways.append(And(before, condition, _decided(relation.xreplace({piecewise: piece}))))
        before = And(before, Not(condition))
    return Or(*ways)


@lru_cache(maxsize=4096)
def derivative(expression: Any, by: sympy.Symbol) -> Expr:
    """The derivative, inside every piece; node by node, which takes a quarter of the time of sympy's own.

    That of tanh is sech^2, which has no cancellation: 1 - tanh^2 would have one.
    """
    if expression == by:
        return Integer(1)
    if by not in expression.free_symbols:
        return Integer(0)
    if isinstance(expression, Piecewise):
        return Piecewise(*((derivative(piece, by), condition) for piece, condition in cast(Any, expression).args))
    slopes = [derivative(part, by) for part in expression.args]
    match expression:
        case Add():
            return Add(*slopes)
        case Mul():
            parts = expression.args
            return Add(*(Mul(*parts[:k], one, *parts[k + 1 :]) for k, one in enumerate(slopes) if one != 0))
        case Pow() if expression.exp.is_number:
            return expression.exp * expression.base ** (expression.exp - 1) * slopes[0]
        case Pow():
            return expression * (slopes[1] * log(expression.base) + expression.exp * slopes[0] / expression.base)
        case tanh():
            return sech(expression.args[0]) ** 2 * slopes[0]
    return Add(*(expression.fdiff(k) * one for k, one in enumerate(slopes, start=1) if one != 0))


def _by_tables(weight: Expr) -> Expr:
    bells = weight.replace(_is_bell, lambda e: 4 * exp(2 * e.base.args[0]) / (1 + exp(2 * e.base.args[0])) ** 2)
    risch = False if bells == weight else None  # quick where exponentials are all there is, endless elsewhere
    primitive = sympy.integrate(bells, r, risch=risch, heurisch=False)
    return primitive.replace(_is_logistic, lambda e: sigmoid(-_exponent(e)))


def _is_bell(e: Any) -> bool:
    """sech^2 of something linear, which sympy integrates in exponentials only."""
    return e.is_Pow and e.exp == 2 and isinstance(e.base, sech) and not e.base.args[0].diff(r).has(r)


def _is_logistic(e: Any) -> bool:
    """1/(1 + e^u)."""
    return e.is_Pow and e.exp == -1 and e.base.is_Add and isinstance(e.base - 1, exp)


def _exponent(logistic: Any) -> Expr:
    return (logistic.base - 1).args[0]


def _by_hand(weight: Expr) -> Expr:
    return sympy.integrate(weight, r, manual=True)


def _in_log_ratio(weight: Expr) -> Expr:
    score: Any = sympy.powsimp(weight.subs(r, exp(z)) * exp(z))
    return sympy.integrate(score, z, risch=False, heurisch=False).subs(z, log(r))


_WAYS = (_by_tables, _by_hand, _in_log_ratio)
"""Of integrating, in this order; none of them searches, so that each ends within some seconds."""


@cache
def _antiderivative(weight: Expr) -> Expr | None:
    """The f with f' = w and f(1) = 1, or None where sympy finds no closed form that passes a check by quadrature.

    What is found does not depend on how fast the machine is.
    """
    ways = _WAYS if weight.has(log) else _WAYS[:2]
    for way in ways if _is_promising(weight) else ():
        try:
            primitive = interrupted(HANG, lambda way=way: way(weight))
            value = 1 + primitive - primitive.subs(r, 1)
            functions = {function.func.__name__ for function in value.atoms(sympy.Function)}
            foreign = value.has(sympy.Integral, sympy.nan, sympy.zoo, sympy.I) or not functions <= {*ELEMENTARY}
            if not foreign and interrupted(HANG, lambda value=value: _integrates(value, weight)):
                return value
        except (OutOfTime, NotImplementedError, ValueError, TypeError, ArithmeticError, AttributeError):
            continue
    return None


def _is_promising(weight: Any) -> bool:
    """Whether every term is rational in one function of r, or in several of something linear.

    On products of others, such as sech(r)/sqrt(1 + r^2), sympy spends a minute to find nothing.
    """
    if isinstance(weight, Piecewise):
        return all(_is_promising(piece) for piece, _ in weight.args)
    if weight.is_Add:
        return all(_is_promising(term) for term in weight.args)
    functions = _functions(weight)
    return len(functions) <= 1 or all(f.is_Function and not f.args[0].diff(r).has(r) for f in functions)


def _functions(e: Any) -> set[Any]:
    """The outermost functions and broken powers of r in a term."""
    if isinstance(e, Piecewise):
        return set().union(*(_functions(piece) for piece, _ in e.args))
    if not e.has(r) or (e.is_Pow and e.base == r):
        return set()
    broken = e.is_Pow and not e.exp.is_Integer
    return {e} if e.is_Function or broken else set().union(*(_functions(part) for part in e.args))


def _integrates(value: Expr, weight: Expr) -> bool:
    """Whether f(r) - 1 is the integral of w from 1 to r at some r, at the trained parameters.

    sympy's antiderivatives of pieces may jump between them, which no derivative shows.
    """
    numbers = {p: getattr(p, "positive", sympy.Integer(1)) for p in weight.free_symbols - {r}}
    f, w = (sympy.lambdify(r, e.xreplace(numbers), "mpmath") for e in (value, weight))
    for side in ((1, 1.04, 1.15, 1.5, 4), (1, 0.95, 0.8, 0.3, 0.01)):
        expected = mpmath.mpf(1)
        for start, end in pairwise(side):
            expected += mpmath.quad(w, mpmath.linspace(start, end, 17))  # a corner inside costs it some digits
            if abs(f(end) - expected) > 1e-3:
                return False
    return True
