"""Certificates: what they hold, that reading gives back what was written, and that the digest notices every change."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapo_gates import Gate, Parameter, certify, load_certificate
from sapo_gates.certificate import DEFAULT_BUDGET, certificate_from_json
from sapo_gates.errors import CertificateError, RequirementError, SapoGatesError, UnknownGate
from sapo_gates.expression import parse_expression
from sapo_gates.requirements import PROFILES
from sapo_gates.verdict import SIGNS

ARCTAN, HARD_CLIP = certify("arctan", "trust-region"), certify("hard-clip")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_requirement_is_answered_once_for_each_sign(profile: str) -> None:
    found = [(entry.sign, entry.id) for entry in certify("arctan", profile).requirements]
    assert found == [(sign, module.ID) for sign in SIGNS for module in PROFILES[profile]]


def test_a_certified_gate_has_evidence_for_everything() -> None:
    assert ARCTAN.verdict == "certified"
    assert all(entry.evidence and entry.method and entry.witness is None for entry in ARCTAN.requirements)
    assert {entry.scope for entry in ARCTAN.requirements} == {"for all tau in (0, oo)"}


def test_a_refuted_requirement_has_a_witness_and_the_others_keep_their_own_verdicts() -> None:
    assert HARD_CLIP.verdict == "refuted"
    for entry in HARD_CLIP.requirements:
        assert (entry.witness is not None) == (entry.verdict == "refuted")
    assert {entry.verdict for entry in HARD_CLIP.requirements} == {"proved", "refuted"}


@pytest.mark.parametrize("certificate", [ARCTAN, HARD_CLIP], ids=["arctan", "hard-clip"])
def test_reading_a_certificate_gives_back_what_was_written(certificate: Any, tmp_path: Path) -> None:
    path = tmp_path / "cert.json"
    certificate.save(path)
    again = load_certificate(path)
    assert again.to_json() == certificate.to_json()
    assert again.verdict == certificate.verdict


def test_certifying_twice_gives_the_same_digest() -> None:
    assert certify("softsign").digest == certify("softsign").digest


def test_a_formula_that_sympy_reads_otherwise_than_it_writes_it_survives_being_written(tmp_path: Path) -> None:
    value = parse_expression("0.5/(r + 2)", {})
    certify(Gate(name="half", value=value), budget=1).save(tmp_path / "cert.json")
    assert load_certificate(tmp_path / "cert.json").gate.name == "half"


def test_numerics_are_kept_beside_the_proofs_and_outside_the_digest() -> None:
    with_numerics = ARCTAN.with_numerics([{"holds": True}])
    assert with_numerics.digest == ARCTAN.digest
    assert with_numerics.to_json()["numerics"] == [{"holds": True}]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [p for index, item in enumerate(value) for p in leaves(item, (*path, index))]
    return [path]


WHOLE = ARCTAN.to_json()
PATHS = [path for path in leaves(WHOLE) if path[0] != "numerics"]


@settings(max_examples=200)
@given(st.sampled_from(PATHS), st.one_of(st.none(), st.text(max_size=3), st.integers(), st.just([]), st.just({})))
def test_a_change_anywhere_is_noticed(path: tuple[Any, ...], new: Any) -> None:
    changed = copy.deepcopy(WHOLE)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    if holder[path[-1]] == new:
        return
    holder[path[-1]] = new
    try:
        again = certificate_from_json(changed, "changed")
    except SapoGatesError:
        return
    # what is derived from the rest is derived again, not believed
    assert again.to_json() == WHOLE
    assert path in {("format",), ("verdict",), ("gate", "name"), ("gate", "digest")}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "3", '{"format": "other"}', '{"format": "sapo-gates-certificate/2"}', "\x00", "[" * 9999],
)
def test_what_is_no_certificate_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "cert.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CertificateError, match="certificate"):
        load_certificate(path)


def test_a_missing_or_binary_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    for name in ("missing.json", "binary.json"):
        with pytest.raises(CertificateError, match="cannot read"):
            load_certificate(tmp_path / name)


def test_a_tiny_budget_is_undecided_and_not_a_pass() -> None:
    tau = Parameter("tau", "[1, 20]", 10, 12)
    weight = parse_expression("sech(tau*(r - 1))^2*(1 + sin(1000*r)/1e9)/(1 + sin(1000)/1e9)", {"tau": tau})
    certificate = certify(Gate(name="hard", weight=weight, parameters=(tau,)), budget=1e-9)
    assert certificate.verdict != "certified"
    assert "undecided" in {entry.verdict for entry in certificate.requirements}


@pytest.mark.parametrize("budget", [0, -1, float("nan")])
def test_a_budget_that_is_not_positive_is_refused(budget: float) -> None:
    with pytest.raises(RequirementError, match="positive"):
        certify("arctan", budget=budget)
    assert DEFAULT_BUDGET > 0


def test_an_unknown_profile_or_gate_offers_the_nearest() -> None:
    with pytest.raises(RequirementError, match="Did you mean 'admissible'"):
        certify("arctan", "admisible")
    with pytest.raises(UnknownGate, match="Did you mean 'arctan'"):
        certify("arctn")


def test_a_certificate_is_plain_json() -> None:
    assert json.loads(json.dumps(WHOLE, allow_nan=False)) == WHOLE
