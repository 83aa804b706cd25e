"""Small runs of `smoke.yaml`, and when two of them are the same."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sapo_train import checkpoint as checkpoints
from sapo_train.cli import main

FAST = ["--steps=4", "--checkpoint.every=2", "--evaluation.limit=3", "--sampling.max_tokens=8", "--launch.threads=1"]
FAST += ["--ratios.every=2"]


def words(folder: Path, *flags: str) -> list[str]:
    """Return the command line of a small run."""
    return ["run", "smoke.yaml", "--out", str(folder), *FAST, *flags]


def run(folder: Path, *flags: str) -> int:
    """Make a small run in this process and return its exit code."""
    return main(words(folder, *flags))


def newest(folder: Path) -> Path:
    """Return the last checkpoint of a run."""
    found = checkpoints.latest(folder / "checkpoints")
    assert found is not None
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return weights and optimizer state of the last checkpoint."""
    return {
        name: tensor
        for path in sorted(newest(folder).glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_same_run(one: Path, other: Path) -> None:
    """Every number that two runs wrote is the same to the bit."""
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for name in ("samples", "ratios", "evaluations"):
        files = sorted(path.name for path in (one / name).iterdir())
        assert files == sorted(path.name for path in (other / name).iterdir())
        for file in files:
            left, right = one / name / file, other / name / file
            if file.endswith(".safetensors"):  # whose header keeps no order
                assert_same_tensors(load_file(left), load_file(right))
            else:
                assert left.read_bytes() == right.read_bytes()
    assert on_the_board(one) == on_the_board(other)
    assert_same_tensors(weights(one), weights(other))


def on_the_board(folder: Path) -> dict[str, dict[int, float]]:
    """Return what TensorBoard shows of a run: for each curve its value at each update."""
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {key: {event.step: event.value for event in board.Scalars(key)} for key in board.Tags()["scalars"]}


def assert_same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Same names, same bits."""
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
