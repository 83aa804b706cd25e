"""A forger: certificates whose claim is false, with evidence made to look like a proof or a refutation. None may pass.

The claim of a mutated certificate of a true gate stays true, so it says little about the checker. Here the gate's text
breaks the requirement that is "proved", or meets the one that is "refuted", and everything that a checker might
overlook is tried: leaves dropped or widened, another rule for each, breakpoints moved or added, other charts, terms and
forms; witnesses of every kind, anywhere. Holes planted into the checker show that the forger finds them.
"""

import copy
import hashlib
import json
import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import sympy
from sympy import Expr

from sapo_gates.certificate import certify
from sapo_gates.errors import GateTextError, RecheckFailed
from sapo_gates.gate import Gate
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.evidence import section_entry
from sapo_gates.prove.interval import working_precision
from sapo_gates.prove.sections import Branch, branches_of
from sapo_gates.prove.signs import SectionProver
from sapo_gates.prove.tails import Tail, expressions_at_infinity
from sapo_gates.recheck import PROFILES, claims, limits, proofs, recheck, witnesses
from sapo_gates.recheck.boxes import Range, parts
from sapo_gates.recheck.spans import Span

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
    "hat": (
        'weight = "Piecewise((1 - 2*Abs(r-1)/3, Abs(r-1) < 6/5),(0,True))"', None,
        ("half_width <= 7/10", "sup score <= 1", "smoothness >= 1", "weight(0) <= 1/4", "pessimistic on pass side"),
    ),
    "cauchy": ('value = "1 + atan(2*(r-1))/2"', None, ("half_width <= 2/5", "tail order >= 3", "sup score <= 21/20")),
}  # fmt: skip
CASES = [(name, id_) for name, (_, _, ids) in FALSE.items() for id_ in ids]
RULES = {
    "weight decays": ("derivative", "terms", "each", "anchor-2", "anchor-3", "fraction-1", "fraction-2", "inverse"),
    "weight at most": ("bound", "falls-derivative", "falls-terms", "falls-anchor-2", "fraction-1"),
    "weight at least": ("bound", "falls-derivative", "fraction-1"),
    "weight defined": ("defined",),
    "value defined": ("defined",),
    "score at most": ("bound", "falls-derivative", "falls-terms", "fraction-1"),
    "score at least": ("bound", "falls-derivative", "falls-terms", "fraction-1"),
}
CLAIMS = {
    "continuously-differentiable": ("value defined", "weight defined"),
    "unit-peak": ("weight at most",),
    "monotone-decay": ("weight decays",),
    "nonnegative-weight": ("weight at least",),
    "bounded-score": ("weight defined",),
    "bounded-value": ("value defined", "weight defined"),
    "sup score": ("score at most",),
    "smoothness": ("value defined", "weight defined"),
    "pessimistic on pass side": ("value defined", "weight at least"),
}
WITH_ENDS = ("vanishing-score", "bounded-score", "bounded-value", "weight(0)", "tail order")


def kind_of(id_: str) -> str:
    """Of a requirement, without the number that a user states."""
    return id_.split(" <= ")[0].split(" >= ")[0]


def entry(certificate: dict[str, Any], id_: str, sign: str = "positive") -> dict[str, Any]:
    return next(e for e in certificate["requirements"] if (e["id"], e["sign"]) == (id_, sign))


def signed(certificate: dict[str, Any]) -> dict[str, Any]:
    """With the digest that a forger would write."""
    claimed = {key: value for key, value in certificate.items() if key not in ("digest", "numerics")}
    text = json.dumps(claimed, sort_keys=True, separators=(",", ":"))
    certificate["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return certificate


_certificates: dict[str, dict[str, Any]] = {}


def user_gate(text: str, domain: str | None) -> Gate:
    return parse_gate(f'[gate]\nname = "user"\n{text}\n{TAU.format(domain) if domain else ""}')


def answered(name: str, gate: Gate, ids: tuple[str, ...]) -> dict[str, Any]:
    """What the prover says of it, in a fresh copy; nothing of a gate that it refuses."""
    if name not in _certificates:
        stated = [id_ for id_ in ids if id_ not in PROFILES["trust-region"]]
        try:
            made = certify(gate, profile="trust-region", require=stated, budget=2).to_json()
        except GateTextError:
            like = user_gate('weight = "1/(1 + tau^2*(r-1)^2)"', str(gate.parameters[0].domain))
            made = certify(like, profile="trust-region", require=stated).to_json()
            made["gate"] = {"name": gate.name, "text": gate.text, "digest": gate.digest}
            silence(made)
        _certificates[name] = json.loads(json.dumps(made))
    return copy.deepcopy(_certificates[name])


def forged(name: str, id_: str, chance: random.Random) -> dict[str, Any]:
    """The certificate with a proof of what is false, for both signs."""
    text, domain, ids = FALSE[name]
    gate = user_gate(text, domain)
    certificate = answered(f"false: {name}", gate, ids)
    with working_precision():
        lies = evidence(gate, id_, chance)
    for sign in ("positive", "negative"):
        assert entry(certificate, id_, sign)["verdict"] != "proved", "the claim is not false"
    silence(certificate)
    for sign in ("positive", "negative"):
        entry(certificate, id_, sign).update(verdict="proved", evidence=lies)
    return concluded(certificate)


def silence(certificate: dict[str, Any]) -> None:
    """Nothing is claimed any more, so that only what a forger adds is checked."""
    for one in certificate["requirements"]:
        one.update(verdict="undecided", witness=None, evidence={})


def concluded(certificate: dict[str, Any]) -> dict[str, Any]:
    """With the verdict that its entries have together."""
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
        names = [n for n in CLAIMS.get(kind_of(id_), ()) if gate.kind == "value" or n != "value defined"]
        names = names[:1] if id_ == "bounded-value" else names
        one.update({name: leaves(branch, index, name, chance) for name in names})
    found: dict[str, Any] = {"sections": sections}
    if kind_of(id_) in WITH_ENDS:
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
    form = section.position * form if name.startswith("score") else form
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


# Refutations of what is true ----------------------------------------------------------------------------------------

TRUE: dict[str, tuple[str, str | None, list[tuple[str, str]], tuple[str, ...]]] = {
    # a gate, its domain, its weight up to each breakpoint, and what it meets, often just so
    "arctan": (
        'value = "1 + atan(2*(r-1))/2"', None, [("oo", "1/(1 + 4*(r-1)^2)")],
        ("continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score", "nonnegative-weight",
         "bounded-value", "bounded-score", "first-order-agreement", "half_width <= 1/2", "sup score <= 53/50",
         "smoothness >= 2", "weight(0) <= 1/5", "tail order >= 2", "pessimistic on kill side"),
    ),
    "step down": (
        'weight = "Piecewise((1, r <= 6/5),(0,True))"', None, [("6/5", "1"), ("oo", "0")],
        ("unit-peak", "monotone-decay", "vanishing-score", "nonnegative-weight", "bounded-value", "bounded-score",
         "first-order-agreement", "sup score <= 6/5", "smoothness >= 0", "weight(0) <= 1", "tail order >= 7"),
    ),
    "true in its domain": (
        'weight = "1/(1 + tau*(r-1)^2)"', "(0, oo)", [("oo", "1/(1 + tau*(r-1)^2)")],
        ("continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score", "nonnegative-weight"),
    ),
}  # fmt: skip
MEETS = [(name, id_) for name, (*_, ids) in TRUE.items() for id_ in ids]
PLACES = ("1", "1", "1/2", "3/2", "6/5", "2", "4/5", "1/100", "30", "0", "-1", "1/1099511627776")
ENCLOSURES = (["-oo", "oo"], ["-oo", "oo"], ["0", "oo"], ["1/100", "oo"], ["-oo", "-1/100"], ["oo", "oo"], ["0", "1"])


def slandered(name: str, id_: str, chance: random.Random) -> dict[str, Any]:
    """The certificate with a refutation of what is true, for one sign of A."""
    text, domain, pieces, ids = TRUE[name]
    gate = user_gate(text, domain)
    certificate = answered(f"true: {name}", gate, ids)
    one = entry(certificate, id_, chance.choice(["positive", "negative"]))
    assert one["verdict"] != "refuted", "the claim is not true"
    silence(certificate)
    shapes = [(kind, shape[:2]) for (about, kind), shape in witnesses.CHECKS.items() if about == kind_of(id_)]
    kind, (ratios, enclosures) = chance.choice(shapes)
    places = chance.choices(PLACES, k=ratios)
    places = sorted(places, key=Fraction) if chance.random() < 0.8 else places
    witness = {
        "kind": kind,
        "r": ["0", *places] if kind == "tail" and chance.random() < 0.3 else places,
        "parameters": {p.name: chance.choice(["1/2", "1", "3", "0", "-1/100"]) for p in gate.parameters},
        "enclosure": chance.choices(ENCLOSURES, k=enclosures),
        "why": "",
    }
    one.update(verdict="refuted", witness=witness, evidence=around(places, pieces, chance))
    return concluded(json.loads(json.dumps(certificate)))


def around(places: Sequence[str], pieces: list[tuple[str, str]], chance: random.Random) -> dict[str, Any]:
    """Sections between the places, each with every claim that a refutation may lean on, and terms at both ends."""
    positive = {Fraction(text) for text in (*places, "1", *(at for at, _ in pieces[:-1])) if Fraction(text) > 0}
    ends = ["0", *map(str, sorted(positive)), "oo"]
    sections: list[dict[str, Any]] = []
    for low, high in pairwise(ends):
        weight = next(form for at, form in pieces if at == "oo" or (high != "oo" and Fraction(high) <= Fraction(at)))
        sections.append({"t": "r", "r": "r", "from": low, "to": high})
        for claim in ("weight at least", "score at least", "score at most"):
            form = weight if claim.startswith("weight") else f"r*({weight})"
            sections[-1][claim] = {"form": form, "leaves": {"rule": chance.choice(RULES[claim])}}
    if chance.random() < 0.2:
        lie_about_places(sections, chance)
    above = {"above": chance.choice(["1/2", "501/1000", "3/4", "0"]), "inverse": chance.choice(["r - 1", "2 - r", "0"])}
    return {"sections": sections, "zero": end(pieces[0][1], chance), "infinity": end(pieces[-1][1], chance), **above}


def end(weight: str, chance: random.Random) -> list[dict[str, str]]:
    """One term with some rule, and a form that is true of it or of something else."""
    slope = f"1 - 8*r*(r-1)*({weight})"  # of arctan's
    form = chance.choice([weight, f"r*({weight})", slope, "1", "0", "-r"])
    return [{"term": weight, "rule": chance.choice(["limit", "slope"]), "form": form}]


@pytest.mark.parametrize(("name", "id_"), MEETS, ids=[f"{id_}: {name}" for name, id_ in MEETS])
def test_no_forged_refutation_of_a_true_claim_passes(name: str, id_: str) -> None:
    chance = random.Random(f"slander of {id_} for {name}")
    for _ in range(TRIES):
        certificate = slandered(name, id_, chance)
        assert not passes(certificate), json.dumps([one for one in certificate["requirements"] if one["id"] == id_])


JUST_SO: dict[str, tuple[str, str, str]] = {  # a number that a gate keeps, one that it breaks
    "half_width <= {}": ("arctan", "1/2", "49/100"),
    "sup score <= {}": ("arctan", "53/50", "21/20"),
    "weight(0) <= {}": ("arctan", "21/100", "19/100"),
    "tail order >= {}": ("arctan", "2", "201/100"),
    "smoothness >= {}": ("step down", "0", "1"),
}


@pytest.mark.parametrize("says", JUST_SO)
def test_a_stated_number_edited_to_one_on_the_other_side_is_rejected(says: str) -> None:
    name, kept, broken = JUST_SO[says]
    ids = says.format(kept), says.format(broken)
    text, domain, *_ = TRUE[name]
    certificate = answered(f"just so: {says}", user_gate(text, domain), ids)
    for sign in ("positive", "negative"):
        assert [entry(certificate, id_, sign)["verdict"] for id_ in ids] == ["proved", "refuted"]
    assert passes(certificate)
    for id_, other in (ids, ids[::-1]):
        forgery = copy.deepcopy(certificate)
        for sign in ("positive", "negative"):
            (removed,) = (one for one in forgery["requirements"] if (one["id"], one["sign"]) == (other, sign))
            forgery["requirements"].remove(removed)
            entry(forgery, id_, sign)["id"] = other
        assert not passes(concluded(forgery))


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


SLANDERS: dict[str, tuple[Any, str, Any, str, str]] = {  # the same, with a true claim whose refutation then passes
    "parameters outside their domain": (Range, "holds", always, "true in its domain", "unit-peak"),
    "everything jumps": (witnesses.Place, "jumps", always, "arctan", "continuously-differentiable"),
    "any bound of phi holds": (witnesses, "show", nothing, "arctan", "vanishing-score"),
    "a distance is always reached": (witnesses, "is_at_most", always, "arctan", "half_width <= 1/2"),
    "any limit is too large": (witnesses, "_is_above", always, "arctan", "tail order >= 2"),
    "any limit will do": (witnesses, "at_end", any_limit, "arctan", "weight(0) <= 1/5"),
    "every weight is beyond the bound": (Span, "is_positive", True, "arctan", "sup score <= 53/50"),
}


@pytest.mark.parametrize("hole", SLANDERS)
def test_the_forger_finds_a_refutation_through_a_planted_hole(hole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, gate, id_ = SLANDERS[hole]
    monkeypatch.setattr(module, name, instead)
    chance = random.Random(f"hole: {hole}")
    assert any(passes(slandered(gate, id_, chance)) for _ in range(400)), "no refutation passes"
