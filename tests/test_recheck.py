"""The independent checker accepts what the prover proves, and no forgery that changes what is claimed."""

import copy
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sympy
from sympy import Rational

from sapo_gates import FAMILIES, Gate, certify
from sapo_gates.derive import formula
from sapo_gates.errors import CertificateError, RecheckFailed
from sapo_gates.functions import r
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.evidence import place_evidence
from sapo_gates.prove.interval import working_precision as prover_precision
from sapo_gates.prove.sections import branches_of
from sapo_gates.recheck import PROFILES, recheck
from sapo_gates.verdict import Witness

TAU = '[parameters.tau]\ndomain = "{}"\npositive = 1\nnegative = 1\n'
USER_GATES = {
    "arctan by its weight": ('weight = "1/(1 + tau^2*(r - 1)^2)"', "(0, oo)"),
    "two dimensions": ('weight = "1/(1 + tau*(r-1)^2 + sin((r-1)^2)/4)"', "[1/2, 2]"),
    "score weight with a corner": ('score = "Min(r, 5)"', None),
    "log-normal": ('weight = "exp(-tau^2*z^2/2)"', "(0, oo)"),
    "compact bump": ('weight = "Piecewise((exp(1-1/(1-(tau*(r-1))^2)), Abs(tau*(r-1))<1),(0,True))"', "(0, oo)"),
    "corners that move": ('weight = "Max(0, Min(1, (3.7 - tau*Abs(r-1))/2.7))"', "(0, oo)"),
    "corners that change order": ('value = "Min(r, 3/2, 1 + tau)"', "(0, oo)"),
    "needle": ('weight = "sech(5*(r-1))^2 + 1e-6*exp(-((r-37)*100)^2)"', None),
    "pole at zero": ('score = "1/r"', None),
    "pole": ('value = "1 + 1/(r - 2)"', None),
    "unbounded towards 0": ('value = "1 - 1/r"', None),
    "removable singularity": ('weight = "tanh(tau*(r - 1))/(tau*(r - 1))"', "(0, oo)"),
    "removable singularity away from 1": ('weight = "exp(-(r-1)^2)/2 + (1 - exp(-(r-2)^2))/(r-2)^2/2"', None),
    "pole at an irrational place": ('weight = "1/(r^2 - 2)"', None),
    "undefined logarithm": ('value = "log(r - 1/2)"', None),
    "jump at an irrational place": ('weight = "Piecewise((1/(1+(r-1)^2), r^2<=2),(1/5,True))"', None),
    "jump upwards": ('weight = "Piecewise((1/(1+(r-1)^2), r < 3),(1/3,True))"', None),
    "peak away from 1": ('weight = "2/(1 + (tau*(r-1) - 1)^2)"', "(0, oo)"),
    "two parameters": ('weight = "a/(1+tau^2*(r-1)^2) + (1-a)*exp(-tau^2*(r-1)^2/2)"', "(0, oo)"),
    "every sign its own": ('weight_pos = "1 - (r-1)/0.2"\nweight_neg = "1 + (r-1)/0.2"', None),
    "no trust region at tau <= 1": ('weight = "sech(tau*z/2)^2"', "(0, oo)"),
}

_made: dict[tuple[str, str], dict[str, Any]] = {}


def gate_of(name: str):
    text, domain = USER_GATES[name]
    parameters = TAU.format(domain) if domain else ""
    parameters += '[parameters.a]\ndomain = "[0, 1]"\npositive = 0.5\nnegative = 0.5\n' if "a/(" in text else ""
    return parse_gate(f'[gate]\nname = "user"\n{text}\n{parameters}')


def made(name: str, profile: str = "trust-region") -> dict[str, Any]:
    """A fresh copy of a certificate as it is read back from JSON; each is proved once."""
    if (name, profile) not in _made:
        gate = gate_of(name) if name in USER_GATES else name
        _made[name, profile] = json.loads(json.dumps(certify(gate, profile=profile, budget=20).to_json()))
    return copy.deepcopy(_made[name, profile])


def signed(certificate: dict[str, Any]) -> dict[str, Any]:
    """With the digest that a forger would write."""
    claims = {key: value for key, value in certificate.items() if key not in ("digest", "numerics")}
    text = json.dumps(claims, sort_keys=True, separators=(",", ":"))
    certificate["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return certificate


def entry(certificate: dict[str, Any], id_: str, sign: str = "positive") -> dict[str, Any]:
    return next(e for e in certificate["requirements"] if (e["id"], e["sign"]) == (id_, sign))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [family.name for family in FAMILIES])
def test_the_certificate_of_every_family_holds(name: str, profile: str) -> None:
    recheck(made(name, profile))


@pytest.mark.parametrize("name", USER_GATES)
def test_the_certificate_of_a_users_gate_holds(name: str) -> None:
    recheck(made(name))


def leaves(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The leaves of a tree of cuts."""
    if "cut" not in tree:
        return [tree]
    return [leaf for side in ("below", "there", "above") if side in tree for leaf in leaves(tree[side])]


def cuts(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Its inner nodes."""
    inner = [tree[side] for side in ("below", "there", "above") if side in tree]
    return [tree, *(node for one in inner for node in cuts(one))] if "cut" in tree else []


def test_the_two_dimensional_proof_has_leaves_in_both() -> None:
    assert {node["cut"] for node in cuts(decay(made(TWO))["leaves"])} == {"r", "tau"}


def test_some_leaves_are_shown_from_a_place_where_derivatives_vanish() -> None:
    rules = {leaf["rule"] for section in sections(made("raised-cosine")) for leaf in leaves(section["leaves"])}
    assert any(rule.startswith("anchor-") for rule in rules)


def test_a_certificate_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(made("arctan")), encoding="utf-8")
    recheck(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "another"}', '{"format": "sapo-gates-certificate/2"}'])
def test_what_is_no_certificate_is_told_apart(tmp_path: Path, text: str) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CertificateError, match="certify -o"):
        recheck(path)


# Forgeries: (name of the certificate, what the forger does, what the checker says) --------------------------------

Forgery = Callable[[dict[str, Any]], None]
TWO = "two dimensions"


def cells(certificate: dict[str, Any], id_: str) -> list[dict[str, Any]]:
    return leaves(entry(certificate, id_)["evidence"]["cells"])


def sections(certificate: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the positive sign's monotone-decay, in every cell."""
    return [section["weight decays"] for cell in cells(certificate, "monotone-decay") for section in cell["sections"]]


def decay(certificate: dict[str, Any], section: int = 1) -> dict[str, Any]:
    return sections(certificate)[section]


def drop_leaf(c: dict[str, Any]) -> None:
    del cuts(decay(c)["leaves"])[-1]["above"]


def drop_section(c: dict[str, Any]) -> None:
    cells(c, "monotone-decay")[0]["sections"].pop()


def widen_leaf(c: dict[str, Any]) -> None:
    """Every leaf below a cut in r reaches farther, to where its rule does not hold."""
    for node in cuts(decay(c)["leaves"]):
        node.update({"at": str(Rational(node["at"]) + 2)} if node["cut"] == "r" else {})


def cut_outside(c: dict[str, Any]) -> None:
    """A cut that leaves all of the box to one leaf, or nothing to another."""
    tree = decay(c)["leaves"]
    decay(c)["leaves"] = {"cut": "tau", "at": "3", "below": tree, "above": {"rule": "derivative"}}


def one_leaf(c: dict[str, Any]) -> None:
    decay(c)["leaves"] = {"rule": "log-derivative"}


def one_leaf_by_terms(c: dict[str, Any]) -> None:
    decay(c)["leaves"] = {"rule": "terms"}


def other_gate(c: dict[str, Any]) -> None:
    c["gate"] = made("erf")["gate"]


def other_text(c: dict[str, Any]) -> None:
    c["gate"]["text"] = c["gate"]["text"].replace("atan(tau*(r - 1))/tau", "atan(tau*(r - 1))/tau + r/100")
    c["gate"]["digest"] = parse_gate(c["gate"]["text"]).digest


def other_domain(c: dict[str, Any]) -> None:
    c["gate"]["text"] = c["gate"]["text"].replace('"[1/2, 2]"', '"[1/4, 2]"')
    c["gate"]["digest"] = parse_gate(c["gate"]["text"]).digest
    for one in c["requirements"]:
        one["scope"] = one["scope"].replace("[1/2, 2]", "[1/4, 2]")


def other_scope(c: dict[str, Any]) -> None:
    entry(c, "monotone-decay")["scope"] = "for all tau in (-oo, oo)"


def anchor_without_licence(c: dict[str, Any]) -> None:
    for leaf in leaves(decay(c)["leaves"]):
        leaf["rule"] = "anchor-2"


def fraction_without_licence(c: dict[str, Any]) -> None:
    for section in sections(c):
        for leaf in leaves(section["leaves"]):
            leaf["rule"] = "fraction-1"


def unknown_rule(c: dict[str, Any]) -> None:
    leaves(decay(c)["leaves"])[0]["rule"] = "obvious"


def claim_proved(c: dict[str, Any]) -> None:
    source = entry(made("arctan"), "monotone-decay")
    forged = entry(c, "monotone-decay")
    forged.update(verdict="proved", witness=None, evidence=source["evidence"])


def claim_everything_certified(c: dict[str, Any]) -> None:
    c["verdict"] = "certified"


def replaced(c: dict[str, Any], id_: str) -> None:
    """Sections around the places that the witness of an entry names, as the prover would write them."""
    gate, one = parse_gate(c["gate"]["text"]), entry(c, id_)
    with prover_precision():
        branches = branches_of(gate.kind, gate.declared("positive"), {p: p.domain for p in gate.parameters})
        one["evidence"] = place_evidence(branches, Witness(**one["witness"]))


def move_witness(c: dict[str, Any]) -> None:
    entry(c, "monotone-decay")["witness"]["r"] = ["30", "31"]
    replaced(c, "monotone-decay")


def cross_one(c: dict[str, Any]) -> None:
    witness = entry(c, "monotone-decay")["witness"]
    witness["r"] = ["1/1000", "1001/1000"]
    witness["enclosure"] = [["0", "1/2"], ["1/2", "2"]]
    replaced(c, "monotone-decay")


def place_elsewhere(c: dict[str, Any]) -> None:
    """The sections are not those around the witness."""
    entry(c, "monotone-decay")["witness"]["r"] = ["30", "31"]


def outside_domain(c: dict[str, Any]) -> None:
    entry(c, "unit-peak")["witness"]["parameters"] = {"tau": "-1"}


def higher_tail(c: dict[str, Any]) -> None:
    entry(c, "vanishing-score")["witness"]["enclosure"] = [["6", "oo"]]


def earlier_tail(c: dict[str, Any]) -> None:
    entry(c, "vanishing-score")["witness"]["r"] = ["1/100"]


def other_jump(c: dict[str, Any]) -> None:
    entry(c, "continuously-differentiable")["witness"]["r"] = ["3/2"]
    replaced(c, "continuously-differentiable")


def other_bracket(c: dict[str, Any]) -> None:
    entry(c, "continuously-differentiable")["witness"]["r"] = ["3/2", "5/2"]
    replaced(c, "continuously-differentiable")


def longer_head(c: dict[str, Any]) -> None:
    entry(c, "bounded-value")["witness"]["r"] = ["0", "2"]


def head_as_tail(c: dict[str, Any]) -> None:
    entry(c, "bounded-value")["witness"]["r"] = ["1"]


def other_point(c: dict[str, Any]) -> None:
    entry(c, "continuously-differentiable")["witness"]["r"] = ["3"]
    replaced(c, "continuously-differentiable")


def remove_requirement(c: dict[str, Any]) -> None:
    c["requirements"].remove(entry(c, "vanishing-score", "negative"))


def repeat_requirement(c: dict[str, Any]) -> None:
    c["requirements"][0] = copy.deepcopy(c["requirements"][1])


def other_weight(c: dict[str, Any]) -> None:
    for section in sections(c):
        section["form"] = "1/(u_**2 + 2)"


def other_coordinate(c: dict[str, Any]) -> None:
    c["requirements"] = json.loads(json.dumps(c["requirements"]).replace("1 + u_/tau", "exp(u_/tau)"))


def falling_coordinate(c: dict[str, Any]) -> None:
    """r runs from oo to 0, so that what falls with t grows with r."""
    for cell in cells(c, "monotone-decay"):
        for section in cell["sections"]:
            section["r"] = section["r"].replace("u_", "(-u_)")


def gap_between_sections(c: dict[str, Any]) -> None:
    cells(c, "monotone-decay")[0]["sections"][1]["from"] = "1"


def end_before_infinity(c: dict[str, Any]) -> None:
    cells(c, "monotone-decay")[0]["sections"][1]["to"] = "5"


def begin_after_zero(c: dict[str, Any]) -> None:
    cells(c, "monotone-decay")[0]["sections"][0]["from"] = "-1"


def coordinate_that_turns_back(c: dict[str, Any]) -> None:
    """r has the right ends, but not one t for every r."""
    for section in cells(c, "monotone-decay")[0]["sections"]:
        section["r"] = "1 + u_*(u_**2 - 1)**2/tau"


def shrink_cells(c: dict[str, Any]) -> None:
    """A cell that would hold for part of the domain alone: cut, and one part left out."""
    for one in c["requirements"]:
        one["evidence"]["cells"] = {"cut": "tau", "at": "1", "above": one["evidence"]["cells"]}


def drop_cell(c: dict[str, Any]) -> None:
    tree = entry(c, "monotone-decay")["evidence"]["cells"]
    del tree["above"]


def move_breakpoint(c: dict[str, Any]) -> None:
    for cell in cells(c, "nonnegative-weight"):
        for section in cell["sections"]:
            section["r"] = section["r"].replace("epsilon", "epsilon/2")


def drop_breakpoint(c: dict[str, Any]) -> None:
    (cell,) = cells(c, "nonnegative-weight")
    del cell["sections"][1]


def disorder_sections(c: dict[str, Any]) -> None:
    (cell,) = cells(c, "nonnegative-weight")
    cell["sections"].reverse()


def other_limit_form(c: dict[str, Any]) -> None:
    cells(c, "vanishing-score")[0]["infinity"][0]["form"] = "s_/(tau*(s_**2 + 2))"


def drop_term(c: dict[str, Any]) -> None:
    cells(c, "vanishing-score")[0]["infinity"] = []


def drop_end(c: dict[str, Any]) -> None:
    del cells(c, "bounded-score")[0]["infinity"]


def inside_another_chart(c: dict[str, Any]) -> None:
    cells(c, "bounded-score")[0]["zero"] = []


def grow_at_zero(c: dict[str, Any]) -> None:
    """A negative power of r is bounded at oo, not at 0."""
    (cell,) = copy.deepcopy(cells(c, "continuously-differentiable"))
    cell["infinity"] = cell["zero"] = [{"term": "r**(-2)", "rule": "slope", "form": "-1"}]
    entry(c, "bounded-score").update(verdict="proved", witness=None, evidence={"cells": cell})


def lean_on_nothing(c: dict[str, Any]) -> None:
    """unit-peak rests on a monotone-decay that is refuted."""
    (cell,) = copy.deepcopy(cells(c, "nonnegative-weight"))
    for section in cell["sections"]:
        section["weight decays"] = {**section.pop("weight at least"), "leaves": {"rule": "derivative"}}
    entry(c, "unit-peak").update(verdict="proved", witness=None, evidence={"cells": cell})


FORGERIES: list[tuple[str, Forgery, str]] = [
    (TWO, drop_leaf, "nothing is shown above"),
    (TWO, drop_section, "monotone-decay, positive"),
    (TWO, widen_leaf, "is not shown by|cuts nothing"),
    (TWO, cut_outside, "cuts nothing"),
    (TWO, one_leaf, "no rule"),
    ("arctan", other_gate, "positive"),
    ("arctan", other_text, "positive"),
    (TWO, one_leaf_by_terms, "is not shown by 'terms'"),
    (TWO, other_domain, "is not shown by"),
    ("arctan", other_scope, "the scope is not"),
    ("softsign-abs", anchor_without_licence, "is not shown by 'anchor-2'"),
    ("compact bump", fraction_without_licence, "is not shown by 'fraction-1'"),
    ("arctan", unknown_rule, "no rule 'obvious'"),
    ("needle", claim_proved, "the verdict is|monotone-decay"),
    ("hard-clip", claim_everything_certified, "the verdict is refuted, not certified"),
    ("needle", move_witness, "does not grow"),
    ("needle", cross_one, "not in order on one side"),
    ("needle", place_elsewhere, "none of the cell's breakpoints"),
    ("peak away from 1", outside_domain, "is outside"),
    ("score weight with a corner", higher_tail, "is not shown by|not beyond the bound"),
    ("score weight with a corner", earlier_tail, "the tail starts after"),
    ("hard-clip", other_jump, "nothing jumps"),
    ("pole at an irrational place", other_bracket, "not shown to break"),
    ("jump at an irrational place", other_bracket, "not shown to break"),
    ("unbounded towards 0", longer_head, "the tail starts after"),
    ("unbounded towards 0", head_as_tail, "bounded-value"),
    ("pole", other_point, "not shown to be undefined"),
    ("undefined logarithm", other_point, "not shown to be undefined"),
    ("arctan", remove_requirement, "not every requirement"),
    ("arctan", repeat_requirement, "not every requirement"),
    ("arctan", other_weight, "the weight is not"),
    ("arctan", other_coordinate, "positive"),
    ("arctan", falling_coordinate, "does not increase"),
    ("arctan", gap_between_sections, "do not follow each other"),
    ("arctan", end_before_infinity, "do not reach r = oo"),
    ("arctan", begin_after_zero, "do not start at r = 0"),
    ("arctan", coordinate_that_turns_back, "does not increase|the sign of"),
    ("arctan", shrink_cells, "nothing is shown below"),
    ("corners that change order", drop_cell, "nothing is shown above tau"),
    ("arctan", other_limit_form, "is not s_/"),
    ("arctan", drop_term, "do not add up"),
    ("hard-clip", move_breakpoint, "the sign of"),
    ("hard-clip", drop_breakpoint, "do not follow each other"),
    ("hard-clip", disorder_sections, "do not follow each other|do not start"),
    ("arctan", drop_end, "infinity"),
    ("log-normal", inside_another_chart, "do not add up"),
    ("pole at zero", grow_at_zero, "the slope of"),
    ("peak away from 1", lean_on_nothing, "is not shown by 'derivative'"),
]


@pytest.mark.parametrize(("name", "forge", "says"), FORGERIES, ids=[f"{f.__name__}: {n}" for n, f, _ in FORGERIES])
def test_a_forged_certificate_is_rejected_even_with_a_new_digest(name: str, forge: Forgery, says: str) -> None:
    certificate = made(name)
    forge(certificate)
    assert certificate != made(name), "nothing was forged"
    with pytest.raises(RecheckFailed, match=says):
        recheck(signed(certificate))


def test_an_undecided_requirement_edited_to_proved_is_rejected() -> None:
    certificate = json.loads(json.dumps(certify(gate_of(TWO), budget=1e-9).to_json()))
    assert certificate["verdict"] == "undecided"
    recheck(certificate)
    for one in certificate["requirements"]:
        one["verdict"] = "proved"
    certificate["verdict"] = "certified"
    with pytest.raises(RecheckFailed, match="continuously-differentiable, positive: its evidence cannot be read"):
        recheck(signed(certificate))


def test_a_changed_certificate_without_a_new_digest_is_rejected() -> None:
    certificate = made("arctan")
    certificate["requirements"][0]["says"] = "trust me"
    with pytest.raises(RecheckFailed, match="digest"):
        recheck(certificate)


def test_other_words_are_no_forgery() -> None:
    certificate = made("arctan")
    certificate["requirements"][0].update(says="so it is", method="by hand")
    recheck(signed(certificate))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"verdict": "certified"', '"verdict": "refuted", "verdict": "certified"'),
     ('"precision": ', '"precision": NaN, "other": '),
     ('"numerics": []', '"numerics": [Infinity]'), ('"numerics": []', '"numerics": [], "numerics": []')],
    ids=["a verdict twice", "NaN", "Infinity", "a key twice"],
)  # fmt: skip
def test_a_file_that_readers_may_read_differently_is_refused(old: str, new: str, tmp_path: Path) -> None:
    text = json.dumps(made("arctan"))
    assert old in text
    path = tmp_path / "certificate.json"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(CertificateError, match=r"twice|no number"):
        recheck(path)


COMMITTED = Path(__file__).parent / "certificates"


@pytest.mark.parametrize("name", ["arctan", "hard-clip"])
def test_a_certificate_of_another_machine_holds_here(name: str) -> None:
    """Files made once and kept: nothing in them may depend on machine, time, path or the order of a dictionary."""
    path = COMMITTED / f"{name}.json"
    recheck(path)
    text = path.read_text(encoding="utf-8")
    assert "/tmp" not in text
    assert "/home" not in text


def test_neither_the_order_of_keys_nor_the_versions_that_made_it_matter() -> None:
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return [backwards(item) for item in value] if isinstance(value, list) else value

    certificate = made("arctan")
    certificate["versions"] = {"sapo-gates": "9.9", "sympy": "0.1", "python-flint": "another"}
    recheck(backwards(signed(certificate)))


HUGE = ("10**(10**9)", "1e999999999", "exp(exp(exp(exp(exp(9)))))", "(u_ + 1)**100000", "9" * 5000)


@pytest.mark.parametrize("formula_text", HUGE, ids=[text[:26] for text in HUGE])
def test_a_formula_of_huge_numbers_is_rejected_and_not_computed(formula_text: str) -> None:
    certificate = made("arctan")
    for section in sections(certificate):
        section["form"] = f"1/(u_**2 + 1) + ({formula_text})/10"
    with pytest.raises(RecheckFailed):
        recheck(signed(certificate))


# Random mutations -------------------------------------------------------------------------------------------------

WORDS = {"says", "method", "why", "versions", "precision"}
Path_ = tuple[str | int, ...]


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The path of every value inside."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def at(value: Any, path: Path_) -> Any:
    for key in path:
        value = value[key]
    return value


def mutate(certificate: dict[str, Any], chance: random.Random) -> tuple[Path_, Any, Any]:
    """Change one value somewhere: another text or number, an item dropped or doubled, another verdict."""
    roots = [path for path in places(certificate) if path and path[0] not in ("digest", "numerics")]
    path = chance.choice(roots)
    parent, old = at(certificate, path[:-1]), at(certificate, path)
    texts = sorted({v for p in roots if isinstance(v := at(certificate, p), str) and p[-1] not in WORDS})
    match old:
        case str() if old.lstrip("-").replace("/", "").isdigit() and chance.random() < 0.7:
            new: Any = str(sympy.Rational(old) + chance.choice([1, -1, sympy.Rational(1, 1000), 17]))
        case str():
            new = chance.choice([*texts, "", "0", "1", "r", "oo"])
        case list() if old and chance.random() < 0.8:
            index = chance.randrange(len(old))
            new = old[:index] + old[index + 1 :] if chance.random() < 0.5 else [*old, old[index]]
        case _:
            new = chance.choice([None, [], {}, 0, True, "proved"])
    parent[path[-1]] = new
    return path, old, new


def keeps_the_meaning(certificate: dict[str, Any], path: Path_, old: Any, new: Any) -> bool:
    """Whether a mutation leaves the statements of a certificate what they were, or at least true.

    Its statements are: the gate and its digest, the profile and every verdict with its scope, which may not change at
    all; and the place, parameters and enclosures of every witness, which may change to others that are true. Words may
    change, and so may evidence: what is then accepted is another proof of the same. Whether the checker takes bad
    evidence is seen where the claim is false: in test_recheck_forger.py.
    """
    if WORDS & set(path) or "evidence" in path or old == new:
        return True
    if "witness" in path:
        return is_true(parse_gate(certificate["gate"]["text"]), certificate["requirements"][path[1]])  # type: ignore[index]
    return path[:2] == ("gate", "text") and parse_gate(new).digest == parse_gate(old).digest


def is_true(gate: Gate, one: dict[str, Any]) -> bool:
    """Whether what a witness states holds at a few ratios, by plain SymPy to 30 digits."""
    witness = one["witness"]
    numbers = {p: Rational(witness["parameters"][p.name]) for p in gate.parameters_for(one["sign"])}
    if any(value not in p.domain for p, value in numbers.items()):
        return False
    kind = "score" if witness["kind"] == "tail" else "weight"
    found = formula(gate, one["sign"], kind)
    assert found is not None
    ratios = [Rational(text) for text in witness["r"]]
    if witness["kind"] == "tail":
        places = [(ratios[0] * factor, witness["enclosure"][0]) for factor in (1, 2, 100, 10**6)]
    elif witness["kind"] == "jump":
        beside = Rational(1, 10**20)
        places = list(zip((ratios[0] - beside, ratios[0] + beside), witness["enclosure"], strict=True))
    else:
        places = list(zip(ratios, witness["enclosure"], strict=True))
    offset = 1 if one["id"] in ("unit-peak", "first-order-agreement") and ratios == [1] else 0
    slack = Rational(1, 10**15)
    for ratio, (low, high) in places:
        value = found.subs({**numbers, r: ratio}).evalf(30) - offset
        if not sympy.sympify(low) - slack <= value <= sympy.sympify(high) + slack:
            return False
    return True


@pytest.mark.parametrize("name", ["arctan", "hard-clip", "corners that change order", "needle", TWO])
def test_no_random_mutation_that_changes_the_meaning_passes(name: str) -> None:
    chance = random.Random(f"mutations of {name}")
    rejected = 0
    for _ in range(40):
        certificate = made(name)
        path, old, new = mutate(certificate, chance)
        try:
            recheck(signed(certificate))
        except (RecheckFailed, CertificateError):
            rejected += 1
        else:
            assert keeps_the_meaning(certificate, path, old, new), f"{path}: {old!r} -> {new!r} was accepted"
    assert rejected >= 20, "the mutations hardly ever change the meaning"
