"""unit-peak: w(1) = 1 and nothing above it."""

from collections.abc import Callable

import pytest

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "unit-peak"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_every_smooth_family_peaks_at_one(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


def test_a_square_is_refuted_and_plain_sympy_agrees(declared: Callable, answer: Callable, plain: Callable) -> None:
    gate = declared(value="r^2/2")
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert plain(gate, found.witness, found.witness.r[0]) > 1


@pytest.mark.parametrize(
    "text", ["sigmoid(tau*(r - 1))", "tau*r", "r + 1e-30*r"], ids=["factor 4/tau missing", "tau", "a tiny excess"]
)
def test_a_weight_on_policy_that_is_not_one_is_refuted(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(value=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert found.witness.r == ("1",)
    assert plain(gate, found.witness, "1") != 1


def test_the_peak_beside_one_is_refuted(declared: Callable, answer: Callable, plain: Callable) -> None:
    gate = declared(weight="(1 + tau*(r - 1))^2*exp(-2*tau*(r - 1))*(1 + (tau*(r - 1))^2)")
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert plain(gate, found.witness, found.witness.r[0]) > 1


def test_a_peak_is_proved_also_where_the_weight_rises_again(declared: Callable, answer: Callable) -> None:
    gate = declared(weight="(1 - (tau*(r - 1))^2)*exp(-(tau*(r - 1))^2/2)")
    assert answer(gate, ID).verdict == "proved"
    assert answer(gate, "monotone-decay").verdict == "refuted"


def test_a_needle_that_is_above_one_only_at_one_itself_is_refuted(declared: Callable, answer: Callable) -> None:
    found = answer(declared(weight="sech(tau*(r - 1)/2)^2 + 1e-6*exp(-((r - 37)/1e-2)^2)", domain="[1, 20]"), ID)
    assert found.verdict == "refuted"
    assert found.witness.r == ("1",)  # w(1) = 1 + 1e-6 e^-12960000


def test_a_jump_above_one_is_refuted_though_the_derivative_never_rises(
    declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(weight="Piecewise((1, r < 1), (1 - atan(tan(r - 1))/10, True))")
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert plain(gate, found.witness, found.witness.r[0]) > 1


def test_the_sigmoid_bound_to_numbers_still_peaks_at_one(answer: Callable) -> None:
    assert answer(SIGMOID.bind(tau="1/7"), ID).verdict == "proved"
