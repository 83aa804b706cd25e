"""The run directory: what lies in it, how it is begun, and that one process has it to itself.

config.yaml          the resolved run               certificate.json     what is proved about its gate
problems.json        a digest of what is asked      tracking.json        what a tracker knows the run by
metrics.jsonl        one object per update          timings.jsonl        one object per batch step
samples/             completions with rewards       evaluations.jsonl    one object per held-out evaluation
evaluations/         per problem                    checkpoints/step-N   complete or absent
ratios/              log-ratios for replay          tensorboard/         the metrics once more
failures/            a minibatch whose loss is      summary.json         how it ended
                     not finite                     report.html          with pictures

Process 0 alone writes; the others keep their place.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from sapo_train.config import plain
from sapo_train.errors import CheckpointError
from sapo_train.files import write_text
from sapo_train.run import RunConfig
from sapo_train.world import rank


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
    for name in ("certificate.json", "problems.json", "tracking.json"):  # perhaps of another gate and other problems
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
