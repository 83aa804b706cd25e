"""`sapo-gates certify`: a proof or a counterexample for every requirement, for both signs of A."""

import argparse
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sapo_gates.certificate import DEFAULT_BUDGET, Certificate, Requirement, certify
from sapo_gates.commands.common import (
    CONDITION,
    EXIT,
    Command,
    gate_of,
    has_folder,
    seconds,
    takes_gate,
    takes_json,
    write,
)
from sapo_gates.commands.numerics import numerics_lines, torch_modules
from sapo_gates.errors import PlotError
from sapo_gates.requirements import PROFILES
from sapo_gates.verdict import SIGNS

MARKS = {"proved": "✓", "refuted": "✗", "undecided": "?"}


def add(command: Command) -> None:
    """The command."""
    certified = command("certify", _certify, "a proof or a counterexample for every requirement, for both signs of A")
    takes_gate(certified)
    certified.add_argument("--profile", default="admissible", help=f"{' or '.join(PROFILES)} (default: admissible)")
    certified.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="TEXT",
        help="a requirement of your own, such as 'half_width <= 0.2' or 'sup score <= 1.1'",
    )
    certified.add_argument(
        "--budget",
        default=f"{DEFAULT_BUDGET:g}s",
        help="CPU time for all proofs, such as 60s; what is open then is undecided",
    )
    certified.add_argument(
        "--numerics",
        action="store_true",
        help="also sample the exported torch function against its formula (needs torch)",
    )
    certified.add_argument("--plot", metavar="FILE", help="draw the weight and each witness: .png, .svg, .pdf")
    certified.add_argument("-o", "--output", metavar="FILE", help="write the certificate")
    takes_json(certified)


def _certify(options: argparse.Namespace) -> int:
    for path in (options.output, options.plot):
        if path:
            has_folder(path)
    drawing = _drawing(options.plot) if options.plot else None
    certificate = certify(gate_of(options), options.profile, require=options.require, budget=seconds(options.budget))
    if options.numerics:
        certificate = _with_numerics(certificate)
    if options.output:
        write(options.output, certificate.save)
    if drawing is not None:
        write(options.plot, lambda path: drawing(certificate, path))
    if options.json:
        print(json.dumps(_report(certificate), indent=1, ensure_ascii=False))
    else:
        print(_table(certificate))
        if options.output:
            print(f"certificate written to {options.output}")
        if options.plot:
            print(f"picture drawn to {options.plot}")
    return EXIT[certificate.verdict]


def _drawing(path: str) -> Callable[[Certificate, Path], None]:
    """Refuses a file that cannot be drawn before anything is proved."""
    try:
        from sapo_gates import plot
    except ImportError as error:
        raise PlotError(
            f"--plot draws with matplotlib, which is not installed ({error}); install 'sapo-gates[analysis]'."
        ) from error
    plot.check_ending(Path(path))
    return plot.save


def _with_numerics(certificate: Certificate) -> Certificate:
    if certificate.verdict != "certified":
        return certificate
    numerics, surrogate = torch_modules("--numerics")
    return certificate.with_numerics(numerics.check(surrogate(certificate)))


def _report(certificate: Certificate) -> dict[str, Any]:
    """The JSON object of `certify --json`: without the evidence, which is in the certificate, but with half-widths.

    The rest of the datasheet takes longer than most proofs and has a command of its own.
    """
    from sapo_gates.datasheet import widths

    whole = certificate.to_json()
    requirements = [{k: v for k, v in entry.items() if k != "evidence"} for entry in whole["requirements"]]
    return {
        "gate": certificate.gate.name,
        "digest": certificate.gate.digest,
        "profile": certificate.profile,
        "verdict": certificate.verdict,
        "requirements": requirements,
        "datasheet": widths(certificate.gate),
        "numerics": whole["numerics"],
    }


def _table(certificate: Certificate) -> str:
    """The verdicts as a person reads them: a line each, and under a counterexample the sentence it breaks."""
    gate = certificate.gate
    lines = [f"{gate.name}: {certificate.verdict.upper()} for profile {certificate.profile}", f"{gate.digest}", ""]
    for sign in SIGNS:
        entries = [r for r in certificate.requirements if r.sign == sign]
        lines.append(f"{CONDITION[sign]}, {entries[0].scope}")
        for entry in entries:
            lines.append(f"  {MARKS[entry.verdict]} {entry.id:<28} {entry.verdict:<9}  {_explained(entry)}")
            lines += [f"      {line}" for line in _witness_lines(entry)]
        lines.append("")
    if certificate.numerics:
        lines += ["exported torch function (held against the formula at numbers, not a proof)"]
        lines += numerics_lines(certificate.numerics)
        lines.append("")
    return "\n".join(lines).rstrip()


def _explained(entry: Requirement) -> str:
    return entry.method if entry.verdict == "proved" else entry.says


def _witness_lines(entry: Requirement) -> list[str]:
    witness = entry.witness
    if witness is None:
        return []
    at = ", ".join(f"{name} = {value}" for name, value in witness.parameters.items())
    ranges = ", ".join(f"[{low}, {high}]" for low, high in witness.enclosure)
    text = f"witness ({witness.kind}): r = {', '.join(witness.r)}{'; ' + at if at else ''}; enclosed in {ranges}"
    return textwrap.wrap(text, 110, subsequent_indent="  ")
