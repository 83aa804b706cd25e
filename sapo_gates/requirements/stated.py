"""Requirements that a user states: `half_width <= 0.2`, `sup score <= 1.1`, `smoothness >= 2`, `weight(0) <= 0.05`,
`tail order >= 2`, `pessimistic on kill side`, `pessimistic on pass side`.

Each is a statement for all parameters of the claimed domain (or for those that `bind` has left):

    half_width <= h    on each side some ratio within h of 1 has w <= 1/2: the one at distance h, or those just beyond
    sup score <= c     phi(r) <= c for every r > 0
    smoothness >= k    f is C^k on (0, oo)
    weight(0) <= c     w(r) -> a limit <= c as r -> 0
    tail order >= p    lim d log phi/d log r <= 1 - p as r -> oo: w falls at least like r^-p, up to slower factors
    pessimistic        f(r) A <= r A on the side of 1 named, f shifted to f(1) = 1
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from math import inf
from typing import Any, cast

import sympy
from sympy import Add, Expr, Integer, Rational, Symbol

from sapo_gates.derive import declared_formula, derivative
from sapo_gates.errors import GateTextError, RequirementError
from sapo_gates.functions import r, substitute
from sapo_gates.gate import exact
from sapo_gates.prove import witness
from sapo_gates.prove.boxes import Box, Closed, Range, Rule, Violation, cover
from sapo_gates.prove.case import Case, Requirement, cells_evidence, leaf_evidence
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.ends import Terms
from sapo_gates.prove.forms import forms_of, is_identity, log_derivative
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.joins import Join, joins_of
from sapo_gates.prove.limits import ZERO_FROM_ABOVE, limit
from sapo_gates.prove.pieces import images, possible
from sapo_gates.prove.points import Point, parameter_points, rational
from sapo_gates.prove.sections import Branch, Section, as_end, cell_key
from sapo_gates.prove.signs import Claim, SectionProver
from sapo_gates.prove.tails import Tail, expressions_at_infinity, limit_at_infinity
from sapo_gates.requirements import continuously_differentiable, monotone_decay, unit_peak
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict, Witness

FORMS = {
    "half_width <= 0.2": re.compile(r"half[_ -]?width *<= *(?P<bound>\S+)"),
    "sup score <= 1.1": re.compile(r"sup[_ -]?score *<= *(?P<bound>\S+)"),
    "smoothness >= 2": re.compile(r"smoothness *>= *(?P<bound>\S+)"),
    "weight(0) <= 0.05": re.compile(r"weight ?\( *0 *\) *<= *(?P<bound>\S+)"),
    "tail order >= 2": re.compile(r"tail[_ -]?order *>= *(?P<bound>\S+)"),
    "pessimistic on kill side": re.compile(r"pessimistic on( the)? kill side"),
    "pessimistic on pass side": re.compile(r"pessimistic on( the)? pass side"),
}
MAX_SMOOTHNESS = 8
HALF = Rational(1, 2)
NEXT = Symbol("beyond_", positive=True)
STEP = Fraction(1, 2**40)
BEYOND = Range(Fraction(0), STEP, True, False)
"""How far beyond r = 1 +- h "just beyond" reaches."""


@dataclass(frozen=True)
class Stated:
    """One statement; ID is its text in normal spelling. by_sign: it says something else for each sign of A."""

    ID: str
    kind: str
    bound: Rational

    @property
    def by_sign(self) -> bool:
        """Whether one proof cannot serve both signs of A."""
        return self.kind.startswith("pessimistic")

    def prove(self, case: Case) -> Verdict:
        """Answer it for one sign of A."""
        proofs = {
            "half_width": _half_width,
            "sup score": _sup_score,
            "smoothness": _smoothness,
            "weight(0)": _weight_at_zero,
            "tail order": _tail_order,
            "pessimistic on kill side": _pessimistic,
            "pessimistic on pass side": _pessimistic,
        }
        return proofs[self.kind](case, self)


def parse(text: str) -> Stated:
    """The requirement that a text states.

    Raises:
        RequirementError: the text is none; the nearest form is offered.
    """
    tidy = " ".join(text.split())
    for example, form in FORMS.items():
        found = form.fullmatch(tidy)
        if found is None:
            continue
        kind = re.split(" [<>]=", example)[0]
        if "bound" not in found.groupdict():
            return Stated(example, kind, Integer(0))
        number = _number(found["bound"], text, example)
        if kind == "smoothness" and not (number.is_Integer and 0 <= number <= MAX_SMOOTHNESS):
            raise RequirementError(
                f"{text!r}: the k of C^k is a whole number from 0 to {MAX_SMOOTHNESS}; try {example!r}."
            )
        if kind == "half_width" and number <= 0:
            raise RequirementError(f"{text!r}: a half-width is a distance > 0; try {example!r}.")
        return Stated(f"{kind} {example.split(kind)[1].split()[0]} {number}", kind, number)
    nearest = get_close_matches(tidy, FORMS, n=1, cutoff=0.0)[0]
    raise RequirementError(
        f"{text!r} is no requirement; stated are {', '.join(map(repr, FORMS))}. Did you mean {nearest!r}?"
    )


def _number(text: str, whole: str, example: str) -> Rational:
    try:
        number = exact(text)
    except (TypeError, ValueError, ZeroDivisionError, GateTextError):
        number = None
    if number is None or not number.is_finite:
        raise RequirementError(f"{whole!r}: {text!r} is no number; write for example {example!r}.")
    return cast(Rational, number)


# Boxes of ratio and parameters --------------------------------------------------------------------------------------


def _parameter_box(case: Case) -> dict[Symbol, Range]:
    return {
        p: Range(as_end(p.domain.lower), as_end(p.domain.upper), p.domain.lower_open, p.domain.upper_open)
        for p in case.parameters
    }


def _points(case: Case, box: Box | None = None) -> Iterator[Point]:
    """Parameter values at which to look for a counterexample: those of the box first."""
    domains: dict[Symbol, Any] = {p: p.domain for p in case.parameters}
    if box is not None:
        yield from parameter_points(case.gate, case.side, domains, box)
    yield from parameter_points(case.gate, case.side, domains)


def _number_interval(number: Expr) -> Interval:
    exact = Fraction(str(number))
    return Interval.of(exact, exact)


def _formula(case: Case, quantity: Any) -> Expr:
    found = declared_formula(case.gate.kind, case.gate.declared(case.side), quantity)
    assert found is not None
    return found


def _at_most_zero(expression: Expr) -> Rule:
    """Every piece that may hold on the box is <= 0 on it."""

    def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        try:
            found = images(expression, ranges)
        except Undefined:
            return False
        if all(one.is_positive for one in found):
            raise Violation
        return all(one.is_nonpositive for one in found)

    return rule


def _evidence(parts: Mapping[str, Closed]) -> dict[str, object]:
    return {name: [leaf_evidence(leaf) for leaf in part.leaves] for name, part in parts.items()}


# half_width <= h ----------------------------------------------------------------------------------------------------


def half_width_ratio(side: str, h: Rational) -> Rational:
    """The ratio at distance h from 1; on the left one close to 0 where h reaches beyond 0."""
    return cast(Rational, 1 + h if side == "right" else 1 - h if h < 1 else Rational(1, 1024))


def _half_width(case: Case, stated: Stated) -> Verdict:
    """w <= 1/2 at r = 1 +- h, or on the ratios just beyond, over boxes of the parameters."""
    weight = _formula(case, "weight")
    parts = {}
    for side, outward in (("left", -1), ("right", 1)):
        ratio = half_width_ratio(side, stated.bound)
        here = _at_most_zero(substitute(weight, {r: ratio}) - HALF)
        beyond = _at_most_zero(substitute(weight, {r: ratio + outward * NEXT}) - HALF)

        def just_beyond(ranges: Mapping[Symbol, Interval], box: Box, rule: Rule = beyond) -> bool:
            try:
                return rule({**ranges, NEXT: BEYOND.interval}, box)
            except Violation:
                return False

        def at(ranges: Mapping[Symbol, Interval], box: Box, rule: Rule = here, other: Rule = just_beyond) -> bool:
            try:
                return rule(ranges, box)
            except Violation:
                if other(ranges, box):
                    return False
                raise

        outcome = cover(_parameter_box(case), [("at", at), ("beyond", just_beyond)], case.budget)
        if not isinstance(outcome, Closed):
            found = next(_wide(case, side, stated.bound, outcome.box), None)
            if found is not None:
                return Refuted(method="w > 1/2 from r = 1 on", witness=found, evidence={})
            return Undecided(method="w at one ratio", left=f"whether w <= 1/2 at r = {ratio} is not shown everywhere")
        parts[side] = outcome
    return Proved(method="w at r = 1 +- h", evidence=_evidence(parts))


def _wide(case: Case, side: str, bound: Rational, box: Box) -> Iterator[Witness]:
    """Parameters at which w > 1/2 on the whole way from 1 to the ratio at that distance, and a little beyond: w might
    jump there. All the way to 0 where the bound is 1 or more.
    """
    ratio = half_width_ratio(side, bound)
    for parameters in _points(case, box):
        near, far = Fraction(1), Fraction(str(ratio)) + (STEP if side == "right" else -STEP)
        far = Fraction(0) if side == "left" and bound >= 1 else far
        weight = substitute(_formula(case, "weight"), parameters) - HALF
        t = Range(min(near, far), max(near, far), far == 0)

        def rule(ranges: Mapping[Symbol, Interval], box: Box, weight: Expr = weight) -> bool:
            try:
                return all(one.is_positive for one in images(weight, ranges))
            except Undefined:
                return False

        if not isinstance(cover({r: t}, [("positive", rule)], replace(case.budget, boxes=400)), Closed):
            continue
        try:
            at = witness.evaluate(case.gate, case.side, "weight", ratio, parameters)
        except Undefined:
            continue
        if at.lower > HALF:
            yield witness.point(ratio, parameters, at, f"w > 1/2 on the whole way from r = 1 to r = {ratio}")


# sup score <= c -----------------------------------------------------------------------------------------------------


def _sup_score(case: Case, stated: Stated) -> Verdict:
    """phi <= c by its range on boxes of r and the parameters; on tails because |phi| falls from where it is <= c."""
    weight = _formula(case, "weight")
    excess = r * weight - stated.bound
    found = _too_strong(case, weight, stated.bound)
    if found is not None:
        return Refuted(method="phi at one ratio", witness=found, evidence={})

    def falls(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        start = box[r].lower
        if box[r].upper != inf or not isinstance(start, Fraction) or start <= 0:
            return False
        try:
            pieces = possible(weight, ranges)
            at_start = images(excess, {**ranges, r: Interval.of(start, start)})
        except Undefined:
            return False
        if len(pieces) != 1 or not all(one.is_nonpositive for one in at_start):
            return False
        bound = _number_interval(stated.bound)
        lowest = images(-r * weight, {**ranges, r: Interval.of(start, start)})
        if not all((one + -bound).is_nonpositive for one in lowest):
            return False
        return any(_is_falling(form, variable, ranges) for form, variable in _score_slopes(pieces[0]))

    box = {r: Range(Fraction(0), inf, True, True), **_parameter_box(case)}
    outcome = cover(box, [("bound", _at_most_zero(excess)), ("falls", falls)], case.budget)
    if isinstance(outcome, Closed):
        forms = {sympy.sstr(piece): [sympy.sstr(form) for form, _ in _score_slopes(piece)] for piece in _all(weight)}
        return Proved(method="range of phi", evidence={**_evidence({"boxes": outcome}), "slopes": forms})
    return Undecided(method="range of phi", left=f"whether phi <= {stated.bound} is not shown on {_told(outcome.box)}")


def _told(box: Box) -> str:
    return ", ".join(f"{symbol} in {range_.interval}" for symbol, range_ in box.items())


_SLOPES: dict[Expr, list[tuple[Expr, Symbol]]] = {}


def _score_slopes(piece: Expr) -> list[tuple[Expr, Symbol]]:
    """Spellings of d log |phi|/d log r, in r or in s = 1/r."""
    if piece not in _SLOPES:
        slope = 1 + r * log_derivative(piece, r)
        _SLOPES[piece] = list(dict.fromkeys((form, v) for form, v, _ in expressions_at_infinity(slope, r)))
    return _SLOPES[piece]


def _is_falling(form: Expr, variable: Symbol, ranges: Mapping[Symbol, Interval]) -> bool:
    try:
        here = ranges if variable == r else {**ranges, variable: ranges[r].reciprocal()}
        return compiled(form)(here).is_nonpositive
    except Undefined:
        return False


def _all(expression: Expr) -> list[Expr]:
    return list(dict.fromkeys(possible(expression, None)))


def _too_strong(case: Case, weight: Expr, bound: Rational) -> Witness | None:
    """A ratio with phi > c, climbing from the best of a grid of ratios."""
    for parameters in _points(case):
        phi = substitute(r * weight, parameters)

        def at(ratio: Fraction, phi: Expr = phi) -> float:
            try:
                return max(float(one.lower) for one in images(phi, {r: Interval.of(ratio, ratio)}))
            except Undefined:
                return -inf

        grid = [Fraction(2) ** k for k in range(-20, 41)]
        grid += [1 + Fraction(sign * 2**k, 2**12) for k in range(12) for sign in (1, -1)]
        best = max(grid, key=at)
        step = best / 2
        for _ in range(40):
            best = max((best, best + step, best - step if best > step else best), key=at)
            step = step * Fraction(2, 3)
            step = step.limit_denominator(2**40)
        best = best.limit_denominator(2**20)
        for ratio in dict.fromkeys((best, *grid[20:])):
            try:
                score = witness.evaluate(case.gate, case.side, "score", rational(ratio), parameters)
            except Undefined:
                continue
            if score.lower > _number_interval(bound).upper:
                return witness.point(rational(ratio), parameters, score, f"phi({ratio}) > {bound}")
    return None


# smoothness >= k ----------------------------------------------------------------------------------------------------


def _smoothness(case: Case, stated: Stated) -> Verdict:
    """f, w, w', ..., w^(k-1) are defined inside the sections, and their one-sided limits agree at every breakpoint."""
    order = int(stated.bound)
    for join in _value_joins(case):
        if not (join.is_smooth and join.fills):
            found = join.witness(case.gate, case.side, "f jumps")
            if found is not None:
                return Refuted(method="one-sided limits", witness=found, evidence={"order": -1})
            return Undecided(method="one-sided limits", left=f"whether f is continuous at {join.place} is not shown")
    for branch in case.branches:
        for join in joins_of(branch, "weight"):
            for j in range(order):
                if j:
                    join = replace(join, **{end: _derived(branch, getattr(join, end)) for end in ("before", "after")})
                if join.is_smooth:
                    continue
                found = join.witness(case.gate, case.side, f"derivative {j + 1} of f jumps")
                if found is not None and found.kind == "jump":
                    return Refuted(method="one-sided limits", witness=found, evidence={"order": j})
                left = f"whether derivative {j + 1} of f is continuous at {join.place} is not shown"
                return Undecided(method="one-sided limits", left=left)
    if order == 0:
        return _continuous(case)
    smooth = case.verdict(cast(Requirement, continuously_differentiable))
    if not isinstance(smooth, Proved):
        return Undecided(method="continuously-differentiable", left="f is not shown to be defined and C^1")
    for settled in case.claim("weight defined"):
        if not isinstance(settled.outcome, Closed):
            return Undecided(method="definedness", left="w is not shown to be defined everywhere")
        expression = settled.section.weight
        for j in range(1, order):
            expression = derivative(expression, settled.section.t)
            curve = replace(settled.section, weight=expression)
            outcome = SectionProver(settled.branch, curve).settle("weight defined", case.budget)
            if not isinstance(outcome, Closed):
                return Undecided(method="definedness", left=f"derivative {j + 1} of f is not shown to be defined")
    value: list[Claim] = ["value defined"] if case.gate.kind == "value" else []
    return Proved(
        method="identity of derivatives at breakpoints",
        evidence=cells_evidence(case, *value, "weight defined"),
    )


def _continuous(case: Case) -> Verdict:
    claim = "value defined" if case.gate.kind == "value" else "weight defined"
    inside = case.claim(claim)
    if not all(isinstance(settled.outcome, Closed) for settled in inside):
        return Undecided(method="definedness", left="f is not shown to be defined everywhere")
    return Proved(method="identity at breakpoints", evidence=cells_evidence(case, claim))


def _value_joins(case: Case) -> list[Join]:
    """Breakpoints of f, where f is declared; an integral has none."""
    return [j for b in case.branches for j in joins_of(b, "value")] if case.gate.kind == "value" else []


def _derived(branch: Branch, section: Section) -> Section:
    """The section with dw/dr in the place of w."""
    ratio = substitute(branch.chart.ratio, {branch.chart.x: section.position})
    return replace(section, weight=derivative(section.weight, section.t) / derivative(ratio, section.t))


# weight(0) <= c -----------------------------------------------------------------------------------------------------


def _weight_at_zero(case: Case, stated: Stated) -> Verdict:
    """The limit of w as r -> 0, over boxes of the parameters."""
    weight = _formula(case, "weight")
    near = {r: Range(Fraction(0), Fraction(1, 2**40), True, False).interval}

    def limits(ranges: Mapping[Symbol, Interval]) -> list[Interval]:
        return [_limit_at_zero(piece, ranges) for piece in possible(weight, {**ranges, **near})]

    def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        bound = _number_interval(stated.bound)
        try:
            found = [one + -bound for one in limits(ranges)]
        except Undefined:
            return False
        if all(one.is_positive for one in found):
            raise Violation
        return all(one.is_nonpositive for one in found)

    by_cell = _limits_by_cell(case, stated.bound)
    if by_cell is not None:
        return Proved(method="limit of w as r -> 0", evidence=cells_evidence(case, zero=by_cell))
    outcome = cover(_parameter_box(case), [("limit", rule)], replace(case.budget, boxes=2000))
    if isinstance(outcome, Closed):
        return Proved(method="limit of w as r -> 0", evidence=_evidence({"boxes": outcome}))
    for parameters in _points(case, outcome.box):
        point: dict[Symbol, Interval] = {p: _number_interval(v) for p, v in parameters.items()}
        try:
            found = limits(point)
        except Undefined:
            continue
        if len(found) == 1 and found[0].lower > _number_interval(stated.bound).upper:
            at = witness.point(
                rational(Fraction(1, 2**40)), parameters, found[0], f"w(r) -> a limit > {stated.bound} as r -> 0"
            )
            return Refuted(method="limit of w as r -> 0", witness=at, evidence={})
    return Undecided(method="limit of w as r -> 0", left=f"whether the limit is <= {stated.bound} is not shown")


def _limits_by_cell(case: Case, bound: Rational) -> list[Terms] | None:
    """In the chart x = r the first section starts at r = 0: the limit there, over every cell of the parameters."""
    cells = []
    for branch in case.branches:
        first = branch.sections[0]
        if branch.chart.kind != "ratio":
            return None
        for form in forms_of(first.weight):
            try:
                found = limit(form, first.t, ZERO_FROM_ABOVE, branch.ranges).finite
            except Undefined:
                continue
            if (found + -_number_interval(bound)).is_nonpositive:
                cells.append([{"term": sympy.sstr(first.weight), "rule": "limit", "form": sympy.sstr(form)}])
                break
        else:
            return None
    return cells


def _limit_at_zero(piece: Expr, ranges: Mapping[Symbol, Interval]) -> Interval:
    for form in forms_of(piece):
        try:
            return limit(form, r, ZERO_FROM_ABOVE, {k: v for k, v in ranges.items() if k != r}).finite
        except Undefined:
            continue
    raise Undefined("no limit known as r -> 0")


# tail order >= p ----------------------------------------------------------------------------------------------------


def _tail_order(case: Case, stated: Stated) -> Verdict:
    """Term by term: w is 0, or the limit of d log phi/d log r is <= 1 - p."""
    tails = []
    for branch in case.branches:
        tail = Tail(branch, branch.sections[-1])
        for form in forms_of(tail.section.weight):
            rules = [_order_rule(tail, term, stated.bound) for term in Add.make_args(form) if term != 0]
            if all(rule is not None for rule in rules):
                tails.append(rules)
                break
        else:
            return _too_slow(case, tail, stated.bound)
    return Proved(method="limit of d log phi/d log r", evidence=cells_evidence(case, infinity=tails))


def _order_rule(tail: Tail, term: Expr, order: Rational) -> dict[str, str] | None:
    found = limit_at_infinity(tail.score_slope(term), tail.section.t, tail.ranges)
    if found is None:
        return None
    falls = found[0].infinite < 0 or (
        found[0].interval is not None and found[0].interval.upper <= _number_interval(1 - order).lower
    )
    return {"term": sympy.sstr(term), "rule": "slope", "form": sympy.sstr(found[1])} if falls else None


def _too_slow(case: Case, tail: Tail, order: Rational) -> Verdict:
    left = f"the limit of d log phi/d log r is not shown to be <= {1 - order}"
    for parameters in parameter_points(case.gate, case.side, tail.branch.all_domains):
        slope = (
            substitute(tail.score_slope(tail.section.weight), parameters) if tail.section.weight != 0 else Integer(0)
        )
        found = limit_at_infinity(slope, tail.section.t, {})
        if found is None:
            continue
        known = found[0]
        if known.infinite > 0 or (
            known.interval is not None and known.interval.lower > _number_interval(1 - order).upper
        ):
            bounds = ("oo", "oo") if known.interval is None else witness.shown(known.interval)
            at = Witness(kind="tail", r=("1",), parameters=witness.names(parameters), enclosure=(bounds,),
                         why=f"d log phi/d log r has a limit > {1 - order} as r -> oo")  # fmt: skip
            key = cell_key(tail.branch)
            return Refuted(
                method="limit of d log phi/d log r", witness=at, evidence={"tail": key, "form": sympy.sstr(found[1])}
            )
    return Undecided(method="limit of d log phi/d log r", left=left)


# pessimistic on a side ----------------------------------------------------------------------------------------------


def _pessimistic(case: Case, stated: Stated) -> Verdict:
    """On the kill side w <= 1 is enough where f is continuous; on the pass side w = 1 is; else one ratio refutes it."""
    kill = stated.kind.endswith("kill side")
    right = (case.side == "positive") == kill
    found = _too_hopeful(case, right)
    if found is not None:
        return Refuted(method="f at one ratio", witness=found, evidence={})
    joins = _value_joins(case)
    if not all(join.is_smooth and join.fills for join in joins):
        return Undecided(method="continuity of f", left="f is not shown to be continuous")
    decay = case.verdict(cast(Requirement, monotone_decay))
    if kill and isinstance(case.verdict(cast(Requirement, unit_peak)), Proved) and isinstance(decay, Proved):
        return Proved(method="f continuous and w <= 1", evidence={"by": "unit-peak"})
    walk = [s for branch in case.branches for s in branch.sections if (s.side == "right") == right]
    if all(is_identity(section.weight, Integer(1)) for section in walk) and isinstance(decay, Proved):
        return Proved(method="f(r) = r on this side", evidence={"by": "identity"})
    return Undecided(method="w <= 1", left="f(r) A <= r A is neither shown on this side nor refuted at a ratio tried")


def _too_hopeful(case: Case, right: bool) -> Witness | None:
    """A ratio on that side with f(r) A > r A, where f is declared."""
    if case.gate.kind != "value":
        return None
    sign = 1 if case.side == "positive" else -1
    powers = [Fraction(1, 2), Fraction(9, 10), Fraction(1, 10), Fraction(99, 100), Fraction(1, 1000)]
    ratios = [1 / p for p in powers] if right else powers
    for parameters in _points(case):
        for ratio in [rational(one) for one in ratios]:
            try:
                here = witness.exact_value(case.gate, case.side, "value", ratio, parameters)
                one = witness.exact_value(case.gate, case.side, "value", rational(Fraction(1)), parameters)
                gap = witness.enclosed(sign * (here - one + 1 - ratio))
            except Undefined:
                continue
            if gap.is_positive:
                return witness.point(
                    ratio,
                    parameters,
                    gap,
                    f"f(r) A > r A at r = {ratio}, f shifted to f(1) = 1, by this much for |A| = 1",
                )
    return None
