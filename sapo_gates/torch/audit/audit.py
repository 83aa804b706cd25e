"""One function audited: every property, the weight it implies, and a proof or a witness about its formula."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sapo_gates.certificate import Certificate, certify
from sapo_gates.errors import TraceError
from sapo_gates.gate import Gate
from sapo_gates.torch.audit import batches, knobs, safety, weight
from sapo_gates.torch.audit.finding import Finding, fails
from sapo_gates.torch.audit.formula import traced
from sapo_gates.torch.audit.shapes import subject
from sapo_gates.torch.audit.subject import Knobs, Raised, Subject, probe, score_weights

Property = Callable[[Subject, Gate | None], Iterator[Finding]]
PROPERTIES: dict[str, Property] = {
    "unit-weight": weight.unit_weight,
    "advantage": weight.advantage_used,
    "gradient-of-value": weight.gradient_of_value,
    "matches-gate": weight.matches,
    "inert-tokens": safety.masked_and_zero,
    "finite": safety.finite,
    "reduction": batches.reduction,
    "invariance": batches.cut_padding_order,
    "knobs": knobs.knobs_alive,
    "temperatures": knobs.temperatures_refused,
    "temperature-digits": knobs.temperatures_kept,
    "clip-metrics": knobs.clip_metrics,
}
"""The properties by name; one may give several findings. Source: gates.md of the project, section 7."""

IMPLIED_AT = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 2.0, 4.0, 10.0)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found about one function.

    implied: by sign, rows (r, f - f(1), w, phi): f is the integral of the gradient that is applied.
    level: token or sequence, where the ratio is formed. certificate: about the formula read from its graph; untraced:
    why there is none.
    """

    name: str
    shape: str
    against: str | None
    knobs: Mapping[str, Any]
    findings: tuple[Finding, ...]
    implied: Mapping[str, tuple[tuple[float, float, float, float], ...]]
    level: str
    certificate: Certificate | None = None
    untraced: str = ""

    @property
    def holds(self) -> bool:
        """Whether no property fails."""
        return all(finding.verdict != "fails" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As one JSON object; numbers that JSON does not have are words."""
        trace: dict[str, Any] = {"untraced": self.untraced}
        if self.certificate is not None:
            gate = self.certificate.gate
            trace = {
                "formula": {sign: str(gate.declared(sign)) for sign in ("positive", "negative")},
                "kind": gate.kind,
                "profile": self.certificate.profile,
                "verdict": self.certificate.verdict,
                "requirements": self.certificate.to_json()["requirements"],
            }
        return _plain(
            {
                "function": self.name,
                "shape": self.shape,
                "against": self.against,
                "knobs": dict(self.knobs),
                "verdict": "holds" if self.holds else "fails",
                "level": self.level,
                "properties": [
                    {"id": f.id, "verdict": f.verdict, "says": f.says, "input": dict(f.input)} for f in self.findings
                ],
                "implied": {
                    sign: [dict(zip(("r", "value", "weight", "score"), row, strict=True)) for row in rows]
                    for sign, rows in self.implied.items()
                },
                "trace": trace,
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def audit(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    against: Gate | None = None,
    shape: str | None = None,
    knobs: Knobs | None = None,
    only: tuple[str, ...] = tuple(PROPERTIES),
    prove: bool = True,
    budget: float = 60.0,
) -> Audit:
    """Audit one function.

    Args:
        function: a gate or a loss, of one of `SHAPES`.
        name: what the report calls it.
        against: the gate it claims to be, at its trained values.
        shape: of SHAPES; None: by the names of its parameters.
        knobs: what the function is called with beside its tensors.
        only: names of PROPERTIES.
        prove: whether to read its formula and hand it to the prover.
        budget: seconds for the prover.

    Raises:
        AuditError: the function has no shape known, or cannot be called as its shape says.
    """
    shown = name or getattr(function, "__qualname__", type(function).__name__)
    seen = subject(function, name=shown, shape=shape, knobs=knobs)
    probe(seen)
    findings = tuple(finding for id in only for finding in _findings(id, seen, against))
    certificate, untraced = _proof(seen, budget) if prove else (None, "not asked for")
    return Audit(
        name=shown,
        shape=seen.shape,
        against=None if against is None else against.name,
        knobs=seen.knobs,
        findings=findings,
        implied={"positive": _implied(seen, 1.0), "negative": _implied(seen, -1.0)},
        level=batches.level(seen),
        certificate=certificate,
        untraced=untraced,
    )


def _findings(id: str, seen: Subject, against: Gate | None) -> Iterator[Finding]:
    try:
        yield from PROPERTIES[id](seen, against)
    except Raised as error:
        yield fails(id, f"raises {error}")


def _proof(seen: Subject, budget: float) -> tuple[Certificate | None, str]:
    try:
        return certify(traced(seen), budget=budget), ""
    except TraceError as error:
        return None, str(error)


def _implied(seen: Subject, advantage: float) -> tuple[tuple[float, float, float, float], ...]:
    """Rows (r, f - f(1), w, phi), f by integrating phi over z."""
    z = np.log(IMPLIED_AT)
    middles, halves = (z[1:] + z[:-1]) / 2, (z[1:] - z[:-1]) / 2
    inside = (middles[:, None] + halves[:, None] * _NODES).ravel()
    scores = np.array(score_weights(seen, [*inside.tolist(), *z.tolist()], advantage))
    steps = halves * (scores[: inside.size].reshape(-1, len(_NODES)) @ _WEIGHTS)
    value = np.concatenate([[0.0], np.cumsum(steps)])
    value -= value[IMPLIED_AT.index(1.0)]
    at = scores[inside.size :]
    return tuple((r, float(f), float(phi / r), float(phi)) for r, f, phi in zip(IMPLIED_AT, value, at, strict=True))
