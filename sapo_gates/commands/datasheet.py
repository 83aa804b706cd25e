"""`sapo-gates datasheet`: a gate's numbers, each enclosed."""

import argparse
import json

from sapo_gates.commands.common import CONDITION, Command, takes_gate, takes_json
from sapo_gates.gatefile import load_gate, parse_assignments


def add(command: Command) -> None:
    """The command."""
    sheet = command("datasheet", _datasheet, "a gate's numbers: width, strength, smoothness, tail, each enclosed")
    takes_gate(sheet)
    takes_json(sheet)


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
