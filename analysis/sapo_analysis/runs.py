"""A run directory of the trainer, read; analysis knows its files and nothing of the program that wrote them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sapo_analysis.errors import RunError
from sapo_analysis.evaluate import Array
from sapo_gates import Gate, Parameter
from sapo_gates.certificate import Certificate, load_certificate
from sapo_gates.errors import SapoGatesError
from sapo_gates.verdict import SIGNS

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run left behind; parts that it has not reached yet are empty."""

    folder: Path
    config: dict[str, Any]
    config_text: str
    metrics: tuple[Row, ...]  # one an update
    evaluations: tuple[Row, ...]  # one a held-out evaluation
    timings: tuple[Row, ...]  # one a batch step
    samples: dict[int, tuple[Row, ...]]  # of each batch step
    summary: dict[str, Any] | None  # None: the run has not ended

    @property
    def name(self) -> str:
        """Its own name, and its folder's where that says more."""
        name = str(self.config.get("name", self.folder.name))
        return name if name == self.folder.name else f"{name} ({self.folder.name})"

    @property
    def role(self) -> str:
        """certified, baseline or uncertified; what the gate is to the run."""
        return str((self.summary or {}).get("role", "not yet written"))

    def answers(self, step: int) -> dict[str, float]:
        """Share of right answers to each held-out problem in the evaluation after a batch step.

        Raises:
            RunError: the file is damaged.
        """
        rows = _rows(self.folder / "evaluations" / f"step-{step}.jsonl", ("id", "right"))
        return {str(row["id"]): sum(row["right"]) / len(row["right"]) for row in rows}

    def last_epoch(self, key: str) -> tuple[Array, Array]:
        """A metric of the last epoch's updates over batch steps, [N] and [N]; in the first epoch every ratio is 1."""
        epochs = [row["epoch"] for row in self.metrics]
        rows = [row for row in self.metrics if row["epoch"] == max(epochs) and row.get(key) is not None]
        return np.array([row["step"] for row in rows], float), np.array([row[key] for row in rows], float)


def load_run(folder: Path) -> Run:
    """Read a run directory.

    Raises:
        RunError: it is none, or one of its files is damaged.
    """
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} is not a run directory: it has no config.yaml; give a folder that sapo-train wrote.")
    text = _text(folder / "config.yaml")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunError(f"{folder / 'config.yaml'} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(config, dict):
        raise RunError(f"{folder / 'config.yaml'} holds {type(config).__name__}, not a run's settings.")
    samples = {int(path.stem.removeprefix("step-")): path for path in folder.glob("samples/step-*.jsonl")}
    return Run(
        folder=folder,
        config=config,
        config_text=text,
        metrics=_rows(folder / "metrics.jsonl", ("step", "update", "epoch")),
        evaluations=_rows(folder / "evaluations.jsonl", ("step", "accuracy", "low", "high", "problems")),
        timings=_rows(folder / "timings.jsonl", ("step",)),
        samples={step: _rows(samples[step], ("question", "completion", "reward")) for step in sorted(samples)},
        summary=_object(folder / "summary.json"),
    )


def certificate_of(run: Run) -> Certificate | None:
    """The certificate in the run directory; None before it is written.

    Raises:
        RunError: it cannot be read.
    """
    path = run.folder / "certificate.json"
    return read_certificate(path) if path.is_file() else None


def read_certificate(path: Path) -> Certificate:
    """A certificate, with the file named where it cannot be read.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return load_certificate(path)
    except SapoGatesError as error:
        raise RunError(str(error)) from None


def as_trained(gate: Gate, run: Run) -> Gate:
    """The gate with the parameter values of the run's configuration as its trained values."""
    objective = run.config.get("objective") or {}
    chosen = {sign: objective.get(sign) or {} for sign in SIGNS}
    trained = (
        Parameter(p.name, str(p.domain), *(chosen[sign].get(p.name, p.value_for(sign)) for sign in SIGNS), says=p.says)
        for p in gate.parameters
    )
    return replace(gate, parameters=tuple(trained))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {path}: {error}.") from None


def _object(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} holds {type(value).__name__}, not an object.")
    return value


def _rows(path: Path, needed: Sequence[str]) -> tuple[Row, ...]:
    """JSON Lines; a last line that a kill cut short is left out, a missing file is empty."""
    if not path.is_file():
        return ()
    rows = []
    for number, line in enumerate(_text(path).splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise RunError(f"{path}, line {number}: not JSON ({error}).") from None
        if missing := [key for key in needed if key not in row]:
            raise RunError(f"{path}, line {number}: no {missing[0]!r}; the file is not one that sapo-train wrote.")
        rows.append(row)
    return tuple(rows)
