"""`sapo-gates numerics`: the exported torch function held against its formula: evidence, no proof."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sapo_gates.adapters.certified import certificate_of
from sapo_gates.commands.common import CONDITION, EXIT, Command, takes_json, write
from sapo_gates.errors import ExportError

DTYPES = ("float64", "float32", "bfloat16", "float16")


def add(command: Command) -> None:
    """The command."""
    measured = command(
        "numerics", _numerics, "the exported torch function held against its formula: evidence, no proof"
    )
    measured.add_argument(
        "gate", metavar="GATE", help="a family's name, a gate file, pkg.module:NAME, or a certificate"
    )
    measured.add_argument("--dtype", choices=DTYPES, default="float32", help="of the log-ratios (default: float32)")
    measured.add_argument(
        "--exhaustive",
        action="store_true",
        help="every number of 16 bits (a minute), or of float32 (forty hours of one core; Ctrl-C ends it with what "
        "was tried)",
    )
    measured.add_argument("--first", type=int, metavar="BITS", default=0, help="float32: begin at these bits")
    measured.add_argument("--last", type=int, metavar="BITS", default=2**32, help="float32: end before these bits")
    measured.add_argument("-o", "--output", metavar="FILE", help="write the certificate with the evidence in it")
    takes_json(measured)


def _numerics(options: argparse.Namespace) -> int:
    """0 if everything holds, 1 if not, 3 if an interrupt left numbers untried."""
    numerics, surrogate = torch_modules("numerics")
    certificate = certificate_of(options.gate)
    gate = surrogate(certificate, allow_uncertified=True)
    complete = True
    if not options.exhaustive:
        evidence = numerics.check(gate, (numerics.DTYPES[options.dtype],))
    elif options.dtype != "float32":
        evidence = numerics.check_every(gate, numerics.DTYPES[options.dtype])
    else:
        first, last = options.first, options.last
        evidence = numerics.check_float32(gate, first, last, _Bar(last - first).advance)
        complete = bool(evidence) and evidence[0]["bits"] == [first, last]
        print(file=sys.stderr)
    if options.output:
        write(options.output, certificate.with_numerics(evidence).save)
    if options.json:
        print(
            json.dumps(
                {"gate": certificate.gate.name, "digest": certificate.gate.digest, "numerics": evidence}, indent=1
            )
        )
    else:
        print("\n".join(numerics_lines(evidence)))
    if not all(entry["holds"] for entry in evidence):
        return EXIT["refuted"]
    return EXIT["certified" if complete else "undecided"]


def torch_modules(what: str) -> tuple[Any, Any]:
    """The modules that need torch: numerics, and surrogate."""
    try:
        from sapo_gates.torch import numerics, surrogate
    except ImportError as error:
        raise ExportError(f"{what} runs a torch function, and torch is not installed ({error}); install it.") from error
    return numerics, surrogate


class _Bar:
    """How far it is and how long it will take, on one line of stderr."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.start = total, 0, time.monotonic()

    def advance(self, count: int) -> None:
        """After count more."""
        self.done += count
        left = (time.monotonic() - self.start) * (self.total - self.done) / max(1, self.done)
        filled = "#" * (30 * self.done // self.total)
        print(f"\r[{filled:<30}] {self.done:,} of {self.total:,}, {left / 60:.0f} min left ", end="", file=sys.stderr)


def numerics_lines(evidence: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each entry."""
    for entry in evidence:
        mark = "✓" if entry["holds"] else "✗"
        where = " of those with bits in [{}, {})".format(*entry["bits"]) if "bits" in entry else ""
        how = "of every number" if entry["kind"] == "exhaustive" and not where else f"in {entry['kind']} numbers{where}"
        yield (
            f"  {mark} {entry['quantity']:<6} {entry['dtype']:<9} {CONDITION[entry['sign']]:<7} "
            f"worst {entry['worst_ulp']:.2f} ulp at z = {entry['worst_input']}, {entry['examples']} tried {how}"
        )
