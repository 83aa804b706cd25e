"""The gated objective: log-ratio, gate, correction, KL to a reference, reduction.

J = reduction of f(r)·A over the tokens that count, r = π_new/π_old. The gradient of a token is φ(r)·A·∇log π with the
score weight φ = r·f'(r). The gate itself comes from `sapo_gates`, certified; nothing here knows a family by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from sapo_train.errors import ShapeError

Reduction = Literal["seq-mean-token-mean", "token-mean", "seq-mean-token-sum-norm"]
RatioLevel = Literal["token", "sequence", "sequence-sum"]
Correction = Literal["none", "token", "sequence"]

CORRECTION_CAP = 2.0  # as in TIS (Yao et al. 2025): above it the variance costs more than the bias
KNEE = 20.0  # nats beyond which k3 goes on along its tangent
FAR = 1e6  # nats: farther apart than any two float32 log-softmaxes of a vocabulary


class TorchGate(Protocol):
    """A gate as `sapo_gates.torch.surrogate` makes it: functions of the log-ratio and the advantage."""

    def __call__(self, log_ratio: Tensor, advantage: Tensor, mask: Tensor | None = None) -> Tensor:
        """f(r)·A, in the shape of `log_ratio`, differentiable in it."""
        ...

    def weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """w(r) = f'(r)."""
        ...

    def score_weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """φ(r) = r·w(r)."""
        ...


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """What the objective is computed from; only `log_probs` carries a gradient."""

    log_probs: Tensor  # [B, T] nats, of the policy that is trained
    old_log_probs: Tensor  # [B, T] nats, of the policy that sampled
    advantages: Tensor  # [B, T]
    mask: Tensor  # [B, T] bool, the tokens that count
    sampler_log_probs: Tensor | None = None  # [B, T] nats, as the sampling engine had them; for the correction
    reference_log_probs: Tensor | None = None  # [B, T] nats; for the KL term


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The certified gate at its ratio level, with correction and KL term, under one reduction."""

    gate: TorchGate
    reduction: Reduction = "seq-mean-token-mean"
    ratio_level: RatioLevel = "token"
    max_length: int | None = None
    correction: Correction = "none"
    kl_weight: float = 0.0
    kl_ratio_correction: bool = False

    def count(self, mask: Tensor) -> float:
        """The minibatch-global denominator."""
        return count(mask, self.reduction, self.max_length)

    def loss(self, inputs: LossInputs, denominator: float) -> Tensor:
        """−Σ (c·f(r)·A − β·KL) / denominator [], summed as the reduction weighs tokens.

        c is the sampler/learner correction and β·KL the penalty, where they are configured. Where mask = 0 neither
        value nor gradient depends on anything, NaN included.
        """
        mask = inputs.mask
        terms = self.gate(self.log_ratio(inputs), inputs.advantages, mask)
        if self.correction != "none":
            terms = terms * self.correction_weight(inputs).clamp(max=CORRECTION_CAP)
        if self.kl_weight:
            terms = terms - self.kl_weight * self.kl(inputs)
        return -reduce(terms, mask, self.reduction) / max(denominator, 1)

    def log_ratio(self, inputs: LossInputs) -> Tensor:
        """z [B, T] at the objective's level."""
        return log_ratio(inputs.log_probs, inputs.old_log_probs, inputs.mask, self.ratio_level)

    def correction_weight(self, inputs: LossInputs) -> Tensor:
        """π_old/π_sampler [B, T], detached and not yet capped: of each token, or of the whole completion."""
        sampler = _given(inputs.sampler_log_probs, "sampler_log_probs", "the sampler/learner correction")
        if self.correction not in get_args(Correction):
            raise ShapeError(f"correction={self.correction!r} must be one of {list(get_args(Correction))}.")
        level = "sequence-sum" if self.correction == "sequence" else "token"
        return log_ratio(inputs.old_log_probs.detach(), sampler, inputs.mask, level).exp()

    def kl(self, inputs: LossInputs) -> Tensor:
        """k3 of KL(new‖reference) [B, T], times π_new/π_old where the ratio correction is on (2512.02556)."""
        reference = _given(inputs.reference_log_probs, "reference_log_probs", "the KL term")
        kl = k3(-log_ratio(inputs.log_probs, reference, inputs.mask, "token"))
        if self.kl_ratio_correction:
            z = log_ratio(inputs.log_probs, inputs.old_log_probs, inputs.mask, "token")
            kl = kl * z.clamp(max=KNEE).exp()
        return kl


def log_ratio(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor, level: RatioLevel) -> Tensor:
    """z [B, T], float32 or wider, 0 where mask = 0; above token level a completion's one value stands at each token."""
    wide = torch.promote_types(log_probs.dtype, torch.float32)  # a difference of bfloat16 would be mostly rounding
    # where, not multiplication: 0·NaN is NaN.
    z = torch.where(mask, log_probs.to(wide) - old_log_probs.detach().to(wide), 0.0)
    if level == "token":
        return z
    if level not in get_args(RatioLevel):
        raise ShapeError(f"ratio_level={level!r} must be one of {list(get_args(RatioLevel))}.")
    whole = z.sum(-1, keepdim=True)
    if level == "sequence":
        whole = whole / mask.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(mask, whole, 0.0)


def k3(d: Tensor) -> Tensor:
    """e^d − 1 − d >= 0, the estimator k3 of KL for d = log π_reference − log π_new under samples of π_new.

    Beyond 20 nats it goes on along its tangent, so that value and gradient are finite for every d, ±inf included.
    """
    d = d.clamp(-FAR, FAR)
    near, slope = d.clamp(max=KNEE), math.expm1(KNEE)
    return torch.where(d > KNEE, slope - KNEE + slope * (d - KNEE), near.expm1() - near)


def count(mask: Tensor, reduction: Reduction, max_length: int | None = None) -> float:
    """The denominator a reduction divides by: sequences, tokens, or sequences × max_length, of those that count."""
    sequences = float(mask.bool().any(-1).sum())
    match reduction:
        case "seq-mean-token-mean":
            return sequences
        case "token-mean":
            return float(mask.bool().sum())
        case "seq-mean-token-sum-norm":
            if max_length is None or max_length < 1:
                raise ShapeError(f"reduction 'seq-mean-token-sum-norm' needs max_length >= 1, not {max_length}.")
            return sequences * max_length
    raise ShapeError(f"reduction={reduction!r} must be one of {list(get_args(Reduction))}.")


def reduce(terms: Tensor, mask: Tensor, reduction: Reduction) -> Tensor:
    """Sum token terms [B, T] as the reduction weighs them; dividing by `count` is left to the caller."""
    sums = torch.where(mask, terms, 0.0).sum(-1)
    if reduction == "seq-mean-token-mean":
        sums = sums / mask.sum(-1).clamp(min=1)
    return sums.sum()


def _given(log_probs: Tensor | None, name: str, what: str) -> Tensor:
    if log_probs is None:
        raise ShapeError(f"{name} is None; {what} needs it, [B, T].")
    return log_probs
