"""What an update tells of itself: each metric with its unit and its definition, and how it is computed.

`docs/metrics.md` is made from `METRICS`; every key of a run's metrics.jsonl stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sapo_train.advantages import has_spread
from sapo_train.batch import Batch, Group
from sapo_train.objective import CORRECTION_CAP, Objective, TorchGate, k3, log_ratio


class Metric(NamedTuple):
    """A key of metrics.jsonl. `<name>` in it stands for a name that the run gives."""

    key: str
    unit: str
    says: str


METRICS = (
    Metric("step", "1", "batch step, from 1"),
    Metric("update", "1", "optimizer step, from 1"),
    Metric("epoch", "1", "pass over the batch, from 1; in the first, with one minibatch, every ratio is 1"),
    Metric("loss", "1", "minus the gated objective of the minibatch, with correction and KL term"),
    Metric("reward_mean", "reward", "mean reward of the batch"),
    Metric("reward_std", "reward", "standard deviation (ddof 0) of the batch's rewards"),
    Metric("reward_<name>", "reward", "mean of one reward before its weight, over the completions it applies to"),
    Metric("advantage_std", "1", "standard deviation (ddof 0) of the minibatch's advantages"),
    Metric("groups", "1", "groups in the batch"),
    Metric("groups_without_spread", "1", "groups of the batch whose rewards are all equal (max = min)"),
    Metric("groups_drawn", "1", "groups sampled for the batch, those included that dynamic sampling replaced"),
    Metric("completion_length_mean", "tokens", "mean length of the batch's completions, end token included"),
    Metric("completion_length_max", "tokens", "longest completion of the batch"),
    Metric("truncated", "share", "completions of the batch without an end token within the limit"),
    Metric("sampler_kept_mass", "share", "mean probability that top-k and top-p left to sample from; 1 without them"),
    Metric("tokens", "1", "tokens of the minibatch that count"),
    Metric("entropy", "nats", "mean entropy of the policy at the sampling temperature, over tokens that count"),
    Metric("taught", "share", "tokens that count whose advantage counts too (objective.entropy_share)"),
    Metric("ratio_mean", "1", "mean of r = π_new/π_old at the configured level, over tokens"),
    Metric("ratio_var", "1", "variance (ddof 0) of r over tokens"),
    Metric("ratio_min", "1", "smallest r"),
    Metric("ratio_max", "1", "largest r"),
    Metric("log_ratio_mean", "nats", "mean of z = log r over tokens"),
    Metric("log_ratio_var", "nats²", "variance (ddof 0) of z over tokens"),
    Metric("log_ratio_min", "nats", "smallest z"),
    Metric("log_ratio_max", "nats", "largest z"),
    Metric("log_ratio_var_per_sequence", "nats²", "Var_t(z) of each completion (with 1/T), mean over completions"),
    Metric("weight_gap", "1", "|mean_t g(z_t) − g(mean_t z_t)| with g(z) = w(e^z), mean over completions"),
    Metric(
        "weight_gap_bound",
        "1",
        "sup|g''|/2 · Var_t(z), mean over completions: never below weight_gap (2511.20347, 4.1); sup|g''| from the "
        "datasheet, absent where it is infinite (a gate with kinks)",
    ),
    Metric(
        "effective_update_ratio", "1", "EUR: mean of w over the tokens of a group, then over groups (2602.19345, 12)"
    ),
    Metric("effective_update_ratio_positive", "1", "mean of w over tokens with A > 0; absent where there is none"),
    Metric("effective_update_ratio_negative", "1", "mean of w over tokens with A < 0; absent where there is none"),
    Metric("score_weight_q05", "1", "5 % quantile of the score weight φ = r·w over tokens"),
    Metric("score_weight_q50", "1", "median of φ"),
    Metric("score_weight_q95", "1", "95 % quantile of φ"),
    Metric("beyond_half_width", "share", "tokens with w < 1/2"),
    Metric("clip_fraction", "share", "tokens on the kill side, sign(A)·(r − 1) > 0, with w = 0: for gates with a cut"),
    Metric("effective_sample_size", "share", "(Σr)²/(N·Σr²) over tokens"),
    Metric("kl_old_new_k3", "nats", "KL(old‖new) by the estimator k3: mean of r − 1 − log r, at the configured level"),
    Metric("sampler_gap_max", "nats", "largest |log π_old − log π_sampler| of a token"),
    Metric("kl_sampler_old_k3", "nats", "KL(sampler‖old) by k3, over tokens"),
    Metric("correction_mean", "1", "mean of π_old/π_sampler at the correction's level, before the cap"),
    Metric("correction_min", "1", "smallest π_old/π_sampler"),
    Metric("correction_max", "1", "largest π_old/π_sampler, before the cap"),
    Metric("correction_capped", "share", f"tokens whose π_old/π_sampler is above the cap of {CORRECTION_CAP:g}"),
    Metric("kl_new_reference_k3", "nats", "KL(new‖reference) by k3, over tokens; only with objective.kl_weight > 0"),
    Metric("grad_norm", "1", "norm of the gradient before clipping"),
    Metric("lr", "1", "learning rate of the update"),
)
TIMINGS = (
    Metric("step", "1", "batch step, from 1"),
    Metric("seconds", "s", "the whole step"),
    Metric(
        "seconds_<phase>",
        "s",
        "of sampling, rewards, old_log_probs (also the reference's), learning, optimizer, weights (given on)",
    ),
    Metric("tokens", "1", "tokens sampled for the batch, those of replaced groups excepted"),
    Metric("tokens_per_second", "1/s", "tokens / seconds"),
    Metric("peak_memory_bytes", "B", "most memory so far: of process 0 on a CPU, allocated on its GPU otherwise"),
)


def is_known(key: str, table: tuple[Metric, ...] = METRICS) -> bool:
    """Does a key stand in the table?"""
    return any(re.fullmatch(re.sub("<.+?>", ".+", metric.key), key) for metric in table)


@torch.no_grad()
def batch_metrics(groups: Sequence[Group], drawn: int) -> dict[str, float]:
    """Everything that is the same for all updates of a batch step."""
    completions = [completion for group in groups for completion in group.completions]
    rewards = torch.tensor([completion.reward for completion in completions], dtype=torch.double)
    lengths = torch.tensor([len(completion.tokens) for completion in completions], dtype=torch.double)
    names = sorted({name for completion in completions for name, _ in completion.parts})
    values = {name: [dict(c.parts)[name] for c in completions if name in dict(c.parts)] for name in names}
    return {
        "reward_mean": rewards.mean().item(),
        "reward_std": rewards.std(correction=0).item(),
        **{f"reward_{name}": sum(column) / len(column) for name, column in values.items()},
        "groups": len(groups),
        "groups_without_spread": sum(not has_spread(group) for group in groups),
        "groups_drawn": drawn,
        "completion_length_mean": lengths.mean().item(),
        "completion_length_max": lengths.max().item(),
        "truncated": sum(completion.truncated for completion in completions) / len(completions),
        "sampler_kept_mass": sum(completion.kept for completion in completions) / len(completions),
    }


@torch.no_grad()
def update_metrics(
    minibatch: Batch,
    log_probs: Tensor,
    entropy: Tensor,
    objective: Objective,
    log_curvature: Mapping[Any, float],
) -> dict[str, float]:
    """What the update of a minibatch did: log_probs and entropy [B, T] of the policy before it."""
    assert minibatch.old_log_probs is not None
    mask, tokens = minibatch.mask, max(1, int(minibatch.mask.sum()))
    inputs = minibatch.inputs(log_probs)
    gap = log_ratio(minibatch.old_log_probs, minibatch.sampler_log_probs, mask, "token")
    metrics = {
        "advantage_std": minibatch.advantages.std(correction=0).item(),
        "entropy": torch.where(mask, entropy, 0.0).sum().item() / tokens,
        "taught": 1.0 if minibatch.high_entropy is None else (minibatch.high_entropy & mask).sum().item() / tokens,
        "sampler_gap_max": gap.abs().max().item(),
        "kl_sampler_old_k3": k3(gap).sum().item() / tokens,
        **diagnostics(
            objective.log_ratio(inputs),
            minibatch.advantages[:, None].expand(mask.shape),
            mask,
            objective.gate,
            minibatch.group,
            log_curvature,
        ),
    }
    if objective.correction != "none" and mask.any():
        metrics |= correction_metrics(objective.correction_weight(inputs)[mask])
    if objective.kl_weight:
        assert minibatch.reference_log_probs is not None
        away = k3(-log_ratio(log_probs, minibatch.reference_log_probs, mask, "token"))
        metrics["kl_new_reference_k3"] = away.sum().item() / tokens
    return metrics


def correction_metrics(weights: Tensor) -> dict[str, float]:
    """Raw statistics of the sampler/learner correction at the tokens that count [N]."""
    return {
        "correction_mean": weights.mean().item(),
        "correction_min": weights.min().item(),
        "correction_max": weights.max().item(),
        "correction_capped": (weights > CORRECTION_CAP).double().mean().item(),
    }


@torch.no_grad()
def diagnostics(
    z: Tensor,
    advantages: Tensor,
    mask: Tensor,
    gate: TorchGate,
    group: Tensor | None = None,
    log_curvature: Mapping[Any, float] | None = None,
) -> dict[str, float]:
    """What the gate did to a minibatch, as `METRICS` defines it.

    Args:
        z: log-ratios [B, T] at the configured level.
        advantages: [B, T].
        mask: [B, T] bool.
        gate: the gate as torch functions.
        group: [B], the prompt of each completion; None: all completions are of one.
        log_curvature: sup|g''| for the signs `positive` and `negative`; one that is missing is infinite.
    """
    at = mask.bool()
    tokens, a = z[at].double(), advantages[at]
    if not len(tokens):
        return {"tokens": 0.0}
    w, phi = (x.double() for x in (gate.weight(z, advantages)[at], gate.score_weight(z, advantages)[at]))
    r = tokens.exp()
    of_row = torch.zeros(len(z), dtype=torch.long) if group is None else group.cpu()
    of_token = of_row.to(z.device)[:, None].expand_as(z)[at]
    by_prompt = [w[of_token == g].mean() for g in of_token.unique()]
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
        "log_ratio_min": tokens.min(),
        "log_ratio_max": tokens.max(),
        **_averaging(z, advantages, at, gate, log_curvature),
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


def _averaging(
    z: Tensor, advantages: Tensor, at: Tensor, gate: TorchGate, log_curvature: Mapping[Any, float] | None
) -> dict[str, Tensor]:
    """How far log-ratios spread within completions, and what gating their mean instead would change."""
    rows = at.any(-1)
    z, at, advantages = z[rows].double(), at[rows], advantages[rows].double()
    lengths = at.sum(-1)
    mean = torch.where(at, z, 0.0).sum(-1) / lengths
    variance = torch.where(at, z - mean[:, None], 0.0).square().sum(-1) / lengths
    first = advantages.gather(-1, at.int().argmax(-1, keepdim=True))  # a completion's tokens share their sign of A
    averaged = torch.where(at, gate.weight(z, first.expand_as(z)), 0.0).sum(-1) / lengths
    found = {
        "log_ratio_var_per_sequence": variance.mean(),
        "weight_gap": (averaged - gate.weight(mean, first.squeeze(-1))).abs().mean(),
    }
    known = log_curvature or {}
    if {"positive", "negative"} <= known.keys():
        half = torch.where(first.squeeze(-1) > 0, known["positive"] / 2, known["negative"] / 2)
        found["weight_gap_bound"] = (half * variance).mean()
    return found
