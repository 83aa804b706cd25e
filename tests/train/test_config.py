"""Recipes and flags: defaults, then the recipe, then flags; every mistake is one line."""

import dataclasses
import subprocess
import sys

import pytest

from sapo_train.config import build, describe, load_recipe, merge, parse_flags
from sapo_train.errors import ConfigError
from sapo_train.run import RunConfig


def resolve(recipe, *flags):
    return build(RunConfig, merge(recipe, parse_flags(RunConfig, flags)))


def test_flag_wins_over_the_recipe_and_the_recipe_over_the_default():
    recipe = {"steps": 3, "optim": {"lr": 0.5, "eps": 1e-6}}
    run = resolve(recipe, "--optim.lr=1e-6", "--objective.positive.tau", "7")
    assert (run.optim.lr, run.optim.eps, run.optim.weight_decay) == (1e-6, 1e-6, 0.0)
    assert run.objective.positive == {"tau": 7.0}


def test_a_flag_reaches_one_item_of_a_list_by_its_number():
    recipe = {"steps": 1, "data": {"train": [{"source": "a.jsonl"}, {"source": "b.jsonl", "answer": "gold"}]}}
    sources = resolve(recipe, "--data.train.1.weight=3", "--data.train.1.source=c.jsonl").data.train
    assert [(s.source, s.answer, s.weight) for s in sources] == [("a.jsonl", "answer", 1), ("c.jsonl", "gold", 3)]
    with pytest.raises(ConfigError, match=r"train has no item '2'; its items are \['0', '1'\]"):
        resolve(recipe, "--data.train.2.weight=3")


def test_a_bare_flag_is_true_and_dashes_are_underscores():
    assert resolve({"steps": 1}, "--allow-uncertified").allow_uncertified


def test_the_keys_of_a_mapping_are_taken_as_they_stand():
    flags = ["--reward.weights.equivalence=0", "--reward.weights.think-answer-format=1", "--reward.weights.a-b.c:d-e=2"]
    run = resolve({"steps": 1}, *flags, "--objective.positive.tau-b=1")
    assert run.reward.weights == {"equivalence": 0, "think-answer-format": 1, "a-b.c:d-e": 2}
    assert run.objective.positive == {"tau-b": 1}
    recipe = {"steps": 1, "data": {"train": [{"source": "reasoning-gym:x", "options": {"a": {"b-c": 1}}}]}}
    sources = resolve(recipe, "--data.train.0.options.a.b-c=2", "--data.train.0.held-out=3").data.train
    assert [(source.options, source.held_out) for source in sources] == [({"a": {"b-c": 2}}, 3)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steps": 1, "optim": {"lrr": 1}}, "unknown key optim.lrr; optim has ['lr', "),
        ({"steps": 1, "optim": {"lrr": 1}}, "Did you mean 'lr'?"),
        ({"steps": 1, "optimm": {}}, "unknown key optimm; a run has ['name', "),
        ({"steps": 1, "lr": 1}, "Did you mean optim.lr?"),
        ({"steps": 1, "optim": {"max_tokens": 1}}, "Did you mean sampling.max_tokens or evaluation.max_tokens?"),
        ({}, "steps is required"),
        ({"steps": "many"}, "steps='many' must be a valid integer"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"steps": 1, "optim": 3}, "optim=3 must be a dictionary"),
        ({"steps": 1, "sampling": {"group_size": 1}}, "with one completion the group mean is the reward"),
        ({"steps": 1, "sampling": {"temperature": 0}}, "sampling.temperature=0.0 must be positive"),
        ({"steps": 1, "update": {"minibatches": 9}}, "update.minibatches=9 must be at most sampling.prompts=4"),
        ({"steps": 2, "optim": {"warmup": 4}}, "steps 2 × epochs 2 × minibatches 1 = 4"),
        (
            {"steps": 1, "objective": {"reduction": "mean"}},
            "objective.reduction='mean' must be 'seq-mean-token-mean', ",
        ),
        ({"steps": 1, "data": {"train": []}}, "data.train=[] must name at least one source"),
        (
            {"steps": 1, "data": {"train": [{"sourc": "a"}]}},
            "unknown key data.train.0.sourc; data.train.0 has ['source', ",
        ),
        ({"steps": 1, "data": {"train": [{"sourc": "a"}]}}, "Did you mean 'source'?"),
        ({"steps": 1, "data": {"evaluate": [{"source": "a", "held_out": 1}]}}, "held_out belongs to a source under"),
        ({"steps": 1, "sampling": {"top_p": 0}}, "sampling.top_p=0.0 must lie in (0, 1]"),
        ({"steps": 1, "sampling": {"stop": [""]}}, "sampling.stop has an empty string"),
        ({"steps": 1, "evaluation": {"samples": 4, "temperature": 0}}, "at temperature 0 are all the same"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(values, says):
    with pytest.raises(ConfigError) as error:
        build(RunConfig, values)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flag", ["optim.lr=1", "--", "-x", "--a=[1", "--optim=1"])
def test_what_is_not_a_flag_is_refused(flag):
    with pytest.raises(ConfigError):
        resolve({"steps": 1}, flag)


def test_the_items_of_a_list_are_described_once():
    names = [name for name, _, _ in describe(RunConfig)]
    assert {"data.train", "data.train.0.source", "data.evaluate"} <= set(names)
    assert "data.evaluate.0.source" not in names
    assert next(says for name, _, says in describe(RunConfig) if name == "data.evaluate").endswith("in --data.train.")


def test_every_field_has_help_text():
    rows = describe(RunConfig)
    assert {"optim.lr", "sampling.temperature", "steps"} <= {name for name, _, _ in rows}
    assert [name for name, _, says in rows if not says] == []


def test_configurations_are_frozen():
    run = resolve({"steps": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.steps = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_the_gate_is_inert_only_with_one_update_per_batch():
    assert resolve({"steps": 1}, "--update.epochs=1").inert_gate
    assert not resolve({"steps": 1}).inert_gate


@pytest.mark.parametrize("name", ["nowhere.yaml", "demo.yml"])
def test_a_recipe_that_is_not_there_offers_those_that_ship(name):
    with pytest.raises(ConfigError, match=r"demo\.yaml"):
        load_recipe(name)


def test_a_recipe_that_is_no_mapping_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("- a\n- b")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_recipe(str(tmp_path / "bad.yaml"))
    (tmp_path / "worse.yaml").write_text("{a: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_recipe(str(tmp_path / "worse.yaml"))


@pytest.mark.parametrize("text", ["steps: 2\nsteps: 3", "optim: {lr: 1.0e-6, lr: 1.0e-5}"])
def test_a_recipe_in_which_a_key_stands_twice_is_refused(text, tmp_path):
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(ConfigError, match="stands twice; leave one"):
        load_recipe(str(tmp_path / "twice.yaml"))


def test_importing_sapo_train_or_its_rewards_loads_no_torch():
    code = "import sapo_train, sapo_train.rewards, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("flag", ["--optim.lr", "--steps", "--objective.positive.tau", "--optim.betas=[false, 0.9]"])
def test_a_number_whose_value_was_forgotten_is_refused(flag):
    values = merge(load_recipe("smoke.yaml"), parse_flags(RunConfig, [flag]))
    name = flag.lstrip("-").partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^{name}(\.0)?=(true|false) must be a number"):
        build(RunConfig, values)
