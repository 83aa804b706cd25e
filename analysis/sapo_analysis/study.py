"""The dynamics of gates side by side: the same seeds under each gate and staleness, and what can be said of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from sapo_analysis.dynamics import PROBLEMS, Schedule, Trajectory, simulate
from sapo_analysis.evaluate import Array
from sapo_analysis.style import COLUMN, PAGE, colour, dashes, house_style
from sapo_gates import Gate, certify
from sapo_gates.gate import Number
from sapo_gates.torch import surrogate

BASELINE = "hard-clip"
STALENESS = (1, 4, 16)
"""Updates made from one batch; with one, every ratio is 1 and gates differ in nothing."""

OVER_STEPS = {
    "reward": "expected reward",
    "entropy": "entropy in nats a token",
    "effective_update_ratio": "EUR: mean weight $w$",
    "ratio_var": "variance of the ratio $r$",
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A gate with its temperature bound; tau None: it has none."""

    gate: Gate
    tau: float | None

    @property
    def name(self) -> str:
        """As legends and tables call it."""
        return self.gate.name if self.tau is None else f"{self.gate.name}, τ = {self.tau:g}"


def conditions(gates: Sequence[Gate], taus: Sequence[Number]) -> list[Condition]:
    """Every gate at every temperature; a gate without tau once.

    Raises:
        ParameterValueError: a temperature outside a gate's domain.
    """
    found = []
    for gate in gates:
        has_tau = any(parameter.name == "tau" for parameter in gate.parameters)
        bound = [Condition(gate=gate.bind(tau=tau), tau=float(tau)) for tau in taus] if has_tau else []
        found += bound or [Condition(gate=gate, tau=None)]
    return found


def run_study(these: Sequence[Condition], schedule: Schedule) -> Iterator[tuple[Condition, Trajectory]]:
    """A trajectory for each condition, problem and staleness; all see the same random numbers.

    Refuted gates take part: this is a study, no model is trained.
    """
    for condition in these:
        gate = surrogate(certify(condition.gate), allow_uncertified=True)
        for problem in PROBLEMS:
            for updates in STALENESS:
                yield condition, simulate(gate, condition.name, problem, replace(schedule, updates=updates))


@dataclass(frozen=True)
class Finding:
    """A statement about the trajectories, and what they say of it."""

    problem: str
    says: str
    verdict: Literal["holds", "does not hold", "cannot be told"]
    difference: float
    interval: tuple[float, float]  # 95 %, over seeds


def findings(done: Sequence[tuple[Condition, Trajectory]]) -> list[Finding]:
    """What arXiv:2602.19345 reports of language models, asked of these problems at the largest staleness.

    Each is a difference between two conditions with the same seeds; one that the conditions cannot answer is left out.
    """
    found = []
    for problem in dict.fromkeys(trajectory.problem for _, trajectory in done):
        mine = [(condition, trajectory) for condition, trajectory in done if trajectory.problem == problem]
        most, least = max(t.updates for _, t in mine), min(t.updates for _, t in mine)
        stale = {c.name: t for c, t in mine if t.updates == most}
        fresh = {c.name: t for c, t in mine if t.updates == least}
        at = {c.name: c for c, _ in mine}
        if len(stale) > 1:
            by_eur = sorted(stale, key=lambda name: stale[name].effective_update_ratio.mean())
            low, high = stale[by_eur[0]], stale[by_eur[-1]]
            found.append(
                paired(
                    problem,
                    f"entropy, mean over the run, is higher at the lowest EUR ({low.gate}: "
                    f"{low.effective_update_ratio.mean():.3f}) than at the highest ({high.gate}: "
                    f"{high.effective_update_ratio.mean():.3f})",
                    low.entropy.mean(0) - high.entropy.mean(0),
                )
            )
        for wide, narrow in _extremes(at):
            if most > least:
                lost = {name: fresh[name].reward[-1] - stale[name].reward[-1] for name in (wide, narrow)}
                found.append(
                    paired(
                        problem,
                        f"{most} updates a batch instead of {least} cost {wide} more final reward "
                        f"({lost[wide].mean():+.4f}) than {narrow} ({lost[narrow].mean():+.4f})",
                        lost[wide] - lost[narrow],
                    )
                )
            if BASELINE in stale:
                far = {name: np.abs(stale[name].reward - stale[BASELINE].reward).mean(0) for name in (wide, narrow)}
                found.append(
                    paired(
                        problem,
                        f"the reward of {narrow} runs closer to hard clipping's than that of {wide}",
                        far[wide] - far[narrow],
                    )
                )
    return found


def _extremes(at: dict[str, Condition]) -> Iterator[tuple[str, str]]:
    """For each gate with several temperatures: the condition with the smallest, and that with the largest."""
    for gate in dict.fromkeys(condition.gate.name for condition in at.values()):
        mine = sorted((c.tau, name) for name, c in at.items() if c.gate.name == gate and c.tau is not None)
        if len(mine) > 1:
            yield mine[0][1], mine[-1][1]


def paired(problem: str, says: str, difference: Array) -> Finding:
    """Whether a difference [seeds] is above 0: its mean with a normal interval over seeds, 95 %."""
    mean, half = float(difference.mean()), 1.96 * float(difference.std(ddof=1)) / len(difference) ** 0.5
    low, high = mean - half, mean + half
    return Finding(
        problem, says, "holds" if low > 0 else "does not hold" if high < 0 else "cannot be told", mean, (low, high)
    )


def say(done: Sequence[tuple[Condition, Trajectory]], found: Sequence[Finding]) -> Iterator[str]:
    """A table of the trajectories, and the findings, as lines."""
    width = max(len(condition.name) for condition, _ in done)
    yield f"{'problem':<8} {'gate':<{width}} updates       final reward  entropy    EUR   Var(r)"
    for condition, t in done:
        final = t.reward[-1]
        half = 1.96 * final.std(ddof=1) / len(final) ** 0.5
        yield (
            f"{t.problem:<8} {condition.name:<{width}} {t.updates:>7} {final.mean():>10.4f} ±{half:.4f} "
            f"{t.entropy.mean():>8.3f} {t.effective_update_ratio.mean():>6.3f} {t.ratio_var.mean():>8.3g}"
        )
    yield f"means over the run and {done[0][1].reward.shape[1]} seeds; ± is the 95 % interval of the final reward"
    for f in found:
        yield f"{f.verdict}: {f.problem}: {f.says}: {f.difference:+.4f} [{f.interval[0]:+.4f}, {f.interval[1]:+.4f}]"


def dynamics_figure(done: Sequence[tuple[Condition, Trajectory]]) -> list[Axes]:
    """A column for each problem: over steps at the largest staleness reward, entropy, EUR and ratio variance; below,
    what staleness does to the final reward, seed by seed.

    Bands are 95 % intervals of the mean over seeds.
    """
    problems = list(dict.fromkeys(trajectory.problem for _, trajectory in done))
    names = list(dict.fromkeys(trajectory.gate for _, trajectory in done))
    rows = len(OVER_STEPS) + 1
    with house_style():
        grid: Any
        size = (PAGE if len(problems) > 1 else COLUMN, 0.7 + 1.45 * rows)
        figure, grid = plt.subplots(rows, len(problems), figsize=size, squeeze=False)
        for column, problem in enumerate(problems):
            mine = [trajectory for _, trajectory in done if trajectory.problem == problem]
            most = max(t.updates for t in mine)
            for row, (quantity, says) in enumerate(OVER_STEPS.items()):
                _over_steps(grid[row, column], [t for t in mine if t.updates == most], names, quantity)
                grid[row, column].set_title(f"{problem}: {says}", loc="left")
                if row + 2 < rows:
                    grid[row, column].set_xlabel("")
                if quantity == "ratio_var":  # whose interval, of a mean over heavy tails, may reach below 0
                    grid[row, column].set_ylim(bottom=0)
            _over_staleness(grid[-1, column], mine, names)
            grid[-1, column].set_title(f"{problem}: change of the final reward by staleness", loc="left")
        lines = grid[0, 0].get_lines()
        figure.legend(lines, names, loc="outside upper center", ncols=min(4, len(names)))
    return list(grid.flat)


def _over_steps(axes: Axes, trajectories: Sequence[Trajectory], names: Sequence[str], quantity: str) -> None:
    axes.set_label(f"{trajectories[0].problem}, {quantity} over steps")
    for t in trajectories:
        index, values = names.index(t.gate), getattr(t, quantity)
        steps = np.arange(1, len(values) + 1)
        _line_and_band(axes, steps, values, index, t.gate)
    axes.set_xlabel(f"batch step, {trajectories[0].updates} updates each")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _over_staleness(axes: Axes, trajectories: Sequence[Trajectory], names: Sequence[str]) -> None:
    axes.set_label(f"{trajectories[0].problem}, change of the final reward over updates a batch")
    for index, name in enumerate(names):
        mine = sorted((t for t in trajectories if t.gate == name), key=lambda t: t.updates)
        change = np.array([t.reward[-1] - mine[0].reward[-1] for t in mine])  # of the same seed at the least staleness
        _line_and_band(axes, np.array([t.updates for t in mine]), change, index, name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("updates a batch")
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _line_and_band(axes: Axes, where: NDArray[Any], values: Array, index: int, name: str) -> None:
    """The mean over seeds [points, seeds] and its interval."""
    mean, half = values.mean(1), 1.96 * values.std(1, ddof=1) / values.shape[1] ** 0.5
    axes.plot(where, mean, color=colour(index), ls=dashes(index), label=name)
    axes.fill_between(where, mean - half, mean + half, color=colour(index), alpha=0.2, lw=0)
