"""monotone-decay: the further a token has drifted, the weaker it pulls.

Says: w is non-decreasing on (0, 1] and non-increasing on [1, oo), for every parameter in the domain.
Why: a weight that rises again gives a token that is already far off-policy a second wind.
Proof: on every section between breakpoints the sign of w', box by box (rules in prove/signs.py); at every breakpoint
    away from r = 1 the sign of the jump, since a weight may fall on each piece and rise between them.
Fails: the sigmoid gate with a bump of height 1e-6 at r = 37.
Source: arXiv:2602.19345v2, section 4, (iii).
"""

from sapo_gates.prove import witness
from sapo_gates.prove.boxes import Closed, Violated
from sapo_gates.prove.case import Case, first_open
from sapo_gates.prove.evidence import cells_evidence
from sapo_gates.prove.joins import joins_of
from sapo_gates.verdict import Proved, Refuted, Undecided, Verdict

ID = "monotone-decay"
RISES = "w jumps upwards, away from r = 1"


def refute(case: Case) -> Refuted | None:
    """A jump upwards, or two ratios between which w grows."""
    for join in joins_of(case.scan.branch, "weight"):
        is_sought = join.is_plain and join.at != join.branch.chart.on_policy
        found = join.witness(case.gate, case.side, RISES, rising=True) if is_sought else None
        if found is not None:
            return Refuted(method="jump at a breakpoint", witness=found, evidence={})
    found = case.scan.growth()
    return None if found is None else Refuted(method="w at two ratios", witness=found, evidence={})


def prove(case: Case) -> Verdict:
    """Sections first, then the jumps between them."""
    for settled in case.claim("decay"):
        if isinstance(settled.outcome, Violated):
            found = witness.growth(case.gate, case.side, settled.branch, settled.section, settled.outcome.box)
            if found is not None:
                return Refuted(method="sign of w'", witness=found, evidence={})
    joins = [join for branch in case.branches for join in joins_of(branch, "weight")]
    for join in joins:
        if join.rises is not False:
            found = join.witness(case.gate, case.side, RISES, rising=True)
            if found is not None:
                return Refuted(method="jump at a breakpoint", witness=found, evidence={})
    at_one = [join for join in joins if join.at == join.branch.chart.on_policy and join.is_below_a_side is not False]
    for join in at_one:
        found = witness.dip(case.gate, case.side, join.branch)
        if found is not None:
            return Refuted(method="value at r = 1", witness=found, evidence={})
    left = first_open(case.claim("decay"))
    if left is not None:
        return Undecided(method="sign of w'", left=left)
    if any(isinstance(settled.outcome, Violated) for settled in case.claim("decay")):
        return Undecided(method="sign of w'", left="w' has the wrong sign somewhere, but no exact pair was found")
    alone = [join for join in joins if join.stands_alone]
    if alone:
        return Undecided(
            method="value at a breakpoint", left=f"at {alone[0].place} the text gives w a value of its own"
        )
    if at_one:
        return Undecided(method="value at r = 1", left="whether w(1) is at least both its limits there is not enclosed")
    uncertain = [join for join in joins if join.rises is None]
    if uncertain:
        return Undecided(method="jump at a breakpoint", left=f"the jump at {uncertain[0].place} is not enclosed")
    rules = {leaf.rule for s in case.claim("decay") if isinstance(s.outcome, Closed) for leaf in s.outcome.leaves}
    return Proved(method=f"sign of w' by {', '.join(sorted(rules))}", evidence=cells_evidence(case, "decay"))
