"""What each aten operation is in the language gates are declared in; for tensors of one element."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from sympy import Expr, Max, Min, Piecewise, Rational
from sympy.logic.boolalg import Boolean

from sapo_gates.errors import TraceError
from sapo_gates.functions import sigmoid

MOST_DENOMINATOR = 10**6
_IRRATIONAL = (
    sympy.pi,
    sympy.sqrt(2),
    sympy.sqrt(3),
    sympy.sqrt(sympy.pi),
    sympy.sqrt(2 * sympy.pi),
    sympy.log(2),
    sympy.E,
)
_SHORT = 12  # digits a person writes


def constant(number: float, shortest: str | None = None) -> Expr:
    """The number a float was written as: 0.1 is one tenth, 4/1.05 is 80/21, math.sqrt(math.pi/2) is sqrt(pi/2).

    The simplest of these that rounds to the same float64: a decimal of at most 12 digits, a fraction with a denominator
    up to 10^6, a small fraction of pi, E, log 2 or a root; else the shortest decimal.
    shortest: how the dtype it comes from prints it, where that is not float64.
    """
    if isinstance(number, bool | int):
        return sympy.Integer(int(number))
    if number != number or abs(number) == float("inf"):
        return sympy.nan if number != number else sympy.oo * (1 if number > 0 else -1)
    text = shortest or repr(number)
    decimal = Fraction(text)
    if len(text.lower().partition("e")[0].strip("-0.").replace(".", "")) <= _SHORT:
        return Rational(decimal.numerator, decimal.denominator)
    simple = Fraction(number).limit_denominator(MOST_DENOMINATOR)
    if float(simple) == number:
        return Rational(simple.numerator, simple.denominator)
    for irrational in _IRRATIONAL:
        for factor, shown in ((number / float(irrational), irrational), (number * float(irrational), 1 / irrational)):
            simple = Fraction(factor).limit_denominator(1000)
            if simple and abs(float(Rational(simple.numerator, simple.denominator) * shown) - number) <= 1e-15 * abs(
                number
            ):
                return Rational(simple.numerator, simple.denominator) * shown
    return Rational(decimal.numerator, decimal.denominator)


def as_number(value: Any) -> Expr:
    """A truth value as 1 or 0; a number as it is."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Boolean):
        one, zero = sympy.Integer(1), sympy.Integer(0)
        if value in (sympy.true, sympy.false):
            return one if value else zero
        return Piecewise((one, value), (zero, True))
    if isinstance(value, bool | int | float):
        return constant(value)
    raise TraceError(f"{value!r} is neither a number nor a condition; a gate computes with numbers.")


def as_condition(value: Any) -> Any:
    """A number as whether it is not 0; a condition as it is."""
    if isinstance(value, Boolean):
        return value
    number = as_number(value)
    if isinstance(number, Piecewise) and {piece for piece, _ in number.args} <= {sympy.Integer(0), sympy.Integer(1)}:
        return sympy.Or(*(condition for piece, condition in number.args if piece == 1))
    return sympy.Ne(number, 0)


def _exp(x: Expr) -> Expr:
    """exp, inside Max and Min where its argument is one: exp is monotone, and exp(log r) is r."""
    if isinstance(x, Max | Min):
        return x.func(*(_exp(part) for part in x.args))
    return sympy.exp(x)


def _where(condition: Any, yes: Any, no: Any) -> Expr:
    condition = as_condition(condition)
    return Piecewise((as_number(yes), condition), (as_number(no), True))


def _clamp(x: Expr, low: Any = None, high: Any = None) -> Expr:
    x = x if low is None else Max(x, as_number(low))
    return x if high is None else Min(x, as_number(high))


def _gelu(x: Expr, approximate: str = "none") -> Expr:
    if approximate != "none":
        inner = sympy.sqrt(2 / sympy.pi) * (x + Rational(44715, 10**6) * x**3)
        return x * (1 + sympy.tanh(inner)) / 2
    return x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2


def _same(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _add(x: Expr, y: Expr, alpha: Any = 1) -> Expr:
    return x + as_number(alpha) * y


def _power(x: Expr, y: Expr) -> Expr:
    return x**y


_ARITHMETIC: dict[str, Callable[..., Expr]] = {
    "add": _add,
    "sub": lambda x, y, alpha=1: x - as_number(alpha) * y,
    "rsub": lambda x, y, alpha=1: y - as_number(alpha) * x,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "pow": _power,
    "square": lambda x: x**2,
    "sqrt": sympy.sqrt,
    "rsqrt": lambda x: 1 / sympy.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "exp": _exp,
    "exp2": lambda x: 2**x,
    "expm1": lambda x: _exp(x) - 1,
    "log": sympy.log,
    "log2": lambda x: sympy.log(x) / sympy.log(2),
    "log10": lambda x: sympy.log(x) / sympy.log(10),
    "log1p": lambda x: sympy.log(1 + x),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    # The threshold from which softplus returns x is rounding, not mathematics: it is off by 2e-9 there.
    "softplus": lambda x, beta=1, threshold=20: sympy.log(1 + sympy.exp(as_number(beta) * x)) / as_number(beta),
    "gelu": _gelu,
    "elu": lambda x, alpha=1, scale=1, input_scale=1: (
        as_number(scale) * Piecewise((x, x > 0), (as_number(alpha) * (sympy.exp(as_number(input_scale) * x) - 1), True))
    ),
    "leaky_relu": lambda x, slope=0.01: Piecewise((x, x > 0), (as_number(slope) * x, True)),
    "relu": lambda x: Max(x, 0),
    "hardtanh": lambda x, low=-1, high=1: _clamp(x, low, high),
    "abs": sympy.Abs,
    "sign": sympy.sign,
    "sgn": sympy.sign,
    "maximum": Max,
    "minimum": Min,
    "clamp": _clamp,
    "clamp_min": lambda x, low: _clamp(x, low),
    "clamp_max": lambda x, high: _clamp(x, None, high),
    "heaviside": lambda x, at_zero: Piecewise((0, x < 0), (1, x > 0), (at_zero, True)),
    "xlogy": lambda x, y: x * sympy.log(y),
    "hypot": lambda x, y: sympy.sqrt(x**2 + y**2),
    "logaddexp": lambda x, y: sympy.log(_exp(x) + _exp(y)),
    "lerp": lambda x, y, weight: x + as_number(weight) * (y - x),
    "addcmul": lambda x, y, z, value=1: x + as_number(value) * y * z,
    "addcdiv": lambda x, y, z, value=1: x + as_number(value) * y / z,
    "logit": lambda x: sympy.log(x / (1 - x)),
    "sinc": lambda x: Piecewise((sympy.sin(sympy.pi * x) / (sympy.pi * x), sympy.Abs(x) > 0), (1, True)),
    "lgamma": sympy.loggamma,
}
_ARITHMETIC |= {name: getattr(sympy, name) for name in (
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc",
)}  # fmt: skip
"""Operations whose tensors are numbers; the alternatives alpha, beta ... may be plain Python numbers."""

_COMPARISONS: dict[str, Callable[..., Any]] = {
    "gt": sympy.StrictGreaterThan,
    "ge": sympy.GreaterThan,
    "lt": sympy.StrictLessThan,
    "le": sympy.LessThan,
    "eq": sympy.Eq,
    "ne": sympy.Ne,
}

_CONNECTIVES: dict[str, Callable[..., Any]] = {
    "logical_and": sympy.And,
    "logical_or": sympy.Or,
    "logical_not": sympy.Not,
    "bitwise_and": sympy.And,
    "bitwise_or": sympy.Or,
    "bitwise_not": sympy.Not,
}

_UNCHANGED = (
    "_to_copy", "alias", "clone", "contiguous", "expand", "lift_fresh", "lift_fresh_copy", "nan_to_num", "permute",
    "reshape", "squeeze", "t", "to", "transpose", "unsqueeze", "view", "_unsafe_view", "mean", "sum", "amax", "amin",
    "prod", "select", "slice", "cumsum",
)  # fmt: skip
"""With one element a sum is that element, and so is every other arrangement of it."""

OPERATIONS: dict[str, Callable[..., Any]] = {
    **{
        name: lambda *args, _of=function, **kwargs: _of(*map(as_number_or_none, args), **kwargs)
        for name, function in _ARITHMETIC.items()
    },
    **{name: lambda x, y, _of=function: _of(as_number(x), as_number(y)) for name, function in _COMPARISONS.items()},
    **{name: lambda *args, _of=function: _of(*map(as_condition, args)) for name, function in _CONNECTIVES.items()},
    **dict.fromkeys(_UNCHANGED, _same),
    "where": _where,
    "copy": lambda x, source, *_: source,
    "fill": lambda x, value: as_number(value),
    "masked_fill": lambda x, mask, value: _where(mask, value, x),
    "log_sigmoid_forward": lambda x: (sympy.log(sigmoid(as_number(x))), sympy.Integer(0)),
    "isnan": lambda x: sympy.false,
    "isinf": lambda x: sympy.false,
    "isfinite": lambda x: sympy.true,
    "any": lambda x, *_: as_condition(x),
    "all": lambda x, *_: as_condition(x),
    "full": lambda size, value, **_: as_number(value),
    "full_like": lambda x, value, **_: as_number(value),
    "new_full": lambda x, size, value, **_: as_number(value),
    "scalar_tensor": lambda value, **_: as_number(value),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), lambda *_, **__: sympy.Integer(0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), lambda *_, **__: sympy.Integer(1)),
}
"""By the name of the operation, without its overload."""


def as_number_or_none(value: Any) -> Any:
    """As `as_number`, but an argument left out or a word stays."""
    return value if value is None or isinstance(value, str) else as_number(value)
