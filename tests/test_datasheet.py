"""The datasheet's numbers: those known from the literature and by hand, for every family, and what has no number."""

from functools import cache
from typing import Any

import mpmath
import pytest
import sympy
from flint import arb
from sympy import Integer, Rational

from sapo_gates import FAMILIES, Gate, load_gate
from sapo_gates.datasheet import datasheet, log_curvature, slopes
from sapo_gates.datasheet.sheet import Sheet
from sapo_gates.datasheet.smoothness import smoothness
from sapo_gates.datasheet.strength import scores
from sapo_gates.datasheet.width import half_widths
from sapo_gates.derive import formula
from sapo_gates.errors import ParameterValueError, UnknownParameter
from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.interval import Interval, working_precision
from sapo_gates.verdict import SIGNS, Sign

KNOWN_AT_TAU_ONE = {
    "sigmoid": {"half_width_right": 1.7627, "curvature": -0.5, "value_range_all_reals": 4, "weight_lipschitz": 0.3849,
                "score_supremum": 1.5747, "score_supremum_at": 2.060},
    "erf": {"half_width_right": 1.1774, "curvature": -1, "value_range_all_reals": 2.5066, "weight_lipschitz": 0.6065,
            "score_supremum": 1.3367},
    "arctan": {"half_width_right": 1, "curvature": -2, "value_range_all_reals": 3.1416, "weight_lipschitz": 0.6495,
               "score_supremum": 1.2071, "score_supremum_at": 2**0.5},
    "softsign": {"half_width_right": 0.7664, "curvature": -3, "value_range_all_reals": 2, "weight_lipschitz": 0.8587,
                 "score_supremum": 1.1430},
}  # fmt: skip
"""Derived by hand and printed to four digits."""

HALF_WIDTH_AT_TAU_TEN = {"sigmoid": 0.176, "erf": 0.118, "arctan": 0.100, "softsign": 0.077}


sheets = cache(datasheet)
"""At the trained values; several tests look at the same sheet."""


def at_tau(name: str, tau: int) -> dict[str, Any]:
    return datasheet(name, positive={"tau": tau}, negative={"tau": tau})["positive"]


def ends(entry: dict[str, Any]) -> tuple[Any, Any]:
    low, high = entry["enclosure"]
    return mpmath.mpf(low), mpmath.mpf(high)


def gate(*lines: str, domain: str = "(0, oo)", tau: int = 10) -> Gate:
    return parse_gate(
        "\n".join(['[gate]\nname = "g"', *lines, f'[parameters.tau]\ndomain = "{domain}"\npositive = {tau}'])
    )


@pytest.mark.parametrize("name", KNOWN_AT_TAU_ONE)
def test_known_numbers_at_tau_one_are_reproduced(name: str) -> None:
    sheet = at_tau(name, 1)
    for quantity, known in KNOWN_AT_TAU_ONE[name].items():
        low, high = ends(sheet[quantity])
        assert low <= high
        assert abs(low - known) < 6e-5 * max(1, abs(known)) * 10 ** (quantity == "score_supremum_at")
        assert high - low <= 1e-6 * abs(high)


def test_the_curvature_in_log_ratio_is_larger_than_the_papers_constant() -> None:
    for tau, known in ((1, "1.4731406"), (2, "3.0021003"), (4, "9.0825691"), (10, "51.1173003"), (12, "73.1196094")):
        with working_precision():
            low, high = ends(slopes.log_curvature(Sheet.of(load_gate("sigmoid"), "positive", {"tau": tau})))
        assert low - mpmath.mpf("1e-6") < mpmath.mpf(known) < high
        assert low > tau**2 / 2


LARGEST_UW = {"sigmoid": "0.895486", "erf": "0.606531", "arctan": "0.5", "softsign": "0.384900179"}
"""sup u W(u) of gates in u = tau (r - 1), which brackets sup phi at every tau."""


@pytest.mark.parametrize("tau", [1, 3, 10])
@pytest.mark.parametrize("name", LARGEST_UW)
def test_the_supremum_of_phi_lies_between_bounds_that_hold_at_every_temperature(name: str, tau: int) -> None:
    c = mpmath.mpf(LARGEST_UW[name])
    with working_precision():
        low, high = ends(scores(Sheet.of(load_gate(name), "positive", {"tau": tau}))["score_supremum"])
    assert max(1, c / tau) < low <= high < 1 + c / tau


def test_half_widths_at_equal_tau_are_unequal() -> None:
    for name, known in HALF_WIDTH_AT_TAU_TEN.items():
        with working_precision():
            low, high = ends(half_widths(Sheet.of(load_gate(name), "positive", {"tau": 10}))["half_width_right"])
        assert round(float(low), 3) == round(float(high), 3) == known


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_entry_of_every_family_has_a_tight_enclosure_or_words(family: Gate) -> None:
    for sheet in sheets(family.name).values():
        for name, entry in sheet.items():
            assert entry["enclosure"] is not None or entry["says"], name
            assert not str(entry.get("says", "")).startswith(("not enclosed", "not settled", "not classified")), name
            if (
                entry["enclosure"] is not None
                and name not in ("smoothness", "value_range")
                and "several" not in str(entry)
            ):
                low, high = ends(entry)
                assert high - low <= 1e-6 * abs(high), name


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_sampled_point_contradicts_the_datasheet(family: Gate, sign: Sign) -> None:
    """Plain mpmath on a grid of ratios, with derivatives by differences: an enclosure must not be exceeded."""
    weight = formula(family, sign, "weight")
    assert weight is not None
    numbers = {p: p.value_for(sign) for p in family.parameters}
    w = sympy.lambdify(r, substitute(weight, numbers).replace(sigmoid, lambda x: 1 / (1 + sympy.exp(-x))), "mpmath")
    sheet = sheets(family.name)[sign]
    ratios = [mpmath.mpf(2) ** (mpmath.mpf(k) / 40) for k in range(-240, 241)]
    slack = mpmath.mpf("1e-9")
    for entry, sampled in (
        ("score_supremum", max(x * w(x) for x in ratios)),
        ("weight_lipschitz", max(abs(mpmath.diff(w, x, h=mpmath.mpf("1e-8"))) for x in ratios)),
        ("kappa", max((1 - w(x)) / (x - 1) ** 2 for x in ratios if x != 1)),
        ("log_curvature", max(abs(mpmath.diff(lambda z: w(mpmath.e**z), mpmath.log(x), 2)) for x in ratios)),
    ):
        if sheet[entry]["enclosure"] is not None:
            assert sampled <= ends(sheet[entry])[1] * (1 + mpmath.mpf("1e-5")) + slack, entry
    for side, outward in (("left", -1), ("right", 1)):
        if sheet[f"half_width_{side}"]["enclosure"] is not None:
            low, high = ends(sheet[f"half_width_{side}"])
            assert w(1 + outward * low * (1 - slack)) >= 0.5 >= w(1 + outward * high * (1 + slack))
        else:
            assert all(w(x) > 0.5 for x in ratios if (x - 1) * outward > 0)


def test_a_gate_without_tau_says_what_it_has_not() -> None:
    sheet = datasheet("hard-clip")
    assert sheet["positive"]["smoothness"]["says"] == "C^0, not C^1"
    assert sheet["positive"]["half_width_right"]["closed_form"] == "epsilon"
    assert sheet["positive"]["half_width_left"]["says"].startswith("never halves")
    assert sheet["positive"]["kappa"]["closed_form"] == "epsilon**(-2)"
    low, high = ends(sheet["positive"]["kappa"])
    assert low <= 25 <= high
    assert sheet["negative"]["score_supremum"]["says"].startswith("unbounded")
    assert sheet["positive"]["pessimism_kill_side"]["says"] == "pessimistic: f(r) A <= r A on r > 1"
    assert sheet["negative"]["pessimism_kill_side"]["says"] == "pessimistic: f(r) A <= r A on r < 1"
    assert sheet["positive"]["log_curvature"]["says"] == "oo: w jumps at r = 1.20000"


def test_a_needle_of_the_score_far_out_is_part_of_its_supremum() -> None:
    needle = parse_gate('[gate]\nname = "n"\nweight = "sech(5*(r-1))^2 + exp(-((r-37)*1000)^2)/10"\n')
    with working_precision():
        low, high = ends(scores(Sheet.of(needle, "positive", {}))["score_supremum"])
    assert mpmath.mpf("3.7") <= high
    assert low >= mpmath.mpf("3.6999")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("softsign", ("strict: ", "strict: ")),
        ("log-arctan", ("strict: ", "strict: ")),
        ("hard-clip", ("not strict: w = 1 from r = 0 to 1.00000", "not strict: w = 0 from r = 0 to 0.800000")),
        ("raised-cosine", ("not strict: w = 0 from r = 0 to 0.900000", "not strict: w = 0 from r = 0 to 0.916667")),
        ("spo", ("not monotone", "not monotone")),
        ("aspo", ("not monotone", "not strict: w = 0 from r = 0 to 0.800000")),
    ],
)
def test_strict_decay_is_told_from_decay(name: str, says: tuple[str, str]) -> None:
    sheets = datasheet(name)
    for sign, start in zip(SIGNS, says, strict=True):
        assert sheets[sign]["strictness"]["says"].startswith(start)


def test_a_decimal_is_no_closed_form() -> None:
    entry = datasheet("sigmoid")["positive"]["weight_lipschitz"]
    assert entry["closed_form"] is None
    low, high = (mpmath.mpf(end) for end in entry["says"].split("c in ")[1].strip("[]").split(", "))
    assert low <= 2 * mpmath.sqrt(3) / 9 <= high


def test_a_closed_form_that_disagrees_is_not_printed() -> None:
    sheet = Sheet.of(load_gate("hard-clip"), "positive", {})
    with working_precision():
        two = Interval.around(arb(2))
        assert sheet.confirmed(Integer(2), two) == "2"
        assert sheet.confirmed(Integer(2) + Rational(1, 10**12), two) is None


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        ("1/(1 + Abs(tau*(r-1))^3)", "C^3, not C^4"),
        ("1/(1 + (tau*(r-1))^2)", "analytic"),
        ("Piecewise(((1 - (tau*(r-1))^2)^2, Abs(tau*(r-1)) < 1), (0, True))", "C^2, not C^3"),
        ("tanh(tau*(r-1))/(tau*(r-1))", "analytic"),
        ("1/(r-1)", "not settled: w may be infinite at some r"),
        ("1/(r^2-4*r+4)", "not settled: w may be infinite at some r"),
    ],
)
def test_smoothness_counts_the_derivatives_that_meet(weight: str, says: str) -> None:
    with working_precision():
        assert smoothness(Sheet.of(gate(f'weight = "{weight}"'), "positive", {}))["says"] == says


def test_a_gap_that_is_not_enclosed_is_not_said_to_be_unbounded() -> None:
    with working_precision():
        around = slopes.around_one(Sheet.of(load_gate("sigmoid"), "positive", {"tau": "1e30"}))
    assert around["surrogate_gap"]["says"] == "not enclosed"


def test_values_outside_the_domain_and_unknown_parameters_are_refused() -> None:
    with pytest.raises(ParameterValueError, match="tau=0"):
        datasheet("sigmoid", positive={"tau": 0})
    with pytest.raises(UnknownParameter, match="'tau'"):
        datasheet("sigmoid", negative={"tua": 1})


def test_log_curvature_bounds_each_sign_from_above_and_is_infinite_for_a_cut() -> None:
    bounds = log_curvature(load_gate("sigmoid"), {"tau": 1}, {"tau": 2})
    assert 1.47314 < bounds["positive"] < 1.47315
    assert 3.00209 < bounds["negative"] < 3.00211
    assert log_curvature(load_gate("hard-clip")) == {"positive": float("inf"), "negative": float("inf")}


USERS_OWN = {
    "a removable singularity at r = 1": ('weight = "tanh(tau*(r-1))/(tau*(r-1))"', "kappa", 100 / 3),
    "no closed form of f": ('weight = "1/(1 + (tau*(r-1))^4)"', "score_supremum", 1.0217727),
    "a kink": ('weight = "Max(0, 1 - Abs(tau*(r-1)))"', "half_width_left", 0.05),
    "a limit at 1/2": ('weight = "1/2 + 1/(2*(1 + (tau*(r-1))^2))"', "half_width_right", None),
    "signs of A apart": ('weight_pos = "1/(1 + (tau*(r-1))^2)"\nweight_neg = "exp(-tau*Abs(r-1))"', "tail", 2),
    "f not shown to be a closed form": ('weight = "sech(tau*log(r))^2/r"', "half_width_right", None),
}


@pytest.mark.parametrize(("text", "entry", "known"), USERS_OWN.values(), ids=USERS_OWN)
def test_a_gate_of_ones_own_has_a_datasheet(text: str, entry: str, known: float | None) -> None:
    sheet = datasheet(gate(text))["positive"]
    if known is not None:
        low, high = ends(sheet[entry])
        assert low - 1e-6 * abs(low) <= known <= high + 1e-6 * abs(high)
        assert high - low <= 1e-6 * abs(high)
    else:
        assert sheet[entry]["enclosure"] is not None or sheet[entry]["says"].startswith("never halves")


def test_a_gate_without_parameters_and_without_width_says_so() -> None:
    sheet = datasheet(parse_gate('[gate]\nname = "plain"\nvalue = "r"\n'))["positive"]
    assert sheet["half_width_right"]["says"] == "never halves: w > 1/2 on (1, oo)"
    assert sheet["score_supremum"]["says"].startswith("unbounded")
    assert sheet["tail"]["says"].startswith("non-vanishing")
    assert sheet["pessimism_pass_side"]["says"] == "equal: f(r) = r on r < 1"
