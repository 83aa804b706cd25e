"""Taylor coefficients, growth, integrals and suprema: what they enclose is compared with mpmath at points."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from flint import arb, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr, Rational, Symbol

from sapo_gates.functions import r, sigmoid
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.boxes import Range
from sapo_gates.prove.curves import Curve
from sapo_gates.prove.extrema import supremum
from sapo_gates.prove.growth import growth
from sapo_gates.prove.integrals import integral
from sapo_gates.prove.interval import Interval, Undefined, working_precision
from sapo_gates.prove.jets import FUNCTIONS, jet_of
from sapo_gates.prove.numeric import Numeric

t = Symbol("t", positive=True)
FORMULAS = [
    t * sympy.sech(5 * t) ** 2,
    (1 + 10 * t**2) ** Rational(-3, 2) * t,
    sympy.exp(-(t**2)) * t**4,
    sympy.log(t) / (1 + t),
    t * sympy.tanh(1 / t),
    sympy.atan(t) - sympy.erf(1 / t),
    sympy.exp(-t) * sympy.log(1 + t),
    sigmoid(-t) * t**3,
    sympy.erfc(t) * sympy.exp(t) / (1 + t),
    t ** (-t),
]


COMPUTED = [sympy.lambdify(t, f.replace(sigmoid, lambda x: 1 / (1 + sympy.exp(-x))), "mpmath") for f in FORMULAS]


def contains(found: Interval, number: Any) -> bool:
    ball = arb(mpmath.nstr(number, 40)) * arb(1, 1e-30)
    return not (found.upper < ball or found.lower > ball)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_taylor_coefficients_are_those_of_sympys_derivatives(function: type[sympy.Function]) -> None:
    formula = t * (function(3 * t) if function is sympy.acosh else function(t / 3))
    with working_precision():
        found = jet_of(formula, t)(arb(fmpq(3, 2)), 4)
    for order, coefficient in enumerate(found):
        there = formula.diff(t, order).subs(t, Rational(3, 2)).evalf(40) / sympy.factorial(order)
        assert coefficient.overlaps(arb(str(there), 1e-30)), order


@pytest.mark.parametrize(("formula", "computed"), list(zip(FORMULAS, COMPUTED, strict=True)), ids=map(str, FORMULAS))
@settings(max_examples=25)
@given(start=st.fractions(1, 100), factors=st.lists(st.fractions(1, 10), min_size=3, max_size=3))
def test_growth_encloses_the_function_everywhere_beyond_its_start(
    formula: Expr, computed: Callable[[Any], Any], start: Fraction, factors: list[Fraction]
) -> None:
    with working_precision():
        found = growth(formula, t, start).interval
    with mpmath.workdps(60):
        for at in (start * factor for factor in factors):
            assert contains(found, computed(mpmath.mpf(at.numerator) / at.denominator))


def test_growth_keeps_a_power_times_an_exponential_small() -> None:
    with working_precision():
        assert growth(t**3 * sympy.sech(t) ** 2, t, Fraction(100)).interval.upper < 1e-70
        assert growth(t / (1 + t**2), t, Fraction(2**60)).interval.upper < 2.0**-59


def curve(weight: str, expression: Expr | None = None) -> Curve:
    numeric = Numeric(parse_gate(f'[gate]\nname = "g"\nweight = "{weight}"\n'), "positive", {})
    section = numeric.right[0]
    return numeric.curve(section, section.weight if expression is None else expression)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("exp(-(r-1)^2)", mpmath.sqrt(mpmath.pi) / 2),
        ("1/(1 + (r-1)^2)", mpmath.pi / 2),
        ("1/r^2", mpmath.mpf(1)),
        ("sech(r-1)^2", mpmath.mpf(1)),
        ("(1 + (r-1)^2)^(-3/2)", mpmath.mpf(1)),
    ],
)
def test_an_integral_to_infinity_holds_the_one_known_by_hand(weight: str, expected: Any) -> None:
    with working_precision():
        found = integral(curve(weight), 1e-9)
        assert contains(found, expected)
        assert found.upper - found.lower < 1e-8


def test_an_integral_that_diverges_is_not_claimed() -> None:
    with working_precision(), pytest.raises(Undefined):
        integral(curve("1/r"), 1e-9)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("r*exp(1-r)", 1),  # at the end r = 1
        ("r^2*exp(2-r)", 4),  # inside, at r = 2
        ("atan(r)*2/pi", 1),  # approached as r -> oo
        ("1 + exp(-(1000*(r-37))^2)", 2),  # a needle that no grid sees
    ],
)
def test_a_supremum_is_enclosed_wherever_it_is(weight: str, expected: int) -> None:
    with working_precision():
        found = supremum([curve(weight)])
        assert found.lower <= expected <= found.upper
        assert found.upper - found.lower < 1e-12


def test_a_quotient_of_functions_that_vanish_together_is_enclosed_across_their_zero() -> None:
    with working_precision():
        numeric = curve("exp(-(r-1)^2)")
        quotient = Curve.of(numeric.branch, numeric.section, 1 - numeric.section.weight, (r - 1) ** 2, 2)
        found = quotient.image(Range(Fraction(1), Fraction(1) + Fraction(1, 2**20)))
        assert found.upper - found.lower < 2.0**-19
        assert found.lower <= 1 <= found.upper


def test_no_taylor_coefficients_are_claimed_where_a_function_is_not_analytic() -> None:
    with working_precision():
        for formula in (sympy.log(t), 1 / t, sympy.sqrt(t), t ** Rational(1, 3)):
            with pytest.raises(Undefined):
                jet_of(formula, t)(arb(0, 1), 3)
