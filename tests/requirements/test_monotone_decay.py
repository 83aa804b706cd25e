"""monotone-decay: w never grows away from r = 1."""

from collections.abc import Callable

import pytest
from sympy import Rational

from sapo_gates import Gate
from sapo_gates.certificate import Requirement
from sapo_gates.families import ARCTAN, ERF, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "monotone-decay"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_every_smooth_family_decays(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


def grows(gate: Gate, found: Requirement, plain: Callable) -> bool:
    """The witness by plain sympy: w is larger at the ratio farther from 1, both on one side."""
    assert found.witness is not None
    low, high = found.witness.r
    w_low, w_high = (plain(gate, found.witness, ratio) for ratio in (low, high))
    assert Rational(low) < Rational(high)
    return bool(w_high > w_low if Rational(low) >= 1 else w_low > w_high and Rational(high) <= 1)


@pytest.mark.parametrize(
    "text",
    [
        "r",
        "1/r",
        "(1 - (tau*(r - 1))^2)*exp(-(tau*(r - 1))^2/2)",
        "sech(tau*(r - 1)/2)^2 + 1e-6*exp(-((r - 37)/1e-2)^2)",
        "Piecewise((1 - (1 - r)^2, r < 1), (1, True)) + Piecewise(((1/2 - r)^2, r < 1/2), (0, True))*3",
    ],
    ids=["f = r^2/2", "grows to the left", "Mexican hat", "a bump at 37", "grows near 0"],
)
def test_a_weight_that_grows_is_refuted_by_two_ratios_that_plain_sympy_confirms(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(weight=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert grows(gate, found, plain)


def test_a_weight_that_falls_on_each_piece_and_jumps_up_between_them_is_refuted(
    declared: Callable, answer: Callable
) -> None:
    found = answer(declared(weight="Piecewise((1/(1 + (r - 1)^2), r < 2), (1/(r - 1), True))"), ID)
    assert found.verdict == "refuted"
    assert found.witness.kind == "jump"
    assert found.witness.r == ("2",)


def test_a_weight_that_jumps_down_is_proved(declared: Callable, answer: Callable) -> None:
    assert answer(declared(weight="Piecewise((1/100, r < 1/2), (1, r < 3), (1/r, True))"), ID).verdict == "proved"


@pytest.mark.parametrize(
    "text",
    [
        "Piecewise((1, r < 1), (1 - atan(tan(r - 1))/10, True))",
        "Piecewise((1, r < 1), (1 + (atan(1/(r - 2)) + pi/4)/10, True))",
        "Piecewise((1, r < 1), (1 - acos(cos(r - 1))/10, True))",
        "Piecewise((1, r < 1), (tanh(1/(2 - r)), True))",
    ],
    ids=["atan of tan", "atan of a pole", "acos of cos", "tanh of a pole"],
)
def test_a_derivative_of_the_right_sign_proves_nothing_where_the_weight_jumps(
    text: str, declared: Callable, answer: Callable
) -> None:
    assert answer(declared(weight=text), ID).verdict != "proved"


def test_flat_stretches_are_allowed(declared: Callable, answer: Callable) -> None:
    assert answer(declared(weight="1"), ID).verdict == "proved"
    assert answer(SIGMOID, ID).verdict == "proved"
