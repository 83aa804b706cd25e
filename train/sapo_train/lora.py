"""LoRA (2106.09685) through peft: begin an adapter, go on from one, merge one into the model."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn

from sapo_train.config import check, config
from sapo_train.errors import ModelError

if TYPE_CHECKING:
    from peft import PeftModel


@config
class LoraConfig:
    """Train low-rank matrices beside the frozen ones of the model."""

    rank: int = 0
    """Rank of the matrices, >= 0; 0: no adapter, all weights are trained."""
    alpha: float = 32.0
    """What the adapter adds is scaled by alpha/rank, > 0."""
    dropout: float = 0.0
    """Dropout before the adapter while learning, in [0, 1). Above 0, old log-probs need a pass of their own."""
    targets: tuple[str, ...] = ()
    """Names of the layers with an adapter, e.g. [q_proj, v_proj]; none: all linear layers but the LM head."""
    start: str | None = None
    """Folder of an adapter to go on from, as peft saves it; its rank, alpha, dropout and targets hold."""

    def __post_init__(self) -> None:
        check(self.rank >= 0, f"policy.lora.rank={self.rank} must be at least 0.")
        check(self.alpha > 0, f"policy.lora.alpha={self.alpha} must be positive.")
        check(0 <= self.dropout < 1, f"policy.lora.dropout={self.dropout} must lie in [0, 1).")
        changed = [f.name for f in fields(self) if f.name != "rank" and getattr(self, f.name) != f.default]
        check(
            self.rank > 0 or not changed,
            f"policy.lora.{'/'.join(changed)} changes nothing while policy.lora.rank=0; set a rank.",
        )
        check(
            self.start is None or changed == ["start"],
            f"policy.lora.{'/'.join(changed[:-1])} changes nothing where policy.lora.start={self.start!r} has its own; "
            "leave it out.",
        )


def attach(model: Any, config: LoraConfig, checkpoint: Path | None, seed: int) -> PeftModel:
    """Put an adapter into the model, in place: that of the checkpoint, of `config.start`, or a new one, which is 0.

    Raises:
        ModelError: there is no adapter where one should be, or it does not fit the model.
    """
    start = checkpoint or config.start
    with warnings.catch_warnings():  # peft asks transformers by names that a newer one deprecates
        warnings.simplefilter("ignore", FutureWarning)
        return _attach(model, config, start, seed)


def _attach(model: Any, config: LoraConfig, start: Path | str | None, seed: int) -> PeftModel:
    from peft import LoraConfig as PeftLora
    from peft import PeftModel, get_peft_model

    try:
        if start is not None:
            if not (
                Path(start) / "adapter_model.safetensors"
            ).is_file():  # peft would take a pickle, which is a program
                raise FileNotFoundError("the folder has no adapter_model.safetensors")
            return PeftModel.from_pretrained(model, str(start), is_trainable=True).eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            settings = PeftLora(
                task_type="CAUSAL_LM",
                r=config.rank,
                lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
                lora_dropout=config.dropout,
                target_modules=list(config.targets) or "all-linear",
            )
            adapter = get_peft_model(model, settings)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        says = " ".join(str(error).split())[:200]
        raise ModelError(f"cannot put the adapter of policy.lora (start={start}) into the model ({says}).") from None
    assert isinstance(adapter, PeftModel)
    return adapter.eval()


def merged(adapter: PeftModel) -> Any:
    """Return the model with the adapter added into its weights; the adapter is used up."""
    return adapter.merge_and_unload()  # type: ignore[operator]


def dropouts(model: nn.Module) -> list[nn.Module]:
    """List the dropouts of an adapter."""
    found = [module for name, module in model.named_modules() if "lora_dropout." in name]
    return [module for module in found if isinstance(module, nn.Dropout) and module.p > 0]
