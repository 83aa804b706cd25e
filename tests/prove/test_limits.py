"""Limits: the certain ones, the refused ones, and every claimed one against mpmath far out."""

from math import inf

import mpmath
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Symbol, atan, cos, erfc, exp, log, sech, sin, tanh

from sapo_gates.functions import sigmoid
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.limits import TO_INFINITY, TO_MINUS_INFINITY, ZERO_FROM_ABOVE, Limit, limit

X, P = Symbol("x", positive=True), Symbol("p", positive=True)
ENDS = {"oo": TO_INFINITY, "-oo": TO_MINUS_INFINITY, "0+": ZERO_FROM_ABOVE}


def seen(found: Limit) -> str:
    """`oo`, `-oo`, `0+`, `0-`, `0` or the interval."""
    if found.infinite:
        return "oo" if found.infinite > 0 else "-oo"
    return {1: "0+", -1: "0-", 0: "0"}[found.approach] if found.is_zero else repr(found.interval)


@pytest.mark.parametrize(
    ("expression", "end", "expected"),
    [
        (1 / X, "oo", "0+"),
        (-1 / X, "oo", "0-"),
        (X**-3, "-oo", "0-"),
        (X**2, "-oo", "oo"),
        (X**3, "-oo", "-oo"),
        (1 / X, "0+", "oo"),
        (log(X), "0+", "-oo"),
        (exp(-1 / X), "0+", "0+"),
        (exp(1 / X), "0+", "oo"),
        (tanh(-1 / X), "0+", "[-1.00000000000, -1.00000000000]"),
        (sech(X), "-oo", "0+"),
        (1 - sigmoid(X), "-oo", "[1.00000000000, 1.00000000000]"),
        (X**P, "0+", "0+"),
        (X ** (-P), "oo", "0+"),
        (P / X, "oo", "0+"),
        (P * X, "oo", "oo"),
        (tanh(X) * P, "oo", "(0, oo)"),
        (2 + 1 / X, "oo", "[2.00000000000, 2.00000000000]"),
        (tanh(1 / X), "oo", "0+"),
        (X / (1 + X), "oo", "[1.00000000000, 1.00000000000]"),
        (P * X**2 / (X - X**3), "oo", "0-"),
        (X * exp(-X), "oo", "0+"),
        (X**5 * sech(P * X), "oo", "0+"),
        (X * log(X), "0+", "0-"),
        (log(sin(1 / X)), "oo", "-oo"),
        (X * sin(P / X), "oo", "(0, oo)"),
        (X * tanh(1 / X) ** 2, "oo", "0+"),
        (exp(X) / X**3, "oo", "oo"),
        (-exp(X) / X**3, "oo", "-oo"),
        (X**3 * erfc(P * X), "oo", "0+"),
        (exp(X) * erfc(P * X) ** 2, "oo", "0+"),
        (X / erfc(P * X), "oo", "oo"),
        (exp(-X) / erfc(P * X), "oo", "oo"),
        (cos(P * X) / X, "oo", "0"),
        (X * exp(-(X**2)) * (1 + cos(P * X) / 100), "oo", "0+"),
        (X * sin(X) ** 2 / (1 + X**2), "oo", "0"),
        (X * sin(1 / X), "0+", "0"),
        (X * (2 + cos(X)), "oo", "oo"),
        (X + sin(X), "oo", "oo"),
        (tanh(X + cos(X)), "oo", "[1.00000000000, 1.00000000000]"),
        (X - log(X), "oo", "oo"),
        (P * sympy.sqrt(X) * log(X) - X, "oo", "-oo"),
        (1 / X + log(X), "0+", "oo"),
        (X * exp(P * X) / (1 + exp(P * X)), "oo", "oo"),
        (X * P / (1 + P * (X - 1 - log(X))), "oo", "[1.00000000000, 1.00000000000]"),
        (X / (1 + P * X * log(X)) ** 2, "oo", "0+"),
        ((P * X - P) / (P * X + 1), "oo", "[1.00000000000, 1.00000000000]"),
    ],
    ids=str,
)
def test_a_certain_limit_is_found_for_every_parameter(expression: sympy.Expr, end: str, expected: str) -> None:
    found = limit(expression, X, ENDS[end], {P: Interval.of(0, inf, True)})
    assert seen(found) == expected


@pytest.mark.parametrize(
    ("expression", "end"),
    [
        (exp(X) - exp(X + sin(X)), "oo"),
        (X - X * tanh(X), "oo"),
        (log(X) - log(2 * X), "oo"),
        (1 / (X - sympy.sqrt(X**2 + X)), "oo"),
        (X * log(exp(X) - exp(-X)) * exp(-X) - X, "oo"),
        (sin(X), "oo"),
        (1 / sin(1 / X), "0+"),
        (tanh(X) - 1, "-oo"),
        ((P - 1) * X, "oo"),
        (X ** (P - 1), "oo"),
        (1 / (tanh(X) - 1), "oo"),
        (sympy.gamma(X), "oo"),
        (sympy.sqrt(-X), "oo"),
        (log(sin(X)), "oo"),
        (2 + cos(X), "oo"),
        (X * (1 + cos(X)), "oo"),
        (sympy.sqrt(1 - cos(X)) / X, "oo"),
        (exp(-X) / cos(X), "oo"),
    ],
    ids=str,
)
def test_an_indeterminate_form_is_refused_or_only_what_is_certain_is_said(expression: sympy.Expr, end: str) -> None:
    if expression == tanh(X) - 1:  # no indeterminate form: a plain -2
        assert seen(limit(expression, X, ENDS[end], {})) == "[-2.00000000000, -2.00000000000]"
        return
    with pytest.raises(Undefined):
        limit(expression, X, ENDS[end], {P: Interval.of(0, inf, True)})


def test_a_leading_coefficient_that_may_be_0_below_is_not_cancelled() -> None:
    """(p x^2 + x)/(p x^2 + 1) tends to 1, but for p = 0, where it grows."""
    formula = (P * X**2 + X) / (P * X**2 + 1)
    assert seen(limit(formula, X, ENDS["oo"], {P: Interval.of(0, 1, True)})) == "[1.00000000000, 1.00000000000]"
    with pytest.raises(Undefined):
        limit(formula, X, ENDS["oo"], {P: Interval.of(0, 1)})


EXPRESSIONS = st.recursive(
    st.one_of(st.just(X), st.integers(-2, 3).map(sympy.Integer)),
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, n: a**n, inner, st.sampled_from([-2, -1, 2, 3, sympy.Rational(1, 2)])),
        st.builds(
            lambda f, a: f(a),
            st.sampled_from([tanh, atan, sympy.erf, sech, exp, log, sigmoid, sympy.asinh, sympy.erfc]),
            inner,
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(EXPRESSIONS, st.sampled_from(["oo", "0+"]))
def test_a_claimed_limit_is_where_the_expression_goes(expression: sympy.Expr, end: str) -> None:
    assume(isinstance(expression, sympy.Expr) and not expression.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I))
    try:
        found = limit(expression, X, ENDS[end], {})
    except Undefined:
        return
    f = sympy.lambdify(X, expression.rewrite(sympy.exp) if expression.has(sigmoid) else expression, "mpmath")
    with mpmath.workdps(60):
        try:
            far = [f(mpmath.mpf(10) ** (k if end == "oo" else -k)) for k in (3, 4)]
        except (OverflowError, ZeroDivisionError, ValueError, MemoryError):
            return
        if not all(mpmath.isfinite(value) for value in far):
            return
        assert all(mpmath.im(value) == 0 for value in far)
        if found.infinite:
            assert mpmath.sign(far[1]) == found.infinite
        elif found.approach:
            assert mpmath.sign(far[1]) in (0, found.approach)  # 0: too small for 60 digits
            assert abs(far[1]) <= abs(far[0])
        else:
            middle = float(found.finite.lower)
            assert abs(far[1] - middle) <= max(abs(far[0] - middle), mpmath.mpf(10) ** -12)
