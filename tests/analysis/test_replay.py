"""Replay: the log-ratios a run kept, gated again; every number against one written out by hand."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sapo_analysis.cli import main
from sapo_analysis.errors import RunError
from sapo_analysis.replay import DEFINED, disagreements, histogram, load_tokens, replay
from sapo_gates import load_gate
from sapo_gates.calibrate import LogRatios
from sapo_train import train as loop
from sapo_train.cli import main as trainer

# Three completions to two prompts; in the last epoch the ratios are these. The last token of the first does not count.
RATIOS = ((1.0, 1.5, 0.5, 9.0), (1.1,), (0.7, 1.3))
COUNTS = ((1, 1, 1, 0), (1,), (1, 1))
ADVANTAGES = (1.0, -1.0, -0.5)
PIECES = (("a", "b", "c", "d"), ("e",), ("f", "g"))


def keep(folder: Path, step: int = 10, **changed) -> Path:
    """Write a file as the trainer does."""
    flat = [math.log(r) for row in RATIOS for r in row]
    tensors = {
        "tokens": torch.arange(len(flat), dtype=torch.int32),
        "counts": torch.tensor([c for row in COUNTS for c in row], dtype=torch.uint8),
        "log_ratio": torch.tensor([[0.0] * len(flat), flat]),
        "offsets": torch.tensor([0, 4, 5, 7]),
        "advantages": torch.tensor(ADVANTAGES),
        "rewards": torch.tensor([1.0, 0.0, 0.0]),
        "group": torch.tensor([0, 0, 1]),
    }
    about = {"format": "sapo-ratios/1", "step": str(step), "ids": '["x", "x", "y"]', "pieces": json.dumps(PIECES)}
    path = folder / "ratios" / f"step-{step}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, about | changed)
    return path


def test_hard_clipping_does_what_one_counts_by_hand(tmp_path: Path) -> None:
    keep(tmp_path)
    (clip,) = replay(load_tokens(tmp_path, {}), [load_gate("hard-clip")])
    # A > 0 stops above 1.2; A <= 0 stops below 0.8
    assert clip.weight.tolist() == [1, 0, 1, 1, 0, 1]
    assert clip.score_weight == pytest.approx([1, 0, 0.5, 1.1, 0, 1.3])
    pull = np.array([1, 0, 0.5, 1.1, 0, 0.65])
    assert clip.numbers["effective_update_ratio"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert clip.numbers["effective_update_ratio_positive"] == pytest.approx(2 / 3)
    assert clip.numbers["effective_update_ratio_negative"] == pytest.approx(2 / 3)
    assert clip.numbers["beyond_half_width"] == pytest.approx(2 / 6)
    assert clip.numbers["effective_sample_size"] == pytest.approx(pull.sum() ** 2 / (6 * (pull**2).sum()), rel=1e-6)
    assert clip.numbers["top_share"] == pytest.approx(1.1 / pull.sum(), rel=1e-6)  # 1 % of six tokens is one
    assert clip.verdict == "refuted"
    assert clip.numbers["weight_gap_bound"] == math.inf
    assert set(clip.numbers) == set(DEFINED)


def test_averaging_stays_within_the_bound_of_a_smooth_gate(tmp_path: Path) -> None:
    keep(tmp_path)
    (sigmoid,) = replay(load_tokens(tmp_path, {}), [load_gate("sigmoid").bind(tau=1)])
    z = np.log(RATIOS[0][:3]), np.log(RATIOS[1]), np.log(RATIOS[2])
    g = lambda z: 1 / np.cosh((np.exp(z) - 1) / 2) ** 2  # noqa: E731
    gap = np.mean([abs(g(one).mean() - g(one.mean())) for one in z])
    assert sigmoid.numbers["weight_gap"] == pytest.approx(gap, rel=1e-4)
    assert sigmoid.numbers["weight_gap_bound"] == pytest.approx(
        1.4731 / 2 * np.mean([one.var() for one in z]), rel=1e-3
    )
    assert sigmoid.numbers["weight_gap"] < sigmoid.numbers["weight_gap_bound"]


@pytest.mark.parametrize(("level", "of"), [("sequence", np.mean), ("sequence-sum", np.sum)])
def test_a_sequence_level_run_is_replayed_at_its_level(level: str, of, tmp_path: Path) -> None:
    keep(tmp_path)
    tokens = load_tokens(tmp_path, {"objective": {"ratio_level": level}})
    assert tokens.log_ratio[:3] == pytest.approx([of(np.log([1.0, 1.5, 0.5]))] * 3)
    (arctan,) = replay(tokens, [load_gate("arctan")])
    assert "weight_gap" not in arctan.numbers


def test_where_two_gates_disagree_is_told_with_the_text(tmp_path: Path) -> None:
    keep(tmp_path)
    tokens = load_tokens(tmp_path, {})
    wide, narrow = replay(tokens, [load_gate("sigmoid").bind(tau=1), load_gate("sigmoid").bind(tau=10)])
    apart = disagreements(tokens, wide, narrow, count=3)
    size = np.abs((wide.score_weight - narrow.score_weight) * tokens.advantage)
    assert [np.abs((d.score_weights[0] - d.score_weights[1]) * d.advantage) for d in apart] == pytest.approx(
        sorted(size)[:-4:-1]
    )
    assert (apart[0].step, apart[0].row, apart[0].token, apart[0].before) == (10, 0, "b", "a")
    assert disagreements(tokens, wide, wide) == []


def test_files_of_several_steps_are_put_together(tmp_path: Path) -> None:
    keep(tmp_path, 10)
    keep(tmp_path, 9)
    tokens = load_tokens(tmp_path, {})
    assert tokens.step.tolist() == [9] * 6 + [10] * 6
    assert len(np.unique(tokens.prompt)) == 4
    assert tokens.context(6) == ("a", "")


def test_the_histogram_is_what_calibrate_reads(tmp_path: Path) -> None:
    keep(tmp_path)
    path = tmp_path / "h.json"
    path.write_text(json.dumps(histogram(load_tokens(tmp_path, {}))), encoding="utf-8")
    assert sum(share for _, share in LogRatios.histogram(path).bins) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "has format 'other'"),
        ({"pieces": "{"}, "cannot be read"),
        ({"pieces": "[]"}, "cannot be read"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(change, says, tmp_path: Path) -> None:
    keep(tmp_path, **change)
    with pytest.raises(RunError, match=says) as raised:
        load_tokens(tmp_path, {})
    assert "step-10.safetensors" in str(raised.value)


def test_a_truncated_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    path = keep(tmp_path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"step-10.safetensors cannot be read"):
        load_tokens(tmp_path, {})


def test_a_run_that_kept_nothing_says_how_to_keep(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"ratios\.every"):
        load_tokens(tmp_path, {})


def test_the_command_prints_every_number_and_writes_what_it_was_asked(tmp_path: Path, capsys) -> None:
    (tmp_path / "config.yaml").write_text("name: kept\n", encoding="utf-8")
    keep(tmp_path)
    outputs = [f"-o{tmp_path}/replay.png", f"--histogram={tmp_path}/h.json"]
    command = ["replay", str(tmp_path), "--gate", "arctan", "--gate", "hard-clip", "--half-width", "0.1"]
    assert main([*command, *outputs]) == 0
    said = capsys.readouterr().out
    assert "6 tokens in 3 completions to 2 prompts" in said
    assert "arctan, τ = 10" in said
    assert all(key.replace("_", " ") in said for key in DEFINED)
    assert {path.name for path in tmp_path.iterdir()} >= {"replay.png", "replay.csv", "h.json"}
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["verdict"] for one in report["gates"]] == ["certified", "refuted"]
    assert report["gates"][1]["weight_gap_bound"] is None  # infinite
    assert report["disagreements"][0]["token"] in "abcefg"


@pytest.mark.parametrize("bad", ["one token", "the policy"])
def test_the_minibatch_that_stopped_a_training_run_is_replayed(bad: str, tmp_path: Path, monkeypatch, capsys) -> None:
    plain, calls = loop.forward_backward, []

    def poisoned(policy, objective, microbatch, denominator):
        calls.append(microbatch)
        if bad == "the policy" and len(calls) == 3:  # the second epoch of the first step
            next(policy.model.parameters()).data.fill_(torch.nan)
        done = plain(policy, objective, microbatch, denominator)
        if bad == "one token" and len(calls) == 3:
            done.log_probs[1, 2] = torch.nan
            return dataclasses.replace(done, loss=float("nan"))
        return done

    monkeypatch.setattr(loop, "forward_backward", poisoned)
    folder = tmp_path / "run"
    assert trainer(["run", "smoke.yaml", "--out", str(folder)]) == 1
    path = folder / "failures" / "step-1.safetensors"
    assert f"{path} for 'sapo-analysis replay'" in capsys.readouterr().err
    assert main(["replay", str(path), "--gate", "sigmoid"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("failed at step 1, epoch 2: loss nan")
    assert "log-ratio nan, log-prob nan, old -" in said
    if bad == "one token":
        assert "1 tokens in 1 completions have no finite log-ratio" in said
        assert "effective update ratio" in said
    else:
        assert "no token is left to replay" in said
        assert said.count("\n") == 14
    assert main(["replay", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["failures"][0]["epoch"] == 2
    assert report["not_finite"][0]["log_ratio"] == "nan"
    assert main(["replay", str(folder)]) == 2  # which kept nothing else
    assert f"of its failure replay {path}" in capsys.readouterr().err


def test_a_sequence_with_a_log_ratio_that_is_not_finite_is_left_out_whole(tmp_path: Path) -> None:
    path = keep(tmp_path)
    tensors = load_file(path)
    tensors["log_ratio"][-1, 1] = math.inf
    with safe_open(path, framework="pt") as file:
        save_file(tensors, path, file.metadata())
    whole = load_tokens(tmp_path, {"objective": {"ratio_level": "sequence"}})
    assert whole.completion.tolist() == [1, 2, 2]
    by_token = load_tokens(path, {})
    assert by_token.completion.tolist() == [0, 0, 1, 2, 2]
    (one,) = by_token.broken
    assert (one.row, one.place, one.token, one.before, one.log_ratio) == (0, 1, "b", "a", math.inf)


def test_a_replay_in_which_every_ratio_is_one_says_that_it_compares_nothing(tmp_path: Path, capsys) -> None:
    (tmp_path / "config.yaml").write_text("name: kept\n", encoding="utf-8")
    tensors = load_file(path := keep(tmp_path))
    with safe_open(path, framework="pt") as file:
        save_file(tensors | {"log_ratio": torch.zeros_like(tensors["log_ratio"])}, path, file.metadata())
    assert main(["replay", str(tmp_path), "--gate", "arctan", "--gate", "sigmoid"]) == 0
    said = capsys.readouterr().out
    assert "nothing is compared" in said
    assert "unequal half-widths (arctan" in said


def test_replay_without_any_gate_says_so(tmp_path: Path, capsys) -> None:
    (tmp_path / "config.yaml").write_text("name: kept\n", encoding="utf-8")
    assert main(["replay", str(tmp_path)]) == 2
    assert "name a gate to replay" in capsys.readouterr().err
