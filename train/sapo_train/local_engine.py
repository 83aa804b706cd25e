"""The local rollout engine: the learner's own model samples.

Each prompt is encoded once and its keys and values are shared out to the group; rows that have ended leave the
batch. Every completion has a random stream of its own, derived from (seed, draw, index): given equal logits the
same tokens come out, whatever else is in the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sapo_train.engine import Decoding, Sampled, Stream, end_tokens
from sapo_train.kv_cache import growing_cache
from sapo_train.policy import Policy


@dataclass
class LocalEngine:
    """Samples in this process."""

    policy: Policy

    @property
    def cache_name(self) -> str:
        """What the model calls its keys and values; a recurrent one has states instead."""
        return (
            "cache_params"
            if "cache_params" in inspect.signature(self.policy.model.forward).parameters
            else "past_key_values"
        )

    def update_weights(self, policy: Policy) -> None:
        """Take the policy itself: there is nothing to copy."""
        self.policy = policy

    def close(self) -> None:
        """Hold nothing."""

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Tensor], *, samples: int, decoding: Decoding, streams: Sequence[Stream]
    ) -> list[Sampled]:
        """Continue each prompt `samples` times until it ends or `max_tokens`.

        Args:
            prompts: token ids [P] of each.
            samples: completions of each prompt.
            decoding: temperature, truncation of the distribution, and what ends a completion.
            streams: (seed, draw, index) of each completion, prompt by prompt.

        Returns:
            len(prompts) × samples completions, prompt by prompt. At temperature 0 log-probs are of softmax(logits).

        Raises:
            ConfigError: a stop token that the model does not have.
        """
        policy, device, total, limit = self.policy, self.policy.device, len(prompts) * samples, decoding.max_tokens
        width = max(len(p) for p in prompts)
        ids = torch.full((len(prompts), width), policy.pad_token, device=device)
        attends = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):  # left-padded, so that every row continues at the same column
            ids[row, width - len(prompt) :] = prompt.to(device)
            attends[row, width - len(prompt) :] = 1
        uniform = None
        if decoding.temperature > 0:
            drawn = np.stack([np.random.default_rng(stream).random(limit) for stream in streams])
            uniform = torch.from_numpy(drawn).to(device)

        cache = growing_cache(policy.model.config)
        positions = (attends.cumsum(-1) - 1).clamp(min=0)
        logits = self._last_logits(ids, attends, positions, cache)
        ends = torch.tensor(end_tokens(policy, decoding), device=device)
        prompt_of = torch.arange(len(prompts), device=device).repeat_interleave(samples)
        cache.reorder_cache(prompt_of)  # type: ignore[arg-type]  # keys, values and recurrent states alike
        logits, attends = logits[prompt_of], attends[prompt_of]
        position = attends.sum(-1)
        alive = torch.arange(total, device=device)

        tokens = torch.zeros(total, limit, dtype=torch.long, device=device)
        before, after = torch.zeros(2, total, limit, device=device)
        lengths = torch.full((total,), limit, device=device)
        ended = torch.zeros(total, dtype=torch.bool, device=device)
        for t in range(limit):
            choice = choose(logits, decoding, None if uniform is None else uniform[alive, t])
            token, before[alive, t], after[alive, t] = choice
            tokens[alive, t] = token
            stops = torch.isin(token, ends) | self._says_stop(tokens[alive, : t + 1], decoding.stop)
            ended[alive[stops]], lengths[alive[stops]] = True, t + 1
            if stops.any():
                stays = _staying(stops)
                alive, token, position, attends = alive[stays], token[stays], position[stays], attends[stays]
                if not len(alive):
                    break
                cache.reorder_cache(stays)  # type: ignore[arg-type]
            if t + 1 < limit:
                attends = torch.cat([attends, attends.new_ones(len(alive), 1)], -1)
                logits = self._last_logits(token[:, None], attends, position[:, None], cache)
                position = position + 1
        rows = zip(tokens.cpu(), before.cpu(), after.cpu(), lengths.tolist(), ended.tolist(), strict=True)
        return [Sampled(row[:n], p[:n], q[:n], policy.text(row[:n]), end) for row, p, q, n, end in rows]

    def _last_logits(self, ids: Tensor, attends: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        with self.policy.computing():
            return self.policy.model(
                input_ids=ids,
                attention_mask=attends,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{self.cache_name: cache},
            ).logits[:, -1]

    def _says_stop(self, tokens: Tensor, stop: tuple[str, ...]) -> Tensor:
        """Say for each row [B] whether its last token completes one of the strings."""
        if not stop:
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        # A token is at least one byte, so that a string can lie in so many tokens at the end and no more.
        longest = max(len(text.encode()) for text in stop)
        texts = [self.policy.text(row) for row in tokens[:, -longest:]]
        return torch.tensor([any(s in text for s in stop) for text in texts], device=tokens.device)


def _staying(stops: Tensor) -> Tensor:
    """Rows that go on: the last of them in the places of those that stop, so that few have to move."""
    places = torch.arange(int((~stops).sum()), device=stops.device)
    places[stops[: len(places)]] = len(places) + (~stops[len(places) :]).nonzero().flatten()
    return places


def choose(logits: Tensor, decoding: Decoding, uniform: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Pick a token of each row [B, V] by inverting its distribution function at a uniform number [B].

    Returns:
        Token [B] and its log-probs [B], before and after top-k and top-p. The likeliest token where `uniform` is None.
    """
    log_p = torch.log_softmax(logits.float() / (decoding.temperature or 1.0), -1)
    if uniform is None:
        token, log_q = log_p.argmax(-1), log_p
    else:
        log_q = truncate(log_p, decoding.top_k, decoding.top_p)
        # In double, so that 50,000 small numbers add up; `right` steps over tokens of probability 0.
        cumulated = log_q.double().exp().cumsum(-1)
        # A uniform number of nearly 1 must not step over the last token that has probability.
        at = (uniform[:, None] * cumulated[:, -1:]).clamp(
            max=torch.nextafter(cumulated[:, -1:], cumulated.new_zeros(1))
        )
        token = torch.searchsorted(cumulated, at, right=True).squeeze(-1)
    before, after = (x.gather(-1, token[:, None]).squeeze(-1) for x in (log_p, log_q))
    return token, before, after


def truncate(log_p: Tensor, top_k: int, top_p: float) -> Tensor:
    """Keep the `top_k` likeliest tokens (0: all), of these the fewest that hold `top_p` of what is left, and normalise.

    Args:
        log_p: [B, V], normalised.
        top_k: >= 0.
        top_p: in (0, 1].

    Returns:
        [B, V], -inf for what is cut. Among equals the token with the smaller id is kept.
    """
    if top_k == 0 and top_p == 1.0:
        return log_p
    ranked, order = log_p.sort(dim=-1, descending=True, stable=True)
    if top_k:
        ranked[:, top_k:] = -torch.inf
    share = ranked.double().softmax(-1)
    ranked[share.cumsum(-1) - share >= top_p] = -torch.inf  # the likeliest always stays: nothing lies before it
    kept = torch.full_like(log_p, -torch.inf).scatter(-1, order, ranked)
    return kept.log_softmax(-1)
