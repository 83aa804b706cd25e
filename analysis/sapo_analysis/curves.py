"""Curves of gates: value f, gradient weight w, score weight phi = r w; over r or log r; hard clipping behind them.

Over an interval of temperatures a gate is a band, enclosed with proof.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import sympy
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sapo_analysis.bands import Band, band
from sapo_analysis.errors import FigureError
from sapo_analysis.evaluate import Array, evaluate, half_widths
from sapo_analysis.style import COLUMN, PAGE, PALE, colour, dashes, house_style
from sapo_gates import Gate
from sapo_gates.calibrate import Calibration, calibrate
from sapo_gates.gate import Kind, Number, exact
from sapo_gates.verdict import SIGNS, Sign

Axis = Literal["ratio", "log-ratio"]
Signs = Sign | Literal["both"]
Temperatures = tuple[Number, Number]
"""The ends of an interval of tau."""

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
NARROW = 10  # half-widths of the narrowest gate that are shown at most: beyond, its curve would be a needle
CEILING: dict[Kind, tuple[float, float]] = {"weight": (-1.3, 2.2), "score": (-1.3, 3.2), "value": (-1.0, 3.0)}
"""Curves that leave these are cut off, but for values if all of them do."""
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


def check_temperatures(gates: Sequence[Gate], over: Temperatures) -> None:
    """Whether bands can be drawn over these temperatures.

    Raises:
        FigureError: the first is not below the second, or none of the gates has a tau.
        GateTextError: one is no number.
    """
    at_equal_temperature(gates, over[0])
    if exact(over[0]) >= exact(over[1]):
        raise FigureError(f"tau={over[0]}:{over[1]}: the first must be below the second, as in 5:15.")


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


def label(gate: Gate, over: Temperatures | None = None) -> str:
    """The gate's name and the values its free parameters are drawn at; two, for A > 0 / A <= 0, where they differ."""
    values = []
    for p in gate.parameters:
        numbers = dict.fromkeys(f"{float(p.value_for(s)):.4g}" for s in SIGNS if p in gate.parameters_for(s))
        said = f" = {' / '.join(numbers)}"
        if over is not None and p.name == "tau":
            said = f" ∈ [{', '.join(map(str, over))}]"
        values.append(sympy.pretty(p).replace("_", " ") + said)
    return ", ".join([gate.name, *values])


def unequal_widths(gates: Sequence[Gate], sign: Sign = "positive") -> str | None:
    """The half-widths right of r = 1 in words, if they differ: then a difference between the gates may be theirs."""
    widths = {label(gate): half_widths(gate, sign)[1] for gate in gates}
    known = [h for h in widths.values() if h is not None]
    if len(known) < 2 or max(known) < 1.02 * min(known):
        return None
    return ", ".join(f"{name}: {'none' if h is None else f'{h:.3g}'}" for name, h in widths.items())


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
    over: Temperatures | None = None,
    reach: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One panel: a quantity of each gate over r or log r.

    Half-widths, where w has fallen to 1/2, are marked with dots, the largest score weight with a triangle; hatched is
    r <= 0, which no ratio reaches. `baseline` is drawn as a grey shape behind the rest, both its branches where sign is
    "both" (which is for gates that do not distinguish the signs). With `over`, a gate with a tau is the band that it
    has there, enclosed with proof: its half-widths are bars then. `reach` is the largest r - 1, or by itself what shows
    every gate.

    Raises:
        FigureError: a formula has no number at some ratio, or no enclosure over the temperatures.
        ParameterValueError: a temperature outside a gate's domain.
    """
    with house_style():
        axes = plt.subplots(figsize=(COLUMN, 0.72 * COLUMN))[1] if ax is None else ax
        drawn: Sign = "positive" if sign == "both" else sign
        ratio = _ratios(gates if over is None else _at_ends(gates, over), axis, reach)
        where = ratio if axis == "ratio" else np.log(ratio)
        axes.set_label(f"{quantity} over {axis}, {sign}")
        axes.axvline(1 if axis == "ratio" else 0, color=PALE, lw=0.5, zorder=0)
        if baseline is not None:
            for branch in SIGNS if sign == "both" else (drawn,):
                numbers = evaluate(baseline, branch, quantity, ratio)
                says = label(baseline) + (f"  ({BRANCH[branch]})" if sign == "both" else "")
                _behind(axes, where, numbers, quantity, says, second=branch != drawn)
        curves: list[Array] = []
        for index, gate in enumerate(gates):
            if over is not None and _has_tau(gate):
                low, high = (gate.checked({"tau": end})["tau"] for end in over)
                found = band(gate, drawn, quantity, ratio, low, high)
                _draw_band(axes, where, found, quantity, index, label(gate, over))
                curves += [found.lower, found.upper]
            else:
                curves.append(evaluate(gate, drawn, quantity, ratio))
                axes.plot(where, curves[-1], color=colour(index), ls=dashes(index), label=label(gate), zorder=3)
                _mark(axes, ratio, curves[-1], gate, drawn, quantity, axis, colour(index))
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


def _mark(
    axes: Axes, ratio: Array, numbers: Array, gate: Gate, sign: Sign, quantity: Kind, axis: Axis, paint: str
) -> None:
    """Dots at the half-widths, a triangle at the largest score weight."""
    halves = half_widths(gate, sign)
    ends = np.array([1 + side * h for side, h in zip((-1, 1), halves, strict=True) if h is not None])
    ends = ends[(ends >= ratio[0]) & (ends <= ratio[-1])]
    place = np.asarray if axis == "ratio" else np.log
    axes.plot(place(ends), evaluate(gate, sign, quantity, ends), "o", color=paint, ms=2.6, label="_half", zorder=4)
    if quantity == "score" and 0 < (top := int(numbers.argmax())) < len(numbers) - 1:
        axes.plot(place(ratio[top]), numbers[top], "^", color=paint, ms=3.2, label="_sup", zorder=4)


def _draw_band(axes: Axes, edges: Array, found: Band, quantity: Kind, index: int, name: str) -> None:
    """Everything between the bounds; where w crosses 1/2 for some temperature, a bar."""
    middle = (edges[1:] + edges[:-1]) / 2
    style: Any = {"color": colour(index), "ls": dashes(index), "lw": 0.9, "zorder": 3, "gid": EDGE}
    axes.fill_between(middle, found.lower, found.upper, color=colour(index), alpha=0.25, lw=0, label=name, zorder=2)
    for says, bound in (("at least", found.lower), ("at most", found.upper)):
        axes.plot(middle, bound, label=f"{name}, {says}", **style)
    if quantity == "weight":
        crossed = np.flatnonzero((found.lower <= 0.5) & (found.upper >= 0.5))
        for pixels in np.split(crossed, np.flatnonzero(np.diff(crossed) > 1) + 1):
            if len(pixels):
                ends = edges[[pixels[0], pixels[-1] + 1]]
                axes.plot(ends, [0.5, 0.5], color=colour(index), lw=1.6, marker="|", ms=5, label="_half", zorder=4)


EDGE = "edge of a band"


def _at_ends(gates: Sequence[Gate], over: Temperatures) -> list[Gate]:
    """Every gate with a tau at both ends; the others as they are."""
    return [one for gate in gates for one in ((gate.bind(tau=tau) for tau in over) if _has_tau(gate) else (gate,))]


def _behind(axes: Axes, where: Array, numbers: Array, quantity: Kind, says: str, *, second: bool) -> None:
    axes.plot(where, numbers, color=PALE, lw=0.8, ls=(0, (1, 1)) if second else "-", label=says, zorder=1)
    if quantity != "value":
        axes.fill_between(where, 0, numbers, color=PALE, alpha=0.13, lw=0, zorder=0)


def _ratios(gates: Sequence[Gate], axis: Axis, reach: float | None = None) -> Array:
    """Ratios that show every gate's flanks and the beginning of its tail, the same for both signs of A."""
    if reach is None:
        halves = [[h for sign in SIGNS for h in half_widths(gate, sign) if h is not None] for gate in gates]
        widest = [max(mine) for mine in halves if mine] or [0.2]
        times = 3.5 if axis == "ratio" else 10
        reach = min(times * max(widest), times / 3.5 * NARROW * min(widest))
    if axis == "ratio":
        return np.linspace(max(1 - reach, LEAST), 1 + reach, POINTS)
    far = min(np.log1p(reach), 6.0)
    return np.exp(np.linspace(-far, far, POINTS))


def reach_of(gates: Sequence[Gate]) -> float:
    """The largest r - 1 of a panel that shows all these gates."""
    return float(_ratios(gates, "ratio")[-1]) - 1


def _limits(axes: Axes, quantity: Kind, curves: Sequence[Array]) -> None:
    """The gates fill the panel; what is unbounded leaves it, and so may the baseline."""
    floor, ceiling = CEILING[quantity]
    lows, highs = [float(c.min()) for c in curves], [float(c.max()) for c in curves]
    if quantity == "value":  # one gate or several that all reach farther are shown whole
        low, high = max(min(lows), min(floor, max(lows))), min(max(highs), max(ceiling, min(highs)))
        axes.set_ylim(low - 0.35 * (high - low), high + 0.35 * (high - low))
        return
    low, high = max(min(lows), floor), min(max(highs), ceiling)
    axes.set_ylim(min(0.0, 1.1 * low), max(1.0, high) * (1.3 if high < ceiling else 1.0))
    if high < 1.5:
        axes.set_yticks([0, 0.5, 1.0])


def curve_grid(
    gates: Sequence[Gate],
    panels: Sequence[Sequence[tuple[Kind, Axis, Signs]]],
    *,
    baseline: Gate | None,
    over: Temperatures | None = None,
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
            ax = gate_curves(gates, quantity, axis, sign, baseline=baseline, over=over, ax=grid[i, j])
            if i + 1 < rows and panels[i + 1][j][1] == axis:
                ax.set_xlabel("")
            if j > 0 and panels[i][j - 1][0] == quantity:
                ax.set_ylabel("")
            if len({s for row in panels for *_, s in row}) > 1:
                ax.set_title(BRANCH[sign], loc="left")
        legend_above(figure, grid, title)
    return list(grid.flat)


def legend_above(figure: Figure, grid: Any, title: str = "") -> None:
    """One legend for all panels, the baseline last."""
    handles: dict[str, Artist] = {}
    for ax in grid.flat:
        drawn = [artist for artist in (*ax.collections, *ax.get_lines()) if artist.get_gid() != EDGE]
        handles |= {str(one.get_label()): one for one in drawn if not str(one.get_label()).startswith("_")}
    names = sorted(handles, key=lambda name: isinstance(it := handles[name], Line2D) and it.get_color() == PALE)
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
    over: Temperatures | None = None,
    title: str = "",
) -> list[Axes]:
    """f, w and phi side by side; a row for each sign of A, or one if every gate is the same for both."""
    signs: tuple[Signs, ...] = (sign,)
    ends = gates if over is None else _at_ends(gates, over)
    if sign == "both" and not all(same_for_both_signs(gate) for gate in ends):
        signs = SIGNS
    panels: list[list[tuple[Kind, Axis, Signs]]] = [[(kind, axis, s) for kind in quantities] for s in signs]
    return curve_grid(gates, panels, baseline=baseline, over=over, title=title)
