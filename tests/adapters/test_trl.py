"""A certified gate in TRL's GRPOTrainer, against TRL itself."""

# trl exports lazily
# pyright: reportPrivateImportUsage=false

import hashlib
import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer
from trl import __version__ as trl_version

from sapo_gates import Certificate, certify
from sapo_gates.adapters.trl import REDUCTIONS, TRL_GATES, GatedGRPOTrainer, gated
from sapo_gates.errors import AdapterError, NotCertified
from sapo_gates.torch import surrogate

TEMPERATURES: dict[str, Any] = {"positive": {"tau": 10}, "negative": {"tau": 12}}
THE_SAME_IN_TRL = {"sapo_temperature_pos": 10.0, "sapo_temperature_neg": 12.0}


@pytest.fixture(scope="module")
def ours(harness, sigmoid):
    return harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid, **TEMPERATURES)


@pytest.fixture(scope="module")
def theirs(harness):
    return harness.trl_trainer(GRPOTrainer, **THE_SAME_IN_TRL)


def trained(trainer: Any) -> list[torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL uses names that transformers has deprecated
        trainer.train()
    return [parameter.detach() for parameter in trainer.model.parameters()]


def test_training_with_the_sigmoid_gate_ends_at_the_weights_that_trls_own_sapo_ends_at(harness, sigmoid):
    options = {"max_steps": 4, "learning_rate": 1.0}
    start = [p.detach().clone() for p in harness.trl_trainer(GRPOTrainer, **options).model.parameters()]
    mine = trained(harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid, **TEMPERATURES, **options))
    theirs = trained(harness.trl_trainer(GRPOTrainer, **THE_SAME_IN_TRL, **options))
    another = trained(harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid, positive={"tau": 1}, **options))
    moved = max((a - b).abs().max().item() for a, b in zip(start, mine, strict=True))
    apart = max((a - b).abs().max().item() for a, b in zip(theirs, mine, strict=True))
    by_temperature = max((a - b).abs().max().item() for a, b in zip(another, mine, strict=True))
    assert moved > 0.01
    assert apart < 1e-4 * moved
    assert by_temperature > 1e-2 * moved  # the gate is at work: the second iteration is off policy


WITH = {
    "nothing more": {},
    "the sequence's ratio": {"importance_sampling_level": "sequence"},
    "a KL term": {"beta": 0.1},
    "the tokens of high entropy alone": {"top_entropy_quantile": 0.5},
    "off-policy sequences masked": {"off_policy_mask_threshold": 0.05},
    "an entropy bonus": {"_entropy_bonus_enabled": True, "entropy_coef": 0.01},
}


@pytest.mark.parametrize("attributes", WITH.values(), ids=WITH)
def test_loss_and_gradient_are_those_of_trls_sapo_with(attributes, harness, ours, theirs, monkeypatch):
    batch = harness.ordinary()
    steps = []
    for trainer in (ours, theirs):
        for name, value in attributes.items():
            monkeypatch.setattr(trainer, name, value)
        steps.append(harness.trl_step(trainer, batch, ref_per_token_logps=batch.old_log_probs - 0.1))
    mine, their = steps
    assert mine.gradient.abs().max() > 0.01
    # u = tau (r - 1) is rounded to about tau r 2^-24 < 4e-6, and d log sech^2(u/2) / du <= 1
    torch.testing.assert_close(mine.loss, their.loss, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(mine.gradient, their.gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss_type", REDUCTIONS)
def test_loss_type_names_the_reduction(loss_type, harness, ours, sigmoid_gate, monkeypatch):
    monkeypatch.setattr(ours, "loss_type", loss_type)
    batch = harness.ordinary()
    terms = -sigmoid_gate(batch.log_probs - batch.old_log_probs, batch.advantages, batch.mask)
    by_completion = (terms.sum(-1) / batch.mask.sum(-1)).mean()
    by_token = terms.sum() / batch.mask.sum()
    by_length = terms.sum() / (len(terms) * ours.max_completion_length)
    expected = {"sapo": by_completion, "grpo": by_completion, "dr_grpo": by_length}.get(loss_type, by_token)
    torch.testing.assert_close(harness.trl_step(ours, batch).loss, expected)


@pytest.mark.parametrize("loss_type", ["cispo", "luspo", "vespo"])
def test_a_loss_type_with_a_weight_of_its_own_is_refused(loss_type, harness, sigmoid_gate):
    with pytest.raises(AdapterError, match=f"loss_type='{loss_type}' brings a weight of its own.*is 'sapo'"):
        harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid_gate, loss_type=loss_type)


@pytest.mark.parametrize("option", TRL_GATES)
def test_an_option_of_trls_own_gates_is_refused_and_not_ignored(option, harness, sigmoid_gate):
    with pytest.raises(AdapterError, match=rf"{option}=7.5 would change nothing"):
        harness.trl_trainer(GatedGRPOTrainer, gate=sigmoid_gate, **{option: 7.5})


def test_a_refuted_gate_is_refused_before_anything_is_loaded():
    with pytest.raises(NotCertified, match="cannot export gate 'hard-clip': continuously-differentiable is refuted"):
        GatedGRPOTrainer(gate="hard-clip", model="there is no such model")


def given(kind: str, certificate: Certificate, folder: Path) -> dict[str, Any]:
    match kind:
        case "a name":
            return {"gate": "sigmoid", **TEMPERATURES}
        case "a gate file":
            (folder / "mine.toml").write_text(certificate.gate.text, encoding="utf-8")
            return {"gate": folder / "mine.toml", **TEMPERATURES}
        case "a certificate":
            return {"gate": certificate, **TEMPERATURES}
        case "a certificate's file":
            certificate.save(folder / "mine.json")
            return {"gate": str(folder / "mine.json"), **TEMPERATURES}
        case _:
            return {"gate": surrogate(certificate, **TEMPERATURES)}


@pytest.mark.parametrize("kind", ["a name", "a gate file", "a certificate", "a certificate's file", "a TorchGate"])
def test_the_gate_may_be(kind, harness, ours, sigmoid, tmp_path):
    trainer = harness.trl_trainer(GatedGRPOTrainer, **given(kind, sigmoid, tmp_path))
    batch = harness.ordinary()
    assert torch.equal(harness.trl_step(trainer, batch).gradient, harness.trl_step(ours, batch).gradient)


WRITTEN_FOR = "5e426196915c2521"


def fingerprint(function: Any) -> str:
    """Of a function's source, but for its comments and spaces."""
    lines = (line.strip() for line in inspect.getsource(function).splitlines())
    return hashlib.sha256("".join(line for line in lines if not line.startswith("#")).encode()).hexdigest()[:16]


def test_trls_loss_is_the_one_the_adapter_was_written_for():
    found = fingerprint(GRPOTrainer._compute_loss)
    assert found == WRITTEN_FOR, (
        f"trl {trl_version}: GRPOTrainer._compute_loss has changed (fingerprint {found}). Look at whether "
        f"per_token_loss is still chosen in one chain of `self.loss_type`, what stands in log_importance_weights, "
        f"advantages and mask there, and whether each of REDUCTIONS still only reduces; then set WRITTEN_FOR."
    )


def test_trls_configuration_has_the_options_the_adapter_refuses():
    assert set(TRL_GATES) <= set(GRPOConfig.__dataclass_fields__)
    new = [n for n in GRPOConfig.__dataclass_fields__ if n.startswith(("epsilon", "sapo_", "vespo_", "cispo_"))]
    assert set(new) <= set(TRL_GATES), "an option of a gate of TRL's that TRL_GATES does not know"


def test_a_trl_whose_loss_is_built_otherwise_is_refused():
    def _compute_loss(self, model, inputs):
        per_token_loss = self.token_loss(inputs)
        return per_token_loss.mean()

    with pytest.raises(AdapterError, match=r"GRPOTrainer\._compute_loss does not choose per_token_loss.*install trl=="):
        gated(_compute_loss)
    assert fingerprint(_compute_loss) != WRITTEN_FOR


def test_a_refuted_or_tampered_certificate_file_is_refused(tmp_path):
    certify("hard-clip").save(tmp_path / "clip.json")
    with pytest.raises(NotCertified, match="hard-clip"):
        GatedGRPOTrainer(gate=tmp_path / "clip.json", model="there is no such model")
