"""Claims about one section, each settled box by box: that w is defined, that it falls away from 1, that it stays below 1.

Rules by which a box of the claim "w does not grow away from r = 1" is settled (names as they stand in certificates):

    derivative      the enclosure of w' has the right sign
    log-derivative  w > 0 on the box and w'/w has the right sign; sees what w' loses in a tail
    terms           w' enclosed as sum of term * (log term)'
    inverse         w' written in s = 1/t and brought to one fraction, on boxes that reach to infinity
    anchor-k        w', ..., w^(k-1) vanish at the section's end that the box touches, and w^(k) has the sign that
                    makes w' right on the whole box; needed where w' itself touches 0

and of the claim "w <= 1": `bound`, or one of the above on a box that starts at r = 1, where w = 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import sympy
from sympy import Expr, Symbol

from sapo_gates.derive import derivative
from sapo_gates.prove.boxes import Box, Budget, Closed, Open, Range, Rule, Violated, Violation, cover
from sapo_gates.prove.enclose import Enclosure, compiled
from sapo_gates.prove.forms import derivative_by_terms, is_identity, log_derivative
from sapo_gates.prove.interval import Interval, NowhereDefined, Undefined
from sapo_gates.prove.sections import Branch, Section, as_end

MAX_ANCHOR_ORDER = 4


def never(_: Mapping[Symbol, Interval]) -> Interval:
    """Stands for an expression without enclosure."""
    raise Undefined("no enclosure")


def enclosure_of(expression: Expr) -> Enclosure:
    """The compiled expression, or one that never answers."""
    try:
        return compiled(expression)
    except Undefined:
        return never


@dataclass(frozen=True)
class SectionProver:
    """The derived expressions of one section, computed once and on demand."""

    branch: Branch
    section: Section

    @property
    def t(self) -> Symbol:
        """The section's coordinate."""
        return self.section.t

    @property
    def outward(self) -> Literal[-1, 1]:
        """+1 if t grows away from r = 1."""
        return 1 if self.section.side == "right" else -1

    @cached_property
    def derivatives(self) -> tuple[Expr, ...]:
        """w, w', w'', ... in t."""
        found = [self.section.weight]
        for _ in range(MAX_ANCHOR_ORDER):
            found.append(derivative(found[-1], self.t))
        return tuple(found)

    @cached_property
    def weight(self) -> Enclosure:
        """W."""
        return enclosure_of(self.section.weight)

    @cached_property
    def slope(self) -> Enclosure:
        """W'."""
        return enclosure_of(derivative(self.section.weight, self.t))

    @cached_property
    def log_slope(self) -> Enclosure:
        """W'/W."""
        return enclosure_of(log_derivative(self.section.weight, self.t))

    @cached_property
    def slope_by_terms(self) -> Enclosure:
        """W' as a sum over terms."""
        return enclosure_of(derivative_by_terms(self.section.weight, self.t))

    @property
    def s(self) -> Symbol:
        """1/t, in sections that reach to infinity."""
        return Symbol("s", positive=True) if self.outward > 0 else Symbol("s", negative=True)

    @cached_property
    def inverse_slope(self) -> Expr:
        """W' in s = 1/t, as one fraction."""
        return sympy.factor(derivative(self.section.weight, self.t).xreplace({self.t: 1 / self.s}))

    @cached_property
    def slope_by_inverse(self) -> Enclosure:
        """W' as a function of t through s = 1/t."""
        inverse = enclosure_of(self.inverse_slope)
        return lambda ranges: inverse({**ranges, self.s: ranges[self.t].reciprocal()})

    @cached_property
    def higher(self) -> tuple[Enclosure, ...]:
        """W'', W''', ..."""
        return tuple(enclosure_of(d) for d in self.derivatives[2:])

    def box(self, *, eliminated: bool = False) -> Box:
        """The whole section between its breakpoints, over the whole cell of parameters."""
        domains = self.branch.all_domains if eliminated else self.branch.domains
        return {
            self.t: Range(self.section.t_lower, self.section.t_upper, True, True),
            **{p: Range(as_end(d.lower), as_end(d.upper), d.lower_open, d.upper_open) for p, d in domains.items()},
        }

    def anchor_orders(self, end: Literal["lower", "upper"]) -> int:
        """How many of w', w'', ... vanish identically at that end of the section (at most MAX_ANCHOR_ORDER - 1)."""
        at = self.section.t_lower if end == "lower" else self.section.t_upper
        if isinstance(at, float):
            return 0
        point = sympy.Rational(at.numerator, at.denominator)
        for order in range(1, MAX_ANCHOR_ORDER):
            value = self.derivatives[order].xreplace({self.t: point})
            if value.has(sympy.nan, sympy.zoo, sympy.oo) or not is_identity(value, sympy.Integer(0)):
                return order - 1
        return MAX_ANCHOR_ORDER - 1

    @cached_property
    def _anchors(self) -> dict[Literal["lower", "upper"], int]:
        return {"lower": self.anchor_orders("lower"), "upper": self.anchor_orders("upper")}

    def decay_rules(self) -> list[tuple[str, Rule]]:
        """The rules of the claim "w does not grow away from r = 1", cheap ones first."""

        def settles(range_: Interval) -> bool:
            return _settles(-range_ if self.outward > 0 else range_)

        def derivative_rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            return _tries(lambda: settles(self.slope(ranges)))

        def log_rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            return _tries(lambda: self.weight(ranges).is_positive and settles(self.log_slope(ranges)))

        def terms_rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            return _tries(lambda: settles(self.slope_by_terms(ranges)))

        def inverse_rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            unbounded = isinstance(box[self.t].upper, float) or isinstance(box[self.t].lower, float)
            return unbounded and _tries(lambda: settles(self.slope_by_inverse(ranges)))

        rules: list[tuple[str, Rule]] = [
            ("derivative", derivative_rule),
            ("log-derivative", log_rule),
            ("terms", terms_rule),
            ("inverse", inverse_rule),
        ]
        return rules + [(f"anchor-{k}", self._anchor_rule(k)) for k in range(2, MAX_ANCHOR_ORDER + 1)]

    def _anchor_rule(self, k: int) -> Rule:
        def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            ends: tuple[Literal["lower", "upper"], ...] = ("lower", "upper")
            for end in ends:
                whole, part = getattr(self.section, f"t_{end}"), getattr(box[self.t], end)
                if part != whole or isinstance(part, float) or self._anchors[end] < k - 1:
                    continue
                # integrating w^(k) from the lower end keeps its sign; from the upper end it flips k - 1 times
                flips = self.outward * (1 if end == "lower" or k % 2 == 1 else -1)
                closed = {**ranges, self.t: Range(box[self.t].lower, box[self.t].upper).interval}
                try:
                    highest = self.higher[k - 2](closed)
                except Undefined:
                    continue
                if (highest if flips > 0 else -highest).is_nonpositive:
                    return True
            return False

        return rule

    def decays(self, budget: Budget) -> Closed | Violated | Open:
        """Whether w does not grow away from r = 1 on this section."""
        return cover(self.box(), self.decay_rules(), budget)

    def is_at_most_one(self, budget: Budget) -> Closed | Violated | Open:
        """Whether w <= 1 on this section, given that w = 1 at r = 1."""
        excess = enclosure_of(self.section.weight - 1)
        inner_end = "lower" if self.section.side == "right" else "upper"
        touches_one = getattr(self.section, inner_end) == self.branch.chart.on_policy

        def bound(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            return _tries(lambda: _settles(-excess(ranges)))

        def next_to_one(rule: Rule) -> Rule:
            def restricted(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
                at_one = touches_one and getattr(box[self.t], inner_end) == getattr(self.section, f"t_{inner_end}")
                return at_one and rule(ranges, box)  # w grows right next to 1, where it is 1: above 1

            return restricted

        rules = [("bound", bound), *((name, next_to_one(rule)) for name, rule in self.decay_rules())]
        return cover(self.box(), rules, budget)

    def is_nonnegative(self, budget: Budget) -> Closed | Violated | Open:
        """Whether w >= 0 on this section."""
        return cover(self.box(), [("bound", lambda ranges, box: _tries(lambda: _settles(self.weight(ranges))))], budget)

    def is_defined(self, quantity: Literal["value", "weight"], budget: Budget) -> Closed | Violated | Open:
        """Whether the quantity is defined and continuous between the section's breakpoints."""
        expression = self.section.value if quantity == "value" else self.section.weight
        assert expression is not None
        enclosure = enclosure_of(expression)

        def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            try:
                enclosure(ranges)
            except NowhereDefined as error:
                raise Violation from error
            except Undefined:
                return False
            return True

        eliminated = any(p in expression.free_symbols for p in self.branch.eliminated)
        return cover(self.box(eliminated=eliminated), [("defined", rule)], budget)


def _settles(range_: Interval) -> bool:
    """Whether everything in the range is >= 0; a range that is < 0 throughout violates the claim."""
    if range_.is_negative:
        raise Violation
    return range_.is_nonnegative


def _tries(settles: Callable[[], bool]) -> bool:
    try:
        return settles()
    except Undefined:
        return False
