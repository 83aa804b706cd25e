"""The recipes that ship: each is parsed, and those of the papers are built on the meta device and compared."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from sapo_gates import certify
from sapo_gates.torch import surrogate
from sapo_train.config import RECIPES, build, load_recipe, plain
from sapo_train.errors import ConfigError
from sapo_train.known_models import known_models
from sapo_train.optim import build_optimizer
from sapo_train.run import RunConfig

SHIPPED = sorted(path.name for path in RECIPES.glob("*.yaml"))
PAPER = [name for name in SHIPPED if name.startswith("paper-")]
QWEN_7B, QWEN_30B = (known_models()[name] for name in ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-30B-A3B-Base"))


def shipped(name: str) -> RunConfig:
    return build(RunConfig, load_recipe(name))


def on_meta(config) -> torch.nn.Module:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("recipe", SHIPPED)
def test_every_shipped_recipe_builds_survives_being_written_out_and_says_what_it_costs(recipe):
    run = shipped(recipe)
    assert build(RunConfig, yaml.safe_load(yaml.safe_dump(plain(run)))) == run
    text = (RECIPES / recipe).read_text()
    assert any(word in text for word in ("Cost", "Seconds", "Minutes"))


def test_there_is_a_recipe_for_each_gate_of_the_paper_and_each_width():
    gates = {name: shipped(name).objective.gate for name in PAPER}
    assert sorted(gates[name] for name in PAPER if "equal-width" not in name) == [
        "arctan",
        "erf",
        "hard-clip",
        "sigmoid",
        "softsign",
    ]
    assert sorted(gates[name] for name in PAPER if "equal-width" in name) == ["arctan", "erf", "sigmoid", "softsign"]


@pytest.mark.parametrize("recipe", PAPER)
def test_the_paper_recipes_are_appendix_a_and_differ_in_name_and_gate_alone(recipe):
    run = shipped(recipe)
    assert run.policy.model == "Qwen/Qwen2.5-7B-Instruct"
    assert run.policy.dtype == "bfloat16"
    assert [(s.source, s.weight) for s in run.data.train] == [("openai/gsm8k", 1), ("zwhe99/DeepMath-103K", 1)]
    assert (run.sampling.group_size, run.sampling.prompts) == (8, 16)
    assert (run.data.max_prompt, run.sampling.max_tokens) == (1536, 512)
    assert (run.update.epochs, run.updates) == (2, 5000)
    assert (run.optim.lr, run.optim.betas, run.optim.eps) == (1e-6, (0.9, 0.999), 1e-8)
    assert (run.optim.schedule, run.optim.warmup) == ("linear", 0)
    assert run.objective.reduction == "seq-mean-token-mean"
    assert not run.inert_gate
    assert run.groups_per_minibatch >= 8  # a group for each of 8 GPUs
    first = plain(shipped(PAPER[0]))
    assert plain(run) | {"name": "", "objective": ""} == first | {"name": "", "objective": ""}


@pytest.mark.parametrize("gate", ["sigmoid", "erf", "arctan", "softsign"])
def test_temperatures_are_the_papers_or_give_the_half_widths_of_arctan(gate):
    name = "paper-qwen2.5-7b.yaml" if gate == "sigmoid" else f"paper-qwen2.5-7b-{gate}.yaml"
    objective = shipped(name).objective
    assert (objective.positive, objective.negative) == ({"tau": 10.0}, {"tau": 12.0})
    equal = shipped(f"paper-qwen2.5-7b-equal-width-{gate}.yaml").objective
    torch_gate = surrogate(certify(gate), positive=equal.positive, negative=equal.negative)
    for sign, width in ((1.0, 0.1), (-1.0, 1 / 12)):
        z = torch.tensor([1 + width], dtype=torch.double).log()
        assert torch_gate.weight(z, torch.tensor([sign])).item() == pytest.approx(0.5, abs=1e-6)


def test_the_7b_model_has_the_papers_shape_parameter_groups_schedule_and_batch():
    run, model = shipped("paper-qwen2.5-7b.yaml"), on_meta(QWEN_7B)
    assert sum(p.numel() for p in model.parameters()) == 7_615_616_512
    optimizer = build_optimizer(model, run.optim, run.updates, run.update.max_grad_norm)
    matrices, others = optimizer.adamw.param_groups
    assert all(p.ndim == 2 for p in matrices["params"])
    assert len(matrices["params"]) == 28 * 7 + 2  # q, k, v, o, gate, up, down; embedding and head
    assert sum(p.numel() for p in others["params"]) == 28 * (3584 + 2 * 512) + (2 * 28 + 1) * 3584
    rates = []
    for update in (0, 2500, 4999):
        optimizer.updates = update
        rates.append(optimizer.lr())
    assert rates == pytest.approx([1e-6, 0.5e-6, 2e-10])
    assert run.sampling.prompts * run.sampling.group_size == 128
    assert run.steps * run.update.epochs * run.update.minibatches == 5000


def test_the_30b_recipe_is_sapos_setting_and_its_model_has_30_billion_parameters():
    run = shipped("sapo-qwen3-30b-a3b.yaml")
    assert run.update.minibatches == 4
    assert (run.objective.gate, run.objective.positive, run.objective.negative) == (
        "sigmoid",
        {"tau": 1.0},
        {"tau": 1.05},
    )
    assert sum(p.numel() for p in on_meta(QWEN_30B).parameters()) == 30_532_122_624


def test_a_base_that_is_beside_its_recipe_or_ships_is_laid_under_it(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: smoke.yaml\nname: mine\noptim: {lr: 0.5}")
    (tmp_path / "child.yaml").write_text("base: mine.yaml\nsteps: 9")
    run = build(RunConfig, load_recipe(str(tmp_path / "child.yaml")))
    assert (run.name, run.steps, run.optim.lr, run.policy.model) == ("mine", 9, 0.5, "tiny-random")


def test_a_recipe_that_is_a_base_of_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(ConfigError, match=r"is a base of itself: a\.yaml → b\.yaml → a\.yaml"):
        load_recipe(str(tmp_path / "a.yaml"))


def test_the_recipes_in_the_documentation_are_recipes():
    text = (Path(__file__).parents[2] / "docs" / "problems.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    runs = [build(RunConfig, {"steps": 1, **yaml.safe_load(block)}) for block in blocks]
    assert len(runs) == 2
    assert [source.weight for source in runs[0].data.train] == [1] * 5
