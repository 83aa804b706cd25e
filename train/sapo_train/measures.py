"""What evaluations say, with 95 % intervals clustered by problem: accuracy, pass@k, majority@k, paired differences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from sapo_train.errors import DataError

if TYPE_CHECKING:
    from sapo_train.evaluate import Result

RESAMPLES = 10_000
TOGETHER = 1_000_000  # numbers that the bootstrap draws at one time


@dataclass(frozen=True)
class Measure:
    """A mean over problems and its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


def measures(results: Sequence[Result]) -> Iterator[Measure]:
    """Yield accuracy and, for several completions a problem, pass@k and majority@k for k = 2, 4, … and all."""
    mean, interval = accuracy(results)
    yield Measure("accuracy", mean, *interval)
    n = min(len(result.right) for result in results)
    for k in sorted({n, *(2**i for i in range(1, n.bit_length()) if 2**i < n)} - {1}):
        passes = [pass_at_k(len(result.right), sum(c == 0 for c in result.classes), k) for result in results]
        yield Measure(f"pass@{k}", float(np.mean(passes)), *bootstrap(passes))
        votes = [majority_at_k(result.classes, k) for result in results]
        yield Measure(f"majority@{k}", float(np.mean(votes)), *bootstrap(votes))


def accuracy(results: Sequence[Result]) -> tuple[float, tuple[float, float]]:
    """Mean accuracy and its 95 % interval: Wilson for one completion a problem, else bootstrap over problems."""
    shares = [result.accuracy for result in results]
    mean = float(np.mean(shares))
    if all(len(result.right) == 1 for result in results):
        return mean, wilson(round(sum(shares)), len(shares))
    return mean, bootstrap(shares)


def paired_difference(before: Sequence[Result], after: Sequence[Result]) -> tuple[float, tuple[float, float]]:
    """Mean of after − before over the same problems, and its 95 % interval by bootstrap over problems.

    Raises:
        DataError: the problems are not the same.
    """
    if [result.id for result in before] != [result.id for result in after]:
        raise DataError("evaluations on different problems cannot be paired; use the same problems and limit for both.")
    differences = [b.accuracy - a.accuracy for a, b in zip(before, after, strict=True)]
    return float(np.mean(differences)), bootstrap(differences, least=-1.0)


def pass_at_k(n: int, right: int, k: int) -> float:
    """Probability that one of k completions, drawn without replacement from n, is right: 1 − C(n−right, k)/C(n, k).

    Source: arXiv:2107.03374, eq. 1.
    """
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def majority_at_k(classes: Sequence[int], k: int) -> float:
    """Expected credit of the commonest among k answers, drawn without replacement from n; t that tie have 1/t each.

    Args:
        classes: [n], 0 for a right answer; equal wrong answers share a positive number; -1 for no answer, which has no
            vote.
        k: 1 <= k <= n.
    """
    counts = Counter(classes)
    right, silent = counts.pop(0, 0), counts.pop(-1, 0)
    credit = Fraction(0)
    for votes in range(1, min(right, k) + 1):
        # How many choices of the other answers have this size, and this many wrong classes with equally many votes.
        ways = Counter({(x, 0): math.comb(silent, x) for x in range(min(silent, k - votes) + 1)})
        for count in counts.values():
            longer: Counter[tuple[int, int]] = Counter()
            for (size, ties), number in ways.items():
                for x in range(min(count, votes, k - votes - size) + 1):
                    longer[size + x, ties + (x == votes)] += number * math.comb(count, x)
            ways = longer
        won = sum(Fraction(number, 1 + ties) for (size, ties), number in ways.items() if size == k - votes)
        credit += math.comb(right, votes) * won
    return float(credit / math.comb(len(classes), k))


def wilson(right: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % by default."""
    p, n = right / total, total
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return (max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n)))


def bootstrap(values: Sequence[float], least: float = 0.0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Percentile interval (95 %) of the mean, under resampling of values that lie between `least` and 1.

    Values that are all the same would make it a point, and two problems as sure as a thousand. The share of problems
    that are otherwise may then still be as large as Wilson's interval of none has it, and those be anywhere.
    """
    if min(values) == max(values):
        value, unseen = values[0], wilson(0, len(values))[1]
        return value - unseen * (value - least), value + unseen * (1 - value)
    sample, random = np.asarray(values, dtype=float), np.random.default_rng(0)
    rows = max(1, TOGETHER // len(sample))
    means = [
        sample[random.integers(len(sample), size=(min(rows, resamples - start), len(sample)))].mean(-1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
