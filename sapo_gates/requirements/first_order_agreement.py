"""first-order-agreement: near the old policy the gate is the plain importance ratio.

Says: f(r) - f(1) = (r - 1) + o(r - 1).
Why: on policy, the gated objective then has the gradient of the plain policy gradient, whatever the gate.
Proof: f is C^1 and f'(1) = w(1) = 1, so it follows from continuously-differentiable and unit-peak.
Fails: sigmoid without its factor 4/tau.
Source: requirement 8 of the profile trust-region.
"""

from sapo_gates.prove.case import Case
from sapo_gates.requirements import continuously_differentiable, unit_peak
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "first-order-agreement"


def prove(case: Case) -> Verdict:
    """From the two requirements it follows from."""
    premises = {r.ID: r.prove(case) for r in (continuously_differentiable, unit_peak)}
    if all(isinstance(verdict, Proved) for verdict in premises.values()):
        return Proved(
            method="follows from continuously-differentiable and unit-peak",
            evidence={name: verdict.evidence for name, verdict in premises.items() if isinstance(verdict, Proved)},
        )
    for verdict in premises.values():
        if isinstance(verdict, Refuted) and verdict.witness.r == ("1",):
            return verdict
    open_ones = [name for name, verdict in premises.items() if not isinstance(verdict, Proved)]
    return Undecided(method="follows from other requirements", left=f"{' and '.join(open_ones)} not proved")
