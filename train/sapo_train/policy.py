"""The policy softmax(logits/T), T the sampling temperature: log-probs and entropy without a [tokens, V] tensor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from sapo_train.batch import Batch
from sapo_train.errors import ModelError
from sapo_train.lora import attach, dropouts
from sapo_train.models import PolicyConfig, load_model
from sapo_train.pack import Pack, attention_masks

if TYPE_CHECKING:
    from peft import PeftModel

AGREEMENT = 1e-3  # nats: float32 rounding over a few dozen layers stays well below, a wrong mask or head well above

LogProbPath = Literal["shared", "rows", "logits"]


@dataclass
class Policy:
    """A causal language model with its tokenizer, at one sampling temperature."""

    model: Any  # with the adapter's layers in it, where there is one
    tokenizer: Any
    temperature: float = 1.0
    chunk: int = 256
    compute: torch.dtype = torch.float32
    path: LogProbPath = "logits"  # the start-up check decides
    errors: dict[str, float] | None = None  # nats, what the check measured of each path it tried
    adapter: PeftModel | None = None
    frozen: Policy | None = None  # the model the run began with, where a KL term needs it and no adapter can be off

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def vocabulary(self) -> int:
        """Tokens that the model embeds; perhaps more than the tokenizer has."""
        return self.model.get_input_embeddings().weight.shape[0]

    @property
    def drops(self) -> bool:
        """Is dropout on while learning, so that two passes over the same batch differ?"""
        return bool(dropouts(self.model))

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

    def text_of(self, token: int) -> str:
        """Return the text of one token, special or not."""
        return self.tokenizer.decode([token])

    def computing(self) -> torch.autocast:
        """Compute in the configured precision, on float32 weights."""
        return torch.autocast(self.device.type, self.compute, enabled=self.compute != torch.float32)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Turn gradient checkpointing and the adapter's dropout on, where configured; all other dropout stays off."""
        layers = [m for m in self.model.modules() if getattr(m, "gradient_checkpointing", False)]
        switched = [m for m in layers if isinstance(m, GradientCheckpointingLayer)] + dropouts(self.model)
        for module in switched:
            module.training = True
        try:
            yield
        finally:
            for module in switched:
                module.training = False

    @contextmanager
    def reference(self) -> Iterator[Policy]:
        """Give the model the run began with: the adapter switched off, where there is one."""
        if self.frozen is not None:
            yield self.frozen
        else:
            assert self.adapter is not None
            with self.adapter.disable_adapter():
                yield self

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probs [B, T], differentiable, and entropy [B, T], detached, in nats; 0 beyond a completion's end."""
        with self.computing():
            if self.path == "shared":
                return self._shared(batch)
            return _stack([self._row(batch, row) for row in range(len(batch))])

    def _shared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The prompt of a group encoded once; all completions in one padding-free row."""
        pack = Pack.of(batch).to(self.device)
        hidden = self.model.base_model(
            input_ids=pack.ids[None],
            position_ids=pack.positions[None],
            attention_mask=attention_masks(self.model.config, pack, self.compute),
            use_cache=False,
        ).last_hidden_state[0, pack.predictor]
        log_probs, entropy = self._in_chunks(hidden, pack.target)
        shape = torch.zeros(batch.tokens.shape, device=self.device)
        at = (pack.row, pack.column)
        return shape.index_put(at, log_probs), shape.index_put(at, entropy)

    def _row(self, batch: Batch, row: int) -> tuple[Tensor, Tensor]:
        """A completion with its prompt, alone: through the LM head in chunks, or through the model's own logits."""
        length = int(batch.lengths[row])
        prompt, tokens = (x.to(self.device) for x in (batch.prompts[int(batch.group[row])], batch.tokens[row, :length]))
        ids = torch.cat([prompt, tokens])[None]
        if self.path == "rows":
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            log_probs, entropy = self._in_chunks(hidden[len(prompt) - 1 : -1], tokens)
        else:
            logits = self.model(input_ids=ids, use_cache=False).logits[0]
            log_probs, entropy = self._from_logits(logits[len(prompt) - 1 : -1], tokens)
        beyond = (0, batch.tokens.shape[1] - length)
        return torch.nn.functional.pad(log_probs, beyond), torch.nn.functional.pad(entropy, beyond)

    def _in_chunks(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs [N] and entropy [N] of hidden [N, H]; the logits of a chunk are made again in the backward pass."""
        head = self.model.get_output_embeddings()
        parts = [
            checkpoint(self._from_hidden, head, h, t, use_reentrant=False, preserve_rng_state=False)
            for h, t in zip(hidden.split(self.chunk), target.split(self.chunk), strict=True)
        ]
        log_probs, entropy = (torch.cat(part) for part in zip(*parts, strict=True))
        return log_probs, entropy

    def _from_hidden(self, head: Any, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return self._from_logits(logit_transform(self.model.config, head(hidden)), target)

    def _from_logits(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        log_p = torch.log_softmax(logits.float() / self.temperature, -1)
        with torch.no_grad():
            entropy = torch.special.entr(log_p.exp()).sum(-1)
        return log_p.gather(-1, target[..., None]).squeeze(-1), entropy


def logit_transform(config: Any, logits: Tensor) -> Tensor:
    """Apply what the model does to its logits after the LM head: Cohere's and Granite's scales, Gemma's soft cap."""
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits


def build_policy(
    config: PolicyConfig,
    temperature: float,
    seed: int,
    *,
    start: Path | None = None,
    with_reference: bool = False,
    device: str = "cpu",
) -> Policy:
    """Load the model (or what a checkpoint `start` holds of it) and decide by measurement how log-probs are computed.

    Args:
        config: the model, its adapter, its precision.
        temperature: of sampling.
        seed: for a model that is made at random, and a new adapter.
        start: a checkpoint to go on from.
        with_reference: keep the model that the run began with, for a KL term.
        device: where the model goes.
    """
    lora = config.lora.rank > 0
    model, tokenizer = load_model(config.model if start is None or lora else str(start), seed)
    policy = Policy(model.to(device), tokenizer, temperature, config.chunk)
    choose_path(policy, config.shared_prompt)
    policy.compute = getattr(torch, config.dtype)
    if lora:
        model.to(policy.compute)  # frozen weights need no float32
        policy.adapter = attach(model, config.lora, start, seed)
    elif with_reference:
        first = load_model(config.model, seed)[0].to(policy.compute).to(policy.device)
        policy.frozen = replace(policy, model=first.requires_grad_(False))
    if config.gradient_checkpointing:
        # the name since transformers 5.20, and the one before
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next(getattr(model, name) for name in names if hasattr(model, name))
        try:
            enable({"use_reentrant": False})
        except ValueError as error:
            raise ModelError(f"policy.gradient_checkpointing=true is not for {config.model!r}: {error}") from None
    return policy


@torch.no_grad()
def choose_path(policy: Policy, shared_prompt: bool = True) -> None:
    """Take the first path that gives the model's own log-probs: shared prompts, rows through the head in chunks.

    Compared on rows of random tokens: two prompts of different length with two completions each, longer than a sliding
    window of up to 1,024 tokens.
    """
    batch = probe(policy)
    policy.path, policy.errors = "logits", {}
    plain, _ = policy(batch)
    paths: tuple[LogProbPath, ...] = ("shared", "rows") if shared_prompt else ("rows",)
    for path in paths:
        policy.path = path
        try:
            error = float((policy(batch)[0] - plain).abs().nan_to_num(torch.inf).max())
        except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError):
            error = float("inf")  # recurrent models take no such mask: other paths are for them
        policy.errors[path] = error
        if error <= AGREEMENT:
            return
    policy.path = "logits"


def probe(policy: Policy) -> Batch:
    """Make rows of random tokens on which the paths are compared."""
    config = policy.model.config
    window = getattr(config, "sliding_window", None) or 0
    extra = window if window <= 1024 else 0
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 4, 6, 11])
    tokens = torch.randint(config.vocab_size, (4, 11), generator=generator)
    prompts = [torch.randint(config.vocab_size, (n + extra,), generator=generator) for n in (7, 12)]
    return Batch(
        prompts=tuple(prompts),
        group=torch.tensor([0, 0, 1, 1]),
        tokens=tokens,
        mask=torch.arange(11) < lengths[:, None],
        lengths=lengths,
        advantages=torch.zeros(4),
        sampler_log_probs=torch.zeros(4, 11),
    )


def _stack(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    log_probs, entropy = (torch.stack(part) for part in zip(*rows, strict=True))
    return log_probs, entropy
