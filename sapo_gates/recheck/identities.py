"""Identities and signs of formulas, by one fraction: numerators are expanded, nothing is searched."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import sympy
from sympy import Expr, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid, substitute

HYPERBOLIC = (sympy.sinh, sympy.cosh, sympy.tanh, sympy.coth, sympy.sech, sympy.csch, sigmoid)


@lru_cache(maxsize=4096)
def same(a: Expr, b: Expr) -> bool:
    """Whether a = b wherever both are defined; False: this does not show it, no more.

    With a denominator that is 0 everywhere, as in ((r + 1)^2 - r^2 - 2 r - 1)/..., anything would be equal to anything.
    """
    if a == b:
        return True
    for spell in (lambda e: e, lambda e: _exponentials(e.replace(sympy.erfc, lambda g: 1 - sympy.erf(g))), tidy):
        spelled = spell(a - b)
        numerator, denominator = sympy.fraction(sympy.together(spelled))
        if _vanishes(numerator):
            return not _vanishes(denominator)
    return False


def _vanishes(expression: Expr) -> bool:
    return any(tidied(expression) == 0 for tidied in TIDIED)


def _exponentials(expression: Expr) -> Expr:
    """Hyperbolic functions spelled by exp, sums in exponents by products."""
    if not expression.has(sympy.exp, *HYPERBOLIC):
        return expression
    return sympy.expand(expression.rewrite(HYPERBOLIC, sympy.exp), power_exp=True, power_base=False, log=False)


def _by_roots(numerator: Any) -> Expr:
    """Expanded, with every root of a sum as a symbol of its own, reduced by root^q = sum."""
    roots: dict[Expr, tuple[Symbol, int]] = {}
    powers: list[Any] = [p for p in numerator.atoms(Pow) if isinstance(p.exp, Rational) and p.exp.q != 1]
    for power in powers:
        base, q = sympy.expand(power.base), int(power.exp.q)
        known = roots.get(base)
        roots[base] = (known[0], sympy.ilcm(known[1], q)) if known else (sympy.Dummy(positive=True), q)
    spelled = {p: roots[b][0] ** (p.exp * roots[b][1]) for p in powers for b in [sympy.expand(p.base)]}
    expanded: Any = sympy.expand(substitute(numerator, spelled))
    for base, (root, q) in roots.items():
        if not expanded.is_polynomial(root):
            return numerator
        expanded = sympy.rem(expanded, root**q - base, root)
    return sympy.expand(expanded)


TIDIED: tuple[Callable[[Expr], Any], ...] = (
    sympy.expand,
    lambda numerator: sympy.expand(sympy.powsimp(sympy.expand(numerator))),
    _by_roots,
)


def quotient(expression: Any) -> tuple[Expr, Expr]:
    """One numerator over one denominator, with the poles of coth, csch and tan in the latter."""
    for function, spell in (
        (sympy.coth, lambda g: sympy.cosh(g) / sympy.sinh(g)),
        (sympy.csch, lambda g: 1 / sympy.sinh(g)),
        (sympy.tan, lambda g: sympy.sin(g) / sympy.cos(g)),
    ):
        expression = expression.replace(function, spell)
    plain, functions = _functions_as_symbols(expression)
    top, bottom = sympy.fraction(sympy.together(plain))
    return top.xreplace(functions), bottom.xreplace(functions)  # type: ignore[union-attr]


def centred(expression: Expr, t: Symbol, at: Rational) -> Expr:
    """Expanded in powers of t - at, with what all terms share in front, so that a zero there is a factor."""
    h = sympy.Dummy()
    plain, functions = _functions_as_symbols(substitute(expression, {t: at + h}))
    found = sympy.factor_terms(sympy.expand(plain)).xreplace(functions)
    return substitute(found, {h: t - at})  # type: ignore[arg-type]


def _functions_as_symbols(expression: Expr) -> tuple[Expr, dict[Any, Expr]]:
    """SymPy's polynomials would take exp(99 r) for the power 99 of exp(r)."""
    symbols = {function: sympy.Dummy() for function in expression.atoms(sympy.Function)}
    return expression.xreplace(symbols), {symbol: function for function, symbol in symbols.items()}


def tidy(expression: Any) -> Expr:
    """The expression with every sum as one fraction, expanded, and in front what all its terms share."""

    def spelled(total: Expr) -> Expr:
        numerator, denominator = sympy.fraction(sympy.together(total))
        return sympy.factor_terms(sympy.expand(numerator)) / sympy.factor_terms(sympy.expand(denominator))

    return expression.replace(lambda e: e.is_Add, spelled)
