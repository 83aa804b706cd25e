"""New gates from old ones. What holds of the result is for the prover to say; the docstrings say what to expect."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sympy import Abs, Expr, Integer, Max, Min, Mul, Piecewise, log
from sympy import sign as signum

from sapo_gates.derive import declared_formula, derivative
from sapo_gates.errors import GateTextError
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Gate, Kind, Number, Parameter, exact
from sapo_gates.prove.forms import normal, tamed
from sapo_gates.verdict import SIGNS, Sign


def per_sign(positive: Gate, negative: Gate, *, name: str = "") -> Gate:
    """One gate where A > 0, another elsewhere. Keeps every requirement both satisfy.

    Parameters of the same name and domain become one, trained with each gate's own value; others of the same name are
    told apart by `_pos` and `_neg`.
    """
    shared = {p.name for p in positive.parameters} & {p.name for p in negative.parameters}
    merged: list[Parameter] = []
    for name_ in sorted(shared):
        p, q = positive.parameter(name_), negative.parameter(name_)
        if p.domain == q.domain:
            merged.append(Parameter(name_, str(p.domain), p.positive, q.negative, p.says))
        else:
            positive = _renamed(positive, p, f"{name_}_pos")
            negative = _renamed(negative, q, f"{name_}_neg")
    names = {p.name for p in merged}
    others = [p for gate in (positive, negative) for p in gate.parameters if p.name not in names]
    kind = _common_kind([positive, negative])
    branches = (_as(kind, positive, "positive"), _as(kind, negative, "negative"))
    return _gate(kind, branches, (*merged, *others), name or f"{positive.name}+{negative.name}")


def one_sided(gate: Gate, *, name: str = "") -> Gate:
    """The gate on the kill side (sign(A)(r - 1) > 0), plain f = r on the pass side.

    Keeps unit-peak and monotone-decay; for A <= 0, where r -> oo is the pass side, loses vanishing-score and
    bounded-score.
    """
    kind: Kind = "value" if gate.kind == "value" else "weight"
    inside = [_shifted(_as(kind, gate, sign)) if kind == "value" else _as(kind, gate, sign) for sign in SIGNS]
    outside = r if kind == "value" else Integer(1)
    branches = (Piecewise((inside[0], r > 1), (outside, True)), Piecewise((inside[1], r < 1), (outside, True)))
    return _gate(kind, branches, gate.parameters, name or f"{gate.name}-one-sided")


def mixture(gates: Sequence[Gate], shares: Sequence[Number], *, name: str = "") -> Gate:
    """sum of share * gate, shares positive and of sum 1. Keeps admissibility; the proof is one for every gate.

    Parameters of the same name become one if they agree in domain and trained values, else they get the gate's number.

    Raises:
        GateTextError: the shares are not positive or do not sum to 1.
    """
    weights = [exact(share) for share in shares]
    if len(weights) != len(gates) or sum(weights) != 1 or not all(w > 0 for w in weights):
        raise GateTextError(
            f"shares={[str(w) for w in weights]} of {len(gates)} gates must be positive, of sum 1: mixtures are convex."
        )
    apart = _told_apart(gates)
    kind = _common_kind(apart)
    branches = tuple(sum((w * _as(kind, g, s) for w, g in zip(weights, apart, strict=True)), Integer(0)) for s in SIGNS)
    parameters = tuple(dict.fromkeys(p for gate in apart for p in gate.parameters))
    return _gate(kind, branches, parameters, name or "-".join(["mixture", *(gate.name for gate in gates)]))


def shifted(gate: Gate, *, name: str = "") -> Gate:
    """f - f(1) + 1, so that values of different gates can be compared. Keeps everything.

    Raises:
        GateTextError: the gate declares no value.
    """
    if gate.kind != "value":
        raise GateTextError(
            f"gate {gate.name!r} declares its {gate.kind}, not f, so nothing can be shifted; declare a value."
        )
    branches = tuple(_shifted(gate.declared(sign)) for sign in SIGNS)
    return _gate("value", branches, gate.parameters, name or f"{gate.name}-shifted")


def dual_clip(gate: Gate, ceiling: Number = 3, *, name: str = "") -> Gate:
    """f = min(f, c) for A <= 0 (arXiv:1912.09729). Breaks C^1 wherever it binds; values are shifted to f(1) = 1 first.

    Raises:
        GateTextError: the gate declares no value, or c is not above 1.
    """
    c = exact(ceiling)
    if not c > 1:
        raise GateTextError(f"ceiling={c} must be above 1: at r = 1 nothing may be clipped.")
    base = shifted(gate)
    branches = (base.declared("positive"), Min(base.declared("negative"), c))
    return _gate("value", branches, gate.parameters, name or f"{gate.name}-dual-clip")


def reparametrised(
    gate: Gate, expressions: Mapping[str, Expr], parameters: Sequence[Parameter], *, name: str = ""
) -> Gate:
    """Parameters replaced by expressions in new ones, such as tau = 1/sigma. Keeps what holds on the new domain."""
    values = {gate.parameter(key): expression for key, expression in expressions.items()}
    kept = [p for p in gate.parameters if p not in values]
    branches = tuple(substitute(gate.declared(sign), values) for sign in SIGNS)
    return _gate(gate.kind, branches, (*kept, *parameters), name or f"{gate.name}-reparametrised")


def _gate(kind: Kind, branches: Sequence[Expr], parameters: Sequence[Parameter], name: str) -> Gate:
    declared: dict[str, Any] = {kind: branches[0] if branches[0] == branches[1] else tuple(branches)}
    return Gate(name=name, parameters=tuple(parameters), source="combined", **declared)


def _common_kind(gates: Sequence[Gate]) -> Kind:
    kinds: set[Kind] = {gate.kind for gate in gates}
    return kinds.pop() if len(kinds) == 1 else "weight"


def _as(kind: Kind, gate: Gate, sign: Sign) -> Expr:
    """The branch in that kind, its own or the weight; corners stay as declared where nothing needs to be derived."""
    declared = gate.declared(sign)
    if gate.kind == kind:
        return declared
    if gate.kind == "score":
        return declared / r
    if declared.has(Max, Min, Piecewise, signum):
        found = declared_formula("value", declared, "weight")
        assert found is not None  # a weight always follows from a value
        return found
    weight = derivative(substitute(declared, {z: log(r)}), r)
    return tamed(normal, weight.replace(lambda e: e.is_Mul and e.has(signum), _joined))


def _joined(product: Expr) -> Expr:
    """g sign(g) as |g|."""
    factors = set(product.args)
    inside = next((e.args[0] for e in factors if e.func is signum and e.args[0] in factors), None)
    return product if inside is None else Mul(Abs(inside), *(factors - {inside, signum(inside)}))


def _shifted(value: Expr) -> Expr:
    return value - substitute(value, {r: Integer(1)}) + 1


def _renamed(gate: Gate, parameter: Parameter, name: str) -> Gate:
    new = Parameter(name, str(parameter.domain), parameter.positive, parameter.negative, parameter.says)
    branches = [substitute(gate.declared(sign), {parameter: new}) for sign in SIGNS]
    parameters = tuple(new if p == parameter else p for p in gate.parameters)
    declared = branches[0] if branches[0] == branches[1] else tuple(branches)
    return replace(gate, parameters=parameters, **{gate.kind: declared})


def _told_apart(gates: Sequence[Gate]) -> list[Gate]:
    """Parameters of one name that differ in domain or trained values get their gate's number appended."""
    seen: dict[str, tuple[object, ...]] = {}
    clashing = set()
    for gate in gates:
        for p in gate.parameters:
            facts = (p.domain, p.positive, p.negative)
            if seen.setdefault(p.name, facts) != facts:
                clashing.add(p.name)
    result = []
    for number, gate in enumerate(gates, start=1):
        for p in gate.parameters:
            if p.name in clashing:
                gate = _renamed(gate, p, f"{p.name}_{number}")
        result.append(gate)
    return result
