"""The one place where weights change: schedules, decay by kind of weight, clipping, and what is saved of it."""

import math

import pytest
import torch

from sapo_train.optim import OptimConfig, build_optimizer


def rates(total=10, **options) -> list[float]:
    optimizer = build_optimizer(torch.nn.Linear(2, 2), OptimConfig(lr=1.0, **options), total, 1.0)
    found = []
    for _ in range(total):
        optimizer.clip()
        found.append(optimizer.step())
    return found


def test_schedules_are_their_formulas():
    assert rates() == [1.0] * 10
    assert rates(schedule="linear") == pytest.approx([1 - k / 10 for k in range(10)])
    assert rates(schedule="cosine") == pytest.approx([(1 + math.cos(math.pi * k / 10)) / 2 for k in range(10)])


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_warm_up_rises_to_the_rate_from_which_the_schedule_falls_to_zero(schedule):
    found = rates(total=12, schedule=schedule, warmup=4)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[4:] == pytest.approx(rates(total=8, schedule=schedule))


def test_matrices_are_decayed_and_norms_and_biases_are_not(policy):
    optimizer = build_optimizer(policy.model, OptimConfig(lr=0.1, weight_decay=0.5), 10, 1.0)
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    optimizer.clip()  # without any gradient only the decay moves a weight
    optimizer.step()
    for name, p in policy.model.named_parameters():
        factor = 1 - 0.1 * 0.5 if p.ndim >= 2 else 1.0
        torch.testing.assert_close(p.detach(), factor * before[name])


def test_a_weight_that_is_shared_is_updated_once(policy):
    optimizer = build_optimizer(policy.model, OptimConfig(), 10, 1.0)
    assert policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight
    updated = [p for group in optimizer.adamw.param_groups for p in group["params"]]
    assert len({id(p) for p in updated}) == len(updated)


def test_a_gradient_is_scaled_to_the_norm_allowed_and_its_own_norm_is_told():
    layer = torch.nn.Linear(3, 1, bias=False)
    optimizer = build_optimizer(layer, OptimConfig(), 10, max_grad_norm=2.0)
    layer.weight.grad = torch.tensor([[3.0, 0.0, 4.0]])
    assert optimizer.clip() == pytest.approx(5.0)
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[1.2, 0.0, 1.6]]), rtol=1e-5, atol=1e-6)
