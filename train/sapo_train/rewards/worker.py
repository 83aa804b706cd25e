"""Run by `equivalence` as a program of its own: answers "are these two the same?" line by line on stdin and stdout.

A warm parent that has loaded math-verify forks the child that does the work, so that a child which hangs or eats
memory is killed and replaced in milliseconds. Nothing of `sapo_train` or torch is loaded here.
"""

import json
import logging
import os
import re
import resource
import select
import signal
import sys
import time
import warnings
from decimal import Decimal
from typing import IO

from math_verify import parse, verify

MEMORY = 2 * 2**30  # bytes of address space beyond what loading took
PLAIN = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(?P<exponent>[eE][-+]?\d{1,6})?", re.ASCII)
DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed|\\begin")


def equivalent(prediction: str, gold: str) -> bool:
    """Compare as written, and once more as LaTeX where neither says what it is (bare LaTeX is read as text
    otherwise). A number like 1e-6, which is no product with a letter, is compared as a number."""
    numbers = [PLAIN.fullmatch(text.strip()) for text in (prediction, gold)]
    if all(numbers) and any(number and number["exponent"] for number in numbers):
        return Decimal(prediction.strip()) == Decimal(gold.strip())
    if _same(prediction, gold):
        return True
    bare = [text for text in (prediction, gold) if not DELIMITED.search(text)]
    return bool(bare) and _same(*(text if DELIMITED.search(text) else f"${text}$" for text in (prediction, gold)))


def _same(prediction: str, gold: str) -> bool:
    # No timeouts of its own: they are signals, which a loop inside C never sees.
    right, answer = parse(gold, parsing_timeout=0), parse(prediction, parsing_timeout=0)
    return bool(verify(right, answer, timeout_seconds=0))


def child(requests: int, replies: int) -> None:
    """Answer requests until killed."""
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(requests, "r", encoding="utf-8") as lines, os.fdopen(replies, "wb", 0) as out:
        for line in lines:
            try:
                same = equivalent(*json.loads(line))
            except Exception:  # whatever an answer provokes in the parser, it is not the right answer
                same = False
            out.write(b"1" if same else b"0")


def serve(inbox: IO[str], limit: float) -> None:
    """Pass each request to the child; one that takes longer than `limit` seconds, or kills it, is answered False.

    A child that a busy machine has starved of half the limit in CPU time is given until it had that, or 4 limits.
    """
    pid, requests, replies = _fork()
    print("ready", flush=True)
    for line in inbox:
        reply = b""
        until, enough = time.monotonic() + limit, _cpu_seconds(pid) + limit / 2
        last = until + 3 * limit
        try:
            _send(requests, line.encode(), limit)
            while True:
                if select.select([replies], [], [], max(0.0, until - time.monotonic()))[0]:
                    reply = os.read(replies, 1)
                    break
                if time.monotonic() > last or _cpu_seconds(pid) >= enough:
                    break
                until = time.monotonic() + 0.05
        except (BrokenPipeError, TimeoutError):
            pass
        if not reply:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(requests)
            os.close(replies)
            pid, requests, replies = _fork()
        print("1" if reply == b"1" else "0", flush=True)
    os.kill(pid, signal.SIGKILL)


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _send(pipe: int, data: bytes, limit: float) -> None:
    while data:
        if not select.select([], [pipe], [], limit)[1]:
            raise TimeoutError
        data = data[os.write(pipe, data[:4096]) :]


def _fork() -> tuple[int, int, int]:
    request_end, requests = os.pipe()
    replies, reply_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(requests)
        os.close(replies)
        devnull = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(devnull, stream)
        child(request_end, reply_end)
        os._exit(0)
    os.close(request_end)
    os.close(reply_end)
    return pid, requests, replies


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    _same("1", "1")  # loads the grammars before the first fork
    serve(sys.stdin, float(sys.argv[1]))
