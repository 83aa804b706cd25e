"""Figures: what is drawn, what is written beside it, and what a user's mistake gets."""

import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from sapo_analysis.cli import main
from sapo_analysis.curves import at_equal_half_width, at_equal_temperature, gate_curves, paper_figure, signs_figure
from sapo_analysis.evaluate import evaluate, half_widths
from sapo_gates import load_gate
from sapo_gates.gate import Kind
from sapo_gates.verdict import SIGNS

PAPER = ("sigmoid", "erf", "arctan", "softsign")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("axis", ["ratio", "log-ratio"])
@pytest.mark.parametrize("quantity", ["value", "weight", "score"])
def test_the_line_in_the_axes_is_the_gate(quantity, axis) -> None:
    arctan = load_gate("arctan")
    axes = gate_curves([arctan], quantity, axis, "negative")
    (line,) = (line for line in axes.get_lines() if line.get_label() == "arctan, τ = 10 / 12")
    x, y = line.get_data()
    ratio = np.asarray(x) if axis == "ratio" else np.exp(x)
    assert y == pytest.approx(evaluate(arctan, "negative", quantity, ratio), abs=1e-12)


def test_axes_that_are_handed_in_are_drawn_on_and_returned() -> None:
    mine = plt.subplots()[1]
    assert gate_curves([load_gate("erf")], ax=mine) is mine


def test_a_gate_that_is_unbounded_leaves_the_panel_to_the_others() -> None:
    sigmoid, steep = load_gate("sigmoid"), load_gate("aspo")  # w = 3/r for small r
    limits: dict[Kind, tuple[float, float]] = {"weight": (0, 2.2), "score": (0, 4.2), "value": (-3, 4)}
    for quantity, (low, high) in limits.items():
        bottom, top = gate_curves([sigmoid, steep], quantity, "log-ratio").get_ylim()
        assert low <= bottom < top <= high
    wide = gate_curves([sigmoid, load_gate("cispo")])  # whose half-width is 9
    assert wide.get_xlim()[1] < 3


def test_unequal_half_widths_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["curves", "sigmoid", "arctan", "--tau", "10", f"-o{tmp_path}/a.png"]) == 0
    assert capsys.readouterr().out.startswith("unequal half-widths (sigmoid: 0.176, arctan: 0.1)")
    assert main(["curves", "sigmoid", "arctan", "--half-width", "0.1", f"-o{tmp_path}/a.png"]) == 0
    assert "unequal half" not in capsys.readouterr().out


def test_tau_sets_both_signs() -> None:
    (gate,) = at_equal_temperature([load_gate("arctan")], 7)
    assert [half_widths(gate, sign)[1] for sign in SIGNS] == [pytest.approx(1 / 7)] * 2


def test_gates_at_equal_half_width_have_equal_half_widths() -> None:
    for gate in at_equal_half_width([load_gate(name) for name in PAPER], "0.1"):
        assert [half_widths(gate, sign)[1] for sign in SIGNS] == [pytest.approx(0.1, rel=1e-9)] * 2


def test_gates_that_differ_between_the_signs_get_a_row_for_each() -> None:
    arctan = load_gate("arctan")
    assert len(signs_figure([arctan])) == 6
    assert len(signs_figure([arctan.bind(tau=10)])) == 3


def test_the_paper_figure_shows_hard_clipping_for_both_signs() -> None:
    panels = paper_figure(at_equal_temperature([load_gate("arctan")], 10), baseline=load_gate("hard-clip"))
    labels = {str(line.get_label()) for line in panels[0].get_lines()}
    assert {"hard-clip, ε = 0.2  ($A > 0$)", "hard-clip, ε = 0.2  ($A \\leq 0$)"} <= labels


def test_a_figure_comes_with_its_data_and_the_command_that_made_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    outputs = [tmp_path / f"fig.{ending}" for ending in ("png", "svg", "pdf")]
    command = ["curves", "arctan", "--tau", "10", "--quantity", "weight", *(f"-o{path}" for path in outputs), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [str(p) for p in (*outputs, tmp_path / "fig.csv")]

    said = "curves arctan --tau 10 --quantity weight"
    assert said in Image.open(outputs[0]).text["Description"]  # type: ignore[attr-defined]
    assert said in outputs[1].read_text(encoding="utf-8")
    assert said.encode() in outputs[2].read_bytes()
    with (tmp_path / "fig.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["panel", "x", "hard-clip, ε = 0.2  (A > 0)", "hard-clip, ε = 0.2  (A ≤ 0)", "arctan"]
    for row in rows:
        assert float(row["arctan"]) == pytest.approx(1 / (1 + (10 * (float(row["x"]) - 1)) ** 2), rel=1e-3)


def test_the_same_command_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert main(["curves", "erf", "-ofig.png", "-ofig.svg", "-ofig.pdf"]) == 0
        written.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
    assert len(written[0]) == 4
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["curves", "arctn", "-oa.png"], "Did you mean 'arctan'?"),
        (["curves", "arctan", "--tau", "0", "-oa.png"], "tau=0 is outside the domain (0, oo)"),
        (["curves", "arctan", "--tau", "ten", "-oa.png"], "'ten' is no number"),
        (["curves", "arctan", "--half-width", "-1", "-oa.png"], "half_width=-1 must be a number > 0"),
        (["curves", "hard-clip", "--tau", "1", "-oa.png"], "has a parameter 'tau'"),
        (["curves", "arctan", "-oa.gif"], "'.gif' is none of .png, .svg, .pdf"),
        (["curves", "arctan", "-omissing/a.png"], "choose a folder that exists"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


@pytest.mark.parametrize(
    "arguments", [[], ["curve"], ["curves", "arctan"], ["curves", "arctan", "--axis", "y", "-oa.png"]]
)
def test_a_command_line_that_cannot_be_read_gets_one_line_and_exit_code_2(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
