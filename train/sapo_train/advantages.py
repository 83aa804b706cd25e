"""Advantages relative to the group: A = reward − group mean, perhaps over the group's spread."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from sapo_train.batch import Batch, Completion, Group, pad
from sapo_train.config import check, config


@config
class AdvantageConfig:
    """How rewards become advantages."""

    kind: Literal["grpo", "dr-grpo", "leave-one-out"] = "grpo"
    """grpo: (R − mean)/(std + eps), 2402.03300. dr-grpo: R − mean, 2503.20783. leave-one-out: R − others' mean."""
    eps: float = 1e-4
    """Added to the standard deviation of grpo, >= 0."""
    ddof: Literal[0, 1] = 1
    """The standard deviation of grpo divides by group_size − ddof."""
    mask_truncated: bool = False
    """Leave completions without an end token out of the loss; they still count in their group's mean."""
    overlong_buffer: int = 0
    """The reward falls linearly by up to 1 over the last so many tokens before the limit (DAPO 2503.14476), >= 0."""
    max_draws: int = 1
    """Rounds of sampling, >= 1: from the second on, groups without spread are replaced by further prompts (DAPO)."""

    def __post_init__(self) -> None:
        check(self.eps >= 0, f"advantage.eps={self.eps} must be at least 0.")
        check(self.overlong_buffer >= 0, f"advantage.overlong_buffer={self.overlong_buffer} must be at least 0.")
        check(self.max_draws >= 1, f"advantage.max_draws={self.max_draws} must be at least 1.")


def group_advantages(rewards: Tensor, kind: str = "grpo", eps: float = 1e-4, ddof: int = 1) -> Tensor:
    """Advantages [G] of one group's rewards [G]; exactly 0 where max == min, whatever rounding makes of the mean."""
    rewards = rewards.double()
    if len(rewards) < 2 or rewards.max() == rewards.min():
        return torch.zeros(len(rewards))
    centred = rewards - rewards.mean()
    if kind == "grpo":
        centred = centred / (rewards.std(correction=ddof) + eps)
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


def has_spread(group: Group) -> bool:
    """Are the group's rewards different, so that it has something to teach?"""
    return len({completion.reward for completion in group.completions}) > 1


def punish_overlong(group: Group, buffer: int, max_tokens: int) -> Group:
    """Lower the rewards of completions that come within `buffer` tokens of the limit.

    By (length − (max_tokens − buffer)) / buffer, from 0 where the buffer begins to 1 at the limit; 2503.14476, eq. 13.
    """

    def punished(completion: Completion) -> Completion:
        over = max(0, len(completion.tokens) - (max_tokens - buffer)) / buffer
        parts = (*completion.parts, ("overlong", -over))
        return replace(completion, reward=completion.reward - over, parts=parts)

    return replace(group, completions=tuple(map(punished, group.completions))) if buffer else group


def _of_group(group: Group, config: AdvantageConfig) -> Tensor:
    rewards = torch.tensor([completion.reward for completion in group.completions], dtype=torch.double)
    return group_advantages(rewards, config.kind, config.eps, config.ddof)
