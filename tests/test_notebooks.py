"""The notebooks run from top to bottom, and the outputs stored in them say what such a run says."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
DIFFERS = re.compile(r"/tmp/\w+|sha256:[0-9a-f]+|-?\d[\d.,]*(e[-+]?\d+)?")
"""What may be another on another machine: folders, digests (which cover versions), numbers."""


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell: Any) -> list[str]:
    """The words of a cell's output, without numbers; pictures are looked at, not compared."""
    texts = [one.text if one.output_type == "stream" else one.data.get("text/plain", "") for one in cell.outputs]
    return DIFFERS.sub("#", "".join(texts)).split()


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the machinery that runs notebooks, not of ours
def test_a_notebook_runs_from_top_to_bottom_and_says_what_it_is_stored_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # which our programs set, and a kernel would show no picture
    stored, run = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    where = {"metadata": {"path": path.parent}}
    NotebookClient(run, timeout=120, kernel_name="python3", resources=where).execute()
    for before, now in zip(code_cells(stored), code_cells(run), strict=True):
        assert said(before) == said(now), before.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs_in_order(path: Path) -> None:
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert any(cell.outputs for cell in cells)
