"""Claims about one section, settled box by box: that w is defined, that it falls away from 1, that it is at most 1.

Rules by which a box of the claim "w does not grow away from r = 1" is settled (names as they stand in certificates),
each only where the enclosure of w shows that w is continuous on the box:

    derivative      the enclosure of w' has the right sign
    log-derivative  w > 0 on the box and w'/w has the right sign; sees what w' loses in a tail
    terms           w' enclosed as sum of term * (log term)'
    inverse         w' spelled otherwise: in s = 1/t and as one fraction, on boxes that reach to infinity; in a section
                    that does not, with what its terms share in front
    anchor-k        w', ..., w^(k-1) are right at the section's end that the box touches, and w^(k) is on the whole
                    box; needed where w' itself touches 0
    fraction-k      w > 0 on the box, and w'/w as one fraction N/D: D has one sign, N, ..., N^(k-1) are right at the
                    section's end that the box touches, and N^(k) is on the whole box; needed where that end is a
                    removable singularity, or where intervals lose what w'/w is further on
    each            every term of w by itself, or every factor of it where all are >= 0, or what it is a root of: by
                    derivative, log-derivative, an anchor-k or a fraction-k

of the claim "w >= 0": `bound`, or `fraction-k` for w itself; and of the claim "w <= 1": `bound`, or one of the above on
a box that starts at r = 1, where w = 1, or `falls-` and one of the above on a box that reaches to infinity and at whose
start w <= 1.

Right at an end a is what makes g >= 0 by Taylor's formula, g(a + h) = g(a) + g'(a) h + ... + g^(k)(a + c) h^k/k! with
c between 0 and h: g(a), g'(a), ... >= 0, or 0 for every parameter, and g^(k) >= 0; where h < 0, every other sign turns.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property, partial
from typing import Literal, cast

import sympy
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.prove.boxes import Box, Budget, Closed, Open, Range, Rule, Violated, Violation, cover
from sapo_gates.prove.cell_signs import as_end
from sapo_gates.prove.enclose import Enclosure, compiled
from sapo_gates.prove.forms import derivative_by_terms, log_derivative, tamed
from sapo_gates.prove.interval import ZERO, Interval, NowhereDefined, Undefined
from sapo_gates.prove.points import fraction_of, suspects
from sapo_gates.prove.removable import as_fraction, centred, denominators, is_zero_at
from sapo_gates.prove.sections import Branch, Section

MAX_ANCHOR_ORDER = 4
MAX_DERIVED = 600  # operations of what is derived once more
MAX_NUMERATOR = 300  # operations; what is longer is a sum, whose terms are looked at one by one
EACH = ("derivative", "log-derivative")
FALLING = (*EACH, "terms", "inverse")

End = Literal["lower", "upper"]
ENDS: tuple[End, End] = ("lower", "upper")
Link = tuple[Enclosure, Callable[[], bool]]
"""A derivative, and whether it is 0 at an end of its section for every parameter."""
NOTHING = Interval(ZERO, ZERO)
Claim = Literal["decay", "at most one", "nonnegative", "weight defined", "value defined"]


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
    def _derivatives(self) -> list[Expr]:
        """W, w', w'', ... in t, as far as they were asked for."""
        return [self.section.weight]

    def _derivative_link(self, end: End, k: int) -> Link | None:
        """The k-th derivative of w at that end; None if it is too long."""
        while len(self._derivatives) <= k:
            if sympy.count_ops(self._derivatives[-1]) >= MAX_DERIVED:
                return None
            self._derivatives.append(derivative(self._derivatives[-1], self.t))
        return self._link(self._derivatives[k], end)

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
        return enclosure_of(self._log_derivative)

    @cached_property
    def _log_derivative(self) -> Expr:
        return log_derivative(self.section.weight, self.t)

    @cached_property
    def slope_by_terms(self) -> Enclosure:
        """W' as a sum over terms."""
        return enclosure_of(derivative_by_terms(self.section.weight, self.t))

    @property
    def s(self) -> Symbol:
        """1/t, in sections that reach to infinity."""
        return Symbol("s_", positive=True) if self.outward > 0 else Symbol("s_", negative=True)

    @property
    def is_bounded(self) -> bool:
        """The section reaches to no infinity."""
        return isinstance(self.section.t_lower, Fraction) and isinstance(self.section.t_upper, Fraction)

    @cached_property
    def inverse_slope(self) -> Expr:
        """W' in s = 1/t, as one fraction; in a bounded section in t, with what its terms share in front."""
        if self.is_bounded:
            return tamed(sympy.gcd_terms, derivative(self.section.weight, self.t))
        return tamed(sympy.factor, substitute(derivative(self.section.weight, self.t), {self.t: 1 / self.s}))

    @cached_property
    def slope_by_inverse(self) -> Enclosure:
        """W' as a function of t, through s = 1/t where that is how it is spelled."""
        inverse = enclosure_of(self.inverse_slope)
        if self.is_bounded:
            return inverse
        return lambda ranges: inverse({**ranges, self.s: ranges[self.t].reciprocal()})

    def box(self, *, eliminated: bool = False) -> Box:
        """The whole section between its breakpoints, over the whole cell of parameters."""
        domains = self.branch.all_domains if eliminated else self.branch.domains
        return {
            self.t: Range(self.section.t_lower, self.section.t_upper, True, True),
            **{p: Range(as_end(d.lower), as_end(d.upper), d.lower_open, d.upper_open) for p, d in domains.items()},
        }

    def vanishes(self, expression: Expr, end: End) -> bool:
        """Whether it is 0 at that end of the section for every parameter."""
        return is_zero_at(expression, self.t, cast(Rational, self._point(end)))

    def decay_rules(self, *, quick: bool = False) -> list[tuple[str, Rule]]:
        """The rules of the claim "w does not grow away from r = 1", cheap ones first; quick: without dear ones."""

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
            return (unbounded or self.is_bounded) and _tries(lambda: settles(self.slope_by_inverse(ranges)))

        def positive(rule: Rule) -> Rule:
            return lambda ranges, box: self.weight(ranges).is_positive and rule(ranges, box)

        rules: list[tuple[str, Rule]] = [
            ("derivative", derivative_rule),
            ("log-derivative", log_rule),
            ("terms", terms_rule),
            *([("inverse", inverse_rule)] if self.is_bounded else []),
            *((f"anchor-{k}", self._anchor_rule(k)) for k in range(2, MAX_ANCHOR_ORDER + 1)),
            *(
                (name, positive(rule))
                for name, rule in self._fraction_rules(self._log_derivative, -self.outward, quick)
            ),
            *([] if self.is_bounded else [("inverse", inverse_rule)]),
            *([("each", self._each_rule(quick))] if self.is_composed else []),
        ]
        return [(name, self._licensed(rule)) for name, rule in rules]

    def _licensed(self, rule: Rule) -> Rule:
        return lambda ranges, box: _is_defined(self.weight, ranges) and rule(ranges, box)

    def _anchor_rule(self, k: int) -> Rule:
        link = cache(lambda end, j: self._derivative_link(end, j + 1))

        def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            ends = self._touched(box)
            return any(self._is_anchored(end, k, partial(link, end), -self.outward, ranges, box) for end in ends)

        return rule

    def _touched(self, box: Box) -> list[End]:
        """The section's finite ends that the box reaches."""
        return [
            end
            for end in ENDS
            if self._point(end) is not None and getattr(box[self.t], end) == getattr(self.section, f"t_{end}")
        ]

    def _link(self, expression: Expr, end: End) -> Link:
        return enclosure_of(expression), cache(lambda: self.vanishes(expression, end))

    def _is_anchored(
        self,
        end: End,
        length: int,
        link: Callable[[int], Link | None],
        sign: int,
        ranges: Mapping[Symbol, Interval],
        box: Box,
    ) -> bool:
        """sign * g >= 0 on the box, by so many of g, g', ...: the last is right on it, those before at its end."""
        part = box[self.t]
        at_end = {**ranges, self.t: Range(getattr(part, end), getattr(part, end)).interval}
        closed = {**ranges, self.t: Range(part.lower, part.upper).interval}
        for j in range(length):
            found = link(j)
            if found is None:
                return False
            enclosure, vanishes = found
            try:
                image = enclosure(closed)  # continuous up to the end, hence the integral of the next
                if j < length - 1:
                    image = enclosure(at_end)
                    image = NOTHING if image.contains_zero and vanishes() else image
            except Undefined:
                return False
            if not (image if sign > 0 else -image).is_nonnegative:
                return False
            sign = -sign if end == "upper" else sign
        return True

    @cached_property
    def parts(self) -> list[list[Expr]]:
        """The terms of w, each as factors that may fall one by one: a hole's numerator stays with its denominator."""
        return [self._factors(term) for term in Add.make_args(self.section.weight)]

    @property
    def is_composed(self) -> bool:
        """Whether there are parts to look at one by one."""
        return len(self.parts) > 1 or len(self.parts[0]) > 1 or _root(self.parts[0][0]) is not None

    def _factors(self, term: Expr) -> list[Expr]:
        ends = [point for end in ENDS if (point := self._point(end)) is not None]
        holes = {p for p in ends if any(is_zero_at(e, self.t, p) for e in denominators(term, self.t))}
        constant, varying = term.as_independent(self.t, as_Add=False)
        hole, rest = [], []
        for factor in Mul.make_args(cast(Expr, varying)):
            bases = (*denominators(factor, self.t), getattr(factor, "base", factor))
            is_whole = any(is_zero_at(base, self.t, point) for base in bases for point in holes)
            (hole if is_whole else rest).append(factor)
        first, *others = [Mul(*hole), *rest] if hole else rest
        return [constant * first, *others]

    def _each_rule(self, quick: bool) -> Rule:
        ways = [[self._part_rule(factor, len(factors) > 1, quick) for factor in factors] for factors in self.parts]
        return lambda ranges, box: all(rule(ranges, box) for rules in ways for rule in rules)

    def _part_rule(self, part: Expr, is_factor: bool, quick: bool) -> Rule:
        """A term falls, or a factor that is >= 0: a product of such falls, and so does a root of one."""
        prover = SectionProver(self.branch, replace(self.section, weight=_root(part) or part))
        decay = prover.decay_rules(quick=quick)
        rules = [rule for name, rule in decay if name in EACH or name.startswith(("anchor", "fraction"))]

        def settled(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            try:
                is_licensed = not is_factor or prover.weight(ranges).is_nonnegative
                return is_licensed and any(rule(ranges, box) for rule in rules)
            except (Violation, Undefined):  # of one part, which says nothing about the whole
                return False

        return settled

    def _fraction_rules(self, expression: Expr, sign: int, quick: bool) -> list[tuple[str, Rule]]:
        """sign * expression >= 0 by its numerator, where a box touches an end of the section; quick: a hole there."""
        links = cache(lambda end: self._numerators(expression, end))

        def rule(k: int) -> Rule:
            def settles(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
                for end in self._touched(box):
                    if quick and not self._holes[end]:
                        continue
                    link, denominator = links(end)
                    try:
                        below = denominator(ranges)
                    except Undefined:
                        continue
                    signed = sign if below.is_positive else -sign
                    if not below.contains_zero and self._is_anchored(end, k + 1, link, signed, ranges, box):
                        return True
                return False

            return settles

        return [(f"fraction-{k}", rule(k)) for k in range(1, MAX_ANCHOR_ORDER + 1)]

    def _point(self, end: End) -> Rational | None:
        at = getattr(self.section, f"t_{end}")
        return None if isinstance(at, float) else Rational(at.numerator, at.denominator)

    def _numerators(self, expression: Expr, end: End) -> tuple[Callable[[int], Link | None], Enclosure]:
        """N, N', ..., each None if it is too long, and D."""
        point = cast(Rational, self._point(end))
        top, bottom = as_fraction(expression)
        chain = [top]

        @cache
        def link(j: int) -> Link | None:
            if len(chain) <= j:
                chain.append(derivative(chain[-1], self.t))
            if sympy.count_ops(chain[j]) >= MAX_NUMERATOR:
                return None
            chain[j] = centred(chain[j], self.t, point)
            return self._link(chain[j], end)

        return link, enclosure_of(bottom)

    @cached_property
    def _holes(self) -> dict[End, bool]:
        """Whether the text divides by 0 at an end."""
        found = tuple(denominators(self.section.weight, self.t))
        return {end: self._point(end) is not None and any(self.vanishes(e, end) for e in found) for end in ENDS}

    def rules(self, claim: Claim, *, quick: bool = False) -> list[tuple[str, Rule]]:
        """The rules that may settle a box of the claim."""
        match claim:
            case "decay":
                return self.decay_rules(quick=quick)
            case "at most one":
                return self.at_most_rules(sympy.Integer(1), quick=quick)
            case "nonnegative":
                bound: Rule = lambda ranges, box: _tries(lambda: _settles(self.weight(ranges)))  # noqa: E731
                fractions = self._fraction_rules(self.section.weight, 1, quick)
                return [("bound", bound), *((name, self._licensed(rule)) for name, rule in fractions)]
            case "weight defined":
                return [("defined", _defined_rule(self.weight))]
            case "value defined":
                assert self.section.value is not None
                return [("defined", _defined_rule(enclosure_of(self.section.value)))]

    def whole(self, claim: Claim) -> Box:
        """The box of the claim: the section, over the parameters that the claimed expression depends on."""
        value = self.section.value if claim == "value defined" else None
        return self.box(eliminated=value is not None and any(p in value.free_symbols for p in self.branch.eliminated))

    def settle(self, claim: Claim, budget: Budget, *, quick: bool = False) -> Closed | Violated | Open:
        """Branch and bound over the whole section."""
        return cover(self.whole(claim), self.rules(claim, quick=quick), budget)

    def hunt(self, claim: Claim, points: Iterable[Mapping[Symbol, Rational]]) -> Violated | None:
        """Look for a violation where the formula suggests one: around zeros of its linear parts, at these parameters.

        A needle at r = 37 of width 1e-9 is a function of (r - 37)/1e-9: its formula says where and how wide it is.
        """
        rules, whole = self.rules(claim, quick=True), self.whole(claim)
        for point in points:
            held = {p: exact_range(value) for p, value in point.items() if p in whole}
            if set(held) | {self.t} != set(whole):
                continue
            for t in suspects(substitute(self.section.weight, point), self.t):
                if not whole[self.t].contains(t):
                    continue
                box = {**held, self.t: Range(t, t)}
                ranges = {symbol: range_.interval for symbol, range_ in box.items()}
                try:
                    for _, rule in rules:
                        rule(ranges, box)
                except Violation:
                    return Violated(box)
        return None

    def at_most_rules(self, number: Expr, *, quick: bool = False) -> list[tuple[str, Rule]]:
        """w <= c; where c = 1, given that w = 1 at r = 1."""
        excess = enclosure_of(self.section.weight - number)
        inner_end, outer_end = ("lower", "upper") if self.section.side == "right" else ("upper", "lower")
        touches_one = number == 1 and getattr(self.section, inner_end) == self.branch.chart.on_policy

        def next_to_one(rule: Rule) -> Rule:
            def restricted(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
                at_one = touches_one and getattr(box[self.t], inner_end) == getattr(self.section, f"t_{inner_end}")
                return at_one and rule(ranges, box)  # w grows right next to 1, where it is 1: above 1

            return restricted

        def falls(rule: Rule) -> Rule:
            def restricted(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
                start = getattr(box[self.t], inner_end)
                if isinstance(start, float) or not isinstance(getattr(box[self.t], outer_end), float):
                    return False
                at_start = {**ranges, self.t: Range(start, start).interval}
                try:
                    return _tries(lambda: excess(at_start).is_nonpositive) and rule(ranges, box)
                except Violation:  # growing in the tail is no violation of w <= 1
                    return False

            return restricted

        bound: tuple[str, Rule] = ("bound", lambda ranges, box: _tries(lambda: _settles(-excess(ranges))))
        decay = self.decay_rules(quick=quick)
        near = [(name, next_to_one(rule)) for name, rule in decay]
        return [bound, *near, *((f"falls-{name}", falls(rule)) for name, rule in decay if name in FALLING)]


def _root(part: Expr) -> Expr | None:
    """What the part is a root of."""
    is_root = isinstance(part, Pow) and part.exp.is_Rational and part.exp.is_positive and not part.exp.is_Integer
    return cast(Expr, part.base) if is_root else None


def exact_range(value: Rational) -> Range:
    """One number as a range."""
    exact = fraction_of(value)
    return Range(exact, exact)


def _defined_rule(enclosure: Enclosure) -> Rule:
    def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        try:
            enclosure(ranges)
        except NowhereDefined as error:
            raise Violation from error
        except Undefined:
            return False
        return True

    return rule


def _is_defined(enclosure: Enclosure, ranges: Mapping[Symbol, Interval]) -> bool:
    """Defined, hence continuous, on the box; until then a derivative says nothing: that of atan(tan t) is 1."""
    try:
        enclosure(ranges)
    except Undefined:
        return False
    return True


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
