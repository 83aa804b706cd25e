"""first-order-agreement: f(r) - f(1) = (r - 1) + o(r - 1)."""

from collections.abc import Callable

import pytest

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "first-order-agreement"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_every_smooth_family_is_proved(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


@pytest.mark.parametrize(
    "text", ["sigmoid(tau*(r - 1))", "2*r", "1", "atan(tau*(r - 1))"], ids=["no 4/tau", "2r", "constant", "no 1/tau"]
)
def test_another_slope_at_one_is_refuted_and_plain_sympy_agrees(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(value=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert plain(gate, found.witness, "1") != 1


@pytest.mark.parametrize(
    "text",
    ["Piecewise((r, r < 1), (r + 1, True))", "Piecewise((r, r < 1), (7, r <= 1), (r, True))",
     "Piecewise((r, r < 1), (2*r - 1, True))"],
    ids=["f jumps", "f(1) out of line", "a kink"],
)  # fmt: skip
def test_a_break_at_one_is_not_proved(text: str, declared: Callable, answer: Callable) -> None:
    assert answer(declared(value=text), ID).verdict != "proved"


def test_it_is_about_one_alone(declared: Callable, answer: Callable) -> None:
    assert answer(declared(value="Piecewise((r, r < 2), (0, True))"), ID).verdict == "proved"
    assert answer(SIGMOID.bind(tau=3), ID).verdict == "proved"
