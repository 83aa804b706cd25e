"""NaN drill: every adapter and every exported file under what makes other implementations NaN.

verl's part needs verl, and is in test_verl.py.
"""

# trl exports lazily
# pyright: reportPrivateImportUsage=false

import pytest
import torch
from trl import GRPOTrainer

from sapo_gates import certify
from sapo_gates.adapters import prime_rl
from sapo_gates.adapters.trl import GatedGRPOTrainer
from sapo_gates.torch import surrogate

SIGMOID = {"gate": "sigmoid", "positive": {"tau": 10}, "negative": {"tau": 12}}
EXPORTS = {
    "python": "harness.gate_step(exported.gate, batch)",
    "trl": "harness.trl_step(trainer, batch)",
    "prime-rl": "harness.prime_rl_step(exported.loss, batch)",
}
BEFORE = {"prime-rl": "harness.install_prime_rl_contract()"}
TRL_BREAKS = ("1e4", "inf", "1e4 where A = 0", "masked NaN")


@pytest.fixture(scope="module")
def step(harness, sigmoid_gate):
    """A loss by the name of its adapter."""
    harness.install_prime_rl_contract()
    ours = harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid_gate)
    theirs = harness.trl_trainer(GRPOTrainer, sapo_temperature_pos=10.0, sapo_temperature_neg=12.0)
    return {
        "python": lambda batch: harness.gate_step(sigmoid_gate, batch),
        "trl": lambda batch: harness.trl_step(ours, batch),
        "prime-rl": lambda batch: harness.prime_rl_step(prime_rl.loss, batch, **SIGMOID),
        "TRL's sapo": lambda batch: harness.trl_step(theirs, batch),
    }


def batches(harness):
    return [(kind, dtype, harness.killers(dtype, kind)) for kind in harness.KILLERS for dtype in harness.DTYPES]


@pytest.mark.parametrize("adapter", ["python", "trl", "prime-rl"])
def test_loss_and_gradient_are_finite_and_the_other_tokens_get_theirs(adapter, step, harness):
    for kind, dtype, batch in batches(harness):
        found = step[adapter](batch)
        assert found.finite, (kind, dtype)
        harmless = torch.where(batch.log_probs.abs() < 1, batch.log_probs, 0.0)
        there = batch.log_probs == harmless
        expected = step[adapter](harness.Batch(harmless, batch.old_log_probs, batch.advantages, batch.mask))
        assert torch.equal(found.gradient[there], expected.gradient[there]), (kind, dtype)
        assert not found.gradient[~there].any(), (kind, dtype)


@pytest.mark.parametrize("family", ["erf", "arctan", "softsign", "tanh"])
def test_other_families_are_as_finite(family, harness):
    gate = surrogate(certify(family))
    assert all(harness.gate_step(gate, batch).finite for *_, batch in batches(harness))


def test_trls_sapo_is_not_finite_where_the_ratio_overflows_nor_where_a_masked_log_prob_is_nan(step, harness):
    for kind, dtype, batch in batches(harness):
        breaks = kind in TRL_BREAKS or (kind == "15" and dtype == torch.float16)
        assert step["TRL's sapo"](batch).finite is not breaks, (
            f"TRL's sapo has changed for {kind} in {dtype}: docs/adapters.md says where it is not finite"
        )


def test_at_sequence_level_trl_itself_spreads_a_masked_nan_before_the_gate_sees_it(harness, sigmoid_gate):
    trainer = harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid_gate, importance_sampling_level="sequence")
    finite = {kind: harness.trl_step(trainer, harness.killers(torch.float32, kind)).finite for kind in harness.KILLERS}
    assert finite == {kind: kind != "masked NaN" for kind in harness.KILLERS}, "docs/adapters.md says so"


@pytest.mark.parametrize("to", EXPORTS)
def test_an_exported_file_does_without_this_package_and_gives_the_same_bits(to, step, harness, exported_steps):
    construct = "trainer = harness.trl_trainer(exported.GatedGRPOTrainer)" if to == "trl" else ""
    found = exported_steps(to, EXPORTS[to], BEFORE.get(to, ""), construct)
    for key, batch in harness.every_batch().items():
        assert found[key].same_as(step[to](batch)), key
