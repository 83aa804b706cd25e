"""`sapo-gates export`: a certified gate as a file without a dependency on this package."""

import argparse

from sapo_gates.adapters.certified import certificate_of
from sapo_gates.commands.common import Command, takes_gate, write
from sapo_gates.errors import ExportError
from sapo_gates.gatefile import parse_assignments


def add(command: Command) -> None:
    """The command."""
    exported = command("export", _export, "a certified gate, or a certificate's (.json), as a standalone file")
    takes_gate(exported)
    exported.add_argument(
        "--to",
        default="python",
        metavar="TARGET",
        help="python (the default), trl, verl or prime-rl: what the file is for",
    )
    exported.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: stdout)")


def _export(options: argparse.Namespace) -> int:
    try:
        from sapo_gates.export import export

        positive, negative = parse_assignments(options.set)
        text = export(certificate_of(options.gate), options.to, positive=positive, negative=negative)
    except ImportError as error:
        raise ExportError(
            f"an export is generated with torch, which is not installed ({error}); install it."
        ) from error
    if options.output:
        write(options.output, lambda path: path.write_text(text, encoding="utf-8"))
        print(f"written to {options.output}")
    else:
        print(text, end="")
    return 0
