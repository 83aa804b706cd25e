"""Charts, breakpoints and the pieces between them."""

from collections.abc import Sequence

import pytest
import sympy
from sympy import Rational, Symbol, exp

from sapo_gates import Parameter
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r
from sapo_gates.gate import Domain
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.corners import value_at, zeros
from sapo_gates.prove.sections import Branch, Chart, branches_of, in_x

tau = Parameter("tau", "(0, oo)", 10, 12)
e = Parameter("e", "(0, 1)", "0.2", "0.2")
c = Parameter("c", "(0, 3)", 2, 2)


def branches(text: str, *parameters: Parameter, kind: str = "weight") -> tuple[Branch, ...]:
    declared = parse_expression(text, {p.name: p for p in parameters})
    return branches_of(kind, declared, {p: p.domain for p in parameters})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "chart", "left"),
    [
        ("sech(tau*(r - 1))", "scaled", []),
        ("1/(1 + tau*Abs(r - 1))", "scaled", []),
        ("exp(-tau^2*z^2)", "log-scaled", []),
        ("Piecewise((1, tau*(r - 1) < 1), (0, True))", "scaled", []),
        ("sech(tau*(r - 1))/r", "ratio", ["tau"]),
        ("sech(tau*(r - 1)) + Max(r - 2, 0)", "ratio", ["tau"]),
        ("sech(r - 1)", "ratio", []),
        ("exp(-tau*z^2)", "log", ["tau"]),
        ("exp(-tau*z^2) + sech(r - 1)", "ratio", ["tau"]),
    ],
)
def test_a_parameter_disappears_where_the_weight_depends_on_a_product_with_it_alone(
    text: str, chart: str, left: list[str]
) -> None:
    parameters = [tau] if "tau" in text else []
    (branch,) = branches(text, *parameters)
    assert branch.chart.kind == chart
    assert [str(p) for p in branch.domains] == left


def test_a_value_that_keeps_the_parameter_does_not_hinder_its_weight() -> None:
    (branch,) = branches("1 + atan(tau*(r - 1))/tau", tau, kind="value")
    assert branch.chart.kind == "scaled"
    assert not any(tau in section.weight.free_symbols for section in branch.sections)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Min(r, 2)", ["1", "2"]),
        ("Piecewise((1, r < 1/3), (2, r < 7), (3, True))", ["1/3", "1", "7"]),
        ("Abs((r - 2)*(r - 3))", ["1", "2", "3"]),
        ("Abs(r^2 - 2)", ["1", "sqrt(2)"]),
        ("Piecewise((1, 1/r < 1/4), (2, True))", ["1", "4"]),
        ("Abs(Abs(r - 4) - 2)", ["1", "2", "4", "6"]),
        ("Max(r, 2, 3 - r)", ["1", "3/2", "2"]),
        ("Min(r + 5, r)", ["1"]),
    ],
)
def test_breakpoints_are_exact_and_in_order(text: str, expected: list[str]) -> None:
    (branch,) = branches(text)
    found = [sympy.sstr(point) for point in branch.breakpoints]
    assert set(expected) <= set(found)
    assert found == sorted(found, key=lambda point: float(sympy.sympify(point)))


def test_the_sections_join_end_to_end_from_zero_to_infinity() -> None:
    (branch,) = branches("Min(r, 1 + e) + Max(r, 1 - e)", e)
    ends = [(section.lower, section.upper) for section in branch.sections]
    assert ends == [(0, 1 - e), (1 - e, 1), (1, 1 + e), (1 + e, sympy.oo)]
    assert [section.side for section in branch.sections] == ["left", "left", "right", "right"]


@pytest.mark.parametrize(
    ("text", "next_to_one"),
    [
        ("exp(-Abs(0.11*(r - 1))^(3/2))", ["exp(-11*sqrt(22)*(-t_)**(3/2)/4000)", "exp(-11*sqrt(11)*t_**(3/2)/1000)"]),
        ("sech(0.3*(r - 1/r))", ["sech(3*t_*(t_ + 4)/(20*(t_ + 2)))", "sech(3*t_*(t_ + 2)/(10*(t_ + 1)))"]),
        ("sech(r^2 - 1)", ["sech(r**2 - 1)", "sech(r**2 - 1)"]),
        ("sech(r - 0.9)", ["sech(r - 9/10)", "sech(r - 9/10)"]),
    ],
    ids=["0.11 r - 0.11", "0.3 r - 0.3/r", "seen to be 0", "not 0"],
)
def test_where_numbers_hide_that_a_sum_is_0_at_1_sections_next_to_it_start_there(
    text: str, next_to_one: list[str]
) -> None:
    (branch,) = branches(text)
    at = branch.breakpoints.index(sympy.Integer(1))
    assert [sympy.sstr(section.weight) for section in branch.sections[at : at + 2]] == next_to_one


def in_cell(branch: Branch, value: Rational) -> bool:
    return value in branch.all_domains[c]


@pytest.mark.parametrize("value", ["1/7", "1", "2", "3/2", "29/10"])
def test_where_breakpoints_change_their_order_the_parameter_domain_is_cut_into_cells(value: str) -> None:
    number = Rational(value)
    cells = [branch for branch in branches("Abs(r - c) + Abs(r - 2)", c) if in_cell(branch, number)]
    assert len(cells) == 1
    points = [point.subs(c, number) for point in cells[0].breakpoints]
    assert set(points) == {1, 2, number}
    assert points == sorted(points)


@pytest.mark.parametrize("text", ["Abs(r - 2) + Min(r, 3)*z", "Abs(r - c)*tau^2 + Max(c*r - 1, 0)"])
@pytest.mark.parametrize("ratio", ["1/9", "2/3", "5/4", "17/8", "40"])
def test_a_section_says_what_the_formula_says_at_every_ratio_in_it(text: str, ratio: str) -> None:
    parameters: Sequence[Parameter] = [p for p in (tau, c) if p.name in text.replace("Abs", "")]
    numbers = {p: Rational(3, 2) for p in parameters}
    declared = parse_expression(text, {p.name: p for p in parameters})
    expected = declared.xreplace({Symbol("z", real=True): sympy.log(r)}).xreplace({**numbers, r: Rational(ratio)})
    branch = next(b for b in branches(text, *parameters) if c not in b.all_domains or in_cell(b, Rational(3, 2)))
    for section in branch.sections:
        lower, upper = (end.xreplace(numbers) for end in (section.lower, section.upper))
        if lower < Rational(ratio) < upper:
            position = section.position.xreplace(numbers)
            t = sympy.solve(position - Rational(ratio), section.t)[0]
            found = section.weight.xreplace({**numbers, section.t: t})
            assert abs(sympy.N(found - expected, 30)) < 1e-25


@pytest.mark.parametrize("text", ["Abs(r - exp(-r))", "Abs(r*z - 1)", "Abs(sin(r))", "Abs(r^5 - c*r - 1)"])
def test_a_corner_that_cannot_be_placed_is_said_to_be_so(text: str) -> None:
    with pytest.raises(Unsupported, match="corner"):
        branches(text, c)


def test_zeros_are_all_the_places_where_a_sign_may_change() -> None:
    assert set(zeros((r - 2) / (r - 3), r)) == {2, 3}
    assert zeros(r**2 + 1, r) == []
    assert set(zeros(sympy.log(r) ** 2 - 4, r)) == {exp(2), exp(-2)}


@pytest.mark.parametrize(("ratio", "expected"), [("1/2", "1"), ("1", "7"), ("3/2", "3"), ("2", "3")])
def test_at_a_breakpoint_the_piece_whose_condition_holds_counts(ratio: str, expected: str) -> None:
    formula = parse_expression("Piecewise((1, r < 1), (7, r <= 1), (3, True))", {})
    assert value_at(formula, {r: Rational(ratio)}, {}) == Rational(expected)


@pytest.mark.parametrize("kind", ["scaled", "log-scaled"])
def test_a_chart_puts_the_old_policy_at_zero_and_covers_every_ratio(kind: str) -> None:
    chart = Chart(kind, tau)  # pyright: ignore[reportArgumentType]
    assert chart.ratio.subs(chart.x, chart.on_policy) == 1
    assert sympy.diff(chart.ratio, chart.x).is_positive
    assert chart.lower == -sympy.oo


def test_a_domain_of_one_value_is_a_cell_of_its_own() -> None:
    assert "[2, 2]" in {str(b.all_domains[c]) for b in branches("Abs(r - c) + Abs(r - 2)", c)}
    assert Rational(2) in Domain.parse("[2, 2]")


def test_a_coordinate_s_inverse_is_the_position_again() -> None:
    for text in ("Piecewise((r, r < 1/3), (1, r < 1), (1/r, r < 5/3), (0, True))", "exp(-Abs(z)) + Max(0, z - 1/3)"):
        (branch,) = branches(text)
        assert all(in_x(branch, section, section.position) == branch.chart.x for section in branch.sections)
