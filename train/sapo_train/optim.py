"""AdamW on float32 master weights, its schedule, and the one place where weights change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from sapo_train.config import check, config


@config
class OptimConfig:
    """AdamW (1711.05101)."""

    lr: float = 1e-6
    """Learning rate of an update, > 0. 1e-6: 2602.19345, App. A."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the first and second moment, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, > 0."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices, >= 0; norms and biases are not decayed."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """linear, cosine: from the end of the warm-up to zero at the end of the run."""
    warmup: int = 0
    """Updates over which the learning rate rises to lr, >= 0."""

    def __post_init__(self) -> None:
        check(self.lr > 0, f"optim.lr={self.lr} must be positive.")
        check(all(0 <= b < 1 for b in self.betas), f"optim.betas={list(self.betas)} must lie in [0, 1).")
        check(self.eps > 0, f"optim.eps={self.eps} must be positive.")
        check(self.weight_decay >= 0, f"optim.weight_decay={self.weight_decay} must be at least 0.")
        check(self.warmup >= 0, f"optim.warmup={self.warmup} must be at least 0.")


@dataclass
class Optimizer:
    """AdamW, the schedule, and how many updates have been made."""

    adamw: torch.optim.AdamW
    names: dict[str, Tensor]
    config: OptimConfig
    total: int  # updates of the whole run
    max_grad_norm: float
    updates: int = 0

    def lr(self) -> float:
        """Learning rate of the coming update: a linear warm-up, then the schedule."""
        warmup = self.config.warmup
        if self.updates < warmup:
            return self.config.lr * (self.updates + 1) / (warmup + 1)
        done = min(1.0, (self.updates - warmup) / (self.total - warmup))
        shape = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        return self.config.lr * shape[self.config.schedule]

    def clip(self) -> float:
        """Scale the gradient down to the allowed norm; return the norm it had."""
        for p in self.names.values():
            if p.grad is None:  # a minibatch without any advantage: its gradient is 0, and momentum moves on
                p.grad = torch.zeros_like(p)
        return torch.nn.utils.clip_grad_norm_(list(self.names.values()), self.max_grad_norm).item()

    def step(self) -> float:
        """Update the weights, advance the schedule, drop the gradient; return the learning rate that was used."""
        lr = self.lr()
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        self.updates += 1
        return lr

    def state(self) -> dict[str, Tensor]:
        """Return moments and step counts by parameter name."""
        return {
            f"{name}|{key}": value
            for name, p in self.names.items()
            for key, value in self.adamw.state.get(p, {}).items()
        }

    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """Take over what `state` returned."""
        self.adamw.state.clear()
        for key, value in state.items():
            name, _, part = key.rpartition("|")
            parameter = self.names[name]
            self.adamw.state[parameter][part] = value.to(parameter.device)
        self.updates = updates


def build_optimizer(model: Any, config: OptimConfig, total: int, max_grad_norm: float) -> Optimizer:
    """Put matrices and everything else into parameter groups of their own; shared weights appear once."""
    names = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = [
        {"params": [p for p in names.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in names.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,  # one pass over the memory instead of a dozen
    )
    return Optimizer(adamw, names, config, total, max_grad_norm)
