"""unit-peak: no token pulls harder than an on-policy one.

Says: w(1) = 1, and w(r) <= 1 for every r > 0 and every parameter in the domain.
Why: w multiplies the policy gradient; a weight above 1 rewards a token for being off-policy.
Proof: w(1) = 1 exactly, as an identity, and a declared f does not jump there; then either monotone-decay, or w <= 1 box
    by box, where next to r = 1 the sign of w' decides. Bisection alone can never do this: w touches 1 at r = 1, and an
    interval that touches a bound decides nothing.
Fails: f = r^2/2, whose w(2) = 2.
Source: arXiv:2602.19345v2, section 4, (ii).
"""

from sympy import Integer

from sapo_gates.prove import witness
from sapo_gates.prove.boxes import Closed, Violated
from sapo_gates.prove.case import Case, first_open
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.joins import joins_of
from sapo_gates.requirements import first_order_agreement, monotone_decay
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "unit-peak"
OF_PARTS_TOO = (first_order_agreement,)
"""Where one part says what it is at r = 1 and another is 0/0 there, the mixture's weight is a limit."""


def refute(case: Case) -> Refuted | None:
    """w(1) is another number, or w > 1 at some ratio."""
    branch = case.scan.branch
    for join in joins_of(branch, "weight"):
        is_sought = join.is_plain and join.at == branch.chart.on_policy
        found = join.not_one(case.gate, case.side) if is_sought else None
        if found is not None:
            return Refuted(method="w(1)", witness=found, evidence={})
    found = case.scan.excess()
    return None if found is None else Refuted(method="w at one ratio", witness=found, evidence={})


def prove(case: Case) -> Verdict:
    """w(1) = 1 first: everything else is relative to it."""
    at_one = [
        join for branch in case.branches for join in joins_of(branch, "weight") if join.at == branch.chart.on_policy
    ]
    only_declared = False
    for join in at_one:
        sides = [side.expression for side in join.sides]
        approached = all(side is not None and is_identity(side, Integer(1)) for side in sides)
        there = join.declared_there
        if approached if there is None else is_identity(there, Integer(1)):
            only_declared |= not approached
            continue
        found = join.not_one(case.gate, case.side)
        if found is not None:
            return Refuted(method="w(1)", witness=found, evidence={})
        found = join.witness(case.gate, case.side, "w(1) does not exist: w jumps")
        if there is None and found is not None:
            return Refuted(method="w(1)", witness=found, evidence={})
        return Undecided(method="w(1)", left="w(1) = 1 is not shown as an identity in the parameters")
    values = (
        [join for branch in case.branches for join in joins_of(branch, "value")] if case.gate.kind == "value" else []
    )
    for join in values:
        if join.at == join.branch.chart.on_policy and not (join.is_smooth and join.fills):
            found = join.witness(case.gate, case.side, "w(1) does not exist: f jumps")
            if found is not None:
                return Refuted(method="w(1)", witness=found, evidence={})
            return Undecided(method="w(1)", left="whether f is continuous at r = 1 is not shown")
    for branch in case.branches:
        for join in joins_of(branch, "weight"):
            if join.stands_alone:
                found = witness.peak_at(case.gate, case.side, branch, join.at)
                if found is not None:
                    return Refuted(method="value at a breakpoint", witness=found, evidence={})
                return Undecided(
                    method="value at a breakpoint", left=f"at {join.place} the text gives w a value of its own"
                )
    decay = case.verdict(monotone_decay)
    if isinstance(decay, Proved):
        return Proved(method="w(1) = 1 and monotone-decay", evidence=cells_evidence(case, "decay"))
    if only_declared:
        return Undecided(method="w <= 1", left="w jumps at r = 1 and is not shown to fall on both sides")
    bounded = case.claim("at most one")
    for settled in bounded:
        if isinstance(settled.outcome, Violated):
            found = witness.excess(case.gate, case.side, settled.branch, settled.section, settled.outcome.box)
            if found is not None:
                return Refuted(method="w <= 1", witness=found, evidence={})
    if all(isinstance(settled.outcome, Closed) for settled in bounded):
        evidence = cells_evidence(case, "at most one")
        return Proved(method="w(1) = 1 and w <= 1 box by box", evidence=evidence)
    return Undecided(method="w <= 1", left=first_open(bounded) or "w > 1 somewhere, but no exact ratio was found")
