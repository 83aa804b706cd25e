"""docs/audits.md was written for the trainers that are pinned, and docs/audit.md says what is there."""

import re
import runpy
from pathlib import Path

import pytest

from sapo_gates import load_gate
from sapo_gates.torch.audit import PROPERTIES, SHAPES, audit
from sapo_gates.torch.audit.shapes import imported

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "audits.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_audits.py"))


def pins() -> dict[str, str]:
    files = (path.read_text(encoding="utf-8") for path in (ROOT / "peers").glob("*.txt"))
    return {name: number for text in files for name, number in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("package", ["trl", "liger_kernel", "verl", "torch"])
def test_the_page_is_about_the_versions_that_are_pinned(package):
    said = re.findall(rf"{package} ([0-9.]+[0-9])", PAGE)
    assert said
    assert set(said) == {pins()[package]}


def test_every_loss_is_on_the_page_with_the_command_that_audits_it():
    for loss in SCRIPT["LOSSES"]:
        assert f"## {loss.title}" in PAGE
        assert SCRIPT["_command"](loss) in PAGE


def columns() -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    return {title: list(cells) for title, *cells in zip(*(row for row in rows if "---" not in row[0]), strict=True)}


def test_the_page_shows_faults_and_ours_has_none():
    table = columns()
    assert any("✗" in cell for cell in table["TRL `sapo`"])
    for title in SCRIPT["OURS"]:
        assert "✓" in table[title][0]
        assert not any("✗" in cell for cell in table[title]), title


def test_a_failure_is_written_with_the_input_that_shows_it():
    finite = {"id": "finite-float32", "verdict": "fails", "says": "nan", "input": {"z": 88.7, "dtype": "float32"}}
    reduction = {"id": "reduction", "verdict": "holds", "says": "token-mean", "input": {}}
    one = {"title": "TRL `sapo`", "versions": {"trl": "1"}, "command": "", "level": "token"}
    text = SCRIPT["page"]([{**one, "properties": [finite, reduction], "trace": {"untraced": "no"}}])
    assert "| … float32 | ✗ z = 88.7 |" in text
    assert "`finite-float32`: nan (at z = 88.7, dtype = float32)" in text


def test_what_the_page_says_of_trl_is_what_the_installed_one_does():
    loss = next(loss for loss in SCRIPT["LOSSES"] if loss.title == "TRL `sapo`")
    against = load_gate(loss.against).bind(positive=loss.positive, negative=loss.negative)
    found = audit(imported(loss.dotted), against=against, knobs=loss.knobs, prove=False)
    section = PAGE.split(f"## {loss.title}")[1].split("\n## ")[0]
    assert re.findall(r"^- ✗ `([\w-]+)`", section, re.MULTILINE) == [
        f.id for f in found.findings if f.verdict == "fails"
    ]


def test_the_guide_names_every_shape_and_every_property():
    for name in (*SHAPES, *PROPERTIES):
        assert f"`{name}`" in GUIDE
