"""Figures of an evaluation against numbers worked out by hand or by counting every choice."""

from itertools import combinations

import pytest

from sapo_train.errors import DataError
from sapo_train.evaluate import Result
from sapo_train.measures import accuracy, bootstrap, majority_at_k, measures, paired_difference, pass_at_k, wilson


def result(id, *classes):
    right = tuple(float(c == 0) for c in classes)
    texts = ("",) * len(classes)
    return Result(id=str(id), question="", answer="", completions=texts, right=right, classes=classes, truncated=0)


def test_wilson_is_the_interval_in_the_textbook():
    low, high = wilson(10, 20)
    assert (low, high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(10, 10)[1] == pytest.approx(1)


def test_the_bootstrap_interval_has_the_width_of_the_normal_one_for_many_values():
    values = [k % 2 for k in range(400)]
    low, high = bootstrap(values)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=3e-3)


def test_the_interval_of_several_completions_is_over_problems_and_not_over_completions():
    # Four completions that always agree say no more than one.
    one = [result(k, k % 2) for k in range(400)]
    four = [result(k, *(4 * [k % 2])) for k in range(400)]
    widths = [high - low for _, (low, high) in (accuracy(one), accuracy(four))]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)


def test_pairing_problems_narrows_the_interval():
    before = [result(k, int(k % 2 == 0)) for k in range(200)]
    after = [result(k, int(not (k % 2 or k % 10 == 0))) for k in range(200)]
    difference, (low, high) = paired_difference(before, after)
    assert difference == pytest.approx(0.1)
    unpaired = [accuracy(r)[1][1] - accuracy(r)[1][0] for r in (before, after)]
    assert 0 < high - low < min(unpaired)
    assert low < 0.1 < high


def test_evaluations_on_different_problems_are_not_paired():
    with pytest.raises(DataError, match="cannot be paired"):
        paired_difference([result(1, 0)], [result(2, 0)])


def test_pass_at_k_by_hand():
    assert pass_at_k(4, 1, 1) == pytest.approx(1 / 4)
    assert pass_at_k(4, 1, 2) == pytest.approx(1 / 2)
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)
    assert pass_at_k(4, 0, 4) == 0
    assert pass_at_k(4, 1, 4) == 1


@pytest.mark.parametrize(
    ("classes", "k", "credit"),
    [
        ((0, 0, 1), 3, 1),
        ((0, 1, 1), 3, 0),
        ((0, 1), 2, 1 / 2),
        ((0, 1, 2, 3), 4, 1 / 4),
        ((0, -1, -1), 3, 1),  # no answer has no vote
        ((-1, -1), 2, 0),
        ((0, 0, 1, 1), 4, 1 / 2),
        ((0, 1, 1), 1, 1 / 3),
        ((0, 1, 1), 2, 1 / 3),  # two of three choices hold the right answer, tied with a wrong one
    ],
)
def test_majority_at_k_by_hand(classes, k, credit):
    assert majority_at_k(classes, k) == pytest.approx(credit)


@pytest.mark.parametrize(
    "classes", [(0, 0, 1, 1, 2, -1), (0, 1, 1, 1, 2, 2, 0), (0, -1, -1, 1, 0), (3, 3, 1, 0, 0, 0, 1)]
)
def test_majority_and_pass_at_k_are_the_means_over_every_choice(classes):
    for k in range(1, len(classes) + 1):
        choices = list(combinations(classes, k))
        assert majority_at_k(classes, k) == pytest.approx(sum(map(vote, choices)) / len(choices))
        assert pass_at_k(len(classes), classes.count(0), k) == pytest.approx(
            sum(0 in c for c in choices) / len(choices)
        )


def vote(choice) -> float:
    counts = {c: choice.count(c) for c in set(choice) - {-1}}
    winners = [c for c, count in counts.items() if count == max(counts.values())]
    return (0 in winners) / len(winners) if winners else 0.0


def test_problems_that_all_agree_make_no_interval_a_point():
    every, none = [result(k, 0, 0) for k in range(5)], [result(k, 1, 1) for k in range(5)]
    assert accuracy(every)[1] == pytest.approx(wilson(5, 5))
    assert accuracy(none)[1] == pytest.approx(wilson(0, 5))
    for before, after, mean in ((every, every, 0), (none, every, 1), (every, none, -1)):
        value, (low, high) = paired_difference(before, after)
        assert value == mean
        assert (low, high) == pytest.approx((mean - 0.4345 * (mean + 1), mean + 0.4345 * (1 - mean)), abs=1e-4)


def test_a_report_has_every_k_that_doubles_and_all():
    results = [result(k, *([0] * (k % 7) + [1] * (6 - k % 7))) for k in range(20)]
    found = {m.name: m for m in measures(results)}
    assert list(found) == ["accuracy", *(f"{name}@{k}" for k in (2, 4, 6) for name in ("pass", "majority"))]
    assert all(m.low <= m.value <= m.high for m in found.values())
    assert [m.name for m in measures([result(0, 0), result(1, 1)])] == ["accuracy"]
