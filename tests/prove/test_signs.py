"""The rules that settle boxes: each proves what it says, needs its licence, and sees a planted defect."""

from fractions import Fraction

import pytest
from sympy import Rational

from sapo_gates import Parameter
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r
from sapo_gates.prove.boxes import Budget, Closed, Open, Range, Violated
from sapo_gates.prove.interval import working_precision
from sapo_gates.prove.sections import branches_of
from sapo_gates.prove.signs import Claim, SectionProver, suspects

tau = Parameter("tau", "(0, oo)", 10, 12)


def provers(text: str, kind: str = "weight") -> tuple[SectionProver, ...]:
    declared = parse_expression(text, {"tau": tau})
    (branch,) = branches_of(kind, declared, {tau: tau.domain} if tau in declared.free_symbols else {})  # pyright: ignore[reportArgumentType]
    return tuple(SectionProver(branch, section) for section in branch.sections)


def outcomes(text: str, claim: Claim, boxes: int = 300) -> list[Closed | Violated | Open]:
    with working_precision():
        return [prover.settle(claim, Budget(Budget.seconds(20).deadline, boxes)) for prover in provers(text)]


def rules_used(text: str, claim: Claim = "decay") -> set[str]:
    found = outcomes(text, claim)
    assert all(isinstance(outcome, Closed) for outcome in found)
    return {leaf.rule for outcome in found if isinstance(outcome, Closed) for leaf in outcome.leaves}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("1/(1 + tau*Abs(r - 1))", "derivative"),
        ("sech(r - 1)", "log-derivative"),
        ("exp(-(r - 1)^2)/2 + sech(r - 1)/2", "terms"),
    ],
)
def test_a_rule_closes_what_it_is_for(text: str, rule: str) -> None:
    assert rules_used(text)  # which rule comes first may change; that the named one can settle a box may not
    with working_precision():
        for prover in provers(text):
            named = dict(prover.rules("decay"))[rule]
            box = {prover.t: Range(Fraction(3, 2), Fraction(2))}
            inside = prover.box()[prover.t].contains(Fraction(3, 2))
            if inside and prover.branch.chart.kind == "ratio":
                assert named({symbol: part.interval for symbol, part in box.items()}, box)


@pytest.mark.parametrize(
    "text",
    ["1 - atan(tan(r))", "atan(1/(r - 2))", "1 - acos(cos(r))", "tanh(1/(r - 3))"],
)
def test_no_decay_rule_settles_a_box_on_which_the_weight_jumps(text: str) -> None:
    with working_precision():
        for prover in provers(text):
            if prover.section.side == "left":
                continue
            box = {prover.t: Range(Fraction(5, 4), Fraction(7, 2))}
            ranges = {symbol: part.interval for symbol, part in box.items()}
            assert not any(rule(ranges, box) for _, rule in prover.rules("decay"))


def test_a_second_derivative_without_its_licence_proves_nothing() -> None:
    # w'' <= 0 next to 1 says that w falls there only where w'(1) = 0 exactly: the needle's is 2e-3*exp(-12960000)
    text = "sech((r - 1)/2)^2 + 1e-6*exp(-((r - 37)/1e-2)^2)"
    with working_precision():
        for prover in provers(text):
            for k in (2, 3, 4):
                rule = dict(prover.rules("decay"))[f"anchor-{k}"]
                touching = Range(Fraction(1), Fraction(2)) if prover.outward > 0 else Range(Fraction(1, 2), Fraction(1))
                box = {prover.t: touching}
                assert not rule({prover.t: touching.interval}, box)


def test_the_licence_is_given_where_the_derivatives_vanish() -> None:
    with working_precision():
        right = provers("sech(tau*(r - 1)/2)^2")[1]
        assert right.anchor_orders("lower") == 1
        assert provers("1 - (r - 1)^4")[1].anchor_orders("lower") == 3
        assert provers("1 - Abs(r - 1)")[1].anchor_orders("lower") == 0


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("r", "decay"),
        ("r^2", "at most one"),
        ("1 - r", "nonnegative"),
        ("sech(r - 1)^2 + exp(-(r - 5)^2)/100", "decay"),
        ("sqrt(3 - r)", "weight defined"),
    ],
)
def test_a_false_claim_is_never_closed(text: str, claim: Claim) -> None:
    assert not all(isinstance(outcome, Closed) for outcome in outcomes(text, claim))


def test_a_hunt_looks_where_a_linear_part_vanishes_at_its_own_scale() -> None:
    needle = parse_expression("exp(-((r - 37)/1e-9)^2)", {})
    near = [point for point in suspects(needle, r) if 0 < abs(point - 37) <= Fraction(4, 10**9)]
    assert near
    with working_precision():
        right = provers("sech(r - 1)^2 + 1e-12*exp(-((r - 37)/1e-9)^2)")[1]
        found = right.hunt("decay", [{}])
    assert isinstance(found, Violated)
    assert abs(found.box[right.t].middle - 37) < Fraction(1, 10**8)


def test_a_hunt_finds_nothing_where_nothing_is_wrong() -> None:
    with working_precision():
        for prover in provers("sech(tau*(r - 1))^2"):
            assert prover.hunt("decay", [{tau: Rational(10)}]) is None
