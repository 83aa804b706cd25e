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
from sapo_gates.prove.evidence import section_entry
from sapo_gates.prove.interval import working_precision
from sapo_gates.prove.sections import Branch, branches_of
from sapo_gates.prove.signs import SectionProver
from sapo_gates.prove.tails import Tail, expressions_at_infinity
from sapo_gates.recheck import claims, limits, proofs, recheck
from sapo_gates.recheck.boxes import parts

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
    "weight decays": ("derivative", "terms", "each", "anchor-2", "anchor-3", "fraction-1", "fraction-2", "inverse"),
    "weight at most": ("bound", "falls-derivative", "falls-terms", "falls-anchor-2", "fraction-1"),
    "weight at least": ("bound", "falls-derivative", "fraction-1"),
    "weight defined": ("defined",),
    "value defined": ("defined",),
}
CLAIMS = {
    "continuously-differentiable": ("value defined", "weight defined"),
    "unit-peak": ("weight at most",),
    "monotone-decay": ("weight decays",),
    "nonnegative-weight": ("weight at least",),
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
    if id_ == "unit-peak" and chance.random() < 0.3:
        return evidence(gate, "monotone-decay", chance)  # which is enough where it is true
    branches = branches_of(gate.kind, gate.declared("positive"), {p: p.domain for p in gate.parameters_for("positive")})
    cells = [cell(gate, branch, id_, chance) for branch in branches]
    tree = chance.choice(cells)
    if len(cells) > 1 or (gate.parameters and chance.random() < 0.2):
        tree = {"cut": "tau", "at": chance.choice(["1", "1/2", "0", "7"]), "below": tree, "above": chance.choice(cells)}
        tree |= {"there": chance.choice(cells)} if chance.random() < 0.5 else {}
    return {"cells": json.loads(json.dumps(tree))}


def cell(gate: Gate, branch: Branch, id_: str, chance: random.Random) -> dict[str, Any]:
    sections = [section_entry(branch.chart, section) for section in branch.sections]
    for index, one in enumerate(sections):
        names = [n for n in CLAIMS.get(id_, ()) if gate.kind == "value" or n != "value defined"]
        names = names[:1] if id_ == "bounded-value" else names
        one.update({name: leaves(branch, index, name, chance) for name in names})
    found: dict[str, Any] = {"sections": sections}
    if id_ in ("vanishing-score", "bounded-score", "bounded-value"):
        found["zero"] = terms(branch, 0, chance)
        found["infinity"] = terms(branch, -1, chance)
    if chance.random() < 0.3:
        lie_about_places(sections, chance)
    return found


def lie_about_places(sections: list[dict[str, Any]], chance: random.Random) -> None:
    """A section cut in two, left out, shortened, or run through in another way."""
    index = chance.randrange(len(sections))
    one = sections[index]
    match chance.choice([0, 0, 0, 0, 0, 1, 2, 3, 4]):
        case 0:
            at = chance.choice(["1/2", "2", "3", "7", "5"])
            for name in one.keys() & RULES.keys():
                one[name] = {"form": one[name]["form"], "leaves": {"rule": chance.choice(RULES[name])}}
            sections[index : index + 1] = [{**one, "to": at}, {**one, "from": at}]
        case 1:
            sections.pop(index)
        case 2:
            one[chance.choice(["from", "to"])] = chance.choice(["0", "1", "2", "7", "oo", "-oo"])
        case 3:
            one["r"] = chance.choice(["r**2", "1 + t_", "1/r", "r + 1", "exp(u_)", "1 + u_/tau", "2*r - 1", "0*r + 1"])
        case _:
            one["r"] = f"({one['r']})**3"


def leaves(branch: Branch, index: int, name: str, chance: random.Random) -> dict[str, Any]:
    """A tree of cuts through the section, each leaf with some rule; now and then a branch of it is lost."""
    section = branch.sections[index]
    tree = cut(SectionProver(branch, section).box(eliminated=True), name, chance.choice([0, 0, 1, 2, 3]), chance)
    form = section.value if name == "value defined" and section.value is not None else section.weight
    found = {"form": sympy.sstr(form), "leaves": tree}
    if chance.random() < 0.1:
        found["inverse"] = chance.choice(["-s_**2", "s_", "0", "1", "-1", sympy.sstr(form.diff(section.t))])
    return found


def cut(box: Any, name: str, depth: int, chance: random.Random) -> dict[str, Any]:
    if depth == 0:
        return {"rule": chance.choice(RULES[name])}
    symbol = chance.choice(list(box))
    below, above = box[symbol].halves()
    sides = {"below": below, "above": above, "there": type(below)(below.upper, below.upper)}
    if chance.random() < 0.8:
        sides.pop(chance.choice([*["there"] * 8, "below", "above"]))
    at = str(below.upper) if chance.random() < 0.97 else chance.choice(["0", "1", "100"])
    inner = {side: cut({**box, symbol: part}, name, depth - 1, chance) for side, part in sides.items()}
    return {"cut": str(symbol), "at": at, **inner}


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


def nothing(*_: object, **__: object) -> None:
    """A check that never fails."""


def any_limit(*arguments: Any) -> None:
    """at_end, whatever the limits are."""
    branch, cell, entry, name, quantity, _judge = arguments
    claims.at_end(branch, cell, entry, name, quantity, always)


def first_part_only(tree: dict[str, Any], box: Any) -> Any:
    """The parts of a tree of cuts, but for all that lie above the first cut."""
    return list(parts(tree, box))[:1]


HOLES: dict[str, tuple[Any, str, Any, str, str]] = {  # module and name, what stands there instead, gate, requirement
    "some leaves are not looked at": (claims, "parts", first_part_only, "negative", "nonnegative-weight"),
    "a jump at a breakpoint is overlooked": (proofs, "is_smooth", always, "corner", "continuously-differentiable"),
    "a jump up is overlooked": (proofs, "does_not_jump_up", nothing, "jump up", "monotone-decay"),
    "w(1) = 1 is taken for granted": (proofs, "weight_is_one", nothing, "peak of half", "first-order-agreement"),
    "any limit will do": (proofs, "at_end", any_limit, "slow tail", "vanishing-score"),
    "anything bounded is bounded at 0": (limits.Limit, "tends", always, "infinite at 0", "bounded-score"),
    "every spelling is the weight's": (claims, "same", always, "slow tail at small tau", "vanishing-score"),
    "a weight undefined somewhere is continuous": (
        claims, "continuous", always, "jump inside", "continuously-differentiable",
    ),
    "where sections meet is not looked at": (proofs, "continuous_at", nothing, "pole", "continuously-differentiable"),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_the_forger_finds_a_hole_planted_into_the_checker(hole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, gate, id_ = HOLES[hole]
    monkeypatch.setattr(module, name, instead)
    chance = random.Random(f"hole: {hole}")
    assert any(passes(forged(gate, id_, chance)) for _ in range(200)), "no forgery passes"
