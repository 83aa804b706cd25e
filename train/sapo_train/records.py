"""What a run measures, written down: metrics, timings, samples, log-ratios, evaluations; and read back."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.writer import SummaryWriter

from sapo_train.checkpoint import Place
from sapo_train.evaluate import Result
from sapo_train.files import append_jsonl, read_jsonl, step_of, sync, write_jsonl
from sapo_train.measures import accuracy
from sapo_train.trace import RatioConfig, Trace
from sapo_train.tracking import Tracker
from sapo_train.view import View

LOGS = {"metrics.jsonl": "update", "timings.jsonl": "step", "evaluations.jsonl": "step"}  # what their lines count
KEPT = ("samples", "evaluations", "ratios")  # folders with a file for a step, synced when it is written


class Records:
    """The measurements of one run, in its directory and wherever else they are wanted."""

    def __init__(self, folder: Path, place: Place, view: View, tracker: Tracker | None) -> None:
        """Go on at `place`: what an earlier process logged after it is taken back and logged anew.

        A tracker cannot take anything back; what it was sent before is the same as what comes again.
        """
        self.folder, self.view, self.tracker = folder, view, tracker
        self.sent = max((row["update"] for row in read_jsonl(folder / "metrics.jsonl")), default=0)
        self.sent_evaluations = {row["step"] for row in read_jsonl(folder / "evaluations.jsonl")}
        self._trim(place)
        self.board = self._board()

    def close(self) -> None:
        """Wait until everything is where it belongs."""
        self.board.close()
        if self.tracker:
            self.tracker.close()

    def update(self, row: Mapping[str, Any]) -> None:
        """Write the metrics of one update."""
        self._publish(row["update"], row, row["update"] > self.sent)
        append_jsonl(self.folder / "metrics.jsonl", row)
        self.view.update(dict(row))

    def step(self, trace: Trace, ratios: RatioConfig, timing: Mapping[str, Any]) -> None:
        """Write the samples, log-ratios and timings of a batch step."""
        write_jsonl(self.folder / "samples" / f"step-{trace.step}.jsonl", _sample_rows(trace))
        if ratios.every and trace.step % ratios.every == 0:
            trace.write(self.folder / "ratios" / f"step-{trace.step}.safetensors", ratios.completions)
        append_jsonl(self.folder / "timings.jsonl", {"step": trace.step, **timing})

    def evaluation(self, place: Place, results: Sequence[Result]) -> None:
        """Write a held-out evaluation, problem by problem and as a whole."""
        mean, (low, high) = accuracy(results)
        step = place.step
        write_jsonl(self.folder / "evaluations" / f"step-{step}.jsonl", [asdict(result) for result in results])
        self._publish(place.updates, {"held_out_accuracy": mean}, step not in self.sent_evaluations)
        append_jsonl(
            self.folder / "evaluations.jsonl",
            {"step": step, "accuracy": mean, "low": low, "high": high, "problems": len(results)},
        )
        self.view.say(f"step {step}: held-out accuracy {mean:.1%} [{low:.1%}, {high:.1%}] on {len(results)} problems")

    def sync(self) -> None:
        """Have on the disk what was measured: a run that goes on from a checkpoint does not measure it again."""
        logs = [self.folder / name for name in LOGS]
        kept = [self.folder / name for name in KEPT]
        for path in (*logs, *kept, self.folder):
            if path.exists():
                sync(path)

    def evaluated(self, step: int) -> list[Result] | None:
        """Return an evaluation that was made before, in full, or None."""
        if step not in [row["step"] for row in read_jsonl(self.folder / "evaluations.jsonl")]:
            return None
        rows = read_jsonl(self.folder / "evaluations" / f"step-{step}.jsonl")
        return [Result.of(row) for row in rows] or None

    def best(self) -> int | None:
        """Return the step of the best held-out accuracy so far, the first of equals; None before any evaluation."""
        rows = read_jsonl(self.folder / "evaluations.jsonl")
        return max(rows, key=lambda row: row["accuracy"])["step"] if rows else None

    def _publish(self, update: int, values: Mapping[str, Any], new: bool) -> None:
        """Give numbers to TensorBoard, and to the tracker what it has not had."""
        numbers = _show(self.board, update, values)
        if self.tracker and new:
            try:
                self.tracker.log(update, numbers)
            except Exception as error:  # whatever a network does, the run goes on
                self.tracker = None
                self.view.say(f"warning: the tracker takes no more ({error}); metrics.jsonl has everything")

    def _board(self) -> SummaryWriter:
        """TensorBoard's files, made of what the run has measured: an earlier process had its last minutes in memory."""
        place = self.folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        board, last = SummaryWriter(str(place)), {}
        for row in read_jsonl(self.folder / "metrics.jsonl"):
            _show(board, row["update"], row)
            last[row["step"]] = row["update"]
        for row in read_jsonl(self.folder / "evaluations.jsonl"):
            _show(board, last.get(row["step"], 0), {"held_out_accuracy": row["accuracy"]})
        return board

    def _trim(self, place: Place) -> None:
        """Take back what an earlier process logged after the checkpoint we start from."""
        for name, key in LOGS.items():
            path, last = self.folder / name, {"update": place.updates, "step": place.step}[key]
            if path.exists():
                rows = read_jsonl(path)
                write_jsonl(path, [row for row in rows if row[key] <= last])
        for name in KEPT:
            for path in [*self.folder.glob(f"{name}/step-*")]:
                if (step_of(path.stem) or 0) > place.step:
                    path.unlink()


def _show(board: SummaryWriter, update: int, values: Mapping[str, Any]) -> dict[str, float]:
    """Give TensorBoard what is a finite number; return that."""
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
    for key, value in numbers.items():
        board.add_scalar(key, value, update)
    return numbers


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
