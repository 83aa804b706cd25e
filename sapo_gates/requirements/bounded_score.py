"""bounded-score: no single token can dominate a gradient.

Says: sup |phi| < oo over (0, oo), for each parameter in the domain.
Why: phi = r w is what multiplies A grad log pi; unbounded, one token with a large ratio outweighs a whole batch.
Proof: w is continuous inside every section with finite limits at every breakpoint, and phi has finite limits as r -> 0
    and r -> oo.
Fails: hard clipping for A <= 0, where phi = r.
Source: requirement 7 of the profile trust-region.
"""

from sapo_gates.prove.case import Case
from sapo_gates.prove.ends import limit_near_infinity, near_zero, open_inside, vanishes_near_infinity
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.tails import Head, Tail
from sapo_gates.prove.witness import unbounded_score
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "bounded-score"


def prove(case: Case) -> Verdict:
    """Inside, then towards both ends."""
    zeros, infinities = [], []
    for branch in case.branches:
        first, last = Head(branch, branch.sections[0]), Tail(branch, branch.sections[-1])
        at_infinity = vanishes_near_infinity(branch, integrably=False)
        if at_infinity is None:
            at_infinity = limit_near_infinity(branch, last.ratio, last.section.weight)
        if at_infinity is None:
            found = unbounded_score(case.gate, case.side, last)
            if found is not None:
                return Refuted(method="limit of phi", witness=found[0], evidence=found[1])
            return Undecided(method="limit of phi", left="whether phi is bounded as r -> oo is not shown")
        at_zero = near_zero(branch, first.ratio, first.section.weight)
        if at_zero is None:
            found = unbounded_score(case.gate, case.side, first)
            if found is not None:
                return Refuted(method="limit of phi", witness=found[0], evidence=found[1])
            return Undecided(method="limit of phi", left="whether phi is bounded as r -> 0 is not shown")
        zeros.append(at_zero)
        infinities.append(at_infinity)
    left = open_inside(case, "weight", case.claim("weight defined"))
    if left is not None:
        return Undecided(method="continuity of w", left=left)
    evidence = cells_evidence(case, "weight defined", zero=zeros, infinity=infinities)
    return Proved(method="continuity and finite limits of phi", evidence=evidence)
