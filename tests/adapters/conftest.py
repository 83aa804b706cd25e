"""The trainers' losses on given log-probs, and the gates that are put into them."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sapo_gates import Certificate, certify
from sapo_gates.export import export
from sapo_gates.torch import TorchGate, surrogate


def load(path: Path, name: str) -> Any:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def harness() -> Any:
    return load(Path(__file__).with_name("harness.py"), "adapters_harness")


@pytest.fixture(scope="session")
def sigmoid() -> Certificate:
    return certify("sigmoid")


@pytest.fixture(scope="session")
def sigmoid_gate(sigmoid: Certificate) -> TorchGate:
    """SAPO's own gate at the temperatures of arXiv:2602.19345."""
    return surrogate(sigmoid, positive={"tau": 10}, negative={"tau": 12})


WITHOUT_THE_PACKAGE = """
import importlib.util, sys
sys.modules["sapo_gates"] = None  # importing it is an error from here on
def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
harness = load({harness!r}, "harness")
{before}
exported = load({path!r}, "exported")
{after}
import torch
torch.save({{key: vars({step}) for key, batch in harness.every_batch().items()}}, {results!r})
"""


@pytest.fixture
def exported_steps(harness: Any, sigmoid: Certificate, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What an exported file computes of every batch, in a process that cannot import this package."""

    def run(to: str, step: str, before: str = "", after: str = "") -> dict[str, Any]:
        path, results = tmp_path / "exported.py", tmp_path / "steps.pt"
        path.write_text(export(sigmoid, to, positive={"tau": 10}, negative={"tau": 12}), encoding="utf-8")
        code = WITHOUT_THE_PACKAGE.format(
            harness=harness.__file__, before=before, path=str(path), after=after, step=step, results=str(results)
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {key: harness.Step(**fields) for key, fields in torch.load(results).items()}

    return run
