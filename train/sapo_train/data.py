"""Prompts: problems as the model reads them; their order is a pure function of seed and position."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sapo_train.config import check, config
from sapo_train.errors import DataError
from sapo_train.files import read_json, write_json
from sapo_train.sources import Problem, SourceConfig, read_problems

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GOLDEN = (math.sqrt(5) - 1) / 2


@config
class DataConfig:
    """Problems to train on, a mixture of sources by weight, and problems to evaluate on."""

    train: tuple[SourceConfig, ...] = (SourceConfig(source="arithmetic", held_out=200),)
    """Sources that are trained on."""
    evaluate: tuple[SourceConfig, ...] = ()
    """Sources that are evaluated on, besides what the training sources hold out."""
    system: str | None = None
    """System prompt; none: what the model's chat template does by itself."""
    max_prompt: int = 512
    """Prompts of more tokens than this are dropped and counted, >= 1."""

    def __post_init__(self) -> None:
        check(bool(self.train), "data.train=[] must name at least one source of problems.")
        check(
            not any(source.held_out for source in self.evaluate),
            "data.evaluate holds out nothing: held_out belongs to a source under data.train.",
        )
        check(
            all(source.answer is not None for source in self.evaluate),
            "data.evaluate has a source with answer=null: its answers are compared with the right one.",
        )
        check(self.max_prompt >= 1, f"data.max_prompt={self.max_prompt} must be at least 1.")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A problem as the model reads it."""

    problem: Problem
    tokens: Tensor  # [P] long, chat template applied


@dataclass(frozen=True)
class Problems:
    """Prompts to train on, source by source, prompts to evaluate on, and how many were too long for either."""

    train: tuple[tuple[Prompt, ...], ...]
    held_out: tuple[Prompt, ...]
    dropped: int
    weights: tuple[float, ...] = (1.0,)

    def draw(self, seed: int, position: int, number: int) -> list[Prompt]:
        """Return the prompts at positions position … position + number − 1 of an endless order.

        Each source is gone through lap by lap, every lap in an order of its own. Which source stands at a position is
        decided by a golden-ratio sequence: of any n neighbours, n·w come from a source of weight w, give or take a few.
        """
        sources = mixture(self.weights, seed, position + number)
        counts = [int((sources[:position] == k).sum()) for k in range(len(self.train))]
        drawn = []
        for k in sources[position:]:
            prompts, count = self.train[k], counts[k]
            drawn.append(prompts[_order(seed, count // len(prompts), len(prompts))[count % len(prompts)]])
            counts[k] += 1
        return drawn


def mixture(weights: Sequence[float], seed: int, number: int) -> np.ndarray:
    """Return the source [number] that stands at each of the first positions."""
    offset = np.random.default_rng(seed).random()
    points = (offset + GOLDEN * np.arange(number)) % 1.0
    bounds = np.cumsum(weights) / sum(weights)
    return np.minimum(np.searchsorted(bounds, points, side="right"), len(weights) - 1)


def load_problems(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, vocabulary: int | None = None, rows: bool = False
) -> Problems:
    """Read or make the problems and put them through the model's chat template.

    Args:
        config: where they come from.
        tokenizer: with a chat template.
        vocabulary: rows of the model's embedding; no token may lie beyond.
        rows: keep all columns of each problem, for rewards that ask for them.

    Raises:
        DataError: a source or row that cannot be used, or nothing left to train on.
    """
    sources = [read_problems(source, rows) for source in config.train]
    train = [list(encoded(mine, tokenizer, config.system, vocabulary)) for mine, _ in sources]
    evaluated = [problem for _, held_out in sources for problem in held_out]
    evaluated += [problem for source in config.evaluate for problem in read_problems(source)[0]]
    held_out = list(encoded(evaluated, tokenizer, config.system, vocabulary))
    sides = [*train, held_out]
    kept = [tuple(p for p in side if len(p.tokens) <= config.max_prompt) for side in sides]
    for source, before, after in zip(config.train, train, kept, strict=False):
        if not after:
            raise DataError(
                f"no prompt of {source.source!r} has at most data.max_prompt={config.max_prompt} tokens "
                f"({len(before)} read)."
            )
    weights = tuple(source.weight for source in config.train)
    return Problems(tuple(kept[:-1]), kept[-1], sum(map(len, sides)) - sum(map(len, kept)), weights)


def encoded(
    problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase, system: str | None, vocabulary: int | None = None
) -> Iterator[Prompt]:
    """Apply the model's own chat template, which brings its own special tokens: no second BOS.

    Raises:
        DataError: no chat template, one that refuses the system prompt, or a token the model has no embedding for.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise DataError("the tokenizer has no chat template; use an instruct model, or give the tokenizer one.")
    for problem in problems:
        messages = [{"role": "user", "content": problem.question}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        try:
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        except TemplateError as error:
            raise DataError(
                f"the model's chat template refuses {[m['role'] for m in messages]} messages: {error}. "
                "Leave data.system out for a model without system prompts."
            ) from None
        tokens = torch.tensor(ids, dtype=torch.long)
        if vocabulary is not None and int(tokens.max()) >= vocabulary:
            raise DataError(
                f"problem {problem.id!r} has token {int(tokens.max())}, but the model embeds {vocabulary}: "
                "tokenizer and model do not belong together."
            )
        yield Prompt(problem=problem, tokens=tokens)


def verify_problems(problems: Problems, stored: Path) -> None:
    """Keep what the problems are in `stored`, or compare with what it keeps.

    Raises:
        DataError: they are not those that the run began with, so that it could not go on with them.
    """
    sides = [*problems.train, problems.held_out]
    asked = hashlib.sha256()
    for prompt in (prompt for side in sides for prompt in side):
        problem = prompt.problem
        asked.update(prompt.tokens.numpy().tobytes() + (problem.answer or "").encode())
        if problem.row:
            # of a value that is not JSON's the type counts: its text may hold an address
            asked.update(json.dumps(problem.row, skipkeys=True, default=lambda value: type(value).__name__).encode())
    numbers = [len(side) for side in sides]
    now = {"train": numbers[:-1], "held_out": numbers[-1], "dropped": problems.dropped, "sha256": asked.hexdigest()}
    if not stored.exists():
        write_json(stored, now)
    elif (before := read_json(stored)) != now:
        raise DataError(
            f"the problems are not those that the run began with: {before}, now {now} ({stored}); put the data back, "
            "or begin a new run."
        )


@functools.lru_cache(maxsize=16)
def _order(seed: int, lap: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, lap]).permutation(size)
