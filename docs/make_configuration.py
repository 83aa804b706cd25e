"""Writes docs/configuration.md from the trainer's recipes and dataclasses.

`.venv/bin/python docs/make_configuration.py`
"""

import inspect
import itertools
from pathlib import Path
from typing import get_type_hints

from sapo_train.config import RECIPES, describe
from sapo_train.run import RunConfig

HERE = Path(__file__).parent
HEAD = """# Recipes and their fields

Made by `docs/make_configuration.py` from `sapo_train`. How they are used: [training](training.md).

## Recipes that ship

A recipe is a YAML file; these are named without a path. `base: NAME` in one lays it on another.

"""
FIELDS = """
## Fields

A field of a recipe is a flag too: `optim: {lr: 1e-6}` in YAML is `--optim.lr=1e-6` after `sapo-train run`. Of defaults,
recipe and flags the later wins; an unknown key is an error that offers the nearest. The resolved run is
kept beside what it did, as `config.yaml`.
"""


def recipes() -> str:
    """Every recipe that ships, as the comment at its head describes it."""
    lines = []
    for path in sorted(RECIPES.glob("*.yaml")):
        text = path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), text))
        lines.append(f"- `{path.name}`: {comment}\n")
    return "".join(lines)


def fields() -> str:
    """Every field with its default and help text, a table for each section."""
    kinds = get_type_hints(RunConfig)
    parts = []
    for section, rows in itertools.groupby(describe(RunConfig), lambda row: section_of(row[0])):
        says = inspect.getdoc(kinds.get(section, RunConfig)) or ""
        parts.append(f"\n### {section}\n\n{says.splitlines()[0]}\n\n| field | default | what |\n| --- | --- | --- |\n")
        parts += [f"| `{name}` | `{cell(default)}` | {cell(says)} |\n" for name, default, says in rows]
    return "".join(parts)


def section_of(field: str) -> str:
    """The first word of a dotted name; what belongs to no section is of the run."""
    section, dot, _ = field.partition(".")
    return section if dot else "run"


def cell(text: str) -> str:
    """The text, fit for the cell of a table."""
    return text.replace("|", "\\|")


def page() -> str:
    """Return the whole page."""
    return HEAD + recipes() + FIELDS + fields()


if __name__ == "__main__":
    (HERE / "configuration.md").write_text(page(), encoding="utf-8")
