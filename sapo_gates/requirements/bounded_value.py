"""bounded-value: no token can buy an arbitrarily large objective.

Says: sup |f(r) - f(1)| < oo over (0, oo), for each parameter in the domain.
Why: an unbounded objective term rewards pushing one token's ratio without end.
Proof: f (or, where only w is declared, w) is continuous inside every section with finite limits at every breakpoint,
    f has finite limits as r -> 0 and r -> oo; where f is only known as the integral of w, phi falls like a power of r.
Fails: hard clipping for A <= 0, where f = r; f = log r, whose phi is 1 also as r -> 0.
Source: requirement 6 of the profile trust-region.
"""

from sympy import Integer

from sapo_gates.prove.case import Case
from sapo_gates.prove.ends import (
    integrable_near_zero,
    limit_near_infinity,
    near_zero,
    open_inside,
    vanishes_near_infinity,
)
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.joins import Quantity
from sapo_gates.prove.signs import Claim
from sapo_gates.prove.tails import Head, Tail
from sapo_gates.prove.witness import lower_bounded_tail
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "bounded-value"


def prove(case: Case) -> Verdict:
    """Inside, then towards both ends."""
    quantity: Quantity = "value" if case.gate.kind == "value" else "weight"
    zeros, infinities = [], []
    for branch in case.branches:
        first, last = branch.sections[0], branch.sections[-1]
        if first.value is not None and last.value is not None:
            at_zero = near_zero(branch, Integer(1), first.value)
            at_infinity = limit_near_infinity(branch, Integer(1), last.value)
        else:
            at_zero, at_infinity = integrable_near_zero(branch), vanishes_near_infinity(branch, integrably=True)
        if at_infinity is None:
            found = _unbounded(case, Tail(branch, last))
            if found is not None:
                return found
        if at_zero is None:
            found = _unbounded(case, Head(branch, first))
            if found is not None:
                return found
        if at_zero is None or at_infinity is None:
            where = "0" if at_zero is None else "oo"
            return Undecided(method="limit of f", left=f"whether f is bounded as r -> {where} is not shown")
        zeros.append(at_zero)
        infinities.append(at_infinity)
    claim: Claim = "value defined" if quantity == "value" else "weight defined"
    left = open_inside(case, quantity, case.claim(claim))
    if left is not None:
        return Undecided(method="continuity of f", left=left)
    evidence = cells_evidence(case, claim, zero=zeros, infinity=infinities)
    return Proved(method="continuity and finite limits of f", evidence=evidence)


def _unbounded(case: Case, tail: Tail) -> Refuted | None:
    """By phi, of which f is the integral over log r; where f exists, for poles may cancel in f', as in atan(tan(r))."""
    if tail.section.value is not None and case.gap is not None:
        return None
    found = lower_bounded_tail(case.gate, case.side, tail)
    return None if found is None else Refuted(method="phi bounded away from 0", witness=found[0], evidence=found[1])
