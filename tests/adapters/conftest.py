"""The trainers' losses on given log-probs, and the gates that are put into them."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from sapo_gates import Certificate, certify
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
