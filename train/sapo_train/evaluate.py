"""Held-out evaluation: the share of problems answered right, with intervals over problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sapo_train.config import check, config
from sapo_train.data import Prompt
from sapo_train.policy import Policy
from sapo_train.rewards.score import answers_right
from sapo_train.rewards.text import AnswerRule
from sapo_train.rollout import generate

RESAMPLES = 10_000
DRAW = 2**40  # evaluation streams begin here, far from the draws of training


@config
class EvaluationConfig:
    """How held-out problems are answered."""

    every: int = 0
    """Batch steps between evaluations during training, >= 0; 0: only before and after."""
    samples: int = 1
    """Completions per problem, >= 1."""
    temperature: float = 0.0
    """Sampling temperature, >= 0; 0 is greedy."""
    max_tokens: int = 64
    """Token limit of a completion, >= 1."""
    limit: int = 0
    """Only the first so many problems, >= 0; 0: all."""
    batch: int = 64
    """Completions that are generated together, >= 1. Changes speed, not the result."""

    def __post_init__(self) -> None:
        check(self.every >= 0, f"evaluation.every={self.every} must be at least 0.")
        check(self.samples >= 1, f"evaluation.samples={self.samples} must be at least 1.")
        check(self.temperature >= 0, f"evaluation.temperature={self.temperature} must be at least 0.")
        check(
            self.samples == 1 or self.temperature > 0,
            f"evaluation.samples={self.samples} at temperature 0 are all the same; raise evaluation.temperature.",
        )
        check(self.max_tokens >= 1, f"evaluation.max_tokens={self.max_tokens} must be at least 1.")
        check(self.limit >= 0, f"evaluation.limit={self.limit} must be at least 0.")
        check(self.batch >= 1, f"evaluation.batch={self.batch} must be at least 1.")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One problem and what was answered."""

    id: str
    question: str
    answer: str
    completions: tuple[str, ...]
    right: tuple[float, ...]
    truncated: int

    @property
    def accuracy(self) -> float:
        """Share of the completions that are right."""
        return sum(self.right) / len(self.right)


def evaluate(
    policy: Policy,
    prompts: Sequence[Prompt],
    config: EvaluationConfig,
    rules: tuple[AnswerRule, ...],
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Answer each problem `samples` times; `tell(done, total)` is called as it goes on."""
    prompts = prompts[: config.limit or None]
    together = max(1, config.batch // config.samples)
    results: list[Result] = []
    for start in range(0, len(prompts), together):
        part = prompts[start : start + together]
        drawn = generate(
            policy,
            [prompt.tokens for prompt in part],
            samples=config.samples,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            streams=[(seed, DRAW + start + k, i) for k in range(len(part)) for i in range(config.samples)],
        )
        texts = [policy.text(s.tokens) for s in drawn]
        right = answers_right(texts, [p.problem.answer for p in part for _ in range(config.samples)], rules)
        for k, prompt in enumerate(part):
            rows = slice(k * config.samples, (k + 1) * config.samples)
            results.append(
                Result(
                    id=prompt.problem.id,
                    question=prompt.problem.question,
                    answer=prompt.problem.answer,
                    completions=tuple(texts[rows]),
                    right=tuple(right[rows]),
                    truncated=sum(not s.ended for s in drawn[rows]),
                )
            )
        tell(len(results), len(prompts))
    return results


def accuracy(results: Sequence[Result]) -> tuple[float, tuple[float, float]]:
    """Mean accuracy and its 95 % interval: Wilson for one completion a problem, else bootstrap over problems."""
    shares = [result.accuracy for result in results]
    mean = float(np.mean(shares))
    if all(len(result.right) == 1 for result in results):
        return mean, wilson(round(sum(shares)), len(shares))
    return mean, bootstrap(shares)


def paired_difference(before: Sequence[Result], after: Sequence[Result]) -> tuple[float, tuple[float, float]]:
    """Mean of after − before over the same problems, and its 95 % interval by bootstrap over problems."""
    assert [result.id for result in before] == [result.id for result in after]
    differences = [b.accuracy - a.accuracy for a, b in zip(before, after, strict=True)]
    return float(np.mean(differences)), bootstrap(differences)


def wilson(right: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % by default."""
    p, n = right / total, total
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n)))


def bootstrap(values: Sequence[float], resamples: int = RESAMPLES) -> tuple[float, float]:
    """Percentile interval (95 %) of the mean under resampling of the values."""
    sample = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(len(sample), size=(resamples, len(sample)))
    low, high = np.quantile(sample[drawn].mean(-1), [0.025, 0.975])
    return float(low), float(high)
