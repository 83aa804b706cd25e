"""Scoring: several rewards with weights, each asked about every completion."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sapo_train.batch import Completion, Group
from sapo_train.config import check, config
from sapo_train.errors import ConfigError, RewardError
from sapo_train.rewards.equivalence import equivalences
from sapo_train.rewards.text import ANSWER_RULES, AnswerRule, extract_answer, think_answer_format

LARGEST = 1e30  # beyond it a standard deviation of rewards overflows

RewardFunction = Callable[[Sequence[str], Sequence[str]], Any]


@config
class RewardConfig:
    """What is rewarded: the weighted sum of the rewards that apply."""

    weights: dict[str, float] = field(default_factory=lambda: {"equivalence": 1.0})
    """Reward: weight. 'equivalence', 'think-answer-format', or a function 'package.module:name' of (completions,
    answers) that returns one number (or None: not applicable) for each; it may be async."""
    scale: bool = False
    """Divide each reward by its standard deviation (ddof 0) over the batch before it is weighted; one that is the same
    for every completion is left as it is."""
    answer: tuple[AnswerRule, ...] = ANSWER_RULES
    """Where equivalence looks for the answer, in this order."""

    def __post_init__(self) -> None:
        check(bool(self.weights), "reward.weights={} must name at least one reward.")
        for name, weight in self.weights.items():
            check(math.isfinite(weight), f"reward.weights.{name}={weight} must be finite.")
            known = name in BUILT_IN or ":" in name
            check(known, f"no reward {name!r}: it must be one of {list(BUILT_IN)} or 'package.module:name'.")
        check(bool(self.answer), "reward.answer=[] must name at least one rule.")


@dataclass(frozen=True)
class Reward:
    """The rewards of a run, functions found."""

    functions: dict[str, RewardFunction]
    weights: dict[str, float]
    scale: bool = False

    def score(self, groups: Sequence[Group]) -> list[Group]:
        """Give every completion its reward.

        Raises:
            RewardError: None from all, NaN, or an exception, naming the sample.
        """
        where = [(group, k) for group in groups for k in range(len(group.completions))]
        texts = [group.completions[k].text for group, k in where]
        golds = [group.prompt.problem.answer for group, _ in where]
        columns = {name: self._column(name, function, texts, golds) for name, function in self.functions.items()}
        scored = iter(range(len(where)))
        return [
            replace(group, completions=tuple(self._sum(group, c, columns, next(scored)) for c in group.completions))
            for group in groups
        ]

    def scaled(self, groups: Sequence[Group]) -> list[Group]:
        """Divide each reward by its standard deviation over these groups, a whole batch, if that was asked for."""
        if not self.scale:
            return list(groups)
        columns: dict[str, list[float]] = {}
        for name, value in (part for group in groups for c in group.completions for part in c.parts):
            columns.setdefault(name, []).append(value)
        spread = {name: statistics.pstdev(values) for name, values in columns.items()}

        def rescaled(completion: Completion) -> Completion:
            change = sum(self.weights[name] * value * (1 / (spread[name] or 1) - 1) for name, value in completion.parts)
            return replace(completion, reward=completion.reward + change)

        return [replace(group, completions=tuple(map(rescaled, group.completions))) for group in groups]

    def _column(self, name: str, function: RewardFunction, texts: list[str], golds: list[str]) -> list[float | None]:
        try:
            values = function(texts, golds)
            if inspect.isawaitable(values):
                values = asyncio.run(_await(values))
        except RewardError:
            raise
        except Exception as error:
            culprit = _culprit(function, texts, golds)
            raise RewardError(f"reward {name!r} raised {type(error).__name__}: {error}{culprit}.") from error
        if not isinstance(values, Iterable):
            raise RewardError(f"reward {name!r} returned {values!r}; it must return one number for each completion.")
        values = list(values)
        if len(values) != len(texts):
            raise RewardError(
                f"reward {name!r} returned {len(values)} values for {len(texts)} completions; it needs one each."
            )
        for value, text in zip(values, texts, strict=True):
            if value is not None and not _is_number(value):
                raise RewardError(
                    f"reward {name!r} is {value!r} for {text[:200]!r}; it must be a number, at most {LARGEST:g} either "
                    "way, or None."
                )
        return [None if value is None else float(value) for value in values]

    def _sum(self, group: Group, completion: Any, columns: dict[str, list[float | None]], at: int) -> Any:
        parts = tuple((name, value) for name, column in columns.items() if (value := column[at]) is not None)
        if not parts:
            raise RewardError(
                f"no reward applies to problem {group.prompt.problem.id!r}: {list(columns)} all returned None for "
                f"{completion.text[:200]!r}."
            )
        return replace(completion, parts=parts, reward=sum(self.weights[name] * value for name, value in parts))


def build_reward(config: RewardConfig) -> Reward:
    """Find the functions that the configuration names.

    Raises:
        ConfigError: a dotted path that leads nowhere.
    """
    made: dict[str, RewardFunction] = {
        "equivalence": lambda texts, golds: answers_right(texts, golds, config.answer),
        "think-answer-format": lambda texts, golds: [think_answer_format(text) for text in texts],
    }
    return Reward(
        {name: made.get(name) or _import(name) for name in config.weights}, dict(config.weights), config.scale
    )


def answers_right(texts: Sequence[str], golds: Sequence[str], rules: tuple[AnswerRule, ...]) -> list[float]:
    """Extract each answer and compare it: 1 right, 0 wrong or absent."""
    answers = [extract_answer(text, rules) for text in texts]
    asked = [(answer, gold) for answer, gold in zip(answers, golds, strict=True) if answer is not None]
    verdicts = iter(equivalences(asked))
    return [float(answer is not None and next(verdicts)) for answer in answers]


def judge(problems: Sequence[tuple[Sequence[str], str]], rules: tuple[AnswerRule, ...]) -> list[list[int]]:
    """Sort the completions of each problem by their answers.

    Args:
        problems: completions and the right answer of each.
        rules: where the answer stands.

    Returns:
        For each completion 0 if it is right, a number from 1 that equal wrong answers share, or -1 without an answer.
    """
    answers = [[extract_answer(text, rules) for text in texts] for texts, _ in problems]
    distinct = [list(dict.fromkeys(a for a in mine if a is not None)) for mine in answers]
    asked = [(a, gold) for mine, (_, gold) in zip(distinct, problems, strict=True) for a in mine]
    verdicts = iter(equivalences(asked))
    classes = []
    for mine, different in zip(answers, distinct, strict=True):
        right = {answer for answer in different if next(verdicts)}
        number = wrong_classes([answer for answer in different if answer not in right])
        classes.append([-1 if a is None else 0 if a in right else number[a] for a in mine])
    return classes


def wrong_classes(answers: Sequence[str]) -> dict[str, int]:
    """Number answers from 1 so that those that are equivalent to the first of a class share its number."""
    firsts: list[str] = []
    number = {}
    for answer in answers:
        same = [*equivalences([(answer, first) for first in firsts]), True]
        if same.index(True) == len(firsts):
            firsts.append(answer)
        number[answer] = 1 + same.index(True)
    return number


BUILT_IN = ("equivalence", "think-answer-format")


def _import(path: str) -> RewardFunction:
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"cannot find reward {path!r}: {error}; name it as module:function, of a module on the Python path."
        ) from None
    if not callable(function):
        raise ConfigError(f"reward {path!r} is {type(function).__name__}, not a function.")
    return function


def _culprit(function: RewardFunction, texts: list[str], golds: list[str]) -> str:
    """Ask again one by one to name the sample; a function that fails only on the whole batch names none."""
    for text, gold in zip(texts, golds, strict=True):
        try:
            value = function([text], [gold])
            if inspect.isawaitable(value):
                asyncio.run(_await(value))
        except Exception:
            return f" for completion {text[:200]!r} with answer {gold!r}"
    return ""


async def _await(value: Any) -> Any:
    return await value


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) <= LARGEST and not isinstance(value, str)
    except (TypeError, ValueError, OverflowError):
        return False
