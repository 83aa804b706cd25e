"""A run from the command line: what it leaves, what it survives, what it refuses."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sapo_gates import certify, load_certificate
from sapo_train import checkpoint as checkpoints
from sapo_train.checkpoint import Place
from sapo_train.cli import main
from sapo_train.errors import CheckpointError
from sapo_train.files import read_jsonl

FAST = ["--steps=4", "--checkpoint.every=2", "--evaluation.limit=3", "--sampling.max_tokens=8"]
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


def run(folder: Path, *flags: str) -> int:
    return main(["run", "smoke.yaml", "--out", str(folder), *FAST, *flags])


def start(folder: Path, *flags: str, command: str = "run") -> subprocess.Popen:
    words = ["run", "smoke.yaml", "--out", str(folder), *FAST, *flags] if command == "run" else ["resume", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "sapo_train.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, process: subprocess.Popen, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = checkpoints.latest(folder / "checkpoints")
    assert newest is not None
    return load_file(newest / "model.safetensors") | load_file(newest / "optimizer.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    assert (one / "evaluations.jsonl").read_bytes() == (other / "evaluations.jsonl").read_bytes()
    for path in (one / "samples").iterdir():
        assert path.read_bytes() == (other / "samples" / path.name).read_bytes()
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert run(folder) == 0
    return folder


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


@pytest.mark.parametrize("after", ["after the start", "after a checkpoint", "between checkpoints"])
def test_a_killed_run_resumes_to_the_bit(straight, tmp_path, after):
    folder = tmp_path / "killed"
    seen = {
        "after the start": lambda: (folder / "tensorboard").exists(),
        "after a checkpoint": lambda: (folder / "checkpoints" / "step-2" / "state.json").exists(),
        "between checkpoints": lambda: len(read_jsonl(folder / "metrics.jsonl")) >= 5,
    }[after]
    process = start(folder)
    wait_for(seen, process)
    process.kill()
    process.communicate()
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


def test_sigterm_saves_at_the_next_batch_boundary_and_exits_with_143(straight, tmp_path):
    folder = tmp_path / "stopped"
    process = start(folder, "--checkpoint.every=0", "--steps=2000")
    wait_for(lambda: (folder / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the state is saved" in errors
    newest = checkpoints.latest(folder / "checkpoints")
    assert newest is not None
    place = checkpoints.verify(newest)
    assert place.updates == 2 * place.step == len(read_jsonl(folder / "metrics.jsonl"))
    # The steps it made are those of the run that was not stopped.
    shared = min(place.updates, 8)
    lines = [(f / "metrics.jsonl").read_text().splitlines()[:shared] for f in (straight, folder)]
    assert lines[0] == lines[1]


def test_sigterm_during_an_evaluation_loses_no_step(tmp_path):
    folder = tmp_path / "stopped"
    flags = [
        "--checkpoint.every=0",
        "--steps=3",
        "--evaluation.every=2",
        "--evaluation.limit=0",
        "--evaluation.batch=1",
    ]
    process = start(folder, *flags, "--evaluation.temperature=1", "--evaluation.samples=200")
    wait_for(lambda: len(read_jsonl(folder / "timings.jsonl")) == 2, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    newest = checkpoints.latest(folder / "checkpoints")
    assert newest is not None
    assert newest.name == "step-2"


def test_a_disk_that_is_full_ends_the_run_in_one_line_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    written, save_file = [], checkpoints.save_file

    def full(tensors, path):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    folder = tmp_path / "full"
    assert run(folder) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "No space left on device" in error
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"step-2"}
    monkeypatch.undo()
    assert main(["resume", str(folder)]) == 0


def test_a_run_that_is_complete_resumes_to_the_same_end(straight, tmp_path):
    folder = tmp_path / "done"
    shutil.copytree(straight, folder)
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "certificate.json", "config.json"])
@pytest.mark.parametrize("harm", ["truncated", "altered", "missing"])
def test_a_harmed_checkpoint_is_refused_by_name(straight, tmp_path, name, harm, capsys):
    folder = tmp_path / "harmed"
    shutil.copytree(straight, folder)
    path = folder / "checkpoints" / "step-4" / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-7] if harm == "truncated" else data[:-7] + bytes([data[-7] ^ 1]) + data[-6:])
    assert main(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error


def test_a_partial_checkpoint_does_not_count(straight, tmp_path):
    folder = tmp_path / "partial"
    shutil.copytree(straight, folder)
    shutil.copytree(folder / "checkpoints" / "step-4", folder / "checkpoints" / ".step-6.partial")
    newest = checkpoints.latest(folder / "checkpoints")
    assert newest is not None
    assert newest.name == "step-4"


def test_a_changed_certificate_is_refused(straight, tmp_path, capsys):
    folder = tmp_path / "changed"
    shutil.copytree(straight, folder)
    path = folder / "certificate.json"
    path.write_text(path.read_text().replace('"proved"', '"refuted"', 1))
    assert main(["resume", str(folder)]) == 2
    assert "the digest does not match" in capsys.readouterr().err


@pytest.mark.parametrize("gate", ["sigmoid", "arctan"])
def test_a_certificate_of_something_else_is_refused(straight, tmp_path, capsys, gate):
    folder = tmp_path / "swapped"
    shutil.copytree(straight, folder)
    certify(gate, profile="trust-region").save(folder / "certificate.json")
    assert main(["resume", str(folder)]) == 2
    assert {"sigmoid": "certifies gate 'sigmoid'", "arctan": "was trained with"}[gate] in capsys.readouterr().err


def test_a_forged_certificate_is_found_out_by_the_recheck(tmp_path, capsys):
    content = certify("hard-clip").to_json()
    for entry in content["requirements"]:
        entry |= {"verdict": "proved", "witness": None}
    content["verdict"] = "certified"
    claims = {key: content[key] for key in content if key not in ("digest", "numerics")}
    text = json.dumps(claims, sort_keys=True, separators=(",", ":"))
    content["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "forged.json").write_text(json.dumps(content))
    assert load_certificate(tmp_path / "forged.json").verdict == "certified"  # nothing shows on its face
    flags = ["--objective.positive=null", "--objective.negative=null"]
    assert run(tmp_path / "run", f"--objective.gate={tmp_path / 'forged.json'}", *flags) == 2
    error = capsys.readouterr().err
    assert "continuously-differentiable" in error
    assert error.count("\n") == 1


def test_a_run_takes_a_certificate_file_as_its_gate(straight, tmp_path):
    certify("arctan").save(tmp_path / "arctan.json")
    assert run(tmp_path / "given", f"--objective.gate={tmp_path / 'arctan.json'}") == 0
    assert_same_run(straight, tmp_path / "given")


def test_an_unreadable_state_is_refused(tmp_path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"state\.json cannot be read"):
        checkpoints.verify(tmp_path)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    assert run(tmp_path / "kept", "--checkpoint.every=1", "--checkpoint.keep=2") == 0
    assert {p.name for p in (tmp_path / "kept" / "checkpoints").iterdir()} == {"step-3", "step-4"}
    assert checkpoints.verify(tmp_path / "kept" / "checkpoints" / "step-3") == Place(step=3, updates=6, position=6)


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


def test_a_loss_that_is_not_finite_stops_before_the_update_and_keeps_the_batch(tmp_path, monkeypatch, capsys):
    from sapo_train.policy import Policy

    plain, calls = Policy.__call__, []

    def poisoned(self, batch):
        log_probs, entropy = plain(self, batch)
        calls.append(batch)
        if len(calls) == 7:  # two of the start-up check, two microbatches an epoch: the first of the second step
            spoil = torch.zeros_like(log_probs)
            spoil[2, 0] = torch.nan
            log_probs = log_probs + spoil
        return log_probs, entropy

    monkeypatch.setattr(Policy, "__call__", poisoned)
    folder = tmp_path / "poisoned"
    assert run(folder, "--checkpoint.every=1") == 1
    error = capsys.readouterr().err
    assert "step 2" in error
    assert "first bad sample 2" in error
    assert len(read_jsonl(folder / "metrics.jsonl")) == 2  # only the first step's updates were made
    kept = load_file(folder / "failures" / "step-2" / "batch.safetensors")
    assert kept["tokens"].shape[0] == 8
    monkeypatch.undo()
    assert main(["resume", str(folder)]) == 0  # the last good state is still there


def test_a_refuted_family_that_ships_trains_as_baseline_and_says_so(tmp_path, capsys):
    folder = tmp_path / "baseline"
    flags = ["--objective.gate=hard-clip", "--objective.positive=null", "--objective.negative=null"]
    assert run(folder, *flags) == 0
    assert "refuted, trains as baseline" in capsys.readouterr().out
    assert json.loads((folder / "summary.json").read_text())["role"] == "baseline"
    assert json.loads((folder / "checkpoints" / "step-4" / "state.json").read_text())["role"] == "baseline"
    assert json.loads((folder / "certificate.json").read_text())["verdict"] == "refuted"
    assert any(row["clip_fraction"] > 0 for row in read_jsonl(folder / "metrics.jsonl"))


@pytest.fixture
def square(tmp_path) -> Path:
    path = tmp_path / "square.toml"
    path.write_text('[gate]\nname = "square"\nvalue = "r**2"\nsource = "a test"\n')
    return path


def test_another_uncertified_gate_is_refused(tmp_path, square, capsys):
    flags = [f"--objective.gate={square}", "--objective.positive=null", "--objective.negative=null"]
    assert run(tmp_path / "refused", *flags) == 2
    error = capsys.readouterr().err
    assert "refuted" in error
    assert "--allow-uncertified" in error
    assert error.count("\n") == 1


def test_with_permission_it_trains_and_every_file_says_so(tmp_path, square):
    folder = tmp_path / "allowed"
    flags = [f"--objective.gate={square}", "--objective.positive=null", "--objective.negative=null"]
    assert run(folder, "--allow-uncertified", *flags) == 0
    assert yaml.safe_load((folder / "config.yaml").read_text())["allow_uncertified"] is True
    assert json.loads((folder / "summary.json").read_text())["role"] == "uncertified"
    assert json.loads((folder / "checkpoints" / "step-4" / "state.json").read_text())["role"] == "uncertified"


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
