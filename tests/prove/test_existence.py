"""A formula that does not exist for every parameter is refused where that is certain, and nothing is proved of it."""

import math

import pytest
import torch

from sapo_gates import Gate, certify
from sapo_gates.errors import GateTextError
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.boxes import Budget
from sapo_gates.prove.case import Case
from sapo_gates.prove.interval import working_precision
from sapo_gates.recheck import recheck
from sapo_gates.torch import surrogate

CAUCHY = "1/(1+(r-1)^2)"


def gate(text: str, domain: str, kind: str = "weight") -> Gate:
    inside = "2" if domain.endswith("oo)") else "1/2"
    return parse_gate(
        f'[gate]\nname = "user"\n{kind} = "{text}"\n'
        f'[parameters.tau]\ndomain = "{domain}"\npositive = "{inside}"\nnegative = "{inside}"\n'
    )


@pytest.mark.parametrize(
    ("kind", "text", "domain", "where"),
    [
        ("weight", f"{CAUCHY}*(tau^2-1)/((tau-1)*(tau+1))", "(0, oo)", r"tau = 1, .* \(0, oo\): 1/\(tau - 1\)"),
        ("weight", f"(tau*r^2-r^2)/((tau*r-r)*r)*{CAUCHY}", "(0, 2)", "tau = 1, .*divides by 0 at every r"),
        ("value", "atan(r-1) + sqrt(tau-1)", "(0, oo)", r"tau = 1/10, .*sqrt\(tau - 1\) is no real number"),
        ("value", "atan(r-1) + 1/log(tau)", "(0, oo)", "tau = 1, "),
        ("value", "atan(r-1) + log(tau-3/2)", "(0, oo)", "tau = 3/2, "),
        ("value", "1 + atan(tau*(r-1))/tau", "[0, oo)", "tau = 0, "),
        ("value", "atan(r-1) + tau^(tau-1)", "(-1, oo)", "tau = 0, "),
        ("weight", f"{CAUCHY}*(tau^4-4)/((tau^2-2)*(tau^2+2))", "(0, oo)", r"tau = sqrt\(2\), "),
        ("weight", "1/(1+(r-1)^2*asin(tau)^2)", "(0, 2)", r"asin\(tau\) is no real number"),
        ("weight", f"Piecewise(({CAUCHY}, r < 2), (sqrt(tau-1)*{CAUCHY}, True))", "(0, oo)", "tau = 1/10, "),
        ("weight", f"Piecewise(({CAUCHY}, r*(tau^2-1)/(tau-1) > 0), (0, True))", "(0, oo)", "tau = 1, "),
    ],
)
def test_a_parameter_value_at_which_nothing_exists_is_named(kind: str, text: str, domain: str, where: str) -> None:
    with pytest.raises(GateTextError, match=f"'user' does not exist at .*{where}"):
        certify(gate(text, domain, kind), "trust-region", budget=5)


@pytest.mark.parametrize(
    ("kind", "text", "domain"),
    [
        ("weight", f"{CAUCHY} + (tau-1/2)*log(-1-r)", "[1/2, 1/2]"),
        ("weight", f"Piecewise(({CAUCHY}, (r+1)*log(-1-r) - r*log(-1-r) - log(-1-r) >= 0), (7, True))", "(0, oo)"),
    ],
)
def test_what_exists_nowhere_is_named_though_it_cancels(kind: str, text: str, domain: str) -> None:
    with pytest.raises(GateTextError, match=r"'user' does not exist at .*log\(-r - 1\) is no real number"):
        certify(gate(text, domain, kind), "trust-region", budget=5)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("weight", f"{CAUCHY} + log(exp(z)-5) - log(r-5)"),
        ("weight", f"{CAUCHY}/2 + exp(-(r-1)^2)/2 + log(exp(z)-5) - log(r-5)"),
        ("value", "atan(r-1) + asin(r-1) + acos(r-1)"),
    ],
)
def test_of_what_does_not_exist_at_some_ratios_nothing_is_proved_though_it_cancels(kind: str, text: str) -> None:
    certificate = certify(gate(text, "(0, oo)", kind), "trust-region", budget=5)
    assert {entry.verdict for entry in certificate.requirements} == {"undecided"}


def test_where_existence_is_not_shown_nothing_is_proved() -> None:
    text = f"{CAUCHY}*(tau^2-exp(-2*tau))/((tau-exp(-tau))*(tau+exp(-tau)))"
    certificate = certify(gate(text, "(0, oo)"), budget=2)
    assert {entry.verdict for entry in certificate.requirements} == {"undecided"}
    assert "existence" in {entry.method for entry in certificate.requirements}
    recheck(certificate.to_json())


@pytest.mark.parametrize(
    ("kind", "text", "domain"),
    [
        ("weight", f"{CAUCHY}*(tau^2-1)/((tau-1)*(tau+1))", "(1, oo)"),
        ("value", "1 + atan(r-1) + sqrt(tau-1)", "[1, oo)"),
        ("value", "1 + atan(r-1) + 1/log(tau)", "(1, oo)"),
        ("weight", f"Piecewise(({CAUCHY}, tau < 2), (sqrt(tau-1)*{CAUCHY}, True))", "(0, oo)"),
        ("weight", f"{CAUCHY}*(r^2-tau^2)/((r-tau)*(r+tau))", "(0, oo)"),
    ],
)
def test_what_exists_everywhere_but_at_isolated_ratios_is_not_refused(kind: str, text: str, domain: str) -> None:
    one = gate(text, domain, kind)
    with working_precision():
        assert Case(one, "positive", Budget.seconds(5)).gap is None


def test_a_factor_that_a_corner_makes_0_is_0_for_prover_checker_and_export_alike() -> None:
    rest = "Max(0, r-9)^2*exp(-r)*log(r-8)/1000"
    weight = f'[gate]\nname = "user"\nweight = "Piecewise((exp(r-1), r < 1), (1/r^2, True)) + {rest}"\n'
    certificate = certify(parse_gate(weight), budget=5)
    assert certificate.verdict == "certified"
    recheck(certificate.to_json())
    value = f'[gate]\nname = "user"\nvalue = "Piecewise((exp(r-1), r < 1), (2-1/r, True)) + {rest}"\n'
    exported = surrogate(certify(parse_gate(value), budget=0.1), allow_uncertified=True)
    z, three = torch.tensor([0.5, 2.0, 8.5]).log(), torch.ones(3)
    assert exported.value(z, three).tolist() == pytest.approx([math.exp(-0.5), 3 / 2, 2 - 1 / 8.5])
    assert exported.weight(z, three).tolist() == pytest.approx([math.exp(-0.5), 1 / 4, 1 / 8.5**2])
