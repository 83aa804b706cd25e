"""A gate as a value: one declaration, its text, its digest, and what binding does."""

import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest
import sympy
from hypothesis import example, given
from hypothesis import strategies as st
from sympy import Max, Min, Piecewise, Rational, atan, exp, log

from sapo_gates import FAMILIES, Domain, Gate, Parameter
from sapo_gates.derive import formula
from sapo_gates.errors import GateTextError, ParameterValueError, UnknownParameter
from sapo_gates.families import ARCTAN, HARD_CLIP, SIGMOID
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import RESERVED, exact
from sapo_gates.gatefile import parse_gate
from sapo_gates.verdict import SIGNS, Sign

tau = Parameter("tau", "(0, oo)", 10, 12, says="steepness")


def named(gate: Gate) -> str:
    return gate.name


@pytest.mark.parametrize("gate", FAMILIES, ids=named)
def test_reading_a_gates_text_gives_the_same_gate(gate: Gate) -> None:
    again = parse_gate(gate.text)
    assert again == gate
    assert again.text == gate.text
    assert again.digest == gate.digest
    assert [(p.domain, p.positive, p.negative, p.says) for p in again.parameters] == [
        (p.domain, p.positive, p.negative, p.says) for p in gate.parameters
    ]


@pytest.mark.parametrize(
    "value",
    [
        exp(1) * r,
        Piecewise((1, r < 1), (1, r < 2), (r, True)),
        Piecewise((r, (r > 1) & (r < 2)), (1, True)),
        Max(r, tau, z) + Min(r, 2),
        r / 10**300,
        sympy.pi * sympy.sqrt(2) * r ** Rational(-7, 3),
        log(r) * z,
        sympy.lowergamma(tau, r),
        sympy.Mul(Rational(1, 2), 1 / (r + 1)),
    ],
    ids=str,
)
def test_what_sympy_writes_in_its_own_words_survives_the_round_trip(value: sympy.Expr) -> None:
    gate = Gate(name="g", value=value, parameters=(tau,))
    again = parse_gate(gate.text)
    assert again.digest == gate.digest
    assert sympy.simplify(again.declared("positive") - value) == 0


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
@example('"\\\n\x00', "\U0001f600\x7f\u2028")
def test_any_words_around_a_gate_survive_the_round_trip_and_leave_its_digest_alone(source: str, says: str) -> None:
    gate = Gate(name="g", value=r, source=source, says=says)
    again = parse_gate(gate.text)
    assert (again.source, again.says) == (source, says)
    assert again.digest == Gate(name="g", value=r).digest


def test_the_digest_changes_with_everything_that_is_claimed_about() -> None:
    def digest(value: sympy.Expr = r * tau, name: str = "g", domain: str = "(0, oo)", positive: int = 10) -> str:
        p = Parameter("tau", domain, positive, 12)
        return Gate(name=name, value=value, parameters=(p,)).digest

    changed = [digest(value=r * tau + 1), digest(name="h"), digest(domain="(0, 20]"), digest(positive=11)]
    assert len({digest(), *changed}) == 5
    assert digest() == digest()
    assert Gate(name="g", weight=r).digest != Gate(name="g", value=r).digest


def test_the_digest_is_the_same_in_every_process() -> None:
    script = "from sapo_gates.families import *; print([g.digest for g in FAMILIES])"
    seeds = ("0", "1234")
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in seeds
    }
    assert outputs == {f"{[gate.digest for gate in FAMILIES]}\n"}


@pytest.mark.parametrize("gate", FAMILIES, ids=named)
def test_pickling_keeps_domains_and_trained_values(gate: Gate) -> None:
    again = pickle.loads(pickle.dumps(gate))
    assert again == gate
    assert again.digest == gate.digest
    assert [str(p.domain) for p in again.parameters] == [str(p.domain) for p in gate.parameters]


def test_a_gate_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        SIGMOID.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_binding_fixes_a_parameter_exactly_for_both_signs() -> None:
    bound = SIGMOID.bind(tau=0.1)
    assert bound.parameters == ()
    assert bound.declared("positive") == SIGMOID.declared("positive").xreplace({SIGMOID.parameters[0]: Rational(1, 10)})
    assert not isinstance(bound.value, tuple)
    assert SIGMOID.parameters != ()


def test_binding_one_sign_gives_a_pair_and_keeps_the_parameter_of_the_other() -> None:
    bound = ARCTAN.bind(positive={"tau": 10})
    assert isinstance(bound.value, tuple)
    assert bound.parameters_for("positive") == ()
    assert [p.name for p in bound.parameters_for("negative")] == ["tau"]
    assert ARCTAN.bind(positive={"tau": 5}, negative={"tau": 5}) == ARCTAN.bind(tau=5)


def test_a_wrong_parameter_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownParameter, match=r"gate 'sigmoid' has no parameter 'tua'.*Did you mean 'tau'\?"):
        SIGMOID.bind(tua=1)
    with pytest.raises(UnknownParameter, match="Did you mean 'epsilon'"):
        HARD_CLIP.bind(positive={"epsilom": "0.1"})


@pytest.mark.parametrize("value", [0, -1, "0.0"])
def test_a_value_outside_the_domain_is_refused(value: int | str) -> None:
    with pytest.raises(ParameterValueError, match=r"outside the domain \(0, oo\)"):
        SIGMOID.bind(tau=value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "1/0", "ten", True, "", "1e999999999", "9" * 5000, None, "1e5000000"], ids=str
)
def test_what_is_no_number_is_refused_at_once(value: str) -> None:
    with pytest.raises(GateTextError, match="no number"):
        SIGMOID.bind(tau=value)
    with pytest.raises(GateTextError, match="no number"):
        Parameter("a", "(0, oo)", value, 1)


@pytest.mark.parametrize(
    ("number", "value"),
    [(0.1, "1/10"), ("1e-9", "1/1000000000"), (Fraction(1, 3), "1/3"), ("-2.50", "-5/2"), (1e-7, "1/10000000")],
    ids=str,
)
def test_a_number_is_the_one_that_was_written(number: float | str | Fraction, value: str) -> None:
    assert str(exact(number)) == value


@pytest.mark.parametrize("text", ["(0, oo)", "[1/20, 20]", "(-oo, oo)", "[1, oo)", "(-1/3, 0]", "[2, 2]"])
def test_a_domain_is_written_as_it_was_read(text: str) -> None:
    assert str(Domain.parse(text)) == text


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        ("(0, 1]", ["1/2", "1", "1e-30"], ["0", "1.0000001", "-1"]),
        ("[0, 1)", ["0", "1/2"], ["1", "-1e-30"]),
        ("(-oo, 5]", ["-1e40", "5"], ["5.1"]),
    ],
)
def test_a_domain_holds_its_closed_ends_and_not_its_open_ones(
    domain: str, inside: list[str], outside: list[str]
) -> None:
    assert all(exact(number) in Domain.parse(domain) for number in inside)
    assert not any(exact(number) in Domain.parse(domain) for number in outside)


@pytest.mark.parametrize(
    "text",
    ["", "0, 1", "(1, 0)", "(0, 0)", "[0, oo]", "(oo, 1)", "(0, 1/0)", "(0, 1e999)", "(0, tau)", "[-oo, 0)", "(0, 1))"],
)
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(GateTextError, match="domain"):
        Domain.parse(text)


def test_a_trained_value_outside_its_domain_is_refused() -> None:
    with pytest.raises(ParameterValueError, match=r"tau=30 is outside its domain \[1, 20\]"):
        Parameter("tau", "[1, 20]", 30, 10)


@pytest.mark.parametrize("name", [*RESERVED, "", "a b", "2x", "τ", "a-b"])
def test_a_name_that_is_taken_or_none_is_refused(name: str) -> None:
    with pytest.raises(GateTextError, match="taken or not a name"):
        Parameter(name, "(0, oo)", 1, 1)


def test_none_or_several_declarations_are_refused() -> None:
    with pytest.raises(GateTextError, match="declares nothing"):
        Gate(name="g")
    with pytest.raises(GateTextError, match="exactly one"):
        Gate(name="g", value=r, weight=r)


def test_a_stray_symbol_is_refused_and_the_nearest_name_offered() -> None:
    with pytest.raises(GateTextError, match=r"uses 'tua'.*Did you mean 'tau'\?"):
        Gate(name="g", value=r * sympy.Symbol("tua"), parameters=(tau,))


def test_a_float_is_refused_since_proofs_are_about_exact_numbers() -> None:
    with pytest.raises(GateTextError, match="float"):
        Gate(name="g", value=0.1 * r)


@pytest.mark.parametrize("gate", [gate for gate in FAMILIES if gate.kind == "value"], ids=named)
@pytest.mark.parametrize("sign", SIGNS)
def test_weight_and_score_weight_follow_from_the_value(gate: Gate, sign: Sign) -> None:
    value, weight, score = (formula(gate, sign, kind) for kind in ("value", "weight", "score"))
    assert value is not None
    assert weight is not None
    assert score is not None
    at = {p: p.value_for(sign) for p in gate.parameters} | {r: Rational(21, 20)}
    slope = substitute(sympy.diff(value, r), at)
    assert abs(sympy.N(slope - substitute(weight, at), 30)) < 1e-25
    assert abs(sympy.N(substitute(score, at) - at[r] * substitute(weight, at), 30)) < 1e-25


def test_a_value_that_must_be_integrated_is_one_on_policy() -> None:
    value = formula(Gate(name="g", weight=1 / (1 + (r - 1) ** 2)), "positive", "value")
    assert value is not None
    assert sympy.simplify(value - 1 - atan(r - 1)) == 0
