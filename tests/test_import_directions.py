"""Who may import whom, as the architecture draws it; held by reading the imports, wherever in a file they stand."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"sapo_gates": ROOT, "sapo_analysis": ROOT / "analysis", "sapo_train": ROOT / "train"}

BELOW = {
    "sapo_gates.errors": (),
    "sapo_gates.verdict": ("errors",),
    "sapo_gates.functions": ("errors",),
    "sapo_gates.expression": ("errors", "functions"),
    "sapo_gates.gate": ("errors", "verdict", "functions", "expression"),
    "sapo_gates.families": ("errors", "verdict", "functions", "expression", "gate"),
}
"""The lowest rooms of the library, and all that each may see of it: errors, verdict <- gate <- families."""

UPWARD = {"sapo_gates.gate imports sapo_gates.torch.trace.trace_gate"}
"""`Gate.from_torch` reads a torch function, and imports what reads it when it is called."""

PROGRAM = ("sapo_gates.cli", "sapo_gates.commands")
"""What the user starts, above every room."""

FORBIDDEN = (
    ("sapo_gates", ("sapo_analysis", "sapo_train")),
    ("sapo_analysis", ("sapo_train",)),
    ("sapo_train", ("sapo_analysis",)),
    ("sapo_gates.recheck", ("sapo_gates.prove", "sapo_gates.requirements", "sapo_gates.torch")),
    ("sapo_gates.prove", ("sapo_gates.requirements", "sapo_gates.certificate", "sapo_gates.torch", *PROGRAM)),
    ("sapo_gates.requirements", ("sapo_gates.certificate", "sapo_gates.torch", *PROGRAM)),
    ("sapo_gates.certificate", ("sapo_gates.torch", "sapo_gates.adapters", *PROGRAM)),
    ("sapo_gates.torch", ("sapo_gates.adapters", *PROGRAM)),
    ("sapo_gates.adapters", PROGRAM),
)
"""(room, what it must never import)."""

HEAVY = ("torch", "matplotlib", "transformers")


def modules(packages: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Every module of the packages by its dotted name."""
    for package, folder in packages.items():
        for path in sorted((folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    """Dotted names a file imports; `from a import b` counts as a.b, which may be a module.

    What stands under `if TYPE_CHECKING:` is not imported when the program runs.
    """
    skipped: set[ast.AST] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they go"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, room: str) -> bool:
    """Whether a dotted name is the room or inside it."""
    return name == room or name.startswith(room + ".")


def violations(packages: dict[str, Path]) -> list[str]:
    """`module imports name` for every import that goes the wrong way."""
    found = []
    for module, path in modules(packages):
        for name in imports(path):
            for room, never in FORBIDDEN:
                if within(module, room) and any(within(name, other) for other in never):
                    found.append(f"{module} imports {name}")
            for room, seen in BELOW.items():
                allowed = (room, *(f"sapo_gates.{other}" for other in seen))
                if within(module, room) and within(name, "sapo_gates") and not any(within(name, a) for a in allowed):
                    found.append(f"{module} imports {name}")
    return [violation for violation in found if violation not in UPWARD]


def test_every_import_goes_the_way_the_architecture_draws() -> None:
    assert violations(PACKAGES) == []


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("sapo_gates/gate.py", "from sapo_gates.families import FAMILIES"),
        ("sapo_gates/errors.py", "import sapo_gates.gate"),
        ("sapo_gates/recheck.py", "def check():\n    from sapo_gates.prove.interval import Interval"),
        ("sapo_gates/prove/boxes.py", "from sapo_gates import requirements"),
        ("sapo_gates/certificate.py", "import sapo_gates.torch.surrogate"),
        ("sapo_gates/torch/surrogate.py", "from sapo_gates.adapters.certified import certified_gate"),
        ("sapo_gates/cli.py", "import sapo_analysis.curves"),
        ("sapo_analysis/report.py", "from sapo_train.files import read_jsonl"),
        ("sapo_train/train.py", "import sapo_analysis as a"),
    ],
)
def test_a_planted_violation_is_found(where: str, text: str, tmp_path: Path) -> None:
    planted = tmp_path / where
    planted.parent.mkdir(parents=True)
    planted.write_text(text + "\n", encoding="utf-8")
    assert len(violations(dict.fromkeys(PACKAGES, tmp_path))) == 1


def test_an_import_for_type_checkers_alone_is_no_violation(tmp_path: Path) -> None:
    (tmp_path / "sapo_gates").mkdir()
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sapo_gates.torch import surrogate\n"
    (tmp_path / "sapo_gates" / "certificate.py").write_text(text, encoding="utf-8")
    assert violations(dict.fromkeys(PACKAGES, tmp_path)) == []


def loaded_by(statement: str) -> list[str]:
    """Which of the heavy packages a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("statement", ["import sapo_gates", "import sapo_gates.cli", "import sapo_gates.recheck"])
def test_the_library_loads_without_torch_matplotlib_and_transformers(statement: str) -> None:
    assert loaded_by(statement) == []


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded_by("import sapo_gates, torch") == ["torch"]


@pytest.mark.parametrize(
    ("program", "missing", "extra"),
    [
        ("sapo_analysis.cli curves arctan -o x.png", "matplotlib", "analysis"),
        ("sapo_train.cli run smoke.yaml", "torch", "train"),
    ],
)
def test_a_program_without_its_extra_names_it_in_one_line(program: str, missing: str, extra: str) -> None:
    module, *arguments = program.split()
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom {module} import main; sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    name = module.removesuffix(".cli").replace("_", "-")
    assert done.stderr == f"{name}: {missing} is not installed; install 'sapo-gates[{extra}]'.\n"
