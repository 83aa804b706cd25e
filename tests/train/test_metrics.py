"""The table of metrics: what a run writes stands in it, what stands in it some run writes, the docs are made of it."""

import json
import math
import runpy
import statistics
from pathlib import Path

import pytest
import torch
from runs import on_the_board, run
from safetensors import safe_open
from safetensors.torch import load_file

from sapo_gates import certify
from sapo_gates.torch import surrogate
from sapo_train.batch import Batch
from sapo_train.files import read_jsonl
from sapo_train.metrics import METRICS, TIMINGS, diagnostics, is_known, update_metrics
from sapo_train.objective import Objective

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    """A run in which every metric has something to say."""
    folder = tmp_path_factory.mktemp("everything") / "run"
    flags = ["--objective.kl_weight=0.1", "--objective.correction=token", "--advantage.overlong_buffer=2"]
    assert run(folder, *flags, "--steps=2", "--ratios.completions=100", "--ratios.every=1") == 0
    return folder


def test_the_page_of_metrics_is_what_the_table_makes():
    made = runpy.run_path(str(DOCS / "make_metrics.py"))["page"]()
    assert (DOCS / "metrics.md").read_text(encoding="utf-8") == made, "run docs/make_metrics.py"


@pytest.mark.parametrize(("file", "table"), [("metrics.jsonl", METRICS), ("timings.jsonl", TIMINGS)])
def test_the_table_and_a_run_name_the_same_metrics(everything, file, table):
    written = {key for row in read_jsonl(everything / file) for key in row}
    assert [key for key in written if not is_known(key, table)] == []
    assert [metric.key for metric in table if not any(is_known(key, (metric,)) for key in written)] == []


def test_a_key_that_is_not_in_the_table_is_found():
    assert not is_known("reward")
    assert not is_known("surprise")
    assert is_known("reward_any.thing:at_all")


def test_tensorboard_holds_the_same_numbers(everything):
    board, rows = on_the_board(everything), read_jsonl(everything / "metrics.jsonl")
    for key in rows[0]:
        assert board[key] == pytest.approx({row["update"]: row[key] for row in rows}, rel=1e-6)
    evaluations = read_jsonl(everything / "evaluations.jsonl")
    assert board["held_out_accuracy"] == pytest.approx({2 * row["step"]: row["accuracy"] for row in evaluations})


def test_log_ratios_for_replay_give_the_logged_metrics_again(everything):
    gate = surrogate(certify("arctan"), positive={"tau": 10}, negative={"tau": 12})
    path = everything / "ratios" / "step-2.safetensors"
    kept = load_file(path)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    samples = read_jsonl(everything / "samples" / "step-2.jsonl")
    assert (header["format"], header["step"]) == ("sapo-ratios/1", "2")
    assert [len(pieces) for pieces in json.loads(header["pieces"])] == [row["tokens"] for row in samples]
    assert json.loads(header["ids"]) == [row["id"] for row in samples]
    assert kept["rewards"].tolist() == pytest.approx([row["reward"] for row in samples])
    lengths = kept["offsets"].diff()
    assert lengths.tolist() == [row["tokens"] for row in samples]
    assert len(kept["tokens"]) == lengths.sum()
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    for epoch, row in enumerate(read_jsonl(everything / "metrics.jsonl")[2:]):
        z = torch.zeros(mask.shape)
        z[mask] = kept["log_ratio"][epoch]
        again = diagnostics(z, kept["advantages"][:, None].expand(mask.shape), mask, gate, kept["group"])
        assert again == pytest.approx({key: row[key] for key in again}, rel=1e-9)
        assert again["effective_update_ratio"] < 1 or epoch == 0


def test_metrics_of_a_batch_are_their_definitions_on_its_samples(everything):
    rows, timings = (read_jsonl(everything / name) for name in ("metrics.jsonl", "timings.jsonl"))
    for step in (1, 2):
        samples = read_jsonl(everything / "samples" / f"step-{step}.jsonl")
        rewards, lengths = ([sample[key] for sample in samples] for key in ("reward", "tokens"))
        groups = [rewards[:4], rewards[4:]]
        expected = {
            "reward_mean": statistics.fmean(rewards),
            "reward_std": statistics.pstdev(rewards),
            "advantage_std": statistics.pstdev(sample["advantage"] for sample in samples),
            "groups": 2,
            "groups_without_spread": sum(max(group) == min(group) for group in groups),
            "groups_drawn": 2,
            "completion_length_mean": statistics.fmean(lengths),
            "completion_length_max": max(lengths),
            "truncated": statistics.fmean(sample["truncated"] for sample in samples),
            "sampler_kept_mass": 1,
            "tokens": sum(lengths),
            "taught": 1,
        }
        for name in samples[0]["rewards"]:
            expected[f"reward_{name}"] = statistics.fmean(sample["rewards"][name] for sample in samples)
        assert {"reward_overlong", "reward_sapo_train.rewards.text:digit_share"} <= expected.keys()
        for row in rows[2 * step - 2 : 2 * step]:
            assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-6, abs=1e-9)
        timing = timings[step - 1]
        assert timing["tokens"] == sum(lengths)
        assert timing["tokens_per_second"] == pytest.approx(timing["tokens"] / timing["seconds"])
        phases = [value for key, value in timing.items() if key.startswith("seconds_")]
        assert 0 < sum(phases) <= timing["seconds"]


@pytest.mark.parametrize("correction", ["token", "sequence"])
def test_metrics_of_sampler_reference_and_entropy_are_their_definitions(gate, correction):
    """A completion that is masked whole counts in none of them."""
    generator = torch.Generator().manual_seed(0)
    old = -3 * torch.rand(3, 4, generator=generator)
    new, sampler, reference = (old + 0.4 * torch.randn(3, 4, generator=generator) for _ in range(3))
    entropy = torch.rand(3, 4, generator=generator)
    mask = torch.tensor([[True] * 4, [False] * 4, [True, True, True, False]])
    batch = Batch(
        prompts=(torch.zeros(1), torch.zeros(1)),
        group=torch.tensor([0, 0, 1]),
        tokens=torch.zeros(3, 4, dtype=torch.long),
        mask=mask,
        lengths=torch.tensor([4, 2, 3]),
        advantages=torch.tensor([1.0, -1.0, 0.5]),
        sampler_log_probs=sampler,
        old_log_probs=old,
        reference_log_probs=reference,
        high_entropy=entropy > 0.5,
    )
    found = update_metrics(batch, new, entropy, Objective(gate=gate, correction=correction, kl_weight=0.1), {})
    gap, away = (old - sampler)[mask], (reference - new)[mask]
    weights = gap.exp()
    if correction == "sequence":
        weights = torch.cat([part.sum().exp().expand_as(part) for part in gap.split([4, 3])])
    expected = {
        "tokens": 7,
        "entropy": entropy[mask].mean(),
        "taught": (entropy > 0.5)[mask].double().mean(),
        "sampler_gap_max": gap.abs().max(),
        "kl_sampler_old_k3": (gap.exp() - 1 - gap).mean(),
        "kl_new_reference_k3": (away.exp() - 1 - away).mean(),
        "correction_mean": weights.mean(),
        "correction_min": weights.min(),
        "correction_max": weights.max(),
        "correction_capped": (weights > 2).double().mean(),
    }
    assert {key: found[key] for key in expected} == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-5)


def test_samples_name_the_tokens_whose_ratio_was_furthest_out(everything):
    rows = read_jsonl(everything / "metrics.jsonl")
    for step in (1, 2):
        samples = read_jsonl(everything / "samples" / f"step-{step}.jsonl")
        furthest = [entry["log_ratio"] for sample in samples for entry in sample["furthest"]]
        last = rows[2 * step - 1]
        largest = max(last["log_ratio_max"], -last["log_ratio_min"])
        assert max(map(abs, furthest)) == pytest.approx(largest)
        for sample in samples:
            distances = [abs(entry["log_ratio"]) for entry in sample["furthest"]]
            assert distances == sorted(distances, reverse=True)
            assert all(entry["at"] < sample["tokens"] for entry in sample["furthest"])


def test_every_update_obeys_the_bound_of_the_datasheet(everything):
    for row in read_jsonl(everything / "metrics.jsonl"):
        assert 0 <= row["weight_gap"] <= row["weight_gap_bound"] + 1e-12


@pytest.mark.parametrize("level", ["sequence", "sequence-sum"])
def test_ratio_metrics_are_those_of_the_configured_level(tmp_path, level):
    assert run(tmp_path / "run", f"--objective.ratio_level={level}", "--steps=1", "--ratios.every=1") == 0
    row = read_jsonl(tmp_path / "run" / "metrics.jsonl")[-1]
    kept = load_file(tmp_path / "run" / "ratios" / "step-1.safetensors")
    parts = kept["log_ratio"][-1].double().split(kept["offsets"].diff().tolist())
    whole = [part.sum() if level == "sequence-sum" else part.mean() for part in parts]
    assert row["log_ratio_max"] == pytest.approx(max(whole).item(), rel=1e-4)
    assert row["ratio_min"] == pytest.approx(math.exp(min(whole)), rel=1e-4)
    assert row["log_ratio_var_per_sequence"] == pytest.approx(0, abs=1e-12)
