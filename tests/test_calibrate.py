"""Temperatures that make gates comparable."""

from fractions import Fraction

import mpmath
import pytest

from sapo_gates import load_gate
from sapo_gates.calibrate import half_width_temperature
from sapo_gates.errors import CalibrationError
from sapo_gates.gatefile import parse_gate

HALF_WIDTH_AT_TAU_ONE = {
    "sigmoid": 2 * mpmath.acosh(mpmath.sqrt(2)),
    "erf": mpmath.sqrt(2 * mpmath.log(2)),
    "arctan": mpmath.mpf(1),
    "softsign": mpmath.sqrt(mpmath.cbrt(4) - 1),
    "softsign-abs": mpmath.sqrt(2) - 1,
    "tanh": mpmath.acosh(mpmath.sqrt(2)),
}
"""From w = 1/2 solved by hand: sech^2(x/2), exp(-x^2/2), 1/(1+x^2), (1+x^2)^(-3/2), (1+x)^-2, sech^2(x)."""


@pytest.mark.parametrize("name", HALF_WIDTH_AT_TAU_ONE)
@pytest.mark.parametrize("half_width", ["1/10", "0.2", 3])
def test_the_bracket_holds_the_temperature_solved_by_hand(name: str, half_width: str | int) -> None:
    with mpmath.workdps(40):
        lower, upper = half_width_temperature(load_gate(name), "positive", half_width)
        tau = HALF_WIDTH_AT_TAU_ONE[name] / mpmath.mpmathify(Fraction(str(half_width)))
        assert mpmath.mpmathify(lower) < tau < mpmath.mpmathify(upper)
        assert upper - lower <= lower / 2**39


def test_temperatures_at_equal_half_width_have_the_known_ratios() -> None:
    names = ("sigmoid", "erf", "arctan", "softsign")
    middles = [sum(half_width_temperature(load_gate(name), "negative", "0.1")) / 2 for name in names]
    assert [round(float(m / middles[0]), 4) for m in middles] == [1, 0.6679, 0.5673, 0.4348]


def test_both_signs_are_calibrated_apart() -> None:
    lopsided = parse_gate(
        '[gate]\nname = "lopsided"\nweight_pos = "1/(1 + (tau*(r-1))**2)"\nweight_neg = "1/(1 + (2*tau*(r-1))**2)"\n'
        '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\n'
    )
    (low, high), (low2, high2) = (half_width_temperature(lopsided, sign, "0.1") for sign in ("positive", "negative"))
    assert low < 10 < high
    assert low2 < 5 < high2


def test_a_gate_with_pieces_is_calibrated_in_the_right_piece() -> None:
    bump = parse_gate(
        '[gate]\nname = "biweight"\nweight = "Piecewise(((1 - (tau*(r-1))**2)**2, Abs(tau*(r-1)) < 1), (0, True))"\n'
        '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\n'
    )
    lower, upper = half_width_temperature(bump, "positive", "1/2")
    assert lower < Fraction(float(2 * mpmath.sqrt(1 - 1 / mpmath.sqrt(2)))) < upper


@pytest.mark.parametrize(
    ("text", "half_width", "says"),
    [
        ('value = "r"\n[parameters.tau]\ndomain = "(0, oo)"\npositive = 1', "0.1", "is reached by gate 'g' at no tau"),
        ('value = "1 + atan(tau*(r-1))/tau"\n[parameters.tau]\ndomain = "(0, 2]"\npositive = 1', "0.1", "in (0, 2]"),
        ('value = "r"', "0.1", "has no parameter 'tau'"),
        ('value = "r"\n[parameters.tau]\ndomain = "(0, oo)"\npositive = 1', "0", "must be a number > 0"),
        ('value = "r"\n[parameters.tau]\ndomain = "(0, oo)"\npositive = 1', "wide", "must be a number > 0"),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(text: str, half_width: str, says: str) -> None:
    with pytest.raises(CalibrationError, match=r"^[^\n]+$") as error:
        half_width_temperature(parse_gate(f'[gate]\nname = "g"\n{text}\n'), "positive", half_width)
    assert says in str(error.value)
