"""Bands over an interval of temperatures: no curve in between leaves them, and they are no wider than that."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sympy import Rational

from sapo_analysis.bands import band
from sapo_analysis.cli import main
from sapo_analysis.errors import FigureError
from sapo_analysis.evaluate import evaluate
from sapo_gates import FAMILIES, Gate, load_gate
from sapo_gates.gate import Kind
from sapo_gates.verdict import SIGNS

LOW, HIGH = Rational(5), Rational(15)
EDGES = np.linspace(0.4, 1.7, 66)
MIDDLES = (EDGES[1:] + EDGES[:-1]) / 2
QUANTITIES: tuple[Kind, ...] = ("weight", "score", "value")
WITH_TAU = [gate for gate in FAMILIES if any(p.name == "tau" for p in gate.parameters) and gate.name != "compact-bump"]


@pytest.mark.parametrize("gate", WITH_TAU, ids=lambda gate: gate.name)
def test_no_curve_at_a_temperature_in_between_leaves_the_band(gate: Gate) -> None:
    for sign in SIGNS:
        for quantity in QUANTITIES:
            found = band(gate, sign, quantity, EDGES, LOW, HIGH)
            for tau in ("5", "6.1", "15"):
                curve = evaluate(gate.bind(tau=tau), sign, quantity, MIDDLES)
                assert (found.lower <= curve + 1e-12).all()
                assert (curve - 1e-12 <= found.upper).all()


def test_a_curve_at_another_temperature_leaves_it() -> None:
    found = band(load_gate("sigmoid"), "positive", "weight", EDGES, LOW, HIGH)
    for tau, beyond in (("4", lambda curve: curve > found.upper), ("17", lambda curve: curve < found.lower)):
        assert beyond(evaluate(load_gate("sigmoid").bind(tau=tau), "positive", "weight", MIDDLES)).any()


def test_the_edges_are_the_curves_at_the_ends() -> None:
    fine = np.linspace(0.5, 1.5, 502)  # r = 1 inside a pixel
    middles = (fine[1:] + fine[:-1]) / 2
    for quantity in QUANTITIES:
        found = band(load_gate("softsign"), "negative", quantity, fine, LOW, HIGH)
        wide, narrow = (evaluate(load_gate("softsign").bind(tau=t), "negative", quantity, middles) for t in (5, 15))
        assert found.upper == pytest.approx(np.maximum(wide, narrow), abs=0.03)
        assert found.lower == pytest.approx(np.minimum(wide, narrow), abs=0.03)


def test_where_no_enclosure_is_known_none_is_drawn() -> None:
    with pytest.raises(FigureError, match=r"no enclosure of 'compact-bump' is known near r = .*single temperatures"):
        band(load_gate("compact-bump"), "positive", "weight", EDGES, LOW, HIGH)


def test_the_command_draws_bands_and_writes_their_edges(tmp_path: Path) -> None:
    command = ["curves", "arctan", "hard-clip", "--tau", "5:15", "--quantity", "weight", "--sign", "positive"]
    assert main([*command, f"-o{tmp_path}/b.png"]) == 0
    with (tmp_path / "b.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    edges = ["arctan, τ ∈ [5, 15], at least", "arctan, τ ∈ [5, 15], at most"]
    assert list(rows[0]) == ["panel", "x", *edges, "hard-clip, ε = 0.2"]
    inside = [row for row in rows if row[edges[0]]]
    for row in inside:
        x = float(row["x"]) - 1
        assert float(row[edges[0]]) <= 1 / (1 + (10 * x) ** 2) <= float(row[edges[1]])
    assert len(inside) == 600


@pytest.mark.parametrize(
    ("gate", "tau", "says"),
    [
        ("arctan", "15:5", "the first must be below the second"),
        ("arctan", "0:5", "tau=0 is outside the domain"),
        ("arctan", "5:", "is no number"),
        ("hard-clip", "5:15", "has a parameter 'tau'"),
    ],
)
def test_temperatures_that_are_no_interval_get_one_line(gate: str, tau: str, says: str, tmp_path, capsys) -> None:
    assert main(["curves", gate, "--tau", tau, f"-o{tmp_path}/b.png"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
