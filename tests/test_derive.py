"""From a weight to its value: closed forms that do not depend on how fast the machine is."""

import math

import pytest
import sympy
from sympy import Piecewise, exp, log, sech

from sapo_gates import load_gate
from sapo_gates.derive import declared_formula, formula
from sapo_gates.functions import r, sigmoid
from sapo_gates.timelimit import deadline


def test_a_bell_on_one_piece_integrates_to_a_logistic_curve():
    value = formula(load_gate("ppos"), "positive", "value")
    assert value is not None
    assert value.has(sigmoid)
    bound = value.xreplace({p: p.positive for p in load_gate("ppos").parameters})
    assert bound.subs(r, sympy.Rational(1, 10**30)) == sympy.Rational(1, 10**30)  # f = r up to 6/5, digit for digit
    fall = (math.tanh(3) - math.tanh(0.2)) / 5
    assert float(bound.subs(r, 4).evalf()) == pytest.approx(1.2 - fall, abs=1e-12)


@pytest.mark.parametrize(
    "weight",
    [
        Piecewise((1, r < 2), (sech(3 * r - 1) ** 2, True)),
        exp(-(log(r) ** 2)),
        r ** sympy.Rational(3, 2) * exp(2 - 2 * r),
        1 / (1 + 4 * (r - 1) ** 2),
    ],
    ids=str,
)
def test_a_closed_form_is_found_however_little_time_is_left(weight):
    with deadline(0):
        value = declared_formula("weight", weight, "value")
    assert value is not None
    assert value.subs(r, 1).equals(1)


@pytest.mark.parametrize("weight", [sech(r) / (1 + r**2) ** sympy.Rational(5, 4), 1 / (1 + log(r) ** 2)], ids=str)
def test_where_there_is_no_closed_form_none_is_given(weight):
    assert declared_formula("weight", weight, "value") is None
