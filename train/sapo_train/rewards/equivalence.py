"""Is this answer the same number, expression or set as that one? math-verify decides, in processes with hard limits."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from sapo_train.errors import RewardError
from sapo_train.rewards.text import extract_answer

LIMIT = 1.5  # seconds for one comparison; with the fork of a new child it stays within 2
WORKERS = 2
LONGEST = 20_000  # characters: no answer is longer, and reading more would only feed the parser's worst cases


def math_equivalence(prediction: str, gold: str) -> bool:
    """Say whether a prediction (a bare answer, or text that ends in one) equals the right answer.

    Both may be numbers, LaTeX or text; of a prediction with `<answer>…</answer>` what stands there counts. Whatever an
    answer holds, this returns within 2 s: one that hangs or kills its worker is False.

    Raises:
        RewardError: the worker processes cannot be started.
    """
    answer = extract_answer(prediction, ("answer-tag",))
    return equivalences([(prediction if answer is None else answer, gold)])[0]


def equivalences(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Decide many (prediction, gold) pairs, several at a time."""
    return _pool().decide(pairs)


class _Worker:
    """One worker program; asked by one thread at a time."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, prediction: str, gold: str) -> bool:
        if max(len(prediction), len(gold)) > LONGEST:
            return False
        process = self._running()
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps([prediction, gold]) + "\n")
            stdin.flush()
            return _line(stdout) == "1"
        except (BrokenPipeError, EOFError):
            self.close()
            return False

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                # -P: this folder has modules whose names must not hide others
                [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), str(LIMIT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the run, which ends it
            )
            assert self.process.stdout is not None
            try:
                _line(self.process.stdout)
            except EOFError:
                raise RewardError("the math-verify worker did not start; its message is above.") from None
        return self.process

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class _Pool:
    def __init__(self, size: int) -> None:
        self.workers = [_Worker() for _ in range(size)]
        self.free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self.workers:
            self.free.put(worker)
        self.threads = ThreadPoolExecutor(size)
        atexit.register(self.close)

    def decide(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return list(self.threads.map(self._decide, pairs))

    def _decide(self, pair: tuple[str, str]) -> bool:
        worker = self.free.get()
        try:
            return worker.ask(*pair)
        finally:
            self.free.put(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.threads.shutdown()


_shared: list[_Pool] = []


def _pool() -> _Pool:
    if not _shared:
        _shared.append(_Pool(WORKERS))
    return _shared[0]


def _line(stream: IO[str]) -> str:
    line = stream.readline()
    if not line:
        raise EOFError
    return line.strip()
