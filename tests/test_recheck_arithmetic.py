"""The independent checker's own arithmetic: spans hold their values, limits are certain, cuts lose no point."""

import inspect
import itertools
import random
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import sympy
from flint import arb
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sympy import Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import r, sigmoid
from sapo_gates.recheck import spans
from sapo_gates.recheck.boxes import Range, parts
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, Limit, limit
from sapo_gates.recheck.onesided import filled
from sapo_gates.recheck.spans import FUNCTIONS, Span, Undefined, span_of, working_precision

RATIONALS = st.fractions(min_value=-8, max_value=8, max_denominator=64).map(Rational)
X = Symbol("x", real=True)
TWO_ARGUMENTS = [sympy.lowergamma, sympy.uppergamma]
ONE_ARGUMENT = [f for f in FUNCTIONS if f not in TWO_ARGUMENTS]
Y = Symbol("y", real=True)
P = Symbol("p", real=True)
BELOW_ONE = Range(Rational(0), Rational(1)).span
OPERATIONS: dict[str, Callable[..., Any]] = {
    "__neg__": lambda x: -x,
    "__add__": lambda x, y: x + y,
    "__mul__": lambda x, y: x * y,
    "reciprocal": lambda x: 1 / x,
    "absolute": abs,
    "general_power": lambda x, y: x**y,
    "log": mpmath.log,
    "exp": mpmath.exp,
}
"""What each operation of a span computes."""
BY_FORMULA = {"around", "hull", "power", "increasing", "rational_span"}
"""What is reached through formulas: numbers, products, rational powers, and functions that increase."""


def lies_in(image: Span, ball: arb) -> bool:
    return not (ball < image.low or ball > image.high)


@given(data=st.data(), ends=st.tuples(RATIONALS, RATIONALS), share=st.fractions(0, 1, max_denominator=16).map(Rational))
@settings(max_examples=150, deadline=None)
def test_every_function_of_a_span_contains_its_values(data: st.DataObject, ends: Any, share: Any) -> None:
    low, high = sorted(ends)
    formulas = (
        [f(X) for f in ONE_ARGUMENT]
        + [f(Rational(5, 2), X + 9) for f in TWO_ARGUMENTS]
        + [X**2, X**-3, sympy.sqrt(X), X ** Rational(5, 3), 2**X, X * sigmoid(X)]
    )
    formula = data.draw(st.sampled_from(formulas))
    point = low + (high - low) * share
    with working_precision():
        try:
            image = span_of(formula)({X: Range(low, high, True, True).span})
        except Undefined:
            return
        value = formula.xreplace({X: point}).evalf(40)
        assert value.is_real
        assert lies_in(image, arb(str(value), 1e-30 * (1 + abs(float(value)))))


def test_every_operation_is_fuzzed() -> None:
    found = {**vars(Span), **vars(spans)}
    functions = {name: getattr(f, "__func__", f) for name, f in found.items() if not name.startswith("__i")}
    returning = {
        n for n, f in functions.items() if inspect.isfunction(f) and f.__annotations__.get("return") in ("Span", Span)
    }
    assert returning == {*OPERATIONS, *BY_FORMULA}


@pytest.mark.parametrize("name", OPERATIONS)
@given(
    a=st.tuples(RATIONALS, RATIONALS),
    b=st.tuples(RATIONALS, RATIONALS),
    share=st.tuples(*[st.fractions(0, 1).map(Rational)] * 2),
)
@example(a=(Rational(0), Rational(2)), b=(Rational(1), Rational(2)), share=(Rational(0), Rational(0)))
@example(a=(Rational(0), Rational(0)), b=(Rational(1, 8), Rational(2)), share=(Rational(0), Rational(1)))
@settings(max_examples=60, deadline=None)
def test_an_operation_of_spans_contains_the_values_at_points(name: str, a: Any, b: Any, share: Any) -> None:
    (p, q), (s, t) = sorted(a), sorted(b)
    points = p + (q - p) * share[0], s + (t - s) * share[1]
    ranges = Range(p, q, True, True).span, Range(s, t, True, True).span
    operation = getattr(Span, name)
    used = len(inspect.signature(operation).parameters)
    with working_precision(), mpmath.workdps(40):
        try:
            image = operation(*ranges[:used])
        except Undefined:
            return
        value = OPERATIONS[name](*(mpmath.mpf(int(point.p)) / int(point.q) for point in points[:used]))
        assert mpmath.im(value) == 0
        assert lies_in(image, arb(str(value), 1e-30 * (1 + abs(float(value)))))


def test_ends_that_are_not_attained_stay_so() -> None:
    everything = Range(-sympy.oo, sympy.oo).span
    assert span_of(sympy.sech(X) ** 2)({X: everything}).is_positive
    positive = Range(Rational(0), sympy.oo).span
    assert (positive * positive).is_positive
    assert not span_of(X**2)({X: everything}).is_positive
    assert (Span(arb(0), arb(0)) * everything).is_zero
    with working_precision():
        far = Range(Rational(200), Rational(300), True, True).span  # more than e^-200 needs to be told from 0 beside 1
        for bounded in (1 - sigmoid(X), 1 - sympy.tanh(X), 1 - sympy.erf(X), sympy.coth(X) - 1):
            assert span_of(bounded)({X: far}).is_positive


def test_a_leading_coefficient_that_may_be_0_below_is_not_cancelled() -> None:
    formula = (P * X**2 + X) / (P * X**2 + 1)
    assert limit(formula, X, UP, {P: BELOW_ONE}).number.low == 1
    with pytest.raises(Undefined):
        limit(formula, X, UP, {P: Range(Rational(0), Rational(1), True, True).span})


def test_what_would_be_a_polynomial_of_a_huge_degree_is_not_factored(monkeypatch: pytest.MonkeyPatch) -> None:
    """To SymPy's polynomials exp(57289761) is that power of E, which fills the memory."""
    monkeypatch.delattr(sympy, "factor")
    for huge in (sympy.exp(57289761), P * sympy.exp(57289761), (P + 1) ** 400):
        assert limit(huge * X + 1, X, UP, {P: BELOW_ONE}) == UP


def test_a_sum_goes_like_the_term_that_outgrows_the_others() -> None:
    assert limit(X - X * 2 + sympy.exp(X), X, UP, {}) == UP
    assert limit(X - X**2 + sympy.log(X), X, UP, {}) == DOWN
    assert limit(sympy.exp(X) / (1 + sympy.exp(X)) - 1, X, UP, {}).is_zero


@pytest.mark.parametrize(
    "formula",
    [
        sympy.exp(X) - sympy.exp(X + sympy.sin(X)),
        X - sympy.sqrt(X**2 + X),
        sympy.log(X) - sympy.log(2 * X),
        sympy.tan(X),
        sympy.sin(X),
    ],
)
def test_indeterminate_limits_are_refused(formula: sympy.Expr) -> None:
    with pytest.raises(Undefined):
        limit(formula, X, UP, {})


def test_a_power_that_grows_takes_no_constant_for_1() -> None:
    """erfc(r) is like exp(-r^2)/(r sqrt(pi)): erfc(r)^r exp(r^3) r^r tends to 0 like pi^(-r/2)."""
    with pytest.raises(Undefined):
        limit(sympy.erfc(r) ** r * sympy.exp(r**3) * r**r * Rational(3, 2) ** r, r, UP, {})


def test_certain_limits_are_found() -> None:
    assert limit(1 / (1 + X**2), X, UP, {}).is_zero
    assert limit(sympy.exp(X), X, DOWN, {}) == Limit(limit(sympy.exp(X), X, DOWN, {}).span, 1)
    assert limit(-1 / X, X, ABOVE, {}) == DOWN
    assert limit(X / (1 + X) - 1, X, UP, {}).is_zero
    assert limit(sympy.exp(-X) * X**3, X, UP, {}).is_zero
    assert limit(sympy.log(X) * X, X, ABOVE, {}).sign == -1


def test_a_power_of_a_parameter_falls_faster_than_the_ratio_grows() -> None:
    """Like r^-nu, in which what stands before r cancels only in the rate's own spelling."""
    nu, tau = sympy.symbols("nu tau", positive=True)
    box = {nu: Range(Rational(0), sympy.oo).span, tau: Range(Rational(0), sympy.oo).span}
    weight = (1 + (tau + 2) ** 2 * (X + 1 / tau) ** 2 / nu) ** (-nu / 2 - Rational(1, 2))
    assert limit(weight * (X + 1 + 1 / tau), X, UP, box).is_zero
    with pytest.raises(Undefined):
        limit(weight * (X + 1 + 1 / tau) ** 2, X, UP, box)


def test_a_removable_singularity_is_filled_by_its_limit_and_a_pole_is_not() -> None:
    assert filled(sympy.tanh(3 * X) / X, X, Rational(0), {}) == 3
    assert filled((1 - sympy.cos(X)) / X**2, X, Rational(0), {}) == Rational(1, 2)
    for pole in (sympy.cosh(X) / X, sympy.tanh(X) / X**2, sympy.sqrt(X) / X, sympy.log(X) / X):
        with pytest.raises(Undefined):
            filled(pole, X, Rational(0), {})
    assert not limit(1 / X, X, UP, {}).tends(1), "0 from above is not a positive limit"


X_RANGE, Y_RANGE = Range(Rational(0), Rational(2), True, True), Range(Rational(0), sympy.oo)


def tree_of(chance: random.Random, box: dict[Symbol, Range], depth: int) -> dict[str, Any]:
    """Cuts at random places inside, now and then with the number itself apart."""
    symbol = chance.choice(list(box))
    low, high = box[symbol].low, min(box[symbol].high, Rational(4))
    at = low + (high - low) * Rational(chance.randrange(1, 8), 8)
    if depth == 0 or low >= high:
        return {"rule": "defined"}
    apart = chance.random() < 0.5
    below, above = box[symbol].cut(at, closed=not apart)
    sides = {"below": below, "above": above, **({"there": Range.at(at)} if apart else {})}
    inner = {side: tree_of(chance, {**box, symbol: part}, depth - 1) for side, part in sides.items()}
    return {"cut": str(symbol), "at": str(at), **inner}


@pytest.mark.parametrize("seed", range(20))
def test_every_point_of_a_box_is_in_a_part_however_it_is_cut(seed: int) -> None:
    chance, box = random.Random(seed), {X: X_RANGE, Y: Y_RANGE}
    found = [part for part, _ in parts(tree_of(chance, box, 4), box)]
    ends = [{e for part in found for e in (part[s].low, part[s].high) if e.is_finite} for s in (X, Y)]
    points: list[list[Any]] = [sorted({*e, *((a + b) / 2 for a in e for b in e)}) for e in ends]
    for x, y in itertools.product(*points):
        if X_RANGE.holds(x) and Y_RANGE.holds(y):
            assert any(part[X].holds(x) and part[Y].holds(y) for part in found), (x, y)


@pytest.mark.parametrize("at", ["0", "2", "-1", "3", "oo", "1e3", "1/0", "nan", 1, None])
def test_a_cut_that_leaves_nothing_on_one_side_or_is_no_number_is_refused(at: Any) -> None:
    tree = {"cut": "x", "at": at, "below": {}, "above": {}}
    with pytest.raises(RecheckFailed):
        list(parts(tree, {X: X_RANGE}))
