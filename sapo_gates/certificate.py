"""What was proved about a gate, with the evidence that `recheck` evaluates again.

A certificate is one JSON object: the gate's text and digest, one entry per requirement and sign of A, each with
verdict, scope, method, witness and evidence; beside them `numerics`, evidence of another kind about the exported torch
function: sampled or exhaustive over a floating-point type, never a proof about the mathematics. The digest covers all
but that.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from sapo_gates.errors import CertificateError, GateTextError, RequirementError
from sapo_gates.gate import Gate
from sapo_gates.gatefile import load_gate, parse_gate
from sapo_gates.prove.boxes import Budget
from sapo_gates.prove.case import Case
from sapo_gates.prove.interval import PRECISION, working_precision
from sapo_gates.requirements import requirements_of
from sapo_gates.requirements.stated import Stated, parse
from sapo_gates.timelimit import deadline
from sapo_gates.verdict import SIGNS, Proved, Refuted, Sign, Undecided, Witness

FORMAT = "sapo-gates-certificate/2"
LONGEST_BUDGET = 1e8  # seconds, about three years; a timer takes no longer
DEFAULT_BUDGET = 60.0  # seconds; the families of the papers take a tenth of one


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One requirement for one sign of A, and how it was answered."""

    id: str
    sign: Sign
    verdict: Literal["proved", "refuted", "undecided"]
    scope: str
    method: str
    says: str
    witness: Witness | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The verdicts on one gate. Immutable; made by `certify` or read by `load_certificate`."""

    gate: Gate
    profile: str
    requirements: tuple[Requirement, ...]
    precision: int
    versions: Mapping[str, str]
    numerics: tuple[Mapping[str, Any], ...] = ()

    @property
    def verdict(self) -> Literal["certified", "refuted", "undecided"]:
        """`certified` only if everything is proved; a refutation outweighs what is undecided."""
        verdicts = {requirement.verdict for requirement in self.requirements}
        if "refuted" in verdicts:
            return "refuted"
        return "certified" if verdicts == {"proved"} else "undecided"

    @property
    def digest(self) -> str:
        """SHA-256 over everything but the numerics."""
        text = json.dumps(self._claims(), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def with_numerics(self, evidence: Sequence[Mapping[str, Any]]) -> "Certificate":
        """The certificate with what was measured on an exported function kept beside the proofs."""
        return replace(self, numerics=(*self.numerics, *evidence))

    def _claims(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "gate": {"name": self.gate.name, "text": self.gate.text, "digest": self.gate.digest},
            "profile": self.profile,
            "verdict": self.verdict,
            "precision": self.precision,
            "versions": dict(self.versions),
            "requirements": [_plain(asdict(requirement)) for requirement in self.requirements],
        }

    def to_json(self) -> dict[str, Any]:
        """The certificate as one JSON object."""
        return {**self._claims(), "digest": self.digest, "numerics": [dict(entry) for entry in self.numerics]}

    def save(self, path: str | Path) -> None:
        """Write it as a JSON file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Tuples become lists, as they will be once read back from JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def certify(
    gate: str | Path | Gate,
    profile: str = "admissible",
    *,
    require: Sequence[str] = (),
    budget: float = DEFAULT_BUDGET,
) -> Certificate:
    """Answer every requirement of the profile for both signs of A, over the whole parameter domain.

    Args:
        gate: a Gate, a family's name, a gate file or `pkg.module:NAME`.
        profile: `admissible` (arXiv:2602.19345v2, section 4) or `trust-region`.
        require: further requirements as texts, such as `half_width <= 0.2`; `requirements/stated.py` lists the forms.
        budget: seconds of CPU time for the whole gate; what is open then is undecided.

    Raises:
        UnknownGate, GateTextError: the gate cannot be read, or does not exist at some parameter value of its domain.
        RequirementError: no such profile, a text that states no requirement, or a budget that is not positive.
    """
    if not 0 < budget <= LONGEST_BUDGET:
        raise RequirementError(
            f"budget={budget} must be positive, and at most {LONGEST_BUDGET:.0e}: the seconds that proofs may take."
        )
    loaded = load_gate(gate)
    wanted = {one.ID: one for one in (*requirements_of(profile), *map(parse, require))}
    shared = Budget.seconds(budget)
    answers: list[Requirement] = []
    with working_precision(), deadline(budget):
        cases: dict[object, Case] = {}
        known: dict[str, Case] = {}
        for sign in SIGNS:
            # where one formula serves both signs, so does one proof
            case = cases.setdefault(loaded.declared(sign), Case(loaded, sign, shared, known=known))
            case.seek_refutations(cast(Any, requirements_of(profile)))
            case.refuse_nowhere()
            answers += [_answer(one, case, sign) for one in wanted.values()]
    return Certificate(
        gate=loaded,
        profile=profile,
        requirements=tuple(answers),
        precision=PRECISION,
        versions={name: version(name) for name in ("sapo-gates", "sympy", "python-flint")},
    )


def _answer(module: ModuleType | Stated, case: Case, sign: Sign) -> Requirement:
    if isinstance(module, Stated) and module.by_sign:
        case = replace(case, side=sign, verdicts={**case.verdicts})
    verdict = case.verdict(cast(Any, module))
    found: Literal["proved", "refuted", "undecided"]
    match verdict:
        case Proved():
            found, says, witness, evidence = "proved", verdict.says, None, verdict.evidence
        case Refuted():
            found, says, witness, evidence = "refuted", verdict.witness.why, verdict.witness, verdict.evidence
        case Undecided():
            found, says, witness, evidence = "undecided", verdict.left, None, {}
    return Requirement(
        id=module.ID,
        sign=sign,
        verdict=found,
        scope=case.scope,
        method=verdict.method,
        says=says,
        witness=witness,
        evidence=_plain(evidence),
    )


def load_certificate(path: str | Path) -> Certificate:
    """Read a certificate; whether its proofs hold is for `recheck` to say.

    Raises:
        CertificateError: the file is no certificate, or its digest does not match its content.
    """
    return certificate_from_json(read_json(path), str(path))


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CertificateError: it cannot be read or is none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CertificateError(
            f"cannot read certificate {path}: {error}; give a file that `certify -o` wrote."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CertificateError(
            f"{path} is no certificate of this version: its format is not {FORMAT!r}; certify the gate again with "
            "`sapo-gates certify GATE -o FILE`."
        )
    return content


def certificate_from_json(content: Mapping[str, Any], name: str) -> Certificate:
    """The certificate that a JSON object spells.

    Raises:
        CertificateError: a key is missing or of the wrong kind, or the digests do not match.
    """
    try:
        certificate = Certificate(
            gate=parse_gate(content["gate"]["text"]),
            profile=content["profile"],
            requirements=tuple(_requirement(entry) for entry in content["requirements"]),
            precision=content["precision"],
            versions=content["versions"],
            numerics=tuple(content["numerics"]),
        )
        digest = certificate.digest
    except GateTextError as error:
        raise CertificateError(f"{name}: its gate cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CertificateError(
            f"{name} is no certificate: {error!r} is missing or malformed; certify the gate again."
        ) from error
    if digest != content.get("digest"):
        raise CertificateError(
            f"{name}: the digest does not match the content; it was changed, certify the gate again."
        )
    return certificate


def _requirement(entry: Mapping[str, Any]) -> Requirement:
    witness = entry["witness"]
    if witness is not None:
        witness = Witness(
            **{
                **witness,
                "r": tuple(witness["r"]),
                "enclosure": tuple(tuple(range_) for range_ in witness["enclosure"]),
            }
        )
    return Requirement(**{**entry, "witness": witness})
