"""The local rollout engine: the learner's own model samples.

Each prompt is encoded once and its keys and values are shared out to the group; rows that have ended leave the
batch, and in an evaluation make room for others. Every completion has a random stream of its own, derived from
(seed, draw, index): given equal logits the same tokens come out, whatever else is in the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sapo_train.engine import Decoding, Sampled, Stream, end_tokens
from sapo_train.kv_cache import can_join, ending_at, growing_cache, join
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

    def generate(
        self, prompts: Sequence[Tensor], *, samples: int, decoding: Decoding, streams: Sequence[Stream]
    ) -> list[Sampled]:
        """Continue each prompt `samples` times until it ends or `max_tokens`, all at once.

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
        done = dict(
            self.stream(prompts, samples=samples, decoding=decoding, streams=streams, together=len(prompts) * samples)
        )
        return [sampled for k in range(len(prompts)) for sampled in done[k]]

    @torch.no_grad()
    def stream(
        self,
        prompts: Sequence[Tensor],
        *,
        samples: int,
        decoding: Decoding,
        streams: Sequence[Stream],
        together: int,
    ) -> Iterator[tuple[int, list[Sampled]]]:
        """As `generate`, with at most so many completions at a time; yield each prompt's when they have ended.

        The places of completions that have ended go to prompts that wait, so that a long one holds up nobody. Caches
        with sliding windows or recurrent states are not refilled: there prompts begin when all before have ended.
        """
        policy, device, limit = self.policy, self.policy.device, decoding.max_tokens
        room, total = max(1, together // samples), len(prompts) * samples
        ends = torch.tensor(end_tokens(policy, decoding), device=device)
        tokens = torch.zeros(total, limit, dtype=torch.long, device=device)
        before, after = torch.zeros(2, total, limit, device=device)
        lengths = torch.full((total,), limit, device=device)
        ended = torch.zeros(total, dtype=torch.bool, device=device)
        uniform = None
        if decoding.temperature > 0:
            drawn = np.stack([np.random.default_rng(stream).random(limit) for stream in streams])
            uniform = torch.from_numpy(drawn).to(device)

        begun, left = 0, [samples] * len(prompts)
        rows: _Rows | None = None
        while True:
            if begun < len(prompts) and (rows is None or _has_room(rows, room * samples, samples)):
                free = room if rows is None else (room * samples - len(rows.alive)) // samples
                fresh = self._begin(prompts[begun : begun + free], samples, begun * samples)
                rows, begun = fresh if rows is None else rows.joined(fresh), min(len(prompts), begun + free)
            if rows is None:
                return
            alive, at = rows.alive, (rows.alive, rows.made)
            token, before[at], after[at] = choose(rows.logits, decoding, None if uniform is None else uniform[at])
            tokens[at] = token
            rows.made += 1
            stops = torch.isin(token, ends) | self._says_stop(tokens[alive], rows.made, decoding.stop)
            ended[alive[stops]], lengths[alive[stops]] = True, rows.made[stops]
            leaves = stops | (rows.made == limit)
            if leaves.any():
                for k in alive[leaves].tolist():
                    left[k // samples] -= 1
                whole = dict.fromkeys(k // samples for k in alive[leaves].tolist() if left[k // samples] == 0)
                for prompt in whole:
                    mine = range(prompt * samples, (prompt + 1) * samples)
                    yield prompt, [self._sampled(tokens[k], before[k], after[k], lengths[k], ended[k]) for k in mine]
                if leaves.all():
                    rows = None
                    continue
                stays = _staying(leaves)
                token = token[stays]
                rows.keep(stays)
            rows.attends = torch.cat([rows.attends, rows.attends.new_ones(len(rows.alive), 1)], -1)
            rows.logits = self._last_logits(token[:, None], rows.attends, rows.position[:, None], rows.cache)
            rows.position = rows.position + 1

    def _begin(self, prompts: Sequence[Tensor], samples: int, first: int) -> _Rows:
        """Encode prompts, each once; their completions are numbered from `first`."""
        policy, device = self.policy, self.policy.device
        width = max(len(p) for p in prompts)
        ids = torch.full((len(prompts), width), policy.pad_token, device=device)
        attends = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):  # left-padded, so that every row continues at the same column
            ids[row, width - len(prompt) :] = prompt.to(device)
            attends[row, width - len(prompt) :] = 1
        cache = growing_cache(policy.model.config)
        positions = (attends.cumsum(-1) - 1).clamp(min=0)
        logits = self._last_logits(ids, attends, positions, cache)
        prompt_of = torch.arange(len(prompts), device=device).repeat_interleave(samples)
        cache.reorder_cache(prompt_of)  # type: ignore[arg-type]  # keys, values and recurrent states alike
        attends = attends[prompt_of]
        return _Rows(
            alive=first + torch.arange(len(prompt_of), device=device),
            made=torch.zeros(len(prompt_of), dtype=torch.long, device=device),
            position=attends.sum(-1),
            attends=attends,
            logits=logits[prompt_of],
            cache=cache,
        )

    def _sampled(self, tokens: Tensor, before: Tensor, after: Tensor, length: Tensor, ended: Tensor) -> Sampled:
        n = int(length)
        kept = tokens[:n].cpu()
        return Sampled(kept, before[:n].cpu(), after[:n].cpu(), self.policy.text(kept), bool(ended))

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

    def _says_stop(self, tokens: Tensor, made: Tensor, stop: tuple[str, ...]) -> Tensor:
        """Say for each row [B] whether the last of its `made` tokens completes one of the strings."""
        if not stop:
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        # A token is at least one byte, so that a string can lie in so many tokens at the end and no more.
        longest = max(len(text.encode()) for text in stop)
        texts = [self.policy.text(row[max(0, n - longest) : n]) for row, n in zip(tokens, made.tolist(), strict=True)]
        return torch.tensor([any(s in text for s in stop) for text in texts], device=tokens.device)


@dataclass
class _Rows:
    """Completions that are being made, a row each."""

    alive: Tensor  # [R] long, which completions
    made: Tensor  # [R] long, tokens each has so far
    position: Tensor  # [R] long, of the coming token
    attends: Tensor  # [R, W] long, 1 where there is a token
    logits: Tensor  # [R, V] of the coming token
    cache: DynamicCache

    def keep(self, stays: Tensor) -> None:
        """Go on with these rows alone."""
        self.alive, self.made, self.position = self.alive[stays], self.made[stays], self.position[stays]
        self.attends = self.attends[stays]
        self.cache.reorder_cache(stays)  # type: ignore[arg-type]

    def joined(self, others: _Rows) -> _Rows:
        """Go on with others too, all ends at one column and nothing before the longest."""
        width = max(int(rows.attends.sum(-1).max()) for rows in (self, others))
        join(self.cache, others.cache, width)
        attends = [ending_at(rows.attends[:, None, :, None], width)[:, 0, :, 0] for rows in (self, others)]
        return _Rows(
            alive=torch.cat([self.alive, others.alive]),
            made=torch.cat([self.made, others.made]),
            position=torch.cat([self.position, others.position]),
            attends=torch.cat(attends),
            logits=torch.cat([self.logits, others.logits]),
            cache=self.cache,
        )


def _has_room(rows: _Rows, places: int, samples: int) -> bool:
    """Is a quarter of the places free, so that joining, which copies the cache, pays?"""
    free = places - len(rows.alive)
    return free >= max(samples, places // 4) and can_join(rows.cache)


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
