"""Train language models by GRPO with any certified gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sapo_train.loss import policy_loss

__all__ = ["policy_loss"]


def __getattr__(name: str) -> Any:
    # On first use: torch takes seconds to import, and the rewards do not need it.
    if name == "policy_loss":
        from sapo_train.loss import policy_loss

        return policy_loss
    raise AttributeError(f"module 'sapo_train' has no attribute {name!r}")
