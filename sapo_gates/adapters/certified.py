"""What an adapter is given, as a certified gate: whatever names it, nothing that is not certified."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sapo_gates.certificate import Certificate, certify, load_certificate
from sapo_gates.errors import NotCertified, ParameterValueError
from sapo_gates.gate import Gate, Number
from sapo_gates.recheck import recheck

if TYPE_CHECKING:
    from sapo_gates.torch import TorchGate


def certificate_of(gate: "Certificate | Gate | str | Path") -> Certificate:
    """The certificate in a .json file, its proofs checked again, or one made here.

    Args:
        gate: a certificate or its file, a Gate, a family's name, a gate file, or `pkg.module:NAME`.

    Raises:
        CertificateError, RecheckFailed: the file is no certificate, or a proof in it does not hold.
        UnknownGate, GateTextError: the gate cannot be read.
    """
    if isinstance(gate, Certificate):
        return gate
    if isinstance(gate, Gate) or not str(gate).endswith(".json"):
        return certify(gate)
    recheck(gate)
    return load_certificate(gate)


def certified_gate(
    gate: "TorchGate | Certificate | Gate | str | Path",
    *,
    positive: Mapping[str, Number] | None = None,
    negative: Mapping[str, Number] | None = None,
) -> "TorchGate":
    """The gate as torch functions, at its declared parameter values or those given.

    Raises:
        NotCertified: a requirement is refuted or undecided.
        ParameterValueError: a value outside the domain the gate is certified for, or for a gate whose values are fixed.
        UnknownParameter: the gate has no parameter of that name.
    """
    from sapo_gates.torch import TorchGate, surrogate

    if not isinstance(gate, TorchGate):
        return surrogate(certificate_of(gate), positive=positive, negative=negative)
    if not gate.certified:
        raise NotCertified(f"gate {gate.name!r} is marked as not certified; `sapo-gates certify` says what fails.")
    if positive or negative:
        raise ParameterValueError(
            f"positive={positive}, negative={negative}: the values of a TorchGate are fixed ({dict(gate.positive)}, "
            f"{dict(gate.negative)}); give them to `surrogate`, or give the certificate here."
        )
    return gate
