"""Several processes make the run of one: same loss, gradient and metrics; they end together."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes import Run, operations, world
from runs import assert_same_run, newest, weights, words

from sapo_train.advantages import AdvantageConfig, assign_advantages
from sapo_train.batch import Batch
from sapo_train.data import DataConfig, load_problems
from sapo_train.files import read_jsonl
from sapo_train.learn import Learned, forward_backward
from sapo_train.local_engine import LocalEngine
from sapo_train.objective import Objective
from sapo_train.rollout import SamplingConfig, sample

pytestmark = pytest.mark.distributed

SETTINGS = {
    "one minibatch, dynamic sampling": ["--advantage.max_draws=2", "--advantage.overlong_buffer=2"],
    "minibatches, KL, correction, entropy": [
        "--update.minibatches=2",
        "--objective.kl_weight=0.1",
        "--objective.correction=token",
        "--objective.entropy_share=0.5",
        "--objective.reduction=token-mean",
    ],
    "an adapter, bfloat16": ["--policy.lora.rank=2", "--policy.dtype=bfloat16", "--objective.kl_weight=0.1"],
}


def both(tmp_path: Path, *flags: str) -> tuple[Path, Path]:
    one, two = tmp_path / "one", tmp_path / "two"
    code, output = Run(words(one, "--steps=2", "--sampling.prompts=4", *flags), tmp_path / "output").end()
    assert code == 0, output
    for process in world(words(two, "--steps=2", "--sampling.prompts=4", *flags), tmp_path):
        code, output = process.end()
        assert code == 0, output
    return one, two


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_give_the_metrics_and_weights_of_one(tmp_path, name):
    one, two = both(tmp_path, *SETTINGS[name])
    rough = "bfloat16" in name
    for a, b in zip(read_jsonl(one / "metrics.jsonl"), read_jsonl(two / "metrics.jsonl"), strict=True):
        assert a.keys() == b.keys()
        close = {key: pytest.approx(value, rel=2e-2 if rough else 1e-3, abs=2e-3 if rough else 1e-5)
                 for key, value in a.items()}  # fmt: skip
        assert b == close
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=1e-2, atol=2e-3 if rough else 1e-4)
    samples = [[row["completion"] for row in read_jsonl(f / "samples" / "step-1.jsonl")] for f in (one, two)]
    assert samples[0] == samples[1]


@pytest.mark.parametrize("reduction", ["seq-mean-token-mean", "token-mean", "seq-mean-token-sum-norm"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_shares_of_processes_add_up_to_the_loss_and_gradient_of_one(policy, gate, reduction, size):
    objective = Objective(gate=gate, reduction=reduction, max_length=9)
    problems = load_problems(DataConfig(), policy.tokenizer)
    config = SamplingConfig(prompts=5, group_size=3, max_tokens=9)
    groups = sample(LocalEngine(policy), problems.draw(0, 0, 5), config, 0, 0)
    batch = assign_advantages(groups, AdvantageConfig())
    generator = torch.Generator().manual_seed(0)
    batch = replace(
        batch,
        advantages=torch.randn(15, generator=generator),
        old_log_probs=batch.sampler_log_probs + 0.1 * torch.randn(batch.mask.shape, generator=generator),
    )
    denominator = objective.count(batch.mask)

    def learn(parts: list[Batch]) -> tuple[Learned, torch.Tensor]:
        policy.model.zero_grad()
        done = Learned.join([forward_backward(policy, objective, part, denominator) for part in parts])
        return done, torch.cat([p.grad.flatten() for p in policy.model.parameters()])

    whole, gradient = learn([batch])
    shared, summed = learn([m for rank in range(size) for m in batch.share(rank, size).split(4)])
    assert shared.loss == pytest.approx(whole.loss, rel=1e-5)
    torch.testing.assert_close(shared.log_probs, whole.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(summed, gradient, rtol=1e-4, atol=1e-6)


def test_a_failure_in_one_process_ends_all_with_one_error(tmp_path):
    flags = ['--reward.weights={"rewards:fails_in_process_one": 1}']
    ends = [process.end() for process in world(words(tmp_path / "run", *flags), tmp_path)]
    assert [code for code, _ in ends] == [1, 1]
    errors = [line for _, output in ends for line in output.splitlines() if "Error" in line]
    assert len(errors) == 1
    assert "fails_in_process_one" in errors[0]
    assert not any("Traceback" in output for _, output in ends)


def test_a_nan_in_one_process_stops_all_before_the_update_with_one_error(tmp_path):
    flags = ['--reward.weights={"rewards:spoils_the_model_of_process_one": 1}', "--checkpoint.every=1"]
    ends = [process.end() for process in world(words(tmp_path / "run", *flags), tmp_path)]
    assert [code for code, _ in ends] == [1, 1]
    errors = [line for _, output in ends for line in output.splitlines() if "Error" in line or "NonFinite" in line]
    assert len(errors) == 1
    assert "at step 2, epoch 1, rank 1, sample 6" in errors[0]  # the third of the four that process 1 works on
    assert not any("Traceback" in output for _, output in ends)
    assert [row["step"] for row in read_jsonl(tmp_path / "run" / "metrics.jsonl")] == [1, 1]
    assert (tmp_path / "run" / "failures").exists()
    assert newest(tmp_path / "run").name == "step-1"  # the last good state is still there


def test_the_death_of_a_process_ends_the_others_in_one_line(tmp_path):
    first, second = world(words(tmp_path / "run", "--steps=500"), tmp_path)
    first.wait_for((tmp_path / "run" / "metrics.jsonl").exists)
    second.signal(signal.SIGKILL)
    assert second.end()[0] == -signal.SIGKILL
    code, output = first.end()
    assert code == 1
    assert "PeerFailed: another process of the run ended" in output
    assert "Traceback" not in output


def test_processes_stop_together_and_what_they_resume_is_the_run(tmp_path):
    flags = words(tmp_path / "run", "--checkpoint.every=0", "--steps=10")
    processes = world(flags, tmp_path)
    processes[0].wait_for((tmp_path / "run" / "timings.jsonl").exists)
    for process in processes:
        process.signal(signal.SIGTERM)
    assert [process.end()[0] for process in processes] == [143, 143]
    for process in world(["resume", str(tmp_path / "run")], tmp_path):
        assert process.end()[0] == 0
    (tmp_path / "whole").mkdir()
    for process in world(words(tmp_path / "whole" / "run", *flags[-2:]), tmp_path / "whole"):
        assert process.end()[0] == 0
    assert_same_run(tmp_path / "whole" / "run", tmp_path / "run")


def test_process_zero_alone_writes(tmp_path):
    processes = world(words(tmp_path / "run", "--steps=1"), tmp_path)
    assert [process.end()[0] for process in processes] == [0, 0]
    assert not [line for line in operations(processes[1].output) if "/run/" in line]


def test_more_processes_than_groups_are_refused_in_one_line(tmp_path):
    ends = [process.end() for process in world(words(tmp_path / "run", "--update.minibatches=2"), tmp_path)]
    assert [code for code, _ in ends] == [2, 2]
    assert "2 processes cannot share minibatches of 1 groups" in ends[0][1]
    assert ends[1][1] == ""


@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m"]
    command += ["sapo_train.cli", *words(tmp_path / "run", "--steps=1")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 processes share the prompts of each batch" in done.stdout
    assert len(read_jsonl(tmp_path / "run" / "metrics.jsonl")) == 2
