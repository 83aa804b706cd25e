"""Rewards for runs in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sapo_train.batch import Batch

calls = 0


def slow_from_the_second_step(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Score completions by their length; from the second batch on that takes ten minutes."""
    global calls
    calls += 1
    if calls > 1:
        time.sleep(600)
    return [float(len(text)) for text in completions]


def of_the_length_asked(completions: Sequence[str], rows: Sequence[dict[str, int]]) -> list[float]:
    """Score completions by how near they are to the length that the problem's row names."""
    return [-abs(len(text) - row["length"]) for text, row in zip(completions, rows, strict=True)]


def returns_none(completions: Sequence[str], answers: Sequence[str]) -> None:
    """Forget to return the rewards."""


def returns_words(completions: Sequence[str], answers: Sequence[str]) -> list[str]:
    """Return text that looks like numbers."""
    return ["1.0" for _ in completions]


def returns_huge(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Return numbers whose squares overflow."""
    return [1e200 for _ in completions]


async def raises_late(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Raise, once awaited."""
    raise LookupError("no such\nthing")


def never_returns_and_takes_the_alarm(completions: Sequence[str], answers: Sequence[str]) -> None:
    """Wait where no interrupt comes, as code does that has a time limit of its own by the same signal."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        time.sleep(1)


def fails_in_process_one(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Return no numbers in the second process of a world."""
    return [float("nan") if os.environ.get("RANK") == "1" else 1.0 for _ in completions]


def spoils_the_model_of_process_one(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Score completions by their length; from the second batch on the learner of the second process sees a NaN."""
    from sapo_train.policy import Policy

    global calls
    calls += 1
    plain = Policy.__call__

    def spoiled(self: Policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs, entropy = plain(self, batch)
        row = torch.arange(len(batch)) == 2
        return torch.where(row[:, None], torch.nan, log_probs), entropy

    if calls == 2 and os.environ.get("RANK") == "1":
        Policy.__call__ = spoiled
    return [float(len(text)) for text in completions]
