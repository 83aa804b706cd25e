"""vanishing-score: a token that has run away stops pulling.

Says: phi(r) = r w(r) -> 0 as r -> oo, for every parameter in the domain.
Why: phi, not w, multiplies A grad log pi. w = 1/(1 + tau |r - 1|) vanishes, but its phi tends to 1/tau: such tokens
    never let go.
Proof: on the last section, term by term: phi's limit in a form without indeterminate operations, or the limit of
    d log phi / d log r is negative (rules in prove/tails.py). Limits are evaluated with enclosures over all parameters.
Fails: hard clipping for A <= 0, where phi = r; the leaky clip.
Source: arXiv:2602.19345v2, section 4, (iv); v1 asked only for w -> 0.
"""

import sympy

from sapo_gates.prove.case import Case
from sapo_gates.prove.ends import vanishes_near_infinity
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.tails import Tail
from sapo_gates.prove.witness import lower_bounded_tail
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "vanishing-score"


def refute(case: Case) -> Refuted | None:
    """A tail of phi that stays away from 0, sought where the numbers look like one."""
    branch = case.scan.branch
    if not case.scan.is_heavy:
        return None
    found = lower_bounded_tail(case.gate, case.side, Tail(branch, branch.sections[-1]))
    return None if found is None else Refuted(method="lower bound of phi", witness=found[0], evidence=found[1])


def prove(case: Case) -> Verdict:
    """Each parameter cell has one section that reaches to infinity."""
    tails = []
    for branch in case.branches:
        evidence = vanishes_near_infinity(branch, integrably=False)
        if evidence is not None:
            tails.append(evidence)
            continue
        tail = Tail(branch, branch.sections[-1])
        found = lower_bounded_tail(case.gate, case.side, tail)
        if found is not None:
            return Refuted(method="lower bound of phi", witness=found[0], evidence=found[1])
        return Undecided(
            method="limit of phi", left=f"the limit of r*({sympy.sstr(tail.section.weight)}) as r -> oo is not known"
        )
    rules = sorted({term["rule"] for one in tails for term in one}) or ["w = 0"]
    return Proved(method=f"limit of phi by {', '.join(rules)}", evidence=cells_evidence(case, infinity=tails))
