"""What an exported file says of itself; what it computes is in tests/adapters."""

import ast
import json

import pytest

from sapo_gates import certify
from sapo_gates.cli import main
from sapo_gates.errors import ExportError, NotCertified, ParameterValueError
from sapo_gates.export import TARGETS, export
from sapo_gates.gatefile import parse_gate


@pytest.fixture(scope="module")
def certificate():
    return certify("arctan")


@pytest.mark.parametrize("to", TARGETS)
def test_the_file_says_which_gate_certificate_and_parameters_it_is_made_of(to, certificate):
    text = export(certificate, to, positive={"tau": 7})
    header = ast.get_docstring(ast.parse(text)) or ""
    assert certificate.digest in header
    assert certificate.gate.text.strip() in header
    assert "A > 0: tau = 7; otherwise: tau = 12" in header
    assert "sapo_gates.adapters" not in text
    assert not [line for line in text.splitlines() if line.startswith(("import sapo_gates", "from sapo_gates"))]


def test_a_name_that_ends_the_docstring_does_not(certificate):
    text = certificate.gate.text.replace('"arctan"', '\'a"""\\n; raise SystemExit #\'')
    tree = ast.parse(export(certify(parse_gate(text)), "verl"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "SystemExit"]


def test_an_unknown_target_offers_the_nearest(certificate):
    with pytest.raises(ExportError, match=r"cannot export to 'pyhton': targets are python, .*Did you mean 'python'\?"):
        export(certificate, "pyhton")


def test_a_value_outside_the_certified_domain_is_refused(certificate):
    with pytest.raises(ParameterValueError, match="tau=0 is outside"):
        export(certificate, "trl", negative={"tau": 0})


def test_a_refuted_gate_is_not_exported():
    with pytest.raises(NotCertified, match="cannot export gate 'hard-clip'"):
        export(certify("hard-clip"))


def test_the_command_takes_a_certificate_and_temperatures(certificate, tmp_path, capsys):
    certificate.save(tmp_path / "arctan.json")
    path = tmp_path / "arctan.py"
    arguments = ["export", str(tmp_path / "arctan.json"), "--to", "verl", "--set", "tau=3", "--set", "negative.tau=5"]
    assert main([*arguments, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"written to {path}\n"
    assert path.read_text(encoding="utf-8") == export(certificate, "verl", positive={"tau": 3}, negative={"tau": 5})
    assert "loss_mode=sapo_gates:arctan@positive.tau:3@negative.tau:5" in path.read_text(encoding="utf-8")


def test_the_command_refuses_a_certificate_that_was_changed(certificate, tmp_path, capsys):
    content = certificate.to_json() | {"profile": "trust-region"}
    (tmp_path / "forged.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["export", str(tmp_path / "forged.json")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
