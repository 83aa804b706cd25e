"""vanishing-score: r w(r) -> 0 as r -> oo."""

from collections.abc import Callable

import pytest
from sympy import Rational

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, HARD_CLIP, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "vanishing-score"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_smooth_families_are_proved(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


def test_hard_clipping_vanishes_for_good_tokens_and_not_for_bad_ones(answer: Callable) -> None:
    assert answer(HARD_CLIP, ID, "positive").verdict == "proved"
    assert answer(HARD_CLIP, ID, "negative").verdict == "refuted"


@pytest.mark.parametrize(
    "text",
    ["1/(1 + tau*Abs(r - 1))", "Piecewise((1, r <= 6/5), (1/100, True))", "1", "-1/r", "sech(z/2)^2", "1/sqrt(r)"],
    ids=["meets v1 only", "leaky clip", "f = r", "negative", "log-sech at tau = 1", "phi grows"],
)
def test_a_score_that_stays_away_from_zero_is_refuted_and_plain_sympy_agrees_far_out(
    text: str, declared: Callable, answer: Callable, plain: Callable
) -> None:
    gate = declared(weight=text)
    found = answer(gate, ID)
    assert found.verdict == "refuted"
    start, ((low, high),) = Rational(found.witness.r[0]), found.witness.enclosure
    for factor in (1, 2, 1000, 10**9):
        phi = plain(gate, found.witness, str(start * factor), "score")
        assert phi >= Rational(low) if low != "-oo" else phi <= Rational(high)
    assert low == "-oo" or Rational(low) > 0


@pytest.mark.parametrize(
    "text",
    ["1/(1 + Abs(r - 1))^(1 + tau)", "exp(-tau*z^2)", "sech(tau*z)^2/r", "1/(r*(1 + log(1 + r^2)))", "sin(r)/r^3"],
    ids=["any power above 1", "log-normal", "log-sech over r", "slower than any power", "an oscillation"],
)
def test_a_score_that_vanishes_is_not_refuted(text: str, declared: Callable, answer: Callable) -> None:
    assert answer(declared(weight=text), ID).verdict != "refuted"


@pytest.mark.parametrize(
    ("domain", "verdict"),
    [("(1, oo)", "proved"), ("(0, oo)", "refuted"), ("[1, oo)", "refuted"), ("[1/2, 2]", "refuted")],
)
def test_the_domain_of_the_parameter_decides(domain: str, verdict: str, declared: Callable, answer: Callable) -> None:
    found = answer(declared(weight="sech(tau*z/2)^2", domain=domain), ID)
    assert found.verdict == verdict
    assert found.witness is None or Rational(found.witness.parameters["tau"]) <= 1
