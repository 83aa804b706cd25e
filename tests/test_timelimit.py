"""No work goes on beyond its time, wherever the interruption strikes."""

import time
import weakref
from contextlib import suppress

import pytest
import sympy

from sapo_gates.prove.forms import tamed
from sapo_gates.timelimit import OutOfTime, deadline, within


def forever() -> None:
    while True:
        pass


def test_work_that_takes_too_long_is_interrupted() -> None:
    with pytest.raises(OutOfTime):
        within(0.05, forever)


def test_time_taken_inside_a_shorter_limit_counts_for_the_longer_one() -> None:
    def again_and_again() -> None:
        for _ in range(20):
            with suppress(OutOfTime):
                within(0.1, forever)

    began = time.process_time()
    with suppress(OutOfTime):
        within(0.3, again_and_again)
    assert time.process_time() - began < 1


def test_an_interruption_that_gets_lost_is_tried_again() -> None:
    def stubborn() -> None:
        with suppress(OutOfTime):  # as the interpreter does in a callback
            forever()
        forever()

    with pytest.raises(OutOfTime):
        within(0.05, stubborn)


def test_a_callback_is_not_interrupted_but_what_follows_is() -> None:
    class Key:
        pass

    def churn() -> None:
        table: weakref.WeakKeyDictionary[Key, int] = weakref.WeakKeyDictionary()
        while True:  # nearly all the time goes into the dictionary's own callback
            table[Key()] = 1

    with pytest.raises(OutOfTime):
        within(0.05, churn)


def test_a_rewriting_that_a_deadline_cut_short_is_tried_again_later() -> None:
    x = sympy.Symbol("x")
    with deadline(0):
        assert tamed(sympy.expand, (x + 1) ** 2) == (x + 1) ** 2
    assert tamed(sympy.expand, (x + 1) ** 2) == x**2 + 2 * x + 1


def test_a_polynomial_of_a_huge_degree_is_left_alone_as_nothing_would_interrupt_its_factoring() -> None:
    x = sympy.Symbol("x")
    for huge in (1 + x**1000 / 7, (1 + x) ** sympy.Rational(1001, 2) - x, (x + 1) ** 2 + x ** sympy.Rational(1, 301)):
        assert tamed(sympy.factor, huge) is huge
    assert tamed(sympy.factor, x**100 - x**99) == x**99 * (x - 1)
