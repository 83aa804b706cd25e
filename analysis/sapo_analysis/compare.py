"""Gates at equal temperature beside the same gates at equal half-width: what is the family's, what only the width's.

At equal tau the paper's families have unequal half-widths, so that a difference between two runs may be the width's. A
number that differs at equal tau and agrees at equal half-width says nothing about the family.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from sapo_analysis.curves import (
    Signs,
    at_equal_half_width,
    at_equal_temperature,
    gate_curves,
    legend_above,
    reach_of,
    same_for_both_signs,
)
from sapo_analysis.errors import FigureError
from sapo_analysis.style import PAGE, house_style
from sapo_gates import Gate, certify
from sapo_gates.datasheet import datasheet
from sapo_gates.gate import Kind, Number
from sapo_gates.verdict import SIGNS, Sign

AGREE = 1.02  # numbers whose ratio is below this count as equal
MOSTLY = 0.25  # a spread that equal widths cut to less than this share is mostly the width's
NAMES = {
    "half_width_left": "half-width, left of r = 1",
    "half_width_right": "half-width, right of r = 1",
    "score_supremum": "sup φ",
    "score_supremum_at": "sup φ is at r =",
    "weight_at_zero": "w(0)",
    "value_range": "range of f over r > 0",
    "weight_lipschitz": "Lipschitz constant of w",
    "curvature": "w″(1)",
    "kappa": "κ: w ≥ 1 − κ(r − 1)²",
    "log_curvature": "sup |g″|, g(z) = w(e^z)",
    "smoothness": "smoothness",
    "tail": "tail",
}
"""The datasheet's entries that are compared, in reading order."""

Whose = Literal["family", "mostly width", "width", "same", "—"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of every gate, at equal tau and at equal half-width."""

    key: str
    sign: Sign
    at_equal_tau: tuple[str, ...]
    at_equal_width: tuple[str, ...]
    spread: tuple[float | None, float | None]  # largest size over smallest, at equal tau and width; None: no number
    whose: Whose  # width: the gates differ at equal tau only; —: not known for every gate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Gates at one temperature and at one half-width."""

    equal_tau: tuple[Gate, ...]
    equal_width: tuple[Gate, ...]
    verdicts: Mapping[str, str]  # of each gate, for its whole domain
    tau: str
    half_width: str
    rows: tuple[Row, ...]


def compare(gates: Sequence[Gate], tau: Number, half_width: Number) -> Comparison:
    """Datasheets of the gates at both, each number with the answer whose difference it is.

    Raises:
        FigureError: fewer than two gates with a tau: nothing is compared.
        CalibrationError: a gate reaches that half-width at no tau.
    """
    with_tau = [gate for gate in gates if any(p.name == "tau" for p in gate.parameters)]
    if len(with_tau) < 2:
        raise FigureError(
            f"compare takes at least two gates with a parameter 'tau', of {[g.name for g in gates]} "
            f"{[g.name for g in with_tau]} have one; name another."
        )
    equal_tau, equal_width = at_equal_temperature(with_tau, tau), at_equal_half_width(with_tau, half_width)
    left, right = ([datasheet(gate) for gate in group] for group in (equal_tau, equal_width))
    one_formula = all(gate.declared("positive") == gate.declared("negative") for gate in with_tau)
    rows = [
        _row(key, sign, [sheet[sign].get(key) for sheet in left], [sheet[sign].get(key) for sheet in right])
        for sign in (SIGNS[:1] if one_formula else SIGNS)
        for key in NAMES
    ]
    return Comparison(
        equal_tau=tuple(equal_tau),
        equal_width=tuple(equal_width),
        verdicts={gate.name: certify(gate).verdict for gate in with_tau},
        tau=str(tau),
        half_width=str(half_width),
        rows=tuple(rows),
    )


Entry = Mapping[str, Any]


def _row(key: str, sign: Sign, left: Sequence[Entry | None], right: Sequence[Entry | None]) -> Row:
    said = [tuple(_said(key, entry) for entry in entries) for entries in (left, right)]
    spreads = [_spread([_number(key, entry) for entry in entries]) for entries in (left, right)]
    known = None not in (*left, *right) and not any("unknown" in texts for texts in said)
    return Row(
        key=key,
        sign=sign,
        at_equal_tau=said[0],
        at_equal_width=said[1],
        spread=(spreads[0], spreads[1]),
        whose=_whose(said, spreads) if known else "—",
    )


def _number(key: str, entry: Entry | None) -> float | None:
    """The middle of the enclosure; of a range its length."""
    bounds = None if entry is None else entry.get("enclosure")
    if bounds is None:
        return None
    low, high = (float(bound) for bound in bounds)
    return high - low if key == "value_range" else (low + high) / 2


def _said(key: str, entry: Entry | None) -> str:
    number = _number(key, entry)
    words = "unknown" if entry is None else str(entry.get("says") or "unknown").split(":")[0]
    if number is None:
        return words
    return f"{number:.4g}" + (f", {words}" if key == "tail" else "")


def _spread(numbers: Sequence[float | None]) -> float | None:
    sizes = [abs(number) for number in numbers if number is not None]
    return None if len(sizes) < len(numbers) or min(sizes) == 0 else max(sizes) / min(sizes)


def _whose(said: Sequence[tuple[str, ...]], spreads: Sequence[float | None]) -> Whose:
    agree = [len(set(texts)) == 1 or (s is not None and s < AGREE) for texts, s in zip(said, spreads, strict=True)]
    if agree[1]:
        return "same" if agree[0] else "width"
    left, right = spreads
    shrinks = left is not None and right is not None and math.log(right) < MOSTLY * math.log(left)
    return "mostly width" if shrinks else "family"


def say(found: Comparison) -> Iterator[str]:
    """The table as lines: a number under the other for every gate, equal tau left, equal half-width right."""
    names = [gate.name for gate in found.equal_tau]
    taus = [gate.name.partition("τ = ")[2] for gate in found.equal_width]
    yield f"equal temperature, τ = {found.tau}, beside equal half-width, h = {found.half_width}"
    for name, tau in zip(names, taus, strict=True):
        yield f"  {name}: {found.verdicts[name]} for its whole domain; half-width {found.half_width} at τ = {tau}"
    heads = (f"τ = {found.tau}", f"h = {found.half_width}")
    cells = [pair for row in found.rows for pair in zip(row.at_equal_tau, row.at_equal_width, strict=True)]
    widths = [max(len(text) for text in column) for column in zip(*cells, heads, strict=True)]
    first, second = max(len(name) for name in NAMES.values()), max(map(len, names))

    def line(title: str, name: str, pair: Sequence[str], whose: str = "") -> str:
        left, right = (f"{text:>{width}}" for text, width in zip(pair, widths, strict=True))
        return f"{title:<{first}}  {name:<{second}}  {left}  {right}  {whose}".rstrip()

    both = len({row.sign for row in found.rows}) == 1
    for sign in dict.fromkeys(row.sign for row in found.rows):
        yield ""
        yield line("" if both else {"positive": "A > 0", "negative": "A <= 0"}[sign], "", heads, "the difference is")
        for row in found.rows:
            if row.sign != sign:
                continue
            spread = " → ".join("" if s is None else f"×{s:.3g}" for s in row.spread) if all(row.spread) else ""
            says = [f"{row.whose}  {spread}" if spread else row.whose, *[""] * (len(names) - 1)]
            pairs = zip(row.at_equal_tau, row.at_equal_width, strict=True)
            for k, (name, pair) in enumerate(zip(names, pairs, strict=True)):
                yield line("" if k else NAMES[row.key], name, pair, says[k])
    yield ""
    yield "same: no difference; width: one at equal τ only, which says nothing of the families; mostly width: at equal"
    yield (
        f"half-width the spread, × largest over smallest, is in log less than {MOSTLY:.0%} of that at equal τ; family: "
        "it is more"
    )


def compare_figure(found: Comparison, *, baseline: Gate | None = None) -> list[Axes]:
    """Rows w and phi; equal temperature left, equal half-width right; where the signs differ, A > 0."""
    taus = [gate.name.partition("τ = ")[2] for gate in found.equal_width]
    names = [f"{gate.name}, τ = {found.tau} | {tau}" for gate, tau in zip(found.equal_tau, taus, strict=True)]
    columns = (
        (f"equal temperature, τ = {found.tau}", found.equal_tau),
        (f"equal half-width, h = {found.half_width}", found.equal_width),
    )
    sign: Signs = "both" if all(same_for_both_signs(gate) for gate in found.equal_tau) else "positive"
    kinds: tuple[Kind, ...] = ("weight", "score")
    reach = reach_of([*found.equal_tau, *found.equal_width])  # widths are compared by eye: one scale for all panels
    with house_style():
        grid: Any
        figure, grid = plt.subplots(2, 2, figsize=(PAGE, 4.3))
        for j, (title, gates) in enumerate(columns):
            named = [replace(gate, name=name) for gate, name in zip(gates, names, strict=True)]
            for i, kind in enumerate(kinds):
                axes = gate_curves(named, kind, "ratio", sign, baseline=baseline, reach=reach, ax=grid[i, j])
                axes.set_label(f"{kind}, {title}")
                if j:
                    axes.set_ylabel("")
            grid[0, j].set_xlabel("")
            grid[0, j].set_title(title, loc="left")
        legend_above(figure, grid)
    return list(grid.flat)
