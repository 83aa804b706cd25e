"""What a page of documentation shows: its fenced blocks, and whether what they show is what happens."""

import doctest
import re
from typing import Any

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def blocks(page: str, language: str = "") -> list[str]:
    """The fenced blocks of a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def commands(page: str) -> list[tuple[str, str]]:
    """(command, output shown) of every line that begins with a dollar, comments left out."""
    parts = [part for block in blocks(page) for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    split = [part.replace("\\\n", "").partition("\n") for part in parts]
    return [(re.sub(r"\s+# .*", "", command), output) for command, _, output in split]


def says_otherwise(block: str, names: dict[str, Any] | None = None) -> str:
    """What the lines of Python print otherwise than shown, or nothing."""
    test = doctest.DocTestParser().get_doctest(block, dict(names or {}), "page", "page", 0)
    assert test.examples
    said: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    return "".join(said)


def same_but_for_digests(said: str, shown: str) -> bool:
    """Whether a program printed what is shown, where `...` stands for anything; digests change with versions."""
    said, shown = (re.sub("sha256:[0-9a-f]{64}", "sha256:…", text) for text in (said, shown))
    return doctest.OutputChecker().check_output(shown, said, doctest.ELLIPSIS)
