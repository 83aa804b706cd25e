"""Which pieces of a formula count over a box: never fewer than hold somewhere in it."""

from fractions import Fraction

import pytest
import sympy
from sympy import Piecewise

from sapo_gates import FAMILIES, Gate
from sapo_gates.derive import formula
from sapo_gates.functions import r
from sapo_gates.prove.interval import Interval, working_precision
from sapo_gates.prove.pieces import images, possible

A, B, C = sympy.symbols("A B C")


def between(low: str, high: str) -> Interval:
    return Interval.of(Fraction(low), Fraction(high))


@pytest.mark.parametrize(
    ("low", "high", "pieces"),
    [("2", "3", [A]), ("1/4", "1/2", [B]), ("1/2", "2", [A, B]), ("1/16", "1/10", [C]), ("1/16", "3", [A, B, C])],
)
def test_a_condition_that_depends_on_another_decides_between_its_ways(low: str, high: str, pieces: list) -> None:
    # A on (1, 8), B on (1/8, 1], C elsewhere
    nested = Piecewise((Piecewise((A, r > 1), (B, True)), sympy.ITE(r > 1, r < 8, r > sympy.Rational(1, 8))), (C, True))
    assert set(possible(nested, {r: between(low, high)})) == set(pieces)


def test_a_condition_that_is_not_understood_decides_nothing() -> None:
    unknown = Piecewise((A, sympy.Xor(r > 1, r > 2)), (B, True))
    assert set(possible(unknown, {r: between("3", "4")})) == {A, B}


@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_the_weight_of_a_family_lies_in_the_image_of_the_pieces_that_count(gate: Gate) -> None:
    weight = formula(gate, "positive", "weight")
    assert weight is not None
    weight = weight.xreplace({p: p.value_for("positive") for p in gate.parameters})
    with working_precision():
        for k in range(1, 24):
            ratio = sympy.Rational(k, 12) + sympy.Rational(1, 97)
            exact = float(weight.subs(r, ratio))
            near = Fraction(int(ratio.p), int(ratio.q))
            found = images(weight, {r: Interval.of(near - Fraction(1, 1000), near + Fraction(1, 1000))})
            assert any(float(one.lower) <= exact <= float(one.upper) for one in found)
