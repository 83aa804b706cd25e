"""The gated objective: log-ratio, gate, reduction; and what it tells.

J = reduction of f(r)·A over the tokens that count, r = π_new/π_old. The gradient of a token is φ(r)·A·∇log π with the
score weight φ = r·f'(r). The gate itself comes from `sapo_gates`, certified; nothing here knows a family by name.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from sapo_train.errors import ShapeError

Reduction = Literal["seq-mean-token-mean", "token-mean", "seq-mean-token-sum-norm"]
RatioLevel = Literal["token", "sequence", "sequence-sum"]
Metrics = dict[str, float]


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
) -> tuple[Tensor, Metrics]:
    """Minus the gated objective, and its metrics.

    With z = log_probs − old_log_probs (level `token`), its mean over a completion (`sequence`, GSPO) or its sum
    (`sequence-sum`, VESPO), the loss is −Σ f(e^z)·A / denominator, where for `seq-mean-token-mean` each completion
    is first divided by its length. Where mask = 0 neither value nor gradient depends on anything, NaN included;
    completions that are masked whole count nowhere. `old_log_probs` and `advantages` carry no gradient.

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

    Returns:
        loss [], and metrics as plain numbers (see `diagnostics`).

    Raises:
        ShapeError: tensors or options that do not fit together.
    """
    mask, advantages = _checked(log_probs, old_log_probs, advantages, mask)
    if denominator is None:
        denominator = count(mask, reduction, max_length)
    z = log_ratio(log_probs, old_log_probs, mask, ratio_level)
    loss = -reduce(gate(z, advantages, mask), mask, reduction) / max(denominator, 1)
    return loss, {"loss": loss.item(), **diagnostics(z.detach(), advantages, mask, gate)}


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


@torch.no_grad()
def diagnostics(
    z: Tensor, advantages: Tensor, mask: Tensor, gate: TorchGate, group: Tensor | None = None
) -> dict[str, float]:
    """What the gate did to a minibatch: z, advantages and mask [B, T], group [B] the prompt of each completion.

    `effective_update_ratio` is the mean of w over the tokens of a prompt's group, then over prompts (2602.19345,
    eq. 12); without `group` all completions are one. `clip_fraction` is the share of tokens on the kill side,
    sign(A)·(r−1) > 0, with w = 0; `kl_old_new_k3` the estimator r − 1 − log r of KL(old‖new).
    """
    at = mask.bool()
    tokens, a = z[at].double(), advantages[at]
    if not len(tokens):
        return {"tokens": 0.0}
    w, phi = (x.double() for x in (gate.weight(z, advantages)[at], gate.score_weight(z, advantages)[at]))
    r = tokens.exp()
    rows = mask.sum(-1) > 0
    of_row = torch.zeros(len(z), dtype=torch.long) if group is None else group.cpu()
    of_token = of_row.to(z.device)[:, None].expand_as(z)[at]
    by_prompt = [w[of_token == g].mean() for g in of_token.unique()]
    lengths = mask.sum(-1).clamp(min=1)
    centred = torch.where(at, z - (z * mask).sum(-1, keepdim=True) / lengths[:, None], 0.0).double()
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.double, device=z.device)
    low, middle, high = torch.quantile(phi[: 2**24], quantiles).tolist()
    values: dict[str, float | Tensor] = {
        "tokens": float(len(tokens)),
        "effective_update_ratio": torch.stack(by_prompt).mean(),
        "ratio_mean": r.mean(),
        "ratio_var": r.var(correction=0),
        "ratio_min": r.min(),
        "ratio_max": r.max(),
        "log_ratio_mean": tokens.mean(),
        "log_ratio_var": tokens.var(correction=0),
        "log_ratio_var_per_sequence": ((centred**2).sum(-1) / lengths)[rows].mean(),
        "score_weight_q05": low,
        "score_weight_q50": middle,
        "score_weight_q95": high,
        "beyond_half_width": (w < 0.5).double().mean(),
        "clip_fraction": ((w == 0) & (tokens * a > 0)).double().mean(),
        # (Σr)²/(NΣr²), with r divided by its maximum so that no square overflows
        "effective_sample_size": (tokens - tokens.max()).exp().mean() ** 2 / (2 * (tokens - tokens.max())).exp().mean(),
        "kl_old_new_k3": (torch.expm1(tokens) - tokens).mean(),
    }
    for sign, part in (("positive", a > 0), ("negative", a < 0)):
        if part.any():
            values[f"effective_update_ratio_{sign}"] = w[part].mean()
    return {key: float(value) for key, value in values.items()}


def _checked(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    shape = tuple(log_probs.shape)
    if len(shape) != 2:
        raise ShapeError(f"log_probs has shape {shape}; it must be [B, T]: completions × tokens.")
    for name, tensor in (("old_log_probs", old_log_probs), ("mask", mask)):
        if tuple(tensor.shape) != shape:
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
    return mask, torch.where(mask, advantages, 0.0)
