"""The policy softmax(logits/T), T the sampling temperature: log-probs and entropy without a [tokens, V] tensor.

A microbatch is one padding-free row: each prompt stands once, its completions follow, and a 4-D mask lets a
completion see its prompt and itself. Positions continue from the prompt, so every completion sees what it would see
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sapo_train.batch import Batch
from sapo_train.models import PolicyConfig, load_model

AGREEMENT = 1e-3  # nats: float32 rounding over a few dozen layers stays well below, a wrong mask or head well above


@dataclass
class Policy:
    """A causal language model with its tokenizer, at one sampling temperature."""

    model: Any
    tokenizer: Any
    temperature: float = 1.0
    chunk: int = 256
    packed: bool = False  # the start-up check decides
    packed_error: float | None = None  # nats, what the check measured

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def end_tokens(self) -> set[int]:
        """Every token that ends a completion: the tokenizer's and all of the model's."""
        named = [self.tokenizer.eos_token_id]
        for source in (self.model.config, getattr(self.model, "generation_config", None)):
            ids = getattr(source, "eos_token_id", None)
            named += ids if isinstance(ids, list) else [ids]
        return {i for i in named if i is not None}

    @property
    def pad_token(self) -> int:
        """A token to fill rows with; it is masked by length, so it may well be an end token."""
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else min(self.end_tokens, default=0)

    def text(self, tokens: Tensor) -> str:
        """Return the text of a completion, without special tokens."""
        return self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probs [B, T], differentiable, and entropy [B, T], detached, in nats; 0 beyond a completion's end."""
        return self._packed(batch) if self.packed else self._plain(batch)

    def _packed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pack = Pack.of(batch).to(self.device)
        hidden = self.model.base_model(
            input_ids=pack.ids[None],
            position_ids=pack.positions[None],
            attention_mask=attention_masks(self.model.config, pack, self.model.dtype),
            use_cache=False,
        ).last_hidden_state[0, pack.predictor]
        head = self.model.get_output_embeddings()
        parts = [
            checkpoint(self._from_hidden, head, h, t, use_reentrant=False, preserve_rng_state=False)
            for h, t in zip(hidden.split(self.chunk), pack.target.split(self.chunk), strict=True)
        ]
        log_probs, entropy = (torch.cat(part) for part in zip(*parts, strict=True))
        shape = torch.zeros(batch.tokens.shape, device=self.device)
        at = (pack.row, pack.column)
        return shape.index_put(at, log_probs), shape.index_put(at, entropy)

    def _from_hidden(self, head: Any, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return self._from_logits(logit_transform(self.model.config, head(hidden)), target)

    def _from_logits(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        log_p = torch.log_softmax(logits.float() / self.temperature, -1)
        with torch.no_grad():
            entropy = torch.special.entr(log_p.exp()).sum(-1)
        return log_p.gather(-1, target[..., None]).squeeze(-1), entropy

    def _plain(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each completion with its prompt as a row of its own, through the model's own logits."""
        results = [self._plain_row(batch, row) for row in range(len(batch))]
        log_probs, entropy = (torch.stack(part) for part in zip(*results, strict=True))
        return log_probs, entropy

    def _plain_row(self, batch: Batch, row: int) -> tuple[Tensor, Tensor]:
        length = int(batch.lengths[row])
        prompt, tokens = (x.to(self.device) for x in (batch.prompts[int(batch.group[row])], batch.tokens[row, :length]))
        logits = self.model(input_ids=torch.cat([prompt, tokens])[None], use_cache=False).logits[0]
        log_probs, entropy = self._from_logits(logits[len(prompt) - 1 : -1], tokens)
        beyond = (0, batch.tokens.shape[1] - length)
        return torch.nn.functional.pad(log_probs, beyond), torch.nn.functional.pad(entropy, beyond)


@dataclass(frozen=True)
class Pack:
    """A microbatch as one row of L tokens, and where each of its N completion tokens is predicted."""

    ids: Tensor  # [L] long
    positions: Tensor  # [L] long, those each token would have without the others
    group: Tensor  # [L] long
    owner: Tensor  # [L] long, the completion a token belongs to; -1 for a prompt
    predictor: Tensor  # [N] long, the place whose hidden state predicts the token
    target: Tensor  # [N] long
    row: Tensor  # [N] long, where the token stands in [B, T]
    column: Tensor  # [N] long

    @classmethod
    def of(cls, batch: Batch) -> Pack:
        """Lay out prompts and completions; a completion's last token predicts nothing and is left out."""
        ids, positions, group, owner, predictor, target, row, column = ([] for _ in range(8))
        end, prompt_end, current = 0, 0, None
        for b, (g, n) in enumerate(zip(batch.group.tolist(), batch.lengths.tolist(), strict=True)):
            prompt = batch.prompts[g]
            if g != current:
                ids.append(prompt)
                positions.append(torch.arange(len(prompt)))
                group.append(torch.full((len(prompt),), g))
                owner.append(torch.full((len(prompt),), -1))
                current, end = g, end + len(prompt)
                prompt_end = end - 1
            tokens = batch.tokens[b, :n]
            ids.append(tokens[:-1])
            positions.append(len(prompt) + torch.arange(n - 1))
            group.append(torch.full((n - 1,), g))
            owner.append(torch.full((n - 1,), b))
            predictor.append(torch.cat([torch.tensor([prompt_end]), end + torch.arange(n - 1)]))
            target.append(tokens)
            row.append(torch.full((n,), b))
            column.append(torch.arange(n))
            end += n - 1
        return cls(*(torch.cat(x) for x in (ids, positions, group, owner, predictor, target, row, column)))

    def to(self, device: torch.device) -> Pack:
        """Return the same on a device."""
        return Pack(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def sees(self, window: int | None = None) -> Tensor:
        """Return [L, L] bool: may token i (row) attend to token j (column)? Within `window` positions, if given."""
        same = self.group[:, None] == self.group
        shared = (self.owner == -1) | (self.owner[:, None] == self.owner)
        back = self.positions[:, None] - self.positions
        near = back >= 0 if window is None else (back >= 0) & (back < window)
        return same & shared & near


def attention_masks(config: Any, pack: Pack, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
    """Additive 4-D masks [1, 1, L, L]: one for each attention type the model has."""

    def additive(window: int | None) -> Tensor:
        forbidden = torch.finfo(dtype).min
        return torch.zeros((), dtype=dtype).where(pack.sees(window).cpu(), forbidden).to(pack.ids.device)[None, None]

    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" in kinds:
        return {kind: additive(window if kind == "sliding_attention" else None) for kind in kinds}
    return additive(None)


def logit_transform(config: Any, logits: Tensor) -> Tensor:
    """Apply what the model does to its logits after the LM head: Cohere's and Granite's scales, Gemma's soft cap."""
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits


def build_policy(config: PolicyConfig, temperature: float, seed: int) -> Policy:
    """Load the model and decide by measurement whether prompts can be shared."""
    model, tokenizer = load_model(config.model, seed)
    policy = Policy(model, tokenizer, temperature, config.chunk)
    if config.shared_prompt:
        policy.packed_error = packed_error(policy)
        policy.packed = policy.packed_error <= AGREEMENT
    return policy


@torch.no_grad()
def packed_error(policy: Policy) -> float:
    """Largest difference in nats between packed and plain log-probs on rows of random tokens; inf if packing fails.

    Two prompts of different length with two completions each, longer than a sliding window of up to 1,024 tokens.
    """
    window = getattr(policy.model.config, "sliding_window", None) or 0
    extra = window if window <= 1024 else 0
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 4, 6, 11])
    tokens = torch.randint(policy.model.config.vocab_size, (4, 11), generator=generator)
    prompts = [torch.randint(policy.model.config.vocab_size, (n + extra,), generator=generator) for n in (7, 12)]
    batch = Batch(
        prompts=tuple(prompts),
        group=torch.tensor([0, 0, 1, 1]),
        tokens=tokens,
        mask=torch.arange(11) < lengths[:, None],
        lengths=lengths,
        advantages=torch.zeros(4),
        sampler_log_probs=torch.zeros(4, 11),
    )
    try:
        packed, _ = policy._packed(batch)
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError):
        return float("inf")  # recurrent models take no such mask: the plain path is for them
    plain, _ = policy._plain(batch)
    return float((packed - plain).abs().nan_to_num(torch.inf).max())
