"""The one house style: prints well in one column, is safe for the colour-blind, and reads on a dark page too."""

import csv
import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sapo_analysis.errors import FigureError

COLUMN, PAGE = 3.35, 6.9
"""Widths in inches of one column and of two."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A6A00", "#8C4BC0")
"""Okabe and Ito's, without yellow and black, and two more."""

DASHES = ((0, ()), (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
"""So that neighbours also differ in grey."""

INK, PALE = "#222226", "#8a8a90"
"""Text, and what stands behind the curves."""

STYLE: Any = {
    "font.family": ("STIXGeneral", "DejaVu Sans"),  # the second has subscripts, as in c₁
    "mathtext.fontset": "stix",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
    "svg.hashsalt": "sapo-analysis",
    "pdf.fonttype": 42,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw inside this, and the figures of a paper match."""
    with plt.rc_context(STYLE):
        yield


def colour(index: int) -> str:
    """The colour of the index-th curve."""
    return COLOURS[index % len(COLOURS)]


def dashes(index: int) -> tuple[int, tuple[float, ...]]:
    """The dash pattern of the index-th curve."""
    return DASHES[index % len(DASHES)]


def save(figure: Figure, paths: Sequence[Path], command: str) -> list[Path]:
    """Write the figure in the format of each file's ending, and beside the first the data of its curves as CSV.

    The command that made it is in the metadata of the file. Equal figures give equal bytes.

    Raises:
        FigureError: the ending is none of .png, .svg, .pdf, or the folder does not exist.
    """
    check_endings(paths)
    written = []
    for path in paths:
        with plt.rc_context(STYLE), writing(path):
            figure.savefig(path, metadata=METADATA[path.suffix](command))
        written.append(path)
    if paths:
        table = paths[0].with_suffix(".csv")
        write_text(table, data_of(figure))
        written.append(table)
    return written


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, a file that cannot be written is one line.

    Raises:
        FigureError: the folder does not exist, or the disk refuses.
    """
    try:
        yield
    except OSError as error:
        raise FigureError(f"cannot write {path}: {error.strerror or error}; choose a folder that exists.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, or say in one line that it cannot be written."""
    with writing(path):
        path.write_text(text, encoding="utf-8")


def check_endings(paths: Sequence[Path]) -> None:
    """Refuse what cannot be drawn before anything is computed.

    Raises:
        FigureError: an ending is none of .png, .svg, .pdf.
    """
    for path in paths:
        if path.suffix not in METADATA:
            raise FigureError(
                f"cannot write {path}: {path.suffix or 'no ending'!r} is none of .png, .svg, .pdf; choose one."
            )


def figure_of(panels: Sequence[Axes]) -> Figure:
    """The figure that the panels stand in.

    Raises:
        FigureError: it was closed.
    """
    figure = panels[0].get_figure(root=True)
    if figure is None:
        raise FigureError("the figure was closed before it could be written.")
    return figure


METADATA = {
    ".png": lambda command: {"Software": "sapo-analysis", "Description": command},
    ".svg": lambda command: {"Creator": "sapo-analysis", "Description": command, "Date": None},
    ".pdf": lambda command: {"Creator": "sapo-analysis", "Subject": command, "CreationDate": None},
}


def data_of(figure: Figure) -> str:
    """The figure's labelled curves as CSV, a row for each panel and x, a column for each curve, in the axes' units."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    curves: dict[str, None] = {}
    for axes in figure.axes:
        panel = axes.get_label() or f"{axes.get_ylabel()} over {axes.get_xlabel()}"
        for line in axes.get_lines():
            label = str(line.get_label()).replace("$", "").replace(r"\leq", "≤")
            if label.startswith("_"):
                continue
            curves[label] = None
            for x, y in zip(np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float), strict=True):
                rows.setdefault((str(panel), f"{x:.6g}"), {})[label] = f"{y:.6g}"
    out = StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("panel", "x", *curves))
    table.writerows((panel, x, *(row.get(curve, "") for curve in curves)) for (panel, x), row in rows.items())
    return out.getvalue()


def inline_svg(figure: Figure, says: str) -> str:
    """The figure as an SVG element for a page: transparent, in the page's own colours, as wide as its place.

    The page defines --pale and --c0, --c1, ... for light and dark.

    says: the figure in words, for those who cannot see it.
    """
    out = StringIO()
    with plt.rc_context(STYLE):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace(PALE, "var(--pale)")
    for index, value in enumerate(COLOURS):
        text = text.replace(value.lower(), f"var(--c{index})")
    head, body = text.split(">", 1)
    box = head.split('viewBox="')[1].split('"')[0]
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg viewBox="{box}" {names} role="img" aria-label="{html.escape(says)}">{body}'
