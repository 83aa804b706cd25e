"""Weights & Biases and trackio: only when asked for, and the same run after a kill as before.

What is sent is checked with a module that stands for either. The real packages, which disagree with this environment
about a picture library, are in one of their own (make peers) and are only looked for behind everything that is here.
"""

import importlib.machinery
import json
import os
import sqlite3
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
from runs import assert_same_run, run, words

from sapo_train.cli import main
from sapo_train.files import read_jsonl

TRACKERS = ["wandb", "trackio"]


class FakeTracker(ModuleType):
    """Takes what either package takes, and keeps it."""

    def __init__(self, name: str, refuses: str = "", breaks_at: int = -1, interrupted_at: int = -1) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.Settings = SimpleNamespace
        self.refuses, self.breaks_at, self.interrupted_at = refuses, breaks_at, interrupted_at
        self.begun: list[dict] = []
        self.sent: list[tuple[int, dict]] = []
        self.finished = 0

    def init(self, **about):
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.begun.append(about)
        return self

    def log(self, values, step):
        if step == self.breaks_at:
            raise ConnectionError("no route")
        if step == self.interrupted_at:
            self.interrupted_at = -1
            raise KeyboardInterrupt
        self.sent.append((step, values))

    def finish(self):
        self.finished += 1


def fake(monkeypatch, name: str, **kind) -> FakeTracker:
    module = FakeTracker(name, **kind)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def updates(sent: list[tuple[int, dict]]) -> list[tuple[int, dict]]:
    return [(step, values) for step, values in sent if "loss" in values]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_gets_every_update_and_evaluation_once(name, monkeypatch, tmp_path):
    module = fake(monkeypatch, name)
    assert run(tmp_path / "run", f"--tracking.to={name}", "--tracking.project=sums") == 0
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert updates(module.sent) == [(row["update"], {k: v for k, v in row.items() if v is not None}) for row in rows]
    assert [step for step, values in module.sent if "held_out_accuracy" in values] == [0, 8]
    (about,) = module.begun
    assert (about["project"], about["resume"]) == ("sums", "allow")
    assert about["config"]["sampling"]["group_size"] == 4
    assert module.finished == 1


@pytest.mark.parametrize("name", TRACKERS)
def test_a_resumed_run_is_the_same_run_to_the_tracker_and_repeats_nothing(name, monkeypatch, tmp_path, straight):
    """Interrupted in update 6, it goes on from the checkpoint after update 4, and makes update 5 again."""
    module, folder = fake(monkeypatch, name, interrupted_at=6), tmp_path / "run"
    assert run(folder, f"--tracking.to={name}") == 130
    assert main(["resume", str(folder)]) == 0
    assert [step for step, _ in updates(module.sent)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [step for step, values in module.sent if "held_out_accuracy" in values] == [0, 8]
    first, again = (about["id" if name == "wandb" else "name"] for about in module.begun)
    assert first == again
    assert_same_run(straight, folder)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_loaded(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(tmp_path / "run", f"--tracking.to={name}", "--policy.model=/no/such/model") == 2
    says = f"TrackingError: tracking.to={name} needs the package {name}: pip install {name}, or leave tracking out.\n"
    assert capsys.readouterr().err == says


def test_a_tracker_that_does_not_begin_is_one_line(monkeypatch, tmp_path, capsys):
    fake(monkeypatch, "wandb", refuses="no key\nconfigured")
    assert run(tmp_path / "run", "--tracking.to=wandb") == 2
    error = capsys.readouterr().err
    assert (
        "TrackingError: tracking.to=wandb does not begin: RuntimeError: no key configured. WANDB_MODE=offline" in error
    )
    assert error.count("\n") == 1


def test_a_tracker_that_breaks_does_not_end_the_run(monkeypatch, tmp_path, capsys, straight):
    module = fake(monkeypatch, "wandb", breaks_at=3)
    assert run(tmp_path / "run", "--tracking.to=wandb") == 0
    assert capsys.readouterr().out.count("warning: the tracker takes no more (no route); metrics.jsonl has") == 1
    assert [step for step, _ in updates(module.sent)] == [1, 2]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()


def test_without_asking_nothing_is_tracked(monkeypatch, tmp_path, straight):
    assert not (straight / "tracking.json").exists()
    for name in TRACKERS:
        assert fake(monkeypatch, name).begun == []
    assert run(tmp_path / "run", "--steps=1") == 0
    assert not any(sys.modules[name].begun for name in TRACKERS)


@pytest.mark.trackers
@pytest.mark.parametrize("name", TRACKERS)
def test_the_real_packages_keep_what_the_run_measured(name, tmp_path):
    """In a process whose own packages come first. Nothing is sent, and a busy machine may take as long as it needs."""
    python = os.environ.get("TRACKERS_PYTHON")
    assert python, "TRACKERS_PYTHON names the interpreter of an environment with wandb and trackio"
    where = "import site; print(site.getsitepackages()[0])"
    packages = subprocess.run([python, "-c", where], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    program = (
        f"import sys; sys.path.append({packages!r}); from sapo_train.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    quiet = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "TRACKIO_DIR": str(tmp_path / "trackio")}
    patient = {"WANDB__SERVICE_WAIT": "600", "WANDB_INIT_TIMEOUT": "600"}
    command = [sys.executable, "-c", program, *words(tmp_path / "run", f"--tracking.to={name}")]
    done = subprocess.run(command, env=os.environ | quiet | patient, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    if name == "wandb":
        known = json.loads((tmp_path / "run" / "tracking.json").read_text())["id"]
        (kept,) = (tmp_path / "run" / "wandb").glob(f"offline-run-*-{known}/run-{known}.wandb")
        text = kept.read_bytes()
        assert all(json.dumps(row["grad_norm"]).encode() in text for row in rows)
    else:
        with sqlite3.connect(tmp_path / "trackio" / "sapo-train.db") as base:
            kept_rows = [
                json.loads(metrics) for (metrics,) in base.execute("select metrics from metrics order by step")
            ]
        assert [row["grad_norm"] for row in kept_rows if "grad_norm" in row] == [row["grad_norm"] for row in rows]
