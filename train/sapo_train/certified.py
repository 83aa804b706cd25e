"""No gate without a certificate: take one or make one, recheck it, and turn it into torch functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sapo_train.config import check, config
from sapo_train.errors import ConfigError
from sapo_train.files import write_json
from sapo_train.objective import RatioLevel, Reduction, TorchGate

if TYPE_CHECKING:
    from sapo_gates import Certificate

Role = Literal["certified", "baseline", "uncertified"]


@config
class ObjectiveConfig:
    """Which gate, on which ratio, reduced how."""

    gate: str = "arctan"
    """A family's name, a gate file, 'package.module:NAME', or a certificate (a .json file)."""
    positive: dict[str, float] | None = None
    """Parameters of the gate where A > 0, e.g. {tau: 10}; none: those it is declared with."""
    negative: dict[str, float] | None = None
    """Parameters of the gate where A <= 0."""
    ratio_level: RatioLevel = "token"
    """token; sequence (mean log-ratio, GSPO 2507.18071); sequence-sum (full ratio, VESPO 2602.10693)."""
    reduction: Reduction = "seq-mean-token-mean"
    """seq-mean-token-mean (2402.03300); token-mean (DAPO 2503.14476); seq-mean-token-sum-norm (Dr.GRPO 2503.20783)."""

    def __post_init__(self) -> None:
        check(bool(self.gate), "objective.gate='' must name a gate.")


@dataclass(frozen=True)
class CertifiedGate:
    """A gate as torch functions, with what was proved about it and what it is to the run."""

    gate: TorchGate
    certificate: dict[str, Any]
    role: Role

    @property
    def verdict(self) -> str:
        """certified, refuted or undecided."""
        return str(self.certificate["verdict"])


def take_gate(config: ObjectiveConfig, allow_uncertified: bool, stored: Path) -> CertifiedGate:
    """Certify the gate of a run (or read what `stored` keeps of an earlier start), recheck it, and export it.

    A family that ships and is refuted trains as a baseline; anything else that is not certified needs
    `allow_uncertified`. The certificate is kept in `stored`.

    Raises:
        ConfigError: no such gate, a certificate that does not hold, or a gate that is not certified.
    """
    from sapo_gates import FAMILIES
    from sapo_gates.errors import SapoGatesError
    from sapo_gates.recheck import recheck
    from sapo_gates.torch import surrogate

    try:
        certificate = _certificate(config.gate, stored)
        recheck(certificate.to_json())
        shipped = certificate.gate.digest in {family.digest for family in FAMILIES}
        role: Role = "certified"
        if certificate.verdict != "certified":
            role = "baseline" if shipped and certificate.verdict == "refuted" else "uncertified"
        if role == "uncertified" and not allow_uncertified:
            raise ConfigError(
                f"objective.gate={config.gate!r} is {certificate.verdict}, not certified; 'sapo-gates certify "
                f"{config.gate}' says why. Train it all the same with --allow-uncertified, which is written into the "
                "run's files."
            )
        gate = surrogate(
            certificate, positive=config.positive, negative=config.negative, allow_uncertified=role != "certified"
        )
    except SapoGatesError as error:
        raise ConfigError(f"objective.gate={config.gate!r}: {error}") from None
    write_json(stored, certificate.to_json())
    return CertifiedGate(gate, certificate.to_json(), role)


def _certificate(gate: str, stored: Path) -> Certificate:
    from sapo_gates import certify, load_certificate, load_gate

    given = load_certificate(gate) if gate.endswith(".json") else None
    if not stored.exists():
        return given or certify(gate)
    kept = load_certificate(stored)
    if kept.gate.digest != (given.gate if given else load_gate(gate)).digest:
        raise ConfigError(f"{stored} certifies gate {kept.gate.name!r}, which is not objective.gate={gate!r}.")
    return kept
