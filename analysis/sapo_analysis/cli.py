"""sapo-analysis: curves of gates, what they do to learning in small exact problems, and reports of runs."""

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sapo_analysis.errors import FigureError, SapoAnalysisError
from sapo_gates.errors import SapoGatesError

if TYPE_CHECKING:
    from sapo_gates import Gate


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`.\n")


@dataclass(frozen=True)
class Answer:
    """What a command found, in words and for --json, and the files it wrote."""

    written: list[Path]
    lines: tuple[str, ...] = ()
    report: dict[str, Any] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 2 for a user's mistake, told in one line, or 130 for Ctrl-C."""
    os.environ["MPLBACKEND"] = "agg"  # files are written, no window opens
    # A user's own modules, as `python -m` finds them; last, so that they hide no other.
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        answer: Answer = options.run_command(options, "sapo-analysis " + shlex.join(given))
    except (SapoAnalysisError, SapoGatesError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        print(f"sapo-analysis: {package} is not installed; install 'sapo-gates[analysis]'.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sapo-analysis: interrupted", file=sys.stderr)
        return 130
    if options.json:
        report = {**(answer.report or {}), "written": [str(path) for path in answer.written]}
        print(json.dumps(report, allow_nan=False))
    else:
        print("\n".join((*answer.lines, *(f"wrote {path}" for path in answer.written))))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sapo-analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    curves = commands.add_parser("curves", help="value, gradient weight and score weight of gates")
    curves.add_argument("gates", nargs="+", metavar="GATE", help="family name, gate file, or pkg.module:NAME")
    width = curves.add_mutually_exclusive_group()
    width.add_argument(
        "--tau", help="temperature of every gate, both signs, or LOW:HIGH for proved bands; default: the trained values"
    )
    width.add_argument("--half-width", help="instead, for every gate the tau at which w(1 + HALF_WIDTH) = 1/2")
    width.add_argument("--sup-score", help="instead, for every gate the tau at which sup phi = SUP_SCORE")
    curves.add_argument("--quantity", choices=("weight", "score", "value"), help="default: all three side by side")
    curves.add_argument("--axis", choices=("ratio", "log-ratio"), default="ratio")
    curves.add_argument("--sign", choices=("positive", "negative", "both"), default="both", help="of the advantage")
    curves.add_argument(
        "-o", "--output", action="append", required=True, type=Path, help=".png, .svg or .pdf; repeatable"
    )
    curves.set_defaults(run_command=_curves)

    explore = commands.add_parser("explore", help="one self-contained HTML page to pick, type and move gates")
    explore.add_argument(
        "gates", nargs="*", metavar="GATE", help="family name, gate file, or pkg.module:NAME; default: every family"
    )
    explore.add_argument("-o", "--output", required=True, type=Path, help="the .html file")
    explore.set_defaults(run_command=_explore)

    report = commands.add_parser("report", help="one self-contained HTML page about runs")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory of sapo-train")
    report.add_argument("--certificates", type=Path, help="folder of certificates to show beside the runs' own")
    report.add_argument("-o", "--output", required=True, type=Path, help="the .html file")
    report.set_defaults(run_command=_report)

    compared = commands.add_parser("compare", help="gates at equal temperature beside the same at equal half-width")
    compared.add_argument("gates", nargs="+", metavar="GATE", help="family name, gate file, or pkg.module:NAME")
    compared.add_argument("--tau", default="10", help="the temperature (default: 10)")
    compared.add_argument("--half-width", default="0.1", help="the half-width (default: 0.1)")
    compared.add_argument(
        "-o", "--output", action="append", default=[], type=Path, help=".png, .svg or .pdf; repeatable"
    )
    compared.set_defaults(run_command=_compare)

    dynamics = commands.add_parser(
        "dynamics", help="reward, entropy, EUR and staleness of a tabular policy under gates, with exact gradients"
    )
    dynamics.add_argument(
        "gates", nargs="*", metavar="GATE", default=["sigmoid", "hard-clip"], help="default: sigmoid hard-clip"
    )
    dynamics.add_argument("--tau", action="append", help="repeatable; default: 1, 10 and 40")
    dynamics.add_argument("--seeds", type=int, default=1000, help="random problems for each gate (default: 1000)")
    dynamics.add_argument("--steps", type=int, default=60, help="batch steps (default: 60)")
    dynamics.add_argument(
        "-o", "--output", action="append", required=True, type=Path, help=".png, .svg or .pdf; repeatable"
    )
    dynamics.set_defaults(run_command=_dynamics)

    replay = commands.add_parser("replay", help="what other gates would have done to the tokens of a run")
    replay.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="run directory of sapo-train that kept log-ratios, or one of its files RUN/failures/step-N.safetensors",
    )
    replay.add_argument(
        "--gate", action="append", default=[], metavar="GATE", help="beside the run's own gate; repeatable"
    )
    width = replay.add_mutually_exclusive_group()
    width.add_argument("--tau", help="temperature of every --gate, both signs; default: the trained values")
    width.add_argument("--half-width", help="instead, for every --gate the tau at which w(1 + HALF_WIDTH) = 1/2")
    width.add_argument("--sup-score", help="instead, for every --gate the tau at which sup phi = SUP_SCORE")
    replay.add_argument(
        "--histogram", type=Path, metavar="FILE.json", help="write the log-ratios for `sapo-gates calibrate`"
    )
    replay.add_argument("-o", "--output", action="append", default=[], type=Path, help=".png, .svg or .pdf; repeatable")
    replay.set_defaults(run_command=_replay)

    for command in (curves, compared, explore, dynamics, replay, report):
        command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def _curves(options: argparse.Namespace, command: str) -> Answer:
    from sapo_analysis.curves import check_temperatures, signs_figure, unequal_widths
    from sapo_analysis.style import check_endings, figure_of, save
    from sapo_gates import load_gate

    check_endings(options.output)
    low, colon, high = (options.tau or "").partition(":")
    if colon:
        gates, over = [load_gate(name) for name in options.gates], (low, high)
        check_temperatures(gates, over)
        title, widths = f"every τ in [{low}, {high}]", None
    else:
        (gates, title), over = _at_equal(options, options.gates), None
        widths = unequal_widths(gates)
    quantities = ("value", "weight", "score") if options.quantity is None else (options.quantity,)
    baseline = None if "hard-clip" in options.gates else load_gate("hard-clip")
    panels = signs_figure(gates, quantities, options.axis, options.sign, baseline=baseline, over=over, title=title)
    lines = (f"unequal half-widths ({widths}); --half-width makes them equal, to compare the shapes",) if widths else ()
    return Answer(save(figure_of(panels), options.output, command), lines)


def _compare(options: argparse.Namespace, command: str) -> Answer:
    from sapo_analysis.compare import compare, compare_figure, say
    from sapo_analysis.style import check_endings, figure_of, save
    from sapo_gates import load_gate

    check_endings(options.output)
    found = compare([load_gate(name) for name in options.gates], options.tau, options.half_width)
    written: list[Path] = []
    if options.output:
        panels = compare_figure(found, baseline=load_gate("hard-clip"))
        written = save(figure_of(panels), options.output, command)
    gates = [
        {"gate": left.name, "verdict": found.verdicts[left.name], "equal_width": right.name}
        for left, right in zip(found.equal_tau, found.equal_width, strict=True)
    ]
    return Answer(written, tuple(say(found)), {"gates": gates, "rows": [asdict(row) for row in found.rows]})


def _dynamics(options: argparse.Namespace, command: str) -> Answer:
    try:
        import torch

        from sapo_analysis.study import Schedule, conditions, dynamics_figure, findings, run_study, say
    except ImportError as error:
        raise FigureError(f"dynamics computes with torch, which is not installed ({error}); install it.") from None
    from sapo_analysis.style import check_endings, figure_of, save
    from sapo_gates import load_gate

    check_endings(options.output)
    for name, least in (("seeds", 2), ("steps", 1)):
        if getattr(options, name) < least:
            raise FigureError(f"--{name} {getattr(options, name)} must be at least {least}.")
    torch.set_num_threads(1)  # tensors this small only wait for a second thread
    these = conditions([load_gate(name) for name in options.gates], options.tau or ["1", "10", "40"])
    done = list(run_study(these, Schedule(steps=options.steps, seeds=options.seeds)))
    found = findings(done)
    written = save(figure_of(dynamics_figure(done)), options.output, command)
    return Answer(written, tuple(say(done, found)), {"findings": [asdict(finding) for finding in found]})


def _replay(options: argparse.Namespace, command: str) -> Answer:
    try:
        from sapo_analysis.replay import (
            disagreements,
            histogram,
            load_tokens,
            replay,
            replay_figure,
            say,
            say_failures,
        )
    except ImportError as error:
        raise FigureError(
            f"replay computes with torch and reads safetensors, and one is not installed ({error}); install it."
        ) from None
    from sapo_analysis.curves import unequal_widths
    from sapo_analysis.runs import as_trained, certificate_of, load_run
    from sapo_analysis.style import check_endings, figure_of, save, write_text

    check_endings(options.output)
    run = load_run(options.run.parents[1] if options.run.is_file() else options.run)
    certificate = certificate_of(run)
    gates = [as_trained(certificate.gate, run)] if certificate else []
    gates += _at_equal(options, options.gate)[0]
    if not gates:
        raise FigureError(f"{options.run} has no certificate yet and no --gate is given; name a gate to replay.")
    tokens = load_tokens(options.run, run.config)
    lines, written = list(say_failures(tokens)), []
    report: dict[str, Any] = {"tokens": len(tokens.log_ratio), "failures": tokens.failures}
    report["not_finite"] = [
        {k: str(v) if isinstance(v, float) else v for k, v in asdict(b).items()} for b in tokens.broken
    ]
    if not len(tokens.log_ratio):
        return Answer(written, (*lines, "no token is left to replay"), report)
    done = replay(tokens, gates)
    apart = disagreements(tokens, done[0], done[1]) if len(done) > 1 else []
    if options.output:
        written = save(figure_of(replay_figure(tokens, done)), options.output, command)
    if options.histogram:
        write_text(options.histogram, json.dumps(histogram(tokens)) + "\n")
        written.append(options.histogram)
    report["gates"] = [{"gate": one.name, "verdict": one.verdict, **finite(one.numbers)} for one in done]
    report["disagreements"] = [asdict(one) for one in apart]
    lines += say(tokens, done, apart)
    if widths := unequal_widths(gates):
        lines.append(f"unequal half-widths ({widths}); --half-width gives the other gates the same, to compare shapes")
    return Answer(written, tuple(lines), report)


def finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """The numbers with null for what is infinite, which JSON cannot say."""
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def _at_equal(options: argparse.Namespace, names: Sequence[str]) -> tuple[list["Gate"], str]:
    """The gates at the temperature or the half-width asked for, and a title that says so."""
    from sapo_analysis.curves import at_equal_half_width, at_equal_sup_score, at_equal_temperature
    from sapo_gates import load_gate

    gates = [load_gate(name) for name in names]
    if gates and options.tau is not None:
        return at_equal_temperature(gates, options.tau), f"equal temperature, τ = {options.tau}"
    if gates and options.half_width is not None:
        return at_equal_half_width(gates, options.half_width), f"equal half-width, h = {options.half_width}"
    if gates and options.sup_score is not None:
        return at_equal_sup_score(gates, options.sup_score), f"equal sup φ = {options.sup_score}"
    return gates, ""


def _explore(options: argparse.Namespace, command: str) -> Answer:
    from sapo_analysis.explorer import write_explorer

    return Answer([write_explorer(options.gates, options.output, command=command)])


def _report(options: argparse.Namespace, command: str) -> Answer:
    from sapo_analysis.report import write_report

    return Answer([write_report(options.runs, options.output, certificates=options.certificates, command=command)])


if __name__ == "__main__":
    sys.exit(main())
