"""Accuracy and its intervals."""

from dataclasses import replace

import pytest

from sapo_train.data import DataConfig, load_problems
from sapo_train.evaluate import EvaluationConfig, Result, accuracy, bootstrap, evaluate, paired_difference, wilson


def result(id, *right):
    return Result(id=str(id), question="", answer="", completions=("",) * len(right), right=right, truncated=0)


def test_wilson_is_the_interval_in_the_textbook():
    low, high = wilson(10, 20)
    assert (low, high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(10, 10)[1] == pytest.approx(1)


def test_the_bootstrap_interval_has_the_width_of_the_normal_one_for_many_values():
    values = [k % 2 for k in range(400)]
    low, high = bootstrap(values)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=3e-3)


def test_pairing_problems_narrows_the_interval():
    before = [result(k, float(k % 2)) for k in range(200)]
    after = [result(k, float(k % 2 or k % 10 == 0)) for k in range(200)]
    difference, (low, high) = paired_difference(before, after)
    assert difference == pytest.approx(0.1)
    unpaired = [accuracy(r)[1][1] - accuracy(r)[1][0] for r in (before, after)]
    assert 0 < high - low < min(unpaired)
    assert low < 0.1 < high


def test_several_samples_are_averaged_per_problem():
    mean, (low, high) = accuracy([result(0, 1.0, 0.0), result(1, 1.0, 1.0)])
    assert mean == 0.75
    assert low <= mean <= high


def test_the_batch_size_does_not_change_the_answers(policy):
    problems = load_problems(DataConfig(largest=4, held_out=5), policy.tokenizer)
    config = EvaluationConfig(samples=2, temperature=1.0, max_tokens=6)
    rules = ("last-number",)
    big = evaluate(policy, problems.held_out, config, rules)
    small = evaluate(policy, problems.held_out, replace(config, batch=1), rules)
    assert [r.completions for r in big] == [r.completions for r in small]
    assert len({c for r in big for c in r.completions}) > 1


def test_greedy_evaluation_takes_the_likeliest_token(policy):
    problems = load_problems(DataConfig(largest=4, held_out=5), policy.tokenizer)
    one, again = (
        evaluate(policy, problems.held_out, EvaluationConfig(max_tokens=3), ("boxed",), seed=s) for s in (0, 1)
    )
    assert one == again
    first = policy.model(problems.held_out[0].tokens[None]).logits[0, -1].argmax()
    assert one[0].completions[0].startswith(policy.text(first[None]))
