"""A run from the command line: what it leaves and what it refuses."""

import json
import sys

import pytest
import torch
import yaml
from runs import assert_same_run, run
from transformers import AutoModelForCausalLM, AutoTokenizer

from sapo_train.cli import main
from sapo_train.files import read_jsonl

TARGETED = (
    "effective_update_ratio",
    "ratio_var",
    "kl_old_new_k3",
    "entropy",
    "grad_norm",
    "lr",
    "reward_mean",
    "epoch",
)


def test_the_run_directory_holds_what_it_should(straight):
    names = {path.name for path in straight.iterdir()}
    assert names >= {"config.yaml", "certificate.json", "metrics.jsonl", "timings.jsonl", "samples", "checkpoints"}
    assert names >= {"tensorboard", "summary.json", "evaluations.jsonl", "evaluations"}
    assert list((straight / "tensorboard").glob("events.*"))
    rows = read_jsonl(straight / "metrics.jsonl")
    assert [(row["step"], row["update"], row["epoch"]) for row in rows] == [
        (1 + k // 2, 1 + k, 1 + k % 2) for k in range(8)
    ]
    assert all(set(TARGETED) <= set(row) for row in rows)
    samples = read_jsonl(straight / "samples" / "step-1.jsonl")
    assert len(samples) == 8
    assert {"question", "answer", "completion", "reward", "advantage", "truncated"} <= set(samples[0])
    assert len(read_jsonl(straight / "timings.jsonl")) == 4
    assert [row["step"] for row in read_jsonl(straight / "evaluations.jsonl")] == [0, 4]
    certificate = json.loads((straight / "certificate.json").read_text())
    assert certificate == json.loads((straight / "checkpoints" / "step-4" / "certificate.json").read_text())


def test_the_gate_acts_from_the_second_epoch_on(straight):
    for row in read_jsonl(straight / "metrics.jsonl"):
        if row["epoch"] == 1:
            assert row["effective_update_ratio"] == 1
            assert row["ratio_var"] == 0
        else:
            assert row["effective_update_ratio"] < 1
            assert row["log_ratio_var_per_sequence"] > 0


def test_what_the_sampler_reports_is_what_the_learner_computes(straight):
    assert all(row["sampler_gap_max"] < 1e-4 for row in read_jsonl(straight / "metrics.jsonl"))


def test_held_out_problems_are_answered_before_after_and_every_so_many_steps(tmp_path):
    flags = ["--evaluation.every=3", "--evaluation.limit=1", "--sampling.max_tokens=2", "--steps=7"]
    assert run(tmp_path / "run", *flags, "--ratios.every=0", "--checkpoint.every=0") == 0
    assert [row["step"] for row in read_jsonl(tmp_path / "run" / "evaluations.jsonl")] == [0, 3, 6, 7]


def test_the_summary_says_how_it_ended(straight):
    summary = json.loads((straight / "summary.json").read_text())
    assert (summary["verdict"], summary["role"], summary["updates"]) == ("certified", "certified", 8)
    assert [epoch["epoch"] for epoch in summary["epochs"]] == [1, 2]
    assert summary["held_out"]["problems"] == 3
    low, high = summary["held_out"]["difference_interval"]
    assert low <= summary["held_out"]["difference"] <= high


def test_a_checkpoint_is_a_plain_transformers_folder(straight):
    folder = straight / "checkpoints" / "step-4"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert tokenizer.decode(tokenizer.encode("7+18")) == "7+18"


def test_the_same_run_twice_is_the_same_to_the_bit(straight, tmp_path):
    assert run(tmp_path / "again") == 0
    assert_same_run(straight, tmp_path / "again")


def test_another_seed_is_another_run(straight, tmp_path):
    assert run(tmp_path / "other", "--seed=1") == 0
    assert (straight / "metrics.jsonl").read_bytes() != (tmp_path / "other" / "metrics.jsonl").read_bytes()


def test_a_run_directory_is_not_overwritten(straight, capsys):
    assert run(straight) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_a_resumed_run_takes_no_flags(straight, capsys):
    assert main(["resume", str(straight), "--optim.lr=1"]) == 2
    assert "cannot change a run that has begun" in capsys.readouterr().err


def bad_rewards(completions, answers):
    return [float("nan") for _ in completions]


def test_a_reward_that_fails_fails_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rewards_that_fail", sys.modules[__name__])
    assert run(tmp_path / "failed", '--reward.weights={"rewards_that_fail:bad_rewards": 1}') == 1
    assert "rewards_that_fail:bad_rewards" in capsys.readouterr().err


def test_an_inert_gate_is_announced(tmp_path, capsys):
    assert run(tmp_path / "inert", "--update.epochs=1") == 0
    assert "inert gate" in capsys.readouterr().out
    assert all(row["ratio_var"] == 0 for row in read_jsonl(tmp_path / "inert" / "metrics.jsonl"))


def test_several_minibatches_make_ratios_move_within_the_first_epoch(tmp_path):
    assert run(tmp_path / "mini", "--update.epochs=1", "--update.minibatches=2") == 0
    rows = read_jsonl(tmp_path / "mini" / "metrics.jsonl")
    moved = [row["ratio_var"] > 0 for row in rows]
    assert moved[0::2] == [False] * 4
    assert any(moved[1::2])  # not all: a first minibatch without spread moves nothing


def test_microbatches_do_not_change_the_run_beyond_rounding(straight, tmp_path):
    assert run(tmp_path / "one", "--update.microbatch=0") == 0
    for a, b in zip(*(read_jsonl(f / "metrics.jsonl")[:4] for f in (straight, tmp_path / "one")), strict=True):
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3, abs=1e-6)


def test_a_batch_that_teaches_nothing_has_gradient_zero_and_says_so(tmp_path):
    # Two single tokens are seldom rewarded differently.
    folder = tmp_path / "flat"
    assert run(folder, "--sampling.max_tokens=1", "--sampling.prompts=1", "--sampling.group_size=2") == 0
    rows = read_jsonl(folder / "metrics.jsonl")
    flat = [row for row in rows if row["groups_without_spread"] == row["groups"]]
    assert flat
    assert all(row["grad_norm"] == 0 and row["loss"] == 0 for row in flat)


def test_a_run_in_which_no_token_counts_changes_nothing_and_says_so(tmp_path, capsys):
    # The tiny model does not end a completion within two tokens.
    flags = ["--advantage.mask_truncated=true", "--sampling.max_tokens=2", "--steps=1"]
    assert run(tmp_path / "masked", *flags) == 0
    assert "epoch 2: no token counted in any of 1 updates" in capsys.readouterr().out
    rows = read_jsonl(tmp_path / "masked" / "metrics.jsonl")
    assert [(row["tokens"], row["loss"], row["grad_norm"]) for row in rows] == [(0, 0, 0)] * 2


def test_a_dry_run_prints_the_resolved_run_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "smoke.yaml", "--dry-run", "--optim.lr=0.25"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["optim"]["lr"] == 0.25
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["run", "nowhere.yaml"],
        ["run", "smoke.yaml", "--optim.lrr=1"],
        ["run", "smoke.yaml", "--policy.model=/no/such/folder"],
        ["run", "smoke.yaml", "--objective.gate=arctn"],
        ["run", "smoke.yaml", "--objective.positive.tau=-1"],
        ["run", "smoke.yaml", "--objective.positive.tua=1"],
        ["resume", "nowhere"],
        ["evaluate", "nowhere.yaml"],
        ["evaluate", "smoke.yaml", "--data.train.0.held_out=0"],
        ["evaluate", "smoke.yaml", "--problems=gsm9k"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error


def test_help_lists_every_flag(capsys):
    assert main(["run", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--optim.lr" in out
    assert "--allow_uncertified" in out


def test_a_report_with_pictures_is_made_at_the_end(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    assert run(folder, "--steps=1", "--report=true") == 0
    assert f"report: {folder / 'report.html'}\n" in capsys.readouterr().out
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["resume", str(folder)]) == 0
    assert "no report: pip install 'sapo-gates[analysis]', then" in capsys.readouterr().out
