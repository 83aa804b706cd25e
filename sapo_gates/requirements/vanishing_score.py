"""vanishing-score: a token that has run away stops pulling.

Says: phi(r) = r w(r) -> 0 as r -> oo, for every parameter in the domain.
Why: phi, not w, multiplies A grad log pi. w = 1/(1 + tau |r - 1|) vanishes, but its phi tends to 1/tau: such tokens never
    let go.
Proof: on the last section, term by term: phi's limit in a form without indeterminate operations, or the limit of
    d log phi / d log r is negative (rules in prove/tails.py). Limits are evaluated with enclosures over all parameters.
Fails: hard clipping for A <= 0, where phi = r; the leaky clip.
Source: arXiv:2602.19345v2, section 4, (iv); v1 asked only for w -> 0.
"""

import sympy

from sapo_gates.prove import witness
from sapo_gates.prove.case import Case, section_key
from sapo_gates.prove.forms import forms_of
from sapo_gates.prove.sections import Branch
from sapo_gates.prove.tails import Tail
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict, Witness

ID = "vanishing-score"


def prove(case: Case) -> Verdict:
    """Each parameter cell has one section that reaches to infinity."""
    evidence = []
    for branch in case.branches:
        tail = Tail(branch, branch.sections[-1])
        for form in forms_of(tail.section.weight):
            terms = tail.vanishing_terms(form)
            if terms is not None:
                key = section_key(branch, tail.section)
                evidence.append({**key, "weight": sympy.sstr(form), "terms": terms})
                break
        else:
            found = _does_not_vanish(case, branch, tail)
            if found is not None:
                return found
            return Undecided(
                method="limit of phi", left=f"the limit of r*({sympy.sstr(tail.section.weight)}) as r -> oo is not known"
            )
    rules = sorted({term["rule"] for one in evidence for term in one["terms"]})
    return Proved(method=f"limit at infinity by {', '.join(rules)}", evidence={"tails": evidence})


def _does_not_vanish(case: Case, branch: Branch, tail: Tail) -> Refuted | None:
    for parameters in witness.parameter_points(case.gate, case.side, branch.all_domains):
        bound = tail.lower_bound(tail.section.weight, parameters)
        if bound is None:
            continue
        start = witness.ratio_at(branch, tail.section, bound.start, parameters)
        if start is None:
            continue
        c, lower_text = witness.rational(bound.bound), "phi" if bound.sign > 0 else "-phi"
        enclosure = (str(c), "oo") if bound.sign > 0 else ("-oo", str(-c))
        found = Witness(
            kind="tail",
            r=(str(start),),
            parameters=witness.names(parameters),
            enclosure=(enclosure,),
            why=f"{lower_text} >= {c} on [{start}, oo)",
        )
        proof = {**section_key(branch, tail.section), "start": str(bound.start), "rule": bound.rule, "form": bound.form}
        return Refuted(method=f"lower bound by {bound.rule}", witness=found, evidence={"tail": proof})
    return None
