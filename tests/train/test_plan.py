"""What a run will take: shapes without weights, memory and work against counts by hand, and what the command prints."""

import pytest
import yaml

from sapo_train.cli import main
from sapo_train.config import build, load_recipe, merge, parse_flags
from sapo_train.known_models import known_models
from sapo_train.models import tiny_model
from sapo_train.plan import estimate, shape_of
from sapo_train.run import RunConfig

SEVEN = known_models()["Qwen/Qwen2.5-7B-Instruct"]


def plan(recipe: str, *flags: str, model=SEVEN, processes: int = 1):
    run = build(RunConfig, merge(load_recipe(recipe), parse_flags(RunConfig, flags)))
    return estimate(run, shape_of(model), processes)


def test_the_shape_of_a_tiny_model_is_that_of_its_weights():
    model, _ = tiny_model()
    shape = shape_of(model.config)
    assert shape.parameters == shape.active == sum(p.numel() for p in model.parameters())
    assert (shape.layers, shape.keys) == (2, 2 * 2 * 8)


def test_a_token_meets_8_of_128_experts():
    shape = shape_of(known_models()["Qwen/Qwen3-30B-A3B-Base"])
    assert shape.parameters == 30_532_122_624
    assert shape.active == shape.parameters - 48 * 120 * 3 * 2048 * 768  # layers, idle experts, matrices of each


def test_full_training_keeps_weights_gradients_and_two_moments_in_float32():
    memory, n = plan("paper-qwen2.5-7b.yaml").memory, 7_615_616_512
    assert memory["weights"] == memory["gradients"] == 4 * n
    assert memory["optimizer"] == 8 * n
    assert memory["weights to compute with"] == 2 * n


def test_an_adapter_keeps_gradients_and_moments_of_itself_only():
    whole, adapter = plan("paper-qwen2.5-7b.yaml"), plan("paper-qwen2.5-7b.yaml", "--policy.lora.rank=16")
    assert adapter.trained < whole.trained / 100
    assert adapter.memory["weights"] == whole.memory["weights"] / 2  # frozen weights are bfloat16
    assert adapter.memory["optimizer"] == 8 * adapter.trained


def test_every_longer_or_larger_thing_takes_more():
    small = plan("paper-qwen2.5-7b.yaml")
    for flag in ("--sampling.max_tokens=2048", "--update.microbatch=64", "--policy.gradient_checkpointing=false"):
        assert sum(plan("paper-qwen2.5-7b.yaml", flag).memory.values()) > sum(small.memory.values())
    assert sum(plan("paper-qwen2.5-7b.yaml", processes=8).memory.values()) <= sum(small.memory.values())
    assert plan("paper-qwen2.5-7b.yaml", processes=8).learning == pytest.approx(small.learning / 8)


def test_work_is_two_operations_a_parameter_and_token_and_four_times_that_for_a_checkpointed_pass():
    found = plan("paper-qwen2.5-7b.yaml")
    tokens = 16 * 1536 + 128 * 512
    assert found.sampling == 2 * 7_615_616_512 * tokens
    assert found.learning == 2 * 4 * found.sampling


def test_passes_for_old_and_reference_log_probs_are_work_too():
    plain = plan("smoke.yaml")
    for flags in (
        ["--update.minibatches=2"],
        ["--objective.entropy_share=0.5"],
        ["--policy.lora.rank=2", "--policy.lora.dropout=0.1"],
        ["--objective.kl_weight=0.1"],
    ):
        assert plan("smoke.yaml", *flags).learning == plain.learning + plain.sampling


def test_the_command_prints_yaml_whose_comments_are_the_estimates(capsys):
    assert main(["plan", "paper-qwen2.5-7b", "--processes", "8", "--optim.lr=0.5"]) == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out)["optim"]["lr"] == 0.5
    assert "# model: 7,615,616,512 parameters" in out
    assert "# memory of each of 8 processes, at most about" in out
    assert "2500 steps, 5000 updates" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plan", "smoke.yaml", "--processes", "3"], "must lie between 1 and 2, the groups of a minibatch"),
        (
            ["plan", "smoke.yaml", "--policy.model=/no/such"],
            "no estimate: the configuration of policy.model='/no/such'",
        ),
    ],
)
def test_what_cannot_be_planned_is_one_line(words, says, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
