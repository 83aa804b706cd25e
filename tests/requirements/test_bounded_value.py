"""bounded-value: sup |f(r) - f(1)| < oo."""

from collections.abc import Callable

import pytest
from sympy import Rational

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, HARD_CLIP, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "bounded-value"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_smooth_families_are_proved(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


def test_hard_clipping_is_bounded_for_good_tokens_and_not_for_bad_ones(answer: Callable) -> None:
    assert answer(HARD_CLIP, ID, "positive").verdict == "proved"
    assert answer(HARD_CLIP, ID, "negative").verdict == "refuted"


@pytest.mark.parametrize("text", ["r", "log(1 + r)", "-sqrt(r)", "r^2"], ids=["r", "log", "-sqrt", "r^2"])
def test_an_unbounded_value_is_refuted_and_plain_sympy_sees_it_grow(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(value=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    far, farther = (abs(plain(gate, found.witness, str(Rational(10) ** k), "value")) for k in (8, 16))
    assert farther > far + 1


@pytest.mark.parametrize("kind", ["value", "weight"])
def test_a_value_without_bound_at_zero_or_at_a_pole_is_not_proved(
    kind: str, declared: Callable, answer: Callable
) -> None:
    for text in ("1/r^2", "1/(r - 2)^2", "1/(r*(1 + r^3))"):
        assert answer(declared(**{kind: text}), ID).verdict != "proved"


def test_a_value_known_only_as_an_integral_is_proved_where_its_score_falls_like_a_power(
    declared: Callable, answer: Callable
) -> None:
    assert answer(declared(weight="exp(-tau*Abs(r - 1)^3)"), ID).verdict == "proved"
    slow = declared(weight="Piecewise((1, r < 3), (1/(r*(1 + log(r))), True))")  # f grows like log log r
    assert answer(slow, ID).verdict != "proved"


def test_a_value_that_jumps_back_for_ever_is_not_refuted_by_its_slope(declared: Callable, answer: Callable) -> None:
    for text in ("atan(tan(r))", "atan(sin(r)/cos(r))"):  # within pi/2 of 0, and f' = 1
        assert answer(declared(value=text), ID).verdict == "undecided"
