"""Lies written by hand: each certificate proves what is false, or refutes what is true. None may pass.

Where the forger of test_recheck_forger.py tries much at random, every lie here leans on one thing that a checker may
take for granted: that a formula exists, that a denominator is not 0, that a ratio is positive.
"""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sapo_gates.errors import CertificateError, RecheckFailed
from sapo_gates.gatefile import parse_gate
from sapo_gates.recheck import recheck
from sapo_gates.recheck.statements import PROFILES
from sapo_gates.verdict import SIGNS

Json = dict[str, Any]
TAU = '[parameters.tau]\ndomain = "{}"\npositive = 0.5\nnegative = 0.5\n'
COMMITTED = Path(__file__).parent / "certificates" / "arctan.json"


def signed(certificate: Json) -> Json:
    """With the digest that a forger would write."""
    claimed = {key: value for key, value in certificate.items() if key not in ("digest", "numerics")}
    text = json.dumps(claimed, sort_keys=True, separators=(",", ":"))
    certificate["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return certificate


def claim_of(certificate: Json, id_: str) -> Json:
    """Its entry for A > 0."""
    return next(e for e in certificate["requirements"] if (e["id"], e["sign"]) == (id_, "positive"))


def undecided(gate_text: str, domain: str | None, id_: str) -> Json:
    """A certificate that claims nothing of the gate."""
    gate = parse_gate(f'[gate]\nname = "user"\n{gate_text}\n{TAU.format(domain) if domain else ""}')
    scope = f"for all tau in {gate.parameters[0].domain}" if domain else "the gate as it stands"
    empty: Json = {"verdict": "undecided", "scope": scope, "method": "", "says": "", "witness": None, "evidence": {}}
    ids = dict.fromkeys((*PROFILES["trust-region"], id_))
    certificate = json.loads(COMMITTED.read_text(encoding="utf-8"))
    certificate.update(
        gate={"name": gate.name, "text": gate.text, "digest": gate.digest},
        profile="trust-region",
        verdict="undecided",
        requirements=[{"id": one, "sign": sign, **empty} for one in ids for sign in SIGNS],
    )
    return certificate


def section(low: str, high: str, r: str = "r", claim: str = "", form: str = "", rule: str = "") -> Json:
    """From low to high in r, or in u_; with one leaf for the claim."""
    shown = {claim: {"form": form, "leaves": {"rule": rule}}} if claim else {}
    return {"t": "r" if r == "r" else "u_", "r": r, "from": low, "to": high, **shown}


def around_one(*forms: str, claim: str = "weight decays", rule: str = "derivative") -> Json:
    """Two sections in r, each with a form for the claim, or the same; none: without a claim."""
    left, right = (forms * 2)[:2] if forms else ("", "")
    claim = claim if forms else ""
    return {"sections": [section("0", "1", "r", claim, left, rule), section("1", "oo", "r", claim, right, rule)]}


def in_parts(form: str, *factors: str) -> Json:
    """Two sections in r, with decay shown by factors in the right one."""
    cell = around_one("exp(r-1)", form)
    cell["sections"][1]["weight decays"].update(leaves={"rule": "each"}, parts=[factors])
    return cell


def below_zero(form: str) -> Json:
    """The same, with w >= 0 shown by the form as its only part."""
    claim = "weight at least"
    cell = around_one("exp(r-1)", form, claim=claim, rule="bound")
    cell["sections"][1][claim].update(leaves={"rule": "falls-each"}, parts=[[form]])
    return cell


def ending(term: str, form: str) -> Json:
    """The same without claims, and the limit at infinity of one term."""
    return {**around_one(), "infinity": [{"term": term, "rule": "limit", "form": form}]}


def in_u(claim: str, form: str, rule: str) -> Json:
    """Two sections in u = r - 1."""
    return {"sections": [section(*ends, "1 + u_", claim, form, rule) for ends in (("-oo", "0"), ("0", "oo"))]}


def three(claim: str, form: str, rule: str) -> Json:
    """Three sections in r, with a breakpoint at 2 too, all alike."""
    return {"sections": [section(*ends, "r", claim, form, rule) for ends in (("0", "1"), ("1", "2"), ("2", "oo"))]}


CAUCHY, HALF_CAUCHY = "1/(1+(r-1)^2)", "1/(2+(r-1)^2)"
BEYOND_1 = f"Piecewise(({CAUCHY}, r <= 1),(7, {{}} > 0),({CAUCHY},True))"
RIGHT_OF_1 = "Piecewise((exp(r-1), r <= 1),({},True))"
POLE = "1 - 1/(r-2)^2"
ONE = "(tan(3*pi/11) + 4*sin(2*pi/11))/sqrt(11)"
ZERO_BY_ZERO = "((r+1)**2 - r**2 - 2*r - 1)/((r+2)**2 - r**2 - 4*r - 4)"
NUMBER_BY_ZERO = "((sqrt(2)+1)^2 - 3 - 2*sqrt(2))/((sqrt(2)+2)^2 - 6 - 4*sqrt(2))"
LEFT_OF_1 = f"-(sqrt(1-r)+1)*(sqrt(1-r)-1)/r*{CAUCHY}"
NO_SWITCH_AT_TAU_1 = "((tau-1)*r^2 + (tau-1)*r)/((tau-1)*r + (tau-1)*r^3)"
NOT_AT_TAU_1 = f"(tau*r^2 - r^2)/((tau*r - r)*r)*{CAUCHY}"


def at_pole(claim: str, rule: str, *ends: str) -> list[Json]:
    """Sections between these ends in r, of which the pole is one."""
    return [section(*pair, "r", claim, POLE, rule) for pair in pairwise(ends)]


PROOFS: dict[str, tuple[str, str | None, str, Json]] = {
    "w <= 1/2 at a negative ratio": (
        'weight = "sech((r-1)/2)^2"', None, "half_width <= 3",
        {"sections": [section(a, b, "1 + u_") for a, b in (("-oo", "-2"), ("-2", "0"), ("0", "2"), ("2", "oo"))]},
    ),
    "a switch that SymPy takes for 0 at a pole": (
        f'weight = "{BEYOND_1.format("sigmoid(1/(r-1)) - sigmoid(1/(1-r)) - (r-1)/10")}"', None, "unit-peak",
        in_u("weight decays", "1/(1+u_**2)", "derivative"),
    ),
    "a switch that falls everywhere, and jumps up": (
        f'weight = "{BEYOND_1.format("atan((10*(r-1)+1)/(r-4)) + atan(1/3)")}"', None, "unit-peak",
        in_u("weight decays", "1/(1+u_**2)", "derivative"),
    ),
    "any limit of a term 0/0": ('weight = "1"', None, "vanishing-score", ending(ZERO_BY_ZERO, "1/r")),
    "w growing in s = 1/t, by terms": (
        'weight = "(r-1)^2/(1+(r-1)^2)"', None, "monotone-decay", in_u("weight decays", "1/(1+s_**2)", "terms"),
    ),
    "w growing in s = 1/t, by fractions": (
        'weight = "(r-1)^2/(1+(r-1)^2)"', None, "monotone-decay", in_u("weight decays", "1/(1+s_**2)", "fraction-1"),
    ),
    "w rising at 1, though its slope falls": (
        'weight = "1 + (r-1)/9 - (r-1)^2"', None, "monotone-decay",
        around_one("1 + (r-1)/9 - (r-1)^2", rule="anchor-2"),
    ),
    "w falling towards 1, though its third derivative is right": (
        'weight = "1 + (r-1)^2"', None, "monotone-decay", around_one("1 + (r-1)^2", rule="anchor-3"),
    ),
    "w rising at 1 for some parameters": (
        'weight = "1 + (1-tau)*(r-1) - (r-1)^2"', "(0, 2)", "monotone-decay",
        around_one("1 + (1-tau)*(r-1) - (r-1)^2", rule="anchor-2"),
    ),
    "a numerator of the wrong sign at the end": (
        'weight = "exp((r-1)/9 - (r-1)^2)"', None, "monotone-decay",
        around_one("exp((r-1)/9 - (r-1)^2)", rule="fraction-1"),
    ),
    "w growing, as a product of factors that fall below 0": (
        f'weight = "{RIGHT_OF_1.format("(1-r)*(2-r)")}"', None, "monotone-decay", in_parts("(1-r)*(2-r)", "1-r", "2-r"),
    ),
    "w growing, as a product of other factors": (
        f'weight = "{RIGHT_OF_1.format("r*exp(-r/9)/3")}"', None, "monotone-decay",
        in_parts("r*exp(-r/9)/3", "1/3", "exp(-r/9)"),
    ),
    "w growing, as a product of factors of which one does": (
        f'weight = "{RIGHT_OF_1.format("r*exp(-r/9)/3")}"', None, "monotone-decay",
        in_parts("r*exp(-r/9)/3", "r/3", "exp(-r/9)"),
    ),
    "w >= 0, by parts of w that fall where those of -w had to": (
        f'weight = "{RIGHT_OF_1.format("2-r")}"', None, "nonnegative-weight", below_zero("2-r"),
    ),
    "phi swinging on for ever": (
        'weight = "cos(r-1)/r"', None, "vanishing-score", ending("cos(r-1)/r", "cos(r-1)"),
    ),
    "phi coming back to 0 and growing in between": (
        'weight = "sin(r)^2*exp(-1/r)"', None, "vanishing-score", ending("sin(r)^2*exp(-1/r)", "r*sin(r)^2*exp(-1/r)"),
    ),
    "a limit of w at 0 where it swings": (
        'weight = "cos(1/r)"', None, "weight(0) <= 1",
        {**around_one(), "zero": [{"term": "cos(1/r)", "rule": "limit", "form": "cos(1/r)"}]},
    ),
    "w(1) is 0/0": (
        f'weight = "Piecewise(({HALF_CAUCHY}, r<1),({NUMBER_BY_ZERO}, r<=1),({HALF_CAUCHY},True))"', None, "unit-peak",
        around_one(HALF_CAUCHY),
    ),
    "w(1) divides by 0 twice": (
        f'weight = "Piecewise(({CAUCHY}, r<1),(1+sigmoid(1/(r-1))-sigmoid(1/(1-r)), r<=1),({HALF_CAUCHY},True))"',
        None, "unit-peak", around_one(CAUCHY, HALF_CAUCHY),
    ),
    "score of a root of a negative number": (
        f'weight = "{LEFT_OF_1}"', None, "vanishing-score", ending(CAUCHY, f"r*{CAUCHY}"),
    ),
    "value of a root of a negative number": (f'weight = "{LEFT_OF_1}"', None, "first-order-agreement", around_one()),
    "score that is 0/0 at one parameter": (
        f'weight = "{NOT_AT_TAU_1}"', "(0, 2)", "vanishing-score", ending(CAUCHY, f"r*{CAUCHY}"),
    ),
    "value that is 0/0 at one parameter": (
        f'weight = "{NOT_AT_TAU_1}"', "(0, 2)", "first-order-agreement", around_one(),
    ),
    "w(1) at a parameter that leaves nothing to fill": (
        'weight = "1 + (r - 1)^2/(tau - 1)"', "(0, 2)", "first-order-agreement", around_one(),
    ),
    "1/log(0), which is 0 to SymPy": (
        f'weight = "{CAUCHY} + (r-1)*exp(-r)/log(tau)"', "[0, 1/2]", "first-order-agreement",
        {"cut": "tau", "at": "0", "there": around_one(), "above": around_one()},
    ),
    "another weight at the closed end of the domain": (
        f'weight = "Piecewise((5, tau >= 2),({CAUCHY},True))"', "(0, 2]", "unit-peak", around_one(CAUCHY),
    ),
    "another weight at one parameter, where cells meet": (
        f'weight = "Piecewise((5, Abs(tau-1) <= 0),({CAUCHY},True))"', "(0, 2)", "unit-peak",
        {"cut": "tau", "at": "1", "below": around_one(CAUCHY), "above": around_one(CAUCHY)},
    ),
    "f is nowhere a number, its derivative is": (
        'value = "atan(r-1) + log(-1-(r-1)^2) - log(1+(r-1)^2)"', None, "unit-peak", around_one(CAUCHY),
    ),
    "f is no number at some parameters, its derivative is": (
        'value = "atan(r-1) + sqrt(tau-1)"', "(0, 2)", "unit-peak", around_one(CAUCHY),
    ),
    "f at most r beyond a pole of w": (
        f'weight_pos = "{POLE}"\nweight_neg = "1"', None, "pessimistic on kill side",
        {"sections": [section("0", "1"), *at_pole("weight at most", "bound", "1", "2", "oo")]},
    ),
    "f continuous across a pole of w": (
        f'weight = "{POLE}"', None, "smoothness >= 0",
        {"sections": at_pole("weight defined", "defined", "0", "1", "2", "oo")},
    ),
    "a switch that is 0/0 at one parameter": (
        f'weight = "Piecewise(({CAUCHY}, {NO_SWITCH_AT_TAU_1} > 0),(7,True))"', "(0, 2)", "unit-peak",
        around_one(CAUCHY),
    ),
    "f' is C^0, but what the text says it is at one ratio": (
        f'weight = "Piecewise(({CAUCHY}, r<2),(5, r<=2),({CAUCHY},True))"', None, "smoothness >= 1",
        three("weight defined", CAUCHY, "defined"),
    ),
    "a value of its own at one ratio, chosen by what holds or is 1/0 there": (
        f'weight = "Piecewise((5, ((r<=2)&(r>=2)) | (-1/(r-2)^2 > 9)),({CAUCHY},True))"', None, "unit-peak",
        three("weight decays", CAUCHY, "derivative"),
    ),
    "a value of its own at one ratio, chosen where what is 1/0 does not hold": (
        f'weight = "Piecewise(({CAUCHY}, -1/(r-2)^2 > 9),(5, (r<=2)&(r>=2)),({CAUCHY},True))"', None, "unit-peak",
        three("weight decays", CAUCHY, "derivative"),
    ),
    "f' = 1 at r = 1, where f jumps": (
        'value = "Piecewise((atan(r-1), r<1),(5+atan(r-1),True))"', None, "unit-peak", around_one(CAUCHY),
    ),
    "f falls by pi again and again, its derivative is that of atan(r-1)": (
        'value = "atan(r-1) + atan(sin(r)/cos(r)) - r"', None, "nonnegative-weight",
        around_one(CAUCHY, claim="weight at least", rule="bound"),
    ),
    "f is nowhere a number, its derivative has no logarithm to say so": (
        'value = "atan(r-1) + lowergamma(-1, r+2)"', None, "nonnegative-weight",
        around_one(f"{CAUCHY} + exp(-r-2)/(r+2)^2", claim="weight at least", rule="bound"),
    ),
    "f is no number beyond r = 2, its derivative is": (
        'value = "atan(r-1) + asin(r-1) + acos(r-1)"', None, "nonnegative-weight",
        around_one(CAUCHY, claim="weight at least", rule="bound"),
    ),
    "a switch that is no number, expands to 0": (
        f'weight = "Piecewise(({CAUCHY}, (r+1)*log(-1-r) - r*log(-1-r) - log(-1-r) >= 0),(7,True))"', None, "unit-peak",
        around_one(CAUCHY),
    ),
    "a comparison of what is no number beyond r = 5": (
        f'weight = "Piecewise(({CAUCHY}, log(5-r) + sigmoid(r) > log(5-r) + 1/4),(7,True))"', None, "monotone-decay",
        around_one(CAUCHY),
    ),
    "a larger of two that are no numbers, less themselves": (
        f'weight = "{CAUCHY} + Max(log(r-5) + sigmoid(r), log(r-5) + 1/4) - log(r-5) - sigmoid(r)"', None, "unit-peak",
        around_one(CAUCHY),
    ),
    "the exponential of a logarithm that does not exist": (
        f'weight = "-exp(Piecewise((log(-{CAUCHY}), r<1),(log(-1/(r^2-2*r+2)),True)))"', None, "unit-peak",
        around_one(CAUCHY),
    ),
    "what does not exist in two spellings, until z is log(r)": (
        f'weight = "{CAUCHY} + log(exp(z)-5) - log(r-5)"', None, "unit-peak", around_one(CAUCHY),
    ),
    "what does not exist, times 0 at the only parameter": (
        f'weight = "{CAUCHY} + (tau-1/2)*log(-1-r)"', "[1/2, 1/2]", "unit-peak", around_one(CAUCHY),
    ),
    "what does not exist in a corner, times 0 at the only parameter": (
        f'weight = "{CAUCHY} + (tau-1/2)*Abs(log(r-5))"', "[1/2, 1/2]", "unit-peak", around_one(CAUCHY),
    ),
}  # fmt: skip


def is_accepted(certificate: Json) -> bool:
    try:
        recheck(signed(certificate))
    except RecheckFailed:
        return False
    return True


@pytest.mark.parametrize("lie", PROOFS)
def test_no_proof_of_a_false_claim_passes(lie: str) -> None:
    text, domain, id_, cells = PROOFS[lie]
    certificate = undecided(text, domain, id_)
    assert is_accepted(certificate)
    claim_of(certificate, id_).update(verdict="proved", evidence={"cells": cells})
    assert not is_accepted(certificate)


def part(share: str, weight: str, cell: Json, domain: str | None = None, tau: str = "tau") -> Json:
    """One of a mixture, in tau where it has a domain, for which that expression stands; shown on one cell."""
    gate = parse_gate(f'[gate]\nname = "part"\nweight = "{weight}"\n{TAU.format(domain) if domain else ""}')
    return {"share": share, "gate": gate.text, "values": {"tau": tau} if domain else {}, "cells": cell}


BELL, SPREADING, SQUARED = "exp(-(r-1)^2)", "exp(-tau*(r-1)^2)", "exp(-tau^2*(r-1)^2)"
AT_1 = f"Piecewise(({CAUCHY}, r<=1),({HALF_CAUCHY},True))"
NOT_AT_1 = f"(r^2-1)/((r-1)*(r+1))*{CAUCHY}"
FALL = around_one(CAUCHY)
MIXTURES: dict[str, tuple[str, str | None, str, list[Json]]] = {
    "shares of sum 2": (f"2*{CAUCHY}", None, "unit-peak", 2 * [part("1", CAUCHY, FALL)]),
    "a negative share": (
        f"2*{BELL} - {CAUCHY}", None, "monotone-decay",
        [part("2", BELL, around_one(BELL)), part("-1", CAUCHY, FALL)],
    ),
    "a share that is negative for some parameters": (
        f"tau*{BELL} + (1-tau)*{CAUCHY}", "[0, 2]", "monotone-decay",
        [part("tau", BELL, around_one(BELL)), part("1-tau", CAUCHY, FALL)],
    ),
    "parts of another weight": ("r", None, "monotone-decay", [part("1", CAUCHY, FALL)]),
    "no parts": (f"2*{CAUCHY}", None, "unit-peak", []),
    "a part of which nothing is shown": ("r", None, "nonnegative-weight", [part("1", "r", around_one())]),
    "a parameter beyond the domain that the part is shown for": (
        SPREADING, "[-1, 1]", "monotone-decay", [part("1", SPREADING, around_one(SPREADING), "[0, 1]")],
    ),
    "a parameter that is no number": (
        "exp(-(tau-1)*(r-1)^2)", "(0, 2)", "monotone-decay",
        [part("1", SQUARED, around_one(SQUARED), "(-oo, oo)", "sqrt(tau-1)")],
    ),
    "what does not hold of sums": (f"{CAUCHY}/2 + {BELL}/2", None, "half_width <= 1/2", [part("1", BELL, FALL)]),
    "what does not exist in two spellings, until z is log(r)": (
        f"{CAUCHY} + log(exp(z)-5) - log(r-5)", None, "unit-peak", [part("1", CAUCHY, FALL)],
    ),
    "w(1) is 0/0 in one part, and said in another that jumps there": (
        f"{AT_1}/2 + {NOT_AT_1}/2", None, "unit-peak",
        [part("1/2", AT_1, around_one(CAUCHY, HALF_CAUCHY)), part("1/2", NOT_AT_1, FALL)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", MIXTURES)
def test_no_mixture_of_parts_shows_what_is_false(lie: str) -> None:
    weight, domain, id_, parts = MIXTURES[lie]
    certificate = undecided(f'weight = "{weight}"', domain, id_)
    assert is_accepted(certificate)
    claim_of(certificate, id_).update(verdict="proved", evidence={"parts": parts})
    assert not is_accepted(certificate)


@pytest.mark.parametrize(
    ("weight", "domain", "parts"),
    [
        (f"{BELL}/3 + 2*{CAUCHY}/3", None, [part("1/3", BELL, around_one(BELL)), part("2/3", CAUCHY, FALL)]),
        (SPREADING, "(0, 1]", [part("1", SPREADING, around_one(SPREADING), "[0, 1]")]),
    ],
)
def test_parts_show_what_is_true_of_each(weight: str, domain: str | None, parts: list[Json]) -> None:
    certificate = undecided(f'weight = "{weight}"', domain, "unit-peak")
    claim_of(certificate, "unit-peak").update(verdict="proved", evidence={"parts": parts})
    assert is_accepted(certificate)


def witness(kind: str, *r: str, enclosure: tuple[list[str], ...] = ()) -> Json:
    """Without parameters; the enclosures hold of anything, if none are given."""
    enclosures = enclosure or (["-oo", "oo"],) * (2 if kind in ("pair", "jump") else 1)
    return {"kind": kind, "r": list(r), "parameters": {}, "enclosure": [list(one) for one in enclosures], "why": ""}


LIMIT = {"zero": [{"term": CAUCHY, "rule": "limit", "form": CAUCHY}]}
SLOPE = {"infinity": [{"term": CAUCHY, "rule": "slope", "form": "1 - 2*r*(r-1)/(1+(r-1)^2)"}]}
REFUTATIONS: dict[str, tuple[str, str, Json, Json]] = {  # what is declared, the requirement, the witness, its evidence
    "w(1) = 1, though it takes more than polynomials to see it": (
        f'weight = "Piecewise((r/2, r<1),({ONE}, r<=1),(1/(3*r^2),True))"', "unit-peak",
        witness("jump", "1"), around_one(),
    ),
    "a square, though its exponent does not look like 2": (
        f'weight = "{CAUCHY} + (r-3)^(sin(1)^2+cos(1)^2+1)*exp(-r)/1000"', "continuously-differentiable",
        {**witness("point", "1"), "enclosure": []}, around_one(),
    ),
    "a logarithm of 1, whose argument SymPy takes for -1 where it has 0^0": (
        f'weight = "{CAUCHY} + log(1 - 2*0^((r-2)^2))"', "continuously-differentiable",
        {**witness("point", "2"), "enclosure": []}, three("", "", ""),
    ),
    "a limit at 0 that is refuted at 77": (
        f'weight = "{CAUCHY}"', "weight(0) <= 1/4", witness("point", "77"), {**around_one(), **LIMIT},
    ),
    "a limit at infinity that is refuted at 1/77": (
        f'weight = "{CAUCHY}"', "tail order >= 3", witness("tail", "1/77"), {**around_one(), **SLOPE},
    ),
    "f as the integral of phi, though it jumps wherever tan has a pole": (
        'value = "atan(tan(r))"', "bounded-value", witness("tail", "1", enclosure=(["1", "oo"],)),
        around_one("r", claim="score at least", rule="bound"),
    ),
    "f as the integral of phi, though it jumps wherever the tangent has a pole, spelled as a quotient": (
        'value = "atan(sin(r)/cos(r))"', "bounded-value", witness("tail", "1", enclosure=(["1", "oo"],)),
        around_one("r", claim="score at least", rule="bound"),
    ),
    "a witness with a note of its own": (
        f'weight = "{CAUCHY}"', "weight(0) <= 1/4", {**witness("point", "1/2"), "note": ""},
        {**around_one(), **LIMIT},
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", REFUTATIONS)
def test_no_refutation_of_a_true_claim_nor_at_a_place_that_says_nothing_passes(lie: str) -> None:
    text, id_, place, evidence = REFUTATIONS[lie]
    certificate = undecided(text, None, id_)
    assert is_accepted(certificate)
    claim_of(certificate, id_).update(verdict="refuted", witness=place, evidence=evidence)
    certificate["verdict"] = "refuted"
    assert not is_accepted(certificate)


@pytest.mark.parametrize(
    ("id_", "place", "evidence"),
    [("weight(0) <= 1/4", witness("point", "1/2"), LIMIT), ("tail order >= 3", witness("tail", "77"), SLOPE)],
)
def test_a_limit_is_refuted_where_it_is_taken(id_: str, place: Json, evidence: Json) -> None:
    certificate = undecided(f'weight = "{CAUCHY}"', None, id_)
    claim_of(certificate, id_).update(verdict="refuted", witness=place, evidence={**around_one(), **evidence})
    certificate["verdict"] = "refuted"
    assert is_accepted(certificate)


NOTHING_STATED = (
    "half_width <= 1/0",
    "half_width <= x",
    "smoothness >= -1",
    "smoothness >= 5/2",
    "unit-peak\n",
    5,
    [1],
)


@pytest.mark.parametrize("id_", NOTHING_STATED)
def test_a_requirement_that_states_nothing_is_one_line_and_no_traceback(id_: Any) -> None:
    certificate = undecided(f'weight = "{CAUCHY}"', None, "unit-peak")
    certificate["requirements"][0]["id"] = id_
    says = r"no requirement|not a rational|are texts|C\^.* is not checked"
    with pytest.raises((RecheckFailed, CertificateError), match=says):
        recheck(signed(certificate))
