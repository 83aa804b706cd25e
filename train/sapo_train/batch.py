"""What crosses between the rooms of the trainer: completions, groups, batches; frozen values made of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sapo_train.config import check, config
from sapo_train.data import Prompt
from sapo_train.objective import LossInputs


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The tokens sampled after a prompt, and what was made of them."""

    tokens: Tensor  # [T] long, the end token included
    log_probs: Tensor  # [T] float, of the sampler at the sampling temperature, before top-k and top-p
    text: str  # without special tokens
    truncated: bool  # no end token within the limit
    kept: float = 1.0  # mean probability that top-k and top-p left to sample from
    reward: float = 0.0
    parts: tuple[tuple[str, float], ...] = ()  # each reward before its weight; those that did not apply are absent


@dataclass(frozen=True, kw_only=True)
class Group:
    """The completions of one prompt."""

    prompt: Prompt
    completions: tuple[Completion, ...]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All completions of a batch step, padded on the right; also a minibatch or a microbatch of them."""

    prompts: tuple[Tensor, ...]  # one [P] per group
    group: Tensor  # [B] long, index into `prompts`; rows of a group are neighbours
    tokens: Tensor  # [B, T] long
    mask: Tensor  # [B, T] bool, true where a token counts: by length, never by comparing with the pad token
    lengths: Tensor  # [B] long, what was sampled, whether it counts or not
    advantages: Tensor  # [B]
    sampler_log_probs: Tensor  # [B, T], of the behaviour policy
    old_log_probs: Tensor | None = None  # [B, T]; None: the first pass will supply them
    reference_log_probs: Tensor | None = None  # [B, T], where there is a KL term
    high_entropy: Tensor | None = None  # [B, T] bool, the tokens that are taught; None: all that count

    def __len__(self) -> int:
        return len(self.tokens)

    def token_advantages(self) -> Tensor:
        """Advantages [B, T]: a completion's one value at each of its tokens, 0 where entropy is not high enough."""
        wide = self.advantages[:, None].expand(self.mask.shape)
        return wide if self.high_entropy is None else torch.where(self.high_entropy, wide, 0.0)

    def inputs(self, log_probs: Tensor) -> LossInputs:
        """What the objective is computed from, given the log-probs [B, T] of the policy that is trained."""
        return LossInputs(
            log_probs=log_probs,
            old_log_probs=log_probs.detach() if self.old_log_probs is None else self.old_log_probs,
            advantages=self.token_advantages(),
            mask=self.mask,
            sampler_log_probs=self.sampler_log_probs,
            reference_log_probs=self.reference_log_probs,
        )

    def rows(self, index: Tensor) -> Batch:
        """Return the batch of these rows alone."""
        return replace(self, **{name: value[index] for name, value in vars(self).items() if isinstance(value, Tensor)})

    def split(self, size: int) -> Iterator[Batch]:
        """Cut into microbatches of at most `size` completions; `size` 0 means all at once."""
        for index in torch.arange(len(self)).split(size or len(self)):
            yield self.rows(index)

    def share(self, rank: int, size: int) -> Batch:
        """Return what process `rank` of `size` works on: whole groups, the shares in order being the batch."""
        mine = self.group.unique().tensor_split(size)[rank]
        return self.rows(torch.isin(self.group, mine).nonzero().flatten())

    def owner(self, row: int, size: int) -> int:
        """Which of `size` processes works on a row?"""
        shares = self.group.unique().tensor_split(size)
        return next(rank for rank, groups in enumerate(shares) if self.group[row] in groups)


@config
class UpdateConfig:
    """How a batch becomes updates."""

    epochs: int = 2
    """Passes over a batch, >= 1. In the first, with one minibatch, every ratio is 1 and no gate acts."""
    minibatches: int = 1
    """Optimizer steps in one pass, >= 1; whole groups are dealt to them."""
    microbatch: int = 8
    """Completions in one forward and backward, >= 0; 0: the whole minibatch. Changes memory, not the result."""
    max_grad_norm: float = 1.0
    """Gradients longer than this are scaled down to it, > 0."""

    def __post_init__(self) -> None:
        check(self.epochs >= 1, f"update.epochs={self.epochs} must be at least 1.")
        check(self.minibatches >= 1, f"update.minibatches={self.minibatches} must be at least 1.")
        check(self.microbatch >= 0, f"update.microbatch={self.microbatch} must be at least 0.")
        check(self.max_grad_norm > 0, f"update.max_grad_norm={self.max_grad_norm} must be positive.")


def pad(rows: list[Tensor], length: int) -> Tensor:
    """Stack 1-D tensors as [B, length], zeros on the right."""
    padded = rows[0].new_zeros(len(rows), length)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def minibatch_rows(batch: Batch, minibatches: int, seed: int, step: int, epoch: int) -> list[Tensor]:
    """Deal the groups of a batch to minibatches: rows [b] of each, shuffled by group and anew in each epoch.

    One minibatch keeps the order of the batch. A group stays whole, because its prompt is encoded once.
    """
    if minibatches == 1:
        return [torch.arange(len(batch))]
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) * 1_009 + epoch)
    order = torch.randperm(len(batch.prompts), generator=generator)
    return [torch.isin(batch.group, part).nonzero().flatten() for part in order.tensor_split(minibatches)]
