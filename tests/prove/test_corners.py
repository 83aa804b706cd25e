"""What is said at corners: by the piece that holds there for every parameter of a cell, and equal from both sides."""

from collections.abc import Callable

import pytest
import sympy
from sympy import Abs, Expr, Piecewise, Symbol, exp, sqrt

from sapo_gates.functions import r
from sapo_gates.gate import Domain
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.corners import value_at
from sapo_gates.prove.forms import is_identity

s, tau = Symbol("s", positive=True), Symbol("tau", positive=True)
INSIDE = Piecewise((r, Abs(r - 1) < sympy.Rational(100, 39)), (0, True))


def test_a_piece_that_is_left_at_an_open_end_of_the_cell_holds_on_all_of_it() -> None:
    assert value_at(INSIDE, {r: 1 + 1 / tau}, {tau: Domain.parse("(39/100, oo)")}) == 1 + 1 / tau


@pytest.mark.parametrize("domain", ["[39/100, oo)", "(38/100, oo)"])
def test_of_a_cell_on_which_two_pieces_hold_nothing_is_said(domain: str) -> None:
    with pytest.raises(Unsupported):
        value_at(INSIDE, {r: 1 + 1 / tau}, {tau: Domain.parse(domain)})


@pytest.mark.parametrize("function", [lambda u: exp(-(u**2)), lambda u: 1 / (1 + u**2), sqrt])
def test_what_cancels_inside_a_function_is_the_same(function: Callable[[Expr], Expr]) -> None:
    spelled, short = (tau * (1 - (2 * s + 9) / (2 * s + 10)), tau / (2 * s + 10))
    assert is_identity(function(spelled), function(short))
    assert not is_identity(function(spelled), function(short) + s / 10**9)
