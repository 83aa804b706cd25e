"""From the declared formula to torch source: substitute, simplify until it computes well, print.

The formula is written in x = r - 1, which `expm1` gives without cancellation, r itself and z = log r.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Mul, Piecewise, Pow, Rational, Symbol, exp, factor, piecewise_fold, together
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean

from sapo_gates.errors import ExportError
from sapo_gates.functions import ELEMENTARY, r, sigmoid, z

x = Symbol("x", real=True)
"""r - 1."""
_VARIABLES = {x, r, z}

_EXPORTED = {
    name: name
    for name in ELEMENTARY
    if name not in ("erfi", "gamma", "LambertW", "Ei", "Abs", "Min", "Max", "Piecewise", "sqrt")
} | {"Abs": "absolute"}
_RELATIONS: dict[Any, str] = {
    sympy.StrictLessThan: "<",
    sympy.LessThan: "<=",
    sympy.StrictGreaterThan: ">",
    sympy.GreaterThan: ">=",
}
_EXACT = 2**53


def rewritings(declared: Expr) -> Iterator[Expr]:
    """The formula, in r alone, as equal expressions in x, r and z; the plainest first."""
    formula: Any = piecewise_fold(declared) if declared.has(Piecewise) else declared
    in_x = _pieces(formula, lambda e: e.subs(r, 1 + x))
    tidy = lambda e: factor(together(e))  # noqa: E731
    for rewritten in (
        lambda: in_x,
        lambda: _pieces(in_x, tidy),
        lambda: _pieces(formula, tidy),
        lambda: _pieces(in_x, sympy.simplify),
        lambda: _pieces(formula, sympy.simplify),
    ):
        named = _named(rewritten())
        if not named.has(sympy.zoo, sympy.nan):  # simplify may say so where a piece has a pole
            yield named


def _pieces(expression: Any, rewrite: Any) -> Expr:
    """Rewrite every piece on its own."""
    if isinstance(expression, Piecewise):
        pairs: Any = expression.args
        return Piecewise(*((rewrite(piece), condition.subs(r, 1 + x)) for piece, condition in pairs))
    return rewrite(expression)


def _named(expression: Any) -> Any:
    """z, r and x wherever log r, a multiple of r = 1 + x and a multiple of r - 1 stand written out."""
    expression = expression.replace(lambda e: isinstance(e, sympy.log) and e.args[0] in (r, 1 + x), lambda e: z)

    def shorter(sum_: Any) -> Any:
        for symbol, sign, name in ((x, 1, r), (r, -1, x)):
            slope = sum_.coeff(symbol)
            if slope.is_number and slope != 0 and sum_ == slope * symbol + sign * slope:
                return slope * name
        return sum_

    return expression.replace(lambda e: e.is_Add, _complemented).replace(lambda e: e.is_Add, shorter)


def _complemented(sum_: Any) -> Any:
    """1 - sigmoid(u), 1 - erf(u) and 1 - tanh(u) as what is left, which is small where they are close to 1."""
    constant, rest = sum_.as_coeff_Add()
    for term in Add.make_args(rest):
        factor_, function = term.as_coeff_Mul()
        if constant != 0 and abs(factor_) == abs(constant):
            sign: Any = -factor_ / constant
            u: Any = function.args[0] if function.args else None
            if isinstance(function, sigmoid) and sign == 1:
                return rest - term + constant * sigmoid(-u)
            if isinstance(function, sympy.erf):
                return rest - term + constant * sympy.erfc(sign * u)
            if isinstance(function, sympy.tanh):
                return rest - term + 2 * constant * sigmoid(-2 * sign * u)
    return sum_


def in_exponentials(expression: Any) -> Any:
    """sigmoid, sech and tanh by e^-u, which value and weight then share."""
    expression = expression.replace(sigmoid, lambda u: 1 / (1 + exp(-u)))
    expression = expression.replace(sympy.sech, lambda u: 2 * exp(-u) / (1 + exp(-2 * u)))
    return expression.replace(sympy.tanh, lambda u: 2 / (1 + exp(-2 * u)) - 1)


inverse: Any = sympy.Function("inverse")
"""1/u, as something that value and score weight can share."""


def with_inverses(expression: Any) -> Any:
    """Divided by u, sqrt(u) or a power of them once, and multiplied after that."""
    return expression.replace(
        lambda e: e.is_Pow and e.exp.is_Rational and e.exp < 0 and e.exp.q <= 2 and not e.is_number,
        lambda e: inverse(e.base ** Rational(1, e.exp.q)) ** -e.exp.p,
    )


_coarse_exp, _coarse_erf, _coarse_atan = (sympy.Function(f"coarse_{name}") for name in ("exp", "erf", "atan"))
_COARSE: dict[Any, Any] = {
    sympy.exp: _coarse_exp,
    sympy.erf: lambda u: _coarse_erf(u, _coarse_exp(-(u**2))),  # most often the score weight's own exponential
    sympy.atan: _coarse_atan,
}


def coarsened(expression: Any) -> Any:
    """With the functions that are much faster to float32's precision; before `hoisted`, for what they share."""
    return expression.replace(
        lambda e: e.func in _COARSE and e.free_symbols & _VARIABLES, lambda e: _COARSE[e.func](e.args[0])
    )


def hoisted(expression: Any, constants: dict[Expr, Symbol]) -> Any:
    """The expression with a symbol for every largest part that parameters alone decide; they are added to constants."""
    if not expression.free_symbols:
        return expression
    if isinstance(expression, Expr) and not expression.free_symbols & _VARIABLES:
        return constants.setdefault(expression, Symbol(f"c{len(constants)}", real=True))
    if isinstance(expression, Add | Mul):
        fixed, rest = expression.as_independent(*_VARIABLES, as_Add=isinstance(expression, Add))
        if fixed.free_symbols:
            return expression.func(hoisted(fixed, constants), hoisted(rest, constants))
    if isinstance(expression, Piecewise):
        pairs: Any = expression.args
        return Piecewise(*((hoisted(piece, constants), hoisted(condition, constants)) for piece, condition in pairs))
    if expression.args:
        return expression.func(*(hoisted(argument, constants) for argument in expression.args))
    return expression


def function_source(
    name: str,
    expressions: Sequence[Any],
    constants: Sequence[Symbol] = (),
    *,
    x_from_r: bool = False,
    spread_nan: bool = False,
) -> tuple[str, tuple[str, ...]]:
    """`def name(k, ...)` in the functions of `wide`, and which of z, x, r follow the k, before the constants.

    It returns a tuple. Parts that occur repeatedly are computed once.

    Args:
        name: of the function.
        expressions: in z, x, r and the constants.
        constants: names of further arguments.
        x_from_r: x is r - 1 and not given.
        spread_nan: a NaN comes out also where a piece or a constant would lose it.

    Raises:
        ExportError: the formula needs a function that torch does not have.
    """
    parts, results = sympy.cse(list(expressions), symbols=sympy.numbered_symbols("t"), optimizations=[])
    used = set().union(*(expression.free_symbols for expression in expressions))
    lines = [f"    {symbol} = {_text(part)}" for symbol, part in parts]
    if x_from_r and x in used:
        used = (used - {x}) | {r}
        lines.insert(0, "    x = r - 1")
    if spread_nan:
        used = used | {z}
        lines.append("    nothing = 0*z")
    needs = tuple(symbol.name for symbol in (z, x, r) if symbol in used)
    returned = "".join(f"{_operand(result)}{' + nothing' if spread_nan else ''}, " for result in results)
    arguments = ", ".join(("k", *needs, *(constant.name for constant in constants)))
    return "\n".join([f"def {name}({arguments}):", *lines, f"    return ({returned.rstrip()})", ""]), needs


def _constant(number: Any) -> str:
    """A constant as two float64."""
    exact = Rational(sympy.N(number, 60)) if not isinstance(number, Rational) else number
    hi = float(exact)
    return f"k({hi!r}, {float(exact - Rational(hi))!r})"


def _operand(expression: Any) -> str:
    """Where a bare Python number will not do."""
    return _constant(expression) if expression.is_number else _text(expression)


def _small(number: Any) -> bool:
    return isinstance(number, Integer) and abs(number) < _EXACT


def _text(expression: Any, binding: int = 0) -> str:
    """The expression as Python; in brackets if something that binds as tightly as `binding` stands around it."""
    text, mine = _spelled(expression)
    return f"({text})" if mine < binding else text


_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4


def _spelled(e: Any) -> tuple[str, int]:
    if isinstance(e, Symbol):
        return e.name, _ATOM
    if isinstance(e, Boolean):
        return _condition(e), 0
    if e.is_number:
        return (str(e), _ATOM if e >= 0 else _SUM) if _small(e) else (_constant(e), _ATOM)
    if isinstance(e, Add):
        terms = [_text(term, _SUM) for term in e.as_ordered_terms()]
        return " + ".join(terms).replace("+ -", "- "), _SUM
    if isinstance(e, Mul):
        return _product(e)
    if isinstance(e, Pow):
        return _power(e)
    if isinstance(e, Piecewise):
        return _piecewise(e), _ATOM
    if isinstance(e, sympy.log) and e.args[0].is_Add and Integer(1) in e.args[0].args:  # type: ignore[union-attr]
        return f"log1p({_text(Add(*e.args, -1))})", _ATOM
    if isinstance(e, AppliedUndef):  # `inverse`, a coarse function, or a primitive without closed form
        return f"{e.func.__name__}({', '.join(_text(argument) for argument in e.args)})", _ATOM
    name = "sigmoid" if e.func is sigmoid else _EXPORTED.get(e.func.__name__)
    if name is None:
        raise ExportError(
            f"no torch function for {e.func.__name__}: a gate with it can be certified and not exported; "
            f"write it with {', '.join(_EXPORTED)}."
        )
    return f"{name}({', '.join(_operand(a) if len(e.args) > 1 else _text(a) for a in e.args)})", _ATOM


def _product(e: Any) -> tuple[str, int]:
    above: list[Any] = []
    below: list[Any] = []
    sign = ""
    if e.args[0].is_Rational and e.args[0] < 0:
        sign, e = "-", -e
    for part in Mul.make_args(e):
        if isinstance(part, Rational) and _small(Integer(part.p)) and _small(Integer(part.q)):
            above += [Integer(part.p)] if part.p != 1 else []
            below += [Integer(part.q)] if part.q != 1 else []
        elif isinstance(part, Pow) and part.exp.is_Rational and part.exp < 0 and not part.is_number:
            below.append(1 / part)
        elif part.func is inverse:
            below.append(part.args[0])
        else:
            above.append(part)
    numerator = "*".join(_text(part, _PRODUCT) for part in above) or "1"
    if not below:
        return sign + numerator, _PRODUCT if not sign else _SUM
    denominator = "*".join(_text(part, _PRODUCT) for part in below)
    bracket = len(below) > 1
    denominator = f"({denominator})" if bracket else _text(below[0], _POWER)
    return f"{sign}{numerator}/{denominator}", _PRODUCT if not sign else _SUM


def _power(e: Any) -> tuple[str, int]:
    base, exponent = e.args
    if exponent.is_Rational and exponent < 0:
        return f"1/{_text(Pow(base, -exponent), _POWER)}", _PRODUCT
    if exponent == Rational(1, 2):
        return f"sqrt({_text(base)})", _ATOM
    if _small(exponent):
        return f"{_text(base, _ATOM)}**{exponent}", _POWER
    if exponent.is_Rational and exponent.q == 2:
        return f"sqrt({_text(base)})**{exponent.p}", _POWER
    return f"power({_operand(base)}, {_operand(exponent)})", _ATOM


def _piecewise(e: Any) -> str:
    *pieces, (last, _) = e.args
    text = _operand(last)
    for piece, condition in reversed(pieces):
        text = f"where({_condition(condition)}, {_operand(piece)}, {text})"
    return text


def _condition(condition: Any) -> str:
    if isinstance(condition, Symbol):
        return condition.name
    if isinstance(condition, sympy.ITE):
        which, yes, no = (f"({_condition(part)})" for part in condition.args)
        return f"({which} & {yes}) | (~{which} & {no})"
    if isinstance(condition, sympy.Not):
        return f"~({_condition(condition.args[0])})"
    if isinstance(condition, sympy.And | sympy.Or):
        join = " & " if isinstance(condition, sympy.And) else " | "
        return join.join(f"({_condition(part)})" for part in condition.args)
    if isinstance(condition, sympy.Equality | sympy.Unequality):
        sign = "<=" if isinstance(condition, sympy.Equality) else ">"
        return f"absolute({_text(_named(condition.lhs - condition.rhs))}) {sign} 0"
    left, right = (_named(side) for side in (condition.lhs, condition.rhs))
    if left.is_number:
        return f"{_text(right, _SUM)} {_RELATIONS[condition.reversed.func]} {_text(left, _SUM)}"
    return f"{_text(left, _SUM)} {_RELATIONS[condition.func]} {_text(right, _SUM)}"
