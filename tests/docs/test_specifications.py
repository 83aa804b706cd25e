"""Every promise of the pages that state them stands beside tests that exist, or a command."""

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGES = {"prover-specification.md": ("", 70), "trainer-specification.md": ("train", 80)}
"""The folder of tests whose files a page names without it, and how many promises it has at least."""


@cache
def text_of(file: str, folder: str) -> str:
    path = TESTS / file if "/" in file else TESTS / folder / file
    return path.read_text(encoding="utf-8")


def promises(page: str) -> list[tuple[str, list[str]]]:
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return [
        (what.strip(), re.findall(r"`([^`]+)`", shown))
        for what, shown in rows
        if what.strip() not in {"promise", "---"}
    ]


def missing(page: str, folder: str) -> list[str]:
    """Promises that nothing shows, and tests that do not exist."""
    found = []
    for what, shown in promises(page):
        tests = [place.split("::") for place in shown if "::" in place]
        found += [what] if not shown else []
        found += [f"{file}::{test}" for file, test in tests if f"def {test}(" not in text_of(file, folder)]
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_promise_is_shown_by_tests_that_exist(name: str):
    folder, least = PAGES[name]
    page = (TESTS.parent / "docs" / name).read_text(encoding="utf-8")
    assert len(promises(page)) > least
    assert missing(page, folder) == []


def test_a_promise_that_nothing_shows_and_a_test_that_is_gone_are_found():
    page = "| promise | shown by |\n| --- | --- |\n| it flies | |\n| it swims | `test_run.py::test_it_swims` |\n"
    assert missing(page, "train") == ["it flies", "test_run.py::test_it_swims"]
