"""A certified gate as prime-rl's custom loss.

    [trainer.loss]
    type = "custom"
    import_path = "sapo_gates.adapters.prime_rl.loss"
    [trainer.loss.kwargs]
    gate = "arctan"
    positive = { tau = 10 }
    negative = { tau = 12 }

prime-rl hands a loss one sequence at a time, adds up what it returns, and divides by the tokens of all sequences. Its
objective is therefore a mean over tokens (as DAPO's). The papers' mean over tokens, then over completions, needs the
number of completions in the denominator, which a custom loss neither sees nor sets: it cannot be expressed.
"""

# prime-rl is not on the package index
# pyright: reportMissingImports=false

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from sapo_gates.adapters.certified import certified_gate
from sapo_gates.errors import AdapterError
from sapo_gates.torch.runtime import TorchGate

if TYPE_CHECKING:
    from prime_rl.trainer.rl.loss import LossInputs, LossOutputs


def loss(
    inputs: "LossInputs",
    *,
    gate: str,
    positive: dict[str, float] | None = None,
    negative: dict[str, float] | None = None,
    reduction: str = "token-mean",
) -> "LossOutputs":
    """The loss of one sequence with a certified gate, for `import_path`; certified at the first call.

    Args:
        inputs: one sequence, as prime-rl gives it.
        gate: a family's name, a gate file, a certificate (.json) or `pkg.module:NAME`.
        positive, negative: the gate's parameters where A > 0 and elsewhere.
        reduction: `token-mean`, the only one prime-rl can express.

    Raises:
        AdapterError: another reduction.
        NotCertified: a requirement is refuted or undecided.
    """
    if reduction != "token-mean":
        raise AdapterError(
            f"reduction={reduction!r}: prime-rl divides the sum of all sequences' losses by their tokens, so that only "
            f"'token-mean' can be had; the papers' 'seq-mean-token-mean' needs sapo_train, TRL or verl."
        )
    return gate_loss(inputs, _certified(gate, _pairs(positive), _pairs(negative)))


def gate_loss(inputs: "LossInputs", gate: TorchGate) -> "LossOutputs":
    """The sum of -f(r) A over a sequence's tokens that count, r = trainer / inference, times their weights if given."""
    from prime_rl.trainer.rl.loss import LossOutputs

    log_ratio = inputs.trainer_logprobs - inputs.inference_logprobs.detach()
    token_loss = -gate(log_ratio, inputs.advantages, inputs.loss_mask)
    weights = getattr(inputs, "loss_weights", None)  # versions before the weight streams have no such field
    if weights is not None:
        token_loss = token_loss * torch.where(inputs.loss_mask, weights, 0.0)
    weight = gate.weight(log_ratio, inputs.advantages)[inputs.loss_mask]
    metrics = {"effective_update_ratio": weight.sum() / inputs.loss_mask.sum().clamp(min=1)}
    return LossOutputs(loss=token_loss.sum(), metrics=metrics)


def _pairs(numbers: dict[str, float] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((numbers or {}).items())


@lru_cache
def _certified(gate: str, positive: tuple[tuple[str, Any], ...], negative: tuple[tuple[str, Any], ...]) -> TorchGate:
    return certified_gate(gate, positive=dict(positive), negative=dict(negative))
