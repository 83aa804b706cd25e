"""Gates whose truth is known by construction: mixtures that are admissible, and the same with one violation planted."""

from dataclasses import dataclass

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sympy import Abs, Expr, Piecewise, Rational, exp, log, sech

from sapo_gates import Gate, certify
from sapo_gates.certificate import Certificate
from sapo_gates.functions import r

# an interruption that arrives in one of hypothesis's own gc callbacks is lost there, and rings again
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SECONDS = 3.0


def shapes(a: Rational) -> tuple[Expr, ...]:
    """Weights that are admissible for every a > 0."""
    u = a * (r - 1)
    return (
        sech(u / 2) ** 2,
        exp(-(u**2) / 2),
        1 / (1 + u**2),
        (1 + u**2) ** Rational(-3, 2),
        (1 + Abs(u)) ** -2,
        exp(-(a**2) * log(r) ** 2 / 2),
        Piecewise(((1 + sympy.cos(sympy.pi * u)) / 2, Abs(u) < 1), (0, True)),
    )


RATIONALS = st.fractions(Rational(1, 5), 20, max_denominator=8).map(lambda f: Rational(f.numerator, f.denominator))


@st.composite
def admissible(draw: st.DrawFn) -> Expr:
    """A convex mixture of up to three shapes, each at a temperature of its own."""
    parts = draw(st.lists(st.tuples(RATIONALS, st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=3))
    total = sum(share for _, _, share in parts)
    return sum((Rational(share, total) * shapes(a)[which] for a, which, share in parts), sympy.Integer(0))


@dataclass(frozen=True)
class Planted:
    """A weight and the requirement that certainly fails of it."""

    weight: Expr
    fails: str


@st.composite
def violated(draw: st.DrawFn) -> Planted:
    base = draw(admissible())
    height = Rational(1, 10 ** draw(st.integers(1, 9)))
    place = 1 + draw(RATIONALS)
    match draw(st.sampled_from(["bump", "level", "jump", "tail", "growth"])):
        case "bump":  # steeper than any weight here, whose slopes are at most 20: height/width is at least 1000
            width = height * Rational(1, 10 ** draw(st.integers(3, 6)))
            return Planted(base + height * exp(-(((r - place) / width) ** 2)), "monotone-decay")
        case "level":
            return Planted(base * (1 + draw(st.sampled_from([height, -height]))), "unit-peak")
        case "jump":
            return Planted(base + Piecewise((height, r > place), (0, True)), "continuously-differentiable")
        case "growth":
            return Planted(base + Piecewise((height * (r - place), r > place), (0, True)), "vanishing-score")
        case _:
            return Planted((1 - height) * base + height / (1 + Abs(r - 1)), "vanishing-score")


def certified(weight: Expr) -> Certificate:
    return certify(Gate(name="generated", weight=weight), budget=SECONDS)


def check_admissible(weight: Expr) -> None:
    assert [entry.says for entry in certified(weight).requirements if entry.verdict == "refuted"] == []


def check_violated(planted: Planted) -> None:
    certificate = certified(planted.weight)
    assert certificate.verdict != "certified"
    assert "proved" not in {entry.verdict for entry in certificate.requirements if entry.id == planted.fails}


@settings(max_examples=8)
@given(admissible())
@example(shapes(Rational(20))[4] / 2 + shapes(Rational(1, 5))[6] / 2)
def test_no_admissible_mixture_is_refuted(weight: Expr) -> None:
    check_admissible(weight)


@settings(max_examples=8)
@given(violated())
@example(Planted(sech(r - 1) ** 2 + Rational(1, 10**9) * exp(-(((r - 19) * 10**13) ** 2)), "monotone-decay"))
def test_no_planted_violation_is_overlooked(planted: Planted) -> None:
    check_violated(planted)


@pytest.mark.slow
@settings(max_examples=120)
@given(admissible())
def test_no_admissible_mixture_is_refuted_among_many(weight: Expr) -> None:
    check_admissible(weight)


@pytest.mark.slow
@settings(max_examples=120)
@given(violated())
def test_no_planted_violation_is_overlooked_among_many(planted: Planted) -> None:
    check_violated(planted)
