"""Gates made of gates: each is what its formula says, and keeps or loses what its docstring says."""

import pytest
import sympy
from sympy import Expr, Integer, Rational

from sapo_gates import Gate, Parameter, certify, load_gate
from sapo_gates.combine import dual_clip, mixture, one_sided, per_sign, reparametrised, shifted
from sapo_gates.derive import formula
from sapo_gates.errors import GateTextError
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Kind
from sapo_gates.recheck import recheck
from sapo_gates.verdict import SIGNS, Sign

RATIOS = [Rational(1, 10), Rational(9, 10), Integer(1), Rational(11, 10), Integer(3)]
ARCTAN, SIGMOID, SOFTSIGN = (load_gate(name) for name in ("arctan", "sigmoid", "softsign"))


def at(gate: Gate, sign: Sign, kind: Kind, ratio: Expr, **parameters: int) -> float:
    """The quantity at a ratio and at parameter values, the trained ones where none are given."""
    found = formula(gate, sign, kind)
    assert found is not None
    values = {p: Integer(parameters[p.name]) if p.name in parameters else p.value_for(sign) for p in gate.parameters}
    return float(substitute(found, {r: ratio, **values}))


def answers(gate: Gate) -> dict[tuple[str, Sign], str]:
    """The verdicts of the profile `admissible`, from a certificate that re-checks."""
    certificate = certify(gate)
    recheck(certificate.to_json())
    return {(entry.id, entry.sign): entry.verdict for entry in certificate.requirements}


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_pair_is_one_gate_where_the_advantage_is_positive_and_the_other_elsewhere(ratio: Rational) -> None:
    pair = per_sign(ARCTAN, SIGMOID)
    assert at(pair, "positive", "value", ratio) == pytest.approx(at(ARCTAN, "positive", "value", ratio))
    assert at(pair, "negative", "value", ratio) == pytest.approx(at(SIGMOID, "negative", "value", ratio))


def test_a_pair_shares_parameters_of_one_domain_and_tells_others_apart() -> None:
    assert [p.name for p in per_sign(ARCTAN, SIGMOID).parameters] == ["tau"]
    bounded = Gate(
        name="bounded",
        value=1 + sympy.atan((tau := Parameter("tau", "(0, 5]", 1, 2)) * (r - 1)) / tau,
        parameters=(tau,),
    )
    pair = per_sign(ARCTAN, bounded)
    assert {p.name: str(p.domain) for p in pair.parameters} == {"tau_pos": "(0, oo)", "tau_neg": "(0, 5]"}
    assert at(pair, "negative", "weight", Integer(2), tau_neg=2) == pytest.approx(1 / 5)


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_mixture_is_the_sum_of_its_shares(ratio: Rational) -> None:
    mixed = mixture([ARCTAN, SOFTSIGN], [Rational(1, 4), Rational(3, 4)])
    for sign in SIGNS:
        expected = at(ARCTAN, sign, "weight", ratio) / 4 + 3 * at(SOFTSIGN, sign, "weight", ratio) / 4
        assert at(mixed, sign, "weight", ratio) == pytest.approx(expected)


@pytest.mark.parametrize("shares", [["1/2", "1/3"], ["3/2", "-1/2"], ["1"]])
def test_shares_that_are_not_convex_are_refused(shares: list[str]) -> None:
    with pytest.raises(GateTextError, match="must be positive, of sum 1"):
        mixture([ARCTAN, SOFTSIGN], shares)


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_one_sided_gate_is_the_gate_on_the_kill_side_and_the_ratio_elsewhere(ratio: Rational) -> None:
    one = one_sided(ARCTAN)
    sides: dict[Sign, bool] = {"positive": bool(ratio > 1), "negative": bool(ratio < 1)}
    for sign, kills in sides.items():
        expected = at(ARCTAN, sign, "weight", ratio) if kills else 1
        assert at(one, sign, "weight", ratio) == pytest.approx(expected)
    assert at(one, "positive", "value", Rational(1, 10)) == pytest.approx(0.1)


@pytest.mark.parametrize("sign", SIGNS)
def test_a_shifted_gate_is_1_on_policy_and_has_the_same_weight(sign: Sign) -> None:
    moved = shifted(SIGMOID)
    assert at(SIGMOID, sign, "value", Integer(1)) != 1
    assert at(moved, sign, "value", Integer(1)) == 1
    assert at(moved, sign, "weight", Integer(2)) == at(SIGMOID, sign, "weight", Integer(2))


def test_a_gate_without_a_value_cannot_be_shifted() -> None:
    with pytest.raises(GateTextError, match="declares its weight, not f"):
        shifted(Gate(name="bell", weight=sympy.exp(-((r - 1) ** 2))))


def test_a_dual_clip_cuts_the_value_off_for_negative_advantages_alone() -> None:
    ceiling = Rational(11, 10)
    clipped = dual_clip(ARCTAN, ceiling)
    assert at(clipped, "positive", "value", Integer(3)) == pytest.approx(at(ARCTAN, "positive", "value", Integer(3)))
    assert at(clipped, "negative", "value", Integer(3)) == pytest.approx(1.1)
    assert at(clipped, "negative", "value", Rational(9, 10)) == pytest.approx(
        at(ARCTAN, "negative", "value", Rational(9, 10))
    )
    with pytest.raises(GateTextError, match="ceiling=1 must be above 1"):
        dual_clip(ARCTAN, 1)


def test_parameters_become_functions_of_new_ones() -> None:
    width = Parameter("width", "(0, oo)", 1, 1)
    wide = reparametrised(ARCTAN, {"tau": 1 / width}, [width])
    assert [p.name for p in wide.parameters] == ["width"]
    assert at(wide, "positive", "weight", Integer(3), width=2) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    "gate",
    [
        per_sign(ARCTAN, SIGMOID),
        mixture([ARCTAN, SIGMOID, SOFTSIGN], ["1/2", "1/4", "1/4"]),
        shifted(SIGMOID),
        reparametrised(ARCTAN, {"tau": 1 / (width := Parameter("width", "(0, oo)", 1, 1))}, [width]),
    ],
    ids=lambda gate: gate.name,
)
def test_what_keeps_admissibility_is_certified_for_the_whole_domain(gate: Gate) -> None:
    assert set(answers(gate).values()) == {"proved"}


def test_a_value_among_weights_is_mixed_in_by_a_short_weight() -> None:
    mixed = mixture([load_gate("softsign-abs"), SOFTSIGN, load_gate("log-normal").bind(tau=1)], ["1/4", "1/4", "1/2"])
    u = mixed.parameter("tau") * (r - 1)
    expected = (1 + sympy.Abs(u)) ** -2 / 4 + (1 + u**2) ** Rational(-3, 2) / 4 + sympy.exp(-(z**2) / 2) / 2
    assert mixed.declared("positive") == expected


def test_a_one_sided_gate_never_lets_go_where_the_way_to_infinity_is_the_pass_side() -> None:
    lost = {which for which, verdict in answers(one_sided(ARCTAN)).items() if verdict != "proved"}
    assert lost == {("vanishing-score", "negative")}


def test_a_dual_clip_has_a_corner_where_it_binds() -> None:
    found = answers(dual_clip(ARCTAN.bind(tau=1), Rational(3, 2)))
    assert {which for which, verdict in found.items() if verdict == "refuted"} == {
        ("continuously-differentiable", "negative")
    }
