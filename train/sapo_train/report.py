"""The page of pictures at the end of a run; `sapo-analysis` draws it, a program that the trainer does without."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def write_report(folder: Path) -> str:
    """Have report.html made in the run directory; return a line that says so, or why there is none."""
    page = folder / "report.html"
    again = f"'sapo-analysis report {folder} -o {page}' makes it"
    if importlib.util.find_spec("sapo_analysis") is None:
        return f"no report: pip install 'sapo-gates[analysis]', then {again}"
    command = [sys.executable, "-m", "sapo_analysis.cli", "report", str(folder), "-o", str(page)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"report: {page}" if done.returncode == 0 else f"no report: {said[-1]}; {again}"
