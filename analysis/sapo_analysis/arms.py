"""Runs that differ in their seed alone are one arm; arms are compared seed by seed and problem by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal

import mpmath
import numpy as np

from sapo_analysis.evaluate import Array
from sapo_analysis.runs import Run

RESAMPLES = 10_000
LEVEL = 0.05
"""The chance that any of the differences of a page is called one where there is none."""

Verdict = Literal["higher", "lower", "cannot be told apart"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs with the same settings and different seeds."""

    name: str
    runs: tuple[Run, ...]

    @property
    def by_seed(self) -> dict[Any, Run]:
        """Its runs by their seeds; of two with one seed the later."""
        return {run.config.get("seed"): run for run in self.runs}


def arms_of(runs: Sequence[Run]) -> list[Arm]:
    """Group runs by their settings, seed and name apart; arms are called by the settings in which they differ."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        settings = {key: str(value) for key, value in flat(run.config).items() if key not in ("seed", "name")}
        groups.setdefault(tuple(sorted(settings.items())), []).append(run)
    if len(groups) == len(runs):
        return [Arm(name=run.name, runs=(run,)) for run in runs]
    keys = sorted({key for settings in groups for key, _ in settings})
    differing = [key for key in keys if len({dict(settings).get(key) for settings in groups}) > 1]
    return [
        Arm(
            name=", ".join(f"{key.rpartition('.')[2]} {dict(settings).get(key, '—')}" for key in differing)
            or mine[0].name,
            runs=tuple(mine),
        )
        for settings, mine in groups.items()
    ]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names, which are also the trainer's flags."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Held-out accuracy of one arm minus that of another, at the last step, seeds and problems that both have."""

    first: str
    second: str
    step: int
    seeds: int
    problems: int
    mean: float
    over_problems: tuple[float, float]  # bootstrap over problems, their answers averaged over seeds
    over_seeds: tuple[float, float] | None  # Student's t over seeds; None: they say nothing of others
    verdict: Verdict


def differences(arms: Sequence[Arm]) -> list[Difference]:
    """Every pair of arms that share seeds, a step of evaluation and problems.

    A difference is called one only if both intervals exclude 0: over problems it would hold for other problems, over
    seeds for other runs. With m pairs the intervals are of 1 - 0.05/m each, so that all hold at once with 95 %.
    """
    pairs = list(combinations(arms, 2))
    return [found for a, b in pairs if (found := _difference(a, b, LEVEL / len(pairs))) is not None]


def _difference(a: Arm, b: Arm, level: float) -> Difference | None:
    pairs = [(run, b.by_seed[seed]) for seed, run in a.by_seed.items() if seed in b.by_seed]
    steps = [{row["step"] for row in run.evaluations} for pair in pairs for run in pair]
    common = set.intersection(*steps) if steps else set()
    if not common:
        return None
    step = max(common)
    answers = [(run.answers(step), other.answers(step)) for run, other in pairs]
    problems = sorted(set.intersection(*(set(one) for pair in answers for one in pair)))
    if not problems:
        return None
    # [seeds, problems]
    table = np.array([[mine[problem] - theirs[problem] for problem in problems] for mine, theirs in answers])
    over_problems, over_seeds = _bootstrap(table.mean(0), level), student(table.mean(1), level)
    return Difference(
        first=a.name,
        second=b.name,
        step=step,
        seeds=len(pairs),
        problems=len(problems),
        mean=float(table.mean()),
        over_problems=over_problems,
        over_seeds=over_seeds,
        verdict=verdict_of(over_problems, over_seeds),
    )


def verdict_of(*intervals: tuple[float, float] | None) -> Verdict:
    """What intervals for a difference say, if all of them are known."""
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(intervals):
        return "cannot be told apart"
    if all(low > 0 for low, _ in known):
        return "higher"
    return "lower" if all(high < 0 for _, high in known) else "cannot be told apart"


def _bootstrap(values: Array, level: float) -> tuple[float, float]:
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(-1), [level / 2, 1 - level / 2])
    return float(low), float(high)


def student(values: Array, level: float) -> tuple[float, float] | None:
    """The interval of 1 - level for the mean of which these are independent estimates.

    None for less than two, and for several that are equal and not 0: their spread says nothing of the next one.
    """
    if len(values) < 2 or (np.ptp(values) == 0 and values[0] != 0):
        return None
    half = student_quantile(len(values) - 1, level) * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


@cache
def student_quantile(freedom: int, level: float) -> float:
    """The t that |T| exceeds with chance `level`, T of Student's distribution with so many degrees of freedom."""

    def excess(t: Any) -> Any:
        return mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True) - level

    # of all degrees 1 (Cauchy's) has the fattest tails, and there |T| > 1/level has a chance below level
    return float(mpmath.findroot(excess, (0, 1 / level), solver="bisect"))
