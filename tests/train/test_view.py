"""What is seen of a run."""

import sys
from io import StringIO

import pytest
from rich.console import Console

from sapo_train.view import SHOWN, View, bar, sparkline

ROW = {"step": 1, "update": 2, "epoch": 2, "reward_mean": 0.25, "effective_update_ratio": 0.9, "entropy": None}


def test_a_sparkline_rises_with_its_values():
    assert sparkline([0.0, 1.0, 2.0, 3.0]) == "▁▃▆█"
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert len(sparkline([float(k) for k in range(1000)])) <= 48


def test_without_a_terminal_each_update_is_a_line(capsys):
    with View(4) as view:
        view.update(ROW)
        view.progress("held-out problems", 1, 2)
    assert capsys.readouterr().out == "step 1/4 epoch 2  reward 0.25  EUR 0.9  entropy not finite\n"


def test_on_a_terminal_the_table_shows_the_last_update_and_how_far_an_evaluation_is():
    view = View(4)
    view.rows = [ROW, ROW | {"update": 4, "reward_mean": 0.5}]
    console = Console(width=100, record=True, file=StringIO())
    console.print(view._table())
    text = " ".join(console.export_text().split())
    assert "step 1 of 4, update 4, epoch 2" in text
    assert "0.5" in text
    assert "▁█" in text


def test_without_a_terminal_an_evaluation_is_a_line_at_every_tenth(capsys):
    with bar() as tell:
        for done in range(1, 26):
            tell("model on gsm8k", done, 25)
    tenths = (3, 5, 8, 10, 13, 15, 18, 20, 23, 25)
    assert capsys.readouterr().err.splitlines() == [f"model on gsm8k: {done}/25" for done in tenths]


def test_on_a_terminal_an_evaluation_has_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", out)
    with bar() as tell:
        tell("model on gsm8k", 1, 4)
        tell("model on gsm8k", 3, 4)
    assert "━" in out.getvalue()
    assert "3/4" in out.getvalue()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_table_fits_a_narrow_terminal_however_long_the_run(columns):
    view = View(400)
    view.rows = [{key: k * 1.2345e-05 for key, _ in SHOWN} | {"step": k, "update": k, "epoch": 2} for k in range(400)]
    out = StringIO()
    view.console = Console(width=columns, file=out, force_terminal=True)
    view.console.print(view._table())
    lines = out.getvalue().splitlines()
    assert len(lines) <= len(SHOWN) + 6  # title, rules and head: no row is folded
    assert all("…" not in line for line in lines)


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_terminal_that_cannot_redraw_gets_lines(term, monkeypatch):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "40")
    out = StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", out)
    with View(4) as view:
        view.update(ROW)
    assert ("step 1/4 epoch 2" in out.getvalue()) == (term == "dumb")
    assert ("\x1b[" in out.getvalue()) == (term == "xterm")
