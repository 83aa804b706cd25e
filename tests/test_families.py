"""What the prover says of every named gate, over its whole parameter domain and for both signs of A."""

from collections.abc import Callable
from math import atan, cos, cosh, exp, log, pi, sqrt, tanh

import pytest
import sympy

from sapo_gates import FAMILIES, Gate, certify, load_gate
from sapo_gates.derive import formula
from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.recheck import recheck
from sapo_gates.verdict import SIGNS, Sign

ADMISSIBLE = {
    "sigmoid",
    "erf",
    "arctan",
    "softsign",
    "softsign-abs",
    "tanh",
    "gaussian-cdf",
    "p3o",
    "student-t",
    "generalised-normal",
    "log-normal",
    "compact-bump",
    "raised-cosine",
    "tukey-biweight",
    "scad",
    "welsch",
}


@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_a_family_is_certified_exactly_if_it_is_admissible_and_its_certificate_holds(gate: Gate) -> None:
    certificate = certify(gate)
    assert certificate.verdict == ("certified" if gate.name in ADMISSIBLE else "refuted")
    assert not [r.id for r in certificate.requirements if r.verdict == "undecided"]
    recheck(certificate.to_json())


@pytest.mark.parametrize(
    ("name", "sign", "refuted"),
    [
        ("hard-clip", "positive", {"continuously-differentiable"}),
        ("hard-clip", "negative", {"continuously-differentiable", "vanishing-score"}),
        ("dual-clip", "negative", {"continuously-differentiable"}),
        ("cispo", "positive", {"vanishing-score"}),
        ("maspo", "positive", set()),
        ("maspo", "negative", {"vanishing-score"}),
        ("log-sech", "positive", {"vanishing-score"}),
        ("ppos", "positive", {"continuously-differentiable", "monotone-decay"}),
        ("topr", "negative", {"vanishing-score"}),
        ("vespo", "positive", {"unit-peak", "monotone-decay"}),
        ("harmonic", "negative", {"unit-peak", "monotone-decay", "vanishing-score"}),
    ],
)
def test_what_fails_is_told_apart(name: str, sign: str, refuted: set[str]) -> None:
    certificate = certify(load_gate(name))
    assert {r.id for r in certificate.requirements if r.sign == sign and r.verdict == "refuted"} == refuted


Weight = Callable[[float], float]


def steep(weight: Callable[[float, float], float], positive: float = 10, negative: float = 12) -> tuple[Weight, Weight]:
    """A weight of r at the trained temperature of each sign."""
    return (lambda r: weight(positive, r - 1)), (lambda r: weight(negative, r - 1))


def beyond(inside: float, positive: Weight, negative: Weight, low: float = 0.8, high: float = 1.2):
    """A number up to the clip bound of the kill side, a weight of r beyond it."""
    return (lambda r: inside if r <= high else positive(r)), (lambda r: inside if r >= low else negative(r))


def logistic(x: float) -> float:
    return 1 / (1 + exp(-x))


def alike(weight: Weight) -> tuple[Weight, Weight]:
    return weight, weight


SIGMOID = steep(lambda tau, x: cosh(tau * x / 2) ** -2)
GAUSSIAN = steep(lambda tau, x: exp(-((tau * x) ** 2) / 2))
PAPERS: dict[str, tuple[Weight, Weight]] = {
    "sigmoid": SIGMOID,
    "erf": GAUSSIAN,
    "arctan": steep(lambda tau, x: 1 / (1 + (tau * x) ** 2)),
    "softsign": steep(lambda tau, x: (1 + (tau * x) ** 2) ** -1.5),
    "softsign-abs": steep(lambda tau, x: (1 + tau * abs(x)) ** -2),
    "tanh": steep(lambda tau, x: cosh(tau * x) ** -2),
    "gaussian-cdf": GAUSSIAN,
    "p3o": steep(lambda tau, x: cosh(tau * x / 2) ** -2, 4, 4),
    "student-t": steep(lambda tau, x: (1 + (tau * x) ** 2 / 3) ** -2),
    "generalised-normal": steep(lambda tau, x: exp(-((tau * x) ** 2))),
    "log-normal": steep(lambda tau, x: exp(-((tau * log(1 + x)) ** 2) / 2)),
    "log-sech": steep(lambda tau, x: cosh(tau * log(1 + x) / 2) ** -2),
    "log-arctan": steep(lambda tau, x: 1 / (1 + (tau * log(1 + x)) ** 2)),
    "log-linear": alike(lambda r: 1 / r),
    "compact-bump": steep(lambda tau, x: exp(1 - 1 / (1 - (tau * x) ** 2)) if abs(tau * x) < 1 else 0),
    "raised-cosine": steep(lambda tau, x: (1 + cos(pi * tau * x)) / 2 if abs(tau * x) < 1 else 0),
    "tukey-biweight": steep(lambda tau, x: (1 - (tau * x) ** 2) ** 2 if abs(tau * x) < 1 else 0),
    "scad": steep(lambda tau, x: min(max((3.7 - tau * abs(x)) / 2.7, 0), 1)),
    "hard-clip": beyond(1, lambda r: 0, lambda r: 0),
    "clip-higher": beyond(1, lambda r: 0, lambda r: 0, high=1.28),
    "dual-clip": (lambda r: float(r <= 1.2), lambda r: float(0.8 <= r <= 3)),
    "spo": (lambda r: 1 - (r - 1) / 0.2, lambda r: 1 + (r - 1) / 0.2),
    "ppo-rb": beyond(1, lambda r: -0.3, lambda r: -0.3),
    "ppos": beyond(1, lambda r: -0.2 * (1 - tanh(r - 1) ** 2), lambda r: -0.2 * (1 - tanh(r - 1) ** 2)),
    "leaky-ppo": beyond(1, lambda r: 0.01, lambda r: 0.01),
    "klip-ramp": (
        lambda r: 1 - min(max((r - 1.2) / 0.05, 0), 1),
        lambda r: 1 - min(max((0.8 - r) / 0.05, 0), 1),
    ),
    "klip-sigmoid": (lambda r: 1 - logistic((r - 1.2) / 0.05), lambda r: 1 - logistic((0.8 - r) / 0.05)),
    "maspo": beyond(1, lambda r: exp(-12.5 * (r - 1) ** 2), lambda r: exp(-12.5 * (r - 1) ** 2), 1, 1),
    "dgpo": beyond(1, lambda r: sqrt(1.2 / r), lambda r: r / 0.8),
    "pspo": alike(lambda r: 0.9),
    "cispo": alike(lambda r: min(r, 5) / r),
    "topr": (lambda r: 1 / r, lambda r: min(r, 1) / r),
    "gppo": beyond(1, lambda r: 1.28 / r, lambda r: 0.8 / r, high=1.28),
    "ce-gppo": beyond(1, lambda r: 1.28 / r, lambda r: 0.75 * 0.8 / r, high=1.28),
    "aspo": (
        lambda r: 3 / r if r <= 1 / 3 else 1 / r**2 if r <= 1.28 else 0,
        lambda r: 0 if r < 0.8 else min(r, 3) / r,
    ),
    "vespo": (lambda r: r * exp(3 * (1 - r)), lambda r: r**2 * exp(2 * (1 - r))),
    "welsch": alike(lambda r: exp(-((r - 1) ** 2) / 2)),
    "cauchy-origin": alike(lambda r: 2 / (1 + r**2)),
    "harmonic": alike(lambda r: 2 / (1 + r)),
}
"""w = df/dr at the trained values, for A > 0 and for A <= 0, written again from the papers in plain Python."""
VALUES: dict[str, Weight] = {
    "sigmoid": lambda r: 0.4 * logistic(10 * (r - 1)),
    "arctan": lambda r: 1 + atan(10 * (r - 1)) / 10,
    "softsign": lambda r: 1 + (r - 1) / sqrt(1 + 100 * (r - 1) ** 2),
    "hard-clip": lambda r: min(r, 1.2),
    "pspo": lambda r: 0.9 * r + 0.1,
}
RATIOS = [0.05, 0.3, 0.5, 0.78, 0.9, 0.97, 1, 1.02, 1.1, 1.22, 1.4, 2.5, 3.5, 6]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_a_family_is_the_formula_of_its_paper(gate: Gate, sign: Sign) -> None:
    numbers = {p: p.value_for(sign) for p in gate.parameters}
    known = {"weight": PAPERS[gate.name][SIGNS.index(sign)]}
    if sign == "positive" and gate.name in VALUES:
        known["value"] = VALUES[gate.name]
    for kind, by_hand in known.items():
        found = formula(gate, sign, kind)  # type: ignore[arg-type]
        assert found is not None
        ours = sympy.lambdify(r, substitute(found, numbers).replace(sigmoid, lambda x: 1 / (1 + sympy.exp(-x))), "math")
        for ratio in RATIOS:
            assert ours(ratio) == pytest.approx(by_hand(ratio), rel=1e-9, abs=1e-12), (kind, ratio)
