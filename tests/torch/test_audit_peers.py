"""The shapes of public trainers, with stand-ins of the same signatures; the trainers themselves: make audit-peers."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from sapo_gates import load_gate
from sapo_gates.errors import AuditError
from sapo_gates.torch.audit import audit

SIGMOID = load_gate("sigmoid").bind(positive={"tau": 1}, negative={"tau": 2})


def gated(z: Tensor, advantages: Tensor, positive: float, negative: float) -> Tensor:
    tau = torch.where(advantages > 0, torch.full_like(z, positive), torch.full_like(z, negative))
    return torch.sigmoid(tau * torch.expm1(z.clamp(max=8.0))) * 4 / tau * advantages


@dataclass
class ActorConfig:
    strategy: str
    rollout_n: int
    ppo_micro_batch_size_per_gpu: int
    tau_pos: float = 1.0
    tau_neg: float = 2.0
    global_batch_info: dict[str, Any] = field(default_factory=dict)


def registered_loss(old_log_prob, log_prob, advantages, response_mask, loss_agg_mode="token-mean", config=None):
    assert isinstance(config, ActorConfig)
    terms = gated(log_prob - old_log_prob, advantages, config.tau_pos, config.tau_neg) * response_mask
    if loss_agg_mode == "token-mean":
        loss = terms.sum() / config.global_batch_info["batch_num_tokens"]
    else:
        loss = (terms.sum(1) / response_mask.sum(1).clamp(min=1)).sum() / config.global_batch_info["global_batch_size"]
    return -loss, {"actor/pg_clipfrac": 0.0}


@dataclass
class GRPOConfig:
    output_dir: str
    report_to: str
    use_cpu: bool
    bf16: bool
    beta: float
    epsilon: float = 0.2
    epsilon_high: float | None = None
    entropy_coef: float = 0.0
    use_adaptive_entropy: bool = False
    loss_type: str = "grpo"
    sapo_temperature_pos: float = 1.0
    sapo_temperature_neg: float = 2.0
    steps_per_generation: int = 1


class GRPOTrainer:
    def _get_per_token_logps_and_entropies(self, *_: Any) -> tuple[Tensor, Tensor, None]:
        raise NotImplementedError

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        assert self.loss_type == "sapo"  # type: ignore[attr-defined]
        args, mask = self.args, inputs["completion_mask"]  # type: ignore[attr-defined]
        log_probs, _, _ = self._get_per_token_logps_and_entropies(model, inputs)
        z = log_probs - inputs["old_per_token_logps"]
        terms = gated(
            z, inputs["advantages"][:, None].expand_as(z), args.sapo_temperature_pos, args.sapo_temperature_neg
        )
        loss = ((terms * mask).sum(-1) / mask.sum(-1).clamp(min=1)).mean()
        self._metrics["train"]["clip_ratio"].append(loss.item())  # type: ignore[attr-defined]
        return -loss / self.current_gradient_accumulation_steps  # type: ignore[attr-defined]


class ChunkedLoss(torch.nn.Module):
    def __init__(self, beta=0.04, compiled=True, use_ref_model=True, loss_type="dapo", sapo_temperature_pos=1.0):
        super().__init__()
        self.loss_type, self.tau = loss_type, sapo_temperature_pos

    def forward(self, _input, lin_weight, selected_token_ids, attention_mask, advantages, **others):
        log_probs = torch.log_softmax(_input @ lin_weight.T, -1).gather(-1, selected_token_ids[..., None])[..., 0]
        z = log_probs - others["old_per_token_logps"]
        terms = gated(z, advantages[:, None].expand_as(z), self.tau, 2 * self.tau) * attention_mask
        return -(terms.sum(1) / attention_mask.sum(1).clamp(min=1)).sum() / len(terms), ()


SAFE = ("unit-weight", "advantage", "gradient-of-value", "matches-gate", "finite", "reduction", "invariance", "knobs")


@pytest.mark.parametrize(
    ("function", "shape", "knobs"),
    [
        (registered_loss, "verl", {"tau_pos": 1.0, "tau_neg": 2.0}),
        (registered_loss, "verl", {"tau_pos": 1.0, "loss_agg_mode": "seq-mean-token-mean"}),
        (GRPOTrainer._compute_loss, "trl", {"loss_type": "sapo", "sapo_temperature_neg": 2.0}),
        (ChunkedLoss, "liger", {"loss_type": "sapo", "sapo_temperature_pos": 1.0}),
    ],
)
def test_a_right_loss_in_a_trainers_shape_holds(function, shape, knobs):
    found = audit(function, against=SIGMOID, knobs=knobs, only=SAFE, prove=False)
    assert found.shape == shape
    assert [finding for finding in found.findings if finding.verdict == "fails"] == []


def test_the_minibatch_counts_make_any_reduction_invariant_to_the_split():
    found = audit(registered_loss, knobs={"tau_pos": 1.0}, only=("reduction", "invariance"), prove=False)
    assert next(f.says for f in found.findings if f.id == "reduction").startswith("token-mean")
    assert found.holds


def test_a_metric_that_never_moves_and_a_wrong_temperature_are_found():
    found = audit(
        registered_loss, against=SIGMOID, knobs={"tau_neg": 3.0}, only=("matches-gate", "clip-metrics"), prove=False
    )
    failed = {f.id for f in found.findings if f.verdict == "fails"}
    assert {"clip-metric-alive", "matches-sigmoid-float32"} <= failed


def test_a_whole_loss_of_one_token_is_traced_through_its_metrics():
    found = audit(GRPOTrainer._compute_loss, knobs={"loss_type": "sapo"}, only=())
    assert found.certificate is not None, found.untraced
    assert "sigmoid" in str(found.certificate.gate.declared("positive"))


def test_a_configuration_the_trainer_refuses_is_bad_input():
    with pytest.raises(AuditError, match="refuses its configuration"):
        audit(GRPOTrainer._compute_loss, knobs={"lost_type": "sapo"}, prove=False)
