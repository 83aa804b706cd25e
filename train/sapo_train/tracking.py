"""Weights & Biases or trackio beside metrics.jsonl, for those who ask; neither is installed with the trainer."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from sapo_train.config import check, config
from sapo_train.errors import TrackingError
from sapo_train.files import read_json, write_json


@config
class TrackingConfig:
    """Where the metrics go besides the run directory."""

    to: Literal["nowhere", "wandb", "trackio"] = "nowhere"
    """wandb and trackio are packages to install; their own variables say where they send to (WANDB_MODE=offline)."""
    project: str = "sapo-train"
    """Project that the run is filed under."""

    def __post_init__(self) -> None:
        check(bool(self.project), "tracking.project='' must name a project.")

    @property
    def wanted(self) -> bool:
        """Was a tracker asked for?"""
        return self.to != "nowhere"


def require(config: TrackingConfig) -> None:
    """Refuse to begin a run whose tracker is not here.

    Raises:
        TrackingError: with the cure.
    """
    if config.wanted and importlib.util.find_spec(config.to) is None:
        raise TrackingError(
            f"tracking.to={config.to} needs the package {config.to}: pip install {config.to}, or leave tracking out."
        )


def track(config: TrackingConfig, name: str, run: Mapping[str, Any], folder: Path) -> Tracker | None:
    """Begin a tracker, or go on with the one of this run directory, if one is wanted."""
    return Tracker(config, name, run, folder) if config.wanted else None


class Tracker:
    """A run as a tracker knows it, the same after a kill as before."""

    def __init__(self, config: TrackingConfig, name: str, run: Mapping[str, Any], folder: Path) -> None:
        """Begin or go on.

        Args:
            config: where to.
            name: of the run.
            run: its configuration.
            folder: run directory; tracking.json in it keeps what the tracker knows the run by.

        Raises:
            TrackingError: the tracker does not begin.
        """
        kept = folder / "tracking.json"
        known = read_json(kept)["id"] if kept.exists() else secrets.token_hex(4)
        write_json(kept, {"id": known})
        try:
            self.run = _BEGIN[config.to](config.project, name, known, folder, dict(run))
        except Exception as error:  # of many kinds: no account, no network, no room
            raise TrackingError(
                f"tracking.to={config.to} does not begin: {type(error).__name__}: {error}. WANDB_MODE=offline keeps "
                "everything on this machine; tracking.to=nowhere does without."
            ) from error

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Send what was measured at an update."""
        self.run.log(dict(values), step=update)

    def close(self) -> None:
        """Wait until everything is sent."""
        self.run.finish()


def _begin_wandb(project: str, name: str, known: str, folder: Path, run: dict[str, Any]) -> Any:
    import wandb  # type: ignore[import-not-found]

    # The terminal is the view's: a tracker that captures it would log every frame of a table.
    settings = wandb.Settings(console="off", silent=True)
    return wandb.init(
        project=project, name=name, id=known, resume="allow", dir=str(folder), config=run, settings=settings
    )


def _begin_trackio(project: str, name: str, known: str, folder: Path, run: dict[str, Any]) -> Any:
    import trackio  # type: ignore[import-not-found]

    return trackio.init(project=project, name=f"{name}-{known}", resume="allow", config=run, embed=False)


_BEGIN: dict[str, Callable[..., Any]] = {"wandb": _begin_wandb, "trackio": _begin_trackio}
