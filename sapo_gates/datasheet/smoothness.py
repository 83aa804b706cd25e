"""The largest k with f in C^k: one-sided derivatives compared at every breakpoint where the formula changes."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import sympy
from sympy import Expr, Symbol

from sapo_gates.datasheet.sheet import Entry, Sheet, short
from sapo_gates.functions import substitute
from sapo_gates.prove.case import one_sided
from sapo_gates.prove.curves import End
from sapo_gates.prove.extrema import first_crossing
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.interval import Undefined
from sapo_gates.prove.numeric import by_ratio, in_ratio
from sapo_gates.prove.sections import Section

MAX_ORDER = 8  # derivatives of w compared at breakpoints


def smoothness(sheet: Sheet) -> Entry:
    """C^k, C^oo or analytic."""
    if has_pole(sheet):
        return sheet.words("not settled: w may be infinite at some r")
    corners = [pair for pair in neighbours(sheet) if not _same_formula(*pair)]
    if not corners:
        return sheet.words("analytic") if is_analytic(sheet) else sheet.words("C^oo")
    if all(is_flat_corner(*pair) for pair in corners):
        return sheet.words("C^oo, not analytic")
    smallest, certain = MAX_ORDER + 1, True
    for pair in corners:
        order, sure = _order(sheet, *pair)
        if order < smallest or (order == smallest and sure):
            smallest, certain = order, sure
    if smallest < 0:
        return sheet.words("f jumps")
    if not certain:
        return {**sheet.words(f"at least C^{smallest}"), "enclosure": [str(smallest), "oo"]}
    return {**sheet.words(f"C^{smallest}, not C^{smallest + 1}"), "enclosure": [str(smallest)] * 2}


def neighbours(sheet: Sheet) -> list[tuple[Section, Section]]:
    """The sections before and after each breakpoint."""
    return list(pairwise(sheet.numeric.sections))


def _same_formula(before: Section, after: Section) -> bool:
    same = is_identity(in_ratio(before, before.weight), in_ratio(after, after.weight))
    if same and before.value is not None and after.value is not None:
        return is_identity(in_ratio(before, before.value), in_ratio(after, after.value))
    return same


def _order(sheet: Sheet, before: Section, after: Section) -> tuple[int, bool]:
    """The k with f in C^k at this breakpoint, and whether f is certainly not in C^(k+1)."""
    if before.value is not None and after.value is not None:
        match = matches(sheet, before, after, before.value, after.value)
        if not match:
            return -1, match is False
    left, right = before.weight, after.weight
    for order in range(MAX_ORDER + 1):
        match = matches(sheet, before, after, left, right)
        if not match:
            return order, match is False
        left, right = by_ratio(before, left), by_ratio(after, right)
    return MAX_ORDER + 1, False


def matches(sheet: Sheet, before: Section, after: Section, left: Expr, right: Expr) -> bool | None:
    """Whether both one-sided limits at the breakpoint are equal; None if that is not settled."""
    a = one_sided(before, left, "upper", sheet.numeric.branch)
    b = one_sided(after, right, "lower", sheet.numeric.branch)
    if a.expression is not None and b.expression is not None and is_identity(a.expression, b.expression):
        return True
    if any(side.limit is not None and side.limit.infinite for side in (a, b)):
        return False
    try:
        x, y = a.enclosure({}), b.enclosure({})
    except Undefined:
        return None
    return False if x.upper < y.lower or y.upper < x.lower else None


def jump(sheet: Sheet) -> str | None:
    """Where w jumps, in words."""
    for before, after in neighbours(sheet):
        if matches(sheet, before, after, before.weight, after.weight) is not True:
            return f"w jumps at r = {short(sheet.ratio(before, 'upper'))}"
    return None


def is_analytic(sheet: Sheet) -> bool:
    """Every root and logarithm takes positive numbers only, so that the formula is analytic inside its sections."""
    for section in sheet.numeric.sections:
        for node in sympy.preorder_traversal(section.weight):
            inner: Any = None
            if isinstance(node, sympy.Pow) and not node.exp.is_Integer and node.base is not sympy.E:
                inner = node.base
            elif isinstance(node, sympy.log | sympy.loggamma):
                inner = node.args[0]
            if inner is None or inner.is_positive or not inner.free_symbols:
                continue
            if first_crossing([sheet.numeric.curve(section, inner)]).curve is not None:
                return False
    return True


def has_pole(sheet: Sheet) -> bool:
    """A denominator is not shown to keep away from 0 inside a section, or w goes to infinity at a breakpoint."""
    branch = sheet.numeric.branch
    for before, after in neighbours(sheet):
        sides = (one_sided(before, before.weight, "upper", branch), one_sided(after, after.weight, "lower", branch))
        if any(side.limit is not None and side.limit.infinite for side in sides):
            return True
    for section in sheet.numeric.sections:
        for power in section.weight.atoms(sympy.Pow):
            if not power.exp.is_negative or power.base.is_positive or section.t not in power.base.free_symbols:
                continue
            zero = first_crossing([sheet.over_zero(section, power.base**2)]).box
            if zero is not None and section.t_lower < zero.lower and zero.upper < section.t_upper:
                return True
    return False


def is_flat_corner(before: Section, after: Section) -> bool:
    """w and all its derivatives go to 0 from both sides."""
    left, right = before.t_upper, after.t_lower
    assert isinstance(left, Fraction)
    assert isinstance(right, Fraction)
    return _is_flat(before.weight, before.t, left, "upper") and _is_flat(after.weight, after.t, right, "lower")


def _is_flat(expression: Expr, t: Symbol, at: Fraction, end: End) -> bool:
    """e is 0, or R exp(Q) with rational R and Q -> -oo as t -> at from inside: e and all its derivatives go to 0."""
    exponentials = expression.atoms(sympy.exp)
    if expression == 0 or len(exponentials) != 1:
        return bool(expression == 0)
    exponential = next(iter(exponentials))
    factor = sympy.Dummy("factor")
    rational = sympy.cancel(substitute(expression, {exponential: factor}) / factor)
    exponent = sympy.cancel(exponential.args[0])
    if factor in rational.free_symbols or not (rational.is_rational_function(t) and exponent.is_rational_function(t)):
        return False
    numerator, denominator = sympy.fraction(exponent)
    point = sympy.Rational(at.numerator, at.denominator)
    there = {t: point}
    if substitute(denominator, there) != 0 or substitute(numerator, there) == 0:
        return False
    inwards = _sign_at_pole(numerator, denominator, t, point, 1 if end == "lower" else -1)
    return inwards is not None and inwards < 0


def _sign_at_pole(numerator: Expr, denominator: Expr, t: Symbol, point: Expr, direction: int) -> int | None:
    """The sign of the quotient of polynomials next to a zero of the denominator alone, on one side."""
    order, lowest = 0, denominator
    while substitute(lowest, {t: point}) == 0:
        order, lowest = order + 1, lowest.diff(t)
        if lowest == 0:
            return None
    leading = substitute(numerator, {t: point}) * substitute(lowest, {t: point}) * direction**order
    return 1 if leading.is_positive else -1 if leading.is_negative else None
