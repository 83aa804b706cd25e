"""Runs over their batch steps: small panels, one metric each, one line an arm."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sapo_analysis.arms import Arm
from sapo_analysis.runs import Run
from sapo_analysis.style import PALE, colour, dashes, house_style

PANEL = (3.0, 1.9)
SPEED = "tokens_per_second"

SAYS = {
    "reward_mean": "reward, mean of the batch",
    "entropy": "entropy in nats a token",
    "effective_update_ratio": "EUR: mean weight $w$",
    "ratio_var": "variance of the ratio $r$",
    "log_ratio_var_per_sequence": r"$\mathrm{Var}_t(\log r)$ in a completion",
    "kl_old_new_k3": "KL(old, new) in nats a token",
    "grad_norm": "gradient norm",
    "completion_length_mean": "completion length in tokens",
    SPEED: "sampled tokens a second",
}
"""The metrics drawn, in reading order, as `metrics.jsonl` (the speed: `timings.jsonl`) names them."""


def metric_over_steps(arms: Sequence[Arm], key: str, *, ax: Axes | None = None) -> Axes:
    """One metric of the last epoch's updates over batch steps: the mean of an arm's seeds, the band their range."""
    with house_style():
        axes = plt.subplots(figsize=PANEL)[1] if ax is None else ax
        for index, arm in enumerate(arms):
            _mean_and_range(axes, [series(run, key) for run in arm.runs], index, arm.name)
        if key == "effective_update_ratio":
            axes.axhline(1, color=PALE, lw=0.5, zorder=0)
        _finish(axes, SAYS.get(key, key))
    return axes


def series(run: Run, key: str) -> dict[float, float]:
    """A metric by batch step."""
    if key == SPEED:
        return {row["step"]: row[key] for row in run.timings if row.get(key) is not None}
    return dict(zip(*run.last_epoch(key), strict=True)) if run.metrics else {}


def _mean_and_range(axes: Axes, by_seed: Sequence[dict[float, float]], index: int, name: str) -> None:
    steps = sorted(set.intersection(*(set(one) for one in by_seed)))  # where every seed has come to
    values = np.array([[one[step] for step in steps] for one in by_seed])
    axes.plot(steps, values.mean(0), color=colour(index), ls=dashes(index), label=name)
    if len(by_seed) > 1:
        axes.fill_between(steps, values.min(0), values.max(0), color=colour(index), alpha=0.2, lw=0)


def accuracy_over_steps(arms: Sequence[Arm], *, ax: Axes | None = None) -> Axes:
    """Held-out accuracy: of one run with the 95 % interval of each evaluation, of several seeds mean and range."""
    with house_style():
        axes = plt.subplots(figsize=PANEL)[1] if ax is None else ax
        for index, arm in enumerate(arms):
            run, *others = arm.runs
            if others:
                by_seed = [{row["step"]: row["accuracy"] for row in run.evaluations} for run in arm.runs]
                _mean_and_range(axes, by_seed, index, arm.name)
                continue
            steps = [row["step"] for row in run.evaluations]
            shares = [row["accuracy"] for row in run.evaluations]
            # rounding may put an end of the interval a hair inside
            below = [max(0.0, row["accuracy"] - row["low"]) for row in run.evaluations]
            above = [max(0.0, row["high"] - row["accuracy"]) for row in run.evaluations]
            style = {"color": colour(index), "ls": dashes(index), "label": arm.name}
            axes.errorbar(steps, shares, yerr=(below, above), marker="o", ms=3, capsize=2, **style)
        axes.set_ylim(0, 1)
        last = max((int(run.config.get("steps", 1)) for arm in arms for run in arm.runs), default=1)
        axes.set_xlim(-0.03 * last, 1.03 * last)
        _finish(axes, "held-out accuracy" if any(len(arm.runs) > 1 for arm in arms) else "held-out accuracy, 95 %")
    return axes


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel("batch step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
