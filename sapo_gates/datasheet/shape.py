"""Yes or no: strict decay, pessimism on each side, log-symmetry, scale family."""

import sympy
from sympy import Expr, Rational

from sapo_gates.datasheet.sheet import Entry, Sheet, short
from sapo_gates.datasheet.smoothness import is_analytic, matches, neighbours
from sapo_gates.functions import r, substitute, z
from sapo_gates.prove.boxes import Budget, Closed, Violated
from sapo_gates.prove.case import one_sided
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.extrema import is_nonpositive
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.numeric import by_ratio, in_ratio
from sapo_gates.prove.sections import Section
from sapo_gates.prove.signs import SectionProver

DECAY_SECONDS = 2.0  # of CPU time, for showing that w falls
PROBES = (Rational(2), Rational(3, 2), Rational(11, 10), Rational(10), Rational(101, 100), Rational(1000))


def pessimism(sheet: Sheet, *, kill: bool) -> Entry:
    """f(r) A <= r A on one side of 1, f shifted to f(1) = 1: the gate promises no more than the plain ratio."""
    numeric = sheet.numeric
    is_positive = numeric.side == "positive"
    walk = numeric.right if is_positive == kill else numeric.left
    reach = "r > 1" if is_positive == kill else "r < 1"
    differences, slopes = [], []
    for section in walk:
        value = numeric.values_by_section[numeric.sections.index(section)]
        outward = 1 if section.side == "right" else -1
        slopes.append(sheet.over_zero(section, outward * (section.weight - 1)))
        if value is not None:
            differences.append(sheet.over_zero(section, value - _value_at_one(sheet) + 1 - section.position))
    sign = 1 if is_positive else -1  # pessimistic: sign (f - r) <= 0
    for curves in (slopes, differences):
        if len(curves) < len(walk):
            continue
        lower = is_nonpositive([curve if sign > 0 else -curve for curve in curves])
        upper = is_nonpositive([-curve if sign > 0 else curve for curve in curves])
        if lower and upper:
            return sheet.words(f"equal: f(r) = r on {reach}")
        if lower:
            return sheet.words(f"pessimistic: f(r) A <= r A on {reach}")
        if upper:
            return sheet.words(f"optimistic: f(r) A >= r A on {reach}")
        if lower is False and upper is False and curves is differences:
            return sheet.words(f"neither: f(r) A - r A changes its sign on {reach}")
    return sheet.words(f"not settled on {reach}")


def _value_at_one(sheet: Sheet) -> Expr:
    if sheet.numeric.gate.kind != "value":
        return sympy.Integer(1)  # the constant of integration
    right = sheet.inner[1]
    value = sheet.numeric.values_by_section[sheet.numeric.sections.index(right)]
    assert value is not None
    found = sheet.at_inner_end(right, value)
    if found is None:
        raise Undefined("f(1) is not known as an expression")
    return found


def log_symmetry(sheet: Sheet) -> Entry:
    """Whether w(e^z) = w(e^-z)."""
    for ratio in PROBES:
        try:
            here, there = _weight(sheet, ratio), _weight(sheet, ratio**-1)
        except Undefined:
            continue
        if here.upper < there.lower or there.upper < here.lower:
            return sheet.words(f"no: w({ratio}) = {short(here)}, w({1 / ratio}) = {short(there)}")
    return sheet.words("yes: w(1/r) = w(r)") if _is_mirrored(sheet) else sheet.words("not settled")


def _is_mirrored(sheet: Sheet) -> bool:
    left, right = sheet.numeric.left, sheet.numeric.right
    return len(left) == len(right) and all(
        ((b.upper is sympy.oo and a.lower in (0, -sympy.oo)) or is_identity(a.lower * b.upper, sympy.Integer(1)))
        and is_identity(_in_log(a, sympy.exp(-z)), _in_log(b, sympy.exp(z)))
        for a, b in zip(left, right, strict=True)
    )


def _in_log(section: Section, ratio: Expr) -> Expr:
    return substitute(in_ratio(section, section.weight), {r: ratio})


def _weight(sheet: Sheet, ratio: Expr) -> Interval:
    for section in sheet.numeric.sections:
        low = sheet.ratio(section, "lower") if section.lower != 0 else None
        high = sheet.ratio(section, "upper") if section.upper is not sympy.oo else None
        if (low is None or low.upper < ratio) and (high is None or ratio < high.lower):
            return compiled(substitute(in_ratio(section, section.weight), {r: ratio}))({})
    raise Undefined("r is a breakpoint")


def strictness(sheet: Sheet) -> Entry:
    """Whether w falls strictly away from r = 1: an analytic formula that falls and is not constant does."""
    branch, sections = sheet.numeric.branch, sheet.numeric.sections
    budget = Budget.seconds(DECAY_SECONDS)
    falls = [SectionProver(branch, section).settle("decay", budget) for section in sections]
    rises = [_rises(sheet, before, after) for before, after in neighbours(sheet)]
    if True in rises or any(isinstance(outcome, Violated) for outcome in falls):
        return sheet.words("not monotone: w grows away from 1 somewhere")
    if None in rises or not all(isinstance(outcome, Closed) for outcome in falls) or not is_analytic(sheet):
        return sheet.words("not settled")
    for section in sections:
        if is_identity(by_ratio(section, section.weight), sympy.Integer(0)):
            start = "0" if section.lower == 0 else short(sheet.ratio(section, "lower"))
            end = "oo" if section.upper is sympy.oo else short(sheet.ratio(section, "upper"))
            return sheet.words(f"not strict: w = {sympy.sstr(section.weight)} from r = {start} to {end}")
    return sheet.words("strict: w falls from r = 1 towards 0 and towards oo, nowhere constant")


def _rises(sheet: Sheet, before: Section, after: Section) -> bool | None:
    """Whether w jumps upwards between two sections, away from r = 1."""
    if (before, after) == sheet.inner or matches(sheet, before, after, before.weight, after.weight):
        return False
    left = one_sided(before, before.weight, "upper", sheet.numeric.branch).enclosure({})
    right = one_sided(after, after.weight, "lower", sheet.numeric.branch).enclosure({})
    near, far = (left, right) if after.side == "right" else (right, left)
    return True if far.lower > near.upper else False if far.upper < near.lower else None


def scale_family(sheet: Sheet) -> Entry:
    """Whether w depends on tau and r through tau (r - 1), or through tau log r, alone."""
    if sheet.symbolic is None or sheet.symbolic.branch.chart.parameter is None:
        return sheet.words("no")
    return sheet.words(f"yes: w is a function of {sheet.symbolic.branch.chart.of_ratio}")
