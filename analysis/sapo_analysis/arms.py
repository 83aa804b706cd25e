"""Runs that differ in their seed alone are one arm; arms are compared seed by seed and problem by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from sapo_analysis.evaluate import Array
from sapo_analysis.runs import Run

RESAMPLES = 10_000
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, two-sided 95 %, for 1 to 9 degrees of freedom; beyond, 2.262 is on the safe side."""


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
    """Final held-out accuracy of one arm minus that of another, over the problems and seeds that both have."""

    first: str
    second: str
    seeds: int
    problems: int
    mean: float
    over_problems: tuple[float, float]  # 95 %, bootstrap over problems, their answers averaged over seeds
    over_seeds: tuple[float, float] | None  # 95 %, Student's t over seeds; None: one seed says nothing of others
    verdict: Literal["higher", "lower", "cannot be told apart"]


def differences(arms: Sequence[Arm]) -> list[Difference]:
    """Every pair of arms that share seeds and problems.

    A difference is called one only if both intervals exclude 0: over problems it would hold for other problems, over
    seeds for other runs.
    """
    return [found for a, b in combinations(arms, 2) if (found := _difference(a, b)) is not None]


def _difference(a: Arm, b: Arm) -> Difference | None:
    pairs = []
    for seed, run in a.by_seed.items():
        other = b.by_seed.get(seed)
        if other is None or not run.evaluations or not other.evaluations:
            continue
        mine, theirs = run.last_answers(), other.last_answers()
        common = sorted(mine.keys() & theirs.keys())
        if common:
            pairs.append({problem: mine[problem] - theirs[problem] for problem in common})
    if not pairs:
        return None
    problems = sorted(set.intersection(*(set(pair) for pair in pairs)))
    if not problems:
        return None
    table = np.array([[pair[problem] for problem in problems] for pair in pairs])  # [seeds, problems]
    mean = float(table.mean())
    over_problems, over_seeds = _bootstrap(table.mean(0)), _student(table.mean(1))
    low, high = over_problems if over_seeds is None else (
        min(over_problems[0], over_seeds[0]),
        max(over_problems[1], over_seeds[1]),
    )  # fmt: skip
    told = over_seeds is not None and (low > 0 or high < 0)
    return Difference(
        first=a.name,
        second=b.name,
        seeds=len(pairs),
        problems=len(problems),
        mean=mean,
        over_problems=over_problems,
        over_seeds=over_seeds,
        verdict="cannot be told apart" if not told else "higher" if low > 0 else "lower",
    )


def _bootstrap(values: Array) -> tuple[float, float]:
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(-1), [0.025, 0.975])
    return float(low), float(high)


def _student(values: Array) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    half = T_95[min(len(values) - 2, len(T_95) - 1)] * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half
