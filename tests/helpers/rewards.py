"""Rewards for runs in processes of their own."""

import os
import time
from collections.abc import Sequence

calls = 0


def slow_from_the_second_step(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Score completions by their length; from the second batch on that takes ten minutes."""
    global calls
    calls += 1
    if calls > 1:
        time.sleep(600)
    return [float(len(text)) for text in completions]


def fails_in_process_one(completions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Return no numbers in the second process of a world."""
    return [float("nan") if os.environ.get("RANK") == "1" else 1.0 for _ in completions]
