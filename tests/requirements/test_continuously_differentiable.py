"""continuously-differentiable: proved across corners that match, refuted at jumps, poles and undefined stretches."""

from collections.abc import Callable

import pytest
from sympy import Rational

from sapo_gates import Gate
from sapo_gates.families import ARCTAN, ERF, HARD_CLIP, SIGMOID, SOFTSIGN, SOFTSIGN_ABS, TANH

SMOOTH = (SIGMOID, ERF, ARCTAN, SOFTSIGN, SOFTSIGN_ABS, TANH)
ID = "continuously-differentiable"


@pytest.mark.parametrize("gate", SMOOTH, ids=lambda gate: gate.name)
def test_smooth_families_are_proved(gate: Gate, answer: Callable) -> None:
    assert answer(gate, ID).verdict == "proved"


def test_the_jump_of_hard_clipping_is_found_where_it_is(answer: Callable, plain: Callable) -> None:
    found = answer(HARD_CLIP, ID)
    assert found.verdict == "refuted"
    assert found.witness.kind == "jump"
    (ratio,) = found.witness.r
    assert Rational(ratio) == 1 + Rational(found.witness.parameters["epsilon"])
    tiny = Rational(1, 10**6)
    before, after = (plain(HARD_CLIP, found.witness, str(Rational(ratio) + step)) for step in (-tiny, tiny))
    assert (int(before), int(after)) == (1, 0)


def test_a_value_that_jumps_while_its_weight_does_not_is_refuted(declared: Callable, answer: Callable) -> None:
    found = answer(declared(value="Piecewise((r, r < 2), (r + 1, True))"), ID)
    assert found.verdict == "refuted"
    assert found.witness.r == ("2",)
    assert "f jumps" in found.says


def test_a_single_point_out_of_line_is_not_proved(declared: Callable, answer: Callable) -> None:
    gate = declared(value="Piecewise((r, r < 2), (7, r <= 2), (r, True))")
    assert answer(gate, ID).verdict != "proved"


def test_a_corner_of_the_value_that_matches_is_proved(declared: Callable, answer: Callable) -> None:
    assert answer(declared(value="Piecewise((r, r <= 1), (2 - 1/r, True))"), ID).verdict == "proved"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("1/(3 - 2*r)", "3/2", "3/2"), ("1/(2 - r^2)", "1.41", "1.42"), ("1/(r - 1)^2", "1", "1"),
     ("tan(r)", "1.57", "1.58"), ("gamma(r - 3)", "1", "3")],
    ids=["rational place", "irrational place", "at 1", "tan", "gamma"],
)  # fmt: skip
def test_a_pole_is_never_proved_and_where_found_it_is_where_it_should_be(
    text: str, low: str, high: str, declared: Callable, answer: Callable
) -> None:
    found = answer(declared(weight=text), ID)
    assert found.verdict != "proved"
    if found.witness is not None:
        assert any(Rational(low) <= Rational(ratio) <= Rational(high) for ratio in found.witness.r)


@pytest.mark.parametrize("text", ["1/(3 - 2*r)", "1/(2 - r^2)", "log(3 - r)", "sqrt(3 - r)", "sqrt(r - 1/2)"])
def test_poles_and_undefined_stretches_are_refuted_with_the_place(
    text: str, declared: Callable, answer: Callable
) -> None:
    found = answer(declared(value=text), ID)
    assert found.verdict == "refuted"
    assert found.witness is not None


def test_a_limit_that_is_infinite_is_not_taken_for_what_sympy_makes_of_zero_times_infinity(
    declared: Callable, answer: Callable
) -> None:
    gate = declared(weight="Piecewise((1, r <= 2), (1 - (r - 2)*erfi(1/(r - 2)), True))")
    assert answer(gate, ID).verdict != "proved"
