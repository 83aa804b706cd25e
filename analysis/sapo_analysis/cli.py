"""sapo-analysis: curves of gates, and reports of runs."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sapo_analysis.errors import FigureError, SapoAnalysisError
from sapo_gates.errors import SapoGatesError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, or 2 for a user's mistake, told in one line."""
    os.environ["MPLBACKEND"] = "agg"  # files are written, no window opens
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        written = options.run(options, "sapo-analysis " + shlex.join(given))
    except (SapoAnalysisError, SapoGatesError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"written": [str(path) for path in written]}))
    else:
        print("\n".join(f"wrote {path}" for path in written))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sapo-analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    curves = commands.add_parser("curves", help="value, gradient weight and score weight of gates")
    curves.add_argument("gates", nargs="+", metavar="GATE", help="family name, gate file, or pkg.module:NAME")
    width = curves.add_mutually_exclusive_group()
    width.add_argument("--tau", help="temperature of every gate, both signs; default: the trained values")
    width.add_argument("--half-width", help="instead, for every gate the tau at which w(1 + HALF_WIDTH) = 1/2")
    curves.add_argument("--quantity", choices=("weight", "score", "value"), help="default: all three side by side")
    curves.add_argument("--axis", choices=("ratio", "log-ratio"), default="ratio")
    curves.add_argument("--sign", choices=("positive", "negative", "both"), default="both", help="of the advantage")
    curves.add_argument(
        "-o", "--output", action="append", required=True, type=Path, help=".png, .svg or .pdf; repeatable"
    )
    curves.set_defaults(run=_curves)

    report = commands.add_parser("report", help="one self-contained HTML page about runs")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory of sapo-train")
    report.add_argument("--certificates", type=Path, help="folder of certificates to show beside the runs' own")
    report.add_argument("-o", "--output", required=True, type=Path, help="the .html file")
    report.set_defaults(run=_report)

    for command in (curves, report):
        command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def _curves(options: argparse.Namespace, command: str) -> list[Path]:
    from sapo_analysis.curves import at_equal_half_width, at_equal_temperature, signs_figure
    from sapo_analysis.style import save
    from sapo_gates import load_gate

    gates, title = [load_gate(name) for name in options.gates], ""
    if options.tau is not None:
        gates, title = at_equal_temperature(gates, options.tau), f"equal temperature, τ = {options.tau}"
    elif options.half_width is not None:
        gates, title = at_equal_half_width(gates, options.half_width), f"equal half-width, h = {options.half_width}"
    quantities = ("value", "weight", "score") if options.quantity is None else (options.quantity,)
    baseline = None if "hard-clip" in options.gates else load_gate("hard-clip")
    panels = signs_figure(gates, quantities, options.axis, options.sign, baseline=baseline, title=title)
    figure = panels[0].get_figure(root=True)
    if figure is None:
        raise FigureError("the figure was closed before it could be written.")
    return save(figure, options.output, command)


def _report(options: argparse.Namespace, command: str) -> list[Path]:
    from sapo_analysis.report import write_report

    return [write_report(options.runs, options.output, certificates=options.certificates, command=command)]


if __name__ == "__main__":
    sys.exit(main())
