"""Arms side by side: how far their metrics differ, seed by seed, and what keeps a difference from being the gate's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sapo_analysis.arms import LEVEL, Arm, Verdict, flat, student, verdict_of
from sapo_analysis.curves import unequal_widths
from sapo_analysis.training import SAYS, series
from sapo_gates import Gate

LAST = 0.5  # the share of the batch steps, from the end, over which a metric is averaged


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """A metric of one arm minus that of another: of each seed the mean over the last half of the common batch steps."""

    first: str
    second: str
    key: str
    seeds: int
    means: tuple[float, float]
    difference: float
    interval: tuple[float, float] | None  # Student's t over seeds; None: they say nothing of others
    verdict: Verdict


def metric_differences(arms: Sequence[Arm]) -> list[MetricDifference]:
    """Every metric that is drawn, for every pair of arms that share seeds and batch steps.

    With m differences the intervals are of 1 - 0.05/m each, so that all of them hold at once with 95 %.
    """
    shared = [(a, b, key, rows) for a, b in combinations(arms, 2) for key in SAYS if (rows := _paired(a, b, key))]
    found = []
    for a, b, key, rows in shared:
        table = np.array(rows)  # [seeds, 2]
        interval = student(table[:, 0] - table[:, 1], LEVEL / len(shared))
        first, second = table.mean(0).tolist()
        found.append(
            MetricDifference(
                first=a.name,
                second=b.name,
                key=key,
                seeds=len(table),
                means=(first, second),
                difference=first - second,
                interval=interval,
                verdict=verdict_of(interval),
            )
        )
    return found


def _paired(a: Arm, b: Arm, key: str) -> list[tuple[float, float]]:
    """Of each common seed the two means."""
    rows = []
    for seed, run in a.by_seed.items():
        if seed not in b.by_seed:
            continue
        mine, theirs = series(run, key), series(b.by_seed[seed], key)
        steps = sorted(mine.keys() & theirs.keys())
        if last := steps[int(LAST * len(steps)) :]:
            rows.append((float(np.mean([mine[s] for s in last])), float(np.mean([theirs[s] for s in last]))))
    return rows


def cautions(arms: Sequence[Arm], gates: Mapping[str, Gate]) -> list[str]:
    """What keeps a difference between arms from being their gates'; gates by the names of the arms, as trained."""
    if len(arms) < 2:
        return []
    found = []
    if inert := [arm.name for arm in arms if any((run.summary or {}).get("inert_gate") for run in arm.runs)]:
        found.append(f"In {', '.join(inert)} no gate ever acts: one update a batch, and every ratio is 1.")
    if other := [key for key in _differing(arms) if not key.startswith("objective.")]:
        found.append(f"The arms differ in more than the objective: {', '.join(other)}.")
    if widths := unequal_widths(list(gates.values())):
        found.append(
            f"The gates' half-widths right of r = 1 are unequal ({widths}): a difference may be the width's and not "
            "the family's. `sapo-gates calibrate` gives the temperatures at which they are equal."
        )
    if few := [arm.name for arm in arms if len(arm.by_seed) < 2]:
        found.append(f"One seed each: {', '.join(few)}. The difference to another seed is not known.")
    return found


def _differing(arms: Sequence[Arm]) -> list[str]:
    """The settings in which arms differ, names, seeds and folders apart."""
    settings = [flat(arm.runs[0].config) for arm in arms]
    keys = dict.fromkeys(key for one in settings for key in one if key not in ("name", "seed"))
    return [key for key in keys if len({str(one.get(key)) for one in settings}) > 1]
