import json

import pytest

from sapo_gates import certify
from sapo_gates.adapters.certified import certificate_of, certified_gate
from sapo_gates.errors import CertificateError, NotCertified, ParameterValueError, RecheckFailed
from sapo_gates.torch import surrogate


def test_a_certificate_file_is_checked_again_before_it_is_believed(sigmoid, tmp_path):
    path = tmp_path / "sigmoid.json"
    sigmoid.save(path)
    assert certificate_of(str(path)) == sigmoid
    path.write_text(json.dumps(sigmoid.to_json() | {"precision": 12}), encoding="utf-8")
    with pytest.raises((CertificateError, RecheckFailed)):
        certificate_of(path)


def test_a_gate_that_was_exported_as_uncertified_is_refused():
    with pytest.raises(NotCertified, match="'hard-clip' is marked as not certified"):
        certified_gate(surrogate(certify("hard-clip"), allow_uncertified=True))


def test_values_for_a_gate_whose_values_are_fixed_are_refused(sigmoid_gate):
    assert certified_gate(sigmoid_gate) is sigmoid_gate
    with pytest.raises(ParameterValueError, match=r"positive=\{'tau': 3\}.* the values of a TorchGate are fixed"):
        certified_gate(sigmoid_gate, positive={"tau": 3})
