"""`sapo-gates audit`: what a loss or gate in torch really does, property by property."""

import argparse
import json

from sapo_gates.certificate import DEFAULT_BUDGET
from sapo_gates.commands.common import Command, bound, seconds, takes_json, takes_set
from sapo_gates.errors import AuditError
from sapo_gates.gatefile import load_gate


def add(command: Command) -> None:
    """The command."""
    audited = command("audit", _audit, "what a loss or gate in torch really does, property by property")
    audited.add_argument("function", metavar="PKG.MODULE:FUNCTION", help="a gate, a policy loss, a trainer's loss")
    audited.add_argument("--against", metavar="GATE", help="the gate it claims to be")
    takes_set(audited, "the parameters of that gate: tau=10, or positive.tau=10")
    audited.add_argument(
        "--knob",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what the function is called with: a number, a word, or pkg.module:NAME",
    )
    audited.add_argument(
        "--as", dest="shape", metavar="SHAPE", help="how it is called; default: by its parameters' names"
    )
    audited.add_argument("--budget", default=f"{DEFAULT_BUDGET:g}s", help="CPU time for proofs about its formula")
    takes_json(audited)


def _audit(options: argparse.Namespace) -> int:
    try:
        from sapo_gates.torch.audit import audit
        from sapo_gates.torch.audit.report import table
        from sapo_gates.torch.audit.shapes import imported, knob
    except ImportError as error:
        raise AuditError(
            f"an audit runs the function with torch, which is not installed ({error}); install it."
        ) from error
    if options.set and not options.against:
        raise AuditError("--set is about the gate of --against, which is not given; name it, or use --knob NAME=VALUE.")
    found = audit(
        imported(options.function),
        name=options.function.rpartition(":")[2],
        against=bound(load_gate(options.against), options) if options.against else None,
        shape=options.shape,
        knobs=dict(knob(text) for text in options.knob),
        budget=seconds(options.budget),
    )
    print(json.dumps(found.to_json(), indent=1, ensure_ascii=False) if options.json else table(found))
    return 0 if found.holds else 1
