"""`sapo-gates list` and `show`: which gates there are, and the text that declares one."""

import argparse
import json

from sapo_gates.commands.common import Command, gate_of, takes_gate, takes_json


def add(command: Command) -> None:
    """Both commands."""
    takes_json(command("list", _list, "the named families"))
    shown = command("show", _show, "a gate's file: the text that declares it")
    takes_gate(shown)
    takes_json(shown)


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
    gate = gate_of(options)
    if options.json:
        print(json.dumps({"gate": gate.name, "digest": gate.digest, "text": gate.text}, indent=1, ensure_ascii=False))
    else:
        print(gate.text, end="")
    return 0
