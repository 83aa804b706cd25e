from types import SimpleNamespace

import pytest

from sapo_gates import Gate


@pytest.fixture
def uncertified():
    """A gate with the certificate of one that nothing was proved about: what `surrogate` reads of it."""

    def make(gate: Gate):
        return SimpleNamespace(gate=gate, verdict="undecided", requirements=(), profile="admissible", digest="sha256:0")

    return make
