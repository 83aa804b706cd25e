"""docs/requirements.md says what the docstrings say and shows what the prover finds today."""

import re
import runpy
from pathlib import Path

import pytest

from sapo_gates.requirements import TRUST_REGION

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and its pictures, made anew."""
    folder = tmp_path_factory.mktemp("docs")
    runpy.run_path(str(DOCS / "make_requirements.py"))["write"](folder)
    return folder


def words(picture: Path) -> list[str]:
    """What is written in an SVG; its curves may differ in the last digit between machines."""
    return re.findall(r"<text[^>]*>([^<]*)<", picture.read_text(encoding="utf-8"))


def test_the_page_is_what_its_script_writes(written: Path) -> None:
    assert (DOCS / "requirements.md").read_text(encoding="utf-8") == (written / "requirements.md").read_text("utf-8")


@pytest.mark.parametrize("requirement", [module.ID for module in TRUST_REGION])
def test_each_picture_is_what_its_script_draws(requirement: str, written: Path) -> None:
    drawn, kept = (folder / "requirements" / f"{requirement}.svg" for folder in (written, DOCS))
    assert f"✗ {requirement}" in words(kept)
    assert words(kept) == words(drawn)
