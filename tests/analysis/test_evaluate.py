"""The floats that are drawn, against high-precision values of the same formula."""

from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sapo_analysis.errors import FigureError
from sapo_analysis.evaluate import evaluate, half_widths
from sapo_gates import FAMILIES, Gate, load_gate
from sapo_gates.derive import formula
from sapo_gates.functions import r
from sapo_gates.gate import Kind
from sapo_gates.gatefile import parse_gate
from sapo_gates.verdict import SIGNS, Sign

SMOOTH = FAMILIES[:6]


@cache
def _precise(gate: Gate, quantity: Kind, sign: Sign):
    expression = formula(gate, sign, quantity)
    assert expression is not None
    bound = expression.xreplace({p: p.value_for(sign) for p in gate.parameters})
    return sympy.lambdify(r, bound.rewrite(sympy.exp), "mpmath")


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("quantity", ["weight", "score"])
@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
@settings(deadline=None)  # the first example also compiles the formula
@given(log_ratio=st.floats(-12, 12))
@example(log_ratio=18.0)
def test_drawn_numbers_are_the_formula(gate: Gate, quantity: Kind, sign: Sign, log_ratio: float) -> None:
    ratio = float(np.exp(log_ratio))
    with mpmath.workdps(80):
        truth = float(_precise(gate, quantity, sign)(mpmath.mpf(ratio)))
    assert evaluate(gate, sign, quantity, np.array([ratio]))[0] == pytest.approx(truth, rel=1e-15, abs=0)


@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_every_value_is_one_on_policy(gate: Gate) -> None:
    for sign in SIGNS:
        assert evaluate(gate, sign, "value", np.array([0.5, 1.0]))[1] == pytest.approx(1, rel=1e-15)


def test_the_value_of_a_gate_declared_by_its_weight_is_its_integral() -> None:
    gate = parse_gate('[gate]\nname = "g"\nweight = "exp(-(r-1)**4)"\n')
    ratio = np.array([0.25, 1.0, 1.5, 3.0])
    quad: Any = mpmath.quad
    truth = [1 + float(quad(lambda t: mpmath.exp(-((t - 1) ** 4)), [1, end])) for end in ratio]
    assert evaluate(gate, "positive", "value", ratio) == pytest.approx(truth, rel=1e-9)


def test_no_ratios_have_no_values() -> None:
    none = np.array([])
    for name in ("sigmoid", "topr"):  # a formula, and an integral
        assert evaluate(load_gate(name), "positive", "value", none).shape == (0,)


def test_special_functions_are_drawn() -> None:
    gate = parse_gate('[gate]\nname = "g"\nweight = "erfc(r)/erfc(1)"\n')
    assert evaluate(gate, "positive", "weight", np.array([1.0, 2.0])) == pytest.approx(
        [1, float(mpmath.erfc(2) / mpmath.erfc(1))], rel=1e-15
    )


def test_a_pole_is_told_and_not_drawn() -> None:
    gate = parse_gate('[gate]\nname = "g"\nweight = "1/(r - 2)"\n')
    with pytest.raises(FigureError, match="no finite weight at r = 2"):
        evaluate(gate, "positive", "weight", np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("name", "sign", "left", "right"),
    [
        ("arctan", "positive", 0.1, 0.1),
        ("arctan", "negative", 1 / 12, 1 / 12),
        ("hard-clip", "positive", None, 0.2),
        ("hard-clip", "negative", 0.2, None),
    ],
)
def test_half_widths_are_where_the_weight_has_halved(
    name: str, sign: Sign, left: float | None, right: float | None
) -> None:
    found = half_widths(load_gate(name), sign)
    assert found[0] == (None if left is None else pytest.approx(left, rel=1e-9))
    assert found[1] == (None if right is None else pytest.approx(right, rel=1e-9))


def test_the_sigmoid_at_tau_one_never_halves_on_the_left() -> None:
    assert half_widths(load_gate("sigmoid").bind(tau=1), "positive") == (None, pytest.approx(1.7627472))
