"""Removable singularities: where a numerator and its denominator vanish together, the text is filled by the limit.

L'Hopital's rule at t = a: if N and D are 0 there, and so are their derivatives up to the (m - 1)st, but not the m-th of
D, then N/D tends to N^(m)(a)/D^(m)(a).
"""

from collections.abc import Iterator, Mapping
from typing import cast

import sympy
from sympy import Add, Dummy, Expr, Pow, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.interval import Interval, Undefined

MAX_ORDER = 6


def as_fraction(expression: Expr) -> tuple[Expr, Expr]:
    """Numerator and denominator, those of the functions that have poles included."""
    spelled = expression.replace(sympy.coth, lambda g: sympy.cosh(g) / sympy.sinh(g))
    spelled = spelled.replace(sympy.csch, lambda g: 1 / sympy.sinh(g)).replace(
        sympy.tan, lambda g: sympy.sin(g) / sympy.cos(g)
    )
    # functions as symbols: SymPy's polynomials would take exp(99 r) for the power 99 of exp(r)
    symbols = {function: Dummy() for function in spelled.atoms(sympy.Function)}
    top, bottom = sympy.fraction(sympy.together(substitute(spelled, symbols)))
    back = {symbol: function for function, symbol in symbols.items()}
    return substitute(cast(Expr, top), back), substitute(cast(Expr, bottom), back)


def denominators(expression: Expr, t: Symbol) -> Iterator[Expr]:
    """What the expression divides by, as far as it depends on t."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, Pow) and node.exp.is_negative and t in node.base.free_symbols:
            yield cast(Expr, node.base)
        elif isinstance(node, sympy.coth | sympy.csch) and t in node.free_symbols:
            yield sympy.sinh(node.args[0])


def filled(expression: Expr, t: Symbol, at: Expr, ranges: Mapping[Symbol, Interval]) -> Expr | None:
    """The limit at t = at by l'Hopital's rule, for all parameters in their ranges; None where it does not show one."""
    if not any(is_zero_at(one, t, at) for one in denominators(expression, t)):
        return None
    if isinstance(expression, Add):
        terms = [_filled_or_value(e, t, at, ranges) for e in expression.args]
        if None not in terms:
            return Add(*terms)
    top, bottom = as_fraction(expression)
    for _ in range(MAX_ORDER):
        above, below = (value_at_point(part, t, at, ranges) for part in (top, bottom))
        if above is None or below is None:
            return None
        if not is_identity(below, sympy.Integer(0)):
            return above / below if not compiled(below)(ranges).contains_zero else None
        if not is_identity(above, sympy.Integer(0)):
            return None
        top, bottom = derivative(top, t), derivative(bottom, t)
    return None


def _filled_or_value(expression: Expr, t: Symbol, at: Expr, ranges: Mapping[Symbol, Interval]) -> Expr | None:
    found = filled(expression, t, at, ranges)
    return value_at_point(expression, t, at, ranges) if found is None else found


def is_zero_at(expression: Expr, t: Symbol, at: Expr) -> bool:
    """Whether it is 0 at t = at for every parameter."""
    there = substitute(expression, {t: at})
    return not there.has(sympy.nan, sympy.zoo, sympy.oo) and is_identity(there, sympy.Integer(0))


def value_at_point(expression: Expr, t: Symbol, at: Expr, ranges: Mapping[Symbol, Interval]) -> Expr | None:
    """The value at t = at, if the expression is defined and continuous there."""
    there = substitute(expression, {t: at})
    if there.has(sympy.nan, sympy.zoo, sympy.oo):
        return None
    try:
        compiled(expression)({**ranges, t: compiled(at)(ranges)})
    except Undefined:
        return None
    return there
