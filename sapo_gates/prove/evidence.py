"""What `recheck` evaluates again, as certificates spell it: trees of cuts over cells, sections and leaves.

Leaves and cells are stored as the tree of cuts that makes them, so that they are the whole box by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sympy
from sympy import Add, Expr, Rational, Symbol

from sapo_gates.functions import r, substitute
from sapo_gates.prove.boxes import Box, Closed, End, Leaf, Range
from sapo_gates.prove.cell_signs import as_end
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import is_identity, tamed
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.removable import as_fraction
from sapo_gates.prove.sections import Branch, Chart, Section, coordinate, in_x
from sapo_gates.prove.signs import Claim, SectionProver
from sapo_gates.verdict import Witness

if TYPE_CHECKING:
    from sapo_gates.prove.case import Case, Settled

NAMES: dict[Claim, str] = {
    "decay": "weight decays",
    "at most one": "weight at most",
    "nonnegative": "weight at least",
    "weight defined": "weight defined",
    "value defined": "value defined",
}
"""The claims as certificates call them."""


def end_text(end: End) -> str:
    """A rational or an infinity."""
    return ("oo" if end > 0 else "-oo") if isinstance(end, float) else str(end)


# Trees --------------------------------------------------------------------------------------------------------------


def tree(whole: Box, boxes: Sequence[tuple[Box, dict[str, Any]]]) -> dict[str, Any]:
    """Boxes that came of cutting the whole, each with its leaf, as the cuts that make them."""
    if len(boxes) == 1:
        return boxes[0][1]
    for symbol, range_ in whole.items():
        ends = {e for box, _ in boxes for e in (box[symbol].lower, box[symbol].upper) if isinstance(e, Fraction)}
        for at in sorted(ends, key=lambda e: abs(e - range_.middle)):
            found = _cut(whole, symbol, at, boxes)
            if found is not None:
                return found
    raise AssertionError("these boxes were not cut from one")


def _cut(
    whole: Box, symbol: Symbol, at: Fraction, boxes: Sequence[tuple[Box, dict[str, Any]]]
) -> dict[str, Any] | None:
    sides: dict[str, list[tuple[Box, dict[str, Any]]]] = {"below": [], "there": [], "above": []}
    for box, leaf in boxes:
        low, high = box[symbol].lower, box[symbol].upper
        name = "there" if low == high == at else "below" if high <= at else "above" if low >= at else None
        if name is None:
            return None
        sides[name].append((box, leaf))
    parts = {name: found for name, found in sides.items() if found}
    if len(parts) == 1:
        return None
    here = whole[symbol]
    ranges = {"below": Range(here.lower, at), "there": Range(at, at), "above": Range(at, here.upper)}
    cuts = {name: tree({**whole, symbol: ranges[name]}, found) for name, found in parts.items()}
    return {"cut": str(symbol), "at": str(at), **cuts}


# Cells and sections -------------------------------------------------------------------------------------------------


def section_entry(chart: Chart, section: Section) -> dict[str, Any]:
    """The section's coordinate."""
    return {
        "t": str(section.t),
        "r": sympy.sstr(substitute(chart.ratio, {chart.x: section.position})),
        "from": end_text(section.t_lower),
        "to": end_text(section.t_upper),
    }


def cells_evidence(case: Case, *claims: Claim, **ends: Sequence[object]) -> dict[str, object]:
    """Every cell of a case, with each claim on every section and what there is at the ends, for each cell."""
    cells = []
    for index, branch in enumerate(case.branches):
        shown: list[dict[str, object]] = [{} for _ in branch.sections]
        for claim in claims:
            own = [one for one in case.claim(claim) if one.branch is branch]
            for entry, settled in zip(shown, own, strict=True):
                entry[NAMES[claim]] = claim_evidence(claim, settled)
        cells.append((branch, shown, {name: found[index] for name, found in ends.items()}))
    return cells_tree(case, cells)


def cells_tree(
    case: Case, cells: Sequence[tuple[Branch, Sequence[Mapping[str, object]], Mapping[str, object]]]
) -> dict[str, object]:
    """Branches with what is shown on their sections and at their ends, as a tree over the case's parameters."""
    boxes = []
    for branch, shown, ends in cells:
        sections = [
            {**section_entry(branch.chart, section), **found}
            for section, found in zip(branch.sections, shown, strict=True)
        ]
        box = {p: Range(as_end(d.lower), as_end(d.upper)) for p, d in branch.all_domains.items()}
        boxes.append((box, {"sections": sections, **ends}))
    whole = {p: Range(as_end(p.domain.lower), as_end(p.domain.upper)) for p in case.parameters}
    return {"cells": tree(whole, boxes)}


def claim_evidence(claim: Claim, settled: Settled) -> dict[str, object]:
    """The form of the quantity, and the leaves."""
    assert isinstance(settled.outcome, Closed)
    prover = SectionProver(settled.branch, settled.section)
    form = settled.section.value if claim == "value defined" else settled.section.weight
    assert form is not None
    return bound_evidence(prover, form, prover.whole(claim), settled.outcome.leaves, near_one=claim == "at most one")


def bound_evidence(
    prover: SectionProver, form: Expr, whole: Box, leaves: Sequence[Leaf], *, near_one: bool = False
) -> dict[str, object]:
    """A form of a quantity with the leaves by which something is shown of it.

    near_one: rules of decay are those of leaves that start at r = 1, from where the quantity falls.
    """

    def rule(leaf: Leaf) -> dict[str, Any]:
        name = leaf.rule.replace("log-derivative", "derivative" if isinstance(form, Add) else "terms")
        if near_one and name != "bound" and not name.startswith("falls-"):
            name = f"falls-{name}"
        return {"rule": name}

    found: dict[str, object] = {
        "form": sympy.sstr(form),
        "leaves": tree(whole, [(leaf.box, rule(leaf)) for leaf in leaves]),
    }
    if any(leaf.rule.endswith("inverse") for leaf in leaves):
        found["inverse"] = sympy.sstr(prover.inverse_slope)
    if any(leaf.rule.endswith("each") for leaf in leaves):
        found["parts"] = [[sympy.sstr(factor) for factor in factors] for factors in prover.parts]
    return found


# Witnesses ----------------------------------------------------------------------------------------------------------


def place_evidence(branches: Sequence[Branch], witness: Witness) -> dict[str, object]:
    """The sections at the witness's parameters, with its ratios among the breakpoints."""
    branch, point = _at(branches, witness)
    chart = Chart("ratio")
    ratios = [Rational(text) for text in witness.r]
    corners = [substitute(substitute(branch.chart.ratio, {branch.chart.x: b}), point) for b in branch.breakpoints]
    places = ordered([*corners, *ratios])
    found: dict[str, object] = {"sections": sections_between(chart, [sympy.Integer(0), *places, sympy.oo], point)}
    if witness.kind == "pair" and places.index(ratios[1]) == places.index(ratios[0]) + 1:
        inverse = _inverse(branch, point, ratios[0], ratios[1])
        found |= {} if inverse is None else {"inverse": sympy.sstr(inverse)}
    return found


def _at(branches: Sequence[Branch], witness: Witness) -> tuple[Branch, dict[Symbol, Rational]]:
    numbers = {name: Rational(text) for name, text in witness.parameters.items()}
    for branch in branches:
        point = {p: numbers[str(p)] for p in branch.all_domains}
        if all(value in branch.all_domains[p] for p, value in point.items()):
            return branch, point
    raise AssertionError("the witness's parameters are in no cell")


def ordered(places: Sequence[Expr]) -> list[Expr]:
    """Positive numbers in increasing order, each once."""
    found: list[Expr] = []
    for place in places:
        here, index = compiled(place)({}), 0
        if not here.is_positive:
            continue
        for other in found:
            there = compiled(other)({})
            if is_identity(place, other):
                break
            index += there.upper < here.lower
        else:
            found.insert(index, place)
    return found


def sections_between(chart: Chart, ends: Sequence[Expr], point: Mapping[Symbol, Rational]) -> list[dict[str, Any]]:
    """Sections with these ends in the chart's x, at fixed parameters."""
    entries = []
    for lower, upper in pairwise(ends):
        t, position, low, high = coordinate(chart, lower, upper)
        ratio = substitute(substitute(chart.ratio, {chart.x: position}), point)
        entries.append({"t": str(t), "r": sympy.sstr(ratio), "from": end_text(low), "to": end_text(high)})
    return entries


def _inverse(branch: Branch, point: Mapping[Symbol, Rational], low: Rational, high: Rational) -> Expr | None:
    """1/q between two ratios, for f or w with a pole between them."""
    x = branch.chart.of_ratio
    place = substitute(x, {**point, r: low})
    section = next(s for s in reversed(branch.sections) if _is_below(substitute(s.lower, point), place))
    t, position, t_low, t_high = coordinate(Chart("ratio"), low, high)
    box = {t: Interval.of(t_low, t_high)}
    for quantity in (section.value, section.weight):
        if quantity is None:
            continue
        in_r = substitute(in_x(branch, section, quantity), {branch.chart.x: x})
        there = substitute(substitute(in_r, point), {r: position})
        if not _may_change_sign(there, t, t_low, t_high):
            continue
        top, bottom = as_fraction(there)
        for inverse in (tamed(sympy.cancel, 1 / there), bottom / top):
            with suppress(Undefined):
                at_ends = [compiled(inverse)({t: Interval.of(e, e)}) for e in (t_low, t_high)]  # pyright: ignore[reportArgumentType]
                whole = compiled(inverse)(box)
                is_finite = whole.lower.is_finite() and whole.upper.is_finite()
                if is_finite and at_ends[0].is_positive != at_ends[1].is_positive:
                    return inverse
    return None


def _may_change_sign(expression: Expr, t: Symbol, *ends: End) -> bool:
    """Whether it may have different signs at the two ends; where it is not defined there, it may."""
    with suppress(Undefined):
        low, high = (compiled(expression)({t: Interval.of(end, end)}) for end in ends)
        return not ((low.is_positive and high.is_positive) or (low.is_negative and high.is_negative))
    return True


def _is_below(a: Expr, b: Expr) -> bool:
    if a is -sympy.oo:
        return True
    return bool(compiled(a)({}).upper <= compiled(b)({}).upper)
