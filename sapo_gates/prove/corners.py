"""Corners of piecewise formulas: the functions that switch between pieces, their zeros, and the piece that holds."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import sympy
from sympy import Expr, Mul, Piecewise, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.functions import sigmoid, substitute
from sapo_gates.gate import Domain
from sapo_gates.prove.cell_signs import Straddles, Unsupported, certain_sign, sign_on
from sapo_gates.prove.forms import tamed
from sapo_gates.prove.interval import Undefined
from sapo_gates.prove.points import is_long


def switches_of(expressions: Iterable[Expr]) -> list[Expr]:
    """Every function whose sign decides between pieces; those that decide inside others come first."""
    found = {relation.lhs - relation.rhs for e in expressions for relation in e.atoms(Relational)}
    return sorted(found, key=lambda s: (s.count(Piecewise), sympy.default_sort_key(s)))


def zeros(switch: Expr, x: Symbol, cell: Mapping[Symbol, Domain] = MappingProxyType({})) -> list[Expr]:
    """Every x at which the expression may be 0 or have a pole, exactly, for all parameters in the cell.

    Raises:
        Straddles: how many there are depends on the parameters.
        Unsupported: it is not a polynomial in x or log x with solvable roots.
    """
    if switch.has(Piecewise):
        inner = [z for s in switches_of([switch]) for z in zeros(s, x, cell)]
        return inner + [z for choice in _choices(switch) for z in zeros(choice, x, cell)]
    return [zero for part in sympy.fraction(sympy.together(switch)) for zero in _roots(part, x, cell)]


def _choices(expression: Expr) -> list[Expr]:
    """The expression with each of its outermost Piecewise replaced by each of its pieces."""
    pieces = [node for node in sympy.preorder_traversal(expression) if isinstance(node, Piecewise)][:1]
    if not pieces:
        return [expression]
    return [c for piece, _ in pieces[0].args for c in _choices(substitute(expression, {pieces[0]: piece}))]


def _roots(part: Expr, x: Symbol, cell: Mapping[Symbol, Domain]) -> list[Expr]:
    if x not in part.free_symbols:
        return []
    factored = tamed(sympy.factor, part)
    if isinstance(factored, Mul):
        return [root for factor in factored.args for root in _roots(factor, x, cell)]
    if isinstance(factored, Pow) and factored.exp.is_Integer and factored.exp.is_positive:
        return _roots(factored.base, x, cell)
    inverted = _inverted(part, x, cell)
    if inverted is not None:
        return inverted
    log_x = sympy.Dummy("log_x", real=True)
    in_log = substitute(sympy.expand_log(part), {sympy.log(x): log_x})
    logarithmic = log_x in in_log.free_symbols
    if logarithmic and x in in_log.free_symbols:
        raise Unsupported(f"the corner at {part} = 0 mixes r and log r")
    variable = log_x if logarithmic else x
    if not in_log.is_polynomial(variable):
        raise Unsupported(f"the corner at {part} = 0 cannot be solved for {x}")
    polynomial = sympy.Poly(in_log, variable)
    if polynomial.degree() == 1:
        slope, constant = polynomial.all_coeffs()
        roots = [short(-constant / slope)]
    elif polynomial.degree() == 2 and polynomial.free_symbols_in_domain:
        square, slope, constant = polynomial.all_coeffs()
        discriminant = sympy.factor(slope**2 - 4 * square * constant)
        some = 1 if discriminant.is_positive else certain_sign(discriminant, cell)
        signs = {-1: (), 0: (0,), 1: (-1, 1)}[some]
        roots = [sympy.simplify((-slope + sign * sympy.sqrt(discriminant)) / (2 * square)) for sign in signs]
    elif polynomial.free_symbols_in_domain:
        raise Unsupported(f"the corner at {part} = 0 is of degree {polynomial.degree()} with parameters")
    else:
        try:
            roots = list(dict.fromkeys(sympy.real_roots(polynomial)))
        except NotImplementedError as error:
            raise Unsupported(f"the roots of {part} = 0 are not known: {error}") from error
    return [sympy.exp(root) for root in roots] if logarithmic else roots


def _inverted(part: Expr, x: Symbol, cell: Mapping[Symbol, Domain]) -> list[Expr] | None:
    """The zeros of c F(g(x)) - level for an increasing function F or a root; None if it is not of that form.

    Raises:
        Unsupported: whether F takes the level is not certain.
    """
    constant, rest = part.as_independent(x, as_Add=True)
    factor, function = rest.as_independent(x, as_Add=False)
    level: Any = cast(Any, constant) / -cast(Any, factor)
    is_root = isinstance(function, Pow) and function.exp.is_Rational and not function.exp.is_Integer
    if is_root and function.exp.is_positive and level.is_nonnegative:
        return zeros(function.base - level ** (1 / function.exp), x, cell)
    if level == 0 and isinstance(function, ZERO_AT_ZERO):
        return zeros(function.args[0], x, cell)
    if function.func not in INVERSES or level.free_symbols:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    low, high, inverse = INVERSES[function.func]
    inside = [sign * certain_sign(level - end, {}) for end, sign in ((low, 1), (high, -1)) if end.is_finite]
    return zeros(function.args[0] - inverse(level), x, cell) if all(sign > 0 for sign in inside) else []


INVERSES: dict[Any, tuple[Expr, Expr, Callable[[Expr], Expr]]] = {
    sympy.atan: (-sympy.pi / 2, sympy.pi / 2, sympy.tan),
    sympy.tanh: (sympy.Integer(-1), sympy.Integer(1), lambda level: sympy.log((1 + level) / (1 - level)) / 2),
    sympy.sinh: (-sympy.oo, sympy.oo, lambda level: sympy.log(level + sympy.sqrt(1 + level**2))),
    sympy.exp: (sympy.Integer(0), sympy.oo, sympy.log),
    sigmoid: (sympy.Integer(0), sympy.Integer(1), lambda level: sympy.log(level / (1 - level))),
}
"""Increasing functions with the range of their values and their inverse."""


ZERO_AT_ZERO = (sympy.sinh, sympy.tanh, sympy.atan, sympy.asinh, sympy.erf)


def short(fraction: Expr) -> Expr:
    """As a sum or, if that is shorter, as one fraction: 1 - 1/tau forgets less than (tau - 1)/tau."""
    return min(sympy.expand(fraction), sympy.cancel(fraction), key=sympy.count_ops)


def signs_on(
    switches: Sequence[Expr], sign_of: Callable[[Expr], int | None], parameters: Collection[Symbol]
) -> dict[Expr, int]:
    """The sign of every switch, the inner ones used to resolve the outer ones."""
    signs: dict[Expr, int] = {}
    for switch in switches:
        resolved = resolve(switch, signs)
        sign = sign_of(resolved)
        if sign is None and not resolved.free_symbols <= set(parameters):
            raise Unsupported(f"the sign of {resolved} between two breakpoints could not be enclosed")
        if sign is None:
            raise Straddles(resolved, f"the sign of {resolved} between two breakpoints could not be enclosed")
        signs[switch] = sign
    return signs


def resolve(expression: Expr, signs: Mapping[Expr, int]) -> Expr:
    """The expression with every Piecewise replaced by the piece that holds for these signs of the switches."""
    if isinstance(expression, Piecewise):
        return next(resolve(piece, signs) for piece, condition in expression.args if _holds(condition, signs))
    if not expression.has(Piecewise):
        return expression
    return expression.func(*(resolve(argument, signs) for argument in expression.args))


def _holds(condition: Any, signs: Mapping[Expr, int]) -> bool:
    match condition:
        case sympy.And() | sympy.Or() | sympy.Not() | sympy.ITE():
            answers = [sympy.true if _holds(c, signs) else sympy.false for c in condition.args]
            return bool(condition.func(*answers))
        case Relational():
            return bool(type(condition)(sympy.Integer(signs[condition.lhs - condition.rhs]), 0))
    return bool(condition)


def value_at(expression: Expr, point: Mapping[Symbol, Expr], cell: Mapping[Symbol, Domain]) -> Expr:
    """The piecewise expression at a point; as `formula_at`."""
    return substitute(formula_at(expression, point, cell), point)


def formula_at(expression: Expr, point: Mapping[Symbol, Expr], cell: Mapping[Symbol, Domain]) -> Expr:
    """The formula of a piecewise expression at a point, where the piece whose condition holds there counts.

    cell: the symbols that the point leaves free.

    Raises:
        Unsupported: which piece holds is not certain, or a number would have millions of digits.
        Undefined: what decides between the pieces divides by 0 there.
    """
    check_digits(expression, point)

    def sign_of(switch: Expr) -> int | None:
        at = substitute(switch, point)
        if at.has(sympy.nan, sympy.zoo):
            raise Undefined(f"{switch} at {point}")
        sign = 0 if at == 0 else sign_on(at, cell)
        return (0 if sympy.simplify(at) == 0 else None) if sign is None else sign

    return resolve(expression, signs_on(switches_of([expression]), sign_of, cell))


def check_digits(expression: Expr, point: Mapping[Symbol, Expr]) -> None:
    """Raises Unsupported where a power at the point would have millions of digits, which SymPy would write out."""
    for power in expression.atoms(Pow):
        if is_long(power, point):
            raise Unsupported(f"the power {power} at {dict(point)} has too many digits")
