"""Sources of problems: made here, files, dataset folders and hub ids; every row that is no problem is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sapo_train.config import build, check, config
from sapo_train.errors import ConfigError, DataError
from sapo_train.rewards.text import AnswerRule, extract_answer

HELD_OUT_SEED = 20260219  # the held-out problems are the same whatever a run's seed
REASONING_GYM = "reasoning-gym:"


@config
class SourceConfig:
    """One set of problems. The answer is compared by the reward, never shown to the model."""

    source: str
    """'arithmetic' (sums), 'reasoning-gym:TASK', a .jsonl or .parquet file, or a dataset folder or hub id."""
    subset: str | None = None
    """Dataset: which of its configurations, such as 'main' of openai/gsm8k."""
    split: str = "train"
    """Dataset: which of its splits."""
    question: str = "question"
    """Column that is asked."""
    answer: str | None = "answer"
    """Column that is right; null: there is none, and functions of yours do the judging."""
    rules: tuple[AnswerRule, ...] = ()
    """Where in that column the right answer stands, such as [hashes] in openai/gsm8k; none: it is the whole column."""
    weight: float = 1.0
    """Share of the training prompts that come from here, relative to the other sources, > 0."""
    held_out: int = 0
    """Of a training source: at least so many problems are kept for evaluation instead, >= 0. Equal questions (and a+b
    and b+a) stay on one side."""
    options: dict[str, Any] = field(default_factory=dict)
    """What a generator takes. arithmetic: largest, template. reasoning-gym: size, seed, and whatever the task has."""

    def __post_init__(self) -> None:
        check(bool(self.source), "source='' must name a source of problems.")
        check(
            0 < self.weight < math.inf,
            f"weight={self.weight} of {self.source!r} must be positive; leave out a source that should give nothing.",
        )
        check(self.held_out >= 0, f"held_out={self.held_out} of {self.source!r} must be at least 0.")
        check(
            self.answer is not None or not (self.rules or self.held_out),
            f"answer=null of {self.source!r} leaves nothing for rules={list(self.rules)} or held_out={self.held_out}: "
            "held-out answers are compared with the right one.",
        )
        made = self.source == "arithmetic" or self.source.startswith(REASONING_GYM)
        check(
            made or not self.options,
            f"options={self.options} of {self.source!r}: only 'arithmetic' and 'reasoning-gym:TASK' take any.",
        )


@config
class ArithmeticConfig:
    """Sums of two numbers, each from 1 to `largest`."""

    largest: int = 25
    """Largest number, >= 2."""
    template: str = "What is {a}+{b}? Answer with a number."
    """The question, with {a} and {b}."""

    def __post_init__(self) -> None:
        check(self.largest >= 2, f"largest={self.largest} of 'arithmetic' must be at least 2.")
        check("{a}" in self.template and "{b}" in self.template, f"template={self.template!r} needs {{a}} and {{b}}.")


@dataclass(frozen=True)
class Problem:
    """A question and its right answer."""

    id: str
    question: str
    answer: str | None  # None: the source has none
    row: Mapping[str, Any] = field(default_factory=dict, compare=False)  # all columns, where they are asked for


def read_problems(config: SourceConfig, rows: bool = False) -> tuple[list[Problem], list[Problem]]:
    """Return the problems of a source, (to train on, held out), with `rows` each with all columns that it has.

    Raises:
        ConfigError: options that the generator does not take.
        DataError: a source that cannot be read, or a row that is no problem, naming file and line.
    """
    same: Callable[[Problem], Hashable] = lambda problem: problem.question  # noqa: E731
    if config.source == "arithmetic":
        problems = list(arithmetic(build(ArithmeticConfig, config.options)))
        same = lambda problem: frozenset(problem.id.split("+"))  # noqa: E731
    else:
        problems = [_problem(row, where, config, rows) for where, row in _rows(config, rows)]
    if not problems:
        raise DataError(f"{config.source} holds no problem.")
    train, held_out = _hold_out(problems, config.held_out, same)
    if not train:
        raise DataError(f"held_out={config.held_out} of {config.source!r} leaves none of its {len(problems)} problems.")
    return train, held_out


def arithmetic(config: ArithmeticConfig) -> Iterator[Problem]:
    """Make every sum a+b with 1 <= a, b <= largest; b+a follows a+b."""
    for a in range(1, config.largest + 1):
        for b in range(a, config.largest + 1):
            for x, y in sorted({(a, b), (b, a)}):
                question, answer = config.template.format(a=x, b=y), str(x + y)
                yield Problem(f"{x}+{y}", question, answer, {"question": question, "answer": answer, "a": x, "b": y})


def _hold_out(
    problems: Sequence[Problem], number: int, same: Callable[[Problem], Hashable]
) -> tuple[list[Problem], list[Problem]]:
    if number == 0:
        return list(problems), []
    alike: dict[Hashable, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(same(problem), []).append(problem)
    sets = list(alike.values())
    train: list[Problem] = []
    held_out: list[Problem] = []
    for k in np.random.default_rng(HELD_OUT_SEED).permutation(len(sets)):
        (held_out if len(held_out) < number else train).extend(sets[k])
    return train, held_out


def _rows(config: SourceConfig, whole: bool) -> Iterator[tuple[str, Any]]:
    """Yield where each row stands and what it is, as far as it is needed or `whole`."""
    if config.source.startswith(REASONING_GYM):
        return _reasoning_gym(config)
    if config.source.endswith((".jsonl", ".json")):
        return _jsonl(Path(config.source))
    if config.source.endswith(".parquet"):
        return _parquet(Path(config.source), config, whole)
    return _dataset(config, whole)


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    where = str(path)
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                where = f"{path}:{number}"
                if line.strip():
                    yield where, json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error}; one object a line is needed.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read problems from {path}: {error}.") from None


def _parquet(path: Path, config: SourceConfig, whole: bool) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        _need_columns(config, file.schema_arrow.names)
        wanted = _wanted(config, file.schema_arrow.names, whole)
        rows = (row for batch in file.iter_batches(columns=wanted) for row in batch.to_pylist())
        for number, row in enumerate(rows, 1):
            yield f"{path}, row {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read problems from {path}: {_line(error)}.") from None


def _dataset(config: SourceConfig, whole: bool) -> Iterator[tuple[str, Any]]:
    import datasets

    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(config.source, config.subset, split=config.split)
    except Exception as error:  # of many kinds: the hub's, the file system's, those of the formats
        raise DataError(
            f"cannot load source {config.source!r} (subset {config.subset}, split {config.split!r}): give a .jsonl or "
            f".parquet file, a dataset folder or a hub id that can be reached ({type(error).__name__}: {_line(error)})."
        ) from None
    assert isinstance(rows, datasets.Dataset)
    _need_columns(config, rows.column_names)
    wanted = _wanted(config, rows.column_names, whole)
    for number, row in enumerate(rows.select_columns(wanted), 1):
        yield f"{config.source}[{config.split}], row {number}", row


def _reasoning_gym(config: SourceConfig) -> Iterator[tuple[str, Any]]:
    try:
        import reasoning_gym
    except ImportError:
        raise DataError(
            f"source {config.source!r} needs the package reasoning-gym: pip install 'sapo-gates[reasoning-gym]'."
        ) from None
    task = config.source.removeprefix(REASONING_GYM)
    try:
        entries = reasoning_gym.create_dataset(task, **({"size": 1000, "seed": 0} | config.options))
        for number, entry in enumerate(entries):
            yield f"{config.source}, entry {number}", {"id": f"{task}-{number}"} | entry
    except (ValueError, TypeError, AssertionError) as error:
        raise ConfigError(f"source {config.source!r} with options {config.options}: {_line(error)}.") from None


def _wanted(config: SourceConfig, names: Sequence[str], whole: bool) -> list[str]:
    return [name for name in names if whole or name in ("id", config.question, config.answer)]


def _need_columns(config: SourceConfig, names: Sequence[str]) -> None:
    for column in (config.question, config.answer):
        if column is not None and column not in names:
            raise DataError(f"{config.source} has no column {column!r}; it has {sorted(names)}: name those to use.")


def _problem(row: Any, where: str, config: SourceConfig, whole: bool) -> Problem:
    if not isinstance(row, dict):
        raise DataError(f"{where} must be an object, not {type(row).__name__}.")
    for column in filter(None, (config.question, config.answer)):
        value = row.get(column)
        if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
            raise DataError(f"{where} has {column}={value!r}; it must be non-empty text. Columns: {sorted(row)}.")
    answer = None if config.answer is None else str(row[config.answer])
    if answer is not None and config.rules:
        found = extract_answer(answer, config.rules)
        if not found:
            raise DataError(
                f"{where} has {config.answer}={answer[:80]!r}, in which {list(config.rules)} find no answer."
            )
        answer = found
    return Problem(str(row.get("id", where)), str(row[config.question]), answer, row if whole else {})


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
