"""The symbols and functions gates are written in."""

from collections.abc import Mapping
from typing import Any, cast

import sympy
from sympy import Expr, Function, Rational, Symbol

r = Symbol("r", positive=True)
"""The importance ratio pi_new / pi_old, r > 0."""

z = Symbol("z", real=True)
"""The log-ratio log r, in nats."""


def substitute(expression: Expr, values: Mapping[Any, Any]) -> Expr:
    """The expression with symbols or subexpressions replaced, exactly and all at once."""
    changes = {old: new for old, new in values.items() if old != new}  # xreplace builds r anew where r becomes r
    return cast(Expr, expression.xreplace(changes)) if changes else expression


class sigmoid(Function):
    """sigma(x) = 1/(1 + e^-x); kept whole, so that its derivative is sech^2(x/2)/4 and nothing cancels."""

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        """Exact values at 0 and at both infinities."""
        return {sympy.S.Zero: Rational(1, 2), sympy.oo: sympy.S.One, -sympy.oo: sympy.S.Zero}.get(x)

    def fdiff(self, argindex: int = 1) -> Expr:
        """d sigma/dx = sech^2(x/2)/4."""
        return sympy.sech(self.args[0] / 2) ** 2 / 4

    def _eval_is_positive(self) -> bool | None:
        return True if self.args[0].is_extended_real else None

    def _eval_rewrite_as_exp(self, x: Expr, **hints: Any) -> Expr:
        return 1 / (1 + sympy.exp(-x))

    def _eval_evalf(self, prec: int) -> Any:
        return self.rewrite(sympy.exp)._eval_evalf(prec)  # type: ignore[attr-defined]


ELEMENTARY: dict[str, Any] = {
    "sqrt": sympy.sqrt,
    "exp": sympy.exp,
    "log": sympy.log,
    "sigmoid": sigmoid,
    "tanh": sympy.tanh,
    "sech": sympy.sech,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "coth": sympy.coth,
    "csch": sympy.csch,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "asin": sympy.asin,
    "acos": sympy.acos,
    "atan": sympy.atan,
    "asinh": sympy.asinh,
    "acosh": sympy.acosh,
    "atanh": sympy.atanh,
    "erf": sympy.erf,
    "erfc": sympy.erfc,
    "erfi": sympy.erfi,
    "gamma": sympy.gamma,
    "loggamma": sympy.loggamma,
    "lowergamma": sympy.lowergamma,
    "uppergamma": sympy.uppergamma,
    "LambertW": sympy.LambertW,
    "Ei": sympy.Ei,
    "Abs": sympy.Abs,
    "sign": sympy.sign,
    "Min": sympy.Min,
    "Max": sympy.Max,
    "Piecewise": sympy.Piecewise,
}
"""Every function a gate file may name."""

CONSTANTS: dict[str, Expr] = {"pi": sympy.pi, "E": sympy.E}
"""Every constant a gate file may name, besides numbers."""
