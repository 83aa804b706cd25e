"""What commands share: the gate and its parameters, --json, exit codes, files to write."""

import argparse
from collections.abc import Callable
from pathlib import Path

from sapo_gates.errors import CertificateError, GateTextError, RequirementError
from sapo_gates.expression import parse_number
from sapo_gates.gate import Gate
from sapo_gates.gatefile import load_gate, parse_assignments

EXIT = {"certified": 0, "refuted": 1, "undecided": 3}
CONDITION = {"positive": "A > 0", "negative": "A <= 0"}

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Adds a command: its name, what runs it and gives the exit code, what it is for."""


def takes_gate(parser: argparse.ArgumentParser) -> None:
    """GATE and --set."""
    parser.add_argument("gate", metavar="GATE", help="a family's name, a gate file, or pkg.module:NAME")
    takes_set(parser, "fix a parameter: tau=10 for both signs of A, positive.tau=10 for A > 0 only")


def takes_set(parser: argparse.ArgumentParser, says: str) -> None:
    """--set, as often as there are parameters."""
    parser.add_argument("--set", action="append", default=[], metavar="[SIGN.]NAME=VALUE", help=says)


def takes_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def gate_of(options: argparse.Namespace) -> Gate:
    """The gate with what `--set` fixes."""
    return bound(load_gate(options.gate), options)


def bound(gate: Gate, options: argparse.Namespace) -> Gate:
    """The gate with what `--set` fixes."""
    positive, negative = parse_assignments(options.set)
    return gate.bind(positive=positive, negative=negative) if options.set else gate


def seconds(text: str) -> float:
    """What --budget gives."""
    try:
        return float(parse_number(text.removesuffix("s")))
    except GateTextError:
        raise RequirementError(f"--budget {text!r} is no time; write for example 60s.") from None


def has_folder(path: str) -> None:
    """Called before what takes long, so that nothing is lost for want of a folder.

    Raises:
        CertificateError: the file's folder does not exist.
    """
    if not Path(path).parent.is_dir():
        raise CertificateError(f"cannot write {path}: no folder {Path(path).parent}; choose a folder that exists.")


def write(path: str, writing: Callable[[Path], object]) -> None:
    """Calls writing(path).

    Raises:
        CertificateError: the file cannot be written.
    """
    try:
        writing(Path(path))
    except OSError as error:
        raise CertificateError(f"cannot write {path}: {error.strerror}; choose a folder that exists.") from error
