"""Which rollout engine samples, and whether it samples from the policy that is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from sapo_train.batch import Batch, pad
from sapo_train.config import check, config
from sapo_train.engine import Decoding, Engine
from sapo_train.errors import EngineError
from sapo_train.local_engine import LocalEngine
from sapo_train.policy import AGREEMENT, Policy
from sapo_train.vllm_engine import VllmEngine

ROUGH_AGREEMENT = 0.1
"""Nats, mean: bfloat16 and other kernels stay well below, a weight that was not taken over does not."""
DRAW = 2**41  # the streams of the comparison, far from those of training and evaluation


@config
class EngineConfig:
    """What samples the completions of training and of its held-out evaluations."""

    kind: Literal["local", "vllm"] = "local"
    """local: the learner's own model, and the run replays to the bit. vllm: a vLLM server, one for each process, which
    starts with the run and reads the weights after every batch step."""
    python: str = "python"
    """For vllm: the interpreter of the environment that vLLM is installed in."""
    arguments: tuple[str, ...] = ()
    """For vllm: further arguments of its server, such as [--gpu-memory-utilization=0.4]."""

    def __post_init__(self) -> None:
        changed = [name for name, other in (("python", "python"), ("arguments", ())) if getattr(self, name) != other]
        check(
            self.kind == "vllm" or not changed,
            f"engine.{'/'.join(changed)} changes nothing while engine.kind=local; set engine.kind=vllm.",
        )


def build_engine(config: EngineConfig, policy: Policy, decoding: Decoding, log: Path = Path("vllm.log")) -> Engine:
    """Make the engine and compare what it samples with the policy.

    Args:
        config: which engine.
        policy: what is trained.
        decoding: that of training.
        log: where a server's output goes.

    Raises:
        EngineError: it cannot be started, or samples from something else.
    """
    if config.kind == "local":
        engine = LocalEngine(policy)
        rounds_alike = policy.compute == torch.float32
        refuse_disagreement(engine, policy, decoding, AGREEMENT if rounds_alike else ROUGH_AGREEMENT)
        return engine
    engine = VllmEngine(policy, config.python, config.arguments, decoding, log)
    try:
        refuse_disagreement(engine, policy, decoding, ROUGH_AGREEMENT)
    except BaseException:
        engine.close()
        raise
    return engine


@torch.no_grad()
def refuse_disagreement(engine: Engine, policy: Policy, decoding: Decoding, limit: float) -> None:
    """Compare the log-probs of a few sampled tokens with the policy's own.

    The prompts are random tokens of different lengths, each with two completions, so that padding, shared prompts and
    the states of recurrent layers are in it.

    Raises:
        EngineError: they differ by more than `limit` nats on average.
    """
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(policy.vocabulary, (n,), generator=generator) for n in (7, 12)]
    short = replace(decoding, max_tokens=min(decoding.max_tokens, 8))
    drawn = engine.generate(prompts, samples=2, decoding=short, streams=[(0, DRAW, i) for i in range(4)])
    lengths = torch.tensor([len(sampled.tokens) for sampled in drawn])
    longest = int(lengths.max())
    batch = Batch(
        prompts=tuple(prompts),
        group=torch.tensor([0, 0, 1, 1]),
        tokens=pad([sampled.tokens for sampled in drawn], longest),
        mask=torch.arange(longest) < lengths[:, None],
        lengths=lengths,
        advantages=torch.zeros(4),
        sampler_log_probs=pad([sampled.log_probs for sampled in drawn], longest),
    )
    gap = (policy(batch)[0].cpu() - batch.sampler_log_probs)[batch.mask].abs().mean().item()
    if not gap <= limit:
        raise EngineError(
            f"{type(engine).__name__} does not sample from the policy that is trained: log-probs of what it samples "
            f"differ by {gap:.2g} nats on average, and at most {limit:g} is rounding. It does not suit this model."
        )
