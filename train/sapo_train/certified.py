"""No gate without a certificate: take one or make one, recheck it, and turn it into torch functions."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sapo_train.config import check, config
from sapo_train.errors import ConfigError
from sapo_train.files import write_json
from sapo_train.objective import Correction, Objective, RatioLevel, Reduction, TorchGate
from sapo_train.world import World

if TYPE_CHECKING:
    from sapo_gates import Certificate, Gate

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

    correction: Correction = "none"
    """Sampler/learner correction: weight the terms by min(2, π_old/π_sampler) of the token or sequence, detached."""
    kl_weight: float = 0.0
    """β, weight of KL(new‖reference) by the estimator k3, >= 0. The reference is the model the run began with, with no
    adapter in it."""
    kl_ratio_correction: bool = False
    """Multiply k3 by π_new/π_old: its gradient is then unbiased off policy (2512.02556)."""
    entropy_share: float = 1.0
    """Share of a batch's tokens, those of highest entropy, whose advantage counts, in (0, 1] (0.2 in 2506.01939)."""

    def __post_init__(self) -> None:
        check(bool(self.gate), "objective.gate='' must name a gate.")
        check(self.kl_weight >= 0, f"objective.kl_weight={self.kl_weight} must be at least 0.")
        check(
            self.kl_weight > 0 or not self.kl_ratio_correction,
            "objective.kl_ratio_correction=true changes nothing while objective.kl_weight=0; set a weight.",
        )
        check(0 < self.entropy_share <= 1, f"objective.entropy_share={self.entropy_share} must lie in (0, 1].")


@dataclass(frozen=True)
class CertifiedGate:
    """A gate as torch functions, with what was proved about it and what it is to the run."""

    gate: TorchGate
    certificate: dict[str, Any]
    role: Role
    log_curvature: dict[str, float]  # sup|g''| for each sign of A, where it is finite; for `weight_gap_bound`

    @property
    def verdict(self) -> str:
        """certified, refuted or undecided."""
        return str(self.certificate["verdict"])


def take_gate(config: ObjectiveConfig, allow_uncertified: bool, stored: Path, world: World) -> CertifiedGate:
    """Certify the gate of a run (or read what `stored` keeps of an earlier start), recheck it, and export it.

    A family that ships and is refuted trains as a baseline; anything else that is not certified needs
    `allow_uncertified`. The certificate is kept in `stored`, by process 0 before the others read it there.

    Raises:
        ConfigError: no such gate, a certificate that does not hold, or a gate that is not certified.
    """
    from sapo_gates import FAMILIES
    from sapo_gates.errors import SapoGatesError, UnknownParameter
    from sapo_gates.recheck import recheck
    from sapo_gates.torch import surrogate

    if not world.writes:
        world.gather(None)
    try:
        certificate = _certificate(config.gate, stored)
        recheck(certificate.to_json())
        role: Role = "certified"
        if certificate.verdict != "certified":
            shipped = certificate.gate.digest in {family.digest for family in FAMILIES}
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
        curvature = _log_curvature(
            certificate.gate, tuple((config.positive or {}).items()), tuple((config.negative or {}).items())
        )
    except UnknownParameter as error:
        raise ConfigError(
            f"objective.gate={config.gate!r}: {error} The run has objective.positive={config.positive} and "
            f"objective.negative={config.negative}, perhaps by its recipe; null is what the gate declares."
        ) from None
    except SapoGatesError as error:
        raise ConfigError(f"objective.gate={config.gate!r}: {error}") from None
    if world.writes:
        write_json(stored, certificate.to_json())
        world.gather(None)
    return CertifiedGate(gate, certificate.to_json(), role, curvature)


def build_objective(config: ObjectiveConfig, certified: CertifiedGate, max_length: int) -> Objective:
    """Put the certified gate into the objective that is configured."""
    return Objective(
        gate=certified.gate,
        reduction=config.reduction,
        ratio_level=config.ratio_level,
        max_length=max_length,
        correction=config.correction,
        kl_weight=config.kl_weight,
        kl_ratio_correction=config.kl_ratio_correction,
    )


@functools.cache
def _log_curvature(
    gate: Gate, positive: tuple[tuple[str, float], ...], negative: tuple[tuple[str, float], ...]
) -> dict[str, float]:
    from sapo_gates.datasheet import log_curvature

    bounds = log_curvature(gate, dict(positive), dict(negative))
    return {sign: bound for sign, bound in bounds.items() if math.isfinite(bound)}


def _certificate(gate: str, stored: Path) -> Certificate:
    from sapo_gates import certify, load_certificate, load_gate

    given = load_certificate(gate) if gate.endswith(".json") else None
    if not stored.exists():
        return given or certify(gate)
    kept = load_certificate(stored)
    if kept.gate.digest != (given.gate if given else load_gate(gate)).digest:
        raise ConfigError(f"{stored} certifies gate {kept.gate.name!r}, which is not objective.gate={gate!r}.")
    return kept
