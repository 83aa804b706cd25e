"""A gate's numbers for drawing, from the formulas that sapo_gates derives; floats, and no proof of anything."""

import math
from collections.abc import Callable
from functools import cache

import mpmath
import numpy as np
import sympy
from numpy.typing import NDArray

from sapo_analysis.errors import FigureError
from sapo_gates import Gate
from sapo_gates.derive import declared_formula
from sapo_gates.functions import r
from sapo_gates.gate import Kind
from sapo_gates.verdict import Sign

Array = NDArray[np.float64]


def evaluate(gate: Gate, sign: Sign, quantity: Kind, ratio: Array) -> Array:
    """Value f, weight w or score weight r w of one branch at the ratios, [N] -> [N].

    Parameters that are still free take their trained values for that sign. The value is shifted to f(1) = 1: its
    constant has no gradient, and curves of different gates then meet on policy.

    Raises:
        FigureError: the formula has no finite number at some ratio.
    """
    bound = sympy.sympify(gate.declared(sign)).xreplace({p: p.value_for(sign) for p in gate.parameters})
    numbers = _function(gate.kind, bound, quantity)(ratio)
    if not np.isfinite(numbers).all():
        where = float(ratio[~np.isfinite(numbers)][0])
        raise FigureError(f"gate {gate.name!r} has no finite {quantity} at r = {where:g}; draw it where it has one.")
    return numbers


@cache
def _function(kind: Kind, bound: sympy.Expr, quantity: Kind) -> Callable[[Array], Array]:
    if quantity == "value" and kind != "value":  # sympy may look for a closed form for minutes
        weight = _function(kind, bound, "weight")
        return lambda ratio: _integral_from_one(weight, ratio)
    expression = declared_formula(kind, bound, quantity)
    assert expression is not None  # only that value can lack a closed form
    numbers = _numeric(expression)
    if quantity == "value":
        return lambda ratio: 1 + numbers(ratio) - numbers(np.ones(1))
    return numbers


def _numeric(expression: sympy.Expr) -> Callable[[Array], Array]:
    """The expression in mpmath, NaN where it has no real number.

    40 digits, because a derivative as sympy writes it cancels in the tails (softsign: u^2 digits) and its exponentials
    leave float64's range; a few hundred points take no time.
    """
    precise = sympy.lambdify(r, expression, [{"sigmoid": lambda x: 1 / (1 + mpmath.exp(-x))}, "mpmath"])

    def number(ratio: float) -> float:
        try:
            return float(precise(mpmath.mpf(ratio)))
        except (ArithmeticError, ValueError, TypeError):  # a pole; outside a function's domain; complex
            return math.nan

    def numbers(ratio: Array) -> Array:
        with mpmath.workdps(40):
            return np.array([number(float(x)) for x in ratio])

    return numbers


def _integral_from_one(weight: Callable[[Array], Array], ratio: Array) -> Array:
    """1 + integral of w from 1 to each ratio: Gauss-Legendre between neighbours, good to drawing accuracy."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    ends, back = np.unique(np.append(ratio, 1.0), return_inverse=True)
    half, middle = np.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
    inside = middle[:, None] + half[:, None] * nodes
    pieces = (weight(inside.ravel()).reshape(inside.shape) * weights).sum(1) * half
    total = np.append(0.0, np.cumsum(pieces))
    return (1 + total - total[np.searchsorted(ends, 1.0)])[back[:-1]]


@cache
def half_widths(gate: Gate, sign: Sign) -> tuple[float | None, float | None]:
    """Where the weight has fallen to 1/2, left and right of r = 1, as h > 0 with w(1 -+ h) <= 1/2; None: it never does.

    Meant for marks in a figure; the certified number is `sapo_gates.calibrate`'s.
    """
    found = []
    for steps in (1 - np.geomspace(1e-4, 1, 400)[:-1], 1 + np.geomspace(1e-4, 1e4, 800)):
        below = np.flatnonzero(evaluate(gate, sign, "weight", steps) <= 0.5)
        if not len(below) or below[0] == 0:
            found.append(None)
            continue
        inside, outside = float(steps[below[0] - 1]), float(steps[below[0]])
        for _ in range(50):
            middle = (inside + outside) / 2
            if evaluate(gate, sign, "weight", np.array([middle]))[0] <= 0.5:
                outside = middle
            else:
                inside = middle
        found.append(abs(outside - 1))
    return found[0], found[1]
