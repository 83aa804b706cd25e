"""The adapter inside verl itself; run by `make test-peers`, in verl's environment."""

# verl has an environment of its own, which pyright does not see
# pyright: reportMissingImports=false

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from sapo_gates import certify
from sapo_gates.errors import NotCertified, ParameterValueError, UnknownGate, UnknownParameter

pytestmark = pytest.mark.verl

SIGMOID = "sapo_gates:sigmoid@positive.tau:10@negative.tau:12"
TEMPERATURES = {"tau_pos": 10.0, "tau_neg": 12.0}
AGGREGATIONS = ("seq-mean-token-mean", "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm")


@pytest.fixture(scope="module")
def batch(harness):
    return harness.ordinary()


def test_an_installed_package_is_enough_for_verl_to_know_the_names():
    code = (
        "from verl.trainer.ppo.core_algos import get_policy_loss_fn\n"
        "print(get_policy_loss_fn('sapo_gates:arctan').__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["sapo_gates.adapters.verl"], done.stderr


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "with rollout weights"])
def test_loss_and_gradient_are_those_of_verls_sapo(weighted, harness, batch):
    weights = torch.linspace(0.5, 1.5, 42).reshape(6, 7) if weighted else None
    mine = harness.verl_step(SIGMOID, batch, rollout_is_weights=weights)
    their = harness.verl_step("sapo", batch, rollout_is_weights=weights, **TEMPERATURES)
    assert mine.gradient.abs().max() > 0.01
    # u = tau (r - 1) is rounded to about tau r 2^-24 < 4e-6, and d log sech^2(u/2) / du <= 1
    torch.testing.assert_close(mine.loss, their.loss, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(mine.gradient, their.gradient, rtol=1e-5, atol=1e-8)


def test_verls_worker_finds_the_loss_by_its_configuration(harness, batch, sigmoid_gate):
    from tensordict import TensorDict
    from verl.utils import tensordict_utils
    from verl.workers.config import ActorConfig, PolicyLossConfig
    from verl.workers.utils.losses import ppo_loss

    length, lengths = batch.mask.shape[1], batch.mask.sum(1)
    config = ActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, loss_agg_mode="seq-mean-token-mean",
        policy_loss=PolicyLossConfig(loss_mode=SIGMOID),
    )  # fmt: skip
    data = TensorDict(
        {
            "prompts": torch.zeros(6, 1, dtype=torch.long),
            "responses": torch.zeros(6, length, dtype=torch.long),
            "attention_mask": torch.cat([torch.ones(6, 1, dtype=torch.long), batch.mask], dim=1),
            "response_mask": batch.mask,
            "old_log_probs": batch.old_log_probs,
            "advantages": batch.advantages[:, None].expand(6, length),
        },
        batch_size=6,
    )
    tensordict_utils.assign_non_tensor(data, dp_size=1, batch_num_tokens=None, global_batch_size=None)
    # as the model gives them: without padding, each log-prob one place to the left of its token
    padless = torch.cat(
        [torch.cat([row[:n], row.new_zeros(1)]) for row, n in zip(batch.log_probs, lengths, strict=True)]
    )
    loss, metrics = ppo_loss(config, {"log_probs": padless}, data)
    assert torch.equal(loss, harness.verl_step(SIGMOID, batch).loss)
    weight = sigmoid_gate.weight(batch.log_probs - batch.old_log_probs, batch.advantages)[batch.mask.bool()]
    assert metrics["actor/effective_update_ratio"].aggregate() == pytest.approx(weight.mean().item())


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_microbatches_and_ranks_add_up_to_the_whole_batch(aggregation, harness, batch):
    whole = {"batch_num_tokens": int(batch.mask.sum()), "global_batch_size": 6, "loss_scale_factor": 7}
    expected = harness.verl_step(SIGMOID, batch, aggregation, global_batch_info=whole)

    def part(rows, ranks):
        fields = (t[rows] for t in (batch.log_probs, batch.old_log_probs, batch.advantages, batch.mask))
        return harness.verl_step(
            SIGMOID, harness.Batch(*fields), aggregation, global_batch_info=whole | {"dp_size": ranks}
        )

    micro = [part([0], 1), part([1, 2, 3], 1), part([4, 5], 1)]
    torch.testing.assert_close(sum(one.loss for one in micro), expected.loss)
    torch.testing.assert_close(torch.cat([one.gradient for one in micro]), expected.gradient)
    ranks = [part([0, 1], 2), part([2, 3, 4, 5], 2)]  # whose gradients verl averages
    torch.testing.assert_close(sum(one.loss for one in ranks) / 2, expected.loss)
    torch.testing.assert_close(torch.cat([one.gradient for one in ranks]) / 2, expected.gradient)


def test_the_aggregation_that_is_asked_for_is_the_one_that_is_used(harness, batch):
    losses = {mode: harness.verl_step(SIGMOID, batch, mode).loss.item() for mode in AGGREGATIONS}
    assert len(set(losses.values())) == len(AGGREGATIONS)
    ignored = {mode: harness.verl_step("sapo", batch, mode).loss.item() for mode in AGGREGATIONS}
    assert len(set(ignored.values())) == 1, "verl's sapo now reads loss_agg_mode: docs/adapters.md says it does not"


def test_every_part_of_the_name_is_alive(harness, batch):
    names = [SIGMOID, "sapo_gates:sigmoid@tau:10", "sapo_gates:sigmoid@negative.tau:3", "sapo_gates:arctan@tau:10"]
    losses = {harness.verl_step(name, batch).loss.item() for name in names}
    assert len(losses) == len(names)


def test_no_gradient_reaches_the_old_policy_or_the_advantage(harness, batch):
    old, advantages = batch.old_log_probs.clone().requires_grad_(), batch.advantages.clone().requires_grad_()
    harness.verl_step(SIGMOID, replace(batch, old_log_probs=old, advantages=advantages))
    assert old.grad is None
    assert advantages.grad is None


def test_a_gate_file_and_a_certificate_are_named_by_their_paths(harness, batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    certificate = certify("sigmoid")
    certificate.save(tmp_path / "mine.json")
    (tmp_path / "mine.toml").write_text(certificate.gate.text, encoding="utf-8")
    expected = harness.verl_step(SIGMOID, batch)
    for path in ("mine.toml", tmp_path / "mine.json"):
        step = harness.verl_step(SIGMOID.replace("sigmoid", str(path), 1), batch)
        assert torch.equal(step.gradient, expected.gradient)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("sapo_gates:arctna", UnknownGate, "no gate 'arctna'.*Did you mean 'arctan'"),
        ("sapo_gates:arctan@tua:10", UnknownParameter, "Did you mean 'tau'"),
        ("sapo_gates:hard-clip", NotCertified, "continuously-differentiable is refuted"),
        ("sapo_gates:arctan@tau", ParameterValueError, "'tau' is no assignment"),
        ("arctan", ValueError, "Unsupported loss mode: arctan"),
    ],
)
def test_a_name_that_is_no_certified_gate_is_refused(name, error, says):
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    with pytest.raises(error, match=says):
        get_policy_loss_fn(name)


def test_verls_configuration_takes_the_name_without_quotes():
    from hydra import compose, initialize_config_module

    field = "actor_rollout_ref.actor.policy_loss.loss_mode"
    name = f"{SIGMOID}/7"
    with initialize_config_module("verl.trainer.config", version_base=None):
        configuration = compose("ppo_trainer", overrides=[f"{field}={name}"])
    assert configuration.actor_rollout_ref.actor.policy_loss.loss_mode == name


def batches(harness):
    return [(kind, dtype, harness.killers(dtype, kind)) for kind in harness.KILLERS for dtype in harness.DTYPES]


def test_drill_loss_and_gradient_are_finite(harness, sigmoid_gate):
    for kind, dtype, batch in batches(harness):
        step = harness.verl_step(SIGMOID, batch)
        assert step.finite, (kind, dtype)
        assert torch.equal(step.gradient == 0, harness.gate_step(sigmoid_gate, batch).gradient == 0), (kind, dtype)


def test_drill_verls_sapo_is_not_finite_where_a_masked_log_prob_is_nan_nor_where_float16_overflows(harness):
    """Its clamp of the log-ratio at 20 comes too late for float16; its mask multiplies, and 0 NaN is NaN."""
    for kind, dtype, batch in batches(harness):
        breaks = kind == "masked NaN" or (kind == "15" and dtype == torch.float16)
        assert harness.verl_step("sapo", batch, **TEMPERATURES).finite is not breaks, (
            f"verl's sapo has changed for {kind} in {dtype}: docs/adapters.md says where it is not finite"
        )


def test_the_exported_file_does_without_this_package_and_gives_the_same_bits(harness, exported_steps, sigmoid):
    steps = exported_steps("verl", f"harness.verl_step({SIGMOID!r}, batch)")
    assert all(steps[key].same_as(harness.verl_step(SIGMOID, batch)) for key, batch in harness.every_batch().items())
