"""Certified gates as verl policy losses, chosen by a name that says everything, since verl's configuration rejects
unknown fields:

    actor_rollout_ref.actor.policy_loss.loss_mode=sapo_gates:arctan@positive.tau:10@negative.tau:12

After the prefix a family's name, a gate file, a certificate (.json) or `pkg.module:NAME`, then parameter values, each
after an @; so written a name needs no quotes in a shell or in Hydra. verl imports this module through its plugin entry
point; the gate is certified when a name is first asked for, in every worker alike.
"""

# verl has an environment of its own, which pyright does not see
# pyright: reportMissingImports=false

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils.torch_functional import masked_mean

from sapo_gates.adapters.certified import certified_gate
from sapo_gates.gatefile import parse_assignments
from sapo_gates.torch.runtime import TorchGate

PREFIX = "sapo_gates:"
PolicyLoss = Callable[..., tuple[Tensor, dict[str, Any]]]


def policy_loss(gate: TorchGate) -> PolicyLoss:
    """The gate as what verl's workers call: -f(r) A, aggregated by verl's own function over the global batch."""

    def loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str,
        config: Any,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """All tensors [B, T]; the papers' reduction is `seq-mean-token-mean`, and verl's default is another."""
        log_ratio = log_prob - old_log_prob.detach()
        token_loss = -gate(log_ratio, advantages, response_mask)
        if rollout_is_weights is not None:
            token_loss = torch.where(response_mask.bool(), token_loss * rollout_is_weights, 0.0)
        pg_loss = agg_loss(token_loss, response_mask, loss_agg_mode, **config.global_batch_info)
        with torch.no_grad():
            weight = masked_mean(gate.weight(log_ratio, advantages), response_mask)
            metrics = {
                "actor/ppo_kl": masked_mean(-log_ratio, response_mask).item(),
                "actor/effective_update_ratio": weight.item(),
            }
        return pg_loss, metrics

    return loss


class Losses(dict[str, PolicyLoss]):
    """verl's registry of policy losses, in which the name of any certified gate is found."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(PREFIX))

    def __missing__(self, name: str) -> PolicyLoss:
        """Certifies the gate that a name says.

        Raises:
            SapoGatesError: there is no such gate or parameter, or the gate is not certified.
        """
        if name not in self:
            raise KeyError(name)
        gate, *numbers = name.removeprefix(PREFIX).split("@")
        positive, negative = parse_assignments(number.replace(":", "=", 1) for number in numbers)
        self[name] = policy_loss(certified_gate(gate, positive=positive, negative=negative))
        return self[name]


core_algos.POLICY_LOSS_REGISTRY = Losses(core_algos.POLICY_LOSS_REGISTRY)
