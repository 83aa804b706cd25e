"""`sapo-gates calibrate`: temperatures at which gates share a width, a curvature, a strength, or an EUR."""

import argparse
import json
from typing import TYPE_CHECKING

from sapo_gates.commands.common import CONDITION, Command, takes_json
from sapo_gates.errors import CalibrationError
from sapo_gates.gatefile import load_gate
from sapo_gates.prove.witness import rounded

if TYPE_CHECKING:
    from sapo_gates.calibrate import LogRatios


def add(command: Command) -> None:
    """The command."""
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
