"""Writes docs/metrics.md from the table in the trainer: `.venv/bin/python docs/make_metrics.py`."""

from pathlib import Path

from sapo_train.metrics import METRICS, TIMINGS, Metric

HERE = Path(__file__).parent
HEAD = """# What a run measures

Made by `docs/make_metrics.py` from `sapo_train.metrics`. Ratios are those of the configured level
(`objective.ratio_level`); means over tokens are over those that count. A number that is not finite is `null`.

## metrics.jsonl, one object per update

"""
TIMES = """
## timings.jsonl, one object per batch step

"""


def table(metrics: tuple[Metric, ...]) -> str:
    """Return metrics as a Markdown table."""
    cells = [("key", "unit", "what"), ("---",) * 3]
    cells += [(f"`{metric.key}`", metric.unit, metric.says.replace("|", "\\|")) for metric in metrics]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def page() -> str:
    """Return the whole page."""
    return HEAD + table(METRICS) + TIMES + table(TIMINGS)


if __name__ == "__main__":
    (HERE / "metrics.md").write_text(page(), encoding="utf-8")
