"""nonnegative-weight: no token is pushed against its own advantage."""

from collections.abc import Callable

import pytest

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "nonnegative-weight"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_every_smooth_family_is_proved(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


@pytest.mark.parametrize(
    "text",
    ["Piecewise((1, r <= 6/5), (-3/10, True))", "1 - (r - 1)/tau", "sech(r - 1) - sech((r - 5)/1e-3)", "1 - 1/r"],
    ids=["ppo-rb", "spo", "a narrow dip at 5", "near 0"],
)
def test_a_negative_weight_is_refuted_and_plain_sympy_agrees(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(weight=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    assert plain(gate, found.witness, found.witness.r[0]) < 0


def test_a_weight_that_touches_zero_is_not_refuted(declared: Callable, answer: Callable) -> None:
    assert answer(declared(weight="(r - 3)^2/(1 + (r - 3)^2)"), ID).verdict == "proved"
    assert answer(SIGMOID.bind(tau=10), ID).verdict == "proved"
