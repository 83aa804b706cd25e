"""Rollouts: groups of completions of each prompt, drawn by an engine."""

from __future__ import annotations

from collections.abc import Sequence

from sapo_train.batch import Completion, Group
from sapo_train.config import check, config
from sapo_train.data import Prompt
from sapo_train.engine import Decoding, Engine


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
    top_p: float = 1.0
    """Sample from the fewest likeliest tokens that hold this much probability, in (0, 1]. Ratios are of all tokens."""
    top_k: int = 0
    """Sample from so many likeliest tokens, >= 0; 0: all. Ratios are of all tokens."""
    stop: tuple[str, ...] = ()
    """Strings that end a completion, such as '</answer>'. They stay in its text."""
    stop_tokens: tuple[int, ...] = ()
    """Ids of tokens that end a completion, besides the model's own end tokens."""

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
        check(0 < self.top_p <= 1, f"sampling.top_p={self.top_p} must lie in (0, 1]; 1 keeps every token.")
        check(self.top_k >= 0, f"sampling.top_k={self.top_k} must be at least 0; 0 keeps every token.")
        check(all(self.stop), "sampling.stop has an empty string, which would end every completion at once.")

    @property
    def decoding(self) -> Decoding:
        """What an engine needs to know."""
        return Decoding(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            stop=self.stop,
            stop_tokens=self.stop_tokens,
        )


def sample(engine: Engine, prompts: Sequence[Prompt], config: SamplingConfig, seed: int, position: int) -> list[Group]:
    """Draw `group_size` completions of each prompt; `position` is the data position of the first, so a redraw is a
    new draw."""
    size = config.group_size
    drawn = engine.generate(
        [prompt.tokens for prompt in prompts],
        samples=size,
        decoding=config.decoding,
        streams=[(seed, position + k, i) for k in range(len(prompts)) for i in range(size)],
    )
    completions = [
        Completion(
            tokens=s.tokens,
            log_probs=s.log_probs,
            kept=(s.log_probs - s.truncated_log_probs).exp().mean().item(),
            text=s.text,
            truncated=not s.ended,
        )
        for s in drawn
    ]
    return [
        Group(prompt=prompt, completions=tuple(completions[k * size : (k + 1) * size]))
        for k, prompt in enumerate(prompts)
    ]
