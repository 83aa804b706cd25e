"""A forger of proofs: certificates whose claim is false, with evidence made to look like a proof. None may pass.

The claim of a mutated certificate of a true gate stays true, so it says little about the checker. Here the gate's text
breaks the requirement, and everything that a checker might overlook is tried: leaves dropped or widened, another rule
for each, breakpoints moved or added, other charts, terms and forms. Holes planted into the checker show that the forger
finds them.
"""

import copy
import hashlib
import json
import random
from typing import Any

import pytest
import sympy
from sympy import Expr

from sapo_gates.certificate import certify
from sapo_gates.errors import RecheckFailed
from sapo_gates.gate import Gate
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.interval import working_precision
from sapo_gates.prove.sections import Branch, branches_of, cell_key
from sapo_gates.prove.signs import SectionProver
from sapo_gates.prove.tails import Tail, expressions_at_infinity
from sapo_gates.recheck import claims, proofs, recheck

TAU = '[parameters.tau]\ndomain = "{}"\npositive = 0.5\nnegative = 0.5\n'
FALSE: dict[str, tuple[str, str | None, tuple[str, ...]]] = {  # a gate, its domain, what it breaks
    "needle": ('weight = "1/(1 + (r-1)^2) + 1e-3*exp(-((r-7)*10)^2)"', None, ("monotone-decay",)),
    "jump up": ('weight = "Piecewise((1/(1+(r-1)^2), r < 3),(1/3,True))"', None, ("monotone-decay",)),
    "jump inside": (
        'weight = "1/2 - atan(1/(r - 3))/pi"', None, ("continuously-differentiable", "monotone-decay", "unit-peak"),
    ),
    "corner": ('value = "Min(r, 6/5)"', None, ("continuously-differentiable",)),
    "peak beside 1": ('weight = "1/(1 + (r-1)^2) + (r-1)*exp(-(r-1)^2)/10"', None, ("unit-peak", "monotone-decay")),
    "peak of half": ('weight = "1/(2 + (r-1)^2)"', None, ("unit-peak", "first-order-agreement")),
    "negative": ('weight = "1/(1+(r-1)^2) - 1/20"', None, ("nonnegative-weight", "vanishing-score", "bounded-value")),
    "slow tail": ('weight = "1/(1 + tau*Abs(r-1))"', "(0, oo)", ("vanishing-score", "bounded-value")),
    "slow tail at small tau": ('weight = "sech(tau*z/2)^2"', "(0, oo)", ("vanishing-score",)),
    "infinite at 0": ('score = "1/r"', None, ("bounded-score", "bounded-value")),
    "no gate at tau = 1": (
        'weight = "((tau-1)*r + tau - 1)/((tau-1)*(r+1)*(1+(r-1)^2))"', "(0, 2)",
        ("continuously-differentiable", "first-order-agreement"),
    ),
    "pole": ('weight = "1/(r-2)^2"', None, ("continuously-differentiable", "bounded-score", "monotone-decay")),
}  # fmt: skip
CASES = [(name, id_) for name, (_, _, ids) in FALSE.items() for id_ in ids]
RULES = {
    "decay": ("derivative", "log-derivative", "terms", "each", "anchor-2", "anchor-3", "fraction-1", "fraction-2"),
    "at most one": ("bound", "derivative", "log-derivative", "falls-derivative", "anchor-2"),
    "nonnegative": ("bound",),
    "weight defined": ("defined",),
    "value defined": ("defined",),
}
CLAIMS = {
    "continuously-differentiable": ("value defined", "weight defined"),
    "unit-peak": ("at most one",),
    "monotone-decay": ("decay",),
    "nonnegative-weight": ("nonnegative",),
    "bounded-score": ("weight defined",),
    "bounded-value": ("value defined", "weight defined"),
}


def entry(certificate: dict[str, Any], id_: str, sign: str = "positive") -> dict[str, Any]:
    return next(e for e in certificate["requirements"] if (e["id"], e["sign"]) == (id_, sign))


def signed(certificate: dict[str, Any]) -> dict[str, Any]:
    """With the digest that a forger would write."""
    claimed = {key: value for key, value in certificate.items() if key not in ("digest", "numerics")}
    text = json.dumps(claimed, sort_keys=True, separators=(",", ":"))
    certificate["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return certificate


_certificates: dict[str, dict[str, Any]] = {}


def gate_of(name: str) -> Gate:
    text, domain, _ = FALSE[name]
    return parse_gate(f'[gate]\nname = "user"\n{text}\n{TAU.format(domain) if domain else ""}')


def certificate_of(name: str) -> dict[str, Any]:
    """What the prover says of it; nothing that it breaks is proved."""
    if name not in _certificates:
        _certificates[name] = json.loads(json.dumps(certify(gate_of(name), profile="trust-region", budget=2).to_json()))
    return copy.deepcopy(_certificates[name])


def forged(name: str, id_: str, chance: random.Random) -> dict[str, Any]:
    """The certificate with a proof of what is false, for both signs."""
    certificate = certificate_of(name)
    gate = gate_of(name)
    with working_precision():
        lies = evidence(gate, id_, chance)
    for sign in ("positive", "negative"):
        one = entry(certificate, id_, sign)
        assert one["verdict"] != "proved", "the claim is not false"
        one.update(verdict="proved", witness=None, evidence=lies)
    verdicts = {one["verdict"] for one in certificate["requirements"]}
    certificate["verdict"] = (
        "refuted" if "refuted" in verdicts else "certified" if verdicts == {"proved"} else "undecided"
    )
    return signed(certificate)


def evidence(gate: Gate, id_: str, chance: random.Random) -> dict[str, Any]:
    """Cells, sections, leaves and terms as a prover writes them, each with a lie now and then."""
    if id_ == "unit-peak" and chance.random() < 0.1:
        return {"by": "monotone-decay"}
    branches = branches_of(gate.kind, gate.declared("positive"), {p: p.domain for p in gate.parameters_for("positive")})
    cells = [cell(gate, branch, id_, chance) for branch in branches]
    if len(cells) > 1 and chance.random() < 0.1:
        cells.pop()
    return {"cells": json.loads(json.dumps(cells))}


def cell(gate: Gate, branch: Branch, id_: str, chance: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = cell_key(branch)
    if id_ in CLAIMS:
        names = [n for n in CLAIMS[id_] if gate.kind == "value" or n != "value defined"]
        names = names[:1] if id_ == "bounded-value" else names
        found["sections"] = [
            {name: leaves(branch, i, name, chance) for name in names} for i in range(len(branch.sections))
        ]
    if id_ in ("vanishing-score", "bounded-score", "bounded-value"):
        found["zero"] = terms(branch, 0, chance)
        found["infinity"] = terms(branch, -1, chance)
    if chance.random() < 0.3:
        places = found["breakpoints"]
        places.insert(chance.randrange(len(places) + 1), chance.choice(["1/2", "2", "3", "7", "5"]))
        if "sections" in found:
            found["sections"].append(copy.deepcopy(chance.choice(found["sections"])))
    return found


def leaves(branch: Branch, index: int, name: str, chance: random.Random) -> dict[str, Any]:
    """The section's whole box, split a few times, each part with some rule."""
    section = branch.sections[index]
    boxes_ = [SectionProver(branch, section).box()]
    for _ in range(chance.randrange(6)):
        box = boxes_.pop(chance.randrange(len(boxes_)))
        symbol = chance.choice(list(box))
        boxes_ += [{**box, symbol: half} for half in box[symbol].halves()]
    chance.shuffle(boxes_)
    if chance.random() < 0.3 and len(boxes_) > 1:
        boxes_.pop()
    return {
        "weight": sympy.sstr(section.weight),
        "leaves": [
            {"box": {str(s): [end(r.lower), end(r.upper)] for s, r in box.items()}, "rule": chance.choice(RULES[name])}
            for box in boxes_
        ],
    }


def end(number: Any) -> str:
    return ("oo" if number > 0 else "-oo") if isinstance(number, float) else str(number)


def terms(branch: Branch, index: int, chance: random.Random) -> list[dict[str, str]]:
    """Each term with some rule, and a form that is true of it or of something else."""
    tail = Tail(branch, branch.sections[index])
    weight = tail.section.weight if chance.random() < 0.7 or tail.section.value is None else tail.section.value
    found = []
    for term in sympy.Add.make_args(weight):
        rule = chance.choice(["limit", "slope"])
        true = tail.score_slope(term) if rule == "slope" else chance.choice([tail.score(term), term])
        forms: list[Expr] = [form for form, _, _ in expressions_at_infinity(true, tail.section.t)]
        form = chance.choice([*forms, sympy.Integer(0), sympy.Integer(-1)])
        found.append({"term": sympy.sstr(term), "rule": rule, "form": sympy.sstr(form)})
    return found if chance.random() < 0.9 else found[1:]


def passes(certificate: dict[str, Any]) -> bool:
    try:
        recheck(certificate)
    except RecheckFailed:
        return False
    return True


TRIES = 25


@pytest.mark.parametrize(("name", "id_"), CASES, ids=[f"{id_}: {name}" for name, id_ in CASES])
def test_no_forged_proof_of_a_false_claim_passes(name: str, id_: str) -> None:
    chance = random.Random(f"forger of {id_} for {name}")
    for _ in range(TRIES):
        certificate = forged(name, id_, chance)
        assert not passes(certificate), json.dumps(entry(certificate, id_)["evidence"])


# Holes planted into the checker, each with a false claim that then passes ------------------------------------------


def always(*_: object, **__: object) -> bool:
    return True


HOLES: dict[str, tuple[str, str, Any, str, str]] = {  # module and name, what stands there instead, gate, requirement
    "leaves need not cover": ("claims", "covers", always, "negative", "nonnegative-weight"),
    "a jump at a breakpoint is overlooked": ("proofs", "is_smooth", always, "corner", "continuously-differentiable"),
    "a jump up is overlooked": ("proofs", "_does_not_jump_up", always, "jump up", "monotone-decay"),
    "w(1) = 1 is taken for granted": ("proofs", "_weight_is_one", always, "peak of half", "first-order-agreement"),
    "any limit will do": ("proofs", "_vanishes", always, "slow tail", "vanishing-score"),
    "anything bounded is bounded at 0": ("proofs", "_rises_from_zero", always, "infinite at 0", "bounded-score"),
    "every spelling is the weight's": ("claims", "same", always, "slow tail at small tau", "vanishing-score"),
    "a weight undefined somewhere is continuous": (
        "claims", "continuous", always, "jump inside", "continuously-differentiable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_the_forger_finds_a_hole_planted_into_the_checker(hole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, gate, id_ = HOLES[hole]
    monkeypatch.setattr({"claims": claims, "proofs": proofs}[module], name, instead)
    chance = random.Random(f"hole: {hole}")
    assert any(passes(forged(gate, id_, chance)) for _ in range(200)), "no forgery passes"
