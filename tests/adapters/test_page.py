"""docs/adapters.md shows what happens, with the versions that the tests run with."""

import re
import shlex
from pathlib import Path

import pytest
from pages import blocks, commands, says_otherwise

from sapo_gates.cli import main
from sapo_gates.errors import AdapterError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")  # TRL uses names that transformers has deprecated
def test_the_lines_for_trl_train_a_model(harness, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = says_otherwise(blocks(PAGE, "python")[0], harness.trl_ingredients())
    assert not said, said


@pytest.mark.verl
def test_the_lines_for_verl_find_the_loss():
    said = says_otherwise(blocks(PAGE, "python")[1])
    assert not said, said


def test_the_commands_print_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = [(shlex.split(command), output) for command, output in commands(PAGE)]
    ours = [(words[1:], output) for words, output in shown if words[0] == "sapo-gates"]
    assert ours
    for arguments, output in ours:
        main(arguments)
        assert "".join(capsys.readouterr()) == output
    (head,) = (block for block in blocks(PAGE) if block.startswith("Gate arctan"))
    written = (tmp_path / "arctan.py").read_text(encoding="utf-8")
    assert re.sub("sha256:[0-9a-f]+", "", head) in re.sub("sha256:[0-9a-f]+", "", written)


def test_the_error_that_is_shown_is_the_one_that_is_raised(harness):
    from sapo_gates.adapters.prime_rl import loss

    with pytest.raises(AdapterError) as raised:
        loss(harness.LossInputs(*[None] * 6), gate="arctan", reduction="seq-mean-token-mean")
    (shown,) = (block for block in blocks(PAGE) if block.startswith("AdapterError"))
    assert shown.split() == f"AdapterError: {raised.value}".split()


@pytest.mark.parametrize(
    ("pins", "packages"),
    [("constraints.txt", ("trl", "transformers", "torch")), ("peers/verl.txt", ("verl", "transformers", "torch"))],
)
def test_the_versions_are_those_of_the_environments(pins, packages):
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / pins).read_text(encoding="utf-8"), re.MULTILINE))
    assert ", ".join(f"{package} {pinned[package]}" for package in packages) in PAGE
