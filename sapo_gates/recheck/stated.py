"""Requirements that a user stated: read from their texts again, proved or refuted from the gate's formula.

    half_width <= h    on each side some ratio within h of 1 has w <= 1/2: the one at distance h, or those just beyond
    sup score <= c     phi <= c for every r > 0
    smoothness >= k    f is C^k
    weight(0) <= c     w(r) -> a limit <= c as r -> 0
    tail order >= p    lim d log phi/d log r <= 1 - p as r -> oo
    pessimistic on S   f(r) A <= r A on the side S of 1, f shifted to f(1) = 1

The first two rest on boxes of the ratio and the parameters on which every piece that may hold is bounded; the others on
cells, as the requirements of the profiles do. `weight(0)` may rest on either.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from fractions import Fraction
from typing import Any

from sympy import Expr, Integer, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, substitute
from sapo_gates.recheck.boxes import INFINITE, Box, Range, covers, enclose, is_defined, spans
from sapo_gates.recheck.cells import Branch, Cell, S, end_of_range, require
from sapo_gates.recheck.claims import at_end, limit_by, score_slope
from sapo_gates.recheck.formulas import convert, log_slope, pieces, signs_in
from sapo_gates.recheck.identities import same, tidy
from sapo_gates.recheck.limits import ABOVE, Limit, limit
from sapo_gates.recheck.proofs import claimed, continuous_at, is_smooth
from sapo_gates.recheck.spans import Span, Undefined, rational_span, span_of
from sapo_gates.recheck.witnesses import HERE, Place, exact, within

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


def proved(branch: Branch, id_: str, evidence: Entry, decay: list[Cell] | None, verdicts: Mapping[str, str]) -> None:
    """The evidence shows the statement for the whole domain."""
    kind, bound = read(id_) or ("", Integer(0))
    if kind in ("kill side", "pass side"):
        _pessimistic(branch, kind, evidence, decay, verdicts)
    else:
        PROOFS[kind](branch, bound, evidence)


def refuted(branch: Branch, id_: str, witness: Entry, evidence: Entry) -> None:
    """The witness breaks the statement."""
    kind, bound = read(id_) or ("", Integer(0))
    place, (expected, enclosures, check) = Place(branch, witness), WITNESSES[kind]
    require(witness["kind"] == expected and len(place.ratios) == 1, "a {!r} is no witness against {}", witness["kind"],
            id_)  # fmt: skip
    require(len(place.stated) == enclosures, "the witness has {} enclosures", len(place.stated))
    require(check in (_rough, _slow) or not evidence, "evidence where the witness is all there is")
    check(place, bound, evidence)


# Boxes of the ratio and the parameters ----------------------------------------------------------------------------


def weights(expression: Expr, branch: Branch | Place, ratio: Expr, box: Box) -> list[Expr]:
    """w at the ratio by every piece of the declared expression that may hold on the box."""

    def signs(switch: Expr) -> Collection[int]:
        try:
            return signs_in(enclose(tidy(substitute(switch, {r: ratio})), box))
        except Undefined:
            return [-1, 0, 1]

    return [substitute(convert(branch.kind, one, "weight"), {r: ratio}) for one in pieces(expression, signs)]


def leaves(branch: Branch, entries: Any, others: Box) -> Iterator[tuple[dict[Symbol, Range], str]]:
    """The leaves of a claim with their rules: together all of the parameters' domain and of the others' ranges."""
    wholes = {**others, **branch.domain}
    boxes = []
    for leaf in entries:
        require(set(leaf["box"]) == set(map(str, wholes)), "a leaf does not span {}", list(wholes))
        box = {}
        for symbol, whole in wholes.items():
            low, high = map(end_of_range, leaf["box"][str(symbol)])
            require(whole.low <= low <= high <= whole.high, "a leaf leaves the domain")
            box[symbol] = Range(low, high, low > whole.low or whole.low_in, high < whole.high or whole.high_in)
        boxes.append(list(box.values()))
        yield box, leaf["rule"]
    require(covers(boxes, list(wholes.values())), "the leaves are not the declared domain")


def _at_most(found: Span, bound: Rational) -> bool:
    return bool((found + -rational_span(bound)).high <= 0)


def _ratio(side: str, h: Rational) -> Any:
    return 1 + h if side == "right" else 1 - h if h < 1 else Rational(1, 1024)


def _half_width(branch: Branch, h: Rational, evidence: Entry) -> None:
    require(h > 0 and set(evidence) == {"left", "right"}, "not both sides of 1 are shown")
    for side, outward in (("left", -1), ("right", 1)):
        for box, rule in leaves(branch, evidence[side], {}):
            require(rule in ("at", "beyond"), "no rule {!r}", rule)
            ratio = _ratio(side, h) + (0 if rule == "at" else outward * S)
            part = box if rule == "at" else {**box, S: FURTHER}
            holds = all(_at_most(enclose(w, part), HALF) for w in weights(branch.declared, branch, ratio, part))
            require(holds, "w <= 1/2 is not shown at {}", ratio)


def _sup_score(branch: Branch, bound: Rational, evidence: Entry) -> None:
    spellings = [text for spelled in evidence["slopes"].values() for text in spelled]
    for box, rule in leaves(branch, evidence["boxes"], {r: Range(Fraction(0), INFINITE)}):
        found = weights(branch.declared, branch, r, box)
        if rule == "bound":
            holds = all(_at_most(enclose(r * weight, box), bound) for weight in found)
        else:
            start = box[r].low
            require(rule == "falls" and len(found) == 1, "no rule {!r} here", rule)
            require(box[r].high == INFINITE and isinstance(start, Fraction) and start > 0, "this is no tail")
            size = enclose(r * found[0], {**box, r: Range(start, start, True, True)}).absolute()
            holds = _at_most(size, bound) and _falls(branch, found[0], spellings, box)
        require(holds, "phi <= {} is not shown by {!r}", bound, rule)


def _falls(branch: Branch, weight: Expr, texts: list[str], box: Box) -> bool:
    """d log |phi|/d log r <= 0 on the box, by a spelling in r or in s = 1/r that is checked to be it.

    w is defined on the box; where it vanished the spelling would have a pole, and no range.
    """
    own, ranges = 1 + r * log_slope(weight, r), spans(box)
    ranges[S] = ranges[r].reciprocal()
    for text in texts:
        form = branch.read(text, r, S)
        require(not {r, S} <= form.free_symbols, "{} mixes s and r", text)
        try:
            is_own = same(substitute(own, {r: 1 / S}) if S in form.free_symbols else own, form)
            if is_own and span_of(form)(ranges).high <= 0 and is_defined(weight, box):
                return True
        except Undefined:
            continue
    return False


# Cells ------------------------------------------------------------------------------------------------------------


def _smoothness(branch: Branch, order: Rational, evidence: Entry) -> None:
    require(order.is_Integer and 0 <= order <= 8, "C^{} is not checked", order)
    k = int(order)
    names = ["value defined"] if branch.kind == "value" else []
    names += ["weight defined"] if k > 0 or branch.kind != "value" else []
    for cell, _ in claimed(branch, evidence, *names):
        for section in cell.sections:
            holds = all(is_defined(branch.derivative(section, "weight", j), section.box) for j in range(1, k))
            require(holds, "a derivative is not defined on {} to {}", section.lower, section.upper)
        for before, after in cell.breakpoints:
            if branch.kind == "value":
                continuous_at(branch, before, after, "value")
            for j in range(k):
                require(is_smooth(branch, before, after, "weight", j), "derivative {} of f jumps at {}", j + 1,
                        before.upper)  # fmt: skip


def _weight_at_zero(branch: Branch, bound: Rational, evidence: Entry) -> None:
    def judge(rule: str, found: Limit) -> bool:
        return rule == "limit" and _at_most(found.number, bound)

    if "cells" in evidence:
        for cell, entry in branch.cells(evidence["cells"]):
            require(cell.chart == "ratio" and len(entry["zero"]) == 1, "one limit at r = 0 is needed")
            at_end(branch, cell.sections[0], entry["zero"], "weight", judge)
        return
    for box, rule in leaves(branch, evidence["boxes"], {}):
        require(rule == "limit", "no rule {!r}", rule)
        found = weights(branch.declared, branch, r, {**box, r: FURTHER})
        holds = all(_at_most(_at_zero(weight, box), bound) for weight in found)
        require(holds, "w -> more than {} as r -> 0", bound)


def _at_zero(weight: Expr, box: Box) -> Span:
    for form in (weight, tidy(weight)):
        try:
            return limit(form, r, ABOVE, spans(box)).number
        except Undefined:
            continue
    raise RecheckFailed(f"the limit of {weight} as r -> 0 is not known")


def _tail_order(branch: Branch, order: Rational, evidence: Entry) -> None:
    def judge(rule: str, found: Limit) -> bool:
        return rule == "slope" and (found.near < 0 if found.is_infinite else _at_most(found.number, 1 - order))

    for cell, entry in branch.cells(evidence["cells"]):
        at_end(branch, cell.sections[-1], entry["infinity"], "weight", judge)


def _pessimistic(
    branch: Branch, kind: str, evidence: Entry, decay: list[Cell] | None, verdicts: Mapping[str, str]
) -> None:
    """f is continuous; then w <= 1 is enough on the kill side, and w = 1 on either."""
    require(decay is not None, "monotone-decay is not proved")
    outward = 1 if (branch.sign == "positive") == (kind == "kill side") else -1
    for cell in decay or ():
        for before, after in cell.breakpoints if branch.kind == "value" else ():
            continuous_at(branch, before, after, "value")
        for section in cell.sections:
            holds = section.outward != outward or same(branch.on(section, "weight"), Integer(1))
            require(evidence["by"] != "identity" or holds, "w is not 1 on {} to {}", section.lower, section.upper)
    by_peak = kind == "kill side" and verdicts.get("unit-peak") == "proved"
    require(evidence["by"] == "identity" or (evidence["by"] == "unit-peak" and by_peak), "{} does not show this",
            evidence["by"])  # fmt: skip


PROOFS: dict[str, Callable[[Branch, Rational, Entry], None]] = {
    "half_width": _half_width,
    "sup score": _sup_score,
    "smoothness": _smoothness,
    "weight(0)": _weight_at_zero,
    "tail order": _tail_order,
}

# Witnesses --------------------------------------------------------------------------------------------------------


def _wide(place: Place, h: Rational, _: Entry) -> None:
    """w > 1/2 on the whole way from r = 1 to the ratio at distance h and a little beyond, or all the way to r = 0."""
    (ratio,) = place.ratios
    require(ratio in (_ratio("left", h), _ratio("right", h)), "r = {} is not at distance {}", ratio, h)
    at = Fraction(int(ratio.p), int(ratio.q))
    ends = (Fraction(1), at + STEP) if ratio > 1 else (at - STEP if h < 1 else Fraction(0), Fraction(1))
    waiting, splits = [Range(*ends, ends[0] > 0, True)], 0
    while waiting:
        box = {r: waiting.pop()}
        try:
            if all(enclose(w - HALF, box).is_positive for w in weights(place.declared, place, r, box)):
                continue
        except Undefined:
            pass
        splits += 1
        require(splits < 2000, "w > 1/2 is not shown from r = 1 to {}", ratio)
        waiting += box[r].halves()
    require(any(within(w, place.stated[0]) for w in place.candidates(ratio)), "w({}) is not as stated", ratio)


def _strong(place: Place, bound: Rational, _: Entry) -> None:
    (ratio,) = place.ratios
    for side in (0, 1, -1) if place.kind != "value" else (1, -1):
        try:
            found = place.at(ratio, side, "score")
        except (Undefined, RecheckFailed):
            continue
        if within(found, place.stated[0]) and (found + -rational_span(bound)).is_positive:
            return
    raise RecheckFailed(f"phi({ratio}) > {bound} does not hold")


def _rough(place: Place, order: Rational, evidence: Entry) -> None:
    (ratio,), j = place.ratios, evidence["order"]
    require(type(j) is int and -1 <= j < order, "derivative {} of f may jump in C^{}", j, order)
    require(j >= 0 or place.kind == "value", "f is not declared")
    found = place.jump(ratio, "value") if j < 0 else place.jump(ratio, "weight", j)
    require(found, "there is no jump at {} as stated", ratio)


def _heavy(place: Place, bound: Rational, _: Entry) -> None:
    found = weights(place.declared, place, r, {r: FURTHER})
    require(len(found) == 1, "which piece holds next to r = 0 is not certain")
    at = _at_zero(found[0], HERE)
    holds = within(at, place.stated[0]) and (at + -rational_span(bound)).is_positive
    require(holds, "w -> {} at most as r -> 0", bound)


def _slow(place: Place, order: Rational, evidence: Entry) -> None:
    """d log phi/d log r tends to more than 1 - p as r -> oo."""
    require(not place.at_zero, "the tail is that at r = oo")
    section = place.end_section(evidence["tail"])
    weight = substitute(place.branch.on(section, "weight"), place.point)
    there = enclose(weight, {section.t: Range.at(section.t_range.low + 1)})  # type: ignore[arg-type]
    require(there.is_positive or there.is_negative, "w may be 0 at r = oo")
    rate = substitute(score_slope(section, place.branch.on(section, "weight")), place.point)
    found = limit_by(place.branch, section, rate, evidence["form"], HERE)
    if found.is_infinite:
        require(found.near > 0 and list(place.stated[0]) == ["oo", "oo"], "phi falls at r = oo")
    else:
        slower = (found.number + rational_span(order - 1)).is_positive
        require(slower and within(found.number, place.stated[0]), "w falls like r^-{}", order)


def _hopeful(place: Place, side: int, ratio: Any) -> None:
    """f(r) A - f(1) A + A - r A > 0 for |A| = 1."""
    sign = 1 if place.branch.sign == "positive" else -1
    require(place.kind == "value", "f is not declared")
    require(sign * side * (ratio - 1) > 0, "r = {} is not on that side", ratio)
    gap = sign * (place.value(ratio) - place.value(Integer(1)) + 1 - ratio)
    found = enclose(gap, HERE)
    require(within(found, place.stated[0]) and found.is_positive, "f(r) A > r A does not hold at {}", ratio)


WITNESSES: dict[str, tuple[str, int, Any]] = {  # the kind of witness, how many enclosures, and the check
    "half_width": ("point", 1, _wide),
    "sup score": ("point", 1, _strong),
    "smoothness": ("jump", 2, _rough),
    "weight(0)": ("point", 1, _heavy),
    "tail order": ("tail", 1, _slow),
    "kill side": ("point", 1, lambda place, _, __: _hopeful(place, 1, *place.ratios)),
    "pass side": ("point", 1, lambda place, _, __: _hopeful(place, -1, *place.ratios)),
}
