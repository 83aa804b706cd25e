"""The comparison at equal temperature and at equal half-width: whose a difference is."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.lines import Line2D

from sapo_analysis.cli import main
from sapo_analysis.compare import NAMES, Comparison, Row, compare, compare_figure
from sapo_analysis.curves import at_equal_sup_score, gate_curves
from sapo_analysis.evaluate import Array
from sapo_gates import load_gate


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare([load_gate("erf"), load_gate("arctan")], "10", "0.1")


def data(line: Line2D) -> tuple[Array, Array]:
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def row(found: Comparison, key: str) -> Row:
    (one,) = (row for row in found.rows if row.key == key)
    return one


def test_half_widths_differ_at_equal_temperature_and_not_at_equal_width(found: Comparison) -> None:
    one = row(found, "half_width_right")
    assert one.at_equal_tau == ("0.1177", "0.1")
    assert one.at_equal_width == ("0.1", "0.1")
    assert one.spread == (pytest.approx(1.1774, rel=1e-4), pytest.approx(1))
    assert one.whose == "width"


def test_the_tail_is_the_familys(found: Comparison) -> None:
    assert row(found, "weight_at_zero").whose == "family"
    assert row(found, "tail").whose == "family"


def test_what_is_equal_in_both_is_called_the_same(found: Comparison) -> None:
    assert row(found, "smoothness").whose == "same"


def test_one_gate_twice_differs_in_nothing() -> None:
    twice = compare([load_gate("arctan"), load_gate("arctan")], "10", "0.1")
    assert {one.whose for one in twice.rows} == {"same"}


def test_the_figure_has_equal_temperature_left_and_equal_width_right(found: Comparison) -> None:
    panels = compare_figure(found)
    assert [axes.get_label() for axes in panels] == [
        "weight, equal temperature, τ = 10",
        "weight, equal half-width, h = 0.1",
        "score, equal temperature, τ = 10",
        "score, equal half-width, h = 0.1",
    ]
    widths = []
    for axes in panels[:2]:
        x, y = data(next(line for line in axes.get_lines() if "erf" in str(line.get_label())))
        widths.append(np.ptp(x[y > 0.5]) / 2)
    assert widths == pytest.approx([0.1177, 0.1], rel=0.02)
    assert len({axes.get_xlim() for axes in panels}) == 1  # so that the eye compares widths too


def test_the_table_has_every_gate_under_the_other_and_fits_a_terminal(capsys) -> None:
    gates = ["erf", "arctan"]
    assert main(["compare", *gates]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("sup φ  "))
    assert all(name in line for name, line in zip(gates, lines[start:], strict=False))
    assert max(map(len, lines)) <= 120


def test_the_command_prints_every_number_and_writes_figure_and_data(tmp_path: Path, capsys) -> None:
    assert main(["compare", "erf", "arctan", f"-o{tmp_path}/c.svg", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {one["key"] for one in report["rows"]} == set(NAMES)
    assert [one["verdict"] for one in report["gates"]] == ["certified", "certified"]
    assert {path.name for path in tmp_path.iterdir()} == {"c.svg", "c.csv"}


@pytest.mark.parametrize(
    ("gates", "says"),
    [(["arctan"], "at least two gates"), (["arctan", "hard-clip"], "at least two gates"), (["arctan", "erff"], "erf")],
)
def test_a_mistake_gets_one_line(gates, says, capsys) -> None:
    assert main(["compare", *gates]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_gates_at_equal_sup_score_have_equal_largest_score_weights() -> None:
    gates = at_equal_sup_score([load_gate("sigmoid"), load_gate("arctan")], "1.1")
    axes = gate_curves(gates, "score")
    tops = [data(line)[1].max() for line in axes.get_lines() if "τ =" in str(line.get_label())]
    assert tops == pytest.approx([1.1, 1.1], abs=1e-4)
    marks = [data(line)[1][0] for line in axes.get_lines() if line.get_label() == "_sup"]
    assert marks == pytest.approx(tops)


def test_ratios_that_nothing_reaches_are_hatched() -> None:
    reached = gate_curves([load_gate("arctan").bind(tau=10)])
    beyond = gate_curves([load_gate("arctan").bind(tau=1)])
    assert reached.get_xlim()[0] > 0 > beyond.get_xlim()[0]
    assert [len(axes.patches) for axes in (reached, beyond)] == [0, 1]
