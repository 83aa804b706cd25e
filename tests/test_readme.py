"""What the README shows is what happens."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from pages import blocks, commands, same_but_for_digests, says_otherwise

from sapo_analysis.cli import main as analysis
from sapo_gates import certify
from sapo_gates.cli import main as gates

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"sapo-gates": gates, "sapo-analysis": analysis}
"""Those that take only seconds."""


def test_every_command_of_the_readme_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in blocks(README, "toml"):
        name = re.findall(r'^name = "(.*)"', text, re.MULTILINE)[0]
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    shown = [(shlex.split(command), output) for command, output in commands(README)]
    quick = [(words, output) for words, output in shown if words[0] in PROGRAMS]
    assert quick
    for (program, *arguments), output in quick:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            PROGRAMS[program](arguments)
        assert same_but_for_digests(said.getvalue(), output), arguments


def test_every_python_line_of_the_readme_gives_what_it_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert not (said := says_otherwise("\n".join(blocks(README, "python")))), said


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_file_the_readme_points_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_certificate_on_the_first_screen_has_the_size_of_one_that_is_made(tmp_path: Path) -> None:
    shown = re.search(r"sigmoid\.json  ([\d,]+) bytes", README)
    assert shown
    certify("sigmoid").save(tmp_path / "sigmoid.json")
    made = (tmp_path / "sigmoid.json").stat().st_size  # the names of versions in it differ in length
    assert int(shown[1].replace(",", "")) == pytest.approx(made, abs=20)
