"""Removable singularities: l'Hopital's rule where it applies, and only there."""

import pytest
import sympy
from sympy import Expr, Rational, Symbol, cos, exp, log, sinh, sqrt, tanh

from sapo_gates.prove.interval import Interval
from sapo_gates.prove.removable import centred, filled

X, P = Symbol("x", real=True), Symbol("p", positive=True)
RANGES = {P: Interval.of(0, 1, True)}


@pytest.mark.parametrize(
    ("expression", "at", "limit"),
    [
        (tanh(P * X) / X, 0, P),
        ((1 - exp(-P * X**2)) / X**2, 0, P),
        ((P * X / sinh(X)) ** Rational(3, 2), 0, P ** Rational(3, 2)),
        (exp(-tanh(P * X) / X), 0, exp(-P)),
        ((1 - cos(X)) / X**2, 0, Rational(1, 2)),
        (X / sinh(P * X), 0, 1 / P),
        (X * sympy.coth(X), 0, sympy.Integer(1)),
        (log(X) / (X - 1), 1, sympy.Integer(1)),
        ((X**2 - 4) / (X - 2), 2, sympy.Integer(4)),
        (exp(-(X ** Rational(3, 2))) * (1 - exp(-P * X**2)) / X**2, 0, P),
        (P + (tanh(X - P) / (X - P)) ** 2, P, P + 1),
    ],
    ids=str,
)
def test_a_hole_is_filled_by_its_limit(expression: Expr, at: Expr, limit: Expr) -> None:
    found = filled(expression, X, sympy.sympify(at), RANGES)
    assert found is not None
    assert sympy.simplify(found - limit) == 0


@pytest.mark.parametrize(
    ("expression", "at"),
    [
        (1 / X, 0),
        (tanh(X) / X**2, 0),
        (exp(-(X ** Rational(3, 2))) * tanh(X) / X**2, 0),
        ((2 + X) / X, 0),
        (sqrt(X**2) / X, 0),
        (sqrt(X) / X, 0),
        (log(X) / X, 0),
        (tanh(X) / ((P - Rational(1, 2)) * X), 0),
        (exp(-1 / X) / X, 0),
        (((1 - cos(X)) / X) ** (X**2 / tanh(X)), 0),
        (log((1 - cos(X)) / X), 0),
        (tanh(X), 0),
    ],
    ids=str,
)
def test_a_pole_a_jump_or_an_uncertain_limit_is_none(expression: Expr, at: int) -> None:
    assert filled(expression, X, sympy.Integer(at), RANGES) is None


def test_powers_of_the_distance_show_a_zero_that_products_hide() -> None:
    hidden = 196 * X**2 * exp(-((14 * X - 14) ** 2)) - (392 * X - 196) * exp(-((14 * X - 14) ** 2))
    assert centred(hidden, X, sympy.Integer(1)) == 196 * (X - 1) ** 2 * exp(-196 * (X - 1) ** 2)


@pytest.mark.parametrize(
    "expression", [sqrt(1 + X**2) / (3 - X), tanh(X) ** 2 * exp(P * X - X), log(X) * X**P], ids=str
)
def test_spelling_in_powers_of_the_distance_changes_no_value(expression: Expr) -> None:
    there = {X: Rational(5, 4), P: Rational(1, 3)}
    spelled = centred(expression, X, sympy.Integer(2))
    assert abs((expression - spelled).subs(there).evalf(30)) < 1e-25
