"""Runs `sapo-gates` on a list of command lines inside one process with limits, and reports what each did.

python guarded.py < COMMANDS.json > RESULTS.json: both hold lists, of argument lists and of objects with code, out, err
(lines of stderr), seconds (of the processor) and acts (what reached outside: programs started, sockets, files written).
The address space is bounded, so that an input that eats memory ends the process.
"""

import contextlib
import io
import json
import resource
import sys
import time
from typing import Any

from sapo_gates.cli import main

ADDRESS_SPACE = 3 * 2**30  # bytes; most of it is mapped by libraries and never touched
OUTSIDE = ("os.system", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "socket.connect", "webbrowser.open")


def run(arguments: list[str], acts: list[str]) -> dict[str, Any]:
    """One command."""
    out, err = io.StringIO(), io.StringIO()
    acts.clear()
    began = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
        except BaseException as error:  # a traceback in the making: reported, not raised
            code = f"{type(error).__name__}: {str(error)[:200]}"
    return {
        "code": code,
        "out": out.getvalue(),
        "err": err.getvalue().splitlines(),
        "seconds": time.process_time() - began,
        "acts": list(acts),
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    acts: list[str] = []
    sys.addaudithook(lambda event, _: acts.append(event) if event in OUTSIDE else None)
    json.dump([run(arguments, acts) for arguments in json.load(sys.stdin)], sys.stdout)
