"""The run directory: where a run is, what it measured, and what it leaves behind.

config.yaml          the resolved run               certificate.json     what is proved about its gate
problems.json        a digest of what is asked
metrics.jsonl        one object per update          timings.jsonl        one object per batch step
samples/             completions with rewards       evaluations.jsonl    one object per held-out evaluation
evaluations/         per problem                    checkpoints/step-N   complete or absent
ratios/              log-ratios for replay          tensorboard/         the metrics once more
failures/            a minibatch whose loss is      summary.json         how it ended
                     not finite

Process 0 alone writes; the others keep their place.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.tensorboard.writer import SummaryWriter

from sapo_train import checkpoint as checkpoints
from sapo_train.card import model_card
from sapo_train.certified import CertifiedGate
from sapo_train.checkpoint import Place
from sapo_train.config import plain
from sapo_train.errors import CheckpointError, PeerFailed, Stopped
from sapo_train.evaluate import Result
from sapo_train.files import append_jsonl, read_jsonl, write_jsonl, write_text
from sapo_train.measures import accuracy
from sapo_train.optim import Optimizer
from sapo_train.policy import Policy
from sapo_train.run import RunConfig
from sapo_train.trace import Trace
from sapo_train.view import View
from sapo_train.world import World, rank


class Progress:
    """Keeps the run directory of one run up to date."""

    def __init__(
        self, folder: Path, run: RunConfig, certified: CertifiedGate, place: Place, view: View, world: World
    ) -> None:
        """Begin at `place`: whatever was logged after it is logged anew."""
        self.folder, self.run, self.certified, self.place, self.view = folder, run, certified, place, view
        self.world = world
        self.stopping = False
        self.deadline: threading.Timer | None = None
        self.phases: dict[str, float] = {}
        self.board: SummaryWriter | None = None
        if world.writes:
            self._trim()
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=place.updates)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Turn SIGTERM into a stop at the next batch boundary, for as long as the run goes on.

        Raises:
            Stopped: the other processes were stopped too, and ended first.
        """
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            yield
        except PeerFailed:
            if self.stopping:
                raise Stopped from None
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
            if self.deadline:
                self.deadline.cancel()
            if self.board:
                self.board.close()

    def _stop(self, *_: object) -> None:
        if not self.stopping:
            self.stopping = True
            # A thread, because a signal handler would wait for the matrix product that is being computed.
            self.deadline = threading.Timer(self.run.checkpoint.grace, _give_up, [self.run.checkpoint.grace])
            self.deadline.daemon = True
            self.deadline.start()

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
        """Write the metrics of one update."""
        self.place = replace(self.place, updates=self.place.updates + 1)
        row = {"step": row.pop("step"), "update": self.place.updates, **row}
        if self.board:
            append_jsonl(self.folder / "metrics.jsonl", row)
            for key, value in row.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(key, value, self.place.updates)
            self.view.update(row)

    def finish_step(self, drawn: int, trace: Trace, policy: Policy, optimizer: Optimizer) -> None:
        """Write samples, log-ratios and timings, move on, and save if it is time to.

        Raises:
            Stopped: SIGTERM came during the step.
        """
        step = trace.step
        self.place = replace(self.place, step=step, position=self.place.position + drawn)
        if self.world.writes:
            write_jsonl(self.folder / "samples" / f"step-{step}.jsonl", _sample_rows(trace))
            ratios = self.run.ratios
            if ratios.every and step % ratios.every == 0:
                trace.write(self.folder / "ratios" / f"step-{step}.safetensors", ratios.completions)
            append_jsonl(self.folder / "timings.jsonl", self._timing(step, int(trace.batch.lengths.sum())))
        stopping = self.world.any(self.stopping)
        every = self.run.checkpoint.every
        if stopping or step == self.run.steps or (every and step % every == 0):
            self.save(policy, optimizer)
        if stopping and step < self.run.steps:
            raise Stopped

    def _timing(self, step: int, tokens: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self.started
        phases = {f"seconds_{name}": value for name, value in self.phases.items()}
        of_step = {"tokens": tokens, "tokens_per_second": tokens / seconds, "peak_memory_bytes": _peak_memory()}
        return {"step": step, "seconds": seconds, **phases, **of_step}

    def save(self, policy: Policy, optimizer: Optimizer) -> None:
        """Write a checkpoint of the current place, and remove those that are not kept."""
        if not self.world.writes:
            return
        folder = self.folder / "checkpoints"
        card = model_card(self.run, self.certified, self.place)
        checkpoints.save(folder, self.place, policy, optimizer, self.certified, card, plain(self.run))
        checkpoints.prune(folder, self.run.checkpoint.keep, self.best())

    def best(self) -> int | None:
        """Return the step of the best held-out accuracy so far, the first of equals; None before any evaluation."""
        rows = read_jsonl(self.folder / "evaluations.jsonl")
        return max(rows, key=lambda row: row["accuracy"])["step"] if rows else None

    def keep_best(self, policy: Policy, optimizer: Optimizer) -> None:
        """Save the current weights if none before were better on the held-out problems."""
        if self.place.step and self.best() == self.place.step:
            self.save(policy, optimizer)

    def evaluating(self, done: int, total: int) -> None:
        """Show how far an evaluation has come, and do not make SIGTERM wait for its end.

        Raises:
            Stopped: SIGTERM came.
        """
        self.view.progress("held-out problems", done, total)
        if self.stopping and done < total:
            raise Stopped

    def log_evaluation(self, results: Sequence[Result]) -> None:
        """Write a held-out evaluation of the current weights, problem by problem and as a whole."""
        mean, (low, high) = accuracy(results)
        step = self.place.step
        write_jsonl(self.folder / "evaluations" / f"step-{step}.jsonl", [asdict(result) for result in results])
        append_jsonl(
            self.folder / "evaluations.jsonl",
            {"step": step, "accuracy": mean, "low": low, "high": high, "problems": len(results)},
        )
        if self.board:
            self.board.add_scalar("held_out_accuracy", mean, self.place.updates)
        self.view.say(f"step {step}: held-out accuracy {mean:.1%} [{low:.1%}, {high:.1%}] on {len(results)} problems")

    def evaluation(self, step: int) -> list[Result] | None:
        """Return an evaluation that was made before, in full, or None."""
        if step not in [row["step"] for row in read_jsonl(self.folder / "evaluations.jsonl")]:
            return None
        rows = read_jsonl(self.folder / "evaluations" / f"step-{step}.jsonl")
        return [Result.of(row) for row in rows] or None

    def write_failure(self, trace: Trace, failure: dict[str, Any]) -> Path:
        """Keep the minibatch that could not be trained on, and return where."""
        path = self.folder / "failures" / f"step-{trace.step}.safetensors"
        if self.world.writes:
            trace.write_failure(path, failure)
        return path

    def _trim(self) -> None:
        """Take back what an earlier process logged after the checkpoint we start from."""
        for name, key, last in (
            ("metrics.jsonl", "update", self.place.updates),
            ("timings.jsonl", "step", self.place.step),
            ("evaluations.jsonl", "step", self.place.step),
        ):
            path = self.folder / name
            if path.exists():
                rows = read_jsonl(path)
                write_jsonl(path, [row for row in rows if row[key] <= last])
        for path in [
            path for name in ("samples", "evaluations", "ratios") for path in self.folder.glob(f"{name}/step-*")
        ]:
            if int(path.stem.removeprefix("step-")) > self.place.step:
                path.unlink()


def begin(folder: Path, run: RunConfig) -> None:
    """Make the run directory, if this is the process that writes it. One that came to no step is begun anew.

    Raises:
        CheckpointError: there is a run in it already.
    """
    if rank() > 0:
        return
    if any((folder / name).exists() for name in ("metrics.jsonl", "evaluations.jsonl", "checkpoints")):
        raise CheckpointError(
            f"{folder} already holds a run: continue it with 'sapo-train resume {folder}', or give another --out."
        )
    for name in ("certificate.json", "problems.json"):  # perhaps of another gate and other problems
        (folder / name).unlink(missing_ok=True)
    write_text(folder / "config.yaml", yaml.safe_dump(plain(run), sort_keys=False, allow_unicode=True))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder, which is made if it is not there, for as long as this one does.

    Raises:
        CheckpointError: another process has it, or it cannot be written.
    """
    if rank() > 0:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise CheckpointError(f"cannot write the directory {folder}: {error.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however that ends
        except BlockingIOError:
            raise CheckpointError(
                f"another process writes into {folder}: wait for its end, or give another directory."
            ) from None
        yield


def _sample_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    for row, (problem, completion) in enumerate(trace.completions):
        yield {
            "step": trace.step,
            "id": problem.id,
            "question": problem.question,
            "answer": problem.answer,
            "completion": completion.text,
            "reward": completion.reward,
            "rewards": dict(completion.parts),
            "advantage": trace.batch.advantages[row].item(),
            "tokens": len(completion.tokens),
            "truncated": completion.truncated,
            "furthest": [  # the tokens whose ratio was furthest out in the last epoch
                {"at": at, "token": trace.text_of(int(completion.tokens[at])), "log_ratio": z}
                for at, z in trace.furthest(row)
            ],
        }


def _give_up(grace: float) -> None:
    """End the process from a thread: the last checkpoint is complete, and resuming makes the rest anew."""
    print(f"stopped after checkpoint.grace={grace:g} s without saving; resume goes on from the last checkpoint",
          file=sys.stderr, flush=True)  # fmt: skip
    os._exit(143)


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
