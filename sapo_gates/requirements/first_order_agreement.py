"""first-order-agreement: near the old policy the gate is the plain importance ratio.

Says: f(r) - f(1) = (r - 1) + o(r - 1).
Why: on policy, the gated objective then has the gradient of the plain policy gradient, whatever the gate.
Proof: f is continuous at 1 and both one-sided limits of w there are 1, as identities in the parameters.
Fails: sigmoid without its factor 4/tau.
Source: requirement 8 of the profile trust-region.
"""

from sympy import Integer

from sapo_gates.prove.case import Case
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.joins import joins_of
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "first-order-agreement"


def refute(case: Case) -> Refuted | None:
    """w does not tend to 1 at r = 1, or f or w jumps there."""
    for join in (join for quantity in case.declares for join in joins_of(case.scan.branch, quantity)):
        if join.is_plain and join.at == join.branch.chart.on_policy:
            found = join.not_one(case.gate, case.side, approached=True) if join.quantity == "weight" else None
            found = found or join.witness(case.gate, case.side, f"{join.name} jumps at 1")
            if found is not None:
                return Refuted(method=f"{join.name} at 1", witness=found, evidence={})
    return None


def prove(case: Case) -> Verdict:
    """At the breakpoint r = 1 of every branch."""
    for branch in case.branches:
        at_one = [join for join in joins_of(branch, "weight") if join.at == branch.chart.on_policy]
        if case.gate.kind == "value":
            at_one += [join for join in joins_of(branch, "value") if join.at == branch.chart.on_policy]
        for join in at_one:
            sides = [side.expression for side in join.sides]
            if join.quantity == "weight" and not all(s is not None and is_identity(s, Integer(1)) for s in sides):
                found = join.not_one(case.gate, case.side, approached=True)
                found = found or join.witness(case.gate, case.side, "w jumps at 1")
                if found is not None:
                    return Refuted(method="w(1)", witness=found, evidence={})
                return Undecided(method="w(1)", left="w(1) = 1 is not shown as an identity in the parameters")
            if not (join.is_smooth and join.fills):
                found = join.witness(case.gate, case.side, "f jumps at 1")
                if found is not None:
                    return Refuted(method="f at 1", witness=found, evidence={})
                return Undecided(method="f at 1", left="whether f is continuous at r = 1 is not shown")
    return Proved(method="one-sided limits at r = 1", evidence=cells_evidence(case))
