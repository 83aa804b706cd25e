"""What a run survives: kills at any instant, SIGTERM, a full disk, harmed files, a loss that is not finite."""

import json
import os
import random
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from processes import Run, operations
from runs import assert_same_run, newest, run, words
from safetensors import safe_open

from sapo_gates import certify
from sapo_train import checkpoint as checkpoints
from sapo_train.checkpoint import Place
from sapo_train.cli import main
from sapo_train.errors import CheckpointError
from sapo_train.files import read_jsonl
from sapo_train.models import tiny_model


def killed(folder: Path, kill_at: int, within: str = "", command: list[str] | None = None) -> None:
    process = Run(command or words(folder), folder.parent / "output", kill_at=kill_at, within=within)
    code, output = process.end()
    assert code == -signal.SIGKILL, output


def go_on(folder: Path) -> None:
    """Resume as a user would: a run that died before its directory was made is begun again."""
    begun = (folder / "config.yaml").exists()
    assert (main(["resume", str(folder)]) if begun else run(folder)) == 0


@pytest.mark.parametrize("place", [0.02, 0.6, 0.999])
def test_a_run_killed_at_any_file_operation_resumes_to_the_bit(straight, tmp_path, place):
    folder = tmp_path / "run"
    killed(folder, max(1, int(place * len(operations(straight.parent / "output")))))
    go_on(folder)
    assert_same_run(straight, folder)


@pytest.mark.parametrize("place", [0.4, 1.0])
def test_a_run_killed_inside_a_checkpoint_resumes_to_the_bit(straight, tmp_path, place):
    """The second checkpoint: the first is what it must go on from."""
    inside = [line for line in operations(straight.parent / "output") if "checkpoints/.step-4.partial" in line]
    folder = tmp_path / "run"
    killed(folder, 1 + int(place * (len(inside) - 1)), within="checkpoints/.step-4.partial")
    assert newest(folder).name == "step-2"
    go_on(folder)
    assert_same_run(straight, folder)


def test_what_a_checkpoint_counts_on_is_on_the_disk_before_it_appears(tmp_path, monkeypatch):
    """After a power cut there is what was synced: the bytes of a file, and the names in a folder."""
    folder, disk, seen = tmp_path / "new" / "run", {}, []
    sync, rename = os.fsync, Path.rename

    def what(path: Path) -> bytes | set[str]:
        return {entry.name for entry in path.iterdir()} if path.is_dir() else path.read_bytes()

    def synced(handle: int) -> None:
        sync(handle)
        disk[os.fstat(handle).st_ino] = what(Path(os.readlink(f"/proc/self/fd/{handle}")))

    def renamed(path: Path, target: Path) -> Path:
        if target.parent == folder / "checkpoints" and target.name.startswith("step-"):
            written = [p for p in folder.rglob("*") if "tensorboard" not in p.parts and p.name != ".lock"]
            seen.append({str(p.relative_to(folder)) for p in written})
            for p in written:
                assert p.is_dir() or disk.get(p.stat().st_ino) == p.read_bytes(), p
                assert p in (path, path.parent) or p.name in disk[p.parent.stat().st_ino], p
        if target.name.endswith(".removed"):  # the one that replaces it is there
            assert newest(folder).name in disk[path.parent.stat().st_ino]
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    assert run(folder) == 0
    assert "checkpoints/.step-2.partial/model.safetensors" in seen[0]
    logs = {"metrics.jsonl", "timings.jsonl", "evaluations.jsonl", "samples/step-2.jsonl", "ratios/step-2.safetensors"}
    assert logs | {"config.yaml", "certificate.json", "problems.json", "evaluations/step-0.jsonl"} <= seen[0] & seen[1]
    for path in (folder, folder / "checkpoints", newest(folder)):
        assert path.name in disk[path.parent.stat().st_ino]


def test_a_tokenizer_with_several_chat_templates_is_saved_with_all_of_them(tmp_path):
    model, tokenizer = tiny_model()
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": "{{ messages }}"}
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    assert run(tmp_path / "run", f"--policy.model={tmp_path / 'model'}", "--steps=1") == 0
    template = newest(tmp_path / "run") / "additional_chat_templates" / "tool_use.jinja"
    assert checkpoints.verify(newest(tmp_path / "run")).step == 1
    template.write_text("")
    with pytest.raises(CheckpointError, match=r"tool_use\.jinja is not what was saved"):
        checkpoints.verify(newest(tmp_path / "run"))


@pytest.mark.parametrize("evaluation", [1, 2], ids=["before", "after"])
def test_a_run_killed_between_the_two_files_of_an_evaluation_resumes_to_the_bit(straight, tmp_path, evaluation):
    folder = tmp_path / "run"
    killed(folder, evaluation, within="evaluations.jsonl")
    go_on(folder)
    assert_same_run(straight, folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_a_run_killed_again_and_again_at_random_resumes_to_the_bit(straight, tmp_path, seed):
    """Killed at random file operations, every third time while it computes, until it comes to its end."""
    dice, folder, total = random.Random(seed), tmp_path / "run", len(operations(straight.parent / "output"))
    within = "checkpoints" if seed % 3 == 1 else ""
    for attempt in range(3):
        command = ["resume", str(folder)] if (folder / "config.yaml").exists() else words(folder)
        if seed % 3 == 2:
            process = Run(command, tmp_path / "output")
            process.process.join(dice.uniform(0.3, 2.5))
            process.process.kill()
        else:
            process = Run(
                command, tmp_path / "output", kill_at=dice.randrange(1, total // (attempt + 1)), within=within
            )
        process.end()
    go_on(folder)
    assert_same_run(straight, folder)


def test_sigterm_saves_at_the_next_batch_boundary_and_exits_with_143(straight, tmp_path):
    folder = tmp_path / "run"
    process = Run(words(folder, "--checkpoint.every=0", "--steps=2000"), tmp_path / "output")
    process.wait_for((folder / "metrics.jsonl").exists)
    process.signal(signal.SIGTERM)
    code, output = process.end()
    assert code == 143
    assert "the state is saved" in output
    place = checkpoints.verify(newest(folder))
    assert place.updates == 2 * place.step == len(read_jsonl(folder / "metrics.jsonl"))
    # The steps it made are those of the run that was not stopped.
    shared = min(place.updates, 8)
    lines = [(f / "metrics.jsonl").read_text().splitlines()[:shared] for f in (straight, folder)]
    assert lines[0] == lines[1]


def test_sigterm_in_a_step_longer_than_grace_ends_the_run_unsaved_with_143(tmp_path):
    folder = tmp_path / "run"
    rewards = '--reward.weights={"rewards:slow_from_the_second_step": 1}'
    process = Run(words(folder, rewards, "--checkpoint.every=1", "--checkpoint.grace=0.1"), tmp_path / "output")
    process.wait_for((folder / "checkpoints" / "step-1").exists)
    process.signal(signal.SIGTERM)
    code, output = process.end(limit=30)  # the step itself takes ten minutes
    assert code == 143
    assert "checkpoint.grace=0.1 s" in output
    assert checkpoints.verify(newest(folder)).step == 1


def test_sigterm_during_an_evaluation_loses_no_step(tmp_path):
    folder = tmp_path / "run"
    flags = ["--checkpoint.every=0", "--steps=3", "--evaluation.every=2", "--evaluation.limit=0"]
    flags += ["--evaluation.batch=1", "--evaluation.temperature=1", "--evaluation.samples=200"]
    process = Run(words(folder, *flags), tmp_path / "output")
    process.wait_for(lambda: len(read_jsonl(folder / "timings.jsonl")) == 2)
    process.signal(signal.SIGTERM)
    assert process.end()[0] == 143
    assert newest(folder).name == "step-2"


def test_a_write_that_the_system_refuses_ends_the_run_in_one_line_and_keeps_the_last_checkpoint(straight, tmp_path):
    """The optimizer's file grows over the limit; what came before it did not."""
    sizes = {path.name: path.stat().st_size for path in newest(straight).iterdir()}
    folder = tmp_path / "run"
    killed(folder, 1, within="checkpoints/.step-4.partial")
    limited = Run(["resume", str(folder)], tmp_path / "second", file_limit=sizes["optimizer.safetensors"] - 1)
    code, output = limited.end()
    assert code == 1
    assert "SaveError: cannot write checkpoint" in output
    assert "Traceback" not in output
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"step-2"}
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_more_room_lets_it_go_on(straight, tmp_path):
    """A real one: a tmpfs with room for one checkpoint, made larger afterwards."""
    disk = tmp_path / "disk"
    disk.mkdir()
    room = int(1.7 * sum(path.stat().st_size for path in newest(straight).iterdir()))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)], check=True)
    try:
        folder = disk / "run"
        code, output = Run(words(folder), tmp_path / "output").end()
        assert code == 1
        assert "No space left on device" in output
        assert "Traceback" not in output
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"step-2"}
        subprocess.run(["mount", "-o", f"remount,size={10 * room}", str(disk)], check=True)
        assert main(["resume", str(folder)]) == 0
        assert_same_run(straight, folder)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_checkpoint_of_the_best_evaluation_is_kept_beside_the_last(tmp_path, monkeypatch):
    shares = iter([0.1, 0.3, 0.9, 0.9, 0.2])  # before any step, and after each
    monkeypatch.setattr("sapo_train.records.accuracy", lambda results: (next(shares), (0.0, 1.0)))
    folder = tmp_path / "run"
    assert run(folder, "--evaluation.every=1", "--checkpoint.every=0") == 0
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"step-2", "step-4"}
    assert json.loads((folder / "summary.json").read_text())["best_step"] == 2
    assert checkpoints.verify(folder / "checkpoints" / "step-2").step == 2


def test_a_run_that_is_complete_resumes_to_the_same_end(straight, tmp_path):
    folder = tmp_path / "done"
    shutil.copytree(straight, folder)
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


def test_a_run_that_replaces_groups_resumes_where_its_prompts_were(tmp_path):
    """Two single tokens are seldom rewarded differently, so that most groups are replaced."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    flags = ["--advantage.max_draws=3", "--sampling.max_tokens=1", "--checkpoint.every=1", "--checkpoint.keep=9"]
    assert run(whole, *flags) == 0
    drawn = [row["groups_drawn"] for row in read_jsonl(whole / "metrics.jsonl")[::2]]
    places = [checkpoints.verify(whole / "checkpoints" / f"step-{step}") for step in (1, 2, 3, 4)]
    assert [place.position for place in places] == [sum(drawn[:step]) for step in (1, 2, 3, 4)]
    assert max(drawn) > 2
    shutil.copytree(whole, resumed)
    for step in (3, 4):
        shutil.rmtree(resumed / "checkpoints" / f"step-{step}")
    assert main(["resume", str(resumed)]) == 0
    assert_same_run(whole, resumed)


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


def test_a_state_that_was_altered_is_refused(straight, tmp_path, capsys):
    folder = tmp_path / "altered"
    shutil.copytree(straight, folder)
    path = newest(folder) / "state.json"
    text = path.read_text()
    assert '"position": 8' in text
    path.write_text(text.replace('"position": 8', '"position": 7'))
    assert main(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "state.json is not what was saved (its digest differs)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl", "evaluations.jsonl", "problems.json"])
def test_a_file_of_the_run_directory_that_is_no_json_any_more_is_named(straight, tmp_path, name, capsys):
    folder = tmp_path / "harmed"
    shutil.copytree(straight, folder)
    (folder / name).write_bytes(b"\0\0\xff\n" + (folder / name).read_bytes())
    assert main(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"CheckpointError: {folder / name}{':1' * name.endswith('l')} is not what was written" in error
    assert error.count("\n") == 1


def test_copies_that_somebody_made_are_left_alone(straight, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(straight, folder)
    for copy in ("checkpoints/step-9-mine", "samples/step-9 (copy).jsonl"):
        shutil.copytree(newest(folder), folder / copy)
    assert main(["resume", str(folder)]) == 0
    assert newest(folder).name == "step-4"
    assert (folder / "checkpoints" / "step-9-mine").exists()


def test_a_partial_checkpoint_does_not_count(straight, tmp_path):
    folder = tmp_path / "partial"
    shutil.copytree(straight, folder)
    shutil.copytree(folder / "checkpoints" / "step-4", folder / "checkpoints" / ".step-6.partial")
    assert newest(folder).name == "step-4"


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


def test_an_unreadable_state_is_refused(tmp_path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"state\.json cannot be read"):
        checkpoints.verify(tmp_path)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    assert run(tmp_path / "kept", "--checkpoint.every=1", "--checkpoint.keep=2") == 0
    assert {p.name for p in (tmp_path / "kept" / "checkpoints").iterdir()} == {"step-3", "step-4"}
    assert checkpoints.verify(tmp_path / "kept" / "checkpoints" / "step-3") == Place(step=3, updates=6, position=6)


@pytest.mark.parametrize(("epoch", "minibatches"), [(1, 1), (2, 1), (2, 2)])
def test_a_loss_that_is_not_finite_stops_before_the_update_and_keeps_the_minibatch(
    straight, tmp_path, monkeypatch, capsys, epoch, minibatches
):
    from sapo_train import train as loop

    plain, calls = loop.forward_backward, []

    def poisoned(policy, objective, microbatch, denominator):
        done = plain(policy, objective, microbatch, denominator)
        calls.append(microbatch)
        if len(calls) == 2 * 2 + 2 * epoch:  # two microbatches an epoch: the last of this epoch of the second step
            done.log_probs[1, 2] = torch.nan
            done = replace(done, loss=float("nan"))
        return done

    monkeypatch.setattr(loop, "forward_backward", poisoned)
    folder, flags = tmp_path / "poisoned", ["--checkpoint.every=1", f"--update.minibatches={minibatches}"]
    assert run(folder, *flags) == 1
    error = capsys.readouterr().err
    path = folder / "failures" / "step-2.safetensors"
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    ids, pieces, failure = (json.loads(about[name]) for name in ("ids", "pieces", "failure"))
    made = epoch - 1 if minibatches == 1 else 2 * epoch - 1
    assert len(read_jsonl(folder / "metrics.jsonl")) == 2 * minibatches + made  # the failed update is not among them
    assert checkpoints.verify(newest(folder)).step == 1

    # The one token is named, in the message and in the file.
    bad = 5 if minibatches == 1 else 1
    row, name = int(kept["rows"][bad]), ids[bad]
    assert f"at step 2, epoch {epoch}, rank 0, sample {row} (problem {name!r}); no update was made" in error
    assert error.count("\n") == 1
    assert failure == {"epoch": epoch, "rank": 0, "row": row, "id": name, "loss": "nan", "grad_norm": ANY}
    (at,) = torch.isnan(kept["log_probs"]).nonzero().flatten().tolist()
    assert at == kept["offsets"][bad] + 2
    assert torch.isnan(kept["log_ratio"]).nonzero().tolist() == [[epoch - 1, at]]
    assert kept["log_ratio"].shape == (epoch, len(kept["tokens"]))
    assert about["format"] == "sapo-ratios/1"
    assert len(pieces[bad]) == kept["offsets"][bad + 1] - kept["offsets"][bad]

    # It is the minibatch that the run trains on when nothing is wrong.
    monkeypatch.undo()
    assert main(["resume", str(folder)]) == 0
    rows = read_jsonl(folder / "samples" / "step-2.jsonl")
    assert [(rows[k]["id"], rows[k]["tokens"]) for k in kept["rows"].tolist()] == [
        (name, len(texts)) for name, texts in zip(ids, pieces, strict=True)
    ]
    if minibatches == 1:
        assert_same_run(straight, folder)


def test_a_gradient_that_overflows_blames_no_single_sample(tmp_path, monkeypatch, capsys):
    from sapo_train.optim import Optimizer

    monkeypatch.setattr(Optimizer, "clip", lambda self: float("inf"))
    folder = tmp_path / "overflown"
    assert run(folder) == 1
    assert "at step 1, epoch 1, rank 0, no single sample; no update was made" in capsys.readouterr().err
    with safe_open(folder / "failures" / "step-1.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["failure"])["row"] is None
