"""`sapo-gates`: declare a gate, get a proof or a counterexample, a certificate, a torch function.

Exit codes: 0 everything proved, 1 something refuted, 3 nothing refuted but something undecided, 2 bad input.
For an audit: 0 every property holds, 1 some property fails.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sapo_gates.commands import audit, calibrate, certify, datasheet, export, families, numerics, recheck
from sapo_gates.errors import SapoGatesError, did_you_mean

BAD_INPUT = 2
LONGEST_LINE = 1_000  # characters of an error
COMMANDS = (families, certify, recheck, datasheet, calibrate, numerics, export, audit)
"""In the order of --help."""


class _Parser(argparse.ArgumentParser):
    """argparse prints a usage block before its error and guesses at shortened options; ours is one line, and exact."""

    def __init__(self, **options: Any) -> None:
        """As argparse's."""
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit 2."""
        print(f"sapo-gates: {_one_line(message)}; see {self.prog} --help.{self._nearest(message)}", file=sys.stderr)
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
    # A user's own modules, as `python -m` finds them; last, so that they hide no other.
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        return options.run(options)
    except SapoGatesError as error:
        print(f"{type(error).__name__}: {_one_line(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # the reader of our output went away, as `| head` does; not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("sapo-gates: interrupted", file=sys.stderr)
        return 130


def _one_line(message: str) -> str:
    """Without line ends, and without the middle of what repeats a very long input."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"


def _parser() -> _Parser:
    parser = _Parser(prog="sapo-gates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], says: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=says, description=says)
        added.set_defaults(run=run)
        return added

    for subject in COMMANDS:
        subject.add(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
