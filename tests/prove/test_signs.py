"""The rules that settle boxes: each proves what it says, needs its licence, and sees a planted defect."""

from fractions import Fraction

import pytest
from sympy import Rational

from sapo_gates import Parameter
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r
from sapo_gates.prove.boxes import Budget, Closed, Open, Range, Violated
from sapo_gates.prove.interval import working_precision
from sapo_gates.prove.points import suspects
from sapo_gates.prove.sections import branches_of
from sapo_gates.prove.signs import Claim, SectionProver

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


def settles(prover: SectionProver, rule: str, low: Fraction, high: Fraction) -> bool:
    box = {prover.t: Range(low, high)}
    return dict(prover.rules("decay"))[rule]({prover.t: box[prover.t].interval}, box)


@pytest.mark.parametrize(
    ("text", "side", "rules"),
    [
        ("1 - (r - 1)^2", 1, {2, 3, 4}),  # w' = 0 at 1, w'' < 0
        ("1 - (r - 1)^4", 1, {2, 3, 4}),
        ("1 - (r - 1)/9 - (r - 1)^2", 1, {2, 3, 4}),  # w' < 0 at 1
        ("1 + (r - 1)/9 - (r - 1)^2", 1, set()),  # w rises at first
        ("1 + (r - 1)^2 - (r - 1)^3", 1, set()),
        ("1 - (r - 1)^2", -1, {2, 3, 4}),
        ("1 + (r - 1)^2", -1, set()),  # its third derivative is right, and its second is not
        ("1 - (r - 1)/9 + (r - 1)^3", -1, set()),  # w falls towards 1
        ("1 + (r - 1)/9 - (r - 1)^2", -1, {2, 3, 4}),
        # at 1 the needle is 1e-6*exp(-12960000): it makes w rise, which is wrong to the right of 1 only
        ("sech((r - 1)/2)^2 + 1e-6*exp(-((r - 37)/1e-2)^2)", 1, set()),
        ("sech((r - 1)/2)^2 + 1e-6*exp(-((r - 37)/1e-2)^2)", -1, {2}),
    ],
)
def test_higher_derivatives_count_only_where_those_before_them_are_right_at_the_end(
    text: str, side: int, rules: set[int]
) -> None:
    with working_precision():
        (prover,) = (one for one in provers(text) if one.outward == side)
        ends = (Fraction(1), Fraction(3, 2)) if side > 0 else (Fraction(1, 2), Fraction(1))
        assert {k for k in (2, 3, 4) if settles(prover, f"anchor-{k}", *ends)} == rules


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("sech(r)*exp(-r)", True),
        ("(3 - r)*exp(-r)", True),
        ("sqrt(3 - r)", True),
        ("exp(-r) + sech(r)*(3 - r)", True),
        ("(1 - r)*exp(-r)", False),  # below 0, where a falling factor makes it rise
        ("(1 - r)*(2 - r)", False),
        ("r*exp(-r)", False),
        ("sech(r)*(2 + (r - 1)^2)", False),
    ],
)
def test_a_product_falls_with_its_factors_only_where_none_is_negative(text: str, holds: bool) -> None:
    with working_precision():
        assert settles(provers(text)[1], "each", Fraction(5, 4), Fraction(5, 2)) == holds


HOMOGRAPHIC = "Piecewise((2*({0})/(1 + {0}), Abs(r - 1) < 1), (0, True))"


def test_what_all_terms_of_a_derivative_share_decides_its_sign_next_to_1() -> None:
    with working_precision():
        right = provers(HOMOGRAPHIC.format("(1 - (r - 1)^2)^2"))[1]
        assert [settles(right, rule, Fraction(1), Fraction(3, 2)) for rule in ("derivative", "terms")] == [
            False,
            False,
        ]
        assert settles(right, "inverse", Fraction(1), Fraction(3, 2))


def test_a_derivative_spelled_otherwise_settles_nothing_where_the_weight_turns() -> None:
    with working_precision():
        right = provers(HOMOGRAPHIC.format("(1 - (2*r - 3)^2)^2"))[1]
        assert not settles(right, "inverse", Fraction(1), Fraction(7, 4))


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
