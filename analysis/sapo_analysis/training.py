"""A run over its batch steps: small panels, one metric each, one line a run."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sapo_analysis.runs import Run
from sapo_analysis.style import PALE, colour, dashes, house_style

PANEL = (3.0, 1.9)

SAYS = {
    "reward_mean": "reward, mean of the batch",
    "entropy": "entropy in nats a token",
    "effective_update_ratio": "EUR: mean weight $w$",
    "ratio_var": "variance of the ratio $r$",
    "log_ratio_var_per_sequence": r"$\mathrm{Var}_t(\log r)$ in a completion",
    "kl_old_new_k3": "KL(old, new) in nats a token",
    "grad_norm": "gradient norm",
    "completion_length_mean": "completion length in tokens",
}
"""The metrics drawn, in reading order, as `metrics.jsonl` names them."""


def metric_over_steps(runs: Sequence[Run], key: str, *, ax: Axes | None = None) -> Axes:
    """One metric of the last epoch's updates over batch steps."""
    with house_style():
        axes = plt.subplots(figsize=PANEL)[1] if ax is None else ax
        for index, run in enumerate(runs):
            steps, values = run.last_epoch(key) if run.metrics else ((), ())
            axes.plot(steps, values, color=colour(index), ls=dashes(index), label=run.name)
        if key == "effective_update_ratio":
            axes.axhline(1, color=PALE, lw=0.5, zorder=0)
        _finish(axes, SAYS.get(key, key))
    return axes


def accuracy_over_steps(runs: Sequence[Run], *, ax: Axes | None = None) -> Axes:
    """Held-out accuracy with the 95 % interval of each evaluation."""
    with house_style():
        axes = plt.subplots(figsize=PANEL)[1] if ax is None else ax
        for index, run in enumerate(runs):
            steps = [row["step"] for row in run.evaluations]
            shares = [row["accuracy"] for row in run.evaluations]
            # rounding may put an end of the interval a hair inside
            below = [max(0.0, row["accuracy"] - row["low"]) for row in run.evaluations]
            above = [max(0.0, row["high"] - row["accuracy"]) for row in run.evaluations]
            style = {"color": colour(index), "ls": dashes(index), "label": run.name}
            axes.errorbar(steps, shares, yerr=(below, above), marker="o", ms=3, capsize=2, **style)
        axes.set_ylim(0, 1)
        last = max((int(run.config.get("steps", 1)) for run in runs), default=1)
        axes.set_xlim(-0.03 * last, 1.03 * last)
        _finish(axes, "held-out accuracy, 95 %")
    return axes


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel("batch step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
