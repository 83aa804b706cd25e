"""`sapo-gates`: declare a gate, get a proof or a counterexample, a certificate, a torch function.

Exit codes: 0 everything proved, 1 something refuted, 3 nothing refuted but something undecided, 2 bad input.
For an audit: 0 every property holds, 1 some property fails.
"""

import argparse
import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sapo_gates.adapters.certified import certificate_of
from sapo_gates.certificate import DEFAULT_BUDGET, Certificate, Requirement, certify, load_certificate
from sapo_gates.errors import (
    AuditError,
    CalibrationError,
    CertificateError,
    ExportError,
    PlotError,
    RecheckFailed,
    RequirementError,
    SapoGatesError,
    did_you_mean,
)
from sapo_gates.gate import Gate
from sapo_gates.gatefile import load_gate, parse_assignments
from sapo_gates.prove.witness import rounded
from sapo_gates.recheck import recheck
from sapo_gates.requirements import PROFILES
from sapo_gates.verdict import SIGNS

if TYPE_CHECKING:
    from sapo_gates.calibrate import LogRatios

EXIT = {"certified": 0, "refuted": 1, "undecided": 3}
BAD_INPUT = 2
MARKS = {"proved": "✓", "refuted": "✗", "undecided": "?"}
DTYPES = ("float64", "float32", "bfloat16", "float16")
CONDITION = {"positive": "A > 0", "negative": "A <= 0"}


class _Parser(argparse.ArgumentParser):
    """argparse prints a usage block before its error and guesses at shortened options; ours is one line, and exact."""

    def __init__(self, **options: Any) -> None:
        """As argparse's."""
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit 2."""
        print(f"sapo-gates: {message}; see {self.prog} --help.{self._nearest(message)}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)

    def _nearest(self, message: str) -> str:
        """The command or option that was probably meant."""
        unknown = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (--\S+)", message)
        if unknown is None:
            return ""
        commands = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        known = {name: parser for action in commands for name, parser in action.choices.items()}
        options = {option for parser in known.values() for option in parser._option_string_actions}
        return did_you_mean(unknown[1] or unknown[2], known if unknown[1] else options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except SapoGatesError as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # the reader of our output went away, as `| head` does; not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("sapo-gates: interrupted", file=sys.stderr)
        return 130


def _parser() -> _Parser:
    parser = _Parser(prog="sapo-gates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, says: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=says, description=says)
        added.set_defaults(run=run)
        return added

    def takes_gate(added: argparse.ArgumentParser) -> None:
        added.add_argument("gate", metavar="GATE", help="a family's name, a gate file, or pkg.module:NAME")
        added.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="[SIGN.]NAME=VALUE",
            help="fix a parameter: tau=10 for both signs of A, positive.tau=10 for A > 0 only",
        )

    def takes_json(added: argparse.ArgumentParser) -> None:
        added.add_argument("--json", action="store_true", help="one JSON object on stdout")

    takes_json(command("list", _list, "the named families"))
    shown = command("show", _show, "a gate's file: the text that declares it")
    takes_gate(shown)
    takes_json(shown)
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
        help="time for all proofs, such as 60s; what is open then is undecided",
    )
    certified.add_argument(
        "--numerics",
        action="store_true",
        help="also sample the exported torch function against its formula (needs torch)",
    )
    certified.add_argument("--plot", metavar="FILE", help="draw the weight and each witness: .png, .svg, .pdf")
    certified.add_argument("-o", "--output", metavar="FILE", help="write the certificate")
    takes_json(certified)
    rechecked = command("recheck", _recheck, "evaluate every proof of a certificate again, by the independent checker")
    rechecked.add_argument("certificate", metavar="CERT.json")
    takes_json(rechecked)
    sheet = command("datasheet", _datasheet, "a gate's numbers: width, strength, smoothness, tail, each enclosed")
    takes_gate(sheet)
    takes_json(sheet)
    equal = command(
        "calibrate", _calibrate, "temperatures at which gates share a width, a curvature, a strength, or an EUR"
    )
    equal.add_argument("gates", nargs="+", metavar="GATE", help="families' names, gate files, or pkg.module:NAME")
    equal.add_argument("--half-width", metavar="H", help="w(1 + H) = 1/2")
    equal.add_argument("--curvature", metavar="C", help="w''(1) = C, from the right")
    equal.add_argument("--sup-score", metavar="S", help="sup of r*w(r) = S")
    equal.add_argument("--eur", metavar="E", help="effective update ratio: the mean of w")
    equal.add_argument(
        "--log-ratio-std", metavar="S", help="for --eur: standard deviation of normal log-ratios, in nats"
    )
    equal.add_argument("--log-ratio-mean", metavar="M", help="for --eur: their mean (default: 0)")
    equal.add_argument("--histogram", metavar="FILE", help="for --eur: log-ratios as JSON with edges and counts")
    takes_json(equal)
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
        help="every number of 16 bits (a minute), or of float32 (most of a day of one core; Ctrl-C ends it with what "
        "was tried)",
    )
    measured.add_argument("--first", type=int, metavar="BITS", default=0, help="float32: begin at these bits")
    measured.add_argument("--last", type=int, metavar="BITS", default=2**32, help="float32: end before these bits")
    measured.add_argument("-o", "--output", metavar="FILE", help="write the certificate with the evidence in it")
    takes_json(measured)
    exported = command("export", _export, "a certified gate, or a certificate's (.json), as a standalone file")
    takes_gate(exported)
    exported.add_argument(
        "--to",
        default="python",
        metavar="TARGET",
        help="python (the default), trl, verl or prime-rl: what the file is for",
    )
    exported.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: stdout)")
    audited = command("audit", _audit, "what a loss or gate in torch really does, property by property")
    audited.add_argument("function", metavar="PKG.MODULE:FUNCTION", help="a gate, a policy loss, a trainer's loss")
    audited.add_argument("--against", metavar="GATE", help="the gate it claims to be")
    audited.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[SIGN.]NAME=VALUE",
        help="the parameters of that gate: tau=10, or positive.tau=10",
    )
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
    audited.add_argument("--budget", default=f"{DEFAULT_BUDGET:g}s", help="time for proofs about its formula")
    takes_json(audited)
    return parser


def _list(options: argparse.Namespace) -> int:
    from sapo_gates import FAMILIES

    if options.json:
        families = [{"name": g.name, "source": g.source, "says": g.says, "kind": g.kind} for g in FAMILIES]
        print(json.dumps(families, indent=1, ensure_ascii=False))
        return 0
    width = max(len(gate.name) for gate in FAMILIES)
    for gate in FAMILIES:
        print(f"{gate.name:<{width}}  {gate.says} ({gate.source})")
    return 0


def _show(options: argparse.Namespace) -> int:
    gate = _gate(options)
    if options.json:
        print(json.dumps({"gate": gate.name, "digest": gate.digest, "text": gate.text}, indent=1, ensure_ascii=False))
    else:
        print(gate.text, end="")
    return 0


def _certify(options: argparse.Namespace) -> int:
    drawing = _drawing(options.plot) if options.plot else None
    certificate = certify(_gate(options), options.profile, require=options.require, budget=_seconds(options.budget))
    if options.numerics:
        certificate = _with_numerics(certificate)
    if options.output:
        _write(options.output, certificate.save)
    if drawing is not None:
        _write(options.plot, lambda path: drawing(certificate, Path(path)))
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
    numerics, surrogate = _torch("--numerics")
    return certificate.with_numerics(numerics.check(surrogate(certificate)))


def _torch(what: str) -> tuple[Any, Any]:
    """The modules that need torch: numerics, and surrogate."""
    try:
        from sapo_gates.torch import numerics, surrogate
    except ImportError as error:
        raise ExportError(f"{what} runs a torch function, and torch is not installed ({error}); install it.") from error
    return numerics, surrogate


def _numerics(options: argparse.Namespace) -> int:
    """0 if everything holds, 1 if not, 3 if an interrupt left numbers untried."""
    numerics, surrogate = _torch("numerics")
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
        _write(options.output, certificate.with_numerics(evidence).save)
    if options.json:
        print(
            json.dumps(
                {"gate": certificate.gate.name, "digest": certificate.gate.digest, "numerics": evidence}, indent=1
            )
        )
    else:
        print("\n".join(_numerics_lines(evidence)))
    if not all(entry["holds"] for entry in evidence):
        return EXIT["refuted"]
    return EXIT["certified" if complete else "undecided"]


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


def _numerics_lines(evidence: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in evidence:
        mark = "✓" if entry["holds"] else "✗"
        where = " of those with bits in [{}, {})".format(*entry["bits"]) if "bits" in entry else ""
        how = "of every number" if entry["kind"] == "exhaustive" and not where else f"in {entry['kind']} numbers{where}"
        yield (
            f"  {mark} {entry['quantity']:<6} {entry['dtype']:<9} {CONDITION[entry['sign']]:<7} "
            f"worst {entry['worst_ulp']:.2f} ulp at z = {entry['worst_input']}, {entry['examples']} tried {how}"
        )


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
        print(f"RecheckFailed: {error}", file=sys.stderr)
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


def _datasheet(options: argparse.Namespace) -> int:
    from sapo_gates.datasheet import datasheet  # only this command needs it

    gate, (positive, negative) = load_gate(options.gate), parse_assignments(options.set)
    sheets = datasheet(gate, positive=positive, negative=negative)
    if options.json:
        print(json.dumps({"gate": gate.name, "digest": gate.digest, "datasheet": sheets}, indent=1, ensure_ascii=False))
        return 0
    print(gate.name)
    for sign, sheet in sheets.items():
        at = ", ".join(f"{name} = {value}" for name, value in next(iter(sheet.values()))["at"].items())
        print(f"\n{CONDITION[sign]}{', ' + at if at else ''}")
        for name, entry in sheet.items():
            bounds = "" if entry["enclosure"] is None else "[{}, {}]".format(*entry["enclosure"])
            shown = "; ".join(part for part in (bounds, entry["closed_form"], entry.get("says")) if part)
            print(f"  {name.replace('_', ' '):<24} {shown}")
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from sapo_gates.calibrate import calibrate, distinct_signs  # only this command needs it

    names = ("half_width", "curvature", "sup_score", "eur")
    targets = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    log_ratios = _log_ratios(options)
    gates = [load_gate(gate) for gate in options.gates]
    found = [
        (calibrate(gate, sign, **targets, log_ratios=log_ratios), distinct_signs(gate))
        for gate in gates
        for sign in distinct_signs(gate)
    ]
    if options.json:
        report = [
            {"gate": one.gate, "sign": "any" if len(signs) == 1 else one.sign, "target": one.target,
             "parameter": one.parameter, "enclosure": [rounded(one.lower, down=True), rounded(one.upper, down=False)],
             "unique": one.unique, "says": one.says}
            for one, signs in found
        ]  # fmt: skip
        print(json.dumps(report, indent=1, ensure_ascii=False))
        return 0
    width = max(len(one.gate) for one, _ in found)
    print(found[0][0].target)
    for one, signs in found:
        low, high = rounded(one.lower, down=True), rounded(one.upper, down=False)
        sign = "any A" if len(signs) == 1 else CONDITION[one.sign]
        print(f"  {one.gate:<{width}}  {sign:<6}  {one.parameter} in [{low}, {high}]")
        print(f"  {'':<{width}}  {'':<6}  {one.says}")
    return 0


def _log_ratios(options: argparse.Namespace) -> "LogRatios | None":
    from sapo_gates.calibrate import LogRatios

    if options.histogram is not None:
        if options.log_ratio_std is not None or options.log_ratio_mean is not None:
            raise CalibrationError("--histogram and --log-ratio-std are two distributions; give one of them.")
        return LogRatios.histogram(options.histogram)
    if options.log_ratio_std is not None:
        return LogRatios.normal(options.log_ratio_mean or 0, options.log_ratio_std)
    if options.log_ratio_mean is not None:
        raise CalibrationError("--log-ratio-mean needs --log-ratio-std, the spread around it; try --log-ratio-std 0.1.")
    return None


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
        _write(options.output, lambda path: Path(path).write_text(text, encoding="utf-8"))
        print(f"written to {options.output}")
    else:
        print(text, end="")
    return 0


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
        against=_bound(load_gate(options.against), options) if options.against else None,
        shape=options.shape,
        knobs=dict(knob(text) for text in options.knob),
        budget=_seconds(options.budget),
    )
    print(json.dumps(found.to_json(), indent=1, ensure_ascii=False) if options.json else table(found))
    return 0 if found.holds else 1


def _write(path: str, writing: Any) -> None:
    try:
        writing(path)
    except OSError as error:
        raise CertificateError(f"cannot write {path}: {error.strerror}; choose a folder that exists.") from error


def _gate(options: argparse.Namespace) -> Gate:
    """The gate with what `--set` fixes."""
    return _bound(load_gate(options.gate), options)


def _bound(gate: Gate, options: argparse.Namespace) -> Gate:
    positive, negative = parse_assignments(options.set)
    return gate.bind(positive=positive, negative=negative) if options.set else gate


def _seconds(text: str) -> float:
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        raise RequirementError(f"--budget {text!r} is no time; write for example 60s.") from None


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
        lines += _numerics_lines(certificate.numerics)
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


if __name__ == "__main__":
    sys.exit(main())
