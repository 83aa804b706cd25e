"""The world a run lives in: for now one process with a fixed number of threads."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sapo_train.config import check, config


@config
class LaunchConfig:
    """Where the run computes."""

    threads: int = 2
    """CPU threads of torch, >= 1. Part of the run, which replays to the bit: another number rounds otherwise."""

    def __post_init__(self) -> None:
        check(self.threads >= 1, f"launch.threads={self.threads} must be at least 1.")


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them."""

    rank: int = 0
    size: int = 1

    def sum(self, value: float) -> float:
        """Add a number up over all processes."""
        return value


def connect(config: LaunchConfig) -> World:
    """Set this process up and join the others."""
    torch.set_num_threads(config.threads)
    return World()
