"""The world a run lives in: one process, or many that torchrun started, each with a share of the prompts.

Every process holds the whole model and the whole batch of tokens, samples and learns its share, and makes the same
update from the summed gradient: loss and gradient are those of one process. Process 0 alone writes.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sapo_train.config import check, config
from sapo_train.errors import ConfigError, PeerFailed, TrainError

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=7)  # a peer that dies closes its connection; one that evaluates takes its time


@config
class LaunchConfig:
    """Where the run computes."""

    threads: int = 2
    """CPU threads of torch in each process, >= 1. Part of the run, which replays to the bit: another number rounds
    otherwise."""

    def __post_init__(self) -> None:
        check(self.threads >= 1, f"launch.threads={self.threads} must be at least 1.")


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def writes(self) -> bool:
        """Is this the process that writes the run directory?"""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> tuple[int, Sequence[T]]:
        """Return this process's neighbours among the items, and the index of the first."""
        bounds = [len(items) * k // self.size for k in (self.rank, self.rank + 1)]
        return bounds[0], items[slice(*bounds)]

    def gather(self, value: T) -> list[T]:
        """Return what every process gave, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        _meet(lambda: dist.all_gather_object(values, value))
        return values

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do work in every process and return what each made, in the order of ranks.

        Raises:
            TrainError: in all processes alike, that of the first in which the work failed.
        """
        try:
            mine: T | TrainError = work()
        except TrainError as error:
            mine = error
        made: list[T] = []
        for part in self.gather(mine):
            if isinstance(part, TrainError):
                raise part
            made.append(part)
        return made

    def any(self, value: bool) -> bool:
        """Does any process say so? All decide alike."""
        return any(self.gather(value))

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add the gradients of all processes up, so that each has that of the whole minibatch."""
        if self.size == 1:
            return
        with_gradient = [p for p in parameters if p.requires_grad]
        for p in with_gradient:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        flat = torch.cat([p.grad.flatten() for p in with_gradient if p.grad is not None])
        _meet(lambda: dist.all_reduce(flat))
        start = 0
        for p in with_gradient:
            assert p.grad is not None
            p.grad.copy_(flat[start : start + p.numel()].view_as(p))
            start += p.numel()


def rank() -> int:
    """Return the number that torchrun gave this process; 0 is the one that writes and speaks."""
    return int(os.environ.get("RANK", 0))


def connect(config: LaunchConfig, groups: int) -> World:
    """Set this process up and join the others, if torchrun started it.

    Args:
        config: how this process computes.
        groups: of the smallest minibatch, of which each process must have one.

    Raises:
        ConfigError: there is not a group for each, or the others cannot be reached.
    """
    torch.set_num_threads(config.threads)
    size = int(os.environ.get("WORLD_SIZE", 1))
    if groups < size:
        raise ConfigError(
            f"{size} processes cannot share minibatches of {groups} groups: sampling.prompts / update.minibatches "
            f"must be at least {size}."
        )
    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        torch.cuda.set_device(device)
    if size > 1 and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo"
        try:
            dist.init_process_group(backend, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"process {rank()} of {size} cannot join the others: {error}.") from None
    return World(rank(), size, device)


def _meet(collective: Callable[[], Any]) -> None:
    try:
        collective()
    except RuntimeError as error:
        raise PeerFailed(f"another process of the run ended ({' '.join(str(error).split())[:120]}).") from None
