"""Scoring: several rewards with weights, each asked about every completion."""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sapo_train.batch import Completion, Group
from sapo_train.config import check, config, nearest
from sapo_train.errors import ConfigError, RewardError
from sapo_train.rewards.ask import Columns, RewardFunction, ask, reward_function
from sapo_train.rewards.equivalence import equivalences
from sapo_train.rewards.text import ANSWER_RULES, AnswerRule, extract_answer, think_answer_format

BUILT_IN = ("equivalence", "think-answer-format")


@config
class RewardConfig:
    """What is rewarded: the weighted sum of the rewards that apply."""

    weights: dict[str, float] = field(default_factory=lambda: {"equivalence": 1.0})
    """Reward: weight. 'equivalence', 'think-answer-format', or a function 'package.module:name' that returns one number
    (or None: not applicable) for each completion; it may be async. Its parameters are any of: completions, answers,
    questions, rows."""
    scale: bool = False
    """Divide each reward by its standard deviation (ddof 0) over the batch before it is weighted; one that is the same
    for every completion is left as it is."""
    limit: float = 600.0
    """Seconds that a function of yours may take for the completions of a batch, > 0; equivalence has a limit for each
    answer."""
    answer: tuple[AnswerRule, ...] = ANSWER_RULES
    """Where equivalence looks for the answer, in this order."""

    def __post_init__(self) -> None:
        check(bool(self.weights), "reward.weights={} must name at least one reward.")
        for name, weight in self.weights.items():
            check(math.isfinite(weight), f"reward.weights.{name}={weight} must be finite.")
            check(
                name in BUILT_IN or ":" in name,
                f"no reward {name!r}: it must be one of {list(BUILT_IN)} or 'package.module:name'."
                f"{nearest(name, BUILT_IN)}",
            )
        check(self.limit > 0, f"reward.limit={self.limit} must be positive.")
        check(bool(self.answer), "reward.answer=[] must name at least one rule.")


@dataclass(frozen=True)
class Reward:
    """The rewards of a run, functions found."""

    functions: dict[str, RewardFunction]
    weights: dict[str, float]
    scale: bool = False
    limit: float = 600.0

    @property
    def reads_rows(self) -> bool:
        """Does a function ask for what else a problem's source says of it?"""
        return any("rows" in function.asks for function in self.functions.values())

    def score(self, groups: Sequence[Group]) -> list[Group]:
        """Give every completion its reward.

        Raises:
            RewardError: None from all, NaN, an exception, or no answer in time, naming the sample.
        """
        if not groups:  # a process that had no prompt to draw
            return []
        where = [(group, k) for group in groups for k in range(len(group.completions))]
        given = {
            "completions": [group.completions[k].text for group, k in where],
            "answers": [group.prompt.problem.answer for group, _ in where],
            "questions": [group.prompt.problem.question for group, _ in where],
            "rows": [group.prompt.problem.row for group, _ in where],
        }
        values = {name: self._values(name, given) for name in self.functions}
        scored = iter(range(len(where)))
        return [
            replace(group, completions=tuple(self._sum(group, c, values, next(scored)) for c in group.completions))
            for group in groups
        ]

    def scaled(self, groups: Sequence[Group]) -> list[Group]:
        """Divide each reward by its standard deviation over these groups, a whole batch, if that was asked for.

        What else was taken off, as from overlong completions, stays as it is.
        """
        if not self.scale:
            return list(groups)
        parts = [part for group in groups for c in group.completions for part in c.parts]
        spread = {name: statistics.pstdev([v for other, v in parts if other == name] or [0.0]) for name in self.weights}

        def rescaled(completion: Completion) -> Completion:
            mine = [(name, value) for name, value in completion.parts if name in self.weights]
            change = sum(self.weights[name] * value * (1 / (spread[name] or 1) - 1) for name, value in mine)
            return replace(completion, reward=completion.reward + change)

        return [replace(group, completions=tuple(map(rescaled, group.completions))) for group in groups]

    def _values(self, name: str, given: Columns) -> list[float | None]:
        """What one reward says; built-in ones have limits for each answer instead of one for all."""
        if name in BUILT_IN:
            return list(self.functions[name](given))
        return ask(name, self.functions[name], given, self.limit)

    def _sum(self, group: Group, completion: Any, values: dict[str, list[float | None]], at: int) -> Any:
        parts = tuple((name, value) for name, of in values.items() if (value := of[at]) is not None)
        if not parts:
            raise RewardError(
                f"no reward applies to problem {group.prompt.problem.id!r}: {list(values)} all returned None for "
                f"{completion.text[:200]!r}."
            )
        return replace(completion, parts=parts, reward=sum(self.weights[name] * value for name, value in parts))


def build_reward(config: RewardConfig) -> Reward:
    """Find the functions that the configuration names.

    Raises:
        ConfigError: a dotted path that leads nowhere, or a function that asks for what there is not.
    """
    made = {
        "equivalence": RewardFunction(lambda completions, answers: answers_right(completions, answers, config.answer)),
        "think-answer-format": RewardFunction(
            lambda completions: [think_answer_format(text) for text in completions], ("completions",)
        ),
    }
    return Reward(
        {name: made.get(name) or _import(name) for name in config.weights},
        dict(config.weights),
        config.scale,
        config.limit,
    )


def answers_right(
    texts: Sequence[str], golds: Sequence[str | None], rules: tuple[AnswerRule, ...]
) -> list[float | None]:
    """Extract each answer and compare it: 1 right, 0 wrong or absent, None where the problem has no right answer."""
    answers = [extract_answer(text, rules) for text in texts]
    pairs = list(zip(answers, golds, strict=True))
    asked = [(answer, gold) for answer, gold in pairs if answer is not None and gold is not None]
    verdicts = iter(equivalences(asked))
    return [None if gold is None else float(answer is not None and next(verdicts)) for answer, gold in pairs]


def _import(path: str) -> RewardFunction:
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # of any kind: importing runs the user's module
        raise ConfigError(
            f"cannot find reward {path!r}: {type(error).__name__}: {error}; name it as module:function, of a module in "
            "this folder or on the Python path."
        ) from None
    if not callable(function):
        raise ConfigError(f"reward {path!r} is {type(function).__name__}, not a function.")
    return reward_function(path, function)
