"""`sapo-gates recheck`: every proof of a certificate evaluated again, by the independent checker."""

import argparse
import json
import sys

from sapo_gates.certificate import load_certificate
from sapo_gates.commands.common import Command, takes_json
from sapo_gates.errors import RecheckFailed
from sapo_gates.recheck import recheck


def add(command: Command) -> None:
    """The command."""
    rechecked = command("recheck", _recheck, "evaluate every proof of a certificate again, by the independent checker")
    rechecked.add_argument("certificate", metavar="CERT.json")
    takes_json(rechecked)


def _recheck(options: argparse.Namespace) -> int:
    try:
        recheck(options.certificate)
    except RecheckFailed as error:
        if options.json:
            print(
                json.dumps(
                    {"certificate": options.certificate, "holds": False, "first": str(error)}, ensure_ascii=False
                )
            )
        print(f"RecheckFailed: {options.certificate}: {error}", file=sys.stderr)
        return 1
    certificate = load_certificate(options.certificate)
    if options.json:
        report = {"certificate": options.certificate, "holds": True, "verdict": certificate.verdict}
        print(json.dumps(report, ensure_ascii=False))
    else:
        proved = sum(requirement.verdict == "proved" for requirement in certificate.requirements)
        refuted = sum(requirement.verdict == "refuted" for requirement in certificate.requirements)
        print(
            f"{options.certificate}: holds; gate {certificate.gate.name!r} is {certificate.verdict} "
            f"({proved} proofs and {refuted} counterexamples evaluated again)"
        )
    return 0
