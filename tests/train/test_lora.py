"""Adapters: begun at zero, saved alone, gone on from, merged; the model beneath stays as it was."""

import copy
import json
from pathlib import Path

import pytest
import torch
from processes import Run
from runs import newest, run, weights, words
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sapo_train.cli import main
from sapo_train.errors import ModelError
from sapo_train.files import read_jsonl
from sapo_train.lora import LoraConfig, dropouts, merged
from sapo_train.models import PolicyConfig, tiny_model
from sapo_train.policy import build_policy, probe


def with_adapter(**options):
    return build_policy(PolicyConfig(model="tiny-random", lora=LoraConfig(rank=4, **options)), 1.0, 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lora") / "run"
    assert run(folder, "--policy.lora.rank=4", "--objective.kl_weight=0.1", "--optim.lr=0.01") == 0
    return folder


def test_a_new_adapter_changes_nothing_and_is_all_that_learns(policy):
    adapted = with_adapter()
    batch = probe(policy)
    torch.testing.assert_close(adapted(batch)[0], policy(batch)[0])
    learns = {name for name, p in adapted.model.named_parameters() if p.requires_grad}
    assert learns
    assert all("lora_" in name for name in learns)
    assert all(p.dtype == torch.float32 for p in adapted.model.parameters() if p.requires_grad)


def test_the_reference_is_the_model_with_its_adapter_off(policy):
    adapted, batch = with_adapter(), probe(policy)
    with torch.no_grad():
        for name, p in adapted.model.named_parameters():
            if "lora_B" in name:
                p.fill_(0.1)
    changed = adapted(batch)[0]
    with adapted.reference() as reference:
        torch.testing.assert_close(reference(batch)[0], policy(batch)[0])
    assert (changed - policy(batch)[0]).abs().max() > 0.01
    torch.testing.assert_close(adapted(batch)[0], changed)


def test_a_run_moves_away_from_its_reference(trained):
    rows = read_jsonl(trained / "metrics.jsonl")
    assert rows[0]["kl_new_reference_k3"] == pytest.approx(0, abs=1e-9)
    assert rows[-1]["kl_new_reference_k3"] > 1e-4


def test_a_checkpoint_holds_the_adapter_alone(trained):
    names = {path.name for path in newest(trained).iterdir()}
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    assert all("lora_" in name for name in load_file(newest(trained) / "adapter_model.safetensors"))


def test_a_killed_run_with_an_adapter_and_dropout_resumes_to_the_bit(tmp_path):
    flags = ["--policy.lora.rank=4", "--policy.lora.dropout=0.2", "--objective.kl_weight=0.1"]
    whole, broken = tmp_path / "whole" / "run", tmp_path / "broken" / "run"
    for folder in (whole, broken):
        folder.parent.mkdir()
    assert Run(words(whole, *flags), whole.parent / "output").end()[0] == 0
    assert Run(words(broken, *flags), broken.parent / "output", kill_at=1, within="step-4.partial").end()[0] < 0
    assert Run(["resume", str(broken)], broken.parent / "output").end()[0] == 0
    assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()
    left, right = weights(whole), weights(broken)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_another_run_goes_on_from_a_saved_adapter(trained, tmp_path):
    start = newest(trained)
    flags = ["--policy.lora.rank=4", f"--policy.lora.start={start}", "--steps=1", "--objective.kl_weight=0.1"]
    assert run(tmp_path / "run", *flags) == 0
    assert read_jsonl(tmp_path / "run" / "metrics.jsonl")[0]["kl_new_reference_k3"] > 1e-4


@pytest.mark.parametrize("flag", ["alpha=3", "dropout=0.1", "targets=[q_proj]"])
def test_what_an_adapter_has_of_its_own_or_no_adapter_needs_is_refused(flag, tmp_path, capsys):
    begun = ["--policy.lora.rank=4", "--policy.lora.start=somewhere"]
    for flags, says in (([], "while policy.lora.rank=0"), (begun, "where policy.lora.start='somewhere' has its own")):
        assert run(tmp_path / "run", f"--policy.lora.{flag}", *flags) == 2
        assert f"policy.lora.{flag.partition('=')[0]} changes nothing {says}" in capsys.readouterr().err


@pytest.mark.parametrize("kept", [None, 0, -9], ids=["no file", "an empty file", "a file cut short"])
def test_a_folder_without_an_adapter_is_refused_in_one_line(trained, tmp_path, kept):
    if kept is not None:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (tmp_path / name).write_bytes((newest(trained) / name).read_bytes())
        path = tmp_path / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"^cannot put the adapter of policy.lora [^\n]+$"):
        with_adapter(start=str(tmp_path))


@pytest.mark.parametrize("flags", [["--policy.lora.rank=4"], []], ids=["adapter", "full"])
def test_an_exported_run_is_a_plain_folder_with_its_certificate_and_card(tmp_path, flags):
    assert run(tmp_path / "run", *flags, "--steps=2", "--optim.lr=0.01") == 0
    out = tmp_path / "model"
    assert main(["export", str(tmp_path / "run"), "-o", str(out)]) == 0
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert not (out / "adapter_config.json").exists()
    config = PolicyConfig(model="tiny-random", lora=LoraConfig(rank=4 if flags else 0))
    policy = build_policy(config, 1.0, 0, start=newest(tmp_path / "run"))
    ids = torch.tensor([tokenizer.encode("7+18")])
    torch.testing.assert_close(model(ids).logits, policy.model(ids).logits, rtol=1e-4, atol=1e-5)
    card = (out / "README.md").read_text()
    certificate = json.loads((out / "certificate.json").read_text())
    for part in ("role: **certified**", "verdict: **certified**", certificate["digest"], "`unit-peak`", "tiny-random"):
        assert part in card


def test_what_is_served_of_an_adapter_on_bfloat16_is_the_sum_in_float32_rounded_once():
    """As a server is given it: a factor or sum in bfloat16 would lose more of a small adapter than that."""
    policy = build_policy(PolicyConfig(model="tiny-random", dtype="bfloat16", lora=LoraConfig(rank=4)), 1.0, 0)
    adapter = policy.adapter
    assert adapter is not None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if "lora_B" in name:
                parameter.copy_(1e-3 * torch.randn(parameter.shape, generator=generator))
    parts, served = adapter.state_dict(), merged(copy.deepcopy(adapter)).state_dict()
    names = [key.removesuffix(".base_layer.weight") for key in parts if key.endswith(".base_layer.weight")]
    assert len(names) == 14
    for name in names:
        step = 32 / 4 * parts[f"{name}.lora_B.default.weight"] @ parts[f"{name}.lora_A.default.weight"]
        frozen, weight = parts[f"{name}.base_layer.weight"], served[f"{name.removeprefix('base_model.model.')}.weight"]
        assert weight.dtype == frozen.dtype == torch.bfloat16
        assert torch.equal(weight, (frozen.float() + step).bfloat16())
        assert not torch.equal(weight, frozen)


def test_an_adapter_on_bfloat16_is_merged_in_float32(tmp_path):
    flags = ["--policy.lora.rank=4", "--policy.dtype=bfloat16", "--optim.lr=1e-4", "--steps=1", "--evaluation.limit=1"]
    assert run(tmp_path / "run", *flags) == 0
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "model")]) == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    frozen = tiny_model()[0].bfloat16().float().state_dict()
    adapter = load_file(newest(tmp_path / "run") / "adapter_model.safetensors")
    for name in [key.removesuffix(".lora_A.weight") for key in adapter if key.endswith(".lora_A.weight")]:
        step = 32 / 4 * adapter[f"{name}.lora_B.weight"] @ adapter[f"{name}.lora_A.weight"]
        weight = f"{name.removeprefix('base_model.model.')}.weight"
        torch.testing.assert_close(merged[weight] - frozen[weight], step, rtol=1e-3, atol=1e-7)


def test_an_export_that_cannot_be_written_leaves_nothing_and_is_one_line(trained, tmp_path):
    process = Run(["export", str(trained), "-o", str(tmp_path / "model")], tmp_path / "output", file_limit=20_000)
    code, output = process.end()
    assert code == 1
    assert output.startswith("SaveError: cannot write ")
    assert output.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"output", "output.operations"}


def test_an_export_is_refused_where_it_would_overwrite_or_has_nothing(trained, tmp_path, capsys):
    assert main(["export", str(trained), "-o", str(tmp_path)]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["export", str(trained), "-o", str(tmp_path / "new"), "--step", "3"]) == 2
    assert "no checkpoint of step 3; it has ['step-4']" in capsys.readouterr().err


def test_only_the_adapters_dropout_is_on_and_only_while_learning(policy):
    adapted, batch = with_adapter(dropout=0.5), probe(policy)
    assert adapted.drops
    assert not with_adapter().drops
    with torch.no_grad():
        for name, p in adapted.model.named_parameters():
            if "lora_B" in name:
                p.fill_(0.1)
    torch.testing.assert_close(adapted(batch)[0], adapted(batch)[0])
    with adapted.learning():
        on = [module for module in adapted.model.modules() if module.training]
        assert on == dropouts(adapted.model)
        assert not torch.equal(adapted(batch)[0], adapted(batch)[0])
    torch.testing.assert_close(adapted(batch)[0], adapted(batch)[0])


def test_gradient_checkpointing_changes_memory_and_not_the_gradient(policy):
    saving = build_policy(PolicyConfig(model="tiny-random", gradient_checkpointing=True), 1.0, 0)
    batch, kept = probe(policy), []
    for learner in (policy, saving):
        saved = 0

        def pack(tensor):
            nonlocal saved
            saved += tensor.numel()
            return tensor

        learner.model.zero_grad()
        with learner.learning(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            log_probs, _ = learner(batch)
            log_probs.sum().backward()
        kept.append((saved, torch.cat([p.grad.flatten() for p in learner.model.parameters()])))
    torch.testing.assert_close(kept[1][1], kept[0][1], rtol=1e-4, atol=1e-5)
    assert kept[1][0] < kept[0][0]
    assert not any(module.training for module in saving.model.modules())


def test_bfloat16_computes_roughly_the_same_on_float32_masters(policy):
    rough = build_policy(PolicyConfig(model="tiny-random", dtype="bfloat16"), 1.0, 0)
    batch = probe(policy)
    assert {p.dtype for p in rough.model.parameters()} == {torch.float32}
    with rough.learning():
        log_probs, entropy = rough(batch)
        log_probs.sum().backward()
    assert log_probs.dtype == entropy.dtype == torch.float32
    assert {p.grad.dtype for p in rough.model.parameters() if p.grad is not None} == {torch.float32}
    exact = policy(batch)[0]
    assert 0 < (log_probs - exact).abs().max() < 0.1
    assert rough.errors == copy.copy(policy.errors)  # the check is made in float32
