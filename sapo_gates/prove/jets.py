"""Taylor coefficients f, f', f''/2!, ... of an expression in one variable, enclosed at once, by Arb's power series.

At a ball around a whole box the k-th coefficient encloses f^(k)/k! at every point of the box. No derivative is ever
written down, so its length and form do not matter.
"""

from collections.abc import Callable
from typing import Any

import sympy
from flint import arb, arb_series, ctx, fmpq
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid
from sapo_gates.prove.interval import Undefined

Jet = Callable[[arb, int], list[arb]]
"""Ball and number of coefficients -> the coefficients."""

Series = Any  # arb_series, whose operators carry no types


def _exp_quotient(top: int, sign: int) -> Callable[[Series], Series]:
    def quotient(x: Series) -> Series:
        grows, falls = x.exp(), (-x).exp()
        return top / (grows + sign * falls)

    return quotient


FUNCTIONS: dict[Any, Callable[..., Series]] = {
    sympy.exp: arb_series.exp,
    sympy.log: arb_series.log,
    sympy.erf: arb_series.erf,
    sympy.erfc: arb_series.erfc,
    sympy.erfi: arb_series.erfi,
    sympy.atan: arb_series.atan,
    sympy.asin: arb_series.asin,
    sympy.acos: arb_series.acos,
    sympy.sin: arb_series.sin,
    sympy.cos: arb_series.cos,
    sympy.tan: arb_series.tan,
    sympy.Ei: arb_series.ei,
    sympy.gamma: arb_series.gamma,
    sympy.loggamma: arb_series.lgamma,
    sympy.sech: _exp_quotient(2, 1),
    sympy.csch: _exp_quotient(2, -1),
    sympy.cosh: lambda x: (x.exp() + (-x).exp()) / 2,
    sympy.sinh: lambda x: (x.exp() - (-x).exp()) / 2,
    sympy.coth: lambda x: 1 + 2 / ((2 * x).exp() - 1),
    sympy.asinh: lambda x: (x + (x * x + 1).sqrt()).log(),
    sympy.acosh: lambda x: (x + (x - 1).sqrt() * (x + 1).sqrt()).log(),
    sympy.atanh: lambda x: ((1 + x) / (1 - x)).log() / 2,
    sympy.tanh: lambda x: 2 / (1 + (-2 * x).exp()) - 1,
    sigmoid: lambda x: 1 / (1 + (-x).exp()),
}


def jet_of(expression: Expr, t: Symbol) -> Jet:
    """The expression's Taylor coefficients in t.

    The jet raises Undefined where the expression is not shown to be analytic on the whole ball.

    Raises:
        Undefined: the expression holds a function without power series.
    """
    steps: list[Callable[[list[Series], Series], Series]] = []
    place: dict[Expr, int] = {}

    def step(node: Expr) -> int:
        if node not in place:
            steps.append(_step(node, [step(child) for child in node.args], t))
            place[node] = len(steps) - 1
        return place[node]

    last = step(expression)

    def coefficients(ball: arb, count: int) -> list[arb]:
        before, ctx.cap = ctx.cap, count
        try:
            variable = arb_series([ball, 1])
            values: list[Series] = []
            for one in steps:
                values.append(one(values, variable))
            found = [values[last][k] for k in range(count)]
        except (ValueError, ZeroDivisionError) as error:  # python-flint: a divisor or base whose ball contains 0
            raise Undefined(str(error)) from error
        finally:
            ctx.cap = before
        if not all(one.is_finite() for one in found):
            raise Undefined("not shown to be analytic there")
        return found

    return coefficients


def _step(node: Expr, children: list[int], t: Symbol) -> Callable[[list[Series], Series], Series]:
    if node == t:
        return lambda values, variable: variable
    if isinstance(node, Rational):
        number = fmpq(int(node.p), int(node.q))
        return lambda values, variable: arb_series([arb(number)])
    if node is sympy.pi:
        return lambda values, variable: arb_series([arb.pi()])
    if node is sympy.E:
        return lambda values, variable: arb_series([arb.const_e()])
    if isinstance(node, Add | Mul):
        first, rest, is_sum = children[0], children[1:], isinstance(node, Add)

        def fold(values: list[Series], variable: Series) -> Series:
            total = values[first]
            for child in rest:
                total = total + values[child] if is_sum else total * values[child]
            return total

        return fold
    if isinstance(node, Pow):
        base, exponent = children
        match node.exp:
            case sympy.Integer():
                return lambda values, variable: _integer_power(values[base], int(node.exp))
            case Rational(q=2):
                half, whole = int(node.exp.p), int(node.exp.p) // 2  # x^(p/2) = x^floor(p/2) sqrt(x), p odd
                assert half % 2
                return lambda values, variable: _integer_power(values[base], whole) * values[base].sqrt()
        return lambda values, variable: (values[exponent] * values[base].log()).exp()
    function = FUNCTIONS.get(node.func)
    if node.func in (sympy.lowergamma, sympy.uppergamma) and t not in node.args[0].free_symbols:
        gamma = arb_series.gamma_lower if node.func is sympy.lowergamma else arb_series.gamma_upper
        return lambda values, variable: gamma(values[children[0]][0], values[children[1]])
    if function is None or len(children) != 1:
        raise Undefined(f"no power series for {node.func.__name__}")
    return lambda values, variable: function(values[children[0]])


def _integer_power(base: Series, n: int) -> Series:
    return base**n if n >= 0 else 1 / base**-n
