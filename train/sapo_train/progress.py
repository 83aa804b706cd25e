"""The run directory: where a run is, what it measured, and what it leaves behind.

config.yaml          the resolved run               certificate.json     what is proved about its gate
metrics.jsonl        one object per update          timings.jsonl        one object per batch step
samples/             completions with rewards       evaluations.jsonl    one object per held-out evaluation
evaluations/         per problem                    checkpoints/step-N   complete or absent
tensorboard/         the metrics once more          summary.json         how it ended
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save_file
from torch.utils.tensorboard.writer import SummaryWriter

from sapo_train import checkpoint as checkpoints
from sapo_train.batch import Batch, Group
from sapo_train.certified import CertifiedGate
from sapo_train.checkpoint import Place
from sapo_train.config import plain
from sapo_train.errors import CheckpointError
from sapo_train.evaluate import Result, accuracy
from sapo_train.files import append_jsonl, read_jsonl, write_json, write_jsonl, write_text
from sapo_train.optim import Optimizer
from sapo_train.policy import Policy
from sapo_train.run import RunConfig
from sapo_train.view import View


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""


class Progress:
    """Keeps the run directory of one run up to date."""

    def __init__(self, folder: Path, run: RunConfig, certified: CertifiedGate, place: Place, view: View) -> None:
        """Begin at `place`: whatever was logged after it is logged anew."""
        self.folder, self.run, self.certified, self.place, self.view = folder, run, certified, place, view
        self.stopping = False
        self.phases: dict[str, float] = {}
        self._trim()
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=place.updates)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Turn SIGTERM into a stop at the next batch boundary, for as long as the run goes on."""
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
            self.board.close()

    def _stop(self, *_: object) -> None:
        self.stopping = True

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
        append_jsonl(self.folder / "metrics.jsonl", row)
        for key, value in row.items():
            if isinstance(value, int | float):
                self.board.add_scalar(key, value, self.place.updates)
        self.view.update(row)

    def finish_step(
        self, step: int, groups: Sequence[Group], batch: Batch, policy: Policy, optimizer: Optimizer
    ) -> None:
        """Write samples and timings, move on, and save if it is time to.

        Raises:
            Stopped: SIGTERM came during the step.
        """
        write_jsonl(self.folder / "samples" / f"step-{step}.jsonl", _sample_rows(step, groups, batch))
        self.place = replace(self.place, step=step, position=self.place.position + len(groups))
        seconds = time.perf_counter() - self.started
        tokens = int(batch.lengths.sum())
        timing = {"step": step, "seconds": seconds, **{f"seconds_{name}": value for name, value in self.phases.items()}}
        timing |= {"tokens": tokens, "tokens_per_second": tokens / seconds, "peak_memory_bytes": _peak_memory()}
        append_jsonl(self.folder / "timings.jsonl", timing)
        every = self.run.checkpoint.every
        if self.stopping or step == self.run.steps or (every and step % every == 0):
            self.save(policy, optimizer)
        if self.stopping and step < self.run.steps:
            raise Stopped

    def save(self, policy: Policy, optimizer: Optimizer) -> None:
        """Write a checkpoint of the current place."""
        folder = self.folder / "checkpoints"
        checkpoints.save(folder, self.place, policy, optimizer, self.certified.certificate, self.certified.role)
        checkpoints.prune(folder, self.run.checkpoint.keep)

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
        self.board.add_scalar("held_out_accuracy", mean, self.place.updates)
        self.view.say(f"step {step}: held-out accuracy {mean:.1%} [{low:.1%}, {high:.1%}] on {len(results)} problems")

    def evaluation(self, step: int) -> list[Result] | None:
        """Return an evaluation that was made before, or None."""
        rows = read_jsonl(self.folder / "evaluations" / f"step-{step}.jsonl")
        made = [Result(**(row | {k: tuple(row[k]) for k in ("completions", "right")})) for row in rows]
        return made or None

    def write_failure(self, step: int, batch: Batch, reason: dict[str, Any]) -> Path:
        """Keep the batch that could not be trained on: tensors and the reason."""
        folder = self.folder / "failures" / f"step-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.contiguous() for name, value in vars(batch).items() if hasattr(value, "contiguous")}
        prompts = {f"prompt_{k}": prompt for k, prompt in enumerate(batch.prompts)}
        save_file(tensors | prompts, folder / "batch.safetensors")
        write_json(folder / "reason.json", reason)
        return folder

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
        for path in [*self.folder.glob("samples/step-*.jsonl"), *self.folder.glob("evaluations/step-*.jsonl")]:
            if int(path.stem.removeprefix("step-")) > self.place.step:
                path.unlink()


def begin(folder: Path, run: RunConfig) -> None:
    """Make the run directory.

    Raises:
        CheckpointError: there is a run in it already.
    """
    if (folder / "config.yaml").exists():
        raise CheckpointError(
            f"{folder} already holds a run: continue it with 'sapo-train resume {folder}', or give another --out."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", yaml.safe_dump(plain(run), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise CheckpointError(f"cannot write the run directory {folder}: {error}.") from None


def _sample_rows(step: int, groups: Sequence[Group], batch: Batch) -> Iterator[dict[str, Any]]:
    advantages = iter(batch.advantages.tolist())
    for group in groups:
        for completion in group.completions:
            yield {
                "step": step,
                "id": group.prompt.problem.id,
                "question": group.prompt.problem.question,
                "answer": group.prompt.problem.answer,
                "completion": completion.text,
                "reward": completion.reward,
                "rewards": dict(completion.parts),
                "advantage": next(advantages),
                "tokens": len(completion.tokens),
                "truncated": completion.truncated,
            }


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
