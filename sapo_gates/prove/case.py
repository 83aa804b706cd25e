"""One sign of A of one gate, with everything the requirements share: branches, forms, claims already settled."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Literal, Protocol, cast

import sympy
from sympy import Add, Expr

from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Domain, Gate, Parameter
from sapo_gates.prove.boxes import Budget, Closed, Open, Violated
from sapo_gates.prove.cell_signs import Unsupported, domain_interval
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.evidence import end_text, place_evidence
from sapo_gates.prove.existence import Missing, missing
from sapo_gates.prove.forms import SYMPY_GIVES_UP, forms_of, tamed
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.limits import ZERO_FROM_ABOVE, Limit, limit
from sapo_gates.prove.mixture import Part, parts_of
from sapo_gates.prove.points import corners, parameter_points
from sapo_gates.prove.removable import filled
from sapo_gates.prove.search import Scan
from sapo_gates.prove.sections import Branch, Section, branches_of
from sapo_gates.prove.signs import Claim, SectionProver
from sapo_gates.prove.tails import S
from sapo_gates.timelimit import OutOfTime, interrupted
from sapo_gates.verdict import Proved, Refuted, Sign, Undecided, Verdict

LEAST_SECONDS = 0.2  # for each requirement, also when others have spent the budget
SHARE = 0.75  # of the time left that one requirement may take
CONVEX = (
    *("continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score"),
    *("nonnegative-weight", "bounded-value", "bounded-score", "first-order-agreement"),
)
"""Requirements that a mixture meets where all its parts do."""
FIRST_POINTS = 3  # corners of the parameters' domains at which a refutation by numbers is sought before a proof
SEARCH = 0.75  # of the time left that this may take
MAX_POINTS = 12  # parameter values at which a refutation is sought where nothing is shown for all
FIRST_TRY, SECOND_TRY = 20, 400  # boxes spent on each form of a weight before the next form is tried


class Requirement(Protocol):
    """A file of `requirements/`: a promise and how it is kept."""

    @property
    def ID(self) -> str:
        """Its name in certificates; never changes meaning."""
        ...

    def prove(self, case: "Case") -> Verdict:
        """Answer it for one sign of A."""
        ...

    # refute(case) -> Refuted | None, if it has one: by numbers, of a case at one parameter value


@dataclass(frozen=True)
class Settled:
    """How a claim about one section ended, and the form of the weight that ended it."""

    branch: Branch
    section: Section
    outcome: Closed | Violated | Open


@dataclass
class Case:
    """One sign of A; requirements read it and leave it unchanged but for what it remembers.

    cell: the part of the parameters' domains that it is about; all of them, unless given. known: the parts of
    mixtures, which may be those of other cases too. is_part: only proofs are of use.
    """

    gate: Gate
    side: Sign
    budget: Budget
    cell: Mapping[Parameter, Domain] | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    claims: dict[Claim, tuple[Settled, ...]] = field(default_factory=dict)
    known: dict[str, "Case"] = field(default_factory=dict)
    is_part: bool = False

    def verdict(self, requirement: Requirement) -> Verdict:
        """The requirement's verdict, sought once: for all parameters, and where that fails, a refutation at some."""
        if requirement.ID not in self.verdicts:
            whole = self.budget
            self.budget = replace(whole, deadline=time.process_time() + SHARE * whole.left)
            found = self._sought(requirement)
            self.budget = whole
            if isinstance(found, Undecided) and self.cell is None and not self.is_part:
                found = self._refuted_at_points(requirement) or found
            if isinstance(found, Undecided) and self.cell is not None:  # the next that asks may have more time
                return found
            self.verdicts[requirement.ID] = found
        return self.verdicts[requirement.ID]

    def _sought(self, requirement: Requirement) -> Verdict:
        """The verdict; what the machinery cannot place is undecided, and says why."""
        try:
            return interrupted(
                max(self.budget.left, LEAST_SECONDS),
                lambda: (
                    self._refuted_by_numbers(requirement)
                    or self._by_parts(requirement)
                    or self._founded(requirement.prove(self))
                ),
            )
        except OutOfTime:
            return Undecided(method="time", left="the budget ended in the middle of a rewriting of the formula")
        except Unsupported as error:
            return Undecided(method="placing the corners", left=str(error))
        except Undefined as error:
            return Undecided(method="enclosure", left=str(error))
        except SYMPY_GIVES_UP as error:
            return Undecided(method="rewriting", left=f"SymPy gives up on the formula: {str(error)[:200]}")

    def seek_refutations(self, requirements: Iterable[Requirement]) -> None:
        """Settle what is refuted by numbers at the trained values or in a corner, before proofs take the time."""
        wanted, domains = list(requirements), {p: p.domain for p in self.parameters}
        first = min(FIRST_POINTS, len(corners(self.gate, self.side, domains)))

        def seek() -> None:
            for case in self._points[:first] or (self,):
                for one in wanted:
                    found = None if one.ID in self.verdicts else case._refuted_by_numbers(one)
                    if found is not None:
                        self.verdicts[one.ID] = found

        with suppress(OutOfTime):
            interrupted(max(SEARCH * self.budget.left, LEAST_SECONDS), seek)

    def _refuted_by_numbers(self, requirement: Requirement) -> Refuted | None:
        """A refutation that needs no proof, of a case at one parameter value."""
        refute = getattr(requirement, "refute", None)
        if refute is None or self.is_part or (self.cell is None and self.parameters):
            return None
        with suppress(Unsupported, Undefined, *SYMPY_GIVES_UP):
            found = refute(self)
            return None if found is None else cast(Refuted, self._founded(found))

    @property
    def declares(self) -> tuple[Literal["value", "weight"], ...]:
        """The quantities whose breaks count: a derived f has none of its own."""
        return ("value", "weight") if self.gate.kind == "value" else ("weight",)

    @cached_property
    def scan(self) -> Scan:
        """w at many ratios, of a case at one parameter value."""
        (branch,) = self.branches
        return Scan(self.gate, self.side, branch)

    def _by_parts(self, requirement: Requirement) -> Proved | None:
        """A proof for every part of a mixture."""
        if requirement.ID not in CONVEX:
            return None
        shown, methods = [], set()
        for part, case in self.parts:
            case.budget = self.budget
            verdicts = [case.verdict(one) for one in (requirement, *getattr(requirement, "OF_PARTS_TOO", ()))]
            if not isinstance(verdicts[0], Proved) or not all(isinstance(one, Proved) for one in verdicts):
                return None
            shown.append({**part.entry, **verdicts[0].evidence})
            methods.add(verdicts[0].method)
        return Proved(method=f"by parts: {'; '.join(sorted(methods))}", evidence={"parts": shown}) if shown else None

    @cached_property
    def parts(self) -> tuple[tuple[Part, "Case"], ...]:
        """The parts of which the formula is a mixture, if it is one."""
        declared = self.gate.declared(self.side)
        is_single = self.is_part and len([term for term in Add.make_args(declared) if term.has(r, z)]) == 1
        parts = () if self.cell is not None or is_single else parts_of(self.gate, self.side)
        cases = [Case(part.gate, self.side, self.budget, known=self.known, is_part=True) for part in parts]
        return tuple(
            (part, self.known.setdefault(part.gate.text, case)) for part, case in zip(parts, cases, strict=True)
        )

    def refuse_nowhere(self) -> None:
        """Refuse a formula that does not exist at some parameter value.

        Raises:
            GateTextError: there is one.
        """
        with suppress(OutOfTime, Unsupported, Undefined, *SYMPY_GIVES_UP):
            gap = interrupted(max(SHARE * self.budget.left, LEAST_SECONDS), lambda: self.gap)
            if gap is not None:
                gap.refuse(self.gate, self.side)

    @cached_property
    def gap(self) -> Missing | None:
        """What is not shown to exist for every parameter, or None."""
        if self.parts and all(case.gap is None for _, case in self.parts):
            return None
        return next((gap for branch in self.branches if (gap := missing(branch, self.budget)) is not None), None)

    def _founded(self, verdict: Verdict) -> Verdict:
        """A proof only of a formula that exists; a refutation with the sections around its witness, if not its own."""
        if isinstance(verdict, Proved) and self.gap is not None:
            left = f"whether {self.gap.operation} exists is not shown"
            return Undecided(method="existence", left=f"{left} {self.scope}" if self.parameters else left)
        if isinstance(verdict, Refuted) and "sections" not in verdict.evidence:
            place = place_evidence(self.branches, verdict.witness)
            return replace(verdict, evidence={**place, **verdict.evidence})
        return verdict

    def _refuted_at_points(self, requirement: Requirement) -> Refuted | None:
        """A refutation at single parameter values, where corners can be placed that cannot be for all."""
        until = time.process_time() + self.budget.left / 2
        for case in self._points:
            share = (until - time.process_time()) / 3
            if share < LEAST_SECONDS:
                return None
            case.budget = replace(self.budget, deadline=time.process_time() + share)
            found = case.verdict(requirement)
            if isinstance(found, Refuted):
                return found
        return None

    @cached_property
    def _points(self) -> "tuple[Case, ...]":
        """The same gate at single parameter values."""
        if not self.parameters:
            return ()
        points = islice(parameter_points(self.gate, self.side, {p: p.domain for p in self.parameters}), MAX_POINTS)
        cells = [{p: Domain(point[p], point[p], False, False) for p in self.parameters} for point in points]
        return tuple(Case(self.gate, self.side, self.budget, cell) for cell in cells)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters this branch depends on."""
        return self.gate.parameters_for(self.side)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branch on cells of its parameter domain.

        Raises:
            Unsupported: a corner that cannot be placed.
        """
        if isinstance(self._placed, Unsupported):
            raise self._placed
        return self._placed

    @cached_property
    def _placed(self) -> tuple[Branch, ...] | Unsupported:
        """The same, or why it cannot be, which is not sought twice."""
        cell = {p: p.domain for p in self.parameters} if self.cell is None else self.cell
        try:
            return branches_of(self.gate.kind, self.gate.declared(self.side), cell)
        except Unsupported as error:
            return error

    @property
    def scope(self) -> str:
        """The domain a verdict is for, in words."""
        if not self.parameters:
            return "the gate as it stands"
        return "for all " + ", ".join(f"{p.name} in {p.domain}" for p in self.parameters)

    def claim(self, claim: Claim) -> tuple[Settled, ...]:
        """The claim on every section of every branch, each with the first form of the weight that settles it."""
        if claim not in self.claims:
            found = tuple(
                self._settle(branch, section, claim) for branch in self.branches for section in branch.sections
            )
            if self.cell is not None and self.budget.is_spent:
                return found
            self.claims[claim] = found
        return self.claims[claim]

    def _settle(self, branch: Branch, section: Section, claim: Claim) -> Settled:
        provers: list[SectionProver] = []
        for form in forms_of(section.weight):
            provers.append(SectionProver(branch, replace(section, weight=form)))
            for quick in (True, False):
                outcome = provers[-1].settle(claim, Budget(self.budget.deadline, FIRST_TRY), quick=quick)
                if not isinstance(outcome, Open):
                    return Settled(branch, provers[-1].section, outcome)
        if self.parameters and self.cell is None and not self.is_part:  # else numbers have been tried, or are of no use
            found = provers[0].hunt(claim, parameter_points(self.gate, self.side, branch.all_domains))
            if found is not None:
                return Settled(branch, provers[0].section, found)
        for prover in provers:
            outcome = prover.settle(claim, Budget(self.budget.deadline, SECOND_TRY))
            if not isinstance(outcome, Open):
                return Settled(branch, prover.section, outcome)
        return Settled(branch, provers[0].section, provers[0].settle(claim, self.budget))


def first_open(settled: Sequence[Settled]) -> str | None:
    """The first box that was not closed, in words, or None."""
    for one in settled:
        if not isinstance(one.outcome, Closed):
            parts = [f"{s} in [{end_text(b.lower)}, {end_text(b.upper)}]" for s, b in one.outcome.box.items()]
            return f"not settled on {', '.join(parts)} ({one.branch.chart.kind} chart)"
    return None


@dataclass(frozen=True)
class OneSided:
    """A one-sided limit at a breakpoint: an expression in the parameters, or a limit that was enclosed."""

    expression: Expr | None
    limit: Limit | None

    def enclosure(self, ranges: dict[sympy.Symbol, Interval]) -> Interval:
        """The limit's range.

        Raises:
            Undefined: infinite, or not known.
        """
        if self.expression is not None:
            return compiled(self.expression)(ranges)
        if self.limit is None:
            raise Undefined("no limit known")
        return self.limit.finite


def one_sided(section: Section, expression: Expr, end: Literal["lower", "upper"], branch: Branch) -> OneSided:
    """The limit of the expression, which is to exist, at that end of its section, from inside."""
    at = getattr(section, f"t_{end}")
    point = sympy.Rational(at.numerator, at.denominator)
    ranges = {p: domain_interval(domain) for p, domain in branch.all_domains.items()}
    value = substitute(expression, {section.t: point})
    if not value.has(sympy.nan, sympy.zoo, sympy.oo):
        try:
            # the value is the limit only where the expression is continuous: sympy takes 0 * erfi(1/0) for 0
            compiled(expression)({**ranges, section.t: Interval.of(at, at)})
            return OneSided(value, None)
        except Undefined:
            pass
    removed = filled(expression, section.t, point, ranges)
    if removed is not None:
        return OneSided(removed, None)
    if isinstance(expression, sympy.Add):  # a bump that vanishes at its edge, and what goes on there
        terms = [one_sided(section, term, end, branch).expression for term in expression.args]
        if None not in terms:
            return OneSided(sympy.Add(*terms), None)
    inwards = point + S if end == "lower" else point - S
    near = substitute(expression, {section.t: inwards})
    for form in (near, near.replace(lambda e: e.is_Add, lambda e: tamed(sympy.factor, e))):
        try:
            found = limit(form, S, ZERO_FROM_ABOVE, ranges)
        except (Undefined, KeyError):
            continue
        if found.interval is not None and found.interval.is_point:
            mantissa, exponent = (int(part) for part in found.interval.lower.man_exp())
            return OneSided(sympy.Integer(mantissa) * sympy.Integer(2) ** exponent, found)
        return OneSided(None, found)
    return OneSided(None, None)
