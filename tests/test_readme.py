"""What the README shows is what happens."""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path

import pytest

from sapo_analysis.cli import main as analysis
from sapo_gates.cli import main as gates

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"sapo-gates": gates, "sapo-analysis": analysis}


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [
        text
        for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
        if name == language
    ]


def commands() -> list[tuple[str, str]]:
    """(command, output shown) of every `$ sapo-...` line that takes only seconds."""
    shown = []
    for block in blocks(""):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            if shlex.split(command)[0] in PROGRAMS:
                shown.append((command, output))
    return shown


def any_digest(text: str) -> str:
    """Digests change with the version of what made them."""
    return re.sub("sha256:[0-9a-f]{64}", "sha256:…", text)


def test_every_command_of_the_readme_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in blocks("toml"):
        name = re.findall(r'^name = "(.*)"', text, re.MULTILINE)[0]
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    assert commands()
    for command, output in commands():
        program, *arguments = shlex.split(command)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            PROGRAMS[program](arguments)
        assert any_digest(said.getvalue()) == any_digest(output), command


def test_every_python_line_of_the_readme_gives_what_it_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks("python")), {}, "README", "README.md", 0)
    assert test.examples
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_file_the_readme_points_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()
