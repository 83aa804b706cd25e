"""Temperatures that make gates comparable."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import pytest
import sympy

from sapo_gates import load_gate
from sapo_gates.calibrate import Calibration, LogRatios, calibrate, distinct_signs
from sapo_gates.derive import formula
from sapo_gates.errors import CalibrationError
from sapo_gates.functions import r, substitute
from sapo_gates.gatefile import parse_gate
from sapo_gates.verdict import SIGNS

TAU = '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\n'
HALF_WIDTH_AT_TAU_ONE = {
    "sigmoid": lambda: 2 * mpmath.acosh(mpmath.sqrt(2)),
    "erf": lambda: mpmath.sqrt(2 * mpmath.log(2)),
    "arctan": lambda: mpmath.mpf(1),
    "softsign": lambda: mpmath.sqrt(mpmath.cbrt(4) - 1),
    "softsign-abs": lambda: mpmath.sqrt(2) - 1,
    "tanh": lambda: mpmath.acosh(mpmath.sqrt(2)),
}
"""From w = 1/2 solved by hand: sech^2(x/2), exp(-x^2/2), 1/(1+x^2), (1+x^2)^(-3/2), (1+x)^-2, sech^2(x)."""


@pytest.mark.parametrize("name", HALF_WIDTH_AT_TAU_ONE)
@pytest.mark.parametrize("half_width", ["1/10", "0.2", 3])
def test_the_bracket_holds_the_temperature_solved_by_hand(name: str, half_width: str | int) -> None:
    with mpmath.workdps(40):
        found = calibrate(load_gate(name), "positive", half_width=half_width)
        tau = HALF_WIDTH_AT_TAU_ONE[name]() / mpmath.mpmathify(Fraction(str(half_width)))
        assert mpmath.mpmathify(found.lower) < tau < mpmath.mpmathify(found.upper)
        assert found.upper - found.lower <= found.lower / 2**39
        assert found.unique


def test_temperatures_at_equal_half_width_have_the_known_ratios() -> None:
    names = ("sigmoid", "erf", "arctan", "softsign")
    values = [calibrate(load_gate(name), "negative", half_width="0.1").lower for name in names]
    assert [round(float(v / values[0]), 4) for v in values] == [1, 0.6679, 0.5673, 0.4348]


def test_both_signs_are_calibrated_apart() -> None:
    lopsided = parse_gate(
        '[gate]\nname = "lopsided"\nweight_pos = "1/(1 + (tau*(r-1))**2)"\nweight_neg = "1/(1 + (2*tau*(r-1))**2)"\n'
        '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\n'
    )
    found = {sign: calibrate(lopsided, sign, half_width="0.1") for sign in SIGNS}
    assert found["positive"].lower < 10 < found["positive"].upper
    assert found["negative"].lower < 5 < found["negative"].upper


def test_a_gate_with_pieces_is_calibrated_in_the_right_piece() -> None:
    bump = parse_gate(
        '[gate]\nname = "biweight"\nweight = "Piecewise(((1 - (tau*(r-1))**2)**2, Abs(tau*(r-1)) < 1), (0, True))"\n'
        '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\n'
    )
    found = calibrate(bump, "positive", half_width="1/2")
    assert found.lower < Fraction(float(2 * mpmath.sqrt(1 - 1 / mpmath.sqrt(2)))) < found.upper


@pytest.mark.parametrize(
    ("text", "half_width", "says"),
    [
        ('value = "r + 0*tau"\n[parameters.tau]\ndomain = "(0, oo)"\npositive = 1', "0.1", "has no parameter"),
        (
            'value = "1 + atan(tau*(r-1))/tau"\n[parameters.tau]\ndomain = "(0, 2]"\npositive = 1',
            "0.1",
            "at no tau that was tried in (0, 2]",
        ),
        ('value = "r"', "0.1", "has no parameter to calibrate"),
        ('value = "r^tau"\n[parameters.tau]\ndomain = "(0, oo)"\npositive = 1', "0", "must be a number > 0"),
        ('value = "r^tau"\n[parameters.tau]\ndomain = "(0, oo)"\npositive = 1', "wide", "must be a number > 0"),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(text: str, half_width: str, says: str) -> None:
    with pytest.raises(CalibrationError, match=r"^[^\n]+$") as error:
        calibrate(parse_gate(f'[gate]\nname = "g"\n{text}\n'), "positive", half_width=half_width)
    assert says in str(error.value)


def test_equal_half_widths_have_one_temperature_each_where_w_is_proved_to_decay() -> None:
    found = calibrate(load_gate("arctan"), "positive", half_width="0.1")
    assert found.lower < 10 < found.upper
    assert found.unique


def test_curvature_at_one_is_met_and_said_to_be_one_sided_where_w_has_a_corner() -> None:
    assert (f := calibrate(load_gate("sigmoid"), "positive", curvature=-50)).lower < 10 < f.upper
    assert f.unique
    lopsided = parse_gate(
        '[gate]\nname = "g"\nweight = "Piecewise((1/(1 + (tau*(r-1))^2), r >= 1), (1/(1 + (2*tau*(r-1))^2), True))"\n'
        + TAU
    )
    assert "from the left" in calibrate(lopsided, "positive", curvature=-2).says


def test_sup_score_is_met_by_the_temperature_solved_by_hand() -> None:
    """arctan: sup phi = (1 + sqrt(1 + 1/tau^2))/2, which is 1.1 at tau = 1/sqrt(0.44)."""
    found = calibrate(load_gate("arctan"), "positive", sup_score="1.1")
    assert found.lower < Fraction(float(1 / mpmath.sqrt("0.44"))) < found.upper
    assert found.upper - found.lower <= found.lower / 2**23
    assert found.unique


def test_the_effective_update_ratio_under_normal_log_ratios_is_that_of_a_gaussian_integral() -> None:
    """w = exp(-tau^2 z^2/2), z normal(0, s): the mean is 1/sqrt(1 + tau^2 s^2), 1/2 at tau = sqrt(3)/s."""
    log_normal = parse_gate('[gate]\nname = "g"\nweight = "exp(-tau^2*z^2/2)"\n' + TAU)
    found = calibrate(log_normal, "positive", eur="0.5", log_ratios=LogRatios.normal(0, "0.1"))
    assert found.lower < Fraction(float(10 * mpmath.sqrt(3))) < found.upper
    assert found.upper - found.lower < found.lower / 2**22
    assert found.unique


@pytest.mark.parametrize("name", ["sigmoid", "softsign-abs", "hard-clip"])
def test_the_effective_update_ratio_under_normal_log_ratios_agrees_with_quadrature(name: str) -> None:
    gate = load_gate(name)
    found = calibrate(gate, "positive", eur="0.9", log_ratios=LogRatios.normal("0.01", "0.2"))
    weight = formula(gate, "positive", "weight")
    assert weight is not None
    values = {p: found.lower if p.name == found.parameter else p.positive for p in gate.parameters}
    w = sympy.lambdify(r, substitute(weight, {p: sympy.Rational(str(v)) for p, v in values.items()}), "mpmath")
    corners = [mpmath.log(1 + found.lower), mpmath.log(1 + 1 / mpmath.mpmathify(found.lower))]
    points = sorted([*corners, *(mpmath.mpf(k) / 10 for k in range(-16, 17, 2))])
    mean: Any = mpmath.quad(lambda z: w(mpmath.e**z) * mpmath.npdf(z, 0.01, 0.2), points)
    assert abs(mean - 0.9) < 1e-4  # a corner between the points costs the quadrature some digits


@pytest.mark.parametrize(
    ("name", "target", "parameter", "value"),
    [
        ("hard-clip", {"half_width": "0.3"}, "epsilon", "0.3"),  # the step itself
        ("hard-clip", {"half_width": "0.9"}, "epsilon", "0.9"),  # in the upper half of the domain (0, 1)
        ("harmonic", {"half_width": 3}, "lambda_", "1/2"),  # (1 + L)/(1 + 4 L) = 1/2
        ("maspo", {"half_width": "0.2"}, "sigma", str(0.2 / (2 * 0.6931471805599453) ** 0.5)),
        ("cispo", {"sup_score": 3}, "c", "3"),
    ],
)
def test_the_parameter_solved_for_is_named_where_it_is_not_tau(
    name: str, target: dict[str, Any], parameter: str, value: str
) -> None:
    found = calibrate(load_gate(name), "positive", **target)
    assert found.parameter == parameter
    near = Fraction(1, 10**7)
    assert found.lower - near < Fraction(value) < found.upper + near
    assert parameter in found.says


def test_a_weight_that_halves_on_the_left_alone_is_calibrated_there() -> None:
    found = calibrate(load_gate("hard-clip"), "negative", half_width="0.3")
    assert found.lower < Fraction(3, 10) < found.upper
    assert "w(1 - h)" in found.says


def test_signs_with_other_trained_values_are_calibrated_apart() -> None:
    assert distinct_signs(load_gate("arctan")) == ("positive",)
    assert distinct_signs(load_gate("vespo")) == ("positive", "negative")


def test_a_root_that_is_not_shown_to_be_the_only_one_is_said_to_be_the_first_found() -> None:
    rising = parse_gate('[gate]\nname = "g"\nweight = "1/(1 + tau*(r-1)^2) + tau*(r-1)^4*exp(-r)/1000"\n' + TAU)
    found: Calibration = calibrate(rising, "positive", half_width="2")
    assert not found.unique
    assert "others may meet it too" in found.says


def test_a_stretch_that_meets_the_target_is_not_said_to_be_one_value() -> None:
    stairs = "Piecewise((1, tau*Abs(r-1) < 1), (1/2, tau*Abs(r-1) < 2), (0, True))"
    found = calibrate(parse_gate(f'[gate]\nname = "g"\nweight = "{stairs}"\n{TAU}'), "positive", half_width="1/4")
    assert found.lower <= 4 < 8 <= found.upper  # w(5/4) = 1/2 from tau = 4 to tau = 8
    assert not found.unique
    assert "several tau" in found.says


def test_ratios_beyond_every_double_are_no_traceback() -> None:
    """Of the sigmoid's weight nothing is left at such ratios."""
    with pytest.raises(CalibrationError, match="at no tau that was tried"):
        calibrate(load_gate("sigmoid"), "positive", eur="0.9", log_ratios=LogRatios.normal("800", "1"))


def test_the_effective_update_ratio_over_a_histogram_is_a_sum_over_its_bins(tmp_path: Path) -> None:
    """Half of the tokens at z = 0, half at z = log 2 (middle of its bin): EUR = (1 + 1/(1 + tau^2))/2 for arctan."""
    log2 = 0.6931471805599453
    path = tmp_path / "log_ratios.json"
    path.write_text(json.dumps({"edges": [-0.1, 0.1, 2 * log2 - 0.1], "counts": [5, 5]}), encoding="utf-8")
    found = calibrate(load_gate("arctan"), "positive", eur="0.75", log_ratios=LogRatios.histogram(path))
    assert abs(found.lower - 1) < Fraction(1, 10**8)
    assert found.unique


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ({}, "given none"),
        ({"half_width": 1, "eur": 1}, "given half_width and eur"),
        ({"eur": "0.5"}, "give their standard deviation"),
        ({"half_width": 1, "log_ratios": LogRatios.normal(0, 1)}, "half_width does not depend on them"),
        ({"sup_score": 1}, "must be > 1"),
        ({"curvature": 5}, "where A > 0 at no tau that was tried in (0, oo)"),
        ({"curvature": "flat"}, "must be a number"),
    ],
)
def test_a_target_that_is_none_is_refused_in_one_line(targets: dict[str, Any], says: str) -> None:
    with pytest.raises(CalibrationError, match=r"^[^\n]+$") as error:
        calibrate(load_gate("arctan"), "positive", **targets)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"edges": [0, 1]}', '{"edges": [1, 0], "counts": [1]}', '{"edges": [0, 1], "counts": [0]}',
     pytest.param("[" * 100_000, id="nested"),
     pytest.param(json.dumps({"edges": [*range(50_001)], "counts": [1] * 50_000}), id="too many bins")],
)  # fmt: skip
def test_a_file_that_is_no_histogram_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"^[^\n]+$"):
        LogRatios.histogram(path)
