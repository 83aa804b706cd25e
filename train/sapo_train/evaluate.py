"""Evaluation: problems answered by a model, each judged right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sapo_train.config import check, config
from sapo_train.data import Prompt
from sapo_train.engine import Decoding, Engine, Sampled
from sapo_train.rewards.judge import judge
from sapo_train.rewards.text import AnswerRule
from sapo_train.rollout import SamplingConfig

DRAW = 2**40  # evaluation streams begin here, far from the draws of training


@config
class EvaluationConfig:
    """How problems are answered when the model is tested. What stops a completion is what stops it in training."""

    every: int = 0
    """Batch steps between evaluations during training, >= 0; 0: only before and after."""
    samples: int = 1
    """Completions per problem, >= 1."""
    temperature: float = 0.7
    """Sampling temperature, >= 0; 0 is greedy."""
    top_p: float = 1.0
    """Sample from the fewest likeliest tokens that hold this much probability, in (0, 1]."""
    max_tokens: int = 512
    """Token limit of a completion, >= 1."""
    limit: int = 0
    """Only the first so many problems, >= 0; 0: all."""
    batch: int = 64
    """Completions that are generated together, >= 1; as they end, others begin. Changes speed, not the result."""

    def __post_init__(self) -> None:
        check(self.every >= 0, f"evaluation.every={self.every} must be at least 0.")
        check(self.samples >= 1, f"evaluation.samples={self.samples} must be at least 1.")
        check(self.temperature >= 0, f"evaluation.temperature={self.temperature} must be at least 0.")
        check(
            self.samples == 1 or self.temperature > 0,
            f"evaluation.samples={self.samples} at temperature 0 are all the same; raise evaluation.temperature.",
        )
        check(0 < self.top_p <= 1, f"evaluation.top_p={self.top_p} must lie in (0, 1]; 1 keeps every token.")
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
    classes: tuple[int, ...]  # 0: right; equal wrong answers share a positive number; -1: no answer
    truncated: int

    @property
    def accuracy(self) -> float:
        """Share of the completions that are right."""
        return sum(self.right) / len(self.right)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Result:
        """Read what was written as JSON."""
        lists = {key: tuple(row[key]) for key in ("completions", "right", "classes")}
        return cls(**{**row, **lists})


@dataclass(frozen=True)
class Evaluation:
    """How a model is tested."""

    config: EvaluationConfig
    sampling: SamplingConfig
    rules: tuple[AnswerRule, ...]
    seed: int = 0

    @property
    def decoding(self) -> Decoding:
        """The decoding of training but for temperature, truncation and limit."""
        config = self.config
        return replace(
            self.sampling.decoding,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=0,
        )

    def results(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        tell: Callable[[int, int], None] = lambda done, total: None,
        begin: int = 0,
    ) -> Iterator[Result]:
        """Answer problem `begin` and those after it, `samples` times each, in their order.

        `tell(done, total)` is called for each that has been answered, whether those before it have or not.
        """
        prompts, samples = prompts[: self.config.limit or None], self.config.samples
        asked = prompts[begin:]
        drawn = engine.stream(
            [prompt.tokens for prompt in asked],
            samples=samples,
            decoding=self.decoding,
            streams=[(self.seed, DRAW + begin + k, i) for k in range(len(asked)) for i in range(samples)],
            together=self.config.batch,
        )
        ready: dict[int, Result] = {}
        given = 0
        for done, (k, completions) in enumerate(drawn if asked else (), 1):
            ready[k] = self._result(asked[k], completions)
            while given in ready:
                yield ready.pop(given)
                given += 1
            tell(begin + done, len(prompts))

    def _result(self, prompt: Prompt, drawn: Sequence[Sampled]) -> Result:
        texts, problem = tuple(sampled.text for sampled in drawn), prompt.problem
        assert problem.answer is not None  # a source without answers has nothing held out
        (classes,) = judge([(texts, problem.answer)], self.rules)
        return Result(
            id=problem.id,
            question=problem.question,
            answer=problem.answer,
            completions=texts,
            right=tuple(float(c == 0) for c in classes),
            classes=tuple(classes),
            truncated=sum(not sampled.ended for sampled in drawn),
        )
