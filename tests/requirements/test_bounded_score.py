"""bounded-score: sup |phi| < oo."""

from collections.abc import Callable

import pytest
from sympy import Rational

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, HARD_CLIP, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "bounded-score"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_smooth_families_are_proved(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


def test_hard_clipping_is_bounded_for_good_tokens_and_not_for_bad_ones(answer: Callable) -> None:
    assert answer(HARD_CLIP, ID, "positive").verdict == "proved"
    assert answer(HARD_CLIP, ID, "negative").verdict == "refuted"


@pytest.mark.parametrize("text", ["r", "-r^(1/10)", "r*log(1 + r)", "Piecewise((1, r < 2), (r/100, True))"])
def test_an_unbounded_score_is_refuted_and_plain_sympy_sees_it_grow(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(score=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    far, farther = (abs(plain(gate, found.witness, str(Rational(10) ** k), "score")) for k in (8, 16))
    assert farther > far + 1


def test_a_score_that_tends_to_a_constant_is_bounded_though_it_does_not_vanish(
    declared: Callable, answer: Callable
) -> None:
    gate = declared(weight="1/(1 + tau*Abs(r - 1))")
    assert answer(gate, ID).verdict == "proved"
    assert answer(gate, "vanishing-score").verdict == "refuted"


def test_a_score_without_bound_at_zero_or_at_a_pole_is_not_proved(declared: Callable, answer: Callable) -> None:
    for text in ("1/r", "1/(r - 2)", "log(r)/(1 + r)"):
        assert answer(declared(score=text), ID).verdict != "proved"
