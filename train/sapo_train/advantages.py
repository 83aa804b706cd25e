"""Advantages relative to the group: A = reward − group mean, perhaps over the group's spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sapo_train.batch import Batch, Group, pad
from sapo_train.config import check, config


@config
class AdvantageConfig:
    """How rewards become advantages."""

    kind: Literal["grpo", "dr-grpo", "leave-one-out"] = "grpo"
    """grpo: (R − mean)/(std + eps), 2402.03300. dr-grpo: R − mean, 2503.20783. leave-one-out: R − others' mean."""
    eps: float = 1e-4
    """Added to the standard deviation (ddof 1) of grpo, >= 0."""
    mask_truncated: bool = False
    """Leave completions without an end token out of the loss; they still count in their group's mean."""

    def __post_init__(self) -> None:
        check(self.eps >= 0, f"advantage.eps={self.eps} must be at least 0.")


@dataclass(frozen=True)
class Spread:
    """How many groups had something to teach."""

    groups: int
    without: int  # max == min


def group_advantages(rewards: Tensor, kind: str = "grpo", eps: float = 1e-4) -> Tensor:
    """Advantages [G] of one group's rewards [G]; exactly 0 where max == min, whatever rounding makes of the mean."""
    rewards = rewards.double()
    if len(rewards) < 2 or rewards.max() == rewards.min():
        return torch.zeros(len(rewards))
    centred = rewards - rewards.mean()
    if kind == "grpo":
        centred = centred / (rewards.std() + eps)
    elif kind == "leave-one-out":
        centred = centred * len(rewards) / (len(rewards) - 1)  # R_i − mean of the others, in one multiplication
    return centred.float()


def assign_advantages(groups: list[Group], config: AdvantageConfig) -> Batch:
    """Turn scored groups into a batch."""
    completions = [completion for group in groups for completion in group.completions]
    lengths = torch.tensor([len(completion.tokens) for completion in completions])
    longest = int(lengths.max())
    counts = torch.tensor([not (c.truncated and config.mask_truncated) for c in completions])
    return Batch(
        prompts=tuple(group.prompt.tokens for group in groups),
        group=torch.repeat_interleave(torch.tensor([len(group.completions) for group in groups])),
        tokens=pad([completion.tokens for completion in completions], longest),
        mask=(torch.arange(longest) < lengths[:, None]) & counts[:, None],
        lengths=lengths,
        advantages=torch.cat([_of_group(group, config) for group in groups]),
        sampler_log_probs=pad([completion.log_probs for completion in completions], longest),
    )


def spread(groups: list[Group]) -> Spread:
    """Count the groups whose rewards are all equal."""
    flat = sum(len({completion.reward for completion in group.completions}) == 1 for group in groups)
    return Spread(len(groups), flat)


def _of_group(group: Group, config: AdvantageConfig) -> Tensor:
    rewards = torch.tensor([completion.reward for completion in group.completions], dtype=torch.double)
    return group_advantages(rewards, config.kind, config.eps)
