"""Branch and bound: what is closed is covered, what is open says so."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Symbol

from sapo_gates.prove.boxes import Box, Budget, Closed, Leaf, Open, Range, Rule, Violated, Violation, cover
from sapo_gates.prove.interval import Interval

X, Y = Symbol("x"), Symbol("y")
ENDS = st.one_of(st.fractions(min_value=-1000, max_value=1000), st.sampled_from([inf, -inf]))


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low, high = sorted((draw(ENDS), draw(ENDS)))
    if low == high:
        low, high = (low, low + 1) if isinstance(low, Fraction) else (-inf, inf)
    return Range(low, high, draw(st.booleans()), draw(st.booleans()))


@given(ranges())
def test_halves_meet_strictly_inside_and_cover_the_whole(whole: Range) -> None:
    left, right = whole.halves()
    assert whole.lower < whole.middle < whole.upper
    assert (left.lower, left.lower_open, right.upper, right.upper_open) == (
        whole.lower, whole.lower_open, whole.upper, whole.upper_open,
    )  # fmt: skip
    assert left.upper == right.lower == whole.middle
    assert not left.upper_open
    assert not right.lower_open


@given(ranges(), st.fractions(min_value=-1000, max_value=1000))
def test_a_number_in_the_whole_is_in_one_of_the_halves(whole: Range, number: Fraction) -> None:
    assert whole.contains(number) == any(half.contains(number) for half in whole.halves())


def budget(boxes: int = 2000) -> Budget:
    return Budget(Budget.seconds(60).deadline, boxes)


def shorter_than(width: Fraction) -> Rule:
    def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        return all(r.upper - r.lower <= width for r in box.values() if isinstance(r.upper - r.lower, Fraction))

    return rule


def test_leaves_cover_one_dimension_without_gaps() -> None:
    outcome = cover({X: Range(Fraction(0), Fraction(3))}, [("short", shorter_than(Fraction(1, 7)))], budget())
    assert isinstance(outcome, Closed)
    pieces = sorted((leaf.box[X] for leaf in outcome.leaves), key=lambda piece: piece.lower)
    assert (pieces[0].lower, pieces[-1].upper) == (0, 3)
    assert all(before.upper == after.lower for before, after in pairwise(pieces))


@given(st.fractions(0, 3), st.fractions(-1, 1))
def test_every_point_of_two_dimensions_is_in_a_leaf(x: Fraction, y: Fraction) -> None:
    assert any(leaf.box[X].contains(x) and leaf.box[Y].contains(y) for leaf in SQUARE)


def _square() -> tuple[Leaf, ...]:
    box = {X: Range(Fraction(0), Fraction(3)), Y: Range(Fraction(-1), Fraction(1))}
    outcome = cover(box, [("short", shorter_than(Fraction(1, 2)))], budget())
    assert isinstance(outcome, Closed)
    return outcome.leaves


SQUARE = _square()


def test_a_box_on_which_the_claim_is_false_everywhere_is_returned() -> None:
    def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        if ranges[X].lower > 2:
            raise Violation
        return bool(ranges[X].upper <= 2)

    outcome = cover({X: Range(Fraction(0), Fraction(3))}, [("at most two", rule)], budget())
    assert isinstance(outcome, Violated)
    assert outcome.box[X].lower > 2


@pytest.mark.parametrize("limited", [budget(10), Budget(deadline=0.0)], ids=["boxes", "time"])
def test_a_spent_budget_leaves_the_claim_open(limited: Budget) -> None:
    outcome = cover({X: Range(Fraction(0), Fraction(1))}, [("never", lambda ranges, box: False)], limited)
    assert isinstance(outcome, Open)


def test_an_unbounded_tail_that_no_rule_settles_is_given_up_before_the_budget_is_spent() -> None:
    rule: Rule = lambda ranges, box: not isinstance(box[X].upper, float)  # noqa: E731
    outcome = cover({X: Range(Fraction(0), inf)}, [("bounded", rule)], budget())
    assert isinstance(outcome, Open)
    assert outcome.box[X].upper == inf


def test_a_point_that_no_rule_settles_is_given_up() -> None:
    def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
        return not box[X].contains(Fraction(1, 3))

    outcome = cover({X: Range(Fraction(0), Fraction(1))}, [("beside a third", rule)], budget())
    assert isinstance(outcome, Open)
    assert outcome.box[X].contains(Fraction(1, 3))


def test_nothing_to_split_is_settled_or_left_open_at_once() -> None:
    assert isinstance(cover({}, [("yes", lambda ranges, box: True)], budget()), Closed)
    assert isinstance(cover({}, [("no", lambda ranges, box: False)], budget()), Open)
