"""Which rollout engine samples."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sapo_train.config import check, config
from sapo_train.engine import Decoding, Engine
from sapo_train.local_engine import LocalEngine
from sapo_train.policy import Policy
from sapo_train.vllm_engine import VllmEngine


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


def build_engine(config: EngineConfig, policy: Policy, decoding: Decoding, log: Path) -> Engine:
    """Make the engine; `decoding` is that of training, and `log` is for what a server says."""
    if config.kind == "local":
        return LocalEngine(policy)
    return VllmEngine(policy, config.python, config.arguments, decoding, log)
