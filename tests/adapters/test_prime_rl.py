"""Against prime-rl's documented contract; prime-rl itself does not install here."""

import pytest
import torch

from sapo_gates.adapters import prime_rl
from sapo_gates.errors import AdapterError, NotCertified, UnknownGate

SIGMOID = {"gate": "sigmoid", "positive": {"tau": 10}, "negative": {"tau": 12}}


@pytest.fixture(scope="module", autouse=True)
def contract(harness):
    harness.install_prime_rl_contract()


def test_the_loss_is_the_mean_of_the_gated_terms_over_all_tokens(harness, sigmoid_gate):
    batch = harness.ordinary()
    leaf = batch.log_probs.clone().requires_grad_()
    expected = -sigmoid_gate(leaf - batch.old_log_probs, batch.advantages, batch.mask).sum() / batch.mask.sum()
    expected.backward()
    step = harness.prime_rl_step(prime_rl.loss, batch, **SIGMOID)
    torch.testing.assert_close(step.loss, expected.detach())
    torch.testing.assert_close(step.gradient, leaf.grad)


def test_the_papers_reduction_is_refused_and_the_error_says_why(harness):
    with pytest.raises(
        AdapterError, match="'seq-mean-token-mean': prime-rl divides the sum of all sequences' losses by"
    ):
        harness.prime_rl_step(prime_rl.loss, harness.ordinary(), **SIGMOID, reduction="seq-mean-token-mean")


def test_weights_scale_the_tokens_that_count_and_nothing_else(harness):
    batch = harness.ordinary()
    weights = torch.where(batch.mask.bool(), 0.5, torch.nan)
    plain = harness.prime_rl_step(prime_rl.loss, batch, **SIGMOID)
    weighted = harness.prime_rl_step(prime_rl.loss, batch, weights=weights, **SIGMOID)
    torch.testing.assert_close(weighted.loss, plain.loss / 2)
    torch.testing.assert_close(weighted.gradient, plain.gradient / 2)


def test_a_sequence_without_a_token_that_counts_costs_nothing(harness):
    inputs = harness.LossInputs(*(torch.zeros(3),) * 2, None, torch.ones(3), torch.zeros(3, dtype=torch.bool), None)
    outputs = prime_rl.loss(inputs, **SIGMOID)
    assert outputs.loss == 0
    assert outputs.metrics["effective_update_ratio"] == 0


@pytest.mark.parametrize(("gate", "error"), [("hard-clip", NotCertified), ("sigmiod", UnknownGate)])
def test_a_gate_that_is_not_certified_is_refused(gate, error, harness):
    with pytest.raises(error):
        harness.prime_rl_step(prime_rl.loss, harness.ordinary(), gate=gate)
