"""The local rollout engine: the learner's own model samples.

Each prompt is encoded once and its keys and values are shared out to the group; rows that have ended leave the
batch. Every completion has a random stream of its own, derived from (seed, draw, index): given equal logits the
same tokens come out, whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from sapo_train.batch import Completion, Group
from sapo_train.config import check, config
from sapo_train.data import Prompt
from sapo_train.policy import Policy


@config
class SamplingConfig:
    """How completions are drawn. The model's generation_config has no say, except for its end tokens."""

    prompts: int = 4
    """Prompts in a batch, >= 1."""
    group_size: int = 8
    """Completions of each prompt, >= 2."""
    max_tokens: int = 64
    """Token limit of a completion, >= 1; one that has not ended by then is truncated."""
    temperature: float = 1.0
    """The policy is softmax(logits/temperature) everywhere: sampler, old and new log-probs, entropy. > 0."""

    def __post_init__(self) -> None:
        check(self.prompts >= 1, f"sampling.prompts={self.prompts} must be at least 1.")
        check(
            self.group_size >= 2,
            f"sampling.group_size={self.group_size} must be at least 2: with one completion the group mean "
            "is the reward and every advantage is 0.",
        )
        check(self.max_tokens >= 1, f"sampling.max_tokens={self.max_tokens} must be at least 1.")
        check(
            self.temperature > 0,
            f"sampling.temperature={self.temperature} must be positive; evaluation is greedy at 0.",
        )


@dataclass(frozen=True)
class Sampled:
    """One completion as numbers."""

    tokens: Tensor  # [T] long
    log_probs: Tensor  # [T]
    ended: bool


def sample(policy: Policy, prompts: Sequence[Prompt], config: SamplingConfig, seed: int, position: int) -> list[Group]:
    """Draw `group_size` completions of each prompt; `position` is the data position of the first, so a redraw is a
    new draw."""
    drawn = generate(
        policy,
        [prompt.tokens for prompt in prompts],
        samples=config.group_size,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        streams=[(seed, position + k, i) for k in range(len(prompts)) for i in range(config.group_size)],
    )
    completions = [
        Completion(tokens=s.tokens, log_probs=s.log_probs, text=policy.text(s.tokens), truncated=not s.ended)
        for s in drawn
    ]
    size = config.group_size
    return [
        Group(prompt=prompt, completions=tuple(completions[k * size : (k + 1) * size]))
        for k, prompt in enumerate(prompts)
    ]


@torch.inference_mode()
def generate(
    policy: Policy,
    prompts: Sequence[Tensor],
    *,
    samples: int,
    max_tokens: int,
    temperature: float,
    streams: Sequence[tuple[int, int, int]] = (),
) -> list[Sampled]:
    """Continue each prompt `samples` times until an end token or `max_tokens`; temperature 0 takes the likeliest token.

    Args:
        policy: model and tokenizer.
        prompts: token ids [P] of each.
        samples: completions of each prompt.
        max_tokens: limit of a completion.
        temperature: >= 0.
        streams: (seed, draw, index) of each completion, prompt by prompt; unused at temperature 0.

    Returns:
        len(prompts) × samples completions, prompt by prompt. Log-probs are those of softmax(logits/temperature) (of
        softmax(logits) at temperature 0), before which nothing is truncated.
    """
    device, total = policy.device, len(prompts) * samples
    width = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), width), policy.pad_token, device=device)
    attends = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):  # left-padded, so that every row continues at the same column
        ids[row, width - len(prompt) :] = prompt.to(device)
        attends[row, width - len(prompt) :] = 1
    ends = torch.tensor(sorted(policy.end_tokens), device=device)
    uniform = None
    if temperature > 0:
        uniform = torch.from_numpy(np.stack([np.random.default_rng(s).random(max_tokens) for s in streams])).to(device)

    cache = DynamicCache(config=policy.model.config)
    positions = (attends.cumsum(-1) - 1).clamp(min=0)
    logits = _last_logits(policy, ids, attends, positions, cache)
    cache.batch_repeat_interleave(samples)
    logits, attends = (x.repeat_interleave(samples, 0) for x in (logits, attends))
    position = attends.sum(-1)
    alive = torch.arange(total, device=device)

    tokens = torch.zeros(total, max_tokens, dtype=torch.long, device=device)
    log_probs = torch.zeros(total, max_tokens, device=device)
    lengths = torch.full((total,), max_tokens, device=device)
    ended = torch.zeros(total, dtype=torch.bool, device=device)
    for t in range(max_tokens):
        token, log_prob = _choose(logits, temperature, None if uniform is None else uniform[alive, t])
        tokens[alive, t], log_probs[alive, t] = token, log_prob
        stops = torch.isin(token, ends)
        ended[alive[stops]], lengths[alive[stops]] = True, t + 1
        if stops.any():
            stays = (~stops).nonzero().flatten()
            alive, token, position, attends = alive[stays], token[stays], position[stays], attends[stays]
            if not len(alive):
                break
            cache.batch_select_indices(stays)
        if t + 1 < max_tokens:
            attends = torch.cat([attends, attends.new_ones(len(alive), 1)], -1)
            logits = _last_logits(policy, token[:, None], attends, position[:, None], cache)
            position = position + 1
    # clone: inference tensors may not be saved for a later backward
    rows = zip(tokens.cpu(), log_probs.cpu(), lengths.tolist(), ended.tolist(), strict=True)
    return [Sampled(row[:n].clone(), lp[:n].clone(), end) for row, lp, n, end in rows]


def _last_logits(policy: Policy, ids: Tensor, attends: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
    with policy.computing():
        return policy.model(
            input_ids=ids,
            attention_mask=attends,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]


def _choose(logits: Tensor, temperature: float, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pick a token of each row [B, V] by inverting its distribution function at a uniform number [B]."""
    log_p = torch.log_softmax(logits.float() / (temperature or 1.0), -1)
    if uniform is None:
        token = log_p.argmax(-1)
    else:
        # In double, so that 50,000 small numbers add up; `right` steps over tokens of probability 0.
        cumulated = log_p.double().exp().cumsum(-1)
        at = uniform[:, None] * cumulated[:, -1:]
        token = torch.searchsorted(cumulated, at, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
    return token, log_p.gather(-1, token[:, None]).squeeze(-1)
