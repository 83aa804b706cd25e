"""What a run refuses in one line, and what it leaves alone while another has it."""

import fcntl
import json
import pickle
import shutil
import signal
import sys
from pathlib import Path

import pytest
from processes import Run
from runs import assert_same_run, newest, run, words

from sapo_train import checkpoint as checkpoints
from sapo_train.cli import main
from sapo_train.files import read_jsonl
from sapo_train.models import tiny_model


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("returns_none", "returned None; it must return one number for each completion"),
        ("returns_words", "is '1.0' for "),
        ("returns_huge", "is 1e+200 for "),
        ("raises_late", "raised LookupError: no such thing for completion "),
    ],
)
def test_a_reward_that_is_no_number_is_one_line(function, says, tmp_path, capsys):
    assert run(tmp_path / "run", f'--reward.weights={{"rewards:{function}": 1}}') == 1
    error = capsys.readouterr().err
    assert f"RewardError: reward 'rewards:{function}' {says}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rnu"], "Did you mean 'run'?"),
        ([], "the following arguments are required"),
        (["export", "a-run"], "the following arguments are required: -o/--out; see 'sapo-train export --help'."),
        (["run", "--steps=3"], "run needs a recipe"),
        (["evaluate", "smoke.yaml", "--problem=gsm8k"], "unknown key problem"),
    ],
)
def test_a_mistyped_command_line_is_one_line(words, says, capsys):
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2
    assert says in error
    assert error.count("\n") == 1


def test_rewards_and_gates_of_ones_own_are_found_beside_the_run_and_hide_nothing(tmp_path, monkeypatch):
    """The program that pip installs does not look in the folder it is called from by itself."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    Path("my_own_things.py").write_text(
        "from sapo_gates import load_gate\nGATE = load_gate('sigmoid')\n"
        "def brevity(completions, answers):\n    return [1 / (1 + len(text)) for text in completions]\n"
    )
    Path("json.py").write_text("raise SystemExit('not this one')")
    flags = ['--reward.weights={"my_own_things:brevity": 1}', "--objective.gate=my_own_things:GATE", "--steps=1"]
    assert run(tmp_path / "run", *flags) == 0
    assert read_jsonl(tmp_path / "run" / "metrics.jsonl")[0]["reward_my_own_things:brevity"] > 0


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--optim.lr=.inf", "optim.lr=inf must be a finite number"),
        ("--sampling.temperature=.nan", "sampling.temperature=nan must be a finite number"),
        ("--seed=99999999999999999999", "must lie in [0, 2**32)"),
        ("--seed=-1", "must lie in [0, 2**32)"),
    ],
)
def test_a_number_that_is_none_is_refused(flag, says, tmp_path, capsys):
    assert run(tmp_path / "run", flag) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_came_to_no_step_is_begun_anew_in_its_directory(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(folder, "--policy.model=/no/such/model", "--objective.gate=sigmoid") == 2
    assert run(folder, "--steps=1") == 0
    assert run(folder) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_a_directory_that_cannot_be_made_is_one_line(place, tmp_path, capsys):
    (tmp_path / "taken").touch()
    assert run(tmp_path / "taken" / ("run" if place == "below a file" else "")) == 2
    error = capsys.readouterr().err
    assert "CheckpointError: cannot write the directory" in error
    assert error.count("\n") == 1


def test_a_run_has_its_directory_to_itself_until_it_ends_however_it_ends(straight, tmp_path, capsys):
    folder = tmp_path / "run"
    first = Run(words(folder), tmp_path / "output", kill_at=1, within="metrics.jsonl", by=signal.SIGSTOP)
    first.wait_until_stopped()
    try:
        for command in (["resume", str(folder)], words(folder)):
            assert main(command) == 2
            error = capsys.readouterr().err
            assert f"another process writes into {folder}" in error
            assert error.count("\n") == 1
    finally:
        first.signal(signal.SIGKILL)
    first.end()
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


def test_ctrl_c_ends_a_run_at_once_in_one_line_and_it_resumes_to_the_bit(straight, tmp_path):
    folder = tmp_path / "run"
    code, output = Run(words(folder), tmp_path / "output", kill_at=1, within="metrics.jsonl", by=signal.SIGINT).end()
    assert code == 130
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("interrupted; what was written stays")
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


def changed(straight: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of a finished run whose config.yaml was edited."""
    shutil.copytree(straight, folder)
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new, 1))
    return folder


def test_a_run_does_not_go_on_under_another_configuration(straight, tmp_path, capsys):
    folder = changed(straight, tmp_path / "run", "lr: 0.001", "lr: 0.1")
    assert main(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"config.yaml has optim.lr=0.1, but {newest(folder)} was made with 0.001: put that back" in error
    assert error.count("\n") == 1


def test_when_to_save_may_change_between_two_parts_of_a_run(straight, tmp_path):
    folder = changed(straight, tmp_path / "run", "keep: 1", "keep: 2")
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)


def test_a_run_of_an_older_version_goes_on_and_one_of_another_is_refused_in_one_line(straight, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    config, state = folder / "config.yaml", newest(folder) / "state.json"
    config.write_text(config.read_text().partition("tracking:")[0])
    kept = json.loads(state.read_text())
    del kept["run"]["tracking"], kept["digest"]
    state.write_text(json.dumps(kept))
    assert main(["resume", str(folder)]) == 0
    assert_same_run(straight, folder)
    kept["run"]["compass"] = 1
    state.write_text(json.dumps(kept))
    assert main(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "was made by another version of this program: unknown key compass" in error
    assert error.count("\n") == 1


def test_a_run_does_not_go_on_with_other_problems(tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"{k}?", "answer": str(k)} for k in range(9)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "run"
    assert run(folder, f"--data.train=[{{source: {data}}}]", "--steps=2") == 0
    assert checkpoints.verify(newest(folder)).step == 2
    rows[3]["answer"] = "4"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "the problems are not those that the run began with" in error
    assert error.count("\n") == 1


def test_a_run_does_not_go_on_with_other_columns_of_the_rows_that_its_rewards_see(tmp_path, capsys):
    data, folder = tmp_path / "data.jsonl", tmp_path / "run"
    rows = [{"question": f"{k}?", "length": k} for k in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = [f"--data.train=[{{source: {data}, answer: null}}]", '--reward.weights={"rewards:of_the_length_asked": 1}']
    assert run(folder, *flags, "--reward.weights.equivalence=0", "--steps=2") == 0
    samples = read_jsonl(folder / "samples" / "step-1.jsonl")
    lengths = {row["question"]: row["length"] for row in rows}
    assert len(samples) > 1
    for row in samples:
        assert row["answer"] is None
        off = abs(len(row["completion"]) - lengths[row["question"]])
        assert row["rewards"]["rewards:of_the_length_asked"] == -off
    rows[3]["length"] = 9
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["resume", str(folder)]) == 2
    assert "the problems are not those that the run began with" in capsys.readouterr().err


def test_two_evaluations_do_not_write_into_one_folder(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["evaluate", "smoke.yaml", "-o", str(out)]) == 2
    assert "another process writes into" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [".lock"]


class Bomb:
    """What a pickle can do: run anything when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("what", ["model", "adapter"])
def test_a_pickle_is_never_loaded(what, tmp_path, capsys):
    folder, trace = tmp_path / "pickled", tmp_path / "exploded"
    if what == "model":
        model, tokenizer = tiny_model()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(trace)))
        flags = [f"--policy.model={folder}"]
    else:
        assert run(tmp_path / "made", "--policy.lora.rank=2", "--steps=1") == 0
        shutil.copytree(newest(tmp_path / "made"), folder)
        (folder / "adapter_model.safetensors").unlink()
        (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(trace)))
        flags = ["--policy.lora.rank=2", f"--policy.lora.start={folder}"]
    capsys.readouterr()
    assert run(tmp_path / "run", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("ModelError: cannot ")
    assert error.count("\n") == 1
    assert not trace.exists()
