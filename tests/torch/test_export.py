import ast
import importlib.util
import subprocess
import sys

import pytest
import torch

from sapo_gates import certify
from sapo_gates.errors import ExportError, NotCertified
from sapo_gates.export import export
from sapo_gates.torch import surrogate


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "arctan_gate.py"
    path.write_text(export(certify("arctan")), encoding="utf-8")
    return path


def test_the_file_says_which_gate_and_certificate_it_is(exported):
    header = ast.get_docstring(ast.parse(exported.read_text(encoding="utf-8"))) or ""
    certificate = certify("arctan")
    assert certificate.digest in header
    assert certificate.gate.text.strip() in header
    assert "A > 0: tau = 10; otherwise: tau = 12" in header


def test_the_file_computes_bit_for_bit_what_surrogate_computes(exported):
    spec = importlib.util.spec_from_file_location("arctan_gate", exported)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["arctan_gate"] = module
    spec.loader.exec_module(module)
    gate = surrogate(certify("arctan"))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        z = torch.linspace(-120, 120, 961, dtype=torch.float64).to(dtype)
        advantage = torch.tensor([1.0, -1.0, 0.0] * 320 + [1.0])
        mine, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
        gate(mine, advantage).sum().backward()
        module.gate(theirs, advantage).sum().backward()
        assert torch.equal(gate(z, advantage), module.gate(z, advantage))
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)


def test_the_file_needs_torch_and_nothing_else(exported):
    code = (
        "import sys; sys.modules['sympy'] = sys.modules['flint'] = sys.modules['sapo_gates'] = None\n"
        "import torch, arctan_gate; print(arctan_gate.gate(torch.zeros(1), torch.ones(1)).item())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported.parent, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "1.0", done.stderr


def test_an_unknown_target_offers_the_nearest():
    with pytest.raises(ExportError, match=r"cannot export to 'pyhton': targets are python\. Did you mean 'python'\?"):
        export(certify("arctan"), "pyhton")


def test_a_refuted_gate_is_not_exported():
    with pytest.raises(NotCertified, match="cannot export gate 'hard-clip'"):
        export(certify("hard-clip"))
