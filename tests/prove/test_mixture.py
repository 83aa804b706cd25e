"""Formulas as convex mixtures, and the parameters that stand for what scales r - 1."""

import pytest
import sympy
from sympy import Rational

from sapo_gates import certify
from sapo_gates.functions import substitute
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.mixture import parts_of
from sapo_gates.recheck import recheck

PARAMETERS = "".join(
    f'[parameters.{name}]\ndomain = "{domain}"\npositive = "1/2"\nnegative = "1/2"\n'
    for name, domain in {"tau": "(0, oo)", "s": "(0, oo)", "p": "[0, 1]"}.items()
)
CAUCHY, BELL = "1/(1+(r-1)^2)", "exp(-(r-1)^2)"
BUMP = "Piecewise((exp(1-1/(1-({0}*(r-1))^2)), {0}*Abs(r-1) < 1),(0,True))"


def gate_of(text: str):
    return parse_gate(f'[gate]\nname = "user"\n{text}\n{PARAMETERS}')


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        (f'weight = "{CAUCHY}/3 + 2*{BELL}/3"', {"1/3", "2/3"}),
        (f'weight = "p*{CAUCHY} + (1-p)*{BELL}"', {"p", "1 - p"}),
        ('value = "5 + atan(3*(r-1))/6 + tanh(r-1)/2"', {"1/2"}),
        (f'score = "r*{CAUCHY}/2 + r*{BELL}/2"', {"1/2"}),
        (f'weight = "(1-exp(-(r-1)^2))/(r-1)^2/4 + 3*{BELL}/4"', {"1/4", "3/4"}),
        (f'weight = "tanh(3*(r-1))/(r-1)/12 + 3*{BELL}/4"', {"1/4", "3/4"}),
        (f'weight = "0.3*(r-1)/sinh(0.3*r-0.3)/4 + 3*{BELL}/4"', {"1/4", "3/4"}),
        (f'weight = "(0.3*r-0.3)/sinh(0.3*r-0.3)/4 + 3*{BELL}/4"', {"1/4", "3/4"}),
    ],
    ids=[
        *("numbers", "a parameter", "value", "score weight", "0/0 at r = 1", "0/0 that is not 1 there"),
        *("a scale", "a scale that would be spelled otherwise"),
    ],
)
def test_a_mixture_falls_into_its_parts(text: str, shares: set[str]) -> None:
    gate = gate_of(text)
    parts = parts_of(gate, "positive")
    assert {str(part.share) for part in parts} == shares
    difference = sum(part.formula("positive") for part in parts) - gate.declared("positive")
    assert abs(sympy.N(substitute(difference, {symbol: Rational(2, 7) for symbol in difference.free_symbols}))) < 1e-12


@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(f"2*{CAUCHY} - {BELL}", id="a negative share"),
        pytest.param(f"(1+p)*{CAUCHY} - p*{BELL}", id="a share that may be negative"),
        pytest.param(f"{CAUCHY} + {BELL}", id="shares of sum 2"),
        pytest.param(f"{CAUCHY}*{BELL}", id="a product"),
        pytest.param("1/(1 + tau*Abs(r-1))", id="tau scales already"),
    ],
)
def test_what_is_no_mixture_has_no_parts(weight: str) -> None:
    assert parts_of(gate_of(f'weight = "{weight}"'), "positive") == ()


@pytest.mark.parametrize(
    ("weight", "value"),
    [
        ("exp(-s*(r-1)^2/2)", "sqrt(s)"),
        ("1/(1+((r-1)/s)^2)", "1/s"),
        (BUMP.format("(1/20+399*p/20)"), "399*p/20 + 1/20"),
        ("sech(37/10*(r-1))^2", "37/10"),
        ("Piecewise((exp(1-1/(1-1296*(r-1)^2)), Abs(r-1) < 1/36),(0,True))", "36"),
        ("exp(-2*z^2)", "sqrt(2)"),
    ],
)
def test_what_scales_r_becomes_a_parameter(weight: str, value: str) -> None:
    (part,) = parts_of(gate_of(f'weight = "{weight}"'), "positive")
    assert (part.share, [str(value) for value in part.values.values()]) == (1, [value])
    certificate = certify(gate_of(f'weight = "{weight}"'), "trust-region", budget=5)
    assert certificate.verdict == "certified"
    recheck(certificate.to_json())


def test_parts_with_scales_of_their_own_are_proved_one_by_one() -> None:
    weight = f"{BUMP.format('tau')}/2 + {BUMP.format('s')}/4 + exp(-tau^2*z^2)/8 + exp(-30*(r-1)^4)/8"
    certificate = certify(gate_of(f'weight = "{weight}"'), "trust-region", budget=5)
    assert certificate.verdict == "certified"
    recheck(certificate.to_json())


def test_a_part_that_grows_leaves_the_mixture_refuted() -> None:
    certificate = certify(gate_of(f'weight = "9*{BELL}/10 + (1 + (r-1)^2)/10"'), "admissible", budget=5)
    verdicts = {one.id: one.verdict for one in certificate.requirements}
    assert verdicts["monotone-decay"] == verdicts["vanishing-score"] == "refuted"
    recheck(certificate.to_json())
