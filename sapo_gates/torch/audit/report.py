"""An audit as a person reads it."""

import textwrap

from sapo_gates.torch.audit.audit import Audit

MARKS = {"holds": "✓", "fails": "✗", "not-applicable": "–"}
CONDITION = {"positive": "A > 0", "negative": "A <= 0"}


def table(audit: Audit) -> str:
    """A line per property and under a failure its input; then the implied weight, then what the prover says."""
    failed = sum(finding.verdict == "fails" for finding in audit.findings)
    compared = f", against {audit.against}" if audit.against else ""
    verdict = f"{failed} properties FAIL" if failed else "every property HOLDS"
    lines = [f"{audit.name} ({audit.shape}, ratio per {audit.level}{compared}): {verdict}", ""]
    width = max(len(finding.id) for finding in audit.findings)
    for finding in audit.findings:
        lines += textwrap.wrap(
            f"  {MARKS[finding.verdict]} {finding.id:<{width}}  {finding.says}",
            118,
            subsequent_indent=" " * (width + 6),
        )
        if finding.input:
            lines.append(" " * (width + 6) + "at " + ", ".join(f"{k} = {_shown(v)}" for k, v in finding.input.items()))
    for sign, rows in audit.implied.items():
        lines += ["", f"implied by the gradient, {CONDITION[sign]}", "         r   f - f(1)          w   phi = rw"]
        lines += [f"  {r:8g} {value:10.5g} {weight:10.5g} {score:10.5g}" for r, value, weight, score in rows]
    return "\n".join([*lines, "", *_proof(audit)])


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _proof(audit: Audit) -> list[str]:
    if audit.certificate is None:
        return textwrap.wrap(f"no formula was read: {audit.untraced}", 118, subsequent_indent="  ")
    gate = audit.certificate.gate
    said = f"{audit.certificate.verdict} for profile {audit.certificate.profile}"
    lines = [f"read from its graph and checked against it at many points: {said}"]
    for sign, condition in CONDITION.items():
        lines.append(f"  {condition}: {gate.kind} = {gate.declared(sign)}")  # type: ignore[arg-type]
        for requirement in audit.certificate.requirements:
            if requirement.sign == sign and requirement.verdict != "proved":
                at = f" at r = {', '.join(requirement.witness.r)}" if requirement.witness else ""
                text = f"    {requirement.id} {requirement.verdict}{at}: {requirement.says}"
                lines += textwrap.wrap(text, 118, subsequent_indent="      ")
    return lines
