"""What the prover says of every named gate, over its whole parameter domain and for both signs of A."""

import pytest

from sapo_gates import FAMILIES, Gate, certify, load_gate
from sapo_gates.recheck import recheck

ADMISSIBLE = {
    "sigmoid",
    "erf",
    "arctan",
    "softsign",
    "softsign-abs",
    "tanh",
    "gaussian-cdf",
    "p3o",
    "student-t",
    "generalised-normal",
    "log-normal",
    "compact-bump",
    "raised-cosine",
    "tukey-biweight",
    "scad",
    "welsch",
}


@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_a_family_is_certified_exactly_if_it_is_admissible_and_its_certificate_holds(gate: Gate) -> None:
    certificate = certify(gate)
    assert certificate.verdict == ("certified" if gate.name in ADMISSIBLE else "refuted")
    assert not [r.id for r in certificate.requirements if r.verdict == "undecided"]
    recheck(certificate.to_json())


@pytest.mark.parametrize(
    ("name", "sign", "refuted"),
    [
        ("hard-clip", "positive", {"continuously-differentiable"}),
        ("hard-clip", "negative", {"continuously-differentiable", "vanishing-score"}),
        ("dual-clip", "negative", {"continuously-differentiable"}),
        ("cispo", "positive", {"vanishing-score"}),
        ("maspo", "positive", set()),
        ("maspo", "negative", {"vanishing-score"}),
        ("log-sech", "positive", {"vanishing-score"}),
        ("ppos", "positive", {"continuously-differentiable", "monotone-decay"}),
        ("topr", "negative", {"vanishing-score"}),
        ("vespo", "positive", {"unit-peak", "monotone-decay"}),
        ("harmonic", "negative", {"unit-peak", "monotone-decay", "vanishing-score"}),
    ],
)
def test_what_fails_is_told_apart(name: str, sign: str, refuted: set[str]) -> None:
    certificate = certify(load_gate(name))
    assert {r.id for r in certificate.requirements if r.sign == sign and r.verdict == "refuted"} == refuted
