"""A run as one complete value."""

from __future__ import annotations

from dataclasses import field

from sapo_train.advantages import AdvantageConfig
from sapo_train.batch import UpdateConfig
from sapo_train.certified import ObjectiveConfig
from sapo_train.checkpoint import CheckpointConfig
from sapo_train.config import check, config
from sapo_train.data import DataConfig
from sapo_train.engines import EngineConfig
from sapo_train.evaluate import EvaluationConfig
from sapo_train.models import PolicyConfig
from sapo_train.optim import OptimConfig
from sapo_train.rewards.score import RewardConfig
from sapo_train.rollout import SamplingConfig
from sapo_train.trace import RatioConfig
from sapo_train.tracking import TrackingConfig
from sapo_train.world import LaunchConfig


@config
class RunConfig:
    """Everything that decides what a run does; written next to what it did."""

    name: str = "run"
    """A word for the run: names its directory."""
    steps: int
    """Batch steps, >= 1: each draws prompts, samples, scores, and makes epochs × minibatches updates."""
    seed: int = 0
    """Decides the order of problems and every sample, in [0, 2**32)."""
    allow_uncertified: bool = False
    """Train a gate that is neither certified nor a baseline that ships."""
    report: bool = True
    """Make report.html in the run directory at the end; with the extra 'analysis' installed."""
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    ratios: RatioConfig = field(default_factory=RatioConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"steps={self.steps} must be at least 1.")
        check(0 <= self.seed < 2**32, f"seed={self.seed} must lie in [0, 2**32).")
        check(
            self.update.minibatches <= self.sampling.prompts,
            f"update.minibatches={self.update.minibatches} must be at most sampling.prompts={self.sampling.prompts}: "
            "whole groups are dealt to minibatches.",
        )
        check(
            self.optim.warmup < self.updates,
            f"optim.warmup={self.optim.warmup} must be less than the run's updates: steps {self.steps} × epochs "
            f"{self.update.epochs} × minibatches {self.update.minibatches} = {self.updates}.",
        )

        check(
            self.advantage.overlong_buffer <= self.sampling.max_tokens,
            f"advantage.overlong_buffer={self.advantage.overlong_buffer} must be at most sampling.max_tokens="
            f"{self.sampling.max_tokens}.",
        )
        truncates = self.sampling.top_p < 1 or self.sampling.top_k > 0
        check(
            self.engine.kind == "local"
            or not truncates
            or (self.sampling.temperature == 1 and self.sampling.top_k > 0),
            f"engine.kind=vllm with sampling.top_p={self.sampling.top_p} and top_k={self.sampling.top_k} needs "
            "temperature 1 and a top_k: vLLM tells log-probs before temperature and truncation or after both, of so "
            "many tokens as it is asked for, and ratios need those between.",
        )

    @property
    def groups_per_minibatch(self) -> int:
        """Groups of the smallest minibatch."""
        return self.sampling.prompts // self.update.minibatches

    @property
    def updates(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps * self.update.epochs * self.update.minibatches

    @property
    def inert_gate(self) -> bool:
        """True where every ratio is 1 by configuration, so that no gate ever acts."""
        return self.update.epochs * self.update.minibatches == 1
