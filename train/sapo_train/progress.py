"""Where a run is: it counts steps and updates, times them, saves when it is time to, and stops when asked to."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sapo_train import checkpoint as checkpoints
from sapo_train.card import model_card
from sapo_train.certified import CertifiedGate
from sapo_train.checkpoint import Place
from sapo_train.config import plain
from sapo_train.errors import Stopped
from sapo_train.evaluate import Result
from sapo_train.optim import Optimizer
from sapo_train.policy import Policy
from sapo_train.records import Records
from sapo_train.run import RunConfig
from sapo_train.stopping import Stopping
from sapo_train.trace import Trace
from sapo_train.tracking import Tracker
from sapo_train.view import View
from sapo_train.world import World


class Progress:
    """Moves a run from step to step; in process 0 with its records."""

    def __init__(
        self,
        folder: Path,
        run: RunConfig,
        certified: CertifiedGate,
        place: Place,
        view: View,
        world: World,
        tracker: Tracker | None = None,
    ) -> None:
        """Begin at `place`."""
        self.folder, self.run, self.certified, self.place, self.view = folder, run, certified, place, view
        self.world = world
        self.records = Records(folder, place, view, tracker) if world.writes else None
        self.stopping = Stopping(run.checkpoint.grace)
        self.phases: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen to SIGTERM, and close the records, for as long as the run goes on.

        Raises:
            Stopped: the other processes were stopped too, and ended first.
        """
        try:
            with self.stopping.listening():
                yield
        finally:
            if self.records:
                self.records.close()

    def steps(self, total: int) -> Iterator[int]:
        """Count the batch steps that are left."""
        for step in range(self.place.step + 1, total + 1):
            self.phases = {}
            self.started = time.perf_counter()
            yield step

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of a batch step."""
        start = time.perf_counter()
        yield
        self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start

    def log_update(self, row: dict[str, Any]) -> None:
        """Count an update and write its metrics."""
        self.place = replace(self.place, updates=self.place.updates + 1)
        if self.records:
            self.records.update({"step": row.pop("step"), "update": self.place.updates, **row})

    def finish_step(self, drawn: int, trace: Trace, policy: Policy, optimizer: Optimizer) -> None:
        """Write what the step leaves, move on, and save if it is time to.

        Raises:
            Stopped: SIGTERM came during the step.
        """
        step = trace.step
        self.place = replace(self.place, step=step, position=self.place.position + drawn)
        if self.records:
            self.records.step(trace, self.run.ratios, self._timing(int(trace.batch.lengths.sum())))
        stopping = self.world.any(self.stopping.asked)
        every = self.run.checkpoint.every
        if stopping or step == self.run.steps or (every and step % every == 0):
            self.save(policy, optimizer)
        if stopping and step < self.run.steps:
            raise Stopped

    def _timing(self, tokens: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self.started
        phases = {f"seconds_{name}": value for name, value in self.phases.items()}
        of_step = {"tokens": tokens, "tokens_per_second": tokens / seconds, "peak_memory_bytes": _peak_memory()}
        return {"seconds": seconds, **phases, **of_step}

    def save(self, policy: Policy, optimizer: Optimizer) -> None:
        """Write a checkpoint of the current place, and remove those that are not kept."""
        if self.records:
            self.records.sync()
            folder = self.folder / "checkpoints"
            card = model_card(self.run, self.certified, self.place)
            checkpoints.save(folder, self.place, policy, optimizer, self.certified, card, plain(self.run))
            checkpoints.prune(folder, self.run.checkpoint.keep, self.records.best())

    def evaluating(self, done: int, total: int) -> None:
        """Show how far an evaluation has come, and do not make SIGTERM wait for its end.

        Raises:
            Stopped: SIGTERM came.
        """
        self.view.progress("held-out problems", done, total)
        if self.stopping.asked and done < total:
            raise Stopped

    def finish_evaluation(self, results: Sequence[Result], policy: Policy, optimizer: Optimizer) -> None:
        """Write an evaluation of the current weights, and save them if none before were better."""
        if self.records:
            self.records.evaluation(self.place, results)
            if self.place.step and self.records.best() == self.place.step:
                self.save(policy, optimizer)


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
