"""Evaluation: what is answered, how it is judged, and a call that goes on where it was cut off."""

import json
from dataclasses import replace

import pytest

from sapo_train.cli import main
from sapo_train.data import DataConfig, load_problems
from sapo_train.evaluate import Evaluation, EvaluationConfig
from sapo_train.files import read_jsonl
from sapo_train.local_engine import LocalEngine
from sapo_train.measures import wilson
from sapo_train.rewards.judge import judge
from sapo_train.rollout import SamplingConfig
from sapo_train.sources import SourceConfig

SUMS = DataConfig(train=(SourceConfig(source="arithmetic", options={"largest": 4}, held_out=5),))
SAMPLED = EvaluationConfig(samples=2, temperature=1.0, max_tokens=6)


def answered(policy, config, seed=0, begin=0, **sampling):
    evaluation = Evaluation(config, SamplingConfig(**sampling), ("last-number",), seed)
    problems = load_problems(SUMS, policy.tokenizer).held_out
    return list(evaluation.results(LocalEngine(policy), problems, begin=begin))


def test_the_batch_size_does_not_change_the_answers_and_neither_does_where_one_begins(policy):
    whole = answered(policy, SAMPLED)
    assert answered(policy, replace(SAMPLED, batch=1)) == whole
    assert answered(policy, SAMPLED, begin=3) == whole[3:]
    assert len({c for r in whole for c in r.completions}) > 1


def test_greedy_evaluation_takes_the_likeliest_token(policy):
    one, again = (answered(policy, EvaluationConfig(temperature=0, max_tokens=3), seed) for seed in (0, 1))
    assert one == again
    problem = load_problems(SUMS, policy.tokenizer).held_out[0]
    first = policy.model(problem.tokens[None]).logits[0, -1].argmax()
    assert one[0].completions[0].startswith(policy.text(first[None]))


def test_evaluation_has_a_truncation_of_its_own_and_stops_where_training_does(policy):
    assert answered(policy, SAMPLED, top_k=1, top_p=0.1) == answered(policy, SAMPLED)
    assert answered(policy, replace(SAMPLED, top_p=0.2)) != answered(policy, SAMPLED)
    assert all(r.truncated == 0 for r in answered(policy, SAMPLED, stop_tokens=tuple(range(258))))


def test_completions_are_sorted_into_right_equal_wrong_and_none():
    texts = ["it is 72", "#### 72", r"\boxed{71}", "71.0", "seventy", "1/2", "0.5", "71"]
    assert judge([(texts, "72"), (["5"], "5"), ([], "1")], ("boxed", "hashes", "last-number")) == [
        [0, 0, 1, 1, -1, 2, 2, 1],
        [0],
        [],
    ]


FLAGS = ["--evaluation.samples=2", "--evaluation.temperature=1", "--evaluation.max_tokens=4"]
PROBLEMS = "--problems=gsm8k={}"


@pytest.fixture
def gsm8k(tmp_path) -> str:
    rows = [{"question": f"{k}+1?", "answer": f"so\n#### {k + 1}"} for k in range(5)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return PROBLEMS.format(tmp_path / "test.jsonl")


def test_models_are_measured_on_a_benchmark_file_and_compared_with_the_first(tmp_path, gsm8k, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", "tiny-random", "smoke.yaml", gsm8k, "-o", str(out), "--json", *FLAGS]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert json.loads((out / "summary.json").read_text()) == [first, second]
    assert (first["model"], first["problems"], first["number"], first["samples"]) == ("tiny-random", "gsm8k", 5, 2)
    assert set(first["measures"]) == {"accuracy", "pass@2", "majority@2"}
    difference = second["difference"]
    assert (difference["from"], difference["value"]) == ("tiny-random", 0)  # they are the same model
    assert difference["high"] == -difference["low"] == pytest.approx(wilson(0, 5)[1])
    rows = read_jsonl(out / "tiny-random.gsm8k.jsonl")
    assert [(row["answer"], len(row["completions"])) for row in rows] == [(str(k + 1), 2) for k in range(5)]


def test_an_evaluation_that_was_cut_off_goes_on_and_ends_the_same(tmp_path, gsm8k, capsys):
    words = ["evaluate", "tiny-random", gsm8k, *FLAGS, "--evaluation.batch=1"]
    assert main([*words, "-o", str(tmp_path / "whole")]) == 0
    said = capsys.readouterr().out
    path = tmp_path / "whole" / "tiny-random.gsm8k.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    marked = lines[0].replace(b'"truncated": ', b'"truncated": 1')  # it is kept, and not answered again
    path.write_bytes(marked + lines[1] + lines[2][:20])
    assert main([*words, "-o", str(tmp_path / "whole")]) == 0
    assert path.read_bytes() == marked + b"".join(lines[1:])
    assert "on 5 problems × 2 samples at temperature 1" in said


@pytest.mark.parametrize(
    "change", ["--evaluation.temperature=0.5", "--seed=3", "--evaluation.limit=2", "--data.system=x"]
)
def test_files_made_with_other_settings_are_not_mixed(tmp_path, gsm8k, capsys, change):
    words = ["evaluate", "tiny-random", gsm8k, "-o", str(tmp_path / "out"), *FLAGS]
    assert main(words) == 0
    assert main([*words, change]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "holds an evaluation with" in error
    assert "give another -o" in error


def test_without_a_benchmark_the_problems_are_those_that_a_recipe_holds_out(capsys):
    assert main(["evaluate", "smoke.yaml", "--evaluation.limit=3"]) == 0
    assert "smoke.yaml on held-out: accuracy 0.00% [" in capsys.readouterr().out


def test_a_model_without_problems_is_asked_for_them(capsys):
    assert main(["evaluate", "tiny-random"]) == 2
    assert "name a benchmark with --problems" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_not_tested_as_if_it_had_one(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("base: smoke.yaml")
    assert main(["evaluate", str(tmp_path)]) == 2
    assert f"CheckpointError: {tmp_path} has no checkpoint yet" in capsys.readouterr().err


def test_a_run_is_tested_by_its_last_checkpoint_and_any_checkpoint_by_its_folder(tmp_path, capsys):
    flags = ["--steps=2", "--checkpoint.every=1", "--checkpoint.keep=2", "--evaluation.limit=2", "--policy.lora.rank=2"]
    run = tmp_path / "run"
    assert main(["run", "smoke.yaml", "--out", str(run), *flags]) == 0
    capsys.readouterr()
    steps = [str(run / "checkpoints" / f"step-{n}") for n in (1, 2)]
    assert main(["evaluate", "smoke.yaml", *steps, str(run), "-o", str(tmp_path / "out"), "--evaluation.limit=2"]) == 0
    settings = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*.settings.json"))]
    assert len(settings) == 4
    assert len({s["weights"] for s in settings}) == 3
    assert len({s["problems"] for s in settings}) == 1
