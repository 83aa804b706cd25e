"""continuously-differentiable: the gate has no corner that a token can sit on.

Says: f is C^1 on (0, oo), across every piece boundary, for every parameter in the domain.
Why: at a corner the gradient weight jumps, so two tokens with almost the same ratio are treated differently.
Proof: f (where it is the declared formula) and w are defined and continuous inside every section, by enclosure on boxes
    that cover it; at every breakpoint the one-sided limits of f and of w agree as expressions in the parameters.
Fails: hard clipping, whose weight falls from 1 to 0 at r = 1 + epsilon.
Source: arXiv:2602.19345v2, section 4, (i).
"""

from sapo_gates.prove import witness
from sapo_gates.prove.boxes import Closed
from sapo_gates.prove.case import Case, Settled, first_open
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.joins import NAMES, Quantity, joins_of
from sapo_gates.prove.signs import Claim
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "continuously-differentiable"
DEFINED: dict[Quantity, Claim] = {"value": "value defined", "weight": "weight defined"}


def refute(case: Case) -> Refuted | None:
    """A jump of f or w, or a pole."""
    branch = case.scan.branch
    for join in (join for quantity in case.declares for join in joins_of(branch, quantity)):
        found = join.witness(case.gate, case.side, f"{join.name} jumps") if join.is_plain else None
        if found is not None:
            return Refuted(method="one-sided limits", witness=found, evidence={})
    found = case.scan.pole()
    return None if found is None else Refuted(method="pole", witness=found, evidence={})


def prove(case: Case) -> Verdict:
    """Inside the sections, then across the breakpoints."""
    quantities = case.declares
    inside: dict[Quantity, tuple[Settled, ...]] = {"weight": case.claim("weight defined")}
    if "value" in quantities:
        inside["value"] = case.claim("value defined")
    for quantity in quantities:
        for settled in inside[quantity]:
            if not isinstance(settled.outcome, Closed):
                found = witness.undefined(
                    case.gate, case.side, settled.branch, settled.section, settled.outcome.box, quantity
                )
                if found is not None:
                    return Refuted(method="definedness", witness=found, evidence={})
    joins = [join for q in quantities for branch in case.branches for join in joins_of(branch, q)]
    for join in joins:
        if not join.is_smooth:
            found = join.witness(case.gate, case.side, f"{join.name} jumps")
            if found is not None:
                return Refuted(method="one-sided limits", witness=found, evidence={})
    for quantity in quantities:
        left = first_open(inside[quantity])
        if left is not None or not all(isinstance(s.outcome, Closed) for s in inside[quantity]):
            return Undecided(method="definedness", left=f"{NAMES[quantity]} {left or 'is undefined somewhere'}")
    for join in joins:
        if not (join.is_smooth and join.fills):
            return Undecided(
                method="one-sided limits",
                left=f"whether {join.name} is continuous at {join.place} is not shown",
            )
    claims: list[Claim] = [DEFINED[quantity] for quantity in quantities]
    evidence = cells_evidence(case, *claims)
    return Proved(method="enclosure of f and w, identity at breakpoints", evidence=evidence)
