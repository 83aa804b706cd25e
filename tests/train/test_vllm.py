"""The engine `vllm`: a real server (make test-peers), and servers that fail."""

import contextlib
import os
import re
import signal
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from processes import Run
from runs import run, words

from sapo_train.config import build, load_recipe, merge, parse_flags
from sapo_train.data import DataConfig, load_problems
from sapo_train.engine import Decoding, Sampled
from sapo_train.engines import EngineConfig, build_engine
from sapo_train.errors import ConfigError, EngineError
from sapo_train.files import read_jsonl
from sapo_train.local_engine import truncate
from sapo_train.lora import LoraConfig, attach
from sapo_train.models import tiny_model
from sapo_train.policy import Policy
from sapo_train.run import RunConfig
from sapo_train.vllm_engine import VllmEngine

HELPERS = Path(__file__).parents[1] / "helpers"
DECODING = Decoding(max_tokens=12, temperature=0.8)
REAL = os.environ.get("VLLM_PYTHON", "")
ARGUMENTS = ("--kv-cache-memory-bytes=100000000", "--enforce-eager", "--max-model-len=256")


def fake(tmp_path: Path, kind: str) -> str:
    """An interpreter of an environment whose vLLM has a defect."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HELPERS / "fake_vllm.py"}" "{kind}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def asked(policy: Policy) -> list[torch.Tensor]:
    return [prompt.tokens for prompt in load_problems(DataConfig(), policy.tokenizer).train[0][:2]]


def ask(engine: VllmEngine, policy: Policy, decoding: Decoding = DECODING, seed: int = 0) -> list[Sampled]:
    streams = [(seed, k, i) for k in (0, 1) for i in (0, 1)]
    return engine.generate(asked(policy), samples=2, decoding=decoding, streams=streams)


def tokens(drawn: list[Sampled]) -> list[list[int]]:
    return [sampled.tokens.tolist() for sampled in drawn]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("does not start", r"did not start; it ended with exit code 1 and said: 'ValueError: no such model'"),
        ("refuses", r"answers /collective_rpc with status 500"),
        ("keeps its cache", r"keeps keys and values of earlier weights"),
        ("other weights", r"does not sample from the policy that is trained: log-probs .* differ by \d.* nats"),
    ],
)
def test_a_server_that_cannot_serve_the_policy_is_refused_at_once_in_one_line(policy, tmp_path, kind, says):
    with pytest.raises(EngineError, match=says) as failure:
        build_engine(EngineConfig(kind="vllm", python=fake(tmp_path, kind)), policy, DECODING, tmp_path / "log")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "kind",
    [
        "another prompt",
        "a token that is none",
        "a log-prob too few",
        "a log-prob that is NaN",
        "text alone",
        "an end before the limit that none is",
    ],
)
def test_an_answer_that_is_no_completion_of_the_prompt_is_refused_in_one_line(policy, tmp_path, kind):
    engine = VllmEngine(policy, fake(tmp_path, kind), (), DECODING, tmp_path / "log")
    try:
        with pytest.raises(EngineError, match="answers what is no completion of the prompt"):
            ask(engine, policy)
    finally:
        engine.close()


def test_a_server_that_dies_in_a_batch_ends_the_run_in_one_line(policy, tmp_path, capsys):
    python = fake(tmp_path, "dies in a batch")
    assert run(tmp_path / "run", "--engine.kind=vllm", f"--engine.python={python}") == 1
    error = capsys.readouterr().err.strip()
    assert re.search(r"EngineError: vLLM does not answer /v1/completions .*exit code -9.*out of memory", error)
    assert "Traceback" not in error


def test_an_interpreter_that_is_not_there_is_one_line(policy, tmp_path):
    with pytest.raises(EngineError, match=r"cannot start vLLM with engine\.python='/no/python'"):
        VllmEngine(policy, "/no/python", (), DECODING, tmp_path / "log")


def test_settings_for_vllm_without_it_and_truncation_it_cannot_report_are_refused():
    def flags(*flags: str):
        return build(RunConfig, merge(load_recipe("smoke.yaml"), parse_flags(RunConfig, flags)))

    with pytest.raises(ConfigError, match=r"engine\.python/arguments changes nothing while engine\.kind=local"):
        flags("--engine.python=python3", "--engine.arguments=[--enforce-eager]")
    for truncation in (["--sampling.top_p=0.9"], ["--sampling.top_k=5", "--sampling.temperature=0.5"]):
        with pytest.raises(ConfigError, match="needs temperature 1 and a top_k"):
            flags("--engine.kind=vllm", *truncation)
    flags("--engine.kind=vllm", "--sampling.top_k=5", "--sampling.top_p=0.9")


def large_enough(**options) -> Policy:
    """A tiny policy whose heads vLLM's kernels know."""
    model, tokenizer = tiny_model(0, hidden_size=64, num_attention_heads=2, num_key_value_heads=1)
    return Policy(model, tokenizer, **options)


def learner(policy: Policy, prompt: torch.Tensor, tokens: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probs [T, V] of the learner."""
    with torch.no_grad():
        logits = policy.model(torch.cat([prompt, tokens])[None]).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)


@pytest.fixture(scope="module")
def real():
    """A policy and its engine: starting a server takes long, so one after another asks the same."""
    policy = large_enough(temperature=0.8)
    with TemporaryDirectory() as folder:
        engine = VllmEngine(policy, REAL, ARGUMENTS, DECODING, Path(folder) / "log")
        yield engine, policy
        engine.close()


def assert_log_probs_are_the_learners(engine: VllmEngine, policy: Policy) -> None:
    for k, sampled in enumerate(ask(engine, policy)):
        log_p = learner(policy, asked(policy)[k // 2], sampled.tokens, 0.8)
        own = log_p.gather(-1, sampled.tokens[:, None]).squeeze(-1)
        torch.testing.assert_close(sampled.log_probs, own, rtol=0, atol=1e-4)
        assert torch.equal(sampled.log_probs, sampled.truncated_log_probs)
        assert sampled.ended == (int(sampled.tokens[-1]) in policy.end_tokens)


@pytest.mark.vllm
def test_log_probs_are_the_learners_at_the_sampling_temperature_before_and_after_new_weights(real):
    engine, policy = real
    assert_log_probs_are_the_learners(engine, policy)
    before = ask(engine, policy)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    engine.update_weights(policy)
    assert_log_probs_are_the_learners(engine, policy)
    assert tokens(before) != tokens(ask(engine, policy))


@pytest.mark.vllm
def test_a_completion_is_a_function_of_its_stream_in_any_company(real):
    engine, policy = real
    whole = ask(engine, policy)
    for k in (3, 0, 2, 1):
        stream = [(0, k // 2, k % 2)]
        alone = engine.generate([asked(policy)[k // 2]], samples=1, decoding=DECODING, streams=stream)
        assert torch.equal(alone[0].tokens, whole[k].tokens)
    assert len({tuple(row) for row in tokens(whole)}) == 4
    assert tokens(ask(engine, policy, seed=1)) != tokens(whole)


@pytest.mark.vllm
def test_stop_tokens_and_stop_strings_end_a_completion_and_stay_in_it(real):
    engine, policy = real
    free = ask(engine, policy)
    token = int(free[0].tokens[3])
    for before, after in zip(free, ask(engine, policy, replace(DECODING, stop_tokens=(token,))), strict=True):
        at = before.tokens.tolist().index(token) + 1 if token in before.tokens else len(before.tokens)
        assert torch.equal(after.tokens, before.tokens[:at])
        assert after.ended == (before.ended or token in before.tokens)
    letter = next(c for s in free for c in s.text if c.isascii() and c.isprintable())
    stopped = ask(engine, policy, replace(DECODING, stop=(letter,)))
    assert any(s.text.endswith(letter) and s.ended for s in stopped)
    assert not any(letter in s.text[:-1] for s in stopped)


@pytest.mark.vllm
def test_another_decoding_has_no_log_probs(real):
    engine, policy = real
    greedy = ask(engine, policy, replace(DECODING, temperature=0.0))[0]
    assert greedy.log_probs.isnan().all()
    assert torch.equal(learner(policy, asked(policy)[0], greedy.tokens, 1.0).argmax(-1), greedy.tokens)


@pytest.mark.vllm
def test_truncation_reports_log_probs_before_and_after(tmp_path):
    policy, decoding = large_enough(), Decoding(max_tokens=12, temperature=1.0, top_k=9, top_p=0.7)
    engine = VllmEngine(policy, REAL, ARGUMENTS, decoding, tmp_path / "log")
    try:
        for k, sampled in enumerate(ask(engine, policy, decoding)):
            log_p = learner(policy, asked(policy)[k // 2], sampled.tokens, 1.0)
            for got, whole in (
                (sampled.log_probs, log_p),
                (sampled.truncated_log_probs, truncate(log_p, 9, 0.7)),
            ):
                own = whole.gather(-1, sampled.tokens[:, None]).squeeze(-1)
                torch.testing.assert_close(got, own, rtol=0, atol=1e-4)
    finally:
        engine.close()


def servers() -> set[str]:
    """The processes of vLLM on this machine."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if re.search(rb"VLLM::|vllm\.entrypoints", (place / "cmdline").read_bytes()):
                found.add(place.name)
    return found


@pytest.fixture
def folder_of_a_model(tmp_path):
    policy = large_enough()
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def served(folder: Path, *flags: str) -> list[str]:
    return ["--engine.kind=vllm", f"--engine.python={REAL}", f"--engine.arguments={list(ARGUMENTS)}",
            f"--policy.model={folder}", "--optim.lr=0.01", *flags]  # fmt: skip


@pytest.mark.vllm
def test_a_run_samples_from_the_weights_it_has_trained_adapter_and_all(tmp_path, folder_of_a_model):
    flags = served(folder_of_a_model, "--policy.lora.rank=4", "--objective.correction=token")
    before = servers()
    code, output = Run(words(tmp_path / "run", *flags), tmp_path / "output").end(600)
    assert code == 0, output
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert len(rows) == 8
    assert max(row["sampler_gap_max"] for row in rows) < 1e-3  # the sampler has the learner's weights, at every step
    assert max(row["log_ratio_max"] for row in rows) > 0.01  # which do move
    assert servers() == before


@pytest.mark.vllm
def test_an_adapter_that_is_not_served_is_noticed_at_the_start(tmp_path, monkeypatch):
    policy = large_enough(temperature=0.8)
    policy.adapter = attach(policy.model, LoraConfig(rank=4), None, 0)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    monkeypatch.setattr("sapo_train.vllm_engine.merged", lambda adapter: adapter.unload())
    with pytest.raises(EngineError, match="does not sample from the policy that is trained"):
        build_engine(EngineConfig(kind="vllm", python=REAL, arguments=ARGUMENTS), policy, DECODING, tmp_path / "log")


@pytest.mark.vllm
def test_a_killed_run_leaves_no_server_behind(tmp_path, folder_of_a_model):
    before = servers()
    process = Run(words(tmp_path / "run", *served(folder_of_a_model, "--steps=500")), tmp_path / "output")
    process.wait_for((tmp_path / "run" / "metrics.jsonl").exists, 600)
    assert servers() > before
    process.signal(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    for _ in range(300):
        if servers() == before:
            return
        time.sleep(0.2)
    pytest.fail(f"still there: {servers() - before}")
