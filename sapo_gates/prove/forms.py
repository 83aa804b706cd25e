"""Equal expressions that intervals enclose better: normal form, derivatives by factors and by terms.

An interval forgets that two occurrences of a variable are the same; so the form decides what can be proved.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import sympy
from sympy import Add, Expr, Mul, Pow, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import sigmoid
from sapo_gates.timelimit import OutOfTime, within

SECONDS = 1.0  # for one call of a SymPy routine whose cost nobody can foresee
# what SymPy raises on formulas it cannot handle, such as an exponent too large for the gcd of two polynomials
SYMPY_GIVES_UP = (
    sympy.PolynomialError, NotImplementedError, ArithmeticError, ValueError, TypeError, AttributeError, LookupError,
    RecursionError,
)  # fmt: skip
Rewriting = Callable[[Expr], Expr]


def tamed(rewriting: Rewriting, expression: Expr) -> Expr:
    """The rewritten expression, or the expression itself where SymPy takes too long or knows no way."""
    try:
        return _rewritten(rewriting, expression)
    except OutOfTime:
        return expression


@lru_cache(maxsize=4096)
def _rewritten(rewriting: Rewriting, expression: Expr) -> Expr:
    """The same; that a deadline cut it short is not remembered."""
    if is_explosive(expression):
        return expression
    began = time.process_time()
    try:
        return within(SECONDS, lambda: rewriting(expression))
    except OutOfTime:
        if time.process_time() - began < SECONDS:
            raise
    except SYMPY_GIVES_UP:
        pass
    return expression


def is_explosive(expression: Expr) -> bool:
    """Whether SymPy would compute numbers of a million digits, or polynomials of a huge degree.

    Nothing can interrupt that, and it may end the process. To its polynomials exp(10^6 r) is the power 10^6 of exp(r),
    and exp(10^6/7) that of exp(1/7); the gcd of two of them puts numbers in for exp(r).
    """
    arguments = [a for node in expression.atoms(sympy.Function) for a in node.args]
    powers = [node for node in expression.atoms(Pow) if node.free_symbols]
    arguments += [node.exp for node in powers]
    arguments = [a for a in arguments if a.free_symbols] + [e.args[0] for e in expression.atoms(sympy.exp)]
    spelled = [sympy.expand(a) for a in arguments]
    exponents = [node.exp for node in powers if node.exp.is_Rational]
    return (
        _degree(n for a in spelled for n in a.atoms(sympy.Rational)) > MAX_EXPONENT or _degree(exponents) > MAX_DEGREE
    )


def _degree(exponents: Iterable[Expr]) -> int:
    """That of a polynomial in roots that all of them are whole powers of."""
    numbers = list(exponents)
    largest = max((abs(int(n.p)) for n in numbers), default=0)
    return largest * math.lcm(*(int(n.q) for n in numbers))


MAX_EXPONENT = 1_000
MAX_DEGREE = 200


def normal(expression: Expr) -> Expr:
    """One fraction whose numerator is expanded, if that is shorter: softsign's weight becomes (1 + u^2)^(-3/2)."""
    numerator, denominator = sympy.fraction(sympy.together(expression))
    single = sympy.powsimp(sympy.factor_terms(sympy.expand(numerator)) / denominator)
    shorter = sympy.count_ops(single) < sympy.count_ops(expression)
    return single if shorter else expression


COMPLEMENTS: dict[object, Callable[[Expr], Expr]] = {
    sympy.erf: sympy.erfc,
    sympy.tanh: lambda g: 2 * sigmoid(-2 * g),  # pyright: ignore[reportReturnType, reportOperatorIssue]
    sigmoid: lambda g: sigmoid(-g),  # pyright: ignore[reportReturnType]
}
"""1 - F as a function that falls to 0, in which nothing cancels."""


def complemented(expression: Expr) -> Expr:
    """The expression with c - c F(g) as c (1 - F)(g), and c + c F(g) likewise where F is odd; 1 - F^3 in factors."""
    if not expression.has(*COMPLEMENTS):
        return expression

    def complement(total: Expr) -> Expr:
        constant, rest = total.as_coeff_Add()
        for term in Add.make_args(rest) if constant else ():
            factor, function = term.as_coeff_Mul()
            if function.func in COMPLEMENTS and factor == -constant:
                return constant * COMPLEMENTS[function.func](function.args[0]) + (rest - term)
            if function.func in COMPLEMENTS and function.func != sigmoid and factor == constant:
                return constant * COMPLEMENTS[function.func](-function.args[0]) + (rest - term)
        return total

    def spelled(total: Expr) -> Expr:
        factors = [factor.as_base_exp() for factor in Mul.make_args(tamed(sympy.factor, total))]
        found = [(complement(base), power) for base, power in factors]
        return Mul(*(base**power for base, power in found)) if found != factors else total

    return expression.replace(lambda e: e.is_Add and e.has(*COMPLEMENTS), spelled)


def grouped(expression: Expr) -> Expr:
    """A sum with what belongs together brought together: terms of the same roots, functions and denominators."""
    groups: dict[frozenset[Expr], list[Expr]] = {}
    for term in Add.make_args(expression):
        groups.setdefault(frozenset(_generators(term)), []).append(term)
    return Add(*(tamed(normal, Add(*terms)) if len(terms) > 1 else terms[0] for terms in groups.values()))


def _generators(term: Expr) -> Iterator[Expr]:
    """Functions, and the bases of roots and denominators without their numerical factors."""
    for node in sympy.preorder_traversal(term):
        if isinstance(node, sympy.Function):
            yield node
        elif isinstance(node, Pow) and not (node.exp.is_Integer and node.exp.is_positive) and node.base.free_symbols:
            yield node.base.primitive()[1]


def with_factors(expression: Expr) -> Expr:
    """Every polynomial in several symbols as a product, if it is one: 1 - e - t (1 - e) is (1 - e) (1 - t)."""

    def product(total: Expr) -> Expr:
        found = tamed(sympy.factor, total)
        return found if isinstance(found, Mul) and sum(isinstance(e, Add) for e in found.args) > 1 else total

    return expression.replace(lambda e: e.is_Add and len(e.free_symbols) > 1 and e.is_polynomial(), product)


def rationalised(expression: Expr) -> Expr:
    """Every a + b with one root in b as (a^2 - b^2)/(a - b): what cancels in 1 - u/sqrt(1 + u^2) is gone."""

    def quotient(total: Expr) -> Expr:
        rooted = [term for term in total.args if any(p.exp.is_Rational and p.exp.q == 2 for p in term.atoms(Pow))]
        if len(rooted) != 1:
            return total
        a, b = total - rooted[0], rooted[0]
        return sympy.factor(sympy.together(a**2 - b**2)) / (a - b)

    return expression.replace(lambda e: e.is_Add, quotient)


def forms_of(expression: Expr) -> Iterator[Expr]:
    """The expression, and equal ones that intervals may enclose better, each once: short ones first, dear ones last.

    Only forms whose equality is_identity shows, since a certificate states the form and its checker must see the same.
    """
    seen: set[Expr] = set()
    for form in (
        lambda: grouped(complemented(expression)),
        lambda: with_factors(expression),
        lambda: tamed(normal, expression),
        lambda: expression,
        lambda: tamed(rationalised, expression),
        lambda: tamed(sympy.simplify, expression) if sympy.count_ops(expression) < MAX_SIMPLIFIED else expression,
    ):
        found = form()
        if found not in seen and (found == expression or is_shown(found, expression)):
            seen.add(found)
            yield found


MAX_SIMPLIFIED = 60  # operations; simplify can take minutes on more


def is_identity(a: Expr, b: Expr) -> bool:
    """a = b, shown by bringing a - b over one denominator and expanding; False: this does not show it, no more."""
    if a == b:
        return True
    for spell in (lambda e: e, _in_exponentials, _in_cancelled_sums):
        numerator, _ = sympy.fraction(sympy.together(spell(a - b)))
        if sympy.expand(numerator) == 0 or sympy.expand(sympy.powsimp(sympy.expand(numerator))) == 0:
            return True
    return False


def _in_exponentials(expression: Expr) -> Expr:
    return expression.replace(sympy.erfc, lambda g: 1 - sympy.erf(g)).rewrite(sympy.exp)


def _in_cancelled_sums(expression: Expr) -> Expr:
    """Every sum as one fraction, also inside functions: exp((s + 1)/s - 1) is exp(1/s)."""
    return expression.replace(lambda e: e.is_Add, lambda e: tamed(sympy.factor, e))


def is_shown(form: Expr, expression: Expr) -> bool:
    """is_identity within a time limit."""
    try:
        return within(SECONDS, lambda: is_identity(form, expression))
    except (OutOfTime, *SYMPY_GIVES_UP):
        return False


def log_derivative(expression: Expr, by: Symbol) -> Expr:
    """w'/w, factor by factor: (a^p b)'/(a^p b) = p a'/a + b'/b. Valid where no factor is 0."""
    if by not in expression.free_symbols:
        return sympy.Integer(0)
    match expression:
        case Mul():
            return Add(*(log_derivative(factor, by) for factor in expression.args))
        case Pow() if by not in expression.exp.free_symbols:
            return expression.exp * log_derivative(expression.base, by)
        case Pow():
            return derivative(expression.exp * sympy.log(expression.base), by)
        case sympy.exp():
            return derivative(expression.args[0], by)
        case sympy.sech():
            return -sympy.tanh(expression.args[0]) * derivative(expression.args[0], by)
        case sigmoid():
            return sigmoid(-expression.args[0]) * derivative(expression.args[0], by)
        case sympy.cosh():
            return sympy.tanh(expression.args[0]) * derivative(expression.args[0], by)
        case sympy.sinh():
            return sympy.coth(expression.args[0]) * derivative(expression.args[0], by)
    return derivative(expression, by) / expression


def derivative_by_terms(expression: Expr, by: Symbol) -> Expr:
    """w' as a sum of term * (its log-derivative), so that falling terms stay visibly falling."""
    return Add(*(term * log_derivative(term, by) for term in Add.make_args(expression)))
