"""Files that are complete or absent."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sapo_train.errors import CheckpointError


def write_text(path: Path, text: str) -> None:
    """Replace a file in one instant."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside a file to write to; what was written then replaces the file in one instant, synced before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    yield scratch
    sync(scratch)
    scratch.rename(path)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented."""
    write_text(path, json.dumps(finite(value), indent=1, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON Lines at once."""
    write_text(path, "".join(json.dumps(finite(row), allow_nan=False) + "\n" for row in rows))


def append_jsonl(path: Path, row: Any) -> None:
    """Add one line; a checkpoint syncs what it counts on."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite(row), allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON value.

    Raises:
        CheckpointError: the file is not what was written.
    """
    return _parsed(path.read_text(encoding="utf-8", errors="replace"), str(path))


def read_jsonl(path: Path) -> list[Any]:
    """Read JSON Lines; a last line that a kill cut short is left out, a missing file is empty.

    Raises:
        CheckpointError: a line is not what was written.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return [_parsed(line, f"{path}:{k}") for k, line in enumerate(lines, 1) if line.endswith("\n")]


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{where} is not what was written ({error}): put it back, or begin a new run.") from None


def step_of(name: str) -> int | None:
    """Return N of the name step-N; None for any other, such as that of a copy which somebody made."""
    found = re.fullmatch(r"step-(\d+)", name)
    return int(found[1]) if found else None


def sync(path: Path) -> None:
    """Have a file, or the entries of a folder, on the disk, where a power cut leaves them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finite(value: Any) -> Any:
    """Return the value with infinities and NaN as None, which is how JSON can say them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
