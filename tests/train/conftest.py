"""Tiny models, built from a configuration; nothing is downloaded."""

from pathlib import Path

import pytest
from processes import Run
from runs import words

from sapo_gates import certify
from sapo_gates.torch import surrogate
from sapo_train.models import PolicyConfig
from sapo_train.policy import Policy, build_policy


@pytest.fixture(scope="session")
def gate():
    return surrogate(certify("arctan"), positive={"tau": 10}, negative={"tau": 12})


@pytest.fixture(scope="session")
def sigmoid_at_one():
    return surrogate(certify("sigmoid"), positive={"tau": 1}, negative={"tau": 1})


@pytest.fixture(scope="session")
def hard_clip():
    return surrogate(certify("hard-clip"), allow_uncertified=True)


@pytest.fixture
def policy() -> Policy:
    return build_policy(PolicyConfig(model="tiny-random"), temperature=1.0, seed=0)


@pytest.fixture(scope="session")
def straight(tmp_path_factory) -> Path:
    """A run that nothing disturbs; beside it its output, and its file operations in their order."""
    folder = tmp_path_factory.mktemp("straight")
    code, output = Run(words(folder / "run"), folder / "output").end()
    assert code == 0, output
    return folder / "run"
