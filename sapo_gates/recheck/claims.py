"""Proved entries: their claims over sections and leaves, the breakpoints between them, and both ends of (0, oo)."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import sympy
from sympy import Add, Expr, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.algebra import (
    Range,
    Ranges,
    enclose,
    enclose_split,
    log_slope,
    quotient,
    restricted,
    same,
    slope,
    slope_by_terms,
    spans,
    value_at_end,
)  # fmt: skip
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, Limit, limit
from sapo_gates.recheck.sections import (
    BEYOND,
    Branch,
    S,
    Section,
    Structure,
    covers_cells,
    end_of_range,
    make_section,
    partitions,
    read_section,
    require,
    structure_of,
)  # fmt: skip
from sapo_gates.recheck.spans import Span, Undefined, span_of

Entry = Mapping[str, Any]
Box = Mapping[Symbol, Span]
FRACTIONS = tuple(f"fraction-{k}" for k in (1, 2, 3, 4))
DECAY = ("derivative", "log-derivative", "terms", "inverse", "each", "anchor-2", "anchor-3", "anchor-4", *FRACTIONS)


class Form:
    """One spelling of the weight on one section, checked to be the weight, with its derivatives."""

    def __init__(self, branch: Branch, section: Section, entry: Entry) -> None:
        """Reads `weight` and, where it stands, `inverse`."""
        self.section, self.t = section, section.t
        self.derived = branch.quantity(section, "weight")
        self.weight = branch.read(entry["weight"], section.t)
        self.slopes = [self.weight]
        require(section.eliminates not in self.weight.free_symbols, "the weight depends on {}", section.eliminates)
        require(same(self.derived, self.weight), "the weight is not {}", entry["weight"])
        if "inverse" in entry:
            s = S if section.outward > 0 else BEYOND
            self.inverse = branch.read(entry["inverse"], s)
            require(same(substitute(self.slope(1), {self.t: 1 / s}), self.inverse), "w' is not {}", entry["inverse"])
            self.by_inverse = s, span_of(self.inverse)

    def slope(self, k: int) -> Expr:
        """w, w', w'', ..."""
        while len(self.slopes) <= k:
            self.slopes.append(slope(self.slopes[-1], self.t))
        return self.slopes[k]

    @cached_property
    def images(self) -> dict[str, Callable[[Mapping[Symbol, Span]], Span]]:
        """Enclosures, made when first needed."""
        return {}

    def image(self, name: str) -> Callable[[Mapping[Symbol, Span]], Span]:
        """The enclosure of `weight`, `excess`, `derivative`, `log-derivative` or `terms`."""
        if name not in self.images:
            expression = {
                "weight": lambda: self.weight,
                "excess": lambda: self.weight - 1,
                "derivative": lambda: self.slope(1),
                "log-derivative": lambda: log_slope(self.weight, self.t),
                "terms": lambda: slope_by_terms(self.weight, self.t),
            }[name]()
            self.images[name] = span_of(expression)
        return self.images[name]

    def decays(self, rule: str, leaf: Ranges) -> bool:
        """Whether w, continuous on the leaf, does not grow away from r = 1 there, by the rule."""
        if rule == "each":
            return all(term.decays_somehow(leaf) for term in self.terms)
        if rule.startswith("anchor-"):
            chain = [self.slope(j) for j in range(1, int(rule.removeprefix("anchor-")) + 1)]
            return self._anchored(chain, leaf, -self.section.outward)
        if rule.startswith("fraction-"):
            return self.by_fraction(1, rule, leaf, -self.section.outward)
        box = spans(leaf)
        if rule == "inverse":
            s, image = self.by_inverse
            found = image({**box, s: box[self.t].reciprocal()})
        else:
            found = self.image(rule)(box)
        if rule == "log-derivative" and not self.image("weight")(box).is_positive:
            return False
        return self._outwards(found)

    def _outwards(self, found: Span) -> bool:
        return bool(found.high <= 0 if self.section.outward > 0 else found.low >= 0)

    @cached_property
    def terms(self) -> "list[Form]":
        """Every term of the weight as a weight of its own."""
        return [Form.of_term(self.section, term) for term in Add.make_args(self.weight)]

    @staticmethod
    def of_term(section: Section, term: Expr) -> "Form":
        """A form of the term itself."""
        form = Form.__new__(Form)
        form.section, form.t, form.weight, form.slopes = section, section.t, term, [term]
        return form

    def decays_somehow(self, leaf: Ranges) -> bool:
        """By one of the rules that may settle a single term."""
        for rule in ("derivative", "log-derivative", *FRACTIONS):
            try:
                self.image("weight")(spans(leaf))  # continuous on the leaf
                if self.decays(rule, leaf):
                    return True
            except Undefined:
                continue
        return False

    def by_fraction(self, order: int, rule: str, leaf: Ranges, sign: int) -> bool:
        """sign * w (or w', of order 1) >= 0: as N/D, D of one sign on the leaf and N, N', ... anchored at its end."""
        if order not in self.fractions:
            top, bottom = quotient(self.slope(order))
            self.fractions[order] = [top], bottom
        chain, bottom = self.fractions[order]
        below, k = enclose(bottom, leaf), int(rule.removeprefix("fraction-"))
        while len(chain) <= k:
            chain.append(slope(chain[-1], self.t))
        if not (below.is_positive or below.is_negative):
            return False
        return self._anchored(chain[: k + 1], leaf, sign if below.is_positive else -sign)

    @cached_property
    def fractions(self) -> dict[int, tuple[list[Expr], Expr]]:
        """The numerator, with its derivatives, and the denominator of w and of w'."""
        return {}

    def _anchored(self, chain: list[Expr], leaf: Ranges, sign: int) -> bool:
        """sign * g >= 0 for a chain g, g', ..., g^(m): all but the last vanish at the section's end that the leaf
        touches, so that the last decides.
        """
        whole, part = self.section.t_range, leaf[self.t]
        closed = {**leaf, self.t: Range(part.low, part.high, True, True)}
        for end, at_lower in ((whole.low, True), (whole.high, False)):
            if isinstance(end, float) or end != (part.low if at_lower else part.high):
                continue
            at = Rational(end.numerator, end.denominator)
            try:
                for lower in chain[:-1]:
                    require(same(value_at_end(lower, self.t, at, dict(self.section.cell)), sympy.Integer(0)), "")
                    enclose(lower, closed)  # continuous up to the end: the last may then be integrated m times
                highest = enclose(chain[-1], closed)
            except (Undefined, RecheckFailed):
                continue
            # integrated from the lower end the sign stays; from the upper end it flips m times
            flips = sign * (1 if at_lower or len(chain) % 2 == 1 else -1)
            if (highest if flips > 0 else -highest).low >= 0:
                return True
        return False

    def below_one(self, rule: str, leaf: Ranges) -> bool:
        """Whether w <= 1 on the leaf: by its range, or falling from a place where w <= 1."""
        if rule == "bound":
            return bool(self.image("excess")(spans(leaf)).high <= 0)
        right = self.section.outward > 0
        whole, part = self.section.t_range, leaf[self.t]
        start = part.low if right else part.high
        if isinstance(start, float):
            return False
        if rule.startswith("falls-"):
            there = {**leaf, self.t: Range(start, start, True, True)}
            return bool(enclose(self.weight - 1, there).high <= 0) and self.decays(rule.removeprefix("falls-"), leaf)
        inner = (self.section.lower, whole.low) if right else (self.section.upper, whole.high)
        return (inner[0], start) == (self.section.on_policy, inner[1]) and rule in DECAY and self.decays(rule, leaf)


def _defined(expression: Expr, spelled: Expr, leaf: Ranges) -> bool:
    """Whether the expression is defined and continuous on the leaf, removable zeros of denominators filled.

    Where its own enclosure fails, an equal spelling may have one, provided that no root or logarithm of the original
    can meet a number it does not take: then only denominators vanish, at isolated points, and the spelling is the
    limit.
    """
    if enclose_split(expression, leaf, lambda _: True):
        return True
    if spelled == expression or not enclose_split(spelled, leaf, lambda _: True):
        return False
    nodes: Iterator[Any] = sympy.preorder_traversal(expression)
    for node in nodes:
        condition = restricted(node)
        if condition is not None:
            inner, or_zero = condition
            holds = enclose_split(inner, leaf, lambda x: x.is_positive or (or_zero and bool(x.low >= 0)))  # noqa: B023
        elif isinstance(node, ENTIRE):
            holds = enclose_split(cast(Expr, node.args[0]), leaf, lambda _: True)
        else:
            holds = isinstance(node, sympy.Add | sympy.Mul | sympy.Pow | Symbol) or node.is_number
        if not holds:
            return False
    return True


ENTIRE = (sympy.exp, sympy.tanh, sympy.sech, sympy.cosh, sympy.sinh, sympy.atan, sympy.erf, sympy.erfc)


def claim(branch: Branch, entry: Entry, name: str) -> Structure:
    """A claim over all sections: each leaf by its rule, the leaves exactly the sections, these all of (0, oo)."""
    require(entry["claim"] == name, "the claim is {!r}, not {!r}", entry["claim"], name)
    key = json.dumps(entry, sort_keys=True)
    if key not in branch.known:
        sections = []
        for one in entry["sections"]:
            section = read_section(branch, one)
            _leaves(branch, section, one, name)
            sections.append(section)
        branch.known[key] = structure_of(branch, sections)
    return branch.known[key]


def _leaves(branch: Branch, section: Section, entry: Entry, name: str) -> None:
    form = Form(branch, section, entry)
    subject = branch.quantity(section, "value") if name == "value defined" else form.weight
    needed = {str(symbol) for symbol in subject.free_symbols} | {str(section.t)}
    if name == "weight defined":
        needed -= {str(section.eliminates)}
    wholes = {str(symbol): (symbol, one) for symbol, one in section.ranges.items()}
    keys = list(entry["leaves"][0]["box"]) if entry["leaves"] else []
    require(needed <= set(keys) <= set(wholes), "the leaves do not span {}", sorted(needed))
    boxes = []
    for leaf in entry["leaves"]:
        require(set(leaf["box"]) == set(keys), "a leaf spans other symbols than its neighbours")
        box: dict[Symbol, Range] = {}
        for key in keys:
            (low, high), (symbol, whole) = map(end_of_range, leaf["box"][key]), wholes[key]
            require(
                whole.low <= low <= high <= whole.high, "the leaf {} in [{}, {}] leaves the section", key, low, high
            )
            box[symbol] = Range(low, high, low > whole.low or whole.low_in, high < whole.high or whole.high_in)
        try:
            holds = _holds(form, subject, name, leaf["rule"], box)
        except (Undefined, KeyError):
            holds = False
        shown = ", ".join(f"{key} in [{', '.join(leaf['box'][key])}]" for key in keys)
        require(holds, "{}: leaf {} is not shown by {!r}", name, shown, leaf["rule"])
        boxes.append([box[wholes[key][0]] for key in keys])
    whole = [wholes[key][1] for key in keys]
    ends = f"{section.lower} to {section.upper}"
    require(partitions(boxes, whole, points=False), "{}: the leaves do not fit the section from {}", name, ends)


def _holds(form: Form, subject: Expr, name: str, rule: str, box: dict[Symbol, Range]) -> bool:
    if name == "value defined":
        return rule == "defined" and _defined(subject, subject, box)
    # a sign of w' says nothing about a w that jumps, as atan(1/(r - 3)) does; so w is continuous there first
    if not _defined(form.derived, form.weight, {**dict(form.section.cell), **box}):
        return False
    match name:
        case "weight defined":
            return rule == "defined"
        case "nonnegative":
            if rule in FRACTIONS:
                return form.by_fraction(0, rule, box, 1)
            return rule == "bound" and bool(form.image("weight")(spans(box)).low >= 0)
        case "at most one":
            return form.below_one(rule, box)
    return name == "decay" and rule in DECAY and form.decays(rule, box)


# Breakpoints ---------------------------------------------------------------------------------------------------------


def joins(branch: Branch, entries: list[Entry], pairs: list[tuple[Section, Section, Kind]]) -> None:
    """The entries are these breakpoints, each once, and their one-sided limits are the ones stated."""
    require(len(entries) == len(pairs), "there is not one entry for each breakpoint")
    wanted = {(before, after.upper, quantity): after for before, after, quantity in pairs}
    for entry in entries:
        before = read_section(branch, entry)
        key = before, {"oo": sympy.oo}.get(entry["next"]) or branch.read(entry["next"]), entry["quantity"]
        require(key in wanted, "{} is no breakpoint, or stands twice", entry["upper"])
        after = wanted.pop(key)
        for text, section, at_upper in ((entry["left"], before, True), (entry["right"], after, False)):
            found = branch.one_sided(section, at_upper, entry["quantity"])
            require(
                text is None or (isinstance(found, Expr) and same(found, branch.read(text))),
                "the limit of {} at {} is {}, not {}",
                entry["quantity"],
                before.upper,
                found,
                text,
            )


def breakpoints(structure: Structure, *quantities: Kind) -> list[tuple[Section, Section, Kind]]:
    """Every breakpoint of every cell, for each quantity."""
    return [(a, b, q) for q in quantities for chain in structure.values() for a, b in pairwise(chain)]


def at_one(pairs: list[tuple[Section, Section, Kind]]) -> list[tuple[Section, Section, Kind]]:
    """Those at r = 1."""
    return [(a, b, q) for a, b, q in pairs if a.upper == a.on_policy]


def is_smooth(branch: Branch, before: Section, after: Section, quantity: Kind) -> bool:
    """Both one-sided limits are one finite expression."""
    left, right = branch.one_sided(before, True, quantity), branch.one_sided(after, False, quantity)
    return isinstance(left, Expr) and isinstance(right, Expr) and same(left, right)


def fills(branch: Branch, before: Section, after: Section, quantity: Kind) -> bool:
    """What the text says at the breakpoint itself is one of the one-sided limits (or it says nothing there)."""
    there = branch.at_end(before, quantity)
    sides = branch.one_sided(before, True, quantity), branch.one_sided(after, False, quantity)
    return there is None or any(isinstance(side, Expr) and same(there, side) for side in sides)


def difference(branch: Branch, before: Section, after: Section) -> Span:
    """Right limit of w minus left limit."""
    left, right = branch.one_sided(before, True, "weight"), branch.one_sided(after, False, "weight")
    cell = spans(dict(before.cell))
    if isinstance(left, Expr) and isinstance(right, Expr):
        return span_of(sympy.factor(cast(Any, right) - cast(Any, left)))(cell)
    sides = [span_of(one)(cell) if isinstance(one, Expr) else one.span for one in (left, right)]
    require(None not in sides, "a limit at {} is infinite", before.upper)
    return sides[1] + -sides[0]  # type: ignore[operator]


def no_lone_values(branch: Branch, structure: Structure) -> None:
    """No breakpoint has a weight of its own, different from both sides."""
    for before, after, _ in breakpoints(structure, "weight"):
        require(fills(branch, before, after, "weight"), "at {} the text gives w a value of its own", before.upper)


# Ends ----------------------------------------------------------------------------------------------------------------


def spelled(branch: Branch, section: Section, expression: Expr, text: str) -> tuple[Expr, bool]:
    """A form in t, or (True) in s = 1/t, that is checked to be the expression."""
    form = branch.read(text, section.t, S)
    require(not {S, section.t} <= form.free_symbols, "{} mixes s and {}", text, section.t)
    inverse = S in form.free_symbols
    own = substitute(expression, {section.t: 1 / S}) if inverse else expression
    require(same(own, form), "{} is not {}", expression, text)
    return form, inverse


def limit_of(
    branch: Branch, section: Section, expression: Expr, text: str, box: Box | None = None, end: Limit = UP
) -> Limit:
    """The limit of t -> end by such a form (in s only as t -> oo), for all parameters of the cell, or in the box."""
    form, inverse = spelled(branch, section, expression, text)
    box = spans(dict(section.cell)) if box is None else box
    require(not inverse or end is UP, "a form in s = 1/t is one for t -> oo")
    return limit(form, S, ABOVE, box) if inverse else limit(form, section.t, end, box)


def at_zero(branch: Branch, section: Section, entry: Entry, expression: Expr, *, integrably: bool = False) -> None:
    """The expression stays bounded as r -> 0; integrably: or at least its integral does."""
    require(entry["end"] == "zero", "the end is not r = 0")
    if entry["rule"] == "inside":
        require(section.chart == "scaled", "r = 0 is not inside this chart")
        return
    by_slope = entry["rule"] == "slope"
    require(integrably if by_slope else entry["rule"] == "limit", "no rule {!r} here", entry["rule"])
    own = score_slope(section, branch.quantity(section, "weight")) if by_slope else expression
    form = branch.read(entry["form"], section.t)
    require(same(own, form), "{} is not {}", own, entry["form"])
    low = section.t_range.low
    require(low == 0 or section.chart == "log-scaled", "the section does not start at r = 0")
    found = limit(form, section.t, ABOVE if low == 0 else DOWN, spans(dict(section.cell)))
    require(found.tends(1) if by_slope else not found.is_infinite, "{} has no such limit as r -> 0", own)


def score_slope(section: Section, term: Expr) -> Expr:
    """d log |phi| / d log r of one term of w: where it tends to p, phi goes like r^p, p not 0."""
    rate = sympy.cancel(section.ratio / slope(section.ratio, section.t))
    return 1 + rate * log_slope(term, section.t)


def at_infinity(branch: Branch, section: Section, entry: Entry, expression: Expr | None, *, integrably: bool) -> None:
    """The expression has a finite limit as r -> oo, or phi vanishes there term by term, integrably for a bounded f."""
    require(entry["end"] == "infinity", "the end is not r = oo")
    if entry["rule"] == "limit":
        require(expression is not None, "a limit is no evidence here")
        assert expression is not None
        found = limit_of(branch, section, expression, entry["form"])
        require(not found.is_infinite, "{} is unbounded as r -> oo", expression)
        return
    require(entry["rule"] == "terms", "no rule {!r}", entry["rule"])
    weight, t = branch.quantity(section, "weight"), section.t
    terms = [branch.read(one["term"], t) for one in entry["terms"]]
    form = branch.read(entry["weight"], t)
    require(same(form, weight) and same(Add(*terms), weight), "the terms do not add up to {}", weight)
    for term, one in zip(terms, entry["terms"], strict=True):
        match one["rule"]:
            case "zero":
                holds = term == 0
            case "limit":
                holds = not integrably and limit_of(branch, section, section.ratio * term, one["form"]).is_zero
            case "slope":
                holds = limit_of(branch, section, score_slope(section, term), one["form"]).tends(-1)
            case _:
                holds = False
        require(holds, "phi of the term {} is not shown to vanish by {!r}", term, one["rule"])


# One check for each requirement --------------------------------------------------------------------------------------


def continuously_differentiable(branch: Branch, evidence: Entry) -> None:
    """f and w defined and continuous inside, and across every breakpoint."""
    quantities: tuple[Kind, ...] = ("value", "weight") if branch.kind == "value" else ("weight",)
    require(len(evidence["inside"]) == len(quantities), "not every quantity is shown to be defined")
    structures = [claim(branch, one, f"{q} defined") for one, q in zip(evidence["inside"], quantities, strict=True)]
    require(all(one == structures[0] for one in structures), "f and w are shown on different sections")
    pairs = breakpoints(structures[0], *quantities)
    joins(branch, evidence["joins"], pairs)
    for before, after, quantity in pairs:
        require(is_smooth(branch, before, after, quantity), "{} jumps at {}", quantity, before.upper)
        require(fills(branch, before, after, quantity), "the {} at {} is not its limit", quantity, before.upper)


def _weight_is_one(branch: Branch, structure: Structure, entries: list[Entry], *, limits: bool) -> None:
    """w(1) = 1 as the text says it there, or by both limits; limits: by these in any case."""
    pairs = at_one(breakpoints(structure, "weight"))
    joins(branch, entries, pairs)
    for before, after, _ in pairs:
        there, one = branch.at_end(before, "weight"), sympy.Integer(1)
        sides = branch.one_sided(before, True, "weight"), branch.one_sided(after, False, "weight")
        approached = all(isinstance(side, Expr) and same(side, one) for side in sides)
        require(approached if limits or there is None else same(there, one), "w(1) = 1 does not hold")


def unit_peak(branch: Branch, evidence: Entry, decay: Structure | None) -> None:
    """w(1) = 1, and w <= 1 by decay or by its range."""
    by_decay = evidence["by"] == "monotone-decay"
    if by_decay:
        require(decay is not None, "monotone-decay is not proved")
        structure = decay
    else:
        require(evidence["by"] == "bound", "no such proof: {!r}", evidence["by"])
        structure = claim(branch, evidence, "at most one")
    assert structure is not None
    _weight_is_one(branch, structure, evidence["joins"], limits=not by_decay)
    no_lone_values(branch, structure)


def monotone_decay(branch: Branch, evidence: Entry) -> Structure:
    """w falls inside every section, and does not jump up away from r = 1."""
    structure = claim(branch, evidence, "decay")
    pairs = breakpoints(structure, "weight")
    jumps = [pair for pair in pairs if not is_smooth(branch, *pair)]
    joins(branch, evidence["jumps"], jumps)
    for before, after, _ in jumps:
        if before.upper == before.on_policy:
            _peaks_at_one(branch, before, after)
            continue
        rise = difference(branch, before, after)
        require(rise.high <= 0 if after.outward > 0 else rise.low >= 0, "w jumps up at {}", before.upper)
    no_lone_values(branch, structure)
    return structure


def _peaks_at_one(branch: Branch, before: Section, after: Section) -> None:
    """Where w jumps at 1 and the text says what w(1) is, neither side is larger."""
    there = branch.at_end(before, "weight")
    for side in (branch.one_sided(before, True, "weight"), branch.one_sided(after, False, "weight")):
        holds = there is None or (isinstance(side, Expr) and enclose(there - side, dict(before.cell)).low >= 0)
        require(holds, "w grows away from r = 1")


def nonnegative_weight(branch: Branch, evidence: Entry) -> None:
    """w >= 0 inside every section, and at breakpoints."""
    no_lone_values(branch, claim(branch, evidence, "nonnegative"))


def _bounded_inside(branch: Branch, evidence: Entry, quantity: Kind) -> Structure:
    structure = claim(branch, evidence["inside"], f"{quantity} defined")
    pairs = breakpoints(structure, quantity)
    joins(branch, evidence["joins"], pairs)
    for before, after, _ in pairs:
        for side in (branch.one_sided(before, True, quantity), branch.one_sided(after, False, quantity)):
            require(isinstance(side, Expr) or not side.is_infinite, "the {} is unbounded at {}", quantity, before.upper)
    return structure


def _ends(branch: Branch, evidence: Entry, structure: Structure) -> list[tuple[Section, Entry, Section, Entry]]:
    """For every cell: its first section with the evidence at r = 0, and its last with the evidence at r = oo."""
    entries = evidence["ends"]
    require(len(entries) == 2 * len(structure), "there is not one entry for each end")
    found, places = [], set()
    for zero, infinity in zip(entries[::2], entries[1::2], strict=True):
        first, last = read_section(branch, zero), read_section(branch, infinity)
        chain = structure.get(first.place)
        require(chain is not None and chain[0] == first and chain[-1] == last, "an end is not that of a cell")
        places.add(first.place)
        found.append((first, zero, last, infinity))
    require(len(places) == len(structure), "an end is missing")
    return found


def bounded_value(branch: Branch, evidence: Entry) -> None:
    """f, or w and an integrable tail."""
    quantity: Kind = "value" if branch.kind == "value" else "weight"
    structure = _bounded_inside(branch, evidence, quantity)
    for first, zero, last, infinity in _ends(branch, evidence, structure):
        at_zero(branch, first, zero, branch.quantity(first, quantity), integrably=quantity == "weight")
        value = branch.quantity(last, "value") if quantity == "value" else None
        at_infinity(branch, last, infinity, value, integrably=True)


def bounded_score(branch: Branch, evidence: Entry) -> None:
    """phi bounded inside and towards both ends."""
    structure = _bounded_inside(branch, evidence, "weight")
    for first, zero, last, infinity in _ends(branch, evidence, structure):
        at_zero(branch, first, zero, branch.quantity(first, "score"))
        at_infinity(branch, last, infinity, branch.quantity(last, "score"), integrably=False)


def vanishing_score(branch: Branch, evidence: Entry) -> None:
    """phi -> 0 in the last section of every cell."""
    lasts = [(read_section(branch, one), one) for one in evidence["ends"]]
    covers_cells(branch, [section.place for section, _ in lasts])
    for section, entry in lasts:
        require(section.upper is sympy.oo, "the section does not reach r = oo")
        at_infinity(branch, section, entry, None, integrably=False)


def first_order_agreement(branch: Branch, evidence: Entry) -> None:
    """f continuous at 1 and w -> 1 from both sides."""
    quantities: tuple[Kind, ...] = ("weight", "value") if branch.kind == "value" else ("weight",)
    pairs: list[tuple[Section, Section, Kind]] = []
    for entry in evidence["joins"]:
        before = read_section(branch, entry)
        require(before.upper == before.on_policy, "the breakpoint is not r = 1")
        after = make_section(branch, before.chart, before.eliminates, before.cell, entry["upper"], entry["next"])
        pairs.append((before, after, entry["quantity"]))
    for quantity in quantities:
        covers_cells(branch, [before.place for before, _, q in pairs if q == quantity])
    require(all(q in quantities for _, _, q in pairs), "a quantity that is not needed")
    joins(branch, evidence["joins"], pairs)
    for before, after, quantity in pairs:
        require(is_smooth(branch, before, after, quantity), "{} jumps at r = 1", quantity)
        require(fills(branch, before, after, quantity), "the {} at r = 1 is not its limit", quantity)
        if quantity == "weight":
            require(same(branch.one_sided(before, True, "weight"), sympy.Integer(1)), "w(1) = 1 does not hold")
