"""Containment of every interval operation, ends included, against exact rational arithmetic."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import TypeVar

import pytest
from flint import arb, ctx
from hypothesis import example, given
from hypothesis import strategies as st

from sapo_gates.prove import interval as module
from sapo_gates.prove.interval import Interval, NowhereDefined, Undefined, hull, hull_of_ends, working_precision

FUZZED: set[str] = set()
"""The operations whose containment the tests below fuzz."""


Test = TypeVar("Test", bound=Callable[..., None])


def fuzzes(*operations: str) -> Callable[[Test], Test]:
    """Marks a test as the one that fuzzes these operations."""
    FUZZED.update(operations)
    return lambda test: test


def operations() -> set[str]:
    """Everything in the module that returns an interval."""
    found = [*vars(Interval).items(), *vars(module).items()]
    functions = {name: getattr(f, "__func__", f) for name, f in found}
    return {
        name
        for name, f in functions.items()
        if inspect.isfunction(f) and f.__annotations__.get("return") in ("Interval", Interval)
    }


def test_every_operation_is_fuzzed() -> None:
    assert operations() == FUZZED


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    with working_precision():
        yield


@dataclass(frozen=True)
class Member:
    """An interval and a point that lies in it."""

    interval: Interval
    point: Fraction


def fraction(end: arb) -> Fraction | float:
    if not end.is_finite():
        return inf if end > 0 else -inf
    mantissa, exponent = (int(part) for part in end.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


def holds(interval: Interval, number: Fraction) -> bool:
    """The number is one of the interval's points, an open end not being one."""
    lower, upper = fraction(interval.lower), fraction(interval.upper)
    above = lower < number or (lower == number and not interval.lower_open)
    return above and (number < upper or (number == upper and not interval.upper_open))


NUMBERS = st.one_of(
    st.sampled_from([Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 3), Fraction(2**70), Fraction(1, 2**70)]),
    st.fractions(min_value=-100, max_value=100, max_denominator=64),
)


@st.composite
def members(draw: st.DrawFn, numbers: st.SearchStrategy[Fraction] = NUMBERS) -> Member:
    low, point, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    lower = draw(st.sampled_from([low, -inf])) if low < 0 else low
    upper = draw(st.sampled_from([high, inf])) if high > 0 else high
    lower_open = draw(st.booleans()) and lower < point
    upper_open = draw(st.booleans()) and point < upper
    return Member(Interval.of(lower, upper, lower_open, upper_open), point)


def member(lower: Fraction | float, upper: Fraction | float, point: Fraction | int, *, is_open: bool = False) -> Member:
    return Member(Interval.of(lower, upper, is_open, is_open), Fraction(point))


@fuzzes("of")
@given(members())
def test_a_member_lies_in_its_interval(a: Member) -> None:
    assert holds(a.interval, a.point)


@fuzzes("__add__")
@given(members(), members())
@example(member(-inf, inf, 0), member(0, inf, 2**70, is_open=True))
def test_a_sum_holds_the_sums_of_points(a: Member, b: Member) -> None:
    assert holds(a.interval + b.interval, a.point + b.point)


@fuzzes("__mul__")
@given(members(), members())
@example(member(Fraction(0), Fraction(0), 0), member(Fraction(1), inf, 2**70))
@example(member(Fraction(0), inf, 1, is_open=True), member(Fraction(0), inf, 1, is_open=True))
@example(member(Fraction(0), Fraction(1), 0), member(Fraction(-1), Fraction(1), 0, is_open=True))
@example(member(-inf, inf, 0), member(-inf, inf, 0))
def test_a_product_holds_the_products_of_points(a: Member, b: Member) -> None:
    assert holds(a.interval * b.interval, a.point * b.point)


@fuzzes("__neg__")
@given(members())
def test_a_negative_holds_the_negatives_of_points(a: Member) -> None:
    assert holds(-a.interval, -a.point)


@fuzzes("reciprocal")
@given(members())
@example(member(Fraction(0), inf, 1, is_open=True))
@example(member(-inf, Fraction(0), -1, is_open=True))
def test_a_reciprocal_holds_the_reciprocals_of_points_or_is_refused_around_zero(a: Member) -> None:
    try:
        found = a.interval.reciprocal()
    except Undefined:
        assert a.interval.contains_zero
        return
    assert holds(found, 1 / a.point)


@fuzzes("integer_power")
@given(members(), st.integers(1, 9))
@example(member(Fraction(-1), Fraction(2), 0), 2)
@example(member(-inf, Fraction(-1), -1), 3)
def test_an_integer_power_holds_the_powers_of_points(a: Member, n: int) -> None:
    assert holds(a.interval.integer_power(n), a.point**n)


@fuzzes("root_power", "_monotone")
@given(members(NUMBERS.map(abs)), st.sampled_from([Fraction(1, 2), Fraction(3, 2), Fraction(1, 3), Fraction(7, 5)]))
def test_a_root_power_holds_the_powers_of_points(a: Member, q: Fraction) -> None:
    found = a.interval.root_power(q)
    power = a.point**q.numerator  # y = x^(p/q) lies in [l, h] where l^q <= x^p <= h^q
    lower, upper = fraction(found.lower), fraction(found.upper)
    assert lower**q.denominator <= power <= upper**q.denominator
    assert not (found.lower_open and lower**q.denominator == power)
    assert not (found.upper_open and upper**q.denominator == power)


@fuzzes("absolute")
@given(members())
@example(member(Fraction(-2), Fraction(1), 0, is_open=True))
def test_an_absolute_value_holds_the_absolute_values_of_points(a: Member) -> None:
    assert holds(a.interval.absolute(), abs(a.point))


@fuzzes("hull")
@given(members(), members())
def test_a_hull_holds_the_points_of_both(a: Member, b: Member) -> None:
    assert holds(hull(a.interval, b.interval), a.point)
    assert holds(hull(a.interval, b.interval), b.point)


@fuzzes("hull_of_ends")
@given(members(), members())
def test_a_hull_of_ends_holds_them_and_is_closed_where_one_is_attained(a: Member, b: Member) -> None:
    ends = [
        (end, is_open)
        for i in (a.interval, b.interval)
        for end, is_open in ((i.lower, i.lower_open), (i.upper, i.upper_open))
    ]
    found = hull_of_ends(ends)
    assert all(is_open or holds(found, fraction(end)) for end, is_open in ends)  # type: ignore[arg-type]


@fuzzes("around")
@given(NUMBERS, st.fractions(0, 1, max_denominator=8))
def test_an_interval_around_a_ball_holds_what_the_ball_does(middle: Fraction, radius: Fraction) -> None:
    ball = arb(float(middle), float(radius))
    assert all(holds(Interval.around(ball), Fraction(float(middle)) + s * Fraction(float(radius))) for s in (-1, 0, 1))


@fuzzes("increasing")
@given(members())
@example(member(-inf, inf, 0))
@example(member(Fraction(0), inf, 2**70, is_open=True))
def test_an_increasing_image_holds_the_images_of_points_and_never_its_limits(a: Member) -> None:
    found = a.interval.increasing(lambda x: x / (1 + abs(x)), arb(-1), arb(1))
    assert holds(found, a.point / (1 + abs(a.point)))
    assert not holds(found, Fraction(1))
    assert not holds(found, Fraction(-1))


@fuzzes("even_decreasing")
@given(members())
@example(member(-inf, inf, 0))
def test_an_even_falling_image_holds_the_images_of_points_and_never_its_limit(a: Member) -> None:
    found = a.interval.even_decreasing(lambda x: 1 / (1 + x * x), arb(0))
    assert holds(found, 1 / (1 + a.point**2))
    assert found.is_positive


@given(members())
def test_a_sign_is_claimed_only_where_every_point_has_it(a: Member) -> None:
    assert not a.interval.is_positive or a.point > 0
    assert not a.interval.is_negative or a.point < 0
    assert not a.interval.is_nonnegative or a.point >= 0
    assert not a.interval.is_nonpositive or a.point <= 0
    assert a.point != 0 or a.interval.contains_zero


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval.of(0, 1, True, False) + Interval.of(Fraction(1), 1), "(1.00000000000, 2.00000000000]"),
        (Interval.of(0, inf, True) * Interval.of(-1, 0), "(-oo, 0]"),
        (Interval.of(1, inf).reciprocal(), "(0, 1.00000000000]"),
        (Interval.of(0, 1, True, True).integer_power(2), "(0, 1.00000000000)"),
        (Interval.of(-1, 1, True, True).integer_power(2), "[0, 1.00000000000)"),
    ],
    ids=["sum of open and closed", "open zero times closed zero", "reciprocal of an unbounded one", "square", "even"],
)
def test_an_end_is_open_exactly_where_it_is_not_attained(interval: Interval, text: str) -> None:
    assert repr(interval) == text


def test_the_reciprocal_of_zero_alone_is_nowhere_defined() -> None:
    with pytest.raises(NowhereDefined):
        Interval.of(0, 0).reciprocal()


def test_a_rational_that_is_no_dyadic_number_is_enclosed_and_its_open_end_closes() -> None:
    third = Interval.of(Fraction(1, 3), Fraction(1), True, True)
    assert not third.lower_open
    assert fraction(third.lower) <= Fraction(1, 3) <= fraction(third.lower) + Fraction(1, 2**100)


def test_the_working_precision_is_restored_after_an_error() -> None:
    before = ctx.prec
    with pytest.raises(ZeroDivisionError), working_precision(77):
        _ = 1 / (ctx.prec - 77)
    assert ctx.prec == before
