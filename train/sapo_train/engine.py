"""What samples: the protocol of rollout engines, how they decode, and what they return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from sapo_train.errors import ConfigError
from sapo_train.policy import Policy

Stream = tuple[int, int, int]
"""(seed, draw, index): names the random stream of one completion."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a completion is drawn. A model's generation_config has no say, except for its end tokens."""

    max_tokens: int
    temperature: float  # 0 takes the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sampled:
    """One completion as it was drawn."""

    tokens: Tensor  # [T] long, what ended it included
    log_probs: Tensor  # [T], of softmax(logits/temperature), before top-k and top-p
    truncated_log_probs: Tensor  # [T], of the distribution really sampled, after top-k and top-p
    text: str  # without special tokens
    ended: bool  # by an end token, a stop token or a stop string; otherwise the limit cut it off


class Engine(Protocol):
    """Continues prompts."""

    def generate(
        self, prompts: Sequence[Tensor], *, samples: int, decoding: Decoding, streams: Sequence[Stream]
    ) -> list[Sampled]:
        """Continue each prompt [P] `samples` times; the completions come prompt by prompt, as do their `streams`."""
        ...

    def stream(
        self,
        prompts: Sequence[Tensor],
        *,
        samples: int,
        decoding: Decoding,
        streams: Sequence[Stream],
        together: int,
    ) -> Iterator[tuple[int, list[Sampled]]]:
        """The same, about `together` completions at a time: yield (prompt, its completions) as they end."""
        ...

    def update_weights(self, policy: Policy) -> None:
        """Sample from these weights from here on."""
        ...

    def close(self) -> None:
        """Let go of what the engine holds."""
        ...


def end_tokens(policy: Policy, decoding: Decoding) -> list[int]:
    """Every token that ends a completion: the model's and those of the decoding.

    Raises:
        ConfigError: a stop token that the model does not have, or a stop string that no text of a completion shows.
    """
    for text in decoding.stop:
        if token := next((token for token in policy.tokenizer.all_special_tokens if token in text), None):
            raise ConfigError(
                f"sampling.stop has {text!r}, but a completion's text is without special tokens such as {token!r}; "
                f"sampling.stop_tokens=[{policy.tokenizer.convert_tokens_to_ids(token)}] stops at that one."
            )
    for token in decoding.stop_tokens:
        if not 0 <= token < policy.vocabulary:
            raise ConfigError(
                f"sampling.stop_tokens has {token}; the model's tokens go from 0 to {policy.vocabulary - 1}."
            )
    return sorted({*policy.end_tokens, *decoding.stop_tokens})
