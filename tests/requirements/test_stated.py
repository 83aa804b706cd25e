"""Requirements that users state: verdicts known by hand, evaluated again by the checker, forgeries it must reject."""

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from sapo_gates import Certificate, Gate, certify, load_gate
from sapo_gates.errors import RecheckFailed, RequirementError
from sapo_gates.gatefile import parse_gate
from sapo_gates.recheck import recheck
from sapo_gates.requirements.stated import parse
from sapo_gates.verdict import Sign


def over(name: str, domain: str) -> Gate:
    """A family for the taus of a domain around 10."""
    text = load_gate(name).text.replace('"(0, oo)"', f'"{domain}"').replace('"12"', '"10"')
    return parse_gate(text)


LOG_NORMAL = parse_gate(
    '[gate]\nname = "log-normal"\nweight = "exp(-tau^2*z^2/2)"\n[parameters.tau]\ndomain = "[10, 20]"\npositive = 10\n'
)
MOVING = parse_gate(
    '[gate]\nname = "moving"\nweight = "Piecewise((1, r <= 1 + e), (0, True))"\n'
    '[parameters.e]\ndomain = "[1/8, 1/4]"\npositive = "1/4"\n'
)
HARD = load_gate("hard-clip").bind(epsilon="0.2")
LOW_CORNER = parse_gate(
    '[gate]\nname = "low corner"\nweight = "Max(0, Min(1, (37/10 - tau*Abs(r - 1))/(27/10)))"\n'
    '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\nnegative = 1\n'
)
SIDES: tuple[Sign, Sign] = ("positive", "negative")

KNOWN: list[tuple[str, Gate, str, tuple[str, str]]] = [
    ("narrow sigmoid", over("sigmoid", "[10, 20]"), "half_width <= 0.2", ("proved", "proved")),
    ("narrow sigmoid", over("sigmoid", "[10, 20]"), "half_width <= 0.1", ("refuted", "refuted")),
    ("narrow sigmoid", over("sigmoid", "[10, 20]"), "sup score <= 1.01", ("proved", "proved")),
    ("narrow sigmoid", over("sigmoid", "[10, 20]"), "sup score <= 1.009", ("refuted", "refuted")),
    ("narrow sigmoid", over("sigmoid", "[10, 20]"), "weight(0) <= 0.0002", ("proved", "proved")),
    ("sigmoid", load_gate("sigmoid"), "weight(0) <= 0.05", ("refuted", "refuted")),
    ("sigmoid", load_gate("sigmoid"), "half_width <= 0.2", ("refuted", "refuted")),
    ("sigmoid", load_gate("sigmoid"), "sup score <= 1.1", ("refuted", "refuted")),
    ("sigmoid", load_gate("sigmoid"), "tail order >= 100", ("proved", "proved")),
    ("sigmoid", load_gate("sigmoid"), "smoothness >= 4", ("proved", "proved")),
    ("sigmoid", load_gate("sigmoid"), "pessimistic on kill side", ("proved", "proved")),
    ("sigmoid", load_gate("sigmoid"), "pessimistic on pass side", ("refuted", "refuted")),
    ("arctan", load_gate("arctan"), "tail order >= 2", ("proved", "proved")),
    ("arctan", load_gate("arctan"), "tail order >= 2.001", ("refuted", "refuted")),
    ("narrow arctan", over("arctan", "[10, 20]"), "sup score <= 1.003", ("proved", "proved")),
    ("softsign-abs", load_gate("softsign-abs"), "smoothness >= 1", ("proved", "proved")),
    ("softsign-abs", load_gate("softsign-abs"), "smoothness >= 2", ("refuted", "refuted")),
    ("narrow softsign-abs", over("softsign-abs", "[5, 12]"), "sup score <= 1.1", ("proved", "proved")),
    ("hard clip", HARD, "half_width <= 0.2", ("refuted", "refuted")),
    ("hard clip", HARD, "sup score <= 1.201", ("proved", "refuted")),
    ("hard clip", HARD, "sup score <= 1.1", ("refuted", "refuted")),
    ("hard clip", HARD, "smoothness >= 0", ("proved", "proved")),
    ("hard clip", HARD, "smoothness >= 1", ("refuted", "refuted")),
    ("hard clip", HARD, "pessimistic on kill side", ("proved", "proved")),
    ("hard clip", load_gate("hard-clip"), "pessimistic on pass side", ("proved", "proved")),
    ("hard clip", load_gate("hard-clip"), "weight(0) <= 0.05", ("refuted", "proved")),
    ("hard clip", load_gate("hard-clip"), "tail order >= 3", ("proved", "refuted")),
    ("scad", load_gate("scad"), "half_width <= 0.2", ("refuted", "refuted")),
    ("scad", load_gate("scad"), "weight(0) <= 0.05", ("refuted", "refuted")),
    ("a corner at r < 0 for small tau", LOW_CORNER, "smoothness >= 2", ("refuted", "refuted")),
    ("log-normal", LOG_NORMAL, "sup score <= 1.1", ("proved", "proved")),
    ("log-normal", LOG_NORMAL, "half_width <= 0.13", ("proved", "proved")),
    ("log-normal", LOG_NORMAL, "tail order >= 7", ("proved", "proved")),
]


def certified(gate: Gate, *texts: str) -> Certificate:
    return certify(gate, require=texts, budget=60)


def copied(certificate: Certificate) -> dict[str, Any]:
    return json.loads(json.dumps(certificate.to_json()))


@pytest.mark.parametrize(
    ("name", "gate", "text", "verdicts"), KNOWN, ids=[f"{name}: {text}" for name, _, text, _ in KNOWN]
)
def test_the_known_verdict_is_found_and_evaluated_again(
    name: str, gate: Gate, text: str, verdicts: tuple[str, str]
) -> None:
    certificate = certified(gate, text)
    found = {one.sign: one.verdict for one in certificate.requirements if one.id == parse(text).ID}
    assert found == dict(zip(SIDES, verdicts, strict=True)), name
    recheck(copied(certificate))


def test_a_weight_that_jumps_exactly_at_the_half_width_is_not_wider() -> None:
    """w = 1 up to 1 + e and 0 beyond: the half-width is e, although w(1 + e) = 1; on the left w never halves."""
    right = [one for one in certified(MOVING, "half_width <= 1/4").requirements if one.id.startswith("half_width")]
    assert all(one.witness is not None and one.witness.r == ("3/4",) for one in right)


@pytest.mark.parametrize(
    "text",
    ["half_wdth <= 0.1", "half_width < 0.1", "half_width <= wide", "half_width <= 0", "half_width <= 1/0",
     "smoothness >= 1.5", "smoothness >= 99", "sup score >= 1", "", "pessimistic", "weight(1) <= 0.1"],
)  # fmt: skip
def test_what_states_nothing_is_refused_in_one_line_with_the_nearest_form(text: str) -> None:
    with pytest.raises(RequirementError, match=r"^[^\n]+$") as error:
        parse(text)
    assert "Did you mean" in str(error.value) or "try" in str(error.value) or "write for example" in str(error.value)


@pytest.mark.parametrize("text", ["half_width<=0.2", "half-width  <= .2", "half width <= 1/5"])
def test_spellings_of_one_statement_are_one_requirement(text: str) -> None:
    assert parse(text).ID == "half_width <= 1/5"


def resealed(content: dict[str, Any]) -> dict[str, Any]:
    """A forger who knows how digests are made."""
    claimed = {key: content[key] for key in content if key not in ("digest", "numerics")}
    text = json.dumps(claimed, sort_keys=True, separators=(",", ":"))
    return {**content, "digest": "sha256:" + hashlib.sha256(text.encode()).hexdigest()}


def entries(content: dict[str, Any], start: str) -> list[dict[str, Any]]:
    return [entry for entry in content["requirements"] if entry["id"].startswith(start)]


def renamed(new: str) -> Callable[[dict[str, Any]], None]:
    """What was shown of one statement is told of another."""

    def forge(content: dict[str, Any]) -> None:
        for entry in content["requirements"]:
            if " " in entry["id"]:
                entry["id"] = new

    return forge


def cut_short(start: str) -> Callable[[dict[str, Any]], None]:
    """What is shown holds for a part of the parameters, and nothing is shown for the rest."""

    def forge(content: dict[str, Any]) -> None:
        for entry in entries(content, start):
            entry["evidence"]["cells"] = {"cut": "tau", "at": "15", "below": entry["evidence"]["cells"]}

    return forge


def changed(start: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def forge(content: dict[str, Any]) -> None:
        for entry in entries(content, start):
            change(entry)

    return forge


def at_tau_20(entry: dict[str, Any]) -> None:
    entry["witness"]["parameters"] = {"tau": "20"}


def turned(entry: dict[str, Any]) -> None:
    entry.update(verdict="proved", witness=None, evidence={})


FORGERIES: list[tuple[Gate, str, Callable[[dict[str, Any]], None]]] = [
    (over("sigmoid", "[10, 20]"), "half_width <= 0.2", renamed("half_width <= 1/10")),
    (over("sigmoid", "[10, 20]"), "half_width <= 0.2", cut_short("half_width")),
    (over("sigmoid", "[10, 20]"), "sup score <= 1.1", renamed("sup score <= 1")),
    (over("sigmoid", "[10, 20]"), "sup score <= 1.1", cut_short("sup score")),
    (over("sigmoid", "[10, 20]"), "weight(0) <= 0.05", renamed("weight(0) <= 1/10000")),
    (load_gate("arctan"), "tail order >= 2", renamed("tail order >= 3")),
    (load_gate("softsign-abs"), "smoothness >= 1", renamed("smoothness >= 2")),
    (load_gate("sigmoid"), "pessimistic on kill side", renamed("pessimistic on pass side")),
    (load_gate("sigmoid"), "half_width <= 0.2", renamed("half_width <= 10")),
    (load_gate("sigmoid"), "sup score <= 1.1", renamed("sup score <= 2")),
    (load_gate("sigmoid"), "sup score <= 1.1", changed("sup", lambda e: e["witness"].update(r=["1"]))),
    (load_gate("sigmoid"), "weight(0) <= 0.05", changed("weight", at_tau_20)),
    (load_gate("arctan"), "tail order >= 3", renamed("tail order >= 1")),
    (load_gate("softsign-abs"), "smoothness >= 2", renamed("smoothness >= 1")),
    (load_gate("sigmoid"), "pessimistic on pass side", renamed("pessimistic on kill side")),
    (load_gate("sigmoid"), "sup score <= 1.1", renamed("best gate of all")),
    (load_gate("sigmoid"), "sup score <= 1.1", changed("sup", turned)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "text", "forge"), FORGERIES, ids=[f"{g.name}-{t}-{i}" for i, (g, t, _) in enumerate(FORGERIES)]
)
def test_a_forged_statement_is_rejected(gate: Gate, text: str, forge: Callable[[dict[str, Any]], None]) -> None:
    content = copied(certified(gate, text))
    recheck(content)
    forged = copy.deepcopy(content)
    forge(forged)
    verdicts = {entry["verdict"] for entry in forged["requirements"]}
    forged["verdict"] = "refuted" if "refuted" in verdicts else "certified" if verdicts == {"proved"} else "undecided"
    with pytest.raises(RecheckFailed):
        recheck(resealed(forged))


def test_a_weight_that_halves_only_close_to_zero_still_halves_within_1() -> None:
    gate = parse_gate('[gate]\nname = "late"\nweight = "r*(5001/5000)/(r + 1/5000)/(1 + 100*Max(0, r - 1)^2)"\n')
    content = certify(gate, require=["half_width <= 1"], budget=2).to_json()
    assert {entry["verdict"] for entry in entries(content, "half_width")} == {"undecided"}
    for entry in entries(content, "half_width"):
        witness = {"kind": "point", "r": ["1/1024"], "parameters": {}, "enclosure": [["0", "1"]], "why": ""}
        claim = {"form": "r*(5001/5000)/(r + 1/5000)", "leaves": {"rule": "bound"}}
        sections = [
            {"t": "r", "r": "r", "from": "0", "to": "1", "weight at least": claim},
            {"t": "r", "r": "r", "from": "1", "to": "oo"},
        ]
        entry.update(verdict="refuted", witness=witness, evidence={"sections": sections, "above": "5001/10000"})
    content["verdict"] = "refuted"
    with pytest.raises(RecheckFailed, match="is not shown by 'bound'"):
        recheck(resealed(content))


def test_a_weight_of_zero_falls_faster_than_any_power() -> None:
    content = certify(load_gate("hard-clip"), require=["tail order >= 2"]).to_json()
    entry = entries(content, "tail order")[0]
    assert (entry["verdict"], entry["sign"]) == ("proved", "positive")
    sections = [
        {"t": "r", "r": "r", "from": "0", "to": "1"},
        {"t": "t_", "r": "1 + t_/5", "from": "0", "to": "1"},
        {"t": "t_", "r": "6/5 + t_", "from": "0", "to": "oo"},
    ]
    terms = [{"term": "0", "rule": "slope", "form": "1"}]
    witness = {"kind": "tail", "r": ["2"], "parameters": {"epsilon": "1/5"}, "enclosure": [["1", "1"]], "why": ""}
    entry.update(verdict="refuted", witness=witness, evidence={"sections": sections, "infinity": terms})
    with pytest.raises(RecheckFailed, match="w may be 0"):
        recheck(resealed(json.loads(json.dumps(content))))
