"""Rewards: what is right, what is well formed, and what a hostile answer can do: nothing."""

import asyncio
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from processes import Run
from runs import words

from sapo_train.advantages import punish_overlong
from sapo_train.batch import Completion, Group
from sapo_train.config import build
from sapo_train.data import Problem, Prompt
from sapo_train.errors import ConfigError, RewardError
from sapo_train.rewards import extract_answer, math_equivalence, think_answer_format
from sapo_train.rewards.equivalence import LIMIT
from sapo_train.rewards.score import RewardConfig, build_reward
from sapo_train.sources import SourceConfig, read_problems


@pytest.mark.parametrize(
    ("prediction", "gold", "same"),
    [
        ("25", "25", True),
        ("7 + 18 = 25", "25", True),
        ("24", "25", False),
        ("1,000", "1000", True),
        ("1e-6", "0.000001", True),
        ("<answer>2.50</answer>", "2.5", True),
        ("1e-6", "1e-7", False),
        ("1e999999", "7", False),
        (r"\frac{1}{2}", "0.5", True),
        (r"\dfrac{1}{3}", r"\frac{1}{3}", True),
        (r"so \boxed{\frac{2}{4}}", r"\frac{1}{2}", True),
        (r"\boxed{3}", "4", False),
        ("<answer>7</answer>", "7", True),
        ("<answer>7</answer> and not 8", "7", True),
        ("2x+1", "1+2x", True),
        ("", "1", False),
        ("no number at all", "1", False),
    ],
)
def test_equivalence(prediction, gold, same):
    assert math_equivalence(prediction, gold) is same


HOSTILE = {
    "tower of powers": "9**9**9**9",
    "tower of powers in LaTeX": "$9^{9^{9^{9}}}$",
    "deep brackets": "$" + "(" * 9_000 + "1" + ")" * 9_000 + "$",
    "100 kB of brackets": "(" * 100_000,
    "open braces": "{" * 19_000,
    "nested fractions": r"\frac{" * 3_000,
    "double factorial": "$100000000!!$",
    "surrogates and zeros": "\x00\ud800\n7",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_scores_zero_and_the_next_one_is_judged(name):
    assert math_equivalence(HOSTILE[name], "41") is False
    assert math_equivalence("41", "41") is True


def test_an_answer_that_never_ends_is_cut_off_at_the_limit():
    math_equivalence("1", "1")  # the worker is up
    start = time.monotonic()
    assert math_equivalence("9**9**9**9", "7") is False
    assert time.monotonic() - start >= LIMIT  # it did hang: the limit is what ended it


def test_an_answer_that_eats_memory_is_wrong_and_the_next_one_is_judged():
    """In the worker itself, with a comparison that takes 3 GiB where it is told to."""
    program = (
        "import io, sys; from sapo_train.rewards import worker\n"
        "worker.equivalent = lambda a, b: a == b and (a != 'eat' or bool(bytearray(3 * 2**30)))\n"
        'worker.serve(io.StringIO(\'["eat", "eat"]\\n["1", "1"]\\n\'), 60)'
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == ["ready", "0", "1"]


def test_a_worker_that_was_starved_is_given_the_time_it_did_not_get():
    from sapo_train.rewards.equivalence import _pool

    worker = _pool().workers[0]
    worker.ask("1", "1")
    assert worker.process is not None
    pid = worker.process.pid
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    os.kill(child, signal.SIGSTOP)
    resume = threading.Timer(LIMIT + 0.5, os.kill, (child, signal.SIGCONT))
    resume.start()
    assert worker.ask("2", "2")
    resume.join()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer> 5 </answer> or 6", "5"),
        (r"first \boxed{1}, then \boxed{\frac{1}{2}} and 9", r"\frac{1}{2}"),
        ("work 3\n#### 1,234", "1,234"),
        ("7 plus 18 is 25.", "25"),
        ("it is -3.5, surely", "-3.5"),
        ("a half is 1/2", "1/2"),
        ("it weighs 1.5e-6 g", "1.5e-6"),
        ("pages 10-12", "12"),
        ("x=-3", "-3"),
        ("(-.5)", "-.5"),
        ("at -4 or -1,234.5", "-1,234.5"),
        ("no number", None),
        (r"\boxed{3", "3"),
        ("", None),
    ],
)
def test_the_answer_is_found_by_the_first_rule_that_finds_one(text, answer):
    assert extract_answer(text) == answer


def test_rules_apply_as_configured():
    text = r"#### 3 and \boxed{4}"
    assert extract_answer(text, ("hashes",)) == r"3 and \boxed{4}"
    assert extract_answer("the number 4", ("boxed",)) is None


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        ("<think>\na\n</think>\n<answer>\nb\n</answer>\n", 1.0),
        ("<think>a</think>so<answer>b</answer>", 0.5),
        ("<think>a <answer>b</answer>", 0.5),
        ("<think>a</think><answer>b", 0.25),
        ("a</think><answer>b</answer>", 0.25),
        ("a", 0.0),
        ("", 0.0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0.5),
        ("<think>a<think>b</think><answer>c</answer>", 0.5),
    ],
)
def test_the_format_reward_of_the_paper(text, reward):
    assert think_answer_format(text) == reward


def group(*texts, answer: str | None = "25") -> Group:
    import torch

    prompt = Prompt(problem=Problem("p1", "7+18?", answer, {"level": 3}), tokens=torch.tensor([1]))
    empty = torch.zeros(1)
    return Group(
        prompt=prompt,
        completions=tuple(Completion(tokens=empty, log_probs=empty, text=t, truncated=False) for t in texts),
    )


def rewards(weights, *texts, limit=600.0):
    reward = build_reward(RewardConfig(weights=weights, limit=limit))
    return [c.reward for c in reward.score([group(*texts)])[0].completions]


def half_when_short(completions, answers):
    return [0.5 if len(c) < 5 else None for c in completions]


async def slow_one(completions, answers):
    return [1.0 for _ in completions]


def always_none(completions, answers):
    return [None for _ in completions]


def sometimes_nan(completions, answers):
    return [float("nan") if c == "bad one" else 1.0 for c in completions]


def raises(completions, answers):
    if "bad one" in completions:
        raise KeyError("lost")
    return [1.0 for _ in completions]


def too_few(completions, answers):
    return [1.0]


def sleeps(completions, answers):
    time.sleep(600 if "bad one" in completions else 0)
    return [1.0 for _ in completions]


async def waits(completions, answers):
    await asyncio.sleep(600 if "bad one" in completions else 0)
    return [1.0 for _ in completions]


def backtracks(completions, answers):
    return [float("bad" in c and bool(re.fullmatch(r"(\w+ ?)*!", c * 10))) for c in completions]


def goes_on_whatever_happens(completions, answers):
    while "bad one" in completions:
        try:
            time.sleep(600)
        except Exception:
            continue
    return [1.0 for _ in completions]


def makes_one_at_a_time(completions, answers):
    for completion in completions:
        time.sleep(600 if completion == "bad one" else 0)
        yield 1.0


def slow_together(completions, answers):
    time.sleep(600 if len(completions) > 1 else 0)
    return [1.0 for _ in completions]


HERE = "sapo_train_reward_functions"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def test_rewards_are_summed_with_their_weights_and_none_means_not_applicable():
    weights = {"equivalence": 2.0, f"{HERE}:half_when_short": 1.0, f"{HERE}:slow_one": 0.1}
    assert rewards(weights, "25", "the sum is 25", "26") == pytest.approx([2.6, 2.1, 0.6])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("always_none", "no reward applies to problem 'p1'"),
        ("sometimes_nan", "is nan for 'bad one'"),
        ("raises", "raised KeyError: 'lost' for completion 'bad one'"),
        ("too_few", "returned 1 values for 2 completions"),
    ],
)
def test_a_reward_that_fails_names_the_sample(name, says):
    with pytest.raises(RewardError) as error:
        rewards({f"{HERE}:{name}": 1.0}, "fine", "bad one")
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["sleeps", "waits", "backtracks", "goes_on_whatever_happens", "makes_one_at_a_time"])
def test_a_reward_that_never_returns_is_cut_off_and_names_function_and_sample(name):
    start, before = time.monotonic(), signal.getsignal(signal.SIGALRM)
    with pytest.raises(RewardError) as error:
        rewards({f"{HERE}:{name}": 1.0}, "fine", "bad one", limit=0.2)
    says = f"reward '{HERE}:{name}' took more than reward.limit=0.2 s for 2 completions for completion 'bad one' with"
    assert str(error.value).startswith(says)
    assert time.monotonic() - start < 10
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_reward_that_is_slow_on_the_whole_batch_alone_blames_no_sample():
    with pytest.raises(RewardError, match="for 2 completions, none of which takes 1 s alone"):
        rewards({f"{HERE}:slow_together": 1.0}, "fine", "bad one", limit=0.2)


def test_a_reward_that_no_interrupt_reaches_ends_the_process_in_one_line(tmp_path):
    flags = ['--reward.weights={"rewards:never_returns_and_takes_the_alarm": 1}', "--reward.limit=0.1"]
    code, output = Run(words(tmp_path / "run", *flags), tmp_path / "output").end()
    assert code == 1
    (line,) = (line for line in output.splitlines() if "has not returned" in line)
    says = "reward 'rewards:never_returns_and_takes_the_alarm' has not returned after 5.1 s, asked about 8 completions"
    assert line == f"RewardError: {says}"


def sees_the_question(questions, completions):
    return [float(text.startswith(asked)) for asked, text in zip(questions, completions, strict=True)]


def sees_all(*, rows, answers, questions, completions):
    each = zip(completions, questions, answers, rows, strict=True)
    return [row["level"] * (text == f"{question} {answer}") for text, question, answer, row in each]


def as_trl_has_it(completions, **columns):
    return [len(columns) if set(columns) == {"answers", "questions", "rows"} else None for _ in completions]


class Judge:
    async def __call__(self, completions, questions):
        return sees_the_question(questions, completions)


judge, of_one_word = Judge(), functools.partial(sees_the_question)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sees_the_question", 1), ("sees_all", 3), ("as_trl_has_it", 3), ("judge", 1), ("of_one_word", 1)],
)
def test_a_function_is_given_what_its_parameters_name(name, expected):
    right = rewards({f"{HERE}:{name}": 1.0}, "7+18? 25", "24")[0]
    assert right == expected


def test_of_the_rows_a_function_sees_that_of_its_sample_when_the_culprit_is_sought():
    with pytest.raises(RewardError, match=r"raised KeyError: 'grade' for completion 'fine' with answer '25'\."):
        rewards({f"{HERE}:misses_a_column": 1.0}, "fine", "too")


def test_the_functions_of_the_page_score_what_their_task_says():
    page = (Path(__file__).parents[2] / "docs" / "problems.md").read_text(encoding="utf-8")
    made: dict[str, Callable[..., list[float]]] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], made)
    (problem,) = read_problems(SourceConfig(source="reasoning-gym:chain_sum", options={"size": 1}), rows=True)[0]
    texts = [f"<answer>{problem.answer}</answer>", "no"]
    right, wrong = made["by_its_task"](completions=texts, rows=[problem.row] * 2)
    assert (right, wrong < 1) == (1, True)
    assert made["brevity"](completions=texts)[1] == 1 / 3


def misses_a_column(completions, rows):
    return [row["grade"] for row in rows]


def in_the_singular(completion, answers):
    return []


def as_verl_has_it(completions, answers, extra_info=None):
    return []


def by_place(completions, /, answers):
    return []


def any_number(*completions):
    return []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("in_the_singular", r"asks for 'completion'; .*Did you mean 'completions'\?$"),
        (
            "as_verl_has_it",
            r"'extra_info'; its parameters must be some of \['completions', 'answers', 'questions', 'rows'",
        ),
        ("by_place", "asks for 'completions' as a positional-only parameter"),
        ("any_number", "asks for 'completions' as a variadic positional parameter"),
        ("RewardConfig.limit", "cannot find reward"),
        ("smallest", "does not tell its parameters"),
    ],
)
def test_a_function_that_asks_for_what_there_is_not_is_refused_before_anything_is_loaded(name, says):
    with pytest.raises(ConfigError, match=says) as error:
        build_reward(RewardConfig(weights={f"{HERE}:{name}": 1.0}))
    assert "\n" not in str(error.value)


smallest = min  # a builtin without a signature


def test_equivalence_does_not_apply_to_a_problem_without_an_answer():
    reward = build_reward(RewardConfig(weights={"equivalence": 1.0, f"{HERE}:sees_the_question": 0.5}))
    (scored,) = reward.score([group("7+18? 25", "no", answer=None)])
    assert [c.parts for c in scored.completions] == [((f"{HERE}:sees_the_question", value),) for value in (1.0, 0.0)]
    with pytest.raises(RewardError, match="no reward applies to problem 'p1'"):
        build_reward(RewardConfig()).score([group("25", answer=None)])


def test_rewards_can_be_scaled_by_their_spread_over_the_batch():
    reward = build_reward(RewardConfig(weights={"equivalence": 2.0, f"{HERE}:half_when_short": 4.0}, scale=True))
    groups = reward.score([group("25", "26"), group("the sum is 25", "it is 24")])
    # equivalence: 1, 0, 1, 0 with standard deviation 1/2; the other: 1/2 twice, without spread, and twice nothing
    rewards = [c.reward for g in reward.scaled(groups) for c in g.completions]
    assert rewards == pytest.approx([2 * 2 + 2, 2, 2 * 2, 0])


def test_what_was_taken_off_a_reward_stays_off_when_it_is_scaled():
    reward = build_reward(RewardConfig(weights={"equivalence": 1.0}, scale=True))
    (scored,) = reward.score([group("25", "26")])
    (late, last) = scored.completions
    tokens = (replace(late, tokens=late.tokens.new_zeros(9)), replace(last, tokens=late.tokens.new_zeros(10)))
    punished = punish_overlong(replace(scored, completions=tokens), buffer=4, max_tokens=10)
    assert [c.reward for c in punished.completions] == [1 - 3 / 4, 0 - 1]
    assert [c.reward for c in reward.scaled([punished])[0].completions] == pytest.approx([2 - 3 / 4, 0 - 1])


def test_an_unknown_reward_is_refused():
    with pytest.raises(ConfigError, match=r"no reward 'equivalance'.* Did you mean 'equivalence'"):
        build(RewardConfig, {"weights": {"equivalance": 1}})
    with pytest.raises(ConfigError, match="cannot find reward"):
        build_reward(RewardConfig(weights={"nowhere.at.all:f": 1.0}))
