"""Refutations from numbers alone."""

from collections.abc import Callable

import pytest
from sympy import Rational

from sapo_gates import Gate
from sapo_gates.expression import parse_expression
from sapo_gates.prove.boxes import Budget
from sapo_gates.prove.case import Case
from sapo_gates.prove.search import Scan
from sapo_gates.verdict import Witness


def scan(weight: str) -> Scan:
    gate = Gate(name="under-test", weight=parse_expression(weight, {}))
    return Case(gate, "positive", Budget.seconds(10)).scan


NEEDLE = "1/(1 + (r - 1)^2) + 1e-12*exp(-((r - 37)/1e-9)^2)"
RIPPLE = "(1 + (r - 1)^2)^-2*(1 + 1e-6*sin(7*r - 7)^2)"
TILT = "exp(-(r - 1)^2)*(1 + 1e-9*tanh((r - 1)/1e-6))"
EARLY = "sech(r - 1) - 1e-8*exp(-((1/50 - r)/1e-9)^2)"


@pytest.mark.parametrize(
    ("weight", "search", "low", "high"),
    [
        (NEEDLE, Scan.growth, "36.9", "37.1"),
        (RIPPLE, Scan.growth, "1", "oo"),
        (EARLY, Scan.growth, "0.019", "0.021"),
        (TILT, Scan.excess, "1", "1.01"),
        ("1/r - 1/100", Scan.negative, "100", "oo"),
        ("sech(r - 1) + 1/(r - 3)", Scan.pole, "3", "3"),
        ("Piecewise((1, r < 1/3), (2 - exp(-(r - 1)^2), r < 1), (1, True))", Scan.growth, "0", "1"),
    ],
    ids=["needle", "ripple", "notch near 0", "tilt", "negative", "pole", "before a corner that is no binary fraction"],
)
def test_a_violation_is_found_at_exact_ratios(
    weight: str, search: Callable[[Scan], Witness | None], low: str, high: str
) -> None:
    found = search(scan(weight))
    assert found is not None
    assert all(
        Rational(low) <= Rational(ratio) <= (Rational(high) if high != "oo" else Rational(2) ** 90) for ratio in found.r
    )


@pytest.mark.parametrize("search", [Scan.growth, Scan.excess, Scan.negative, Scan.pole])
@pytest.mark.parametrize("weight", ["sech(r - 1)^2", "exp(-z^2)", "Max(0, 1 - Abs(r - 1))", "1"])
def test_nothing_is_found_where_nothing_fails(weight: str, search: Callable[[Scan], Witness | None]) -> None:
    assert search(scan(weight)) is None


@pytest.mark.parametrize(
    ("weight", "is_heavy"),
    [
        ("1/(1 + Abs(r - 1))", True),
        ("sech(r - 1) + 1e-9/(1 + log(1 + (r - 1)^2))", True),
        ("1/(1 + (r - 1)^2)", False),
        ("r^(-11/10)", False),
        ("Max(0, 1 - Abs(r - 1))", False),
    ],
)
def test_a_tail_whose_score_stays_is_seen(weight: str, is_heavy: bool) -> None:
    assert scan(weight).is_heavy == is_heavy
