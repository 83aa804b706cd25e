"""A picture of a certificate: the gradient weight for each sign of A, and every counterexample drawn where it is.

Imports matplotlib, which the library itself does not need. What is drawn are floats; the proofs are in the certificate.
"""

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mpmath
import numpy as np
import sympy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sapo_gates.certificate import Certificate, Requirement
from sapo_gates.derive import formula
from sapo_gates.errors import PlotError
from sapo_gates.functions import r
from sapo_gates.gate import Gate, Kind
from sapo_gates.verdict import SIGNS, Sign, Witness

Array = NDArray[np.float64]

CURVE, BROKEN, PALE = "#0072B2", "#D55E00", "#8a8a90"
"""Okabe and Ito's blue and vermilion, safe for the colour-blind, and a grey for what stands behind."""

STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "svg.hashsalt": "sapo-gates",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
METADATA = {".png": {"Software": "sapo-gates"}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
CONDITION = {"positive": "A > 0", "negative": "A ≤ 0"}
SAYS: dict[Kind, str] = {"value": "value f(r)", "weight": "gradient weight w(r)", "score": "score weight φ = r w(r)"}
PANEL = (3.4, 2.6)
POINTS = 401
CLOSE = 0.03
"""A pair of ratios nearer than this part of the panel gets a close-up."""


def check_ending(path: Path) -> None:
    """Raises PlotError where the file's ending is none that is drawn."""
    if path.suffix not in METADATA:
        raise PlotError(f"cannot draw {path}: {path.suffix or 'no ending'!r} is none of .png, .svg, .pdf; choose one.")


def save(certificate: Certificate, path: Path) -> None:
    """Draw the certificate into a PNG, SVG or PDF file; equal certificates give equal bytes.

    Raises:
        PlotError: the ending is none of these.
        OSError: the file cannot be written.
    """
    check_ending(path)
    with mpl.rc_context(STYLE):
        draw(certificate).savefig(path, metadata=METADATA[path.suffix])


def draw(certificate: Certificate) -> Figure:
    """A row for each sign of A: its refuted requirements side by side, or one panel where nothing is refuted."""
    rows = {sign: _shown(certificate, sign) for sign in SIGNS}
    columns = max(map(len, rows.values()))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL[0] * max(columns, 1.6), (PANEL[1] + 0.5) * len(SIGNS)), layout="constrained")
        figure.suptitle(f"{certificate.gate.name}: {certificate.verdict} for profile {certificate.profile}")
        parts: Any = figure.subfigures(len(SIGNS), 1)
        for sign, part in zip(SIGNS, parts, strict=True):
            part.suptitle(_verdicts(certificate, sign), fontsize="medium")
            panels = part.subplots(1, columns, squeeze=False)[0]
            for axes, entries in zip(panels, rows[sign], strict=False):
                panel(axes, certificate.gate, sign, entries)
            for axes in panels[len(rows[sign]) :]:
                axes.set_axis_off()
    return figure


def _shown(certificate: Certificate, sign: Sign) -> list[list[Requirement]]:
    """The refuted requirements, those with the same counterexample together; an empty list if there are none."""
    together: dict[object, list[Requirement]] = {}
    for entry in certificate.requirements:
        if entry.sign == sign and entry.witness is not None:
            where = (entry.witness.kind, entry.witness.r, *entry.witness.parameters.items())
            together.setdefault(where, []).append(entry)
    return list(together.values()) or [[]]


def _verdicts(certificate: Certificate, sign: Sign) -> str:
    """What was proved, and for which parameters, in words."""
    entries = [entry for entry in certificate.requirements if entry.sign == sign]
    parts = [f"{CONDITION[sign]}, {entries[0].scope}"]
    for verdict, mark in (("proved", "✓"), ("undecided", "?")):
        names = ", ".join(entry.id for entry in entries if entry.verdict == verdict)
        parts += [f"{mark} {verdict}: {names}"] if names else []
    return "\n".join(line for part in parts for line in textwrap.wrap(part, 90))


def panel(axes: Axes, gate: Gate, sign: Sign, refuted: Sequence[Requirement] = ()) -> None:
    """The weight of one branch, and the counterexample to the requirements: drawn at the witness's parameters.

    Where the counterexample is about the value or the score weight, that is drawn instead.
    """
    witness = refuted[0].witness if refuted else None
    numbers = {p: sympy.Rational(p.value_for(sign)) for p in gate.parameters_for(sign)}
    if witness is not None:
        numbers |= {gate.parameter(name): sympy.Rational(value) for name, value in witness.parameters.items()}
    curves = dict(_curves(gate, sign, numbers))
    quantity = "weight" if witness is None else _quantity(witness, curves)
    marks = [] if witness is None else [_float(text) for text in witness.r if text != "0"]
    ratio = _ratios(curves["weight"], marks)
    drawn = curves[quantity](ratio)
    axes.axvline(1, color=PALE, lw=0.5, zorder=0)
    axes.plot(ratio, drawn, color=CURVE)
    if ratio[-1] > 10 or ratio[0] < 1e-3:
        axes.set_xscale("log")
    axes.set_xlim(ratio[0], ratio[-1])
    _limits(axes, drawn, witness)
    axes.set_xlabel("ratio r")
    axes.set_ylabel(SAYS[quantity])
    at = ", ".join(f"{symbol} = {_short(value)}" for symbol, value in numbers.items())
    if witness is None:
        axes.set_title(f"drawn at {at}" if at else "")
        return
    says = ["✗ " + ", ".join(entry.id for entry in refuted), refuted[-1].says, f"drawn at {at}" if at else ""]
    axes.set_title("\n".join(line for part in says for line in textwrap.wrap(part, 42)), color=BROKEN)
    _mark(axes, witness, marks, curves[quantity])


def _mark(axes: Axes, witness: Witness, marks: list[float], curve: Callable[[Array], Array]) -> None:
    """The counterexample itself; its artists carry its kind as group id."""
    heights = [_middle(low, high) for low, high in witness.enclosure]
    line: Any = {"color": BROKEN, "gid": f"witness-{witness.kind}"}
    if witness.kind == "tail":
        bound = next(_float(end) for end in witness.enclosure[0] if "oo" not in end)
        ends = axes.get_xlim()
        from_to = (ends[0], marks[-1]) if witness.r[0] == "0" else (marks[0], ends[1])
        axes.fill_between(from_to, 0, bound, alpha=0.18, lw=0, **line)
        axes.plot(from_to, [bound, bound], ls="--", **line)
        axes.plot([marks[-1]], [bound], "|", ms=9, color=BROKEN)
        return
    places = marks if witness.kind == "pair" else marks[:1] * max(len(heights), 1)
    fits = _fits(witness, places, curve)
    for place in dict.fromkeys(places):
        axes.axvline(place, lw=0.8, ls=":", **line)
    if fits:
        axes.plot(places, heights, "o-", ms=3.5, lw=1, **line)
    if fits and witness.kind == "pair":
        near, far = axes.transAxes.inverted().transform(axes.transData.transform([(place, 0) for place in places]))[
            :, 0
        ]
        if far - near < CLOSE:
            _close_up(axes, places, heights, curve)


def _close_up(axes: Axes, places: list[float], heights: list[float], curve: Callable[[Array], Array]) -> None:
    """The two ratios so near that their difference shows."""
    margin = 0.6 * (places[1] - places[0])
    near = np.linspace(places[0] - margin, places[1] + margin, POINTS)
    inset = axes.inset_axes((0.5, 0.5, 0.46, 0.4))
    inset.plot(near, curve(near), color=CURVE)
    inset.plot(places, heights, "o-", ms=3.5, lw=1, color=BROKEN)
    inset.set_xticks([])
    inset.set_yticks([])
    wide, high = places[1] - places[0], abs(heights[1] - heights[0])
    inset.set_xlabel(f"{wide:.1e} apart, {high:.1e} higher", fontsize="small", labelpad=2)
    for side in ("top", "right"):
        inset.spines[side].set_visible(True)


def _curves(gate: Gate, sign: Sign, numbers: dict[Any, Any]) -> Iterator[tuple[Kind, Callable[[Array], Array]]]:
    """What can be drawn: the value only where it is declared, for an integral may have no closed form."""
    kinds: tuple[Kind, ...] = ("weight", "score", "value")
    for quantity in kinds if gate.kind == "value" else kinds[:2]:
        expression = formula(gate, sign, quantity)
        assert expression is not None
        yield quantity, _numeric(expression.xreplace(numbers))


def _numeric(expression: Any) -> Callable[[Array], Array]:
    """The expression in 40 digits, since derivatives cancel in the tails; NaN where it is no real number."""
    precise = sympy.lambdify(r, expression, [{"sigmoid": lambda x: 1 / (1 + mpmath.exp(-x))}, "mpmath"])

    def number(ratio: float) -> float:
        try:
            return float(precise(mpmath.mpf(ratio)))
        except (ArithmeticError, ValueError, TypeError):  # a pole; outside a function's domain; complex
            return math.nan

    def numbers(ratio: Array) -> Array:
        with mpmath.workdps(40):
            return np.array([number(float(x)) for x in ratio])

    return numbers


def _quantity(witness: Witness, curves: dict[Kind, Callable[[Array], Array]]) -> Kind:
    """The one whose curve goes through the enclosures; a tail is one of the score weight."""
    if witness.kind == "tail":
        return "score"
    places = [_float(text) for text in witness.r]
    places = places if witness.kind == "pair" else places[:1] * max(len(witness.enclosure), 1)
    fitting: list[Kind] = [quantity for quantity, curve in curves.items() if _fits(witness, places, curve)]
    return fitting[0] if fitting else "weight"


def _fits(witness: Witness, places: list[float], curve: Callable[[Array], Array]) -> bool:
    """Whether the curve has the enclosed heights at the witness; at a jump, close to it on either side."""
    if not witness.enclosure or len(witness.enclosure) != len(places):
        return False
    beside = (-1e-7, 1e-7) if witness.kind == "jump" else (0,) * len(places)
    at = curve(np.array([place * (1 + step) for place, step in zip(places, beside, strict=True)]))
    heights = np.array([_middle(low, high) for low, high in witness.enclosure])
    return bool(np.all(np.abs(at - heights) <= 1e-4 * (1 + np.abs(heights))))


def _ratios(weight: Callable[[Array], Array], marks: list[float]) -> Array:
    """Ratios that show the weight's flanks and every mark, and both sides of a jump."""
    steps = np.geomspace(1e-4, 1e3, 120)
    below = np.flatnonzero(weight(1 + steps) <= 0.5)
    reach = 4 * steps[below[0]] if len(below) and below[0] > 0 else 1.0
    low, high = (1 + side * max(reach, *(1.4 * side * (m - 1) for m in (1, *marks))) for side in (-1, 1))
    if low <= 0:
        low = min(1e-3, *(m / 2 for m in (1, *marks)))
    spread = np.geomspace if high > 10 or low < 1e-3 else np.linspace
    beside = [m * (1 + step) for m in marks for step in (-1e-6, 0, 1e-6)]
    return np.unique([*spread(low, high, POINTS), *beside])


def _limits(axes: Axes, drawn: Array, witness: Witness | None) -> None:
    """Everything finite, but a pole leaves the panel."""
    finite = drawn[np.isfinite(drawn)]
    heights = [_middle(*pair) for pair in witness.enclosure] if witness is not None else []
    low, high = min([0.0, *heights]), max([1.0, *heights])
    if len(finite):
        low, high = max(min(low, finite.min()), 4 * low - 3), min(max(high, finite.max()), 4 * high)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))


def _middle(low: str, high: str) -> float:
    """Of an enclosure; the finite end where one is infinite."""
    ends = [_float(end) for end in (low, high) if "oo" not in end]
    return sum(ends) / len(ends) if ends else 0.0


def _float(text: str) -> float:
    """The nearest float that a figure can show; an end of an enclosure may be 1e-562949953421312."""
    try:
        number = float(Fraction(text)) if "/" in text else float(text)
    except OverflowError:
        number = math.inf
    return min(max(number, -1e300), 1e300)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 8 else f"{float(value):.4g}"
