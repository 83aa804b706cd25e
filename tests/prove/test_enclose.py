"""Containment of every enclosed function, and of whole expressions, against mpmath at high precision."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from typing import Any

import mpmath
import pytest
import sympy
from flint import arb
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sapo_gates.functions import ELEMENTARY, sigmoid
from sapo_gates.prove.enclose import FUNCTIONS, compiled, enclose_at, general_power, power
from sapo_gates.prove.interval import Interval, NowhereDefined, Undefined, working_precision

DIGITS = 80
CORNERS = {"sqrt", "Abs", "sign", "Min", "Max", "Piecewise"}  # roots are powers; the others are split into pieces


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    with working_precision(), mpmath.workdps(DIGITS):
        yield


def exact(end: arb) -> Any:
    if not end.is_finite():
        return mpmath.inf if end > 0 else -mpmath.inf
    mantissa, exponent = (int(part) for part in end.man_exp())
    return mpmath.mpf((0 if mantissa >= 0 else 1, abs(mantissa), exponent, abs(mantissa).bit_length()))


def holds(found: Interval, value: Any) -> bool:
    """The value, known to about 60 digits, is in the interval; both its ends are much coarser or exact."""
    slack = abs(value) * mpmath.mpf(10) ** -60 + mpmath.mpf(10) ** -200
    return bool(exact(found.lower) <= value + slack and value - slack <= exact(found.upper))


ONE_ARGUMENT: dict[str, tuple[Any, Callable[..., Any], float, float]] = {
    "exp": (sympy.exp, mpmath.exp, -inf, inf),
    "log": (sympy.log, mpmath.log, 0, inf),
    "tanh": (sympy.tanh, mpmath.tanh, -inf, inf),
    "erf": (sympy.erf, mpmath.erf, -inf, inf),
    "erfc": (sympy.erfc, mpmath.erfc, -inf, inf),
    "erfi": (sympy.erfi, mpmath.erfi, -inf, inf),
    "sinh": (sympy.sinh, mpmath.sinh, -inf, inf),
    "cosh": (sympy.cosh, mpmath.cosh, -inf, inf),
    "asinh": (sympy.asinh, mpmath.asinh, -inf, inf),
    "atan": (sympy.atan, mpmath.atan, -inf, inf),
    "sigmoid": (sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), -inf, inf),
    "sech": (sympy.sech, mpmath.sech, -inf, inf),
    "sin": (sympy.sin, mpmath.sin, -inf, inf),
    "cos": (sympy.cos, mpmath.cos, -inf, inf),
    "tan": (sympy.tan, mpmath.tan, -inf, inf),
    "coth": (sympy.coth, mpmath.coth, -inf, inf),
    "csch": (sympy.csch, mpmath.csch, -inf, inf),
    "asin": (sympy.asin, mpmath.asin, -1, 1),
    "acos": (sympy.acos, mpmath.acos, -1, 1),
    "acosh": (sympy.acosh, mpmath.acosh, 1, inf),
    "atanh": (sympy.atanh, mpmath.atanh, -1, 1),
    "gamma": (sympy.gamma, mpmath.gamma, -inf, inf),
    "loggamma": (sympy.loggamma, mpmath.loggamma, 0, inf),
    "LambertW": (sympy.LambertW, mpmath.lambertw, -0.3125, inf),
    "Ei": (sympy.Ei, mpmath.ei, -inf, inf),
}
TWO_ARGUMENTS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "lowergamma": (sympy.lowergamma, lambda a, x: mpmath.gammainc(a, 0, x)),
    "uppergamma": (sympy.uppergamma, lambda a, x: mpmath.gammainc(a, x)),
}


def test_every_function_a_gate_may_name_is_enclosed_and_checked_here() -> None:
    checked = {*ONE_ARGUMENT, *TWO_ARGUMENTS}
    assert checked | CORNERS == set(ELEMENTARY)
    assert {function for function, *_ in (*ONE_ARGUMENT.values(), *TWO_ARGUMENTS.values())} == set(FUNCTIONS)


@st.composite
def ranges(draw: st.DrawFn, least: float, most: float) -> tuple[Interval, Fraction]:
    """An interval inside [least, most], ends possibly open or infinite, and a point in it."""
    numbers = st.floats(max(least, -60), min(most, 60), width=32).map(Fraction)
    low, point, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    lower = draw(st.sampled_from([low, -inf])) if least == -inf else low
    upper = draw(st.sampled_from([high, inf])) if most == inf else high
    lower_open, upper_open = draw(st.booleans()) and lower < point, draw(st.booleans()) and point < upper
    return Interval.of(lower, upper, lower_open, upper_open), point


@pytest.mark.parametrize("name", ONE_ARGUMENT)
@given(data=st.data())
def test_a_function_of_a_range_holds_its_values_at_points(name: str, data: st.DataObject) -> None:
    function, reference, least, most = ONE_ARGUMENT[name]
    interval, point = data.draw(ranges(least, most))
    try:
        found = FUNCTIONS[function](interval)
    except Undefined:
        return
    x = mpmath.mpf(point.numerator) / point.denominator
    value = reference(x)  # where the enclosure is defined, so is the function
    assert holds(found, mpmath.re(value))
    assert mpmath.im(value) == 0


@pytest.mark.parametrize("name", TWO_ARGUMENTS)
@settings(max_examples=40)
@given(data=st.data())
def test_an_incomplete_gamma_function_of_ranges_holds_its_values_at_points(name: str, data: st.DataObject) -> None:
    function, reference = TWO_ARGUMENTS[name]
    (order, a), (interval, x) = data.draw(ranges(0.125, 9)), data.draw(ranges(0, 9))
    try:
        found = FUNCTIONS[function](order, interval)
    except Undefined:
        return
    assert holds(found, reference(mpmath.mpf(a.numerator) / a.denominator, mpmath.mpf(x.numerator) / x.denominator))


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("log", Interval.of(-1, 1)),
        ("log", Interval.of(0, 1)),
        ("tan", Interval.of(1, 2)),
        ("coth", Interval.of(-1, 1)),
        ("csch", Interval.of(-1, 1)),
        ("gamma", Interval.of(-1, 1)),
        ("gamma", Interval.of(Fraction(-5, 2), Fraction(-3, 2))),
        ("loggamma", Interval.of(-1, 1)),
        ("Ei", Interval.of(-1, 1)),
        ("asin", Interval.of(0, 2)),
        ("acos", Interval.of(-2, 0)),
        ("acosh", Interval.of(0, 2)),
        ("atanh", Interval.of(0, 2)),
        ("LambertW", Interval.of(-1, 1)),
    ],
    ids=lambda argument: str(argument),
)
def test_a_range_that_holds_a_pole_or_leaves_the_domain_is_refused(name: str, interval: Interval) -> None:
    with pytest.raises(Undefined):
        FUNCTIONS[ONE_ARGUMENT[name][0]](interval)


EVERYTHING = Interval.of(-inf, inf)


@pytest.mark.parametrize(
    ("name", "interval", "text"),
    [
        ("sech", EVERYTHING, "(0, 1.00000000000]"),
        ("exp", EVERYTHING, "(0, oo)"),
        ("tanh", EVERYTHING, "(-1.00000000000, 1.00000000000)"),
        ("sigmoid", EVERYTHING, "(0, 1.00000000000)"),
        ("erf", Interval.of(0, inf), "[0, 1.00000000000)"),
        ("erfc", EVERYTHING, "(0, 2.00000000000)"),
        ("exp", Interval.of(0, inf, True), "(1.00000000000, oo)"),
        ("log", Interval.of(0, 1, True), "(-oo, 0]"),
    ],
    ids=lambda argument: str(argument),
)
def test_a_limit_that_is_not_attained_stays_an_open_end(name: str, interval: Interval, text: str) -> None:
    assert repr(FUNCTIONS[ONE_ARGUMENT[name][0]](interval)) == text


def fraction_of(end: arb) -> Fraction:
    mantissa, exponent = (int(part) for part in end.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


@given(ranges(-50, 50), st.sampled_from(["2", "3", "-1", "-2", "1/2", "-3/2", "2/3"]))
@example((Interval.of(-1, 1), Fraction(0)), "-2")
def test_a_rational_power_of_a_range_holds_its_values_or_is_refused(member: tuple[Interval, Fraction], q: str) -> None:
    interval, point = member
    exponent = sympy.Rational(q)
    try:
        found = power(interval, exponent)
    except Undefined:
        assert interval.contains_zero or not interval.is_positive
        return
    value = mpmath.power(mpmath.mpf(point.numerator) / point.denominator, mpmath.mpf(exponent.p) / exponent.q)
    assert holds(found, mpmath.re(value))


@given(ranges(-1, 50), ranges(-3, 9))
@example((Interval.of(0, 2), Fraction(0)), (Interval.of(0, inf, True), Fraction(1, 8)))
@example((Interval.of(0, 0), Fraction(0)), (Interval.of(0, 9), Fraction(0)))
def test_a_power_of_ranges_holds_its_values_or_is_refused(
    x: tuple[Interval, Fraction], y: tuple[Interval, Fraction]
) -> None:
    try:
        found = general_power(x[0], y[0])
    except Undefined:
        assert not x[0].is_positive
        assert not (x[0].is_nonnegative and y[0].is_positive)
        return
    base, exponent = (mpmath.mpf(point.numerator) / point.denominator for _, point in (x, y))
    assert holds(found, mpmath.power(base, exponent))


X, Y = sympy.Symbol("x", positive=True), sympy.Symbol("y", positive=True)
EXPRESSIONS = st.recursive(
    st.one_of(st.sampled_from([X, Y, sympy.pi]), st.integers(-3, 3).map(sympy.Integer)),
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, b: a / b, inner, st.sampled_from([X, 1 + X**2, Y + X])),
        st.builds(lambda a, n: a**n, inner, st.integers(1, 3)),
        st.builds(
            lambda f, a: f(a),
            st.sampled_from([sympy.tanh, sympy.atan, sympy.erf, sympy.sech, sympy.sin, sympy.cos, sigmoid]),
            inner,
        ),
        st.sampled_from([X, -Y, X * Y, sympy.tanh(X)]).map(lambda a: (1 + X) ** a),  # no towers: they have no end
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(EXPRESSIONS, ranges(0.125, 8), ranges(0.125, 8))
@example(X**X, (Interval.of(0, inf, True), Fraction(1)), (Interval.of(1, 1), Fraction(1)))
def test_a_whole_expression_over_a_box_holds_its_values_at_points(
    expression: sympy.Expr, x: tuple[Interval, Fraction], y: tuple[Interval, Fraction]
) -> None:
    assume(isinstance(expression, sympy.Expr) and not expression.has(sympy.zoo, sympy.nan))
    try:
        found = compiled(expression)({X: x[0], Y: y[0]})
    except Undefined:
        return
    at = {X: sympy.Rational(str(x[1])), Y: sympy.Rational(str(y[1]))}
    value = expression.rewrite(sympy.exp).evalf(DIGITS, subs=at)
    assume(value.is_Float or value.is_Integer or value.is_Rational)
    assert holds(found, mpmath.mpf(str(value)))


def test_a_value_at_an_exact_point_is_enclosed_tightly() -> None:
    found = enclose_at(sympy.exp(X), {X: sympy.Rational(1, 3)})
    assert holds(found, mpmath.exp(mpmath.mpf(1) / 3))
    assert fraction_of(found.upper) - fraction_of(found.lower) < Fraction(1, 2**100)


def test_a_function_without_enclosure_is_refused_when_compiled() -> None:
    with pytest.raises(Undefined, match="polygamma"):
        compiled(sympy.polygamma(0, X))


def test_a_pole_at_an_exact_point_is_nowhere_defined() -> None:
    with pytest.raises(NowhereDefined):
        enclose_at(1 / (X - 1), {X: sympy.Integer(1)})
