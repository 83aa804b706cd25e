"""nonnegative-weight: no token is pushed against its own advantage.

Says: w(r) >= 0 for every r > 0 and every parameter in the domain.
Why: a negative weight turns "reinforce this token" into "suppress it" once it has drifted.
Proof: the enclosure of w on boxes that cover every section.
Fails: ppo-rb, whose weight is -alpha outside the trust region; spo beyond r = 1 + epsilon.
Source: requirement 5 of the profile trust-region.
"""

from sapo_gates.prove import witness
from sapo_gates.prove.boxes import Closed, Violated
from sapo_gates.prove.case import Case, first_open
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.joins import joins_of
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "nonnegative-weight"


def refute(case: Case) -> Refuted | None:
    """w < 0 at some ratio."""
    found = case.scan.negative()
    return None if found is None else Refuted(method="w at one ratio", witness=found, evidence={})


def prove(case: Case) -> Verdict:
    """Section by section."""
    claims = case.claim("nonnegative")
    for settled in claims:
        if isinstance(settled.outcome, Violated):
            found = witness.negative(case.gate, case.side, settled.branch, settled.section, settled.outcome.box)
            if found is not None:
                return Refuted(method="enclosure of w", witness=found, evidence={})
    alone = [j for branch in case.branches for j in joins_of(branch, "weight") if j.stands_alone]
    if alone:
        return Undecided(
            method="value at a breakpoint", left=f"at {alone[0].place} the text gives w a value of its own"
        )
    if all(isinstance(settled.outcome, Closed) for settled in claims):
        return Proved(method="enclosure of w", evidence=cells_evidence(case, "nonnegative"))
    return Undecided(
        method="enclosure of w", left=first_open(claims) or "w < 0 somewhere, but no exact ratio was found"
    )
