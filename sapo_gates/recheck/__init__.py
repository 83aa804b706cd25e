"""The independent checker of certificates: nothing is searched here, everything is evaluated again.

Claim. If `recheck(certificate)` returns, then every requirement marked proved holds of the gate whose text the
certificate holds, for its sign of A, for every parameter value of the declared domain and every ratio in (0, oo); and
every one marked refuted fails at the exact place that its witness names.

Trusted base. Python; the parser of gate texts; SymPy's rational numbers, differentiation, substitution, expansion and
polynomials; python-flint's operations on single numbers. No code is shared with the search that made the certificate,
and whatever cannot be followed is rejected.

Proof, file by file, each resting on those before it:

    spans        an expression over a box has its values in a span, and is continuous there, or is Undefined
    identities   two expressions are equal wherever both are defined
    formulas     the smooth formula behind the text's corners, derivatives
    boxes        a tree of cuts is the whole of a box; signs over a box
    limits       the limit at an infinite end, the same certain rules continued to infinity
    onesided     the limit at a finite end, as an expression where it can be had
    cells        sections with a coordinate each are all of (0, oo), for every parameter of a cell
    claims       what holds on a section, leaf by leaf, and where terms go at both ends
    statements   what the requirements say
    proofs       what each requirement asks of every cell
    witnesses    what each asks of the one cell in which it fails
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapo_gates.errors import CertificateError, RecheckFailed, SapoGatesError
from sapo_gates.gate import Gate
from sapo_gates.gatefile import parse_gate
from sapo_gates.recheck.boxes import require
from sapo_gates.recheck.cells import Branch
from sapo_gates.recheck.proofs import proved
from sapo_gates.recheck.spans import Undefined, working_precision
from sapo_gates.recheck.statements import PROFILES, read
from sapo_gates.recheck.witnesses import refuted
from sapo_gates.verdict import SIGNS

CURE = "give a file that `certify -o` wrote"
WITNESS_BITS = 512
FORMAT = "sapo-gates-certificate/2"
KEYS = {"format": str, "gate": dict, "profile": str, "verdict": str, "precision": int, "versions": dict,
        "requirements": list, "digest": str, "numerics": list}  # fmt: skip
ENTRY_KEYS = {"id", "sign", "verdict", "scope", "method", "says", "witness", "evidence"}


def recheck(certificate: Mapping[str, Any] | str | Path) -> None:
    """Check every proof and every witness of a certificate again; returns if all hold.

    Args:
        certificate: the JSON object, or the path of a file that holds it.

    Raises:
        CertificateError: it is not a certificate.
        RecheckFailed: the first statement that does not hold.
    """
    content = certificate if isinstance(certificate, Mapping) else _read(certificate)
    gate = _gate_of(content)
    with working_precision():
        _check(content, gate)


def _read(path: str | Path) -> Mapping[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_each_key_once, parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise CertificateError(f"cannot read certificate {path}: {error}; {CURE}.") from error
    if not isinstance(content, dict):
        raise CertificateError(f"{path} is no certificate: it holds no JSON object; {CURE}.")
    return content


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object, so that readers may read different things")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _gate_of(content: Mapping[str, Any]) -> Gate:
    """The shape of the certificate, and its gate."""
    if content.get("format") != FORMAT:
        raise CertificateError(f"format {content.get('format')!r} is not {FORMAT!r}; {CURE}.")
    for key, kind in KEYS.items():
        if not isinstance(content.get(key), kind):
            raise CertificateError(f"{key} = {content.get(key)!r} is no {kind.__name__}; {CURE}.")
    entries, text = content["requirements"], content["gate"].get("text")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != ENTRY_KEYS or not isinstance(entry["evidence"], dict):
            raise CertificateError(f"an entry of requirements has other keys than {sorted(ENTRY_KEYS)}; {CURE}.")
        if not all(isinstance(entry[key], str) for key in ("id", "sign", "verdict")):
            raise CertificateError(f"id, sign and verdict of a requirement are texts; {CURE}.")
    try:
        return parse_gate(str(text))
    except SapoGatesError as error:
        raise CertificateError(f"its gate cannot be read: {error}") from error


def _check(content: Mapping[str, Any], gate: Gate) -> None:
    claimed = {key: content[key] for key in content if key not in ("digest", "numerics")}
    text = json.dumps(claimed, sort_keys=True, separators=(",", ":"))
    require(
        content["digest"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest(), "the digest is not the content's"
    )
    require(set(content) == set(KEYS), "the certificate has keys of its own")
    named = {"name": gate.name, "text": content["gate"]["text"], "digest": gate.digest}
    require(content["gate"] == named, "the gate's name or digest is not its text's")
    require(content["profile"] in PROFILES, "no profile {!r}", content["profile"])
    entries, found = content["requirements"], {entry["id"] for entry in content["requirements"]}
    stated = {id_: read(id_) for id_ in {*PROFILES[content["profile"]], *found}}
    once = sorted((entry["id"], entry["sign"]) for entry in entries) == sorted((i, s) for i in stated for s in SIGNS)
    require(once, "not every requirement stands there once")
    verdicts = {entry["verdict"] for entry in entries}
    overall = "refuted" if "refuted" in verdicts else "certified" if verdicts == {"proved"} else "undecided"
    require(content["verdict"] == overall, "the verdict is {}, not {}", overall, content["verdict"])
    known: dict[object, dict[object, Any]] = {}
    for sign in SIGNS:
        branch = Branch(gate, sign, known.setdefault(gate.declared(sign), {}))
        for entry in (one for one in entries if one["sign"] == sign):
            try:
                _check_entry(branch, *stated[entry["id"]], entry)
            except (RecheckFailed, Undefined) as failure:
                raise RecheckFailed(f"{entry['id']}, {sign}: {failure}") from failure
            except Exception as error:
                raise RecheckFailed(f"{entry['id']}, {sign}: its evidence cannot be read: {error!r}") from error


def _check_entry(branch: Branch, kind: str, number: Any, entry: Mapping[str, Any]) -> None:
    parts = ", ".join(f"{name} in {p.domain}" for name, p in branch.parameters.items())
    require(entry["scope"] == (f"for all {parts}" if parts else "the gate as it stands"), "the scope is not {}", parts)
    witness, evidence = entry["witness"], entry["evidence"]
    require((witness is None) == (entry["verdict"] != "refuted"), "a witness stands where it should not, or is missing")
    match entry["verdict"]:
        case "proved":
            proved(branch, kind, number, evidence)
        case "refuted":
            with working_precision(WITNESS_BITS):
                refuted(branch, kind, number, witness, evidence)
        case "undecided":
            require(evidence == {}, "evidence for what is undecided")
        case other:
            raise RecheckFailed(f"no verdict {other!r}")
