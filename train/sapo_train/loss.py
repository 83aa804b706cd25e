"""The gated loss as one function of tensors, for a training loop of one's own."""

from __future__ import annotations

import torch
from torch import Tensor

from sapo_train.errors import ShapeError
from sapo_train.metrics import diagnostics
from sapo_train.objective import Correction, LossInputs, Objective, RatioLevel, Reduction, TorchGate


def policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    gate: TorchGate,
    reduction: Reduction = "seq-mean-token-mean",
    ratio_level: RatioLevel = "token",
    max_length: int | None = None,
    denominator: float | None = None,
    sampler_log_probs: Tensor | None = None,
    correction: Correction = "none",
    reference_log_probs: Tensor | None = None,
    kl_weight: float = 0.0,
    kl_ratio_correction: bool = False,
) -> tuple[Tensor, dict[str, float]]:
    """Minus the gated objective, and its metrics.

    With z = log_probs − old_log_probs (level `token`), its mean over a completion (`sequence`, GSPO) or its sum
    (`sequence-sum`, VESPO), the loss is −Σ (c·f(e^z)·A − β·KL) / denominator, where for `seq-mean-token-mean` each
    completion is first divided by its length. Where mask = 0 neither value nor gradient depends on anything, NaN
    included; completions that are masked whole count nowhere. Only `log_probs` carries a gradient.

    Args:
        log_probs: [B, T], nats, of the policy that is trained.
        old_log_probs: [B, T], nats, of the policy that sampled.
        advantages: [B] or [B, T], no unit.
        mask: [B, T], bool or 0/1: tokens that count.
        gate: the certified gate, from `sapo_gates.torch.surrogate`.
        reduction: `seq-mean-token-mean` (2402.03300, 2511.20347), `token-mean` (DAPO, 2503.14476) or
            `seq-mean-token-sum-norm` (Dr.GRPO, 2503.20783).
        ratio_level: the level at which the ratio is formed.
        max_length: token limit of a completion, for `seq-mean-token-sum-norm` alone.
        denominator: minibatch-global count from `count`; None: what this batch alone gives.
        sampler_log_probs: [B, T], nats, as the sampling engine reported them; for the correction.
        correction: c = min(2, π_old/π_sampler) of each token, or of the whole completion, or 1.
        reference_log_probs: [B, T], nats, of the reference policy; for the KL term.
        kl_weight: β, the weight of k3 of KL(new‖reference).
        kl_ratio_correction: multiply k3 by π_new/π_old, which makes its gradient unbiased off policy.

    Returns:
        loss [], and metrics as plain numbers (see `sapo_train.metrics`).

    Raises:
        ShapeError: tensors or options that do not fit together.
    """
    objective = Objective(
        gate=gate,
        reduction=reduction,
        ratio_level=ratio_level,
        max_length=max_length,
        correction=correction,
        kl_weight=kl_weight,
        kl_ratio_correction=kl_ratio_correction,
    )
    inputs = _checked(log_probs, old_log_probs, advantages, mask, sampler_log_probs, reference_log_probs)
    if denominator is None:
        denominator = objective.count(inputs.mask)
    loss = objective.loss(inputs, denominator)
    z = objective.log_ratio(inputs).detach()
    return loss, {"loss": loss.item(), **diagnostics(z, inputs.advantages, inputs.mask, gate)}


def _checked(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    sampler_log_probs: Tensor | None,
    reference_log_probs: Tensor | None,
) -> LossInputs:
    shape = tuple(log_probs.shape)
    if len(shape) != 2:
        raise ShapeError(f"log_probs has shape {shape}; it must be [B, T]: completions × tokens.")
    others = {
        "old_log_probs": old_log_probs,
        "mask": mask,
        "sampler_log_probs": sampler_log_probs,
        "reference_log_probs": reference_log_probs,
    }
    for name, tensor in others.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ShapeError(f"{name} has shape {tuple(tensor.shape)}; it must be that of log_probs, {shape}.")
    if tuple(advantages.shape) not in (shape, shape[:1]):
        raise ShapeError(
            f"advantages has shape {tuple(advantages.shape)}; it must be [B] = {shape[:1]} (one per completion) or "
            f"[B, T] = {shape} (one per token)."
        )
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise ShapeError("mask must be bool, or 0 and 1: it says which tokens count, not how much.")
    mask = mask.bool()
    advantages = advantages.detach()
    if not advantages.is_floating_point():
        advantages = advantages.float()
    if advantages.ndim == 1:
        advantages = advantages[:, None].expand(shape)
    return LossInputs(
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        advantages=torch.where(mask, advantages, 0.0),
        mask=mask,
        sampler_log_probs=sampler_log_probs,
        reference_log_probs=reference_log_probs,
    )
