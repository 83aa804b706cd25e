"""Requirements that a user stated: read from their texts again, evaluated from the gate's formula by code of its own.

`half_width <= h`, `sup score <= c` and `weight(0) <= c` rest on boxes of the ratio and the parameters on which every
piece of the formula that may hold is bounded; the others on sections, breakpoints and limits as all requirements do.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Piecewise, Rational, Symbol
from sympy.core.relational import Relational

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.algebra import Range, convert, enclose_split, log_slope, same, slope, spans, value_at_end
from sapo_gates.recheck.claims import breakpoints, claim, fills, is_smooth, joins, limit_of, score_slope
from sapo_gates.recheck.limits import ABOVE, limit
from sapo_gates.recheck.sections import (
    Branch,
    S,
    Section,
    Structure,
    covers_cells,
    end_of_range,
    partitions,
    read_section,
    require,
)  # fmt: skip
from sapo_gates.recheck.spans import Span, Undefined, rational_span, span_of
from sapo_gates.recheck.witnesses import Place, exact, within

Entry = Mapping[str, Any]
NUMBER = r" (-?\d{1,400}(?:/\d{1,400})?)"
FORMS = {
    "half_width": re.compile("half_width <=" + NUMBER),
    "sup score": re.compile("sup score <=" + NUMBER),
    "smoothness": re.compile("smoothness >=" + NUMBER),
    "weight(0)": re.compile(r"weight\(0\) <=" + NUMBER),
    "tail order": re.compile("tail order >=" + NUMBER),
    "kill side": re.compile("pessimistic on kill side()"),
    "pass side": re.compile("pessimistic on pass side()"),
}
NEXT = Symbol("beyond_", positive=True)
STEP = Fraction(1, 2**40)
FURTHER = Range(Fraction(0), STEP, False, True)
HALF = Rational(1, 2)


def read(id_: str) -> tuple[str, Rational] | None:
    """What a requirement's text states: its kind and number; None if it is no such text."""
    for kind, form in FORMS.items():
        found = form.fullmatch(id_)
        if found:
            return kind, exact(found[1] or "0")
    return None


# Every piece that may hold -------------------------------------------------------------------------------------------


def pieces(expression: Expr, decide: Callable[[Any], bool | None]) -> list[Expr]:
    """Every formula that the expression may be, where `decide` cannot tell a condition."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, Piecewise):
            found: list[Expr] = []
            for formula, condition in node.args:  # type: ignore[misc]
                answer = decide(condition)
                if answer is not False:
                    found += pieces(substitute(expression, {node: formula}), decide)
                if answer is True:
                    break
            return list(dict.fromkeys(found))
    return [expression]


def decider(place: Mapping[Symbol, Expr], box: Mapping[Symbol, Span]) -> Callable[[Any], bool | None]:
    """Three answers about a condition at a place, over a box of what the place leaves open."""

    def decide(condition: Any) -> bool | None:
        match condition:
            case sympy.And() | sympy.Or():
                answers = [decide(one) for one in condition.args]
                last = isinstance(condition, sympy.Or)
                return last if last in answers else None if None in answers else not last
            case sympy.Not():
                inner = decide(condition.args[0])
                return None if inner is None else not inner
            case Relational():
                switches = pieces(condition.lhs - condition.rhs, decide)  # type: ignore[operator]
                told = {_compare(condition, sympy.expand(substitute(one, place)), box) for one in switches}
                return told.pop() if len(told) == 1 else None
        return bool(condition)

    return decide


def _compare(condition: Relational, switch: Expr, box: Mapping[Symbol, Span]) -> bool | None:
    try:
        found = span_of(switch)(box)
    except Undefined:
        return None
    sign = 1 if found.is_positive else -1 if found.is_negative else 0 if found.is_zero else None
    if sign is not None:
        return bool(type(condition)(Integer(sign), 0))
    if found.low >= 0 and isinstance(condition, sympy.GreaterThan | sympy.StrictLessThan):
        return isinstance(condition, sympy.GreaterThan)
    if found.high <= 0 and isinstance(condition, sympy.LessThan | sympy.StrictGreaterThan):
        return isinstance(condition, sympy.LessThan)
    return None


def formulas(
    declared: Expr, kind: Kind, quantity: Kind, place: Mapping[Symbol, Expr], box: Mapping[Symbol, Span]
) -> list[Expr]:
    """The quantity by every piece that may hold at the place, over the box; in r."""
    return [convert(kind, one, quantity) for one in pieces(declared, decider(place, box))]


def _boxes(branch: Branch, leaves: Any, others: Mapping[Symbol, Range]) -> list[tuple[dict[Symbol, Range], str]]:
    """The leaves of a claim, checked to be all of the parameters' domain (and of the others' ranges)."""
    wholes: dict[Symbol, Range] = {**others, **branch.domain}
    named = {str(symbol): symbol for symbol in wholes}
    found = []
    for leaf in leaves:
        require(set(leaf["box"]) == set(named), "a leaf does not span {}", sorted(named))
        box = {}
        for name, symbol in named.items():
            (low, high), whole = map(end_of_range, leaf["box"][name]), wholes[symbol]
            require(
                whole.low <= low <= high <= whole.high, "the leaf {} in [{}, {}] leaves the domain", name, low, high
            )
            box[symbol] = Range(low, high, low > whole.low or whole.low_in, high < whole.high or whole.high_in)
        found.append((box, leaf["rule"]))
    order = list(named.values())
    whole_box = [wholes[symbol] for symbol in order]
    require(
        partitions([[box[s] for s in order] for box, _ in found], whole_box, points=False), "the leaves are not all"
    )
    return found


# Proofs --------------------------------------------------------------------------------------------------------------


def proved(branch: Branch, id_: str, evidence: Entry, decay: Structure | None, verdicts: Mapping[str, str]) -> None:
    """The evidence shows the statement for the whole domain."""
    found = read(id_)
    require(found is not None, "no requirement {!r}", id_)
    assert found is not None
    kind, bound = found
    match kind:
        case "half_width":
            _half_width(branch, bound, evidence)
        case "sup score":
            _sup_score(branch, bound, evidence)
        case "smoothness":
            _smoothness(branch, bound, evidence)
        case "weight(0)":
            _weight_at_zero(branch, bound, evidence)
        case "tail order":
            _tail_order(branch, bound, evidence)
        case _:
            _pessimistic(branch, kind, evidence, decay, verdicts)


def _ratio(side: str, h: Rational) -> Any:
    return 1 + h if side == "right" else 1 - h if h < 1 else Rational(1, 1024)


def _half_width(branch: Branch, h: Rational, evidence: Entry) -> None:
    require(h > 0 and set(evidence) == {"left", "right"}, "not both sides of 1 are shown")
    for side, outward in (("left", -1), ("right", 1)):
        ratio = _ratio(side, h)
        for box, rule in _boxes(branch, evidence[side], {}):
            require(rule in ("at", "beyond"), "no rule {!r}", rule)
            place = {r: ratio if rule == "at" else ratio + outward * NEXT}
            ranges = spans(box if rule == "at" else {**box, NEXT: FURTHER})
            for formula in formulas(branch.declared, branch.kind, "weight", place, ranges):
                require(
                    span_of(substitute(formula, place) - HALF)(ranges).high <= 0, "w <= 1/2 is not shown at {}", ratio
                )


def _sup_score(branch: Branch, bound: Rational, evidence: Entry) -> None:
    texts = [text for spelled in evidence["slopes"].values() for text in spelled]
    for box, rule in _boxes(branch, evidence["boxes"], {r: Range(Fraction(0), float("inf"))}):
        ranges = spans(box)
        found = formulas(branch.declared, branch.kind, "weight", {}, ranges)
        if rule == "bound":
            holds = all(span_of(r * weight - bound)(ranges).high <= 0 for weight in found)
        else:
            require(rule == "falls" and len(found) == 1, "no rule {!r} here", rule)
            start = box[r].low
            require(box[r].high == float("inf") and isinstance(start, Fraction) and start > 0, "this is no tail")
            at = {**ranges, r: Range(start, start, True, True).span}  # type: ignore[arg-type]
            size = span_of(r * found[0])(at).absolute()
            holds = bool((size + -rational_span(bound)).high <= 0) and _falls(branch, found[0], texts, box)
        require(holds, "phi <= {} is not shown by {!r}", bound, rule)


def _falls(branch: Branch, weight: Expr, texts: list[str], box: Mapping[Symbol, Range]) -> bool:
    """d log |phi|/d log r <= 0 on the box, by a spelling in r or in s = 1/r that is checked to be it.

    w is defined on the box; where it vanished the spelling would have a pole, and no range.
    """
    own, ranges = 1 + r * log_slope(weight, r), spans(box)
    for text in texts:
        form = branch.read(text, r, S)
        inverse = S in form.free_symbols
        require(not {r, S} <= form.free_symbols, "{} mixes s and r", text)
        if not same(substitute(own, {r: 1 / S}) if inverse else own, form):
            continue
        try:
            here = {**ranges, S: ranges[r].reciprocal()} if inverse else ranges
            if span_of(form)(here).high <= 0 and enclose_split(weight, box, lambda _: True):
                return True
        except Undefined:
            continue
    return False


def _smoothness(branch: Branch, order: Rational, evidence: Entry) -> None:
    require(order.is_Integer and 0 <= order <= 8, "C^{} is not checked", order)
    k = int(order)
    name = "value defined" if k == 0 and branch.kind == "value" else "weight defined"
    structure = claim(branch, evidence, name)
    if branch.kind == "value":
        for before, after, quantity in breakpoints(structure, "value"):
            require(is_smooth(branch, before, after, quantity), "f jumps at {}", before.upper)
            require(fills(branch, before, after, quantity), "f at {} is not its limit", before.upper)
    for chain in structure.values():
        slopes = {section: [branch.quantity(section, "weight")] for section in chain}
        for section, found in slopes.items():
            for _ in range(k - 1):
                found.append(slope(found[-1], section.t) / slope(section.ratio, section.t))
                holds = enclose_split(found[-1], section.ranges, lambda _: True)
                require(holds, "a derivative is not defined on {} to {}", section.lower, section.upper)
        for before, after in pairwise(chain):
            for j in range(k):
                sides = [_end(before, slopes[before][j], True), _end(after, slopes[after][j], False)]
                require(same(*sides), "derivative {} of f jumps at {}", j + 1, before.upper)


def _end(section: Section, formula: Expr, at_upper: bool) -> Expr:
    """The limit at an end of the section, as an expression in the parameters."""
    end = section.t_range.high if at_upper else section.t_range.low
    assert isinstance(end, Fraction)
    at, cell = Rational(end.numerator, end.denominator), dict(section.cell)
    try:
        return value_at_end(formula, section.t, at, cell)
    except Undefined:
        near = substitute(formula, {section.t: at - S if at_upper else at + S})
        found = limit(near, S, ABOVE, spans(cell))
        require(found.is_zero, "the limit of {} at {} is not known", formula, at)
        return Integer(0)


def _weight_at_zero(branch: Branch, bound: Rational, evidence: Entry) -> None:
    if "cells" in evidence:
        places = []
        for entry in evidence["cells"]:
            section = read_section(branch, entry)
            require(section.chart == "ratio" and section.lower == 0, "the section does not start at r = 0")
            form = branch.read(entry["form"], section.t)
            require(same(form, branch.quantity(section, "weight")), "{} is not w", entry["form"])
            found = limit(form, section.t, ABOVE, spans(dict(section.cell))).number
            require((found + -rational_span(bound)).high <= 0, "the limit of w as r -> 0 is not <= {}", bound)
            places.append(section.place)
        covers_cells(branch, places)
        return
    for box, rule in _boxes(branch, evidence["boxes"], {}):
        require(rule == "limit", "no rule {!r}", rule)
        ranges = spans({**box, r: FURTHER})
        for weight in formulas(branch.declared, branch.kind, "weight", {}, ranges):
            require(
                (_at_zero(weight, spans(box)) + -rational_span(bound)).high <= 0, "w -> more than {} as r -> 0", bound
            )


def _at_zero(weight: Expr, box: Mapping[Symbol, Span]) -> Span:
    for form in (weight, sympy.cancel(weight) if weight.is_rational_function(r) else weight):
        try:
            return limit(form, r, ABOVE, box).number
        except Undefined:
            continue
    raise RecheckFailed(f"the limit of {weight} as r -> 0 is not known")


def _tail_order(branch: Branch, order: Rational, evidence: Entry) -> None:
    places = []
    for entry in evidence["tails"]:
        section = read_section(branch, entry)
        require(section.upper is sympy.oo, "the section does not reach r = oo")
        weight = branch.quantity(section, "weight")
        terms = [branch.read(one["term"], section.t) for one in entry["terms"]]
        require(same(Add(*terms), weight), "the terms do not add up to {}", weight)
        for term, one in zip(terms, entry["terms"], strict=True):
            if one["rule"] == "zero":
                require(term == 0, "{} is not 0", term)
                continue
            require(one["rule"] == "slope", "no rule {!r}", one["rule"])
            found = limit_of(branch, section, score_slope(section, term), one["form"])
            falls = found.near < 0 if found.is_infinite else (found.number + rational_span(order - 1)).high <= 0  # type: ignore[arg-type]
            require(falls, "{} does not fall like r^-{}", term, order)
        places.append(section.place)
    covers_cells(branch, places)


def _pessimistic(
    branch: Branch, kind: str, evidence: Entry, decay: Structure | None, verdicts: Mapping[str, str]
) -> None:
    require(decay is not None, "monotone-decay is not proved")
    assert decay is not None
    pairs = breakpoints(decay, "value") if branch.kind == "value" else []
    joins(branch, evidence["joins"], pairs)
    for before, after, quantity in pairs:
        require(is_smooth(branch, before, after, quantity), "f jumps at {}", before.upper)
        require(fills(branch, before, after, quantity), "f at {} is not its limit", before.upper)
    if evidence["by"] == "unit-peak":
        require(kind == "kill side" and verdicts.get("unit-peak") == "proved", "unit-peak does not show this")
        return
    require(evidence["by"] == "identity", "no such proof: {!r}", evidence["by"])
    outward = 1 if (branch.sign == "positive") == (kind == "kill side") else -1
    for chain in decay.values():
        for section in chain:
            holds = section.outward != outward or same(branch.quantity(section, "weight"), Integer(1))
            require(holds, "w is not 1 on {} to {}", section.lower, section.upper)


# Witnesses -----------------------------------------------------------------------------------------------------------


def refuted(branch: Branch, id_: str, witness: Entry, evidence: Entry) -> None:
    """The witness breaks the statement."""
    found = read(id_)
    require(found is not None, "no requirement {!r}", id_)
    assert found is not None
    kind, bound = found
    place = Place(branch, witness)
    expected = {"smoothness": "jump", "tail order": "tail"}.get(kind, "point")
    require(
        witness["kind"] == expected and len(witness["r"]) == 1, "a {!r} is no witness against {}", witness["kind"], id_
    )
    ratio, stated = exact(witness["r"][0]), witness["enclosure"]
    require(ratio > 0, "the witness's r is not positive")
    require(len(stated) == (2 if kind == "smoothness" else 1), "the witness has {} enclosures", len(stated))
    match kind:
        case "half_width":
            _wide(place, ratio, bound, stated)
        case "sup score":
            _strong(place, ratio, bound, stated)
        case "smoothness":
            _rough(place, ratio, bound, stated, evidence)
        case "weight(0)":
            _heavy(place, bound, stated)
        case "tail order":
            _slow(branch, place, bound, stated, evidence)
        case _:
            _hopeful(place, kind, ratio, stated)


def _wide(place: Place, ratio: Any, h: Rational, stated: Any) -> None:
    require(ratio in (_ratio("left", h), _ratio("right", h)), "r = {} is not at distance {}", ratio, h)
    at = Fraction(int(ratio.p), int(ratio.q))
    ends = (Fraction(1), at + STEP) if at > 1 else (at - STEP, Fraction(1))
    waiting, splits = [Range(*ends, True, True)], 0
    while waiting:
        part = waiting.pop()
        try:
            found = [
                span_of(e - HALF)({r: part.span})
                for e in formulas(place.declared, place.kind, "weight", {}, {r: part.span})
            ]
            if all(one.is_positive for one in found):
                continue
        except Undefined:
            pass
        splits += 1
        require(splits < 2000, "w > 1/2 is not shown from r = 1 to {}", ratio)
        waiting += part.halves()
    require(
        any(within(one, stated[0]) for one in place.candidates(ratio, (1, -1))), "w({}) is not in {}", ratio, stated[0]
    )


def _strong(place: Place, ratio: Any, bound: Rational, stated: Any) -> None:
    for side in (0, 1, -1) if place.kind != "value" else (1, -1):
        try:
            found = place.at(ratio, side, "score")
        except (Undefined, RecheckFailed):
            continue
        if within(found, stated[0]) and (found + -rational_span(bound)).is_positive:
            return
    raise RecheckFailed(f"phi({ratio}) > {bound} does not hold")


def _rough(place: Place, ratio: Any, order: Rational, stated: Any, evidence: Entry) -> None:
    j = evidence["order"]
    require(isinstance(j, int) and -1 <= j < order, "derivative {} of f may jump in C^{}", j, order)
    sides = []
    for side in (-1, 1):
        formula = place.beside(ratio, side, "value" if j < 0 else "weight")
        for _ in range(j):
            formula = slope(formula, r)
        try:
            sides.append(span_of(value_at_end(formula, r, ratio, {}))({}))
        except Undefined:
            sides.append(limit(substitute(formula, {r: ratio + side * S}), S, ABOVE, {}).number)
    require(all(within(one, told) for one, told in zip(sides, stated, strict=True)), "the limits are not those stated")
    require(sides[0].high < sides[1].low or sides[1].high < sides[0].low, "there is no jump at {}", ratio)


def _heavy(place: Place, bound: Rational, stated: Any) -> None:
    found = formulas(place.declared, place.kind, "weight", {}, {r: FURTHER.span})
    require(len(found) == 1, "which piece holds next to r = 0 is not certain")
    at = _at_zero(found[0], {})
    require(within(at, stated[0]) and (at + -rational_span(bound)).is_positive, "w -> {} at most as r -> 0", bound)


def _slow(branch: Branch, place: Place, order: Rational, stated: Any, evidence: Entry) -> None:
    section = read_section(branch, evidence["tail"])
    for p, one in section.cell:
        value = Fraction(int(place.point[p].p), int(place.point[p].q))
        inside = (value > one.low or (value == one.low and one.low_in)) and (
            value < one.high or (value == one.high and one.high_in)
        )
        require(inside, "{} = {} is outside the section's cell", p, value)
    require(section.upper is sympy.oo, "the section does not reach r = oo")
    rate = substitute(score_slope(section, branch.quantity(section, "weight")), place.point)
    found = limit_of(branch, section, rate, evidence["form"], {})
    if found.is_infinite:
        require(found.near > 0 and list(stated[0]) == ["oo", "oo"], "phi falls at r = oo")
        return
    require(within(found.number, stated[0]), "the limit is not in {}", stated[0])
    require((found.number + rational_span(order - 1)).is_positive, "w falls like r^-{}", order)  # type: ignore[arg-type]


def _hopeful(place: Place, kind: str, ratio: Any, stated: Any) -> None:
    require(place.kind == "value", "f is not declared")
    sign = 1 if place.branch.sign == "positive" else -1
    require(
        sign * (ratio - 1) > 0 if kind == "kill side" else sign * (ratio - 1) < 0,
        "r = {} is not on the {}",
        ratio,
        kind,
    )
    here, one = (place.beside(at, 0, "value") for at in (ratio, exact("1")))
    gap = sign * (substitute(here, {r: ratio}) - substitute(one, {r: Rational(1)}) + 1 - ratio)
    found = span_of(gap)({})
    require(within(found, stated[0]) and found.is_positive, "f(r) A > r A does not hold at {}", ratio)
