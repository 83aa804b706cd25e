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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from math import inf
from typing import Any, cast

import sympy
from sympy import Add, Expr, Integer, Rational

from sapo_gates.derive import declared_formula, derivative
from sapo_gates.errors import GateTextError, RequirementError
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Domain, Parameter, exact
from sapo_gates.prove import witness
from sapo_gates.prove.boxes import Budget, Closed, Range, cover
from sapo_gates.prove.case import Case, Requirement
from sapo_gates.prove.cell_signs import Unsupported, as_end
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.ends import Terms
from sapo_gates.prove.evidence import (
    NAMES,
    bound_evidence,
    cells_evidence,
    cells_tree,
    claim_evidence,
    sections_between,
)
from sapo_gates.prove.forms import forms_of, is_identity
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.joins import Join, joins_of
from sapo_gates.prove.limits import ZERO_FROM_ABOVE, limit
from sapo_gates.prove.pieces import images
from sapo_gates.prove.points import Point, parameter_points, rational
from sapo_gates.prove.sections import Branch, Chart, Section, branches_of
from sapo_gates.prove.signs import Claim, SectionProver
from sapo_gates.prove.tails import Tail, limits_at_infinity
from sapo_gates.requirements import continuously_differentiable, unit_peak
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
STEP = Rational(1, 2**40)
"""How far beyond the distance h a weight above 1/2 is followed: it might jump there."""
MAX_CELLS = 64
CELL_BOXES = 400
SCORE_BOXES = 4000
Shown = tuple[Sequence[Mapping[str, object]], Mapping[str, object]]
"""What is shown on the sections of a cell, and at its ends."""


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


# Cells in the chart of the ratio ------------------------------------------------------------------------------------


def _by_cells(
    case: Case, show: Callable[[Branch], Shown | None], ratios: Sequence[Expr] = ()
) -> dict[str, object] | None:
    """Evidence from what is shown on every cell, cutting cells on which it is not; None where it is not shown.

    ratios: further breakpoints.
    """
    waiting = [{p: p.domain for p in case.parameters}]
    finished = []
    while waiting:
        cell = waiting.pop()
        for branch in branches_of(case.gate.kind, case.gate.declared(case.side), cell, ratios):
            shown = show(branch)
            if shown is not None:
                finished.append((branch, *shown))
                continue
            parts = _halves({p: branch.all_domains[p] for p in case.parameters})
            if len(finished) + len(waiting) + len(parts) > MAX_CELLS or not parts or case.budget.is_spent:
                return None
            waiting += parts
    return cells_tree(case, finished)


def _halves(cell: Mapping[Parameter, Domain]) -> list[dict[Parameter, Domain]]:
    """Two closed parts, cut through the largest domain."""
    ranges = {p: Range(as_end(d.lower), as_end(d.upper)) for p, d in cell.items() if d.lower < d.upper}
    if not ranges:
        return []
    widest = max(ranges, key=lambda p: ranges[p].extent)
    domain, at = cell[widest], rational(ranges[widest].middle)
    halves = (replace(domain, upper=at, upper_open=False), replace(domain, lower=at, lower_open=False))
    return [{**cell, widest: half} for half in halves]


def _points(case: Case) -> Iterator[Point]:
    """Parameter values at which to look for a counterexample."""
    yield from parameter_points(case.gate, case.side, {p: p.domain for p in case.parameters})


def _branch_at(case: Case, parameters: Point, ratios: Sequence[Expr] = ()) -> Branch | None:
    """The branch at exact parameters, in the chart of the ratio."""
    cell = {p: Domain(parameters[p], parameters[p], False, False) for p in case.parameters}
    try:
        (branch,) = branches_of(case.gate.kind, case.gate.declared(case.side), cell, ratios)
    except (Unsupported, ValueError):
        return None
    return branch


def _number_interval(number: Expr) -> Interval:
    exact = Fraction(str(number))
    return Interval.of(exact, exact)


def _formula(case: Case, quantity: Any) -> Expr:
    found = declared_formula(case.gate.kind, case.gate.declared(case.side), quantity)
    assert found is not None
    return found


def _is_at_most(expression: Expr, number: Expr, branch: Branch, *, strictly: bool = False) -> bool:
    try:
        found = compiled(expression - number)(branch.ranges)
    except Undefined:
        return False
    return found.is_negative if strictly else found.is_nonpositive


# half_width <= h ----------------------------------------------------------------------------------------------------


def half_width_ratio(side: str, h: Rational) -> Rational:
    """The ratio at distance h from 1; on the left one close to 0 where h reaches beyond 0."""
    return cast(Rational, 1 + h if side == "right" else 1 - h if h < 1 else Rational(1, 1024))


def _half_width(case: Case, stated: Stated) -> Verdict:
    """w <= 1/2 at r = 1 +- h, or as a limit there, on cells of the parameters."""
    found = _wide(case, stated.bound)
    if found is not None:
        return Refuted(method="w > 1/2 from r = 1 on", witness=found[0], evidence=found[1])
    ratios = [half_width_ratio(side, stated.bound) for side in ("left", "right")]

    def show(branch: Branch) -> Shown | None:
        joins = [join for join in joins_of(branch, "weight") if join.at in ratios]
        return ([{}] * len(branch.sections), {}) if all(map(_halves_at, joins)) else None

    evidence = _by_cells(case, show, ratios)
    if evidence is None:
        return Undecided(method="w at one ratio", left=f"whether w <= 1/2 at r = {ratios} is not shown everywhere")
    return Proved(method="w at r = 1 +- h", evidence=evidence)


def _halves_at(join: Join) -> bool:
    limits = [side.expression for side in join.sides if side.expression is not None]
    if join.is_smooth and not join.stands_alone:
        return _is_at_most(limits[0], HALF, join.branch)
    return any(_is_at_most(one, HALF, join.branch, strictly=True) for one in limits)


def _wide(case: Case, bound: Rational) -> tuple[Witness, dict[str, object]] | None:
    """Parameters at which w > 1/2 on the whole way from 1 to the ratio at that distance, and a little beyond; all the
    way to 0 where the bound is 1 or more.
    """
    for parameters in _points(case):
        for side in ("right", "left"):
            ratio = half_width_ratio(side, bound)
            to_zero = side == "left" and bound >= 1
            try:
                at = witness.evaluate(case.gate, case.side, "weight", ratio, parameters)
            except Undefined:
                continue
            if not at.lower > HALF:
                continue
            far = ratio if to_zero else ratio + (STEP if side == "right" else -STEP)
            branch = _branch_at(case, parameters, [ratio, far])
            way = [] if branch is None else [s for s in branch.sections if s.side == side]
            way = way if side == "right" else way[::-1]
            if branch is None or not way:
                continue
            passed = next((i for i, s in enumerate(way) if far == (s.upper if side == "right" else s.lower)), 0)
            way = way if to_zero else way[: passed + 1]
            excess = Fraction(str(at.lower.str(20, radius=False))) - Fraction(1, 2)
            above = HALF + rational((excess / 2).limit_denominator(2**20))
            shown = {section: _at_least(branch, section, above) for section in way}
            if above > HALF and None not in shown.values():
                sections = sections_between(Chart("ratio"), [Integer(0), *branch.breakpoints, sympy.oo], {})
                for section, entry in zip(branch.sections, sections, strict=True):
                    entry |= {"weight at least": shown[section]} if section in shown else {}
                why = f"w > 1/2 on the whole way from r = 1 to r = {ratio}"
                found = witness.point(ratio, parameters, at, why)
                return found, {"sections": sections, "above": str(above)}
    return None


def _at_least(branch: Branch, section: Section, number: Expr) -> dict[str, object] | None:
    """Evidence that w >= c on a section."""
    prover = SectionProver(branch, replace(section, weight=section.weight - number))
    outcome = prover.settle("nonnegative", Budget(Budget.seconds(1).deadline, CELL_BOXES))
    if not isinstance(outcome, Closed):
        return None
    return bound_evidence(prover, section.weight, prover.box(), outcome.leaves)


# sup score <= c -----------------------------------------------------------------------------------------------------


def _sup_score(case: Case, stated: Stated) -> Verdict:
    """phi <= c by its range on boxes of r and the parameters; in tails because phi falls from where it is <= c."""
    found = _too_strong(case, _formula(case, "weight"), stated.bound)
    if found is not None:
        return Refuted(method="phi at one ratio", witness=found, evidence={})

    def show(branch: Branch) -> Shown | None:
        shown = []
        for section in branch.sections:
            found = _score_at_most(branch, section, stated.bound, case.budget)
            if found is None:
                return None
            shown.append({"score at most": found})
        return shown, {}

    evidence = _by_cells(case, show)
    if evidence is None or any(join.stands_alone for branch in case.branches for join in joins_of(branch, "weight")):
        return Undecided(method="range of phi", left=f"whether phi <= {stated.bound} is not shown everywhere")
    return Proved(method="range of phi", evidence=evidence)


def _score_at_most(branch: Branch, section: Section, number: Expr, budget: Budget) -> dict[str, object] | None:
    """Evidence that phi <= c on a section."""
    for form in forms_of(section.position * section.weight):
        prover = SectionProver(branch, replace(section, weight=form))
        outcome = cover(prover.box(), prover.at_most_rules(number), replace(budget, boxes=SCORE_BOXES))
        if isinstance(outcome, Closed):
            return bound_evidence(prover, form, prover.box(), outcome.leaves)
    return None


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
                return Refuted(method="one-sided limits", witness=found, evidence={})
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
                    return Refuted(method="one-sided limits", witness=found, evidence={})
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
    """The limit of w as r -> 0, over cells of the parameters."""
    for parameters in _points(case):
        branch = _branch_at(case, parameters)
        found = None if branch is None else _limit_at_zero(branch)
        if branch is None or found is None or not found[0].lower > _number_interval(stated.bound).upper:
            continue
        why = f"w(r) -> a limit > {stated.bound} as r -> 0"
        at = witness.point(rational(Fraction(1, 2**40)), parameters, found[0], why)
        sections = sections_between(Chart("ratio"), [Integer(0), *branch.breakpoints, sympy.oo], {})
        return Refuted(method="limit of w as r -> 0", witness=at, evidence={"sections": sections, "zero": found[1]})

    def show(branch: Branch) -> Shown | None:
        found = _limit_at_zero(branch)
        if found is None or not (found[0] + -_number_interval(stated.bound)).is_nonpositive:
            return None
        return [{}] * len(branch.sections), {"zero": found[1]}

    evidence = _by_cells(case, show)
    if evidence is None:
        return Undecided(method="limit of w as r -> 0", left=f"whether the limit is <= {stated.bound} is not shown")
    return Proved(method="limit of w as r -> 0", evidence=evidence)


def _limit_at_zero(branch: Branch) -> tuple[Interval, Terms] | None:
    """The limit of w in the first section, and the form that shows it."""
    first = branch.sections[0]
    for form in forms_of(first.weight):
        try:
            found = limit(form, first.t, ZERO_FROM_ABOVE, branch.ranges).finite
        except Undefined:
            continue
        return found, [{"term": sympy.sstr(first.weight), "rule": "limit", "form": sympy.sstr(form)}]
    return None


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
    for found, form in limits_at_infinity(tail.score_slope(term), tail.section.t, tail.ranges):
        if found.infinite < 0 or (
            found.interval is not None and found.interval.upper <= _number_interval(1 - order).lower
        ):
            return {"term": sympy.sstr(term), "rule": "slope", "form": sympy.sstr(form)}
    return None


def _too_slow(case: Case, tail: Tail, order: Rational) -> Verdict:
    left = f"the limit of d log phi/d log r is not shown to be <= {1 - order}"
    for parameters in parameter_points(case.gate, case.side, tail.branch.all_domains):
        branch = _branch_at(case, parameters)
        last = None if branch is None else Tail(branch, branch.sections[-1])
        if branch is None or last is None or last.section.weight == 0:
            continue
        found = next(limits_at_infinity(last.score_slope(last.section.weight), last.section.t, {}), None)
        if found is None:
            continue
        known = found[0]
        if known.infinite > 0 or (
            known.interval is not None and known.interval.lower > _number_interval(1 - order).upper
        ):
            bounds = ("oo", "oo") if known.interval is None else witness.shown(known.interval)
            start = max(Integer(1), *map(sympy.ceiling, branch.breakpoints))
            at = Witness(kind="tail", r=(str(start),), parameters=witness.names(parameters), enclosure=(bounds,),
                         why=f"d log phi/d log r has a limit > {1 - order} as r -> oo")  # fmt: skip
            sections = sections_between(Chart("ratio"), [Integer(0), *branch.breakpoints, sympy.oo], {})
            term = {"term": sympy.sstr(last.section.weight), "rule": "slope", "form": sympy.sstr(found[1])}
            evidence = {"sections": sections, "infinity": [term]}
            return Refuted(method="limit of d log phi/d log r", witness=at, evidence=evidence)
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
    shown = _slopes(case, right, kill=kill)
    if shown is None:
        return Undecided(
            method="w <= 1", left="f(r) A <= r A is neither shown on this side nor refuted at a ratio tried"
        )
    return Proved(method="f continuous and w <= 1" if kill else "f continuous and w >= 1", evidence=shown)


def _slopes(case: Case, right: bool, *, kill: bool) -> dict[str, object] | None:
    """Evidence that f is continuous on the side, and w <= 1 there (kill) or w = 1."""
    peaks = isinstance(case.verdict(cast(Requirement, unit_peak)), Proved)
    claims: list[Claim] = ["value defined"] if case.gate.kind == "value" else []
    if kill and peaks:
        claims.append("at most one")
    settled = {claim: case.claim(claim) for claim in claims}
    cells, first = [], 0
    for branch in case.branches:
        shown: list[dict[str, object]] = []
        for section in branch.sections:
            shown.append({})
            if (section.side == "right") != right:
                continue
            for claim in claims:
                one = settled[claim][len(shown) - 1 + first]
                if not isinstance(one.outcome, Closed):
                    return None
                shown[-1][NAMES[claim]] = claim_evidence(claim, one)
            if not (kill and peaks):
                if not is_identity(section.weight, Integer(1)):
                    return None
                flat = {"form": "1", "leaves": {"rule": "bound"}}
                shown[-1]["weight at most" if kill else "weight at least"] = flat
        first += len(shown)
        cells.append((branch, shown, {}))
    return cells_tree(case, cells)


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
