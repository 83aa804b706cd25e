"""Removable singularities: where a numerator and its denominator vanish together, the text is filled by the limit.

L'Hopital's rule at t = a: if N and D are 0 there, and so are their derivatives up to the (m - 1)st, but not the m-th of
D, then N/D tends to N^(m)(a)/D^(m)(a).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

import sympy
from sympy import Dummy, Expr, Mul, Pow, Symbol

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
    polynomial, functions = _functions_as_symbols(spelled)
    top, bottom = sympy.fraction(sympy.together(polynomial))
    return substitute(cast(Expr, top), functions), substitute(cast(Expr, bottom), functions)


def centred(expression: Expr, t: Symbol, at: Expr) -> Expr:
    """Expanded in powers of t - at, with what all terms share in front, so that a zero there is a factor."""
    h = Dummy()
    polynomial, functions = _functions_as_symbols(substitute(expression, {t: at + h}))
    spelled = sympy.factor_terms(sympy.expand(polynomial))
    return substitute(substitute(spelled, functions), {h: t - at})


def _functions_as_symbols(expression: Expr) -> tuple[Expr, dict[Dummy, Expr]]:
    """SymPy's polynomials would take exp(99 r) for the power 99 of exp(r)."""
    symbols = {function: Dummy() for function in expression.atoms(sympy.Function)}
    return substitute(expression, symbols), {symbol: function for function, symbol in symbols.items()}


def denominators(expression: Expr, t: Symbol) -> Iterator[Expr]:
    """What the expression divides by, as far as it depends on t."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, Pow) and node.exp.is_negative and t in node.base.free_symbols:
            yield cast(Expr, node.base)
        elif isinstance(node, sympy.coth | sympy.csch) and t in node.free_symbols:
            yield sympy.sinh(node.args[0])


def filled(expression: Expr, t: Symbol, at: Expr, ranges: Mapping[Symbol, Interval]) -> Expr | None:
    """The limit at t = at, for all parameters in their ranges; None where none is shown.

    Where every argument of the outermost operation has a limit at which it is continuous, that of the limits; else by
    l'Hopital's rule, for a product without the factors whose limits are known.
    """
    if not any(is_zero_at(one, t, at) for one in denominators(expression, t)):
        return None
    limits = {e: _filled_or_value(cast(Expr, e), t, at, ranges) for e in expression.args if t in e.free_symbols}
    if None not in limits.values():
        symbols = {e: Dummy() for e in limits}
        outside = substitute(expression, symbols)
        with suppress(Undefined):
            compiled(outside)({**ranges, **{symbols[e]: compiled(cast(Expr, limits[e]))(ranges) for e in limits}})
            return substitute(outside, {symbols[e]: limits[e] for e in limits})
    known = {e: found for e, found in limits.items() if found is not None and not is_identity(found, sympy.Integer(0))}
    if isinstance(expression, Mul) and known:
        rest = filled(Mul(*(e for e in expression.args if e not in known)), t, at, ranges)
        if rest is not None:
            return Mul(*known.values(), rest)
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
    if there.has(sympy.nan, sympy.zoo, sympy.oo):
        return False
    with suppress(Undefined, KeyError):
        if not compiled(there)({}).contains_zero:  # which takes less than to look for an identity
            return False
    return is_identity(there, sympy.Integer(0))


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
