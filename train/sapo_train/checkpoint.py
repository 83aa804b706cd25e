"""Checkpoints: a plain transformers folder, the optimizer, the certificate, the place in the data; complete or absent.

Random streams are derived from (seed, draw, index), so the data position is all the state that randomness has.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sapo_train.certified import CertifiedGate
from sapo_train.config import build, check, config, plain
from sapo_train.errors import CheckpointError, ConfigError, SaveError
from sapo_train.files import finite, step_of, sync, write_json, write_text
from sapo_train.models import quiet, sha256
from sapo_train.optim import Optimizer
from sapo_train.policy import Policy


@config
class CheckpointConfig:
    """When the state of the run is saved."""

    every: int = 50
    """Batch steps from one checkpoint to the next, >= 0; 0: only at the end and when stopped."""
    keep: int = 1
    """The last so many are kept, >= 1, and that of the best held-out accuracy."""
    grace: float = 30.0
    """Seconds from SIGTERM to the end of the run, >= 0; saved or not."""

    def __post_init__(self) -> None:
        check(self.every >= 0, f"checkpoint.every={self.every} must be at least 0.")
        check(self.keep >= 1, f"checkpoint.keep={self.keep} must be at least 1.")
        check(self.grace >= 0, f"checkpoint.grace={self.grace} must be at least 0.")


@dataclass(frozen=True)
class Place:
    """Where a run is: between two batch steps."""

    step: int = 0  # batch steps made
    updates: int = 0  # optimizer steps made
    position: int = 0  # prompts drawn


def save(
    folder: Path,
    place: Place,
    policy: Policy,
    optimizer: Optimizer,
    certified: CertifiedGate,
    card: str,
    run: dict[str, Any],
) -> Path:
    """Write checkpoints/step-N under `folder`; it appears by one rename, after everything in it is on the disk."""
    target = folder / f"step-{place.step}"
    if target.exists():  # saved before: a run is a function of its step
        return target
    scratch = folder / f".step-{place.step}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with quiet():
            (policy.adapter or policy.model).save_pretrained(str(scratch))
            policy.tokenizer.save_pretrained(scratch)
        write_text(scratch / "README.md", card)
        save_file({k: v.contiguous() for k, v in optimizer.state().items()}, scratch / "optimizer.safetensors")
        write_json(scratch / "certificate.json", certified.certificate)
        files = [path for path in sorted(scratch.rglob("*")) if path.is_file()]  # chat templates may have a folder
        digests = {path.relative_to(scratch).as_posix(): sha256(path) for path in files}
        state = {"place": asdict(place), "role": certified.role, "digests": digests, "run": run}
        write_json(scratch / "state.json", state | {"digest": _digest(state)})
        for path in [*scratch.rglob("*"), scratch]:
            sync(path)
        scratch.rename(target)
        for path in (folder, folder.parent, folder.parent.parent):  # the run's directory may be new, too
            sync(path)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise SaveError(f"cannot write checkpoint {target}: {error}. Earlier checkpoints are untouched.") from None
    return target


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Remove all but the last `keep` checkpoints and that of the step `best`."""
    for path in _sorted(folder)[:-keep]:
        if path.name != f"step-{best}":
            path.rename(path.with_name(f".{path.name}.removed"))  # absent in one instant
    for path in folder.glob(".step-*.removed"):
        shutil.rmtree(path)


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint, or None before the first."""
    found = _sorted(folder)
    return found[-1] if found else None


def verify(checkpoint: Path) -> Place:
    """Check every file of a checkpoint against its digest and return its place.

    Raises:
        CheckpointError: naming the file that is missing or altered.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        own = state.pop("digest", None)  # which checkpoints of older versions do not have
        place, digests = Place(**state["place"]), state["digests"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{checkpoint}/state.json cannot be read ({error}); use an earlier checkpoint.") from None
    if own not in (None, _digest(state)):
        raise _not_as_saved(checkpoint / "state.json")
    for name, digest in digests.items():
        path = checkpoint / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; remove {checkpoint} to resume from an earlier checkpoint.")
        if sha256(path) != digest:
            raise _not_as_saved(path)
    return place


def _not_as_saved(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is not what was saved (its digest differs); remove {path.parent} to resume earlier."
    )


def verify_certificate(checkpoint: Path, certificate: dict[str, Any]) -> None:
    """Refuse to go on from a checkpoint of another gate.

    Raises:
        CheckpointError: the certificates differ.
    """
    saved = json.loads((checkpoint / "certificate.json").read_text(encoding="utf-8"))
    if saved != finite(certificate):
        raise CheckpointError(
            f"{checkpoint} was trained with gate {saved['gate']['name']!r} under certificate {saved['digest']}, not "
            f"{certificate['digest']} of the run directory; put the run's own certificate.json back."
        )


def verify_run(checkpoint: Path, run: Any) -> None:
    """Refuse to go on under another configuration; when to save and where to tell of it may change.

    Raises:
        CheckpointError: naming the first field that differs.
    """
    try:  # fields that are younger than the checkpoint have their defaults
        kept = build(type(run), json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["run"])
    except ConfigError as error:
        raise CheckpointError(f"{checkpoint} was made by another version of this program: {error}") from None
    saved, given = _flat(plain(kept)), _flat(plain(run))
    for name in sorted(saved.keys() | given.keys()):
        if not name.startswith(("checkpoint.", "tracking.", "report")) and saved.get(name) != given.get(name):
            raise CheckpointError(
                f"config.yaml has {name}={given.get(name)!r}, but {checkpoint} was made with {saved.get(name)!r}: put "
                "that back, or begin a new run."
            )


def load_optimizer(checkpoint: Path, optimizer: Optimizer, updates: int) -> None:
    """Put moments and step counts back.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        optimizer.load(load_file(checkpoint / "optimizer.safetensors"), updates)
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"{checkpoint}/optimizer.safetensors cannot be used: {error}.") from None


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    parts = [
        _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        for key, value in values.items()
    ]
    return {key: value for part in parts for key, value in part.items()}


def _sorted(folder: Path) -> list[Path]:
    found = {step: path for path in folder.glob("step-*") if (step := step_of(path.name)) is not None}
    return [found[step] for step in sorted(found)]


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(finite(state), sort_keys=True).encode()).hexdigest()
