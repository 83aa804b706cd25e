"""Draws the pictures of the README and of docs/concepts.md: `.venv/bin/python docs/make_pictures.py`."""

import os
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from sapo_analysis.curves import at_equal_half_width, at_equal_temperature, gate_curves, signs_figure
from sapo_analysis.style import PAGE, PALE, colour, dashes, figure_of, house_style, save
from sapo_gates import load_gate

HERE = Path(__file__).parent
NAMES = ("sigmoid", "erf", "arctan", "softsign")


def weights() -> list[Path]:
    """The gradient weights of the paper's four families: at equal temperature, and where only their shape differs."""
    gates, hard_clip = [load_gate(name) for name in NAMES], load_gate("hard-clip")
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.5), sharex=True, sharey=True)
        gate_curves(at_equal_temperature(gates, 10), "weight", "ratio", "both", baseline=hard_clip, ax=left)
        calibrated = at_equal_half_width(gates, "0.1763")
        gate_curves(calibrated, "weight", "ratio", "both", baseline=hard_clip, ax=right)
        left.set_title("equal temperature, τ = 10")
        right.set_title("equal half-width: the sigmoid's at τ = 10")
        left.set_label("equal temperature")
        right.set_label("equal half-width")
        right.set_ylabel("")
        left.set_xlim(0.4, 1.6)
        marks = [Line2D([], [], color=colour(k), ls=dashes(k)) for k in range(len(NAMES))]
        marks.append(Line2D([], [], color=PALE, lw=0.8))
        figure.legend(marks, [*NAMES, "hard clip, ε = 0.2"], loc="outside upper center", ncols=5)
    return save(figure, [HERE / "weights.svg"], "docs/make_pictures.py")


def quantities() -> list[Path]:
    """Value, weight and score weight of SAPO's gate."""
    panels = signs_figure([load_gate("sigmoid")], sign="positive", baseline=load_gate("hard-clip"))
    return save(figure_of(panels), [HERE / "quantities.svg"], "docs/make_pictures.py")


if __name__ == "__main__":
    print("\n".join(path.name for path in [*weights(), *quantities()]))
