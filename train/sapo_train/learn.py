"""What the learner does with a batch: log-probs before the updates, and forward and backward of a minibatch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sapo_train.batch import Batch, minibatch_rows
from sapo_train.objective import Objective
from sapo_train.policy import Policy
from sapo_train.run import RunConfig
from sapo_train.world import World


@dataclass(frozen=True)
class Learned:
    """What a forward and backward leaves behind, detached and on the CPU."""

    loss: float
    log_probs: Tensor  # [B, T]
    entropy: Tensor  # [B, T]

    @staticmethod
    def join(parts: Sequence[Learned]) -> Learned:
        """Put microbatches, or the shares of processes, together again."""
        return Learned(
            math.fsum(part.loss for part in parts),
            torch.cat([part.log_probs for part in parts]),
            torch.cat([part.entropy for part in parts]),
        )


def with_log_probs(policy: Policy, batch: Batch, run: RunConfig, world: World) -> Batch:
    """Add what is needed before the first update: old log-probs, those of the reference, which tokens are taught.

    Where the batch is one minibatch and no dropout is on, the first pass is the old policy and supplies its log-probs.
    """
    share = run.objective.entropy_share
    if run.update.minibatches > 1 or policy.drops or share < 1:
        log_probs, entropy = _without_gradient(policy, batch, run, world)
        batch = replace(batch, old_log_probs=log_probs)
        if share < 1:
            batch = replace(batch, high_entropy=highest(entropy, batch.mask, share))
    if run.objective.kl_weight:
        with policy.reference() as reference:
            batch = replace(batch, reference_log_probs=_without_gradient(reference, batch, run, world)[0])
    return batch


def highest(entropy: Tensor, mask: Tensor, share: float) -> Tensor:
    """Mark the `share` of the tokens that count whose entropy is highest: [B, T] bool; at least one, ties included."""
    values = entropy[mask]
    if not len(values):
        return mask
    least = values.topk(max(1, round(share * len(values)))).values[-1]
    return mask & (entropy >= least)


def passes(batch: Batch, run: RunConfig, step: int) -> Iterator[tuple[int, Tensor]]:
    """Go through the batch `epochs` times, minibatch by minibatch: (epoch from 1, rows)."""
    for epoch in range(1, run.update.epochs + 1):
        for rows in minibatch_rows(batch, run.update.minibatches, run.seed, step, epoch):
            yield epoch, rows


def seed_dropout(seed: int, updates: int, world: World) -> None:
    """Make what is dropped in the coming update a function of seed, update and process."""
    torch.manual_seed((seed * 1_000_003 + updates) * 1_009 + world.rank)


def forward_backward(policy: Policy, objective: Objective, microbatch: Batch, denominator: float) -> Learned:
    """Add the microbatch's share of the gradient; without KL it is exactly 0 where no advantage is other than 0."""
    teaches = bool(microbatch.advantages.any()) or objective.kl_weight > 0
    with policy.learning(), torch.set_grad_enabled(teaches):
        log_probs, entropy = policy(microbatch)
        loss = objective.loss(microbatch.inputs(log_probs), denominator)
        if teaches:
            loss.backward()
    return Learned(loss.item(), log_probs.detach().cpu(), entropy.cpu())


@torch.no_grad()
def _without_gradient(policy: Policy, batch: Batch, run: RunConfig, world: World) -> tuple[Tensor, Tensor]:
    mine = batch.share(world.rank, world.size)
    parts = [Learned(0.0, *policy(microbatch)) for microbatch in mine.split(run.update.microbatch)]
    whole = Learned.join(world.gather(Learned.join(parts)))
    return whole.log_probs, whole.entropy
