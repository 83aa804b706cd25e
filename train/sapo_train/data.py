"""Problems: a question in words and the answer that is right; their order is a pure function of seed and position."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from sapo_train.config import check, config
from sapo_train.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HELD_OUT_SEED = 20260219  # the held-out problems are the same whatever a run's seed


@config
class DataConfig:
    """Where problems come from. The answer is compared by the reward, never shown to the model."""

    source: Literal["arithmetic", "jsonl"] = "arithmetic"
    """arithmetic: sums of two numbers, made here. jsonl: files, one object a line."""
    largest: int = 25
    """arithmetic: both numbers go from 1 to this, >= 2."""
    held_out: int = 200
    """arithmetic: at least so many problems are kept for evaluation; a+b and b+a always on the same side. >= 0."""
    template: str = "What is {a}+{b}? Answer with a number."
    """arithmetic: the question, with {a} and {b}."""
    train: str | None = None
    """jsonl: path of the training problems."""
    evaluate: str | None = None
    """jsonl: path of the held-out problems; none: no evaluation."""
    question: str = "question"
    """jsonl: name of the column that is asked."""
    answer: str = "answer"
    """jsonl: name of the column that is right."""
    system: str | None = None
    """System prompt; none: what the model's chat template does by itself."""
    max_prompt: int = 512
    """Prompts of more tokens than this are dropped and counted, >= 1."""

    def __post_init__(self) -> None:
        check(self.largest >= 2, f"data.largest={self.largest} must be at least 2.")
        check(self.max_prompt >= 1, f"data.max_prompt={self.max_prompt} must be at least 1.")
        pairs = self.largest**2
        check(
            0 <= self.held_out <= pairs - 2,
            f"data.held_out={self.held_out} must leave training problems: there are {self.largest}**2 = {pairs}.",
        )
        check(
            "{a}" in self.template and "{b}" in self.template, f"data.template={self.template!r} needs {{a}} and {{b}}."
        )
        check(self.source != "jsonl" or self.train is not None, "data.source='jsonl' needs data.train, a path.")


@dataclass(frozen=True)
class Problem:
    """A question and its right answer."""

    id: str
    question: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A problem as the model reads it."""

    problem: Problem
    tokens: Tensor  # [P] long, chat template applied


@dataclass(frozen=True)
class Problems:
    """Prompts to train on and prompts to evaluate on, and how many were too long for either."""

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    dropped: int

    def draw(self, seed: int, position: int, number: int) -> list[Prompt]:
        """Return the prompts at positions position … position + number − 1 of an endless reshuffled order."""
        size = len(self.train)
        return [self.train[_order(seed, k // size, size)[k % size]] for k in range(position, position + number)]


def load_problems(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Problems:
    """Read or make the problems and put them through the model's chat template.

    Raises:
        DataError: a file or row that cannot be used, or nothing left to train on.
    """
    train, held_out = arithmetic(config) if config.source == "arithmetic" else _from_files(config)
    sides = [[encode(problem, tokenizer, config.system) for problem in side] for side in (train, held_out)]
    kept = [tuple(p for p in side if len(p.tokens) <= config.max_prompt) for side in sides]
    if not kept[0]:
        raise DataError(
            f"no training prompt has at most data.max_prompt={config.max_prompt} tokens ({len(train)} read)."
        )
    return Problems(kept[0], kept[1], sum(map(len, sides)) - sum(map(len, kept)))


def arithmetic(config: DataConfig) -> tuple[list[Problem], list[Problem]]:
    """Make every sum a+b with 1 <= a, b <= largest, no held-out sum trained on in either order."""
    numbers = range(1, config.largest + 1)
    unordered = [(a, b) for a in numbers for b in numbers if a <= b]
    shuffled = np.random.default_rng(HELD_OUT_SEED).permutation(len(unordered))
    train: list[Problem] = []
    held_out: list[Problem] = []
    for k in shuffled:
        a, b = unordered[k]
        side = held_out if len(held_out) < config.held_out else train
        for x, y in sorted({(a, b), (b, a)}):
            side.append(Problem(f"{x}+{y}", config.template.format(a=x, b=y), str(x + y)))
    return train, held_out


def read_jsonl(path: str, question: str, answer: str) -> list[Problem]:
    """Read problems from a JSON Lines file; a row without `id` is named by its line.

    Raises:
        DataError: naming file and line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read problems from {path}: {error}.") from None
    problems = [_problem(line, f"{path}:{n}", question, answer) for n, line in enumerate(lines, 1) if line.strip()]
    if not problems:
        raise DataError(f"{path} holds no problem: one JSON object a line is needed.")
    return problems


def encode(problem: Problem, tokenizer: PreTrainedTokenizerBase, system: str | None = None) -> Prompt:
    """Apply the model's own chat template, which brings its own special tokens: no second BOS."""
    if not tokenizer.chat_template:
        raise DataError("the tokenizer has no chat template; use an instruct model, or give the tokenizer one.")
    messages = [{"role": "user", "content": problem.question}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    return Prompt(problem=problem, tokens=torch.tensor(ids, dtype=torch.long))


def _from_files(config: DataConfig) -> tuple[list[Problem], list[Problem]]:
    def read(path: str | None) -> list[Problem]:
        return [] if path is None else read_jsonl(path, config.question, config.answer)

    return read(config.train), read(config.evaluate)


def _problem(line: str, where: str, question: str, answer: str) -> Problem:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} must be an object, not {type(row).__name__}.")
    for column in (question, answer):
        value = row.get(column)
        if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
            raise DataError(f"{where} has {column}={value!r}; it must be non-empty text. Columns: {sorted(row)}.")
    return Problem(str(row.get("id", where)), str(row[question]), str(row[answer]))


def _order(seed: int, lap: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, lap]).permutation(size)
