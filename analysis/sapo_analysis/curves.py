"""Curves of gates: value f, gradient weight w, score weight phi = r w; over r or log r; hard clipping behind them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import sympy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sapo_analysis.errors import FigureError
from sapo_analysis.evaluate import Array, evaluate, half_widths
from sapo_analysis.style import COLUMN, PAGE, PALE, colour, dashes, house_style
from sapo_gates import Gate
from sapo_gates.calibrate import Calibration, calibrate
from sapo_gates.gate import Kind, Number
from sapo_gates.verdict import SIGNS, Sign

Axis = Literal["ratio", "log-ratio"]
Signs = Sign | Literal["both"]

SAYS: dict[Kind, str] = {
    "value": r"value  $f(r)$",
    "weight": r"gradient weight  $w = \mathrm{d}f/\mathrm{d}r$",
    "score": r"score weight  $\varphi = r\,w$",
}
X_SAYS: dict[Axis, str] = {
    "ratio": r"ratio  $r = \pi_\theta / \pi_{\mathrm{old}}$",
    "log-ratio": r"log-ratio  $\log r$",
}
BRANCH: dict[Signs, str] = {"positive": "$A > 0$", "negative": r"$A \leq 0$", "both": "both signs of $A$"}
POINTS = 601
LEAST = 1e-6  # the smallest ratio drawn
UNREACHED = -0.04  # how much of r <= 0 is shown, as a share of the largest ratio


def at_equal_temperature(gates: Sequence[Gate], tau: Number) -> list[Gate]:
    """The gates with tau bound for both signs; those without a tau stay as they are.

    Raises:
        FigureError: none of them has a tau.
    """
    if not any(_has_tau(gate) for gate in gates):
        raise FigureError(f"tau={tau}: none of {[g.name for g in gates]} has a parameter 'tau'; name a gate that has.")
    return [gate.bind(tau=tau) if _has_tau(gate) else gate for gate in gates]


def at_equal_half_width(gates: Sequence[Gate], half_width: Number) -> list[Gate]:
    """The gates with tau such that w(1 + half_width) = 1/2 for both signs, the tau in their names.

    Gates without a tau stay as they are. The fair comparison: at equal tau the paper's families have unequal widths.

    Raises:
        FigureError: none of them has a tau.
        CalibrationError: a gate reaches that half-width at no tau.
    """
    return _at_equal(gates, f"half-width {half_width}", lambda gate, sign: calibrate(gate, sign, half_width=half_width))


def at_equal_sup_score(gates: Sequence[Gate], sup_score: Number) -> list[Gate]:
    """The gates with tau such that sup phi = sup_score for both signs, the tau in their names.

    Raises:
        FigureError: none of them has a tau.
        CalibrationError: a gate reaches that supremum at no tau.
    """
    return _at_equal(gates, f"sup score {sup_score}", lambda gate, sign: calibrate(gate, sign, sup_score=sup_score))


def _at_equal(gates: Sequence[Gate], says: str, solve: Callable[[Gate, Sign], Calibration]) -> list[Gate]:
    if not any(_has_tau(gate) for gate in gates):
        raise FigureError(f"{says}: none of {[g.name for g in gates]} has a parameter 'tau'; name a gate that has.")
    return [_calibrated(gate, solve) if _has_tau(gate) else gate for gate in gates]


def _calibrated(gate: Gate, solve: Callable[[Gate, Sign], Calibration]) -> Gate:
    found = [solve(gate, sign) for sign in SIGNS]
    positive, negative = ((one.lower + one.upper) / 2 for one in found)
    says = " / ".join(dict.fromkeys(f"{float(tau):.4g}" for tau in (positive, negative)))
    bound = gate.bind(positive={"tau": positive}, negative={"tau": negative})
    return replace(bound, name=f"{gate.name}, τ = {says}")


def _has_tau(gate: Gate) -> bool:
    return any(parameter.name == "tau" for parameter in gate.parameters)


def label(gate: Gate) -> str:
    """The gate's name and the values its free parameters are drawn at; two, for A > 0 / A <= 0, where they differ."""
    values = []
    for p in gate.parameters:
        numbers = dict.fromkeys(f"{float(p.value_for(s)):.4g}" for s in SIGNS if p in gate.parameters_for(s))
        values.append(f"{sympy.pretty(p)} = {' / '.join(numbers)}")
    return ", ".join([gate.name, *values])


def same_for_both_signs(gate: Gate) -> bool:
    """Whether the two branches are one formula with equal trained values."""
    positive, negative = (
        gate.declared(sign).xreplace({p: p.value_for(sign) for p in gate.parameters}) for sign in SIGNS
    )
    return positive == negative


def gate_curves(
    gates: Sequence[Gate],
    quantity: Kind = "weight",
    axis: Axis = "ratio",
    sign: Signs = "positive",
    *,
    baseline: Gate | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One panel: a quantity of each gate over r or log r.

    Half-widths, where w has fallen to 1/2, are marked with dots, the largest score weight with a triangle; hatched is
    r <= 0, which no ratio reaches. `baseline` is drawn as a grey shape behind the rest, both its branches where sign is
    "both" (which is for gates that do not distinguish the signs).
    """
    with house_style():
        axes = plt.subplots(figsize=(COLUMN, 0.72 * COLUMN))[1] if ax is None else ax
        drawn: Sign = "positive" if sign == "both" else sign
        widths = [half_widths(gate, drawn) for gate in gates]
        ratio = _ratios(gates, axis)
        where = ratio if axis == "ratio" else np.log(ratio)
        axes.set_label(f"{quantity} over {axis}, {sign}")
        axes.axvline(1 if axis == "ratio" else 0, color=PALE, lw=0.5, zorder=0)
        curves = [evaluate(gate, drawn, quantity, ratio) for gate in gates]
        if baseline is not None:
            for branch in SIGNS if sign == "both" else (drawn,):
                numbers = evaluate(baseline, branch, quantity, ratio)
                says = label(baseline) + (f"  ({BRANCH[branch]})" if sign == "both" else "")
                _behind(axes, where, numbers, quantity, says, second=branch != drawn)
        for index, (gate, numbers, halves) in enumerate(zip(gates, curves, widths, strict=True)):
            axes.plot(where, numbers, color=colour(index), ls=dashes(index), label=label(gate), zorder=3)
            ends = np.array([1 + side * h for side, h in zip((-1, 1), halves, strict=True) if h is not None])
            ends = ends[(ends >= ratio[0]) & (ends <= ratio[-1])]
            at = ends if axis == "ratio" else np.log(ends)
            axes.plot(
                at, evaluate(gate, drawn, quantity, ends), "o", color=colour(index), ms=2.6, label="_half", zorder=4
            )
            if quantity == "score" and 0 < (top := int(numbers.argmax())) < len(numbers) - 1:
                axes.plot(where[top], numbers[top], "^", color=colour(index), ms=3.2, label="_sup", zorder=4)
        _limits(axes, quantity, curves)
        if axis == "ratio" and where[0] == LEAST:
            axes.axvspan(UNREACHED * where[-1], 0, facecolor="none", edgecolor=PALE, hatch="////", lw=0, zorder=0)
            axes.set_xlim(UNREACHED * where[-1], where[-1])
        else:
            axes.set_xlim(where[0], where[-1])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(X_SAYS[axis])
        axes.set_ylabel(SAYS[quantity])
    return axes


def _behind(axes: Axes, where: Array, numbers: Array, quantity: Kind, says: str, *, second: bool) -> None:
    axes.plot(where, numbers, color=PALE, lw=0.8, ls=(0, (1, 1)) if second else "-", label=says, zorder=1)
    if quantity != "value":
        axes.fill_between(where, 0, numbers, color=PALE, alpha=0.13, lw=0, zorder=0)


def _ratios(gates: Sequence[Gate], axis: Axis) -> Array:
    """Ratios that show every gate's flanks and the beginning of its tail, the same for both signs of A."""
    halves = [h for gate in gates for sign in SIGNS for h in half_widths(gate, sign) if h is not None]
    widest = max(halves, default=0.2)
    if axis == "ratio":
        reach = 3.5 * widest
        return np.linspace(max(1 - reach, LEAST), 1 + reach, POINTS)
    reach = min(np.log1p(10 * widest), 6.0)
    return np.exp(np.linspace(-reach, reach, POINTS))


def _limits(axes: Axes, quantity: Kind, curves: Sequence[Array]) -> None:
    """The gates fill the panel; the baseline may leave it (its score weight is unbounded)."""
    low, high = min(float(c.min()) for c in curves), max(float(c.max()) for c in curves)
    if quantity == "value":
        axes.set_ylim(low - 0.35 * (high - low), high + 0.35 * (high - low))
        return
    axes.set_ylim(min(0.0, 1.1 * low), max(1.0, high) * 1.3)
    if high < 1.5:
        axes.set_yticks([0, 0.5, 1.0])


def curve_grid(
    gates: Sequence[Gate],
    panels: Sequence[Sequence[tuple[Kind, Axis, Signs]]],
    *,
    baseline: Gate | None,
    title: str = "",
) -> list[Axes]:
    """Panels in rows and columns under one legend, for a page of a paper."""
    with house_style():
        rows, columns = len(panels), len(panels[0])
        size = (PAGE if columns > 1 else COLUMN, 0.75 + (1.75 if columns < 3 else 1.6) * rows)
        grid: Any
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for i, j in np.ndindex(rows, columns):
            quantity, axis, sign = panels[i][j]
            ax = gate_curves(gates, quantity, axis, sign, baseline=baseline, ax=grid[i, j])
            if i + 1 < rows and panels[i + 1][j][1] == axis:
                ax.set_xlabel("")
            if j > 0 and panels[i][j - 1][0] == quantity:
                ax.set_ylabel("")
            if len({s for row in panels for *_, s in row}) > 1:
                ax.text(0.03, 0.98, BRANCH[sign], transform=ax.transAxes, va="top", ha="left")
        legend_above(figure, grid, title)
    return list(grid.flat)


def legend_above(figure: Figure, grid: Any, title: str = "") -> None:
    """One legend for all panels, the baseline last."""
    handles: dict[str, Line2D] = {}
    for ax in grid.flat:
        handles |= {str(line.get_label()): line for line in ax.get_lines() if not str(line.get_label()).startswith("_")}
    names = sorted(handles, key=lambda name: handles[name].get_color() == PALE)
    columns = math.ceil(len(names) / 2) if len(names) > 2 else len(names)
    figure.legend([handles[n] for n in names], names, loc="outside upper center", ncols=columns, title=title or None)


def paper_figure(gates: Sequence[Gate], *, baseline: Gate | None = None, title: str = "") -> list[Axes]:
    """w and phi over r and log r, 2 x 2; for gates that are the same for both signs of A."""
    kinds: tuple[Kind, ...] = ("weight", "score")
    axes: tuple[Axis, ...] = ("ratio", "log-ratio")
    return curve_grid(
        gates, [[(kind, axis, "both") for axis in axes] for kind in kinds], baseline=baseline, title=title
    )


def signs_figure(
    gates: Sequence[Gate],
    quantities: Sequence[Kind] = ("value", "weight", "score"),
    axis: Axis = "ratio",
    sign: Signs = "both",
    *,
    baseline: Gate | None = None,
    title: str = "",
) -> list[Axes]:
    """f, w and phi side by side; a row for each sign of A, or one if every gate is the same for both."""
    signs: tuple[Signs, ...] = (sign,)
    if sign == "both" and not all(same_for_both_signs(gate) for gate in gates):
        signs = SIGNS
    return curve_grid(gates, [[(kind, axis, s) for kind in quantities] for s in signs], baseline=baseline, title=title)
