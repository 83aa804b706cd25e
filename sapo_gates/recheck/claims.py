"""What holds on a section, leaf by leaf, and where its formulas go at r -> 0 and r -> oo.

A claim is about a quantity q, which is f, w or phi, on every section it is asked of. The certificate spells q as a
formula in t or s = 1/t, which is checked to be what the gate's text says; on every leaf q is first shown to be
continuous, since a derivative says nothing about what jumps, as atan(1/(r - 3)) does. Then, for a number c:

    defined     no more than that
    at most c   `bound`: q's range is at most c; `falls-RULE`: q is at most c where the leaf starts, on the side of
                r = 1, and decays by the rule; `fraction-k`: c - q as one fraction, see below
    at least c  the same of -q
    decays      q does not grow away from r = 1, by the sign of
        derivative    q'
        terms         q' as the sum of term * (log |term|)'
        inverse       q' as the certificate spells it in t and s = 1/t
        anchor-k      the k-th derivative on the leaf, and those before it at an end of the section that it touches,
                      by Taylor's formula for q' from there
        fraction-k    the k-th derivative of the numerator, in the same way, and the denominator of q'/q as one
                      fraction, where q has one sign
        each          q as the certificate spells it, a sum of products: every term by one of these, or every factor of
                      it, all >= 0, or what these are roots of
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Symbol

from sapo_gates.functions import substitute
from sapo_gates.gate import Kind
from sapo_gates.recheck.boxes import (
    Box,
    Range,
    enclose,
    is_at_most,
    is_defined,
    parts,
    require,
    spans,
    value_at,
)
from sapo_gates.recheck.cells import Branch, Cell, Entry, Section
from sapo_gates.recheck.formulas import log_slope, operations, slope
from sapo_gates.recheck.identities import centred, quotient, same
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, Limit, limit
from sapo_gates.recheck.onesided import exists_near, is_harmless, limit_at
from sapo_gates.recheck.spans import Span, Undefined, span_of

FRACTIONS = ("fraction-1", "fraction-2", "fraction-3", "fraction-4")
ANCHORS = ("anchor-2", "anchor-3", "anchor-4")


@dataclass(frozen=True)
class Claim:
    """number: the c of `at most` and `at least`."""

    quantity: Kind
    says: Literal["defined", "at most", "at least", "decays"]
    number: Any = 0

    @property
    def name(self) -> str:
        """As certificates call it."""
        return f"{self.quantity} {self.says}"


def show(branch: Branch, section: Section, claim: Claim, entry: Entry) -> None:
    """The claim holds on every leaf of the entry's tree over the section and all parameters."""
    key = section, claim, repr(entry)
    if key not in branch.known:
        _show(branch, section, claim, entry)
        branch.known[key] = True


def _show(branch: Branch, section: Section, claim: Claim, entry: Entry) -> None:
    own, form = branch.on(section, claim.quantity), branch.read(entry["form"], section.t, section.s)
    require(_is_spelled(own, form, section), "the {} is not {}", claim.quantity, entry["form"])
    sign = -1 if claim.says == "at least" else 1
    curve = Curve(section, sign * form)
    if "inverse" in entry:
        curve.inverse = branch.read(entry["inverse"], section.t, section.s)
        require(_is_spelled(curve.slope(1), curve.inverse, section), "the derivative is not {}", entry["inverse"])
    if "parts" in entry:
        spelled = [[branch.read(factor, section.t) for factor in factors] for factors in entry["parts"]]
        require(same(Add(*(Mul(*one) for one in spelled)), curve.form), "the parts do not make up {}", curve.form)
        curve.parts = [[Curve(section, factor) for factor in factors] for factors in spelled]
    for box, leaf in parts(entry["leaves"], section.box):
        holds = False
        with suppress(Undefined):
            holds = continuous(own, form, box, section.t) and curve.holds(
                claim.says, sign * claim.number, leaf["rule"], box
            )
        shown = {str(symbol): f"[{one.low}, {one.high}]" for symbol, one in box.items()}
        require(holds, "{}: {} is not shown by {!r}", claim.name, shown, leaf["rule"])


def _is_spelled(own: Expr, form: Expr, section: Section) -> bool:
    """Whether a formula in t and s = 1/t is the expression in t."""
    if section.s in form.free_symbols:
        own, form = (substitute(one, {section.t: 1 / section.s}) for one in (own, form))
    return same(own, form)


def continuous(expression: Expr, spelled: Expr, box: Box, t: Symbol) -> bool:
    """Whether the expression is defined and continuous on the box, removable singularities filled.

    Where its own enclosure fails an equal spelling may have one, which is the limit where, at isolated t, it divides
    by 0.
    """
    if is_defined(expression, box):
        return True
    if not spelled.free_symbols <= set(box) or spelled == expression or not is_defined(spelled, box):
        return False
    return all(is_harmless(node, t, box) for node in operations(expression))


class Curve:
    """One spelling q of a quantity on one section, and its derivatives."""

    def __init__(self, section: Section, form: Expr) -> None:
        """The form is in t or in s = 1/t; with derivatives, in t."""
        self.section, self.t, self.form = section, section.t, form
        self.slopes = [form]
        self.inverse: Expr | None = None
        self.parts: list[list[Curve]] = []
        self.fractions: dict[tuple[Expr, Expr], tuple[list[Expr], Expr]] = {}

    def slope(self, k: int) -> Expr:
        """q, q', q'', ..."""
        require(self.section.s not in self.form.free_symbols, "no derivative by t of {}", self.form)
        while len(self.slopes) <= k:
            self.slopes.append(slope(self.slopes[-1], self.t))
        return self.slopes[k]

    @cached_property
    def terms(self) -> Expr:
        """q' as the sum of term * (log |term|)'."""
        self.slope(0)
        return Add(*(term * log_slope(term, self.t) for term in Add.make_args(self.form)))

    @cached_property
    def log_slope(self) -> Expr:
        """q'/q."""
        self.slope(0)
        return log_slope(self.form, self.t)

    def image(self, expression: Expr, leaf: Box) -> Span:
        """The expression's range on the leaf, where s is known if t has the sign that s is read for."""
        found, s = spans(leaf), self.section.s
        t = found[self.t]
        known = t.is_positive if s.is_positive else t.is_negative
        return span_of(expression)({**found, s: t.reciprocal()} if known else found)

    def holds(self, says: str, number: Any, rule: str, leaf: Box) -> bool:
        """Whether the claim, `at least` turned into `at most`, holds on the leaf by the rule; q is continuous there."""
        if says == "defined":
            return rule == "defined"
        if says == "decays":
            return self.decays(rule, leaf)
        if rule == "bound":
            return bool(self.image(self.form - number, leaf).high <= 0)
        if rule in FRACTIONS:
            return self.by_fraction(number - self.form, rule, leaf, 1)
        require(rule.startswith("falls-"), "no rule {!r}", rule)
        return self._starts_below(number, leaf) and self.decays(rule.removeprefix("falls-"), leaf)

    def _starts_below(self, number: Any, leaf: Box) -> bool:
        """q <= c at the leaf's end on the side of r = 1, or as a limit there."""
        outward, others = self.section.outward, {symbol: one for symbol, one in leaf.items() if symbol != self.t}
        start = leaf[self.t].low if outward > 0 else leaf[self.t].high
        if not start.is_finite:
            return False
        there = limit_at(self.form - number, self.t, start, outward, others)
        return there.number.high <= 0 if isinstance(there, Limit) else is_at_most(there, 0, others)

    def decays(self, rule: str, leaf: Box) -> bool:
        """Whether q, continuous on the leaf, does not grow away from r = 1 there, by the rule."""
        outward = self.section.outward
        if rule == "each":
            return bool(self.parts) and all(
                (len(factors) == 1 or factor.image(factor.form, leaf).low >= 0) and factor.decays_somehow(leaf)
                for factors in self.parts
                for factor in factors
            )
        if rule in ANCHORS:
            slopes = [self.slope(j) for j in range(1, int(rule[-1]) + 1)]
            return any(self._anchored(slopes, end, leaf, -outward) for end in self.ends(leaf))
        if rule in FRACTIONS:
            q = self.image(self.form, leaf)
            sign = 1 if q.is_positive else -1 if q.is_negative else 0
            return sign != 0 and self.by_fraction(self.log_slope, rule, leaf, -outward * sign)
        match rule:
            case "derivative":
                rate = self.slope(1)
            case "terms":
                rate = self.terms
            case _:
                require(rule == "inverse" and self.inverse is not None, "no rule {!r}", rule)
                rate = cast(Expr, self.inverse)
        total = self.image(rate, leaf)
        return bool(total.high <= 0 if outward > 0 else total.low >= 0)

    def decays_somehow(self, leaf: Box) -> bool:
        """By one of the rules that may settle a single term or factor."""
        if isinstance(self.form, Pow) and self.form.exp.is_Rational and self.form.exp > 0 and self.form.exp.q != 1:
            return Curve(self.section, self.form.base).decays_somehow(leaf)  # at least 0, as what has a root is
        for rule in ("derivative", "terms", *ANCHORS, *FRACTIONS):
            with suppress(Undefined):
                self.image(self.form, leaf)  # continuous on the leaf
                if self.decays(rule, leaf):
                    return True
        return False

    def ends(self, leaf: Box) -> list[Any]:
        """The section's finite ends that the leaf touches."""
        whole, part = self.section.t_range, leaf[self.t]
        return [end for end, own in ((whole.low, part.low), (whole.high, part.high)) if end == own and end.is_finite]

    def by_fraction(self, formula: Expr, rule: str, leaf: Box, sign: int) -> bool:
        """sign * formula >= 0: as N/D, D of one sign on the leaf and N, N', ... anchored at its end."""
        for end in self.ends(leaf):
            chain, bottom = self._fraction(formula, int(rule[-1]), end)
            below = enclose(bottom, leaf)
            signed = sign if below.is_positive else -sign if below.is_negative else 0
            if signed and self._anchored(chain, end, leaf, signed):
                return True
        return False

    def _fraction(self, formula: Expr, k: int, end: Any) -> tuple[list[Expr], Expr]:
        """N, N', ..., N^(k) in powers of the distance from that end, and D."""
        if (formula, end) not in self.fractions:
            top, bottom = quotient(formula)
            self.fractions[formula, end] = [centred(top, self.t, end)], bottom
        chain, bottom = self.fractions[formula, end]
        while len(chain) <= k:
            chain.append(centred(slope(chain[-1], self.t), self.t, end))
        return chain[: k + 1], bottom

    def _anchored(self, chain: Sequence[Expr], end: Any, leaf: Box, sign: int) -> bool:
        """sign * g >= 0 by Taylor's formula from the end, with the last of g, g', ..., g^(m) in the remainder."""
        closed = {**leaf, self.t: Range(leaf[self.t].low, leaf[self.t].high, True, True)}
        others = {symbol: one for symbol, one in leaf.items() if symbol != self.t}
        try:
            for lower in chain[:-1]:
                enclose(lower, closed)  # continuous up to the end, hence the integral of the next
                there = value_at(lower, self.t, end, self.section.cell)
                if not (same(there, Integer(0)) or is_at_most(-sign * there, 0, others)):
                    return False
                # with h the distance from the upper end, dg/dh is -g'
                sign = sign if end == self.section.t_range.low else -sign
            highest = enclose(chain[-1], closed)
        except Undefined:
            return False
        return bool((highest if sign > 0 else -highest).low >= 0)


# Ends ----------------------------------------------------------------------------------------------------------------

Judge = Callable[[str, Limit], object]


def at_end(branch: Branch, cell: Cell, entry: Entry, name: str, quantity: Kind, judge: Judge) -> None:
    """Every term passes the judge by its limit at r -> 0 (name: `zero`) or r -> oo (`infinity`).

    The terms add up to the value, or to the weight (also where the quantity is the score weight: each is then taken
    times r). Rule `limit`: where the term goes; `slope`: where d log |r term|/d log r goes, and if that is p, r times
    the term goes like r^p up to slower factors. The limit is that of a form in t, or in s = 1/t, that is checked to be
    it.
    """
    section = cell.sections[0 if name == "zero" else -1]
    require(name == "infinity" or cell.ends_at_zero, "r = 0 lies inside a section")
    end, inwards = (section.t_range.low, 1) if name == "zero" else (section.t_range.high, -1)
    towards = UP if end == sympy.oo else DOWN if end == -sympy.oo else ABOVE  # t -> 0 then, where r does
    own = branch.on(section, "value" if quantity == "value" else "weight")
    factor = section.ratio if quantity == "score" else Integer(1)
    summands = [branch.read(one["term"], section.t) for one in entry[name]]
    require(same(Add(*summands), own), "the terms do not add up to {}", own)
    exists_near(own, section.t, end, inwards, section.box)
    for term, one in zip(summands, entry[name], strict=True):
        require(one["rule"] in ("limit", "slope"), "no rule {!r}", one["rule"])
        subject = factor * term if one["rule"] == "limit" else score_slope(section, term)
        form = branch.read(one["form"], section.t, section.s)
        require(_is_spelled(subject, form, section), "{} is not {}", subject, one["form"])
        require(not {section.s, section.t} <= form.free_symbols, "{} mixes s and t", form)
        inverse = towards == UP and section.s in form.free_symbols
        found = limit(form, *((section.s, ABOVE) if inverse else (section.t, towards)), spans(section.cell))
        require(judge(one["rule"], found), "the {} of {} at {} is not as it should be", one["rule"], term, name)


def score_slope(section: Section, term: Expr) -> Expr:
    """d log |r term| / d log r: where it tends to p, r times the term goes like r^p, p not 0."""
    return 1 + section.ratio / slope(section.ratio, section.t) * log_slope(term, section.t)
