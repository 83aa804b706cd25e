"""What is seen while a run goes on: a live table on a terminal that can redraw, plain lines elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

BLOCKS = "▁▂▃▄▅▆▇█"
BESIDE = 32  # columns of the table that are not its sparklines
SHOWN = (
    ("reward_mean", "reward"),
    ("effective_update_ratio", "EUR"),
    ("log_ratio_var_per_sequence", "Var(z)"),
    ("entropy", "entropy"),
    ("kl_old_new_k3", "KL(old‖new)"),
    ("grad_norm", "gradient norm"),
    ("completion_length_mean", "length"),
)


class View:
    """Tells what happens; holds nothing the run needs."""

    def __init__(self, total: int, shown: bool = True) -> None:
        self.console = Console(quiet=not shown)
        self.total = total
        self.rows: list[dict[str, Any]] = []
        self.live = Live(console=self.console, refresh_per_second=4) if shown and _redraws(self.console) else None

    def __enter__(self) -> View:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print one line, broken between words on a terminal alone."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=not self.console.is_terminal)

    def update(self, row: dict[str, Any]) -> None:
        """Show one update."""
        self.rows.append(row)
        if self.live:
            self.live.update(self._table())
        else:
            shown = "  ".join(f"{label} {_number(row[key])}" for key, label in SHOWN if key in row)
            self.say(f"step {row['step']}/{self.total} epoch {row['epoch']}  {shown}")

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far something long has come."""
        if self.live:
            table = self._table() if self.rows else Table(show_header=False)
            table.caption = f"{what}: {done}/{total}"
            self.live.update(table)

    def _table(self) -> Table:
        last = self.rows[-1]
        table = Table(title=f"step {last['step']} of {self.total}, update {last['update']}, epoch {last['epoch']}")
        for name in ("", "now", "so far"):
            table.add_column(name, justify="right" if name == "now" else "left")
        width = max(1, min(48, self.console.width - BESIDE))
        for key, label in SHOWN:
            # the last epoch's updates: in the first every ratio is 1
            values = [r[key] for r in self.rows if key in r and r["epoch"] == last["epoch"] and r[key] is not None]
            if values:
                table.add_row(label, _number(values[-1]), sparkline(values, width))
        return table


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far something has come, on stderr: a bar on a terminal, elsewhere a line at every tenth."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    said: dict[str, int] = {}

    with Progress(*columns, console=console, disable=not _redraws(console)) as progress:

        def tell(what: str, done: int, total: int) -> None:
            if _redraws(console):
                if what not in said:
                    said[what] = progress.add_task(what)
                progress.update(TaskID(said[what]), completed=done, total=total)
            elif 10 * done // total > said.get(what, 0) or done == total:
                said[what] = 10 * done // total
                console.print(f"{what}: {done}/{total}", markup=False, highlight=False, soft_wrap=True)

        yield tell


def end_at_once(line: str, code: int) -> None:
    """End the process from a thread, with one line on stderr: its main thread may never come to it."""
    console = Console(stderr=True)
    console.show_cursor()  # which a live table hides
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    os._exit(code)


def sparkline(values: list[float], width: int = 48) -> str:
    """Draw values as a line of blocks, averaged down to `width`."""
    size = -(-len(values) // width)
    means = [sum(part) / len(part) for k in range(0, len(values), size) if (part := values[k : k + size])]
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((mean - low) * scale)] for mean in means)


def _redraws(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
