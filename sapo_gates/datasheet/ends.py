"""Where w and f start and end, and how far f extends."""

import sympy
from sympy import Expr

from sapo_gates.datasheet.sheet import COARSE, Entry, Sheet, exactly, limit_form
from sapo_gates.derive import derivative
from sapo_gates.functions import r, substitute
from sapo_gates.prove.curves import ENDS, Curve, End
from sapo_gates.prove.extrema import is_nonpositive, supremum
from sapo_gates.prove.forms import log_derivative
from sapo_gates.prove.integrals import integral
from sapo_gates.prove.interval import INFINITY, Interval, Undefined, hull
from sapo_gates.prove.limits import Limit
from sapo_gates.prove.sections import Section
from sapo_gates.prove.witness import shown

AREA = 1e-12  # absolute width of integrals


def weight_at_zero(sheet: Sheet) -> Entry:
    """w(0+)."""
    first = sheet.numeric.sections[0]
    return _end(sheet, first, first.weight, "lower")


def value_at(sheet: Sheet, end: End) -> Entry:
    """f(0+) or f(oo); where f is known only as the integral of w, with f(1) = 1."""
    index = 0 if end == "lower" else -1
    section, value = sheet.numeric.sections[index], sheet.numeric.values_by_section[index]
    if value is not None and _has_limit(sheet, section, value, end):
        return _end(sheet, section, value, end)
    walk, outward = (sheet.numeric.left, -1) if end == "lower" else (sheet.numeric.right, 1)
    total = exactly(1)
    for part in walk:
        if part.is_unbounded and _diverges(sheet, part):
            return sheet.words("oo: w falls more slowly than 1/r")
        total = total + _area(sheet, part) * exactly(outward)
    return sheet.number(total, says="f(1) = 1; by integration of w")


def _has_limit(sheet: Sheet, section: Section, value: Expr, end: End) -> bool:
    """Whether f's formula shows its limit; where f is the integral of w, there is another way."""
    try:
        sheet.numeric.curve(section, value).limit(end)
    except Undefined:
        return sheet.numeric.gate.kind == "value"
    return True


def _end(sheet: Sheet, section: Section, expression: Expr, end: End) -> Entry:
    found = sheet.numeric.curve(section, expression).limit(end)
    if found.infinite:
        return sheet.words("oo" if found.infinite > 0 else "-oo")
    forms: list[Expr] = [sympy.Integer(0)] if found.is_zero else []
    twin = sheet.twin(section)
    formula = None if twin is None else twin.weight if expression is section.weight else twin.value
    if twin is not None and formula is not None and sheet.symbolic is not None:
        in_r = sheet.symbolic.in_ratio(twin, formula)
        forms += [substitute(in_r, {r: sympy.Integer(0)})] if end == "lower" else limit_form(in_r, r)
    return sheet.number(found.finite, [form for form in forms if not form.has(sympy.nan, sympy.zoo, sympy.oo)])


def value_range(sheet: Sheet) -> Entry:
    """[inf f, sup f] over (0, oo)."""
    lower, upper = INFINITY, -INFINITY
    for section, value in zip(sheet.numeric.sections, sheet.numeric.values_by_section, strict=True):
        if value is None or not all(_has_limit(sheet, section, value, end) for end in ENDS):
            return _range_by_integral(sheet)
        curve, slope = sheet.numeric.curve(section, value), sheet.numeric.curve(section, section.weight)
        if is_nonpositive([-slope]) or is_nonpositive([slope]):  # f is monotone there
            ends = [curve.at_end(curve.whole, end) for end in ENDS]
            low, high = min(e.lower for e in ends), max(e.upper for e in ends)
        else:
            low, high = (-supremum([-curve], COARSE).interval).lower, supremum([curve], COARSE).upper
        lower, upper = min(lower, low), max(upper, high)
    says = [f"{name} = {text}" for name, text, end in (("inf f", "-oo", -lower), ("sup f", "oo", upper))
            if end == INFINITY]  # fmt: skip
    entry = {"closed_form": None, "at": sheet.at, "enclosure": list(shown(Interval(lower, upper)))}
    return {**entry, "says": ", ".join(says)} if says else entry


def _range_by_integral(sheet: Sheet) -> Entry:
    """The same where f is known only as the integral of w: f is monotone on sections where w keeps its sign."""
    whole = exactly(1)
    for walk, outward in ((sheet.numeric.left, -1), (sheet.numeric.right, 1)):
        total = exactly(1)
        for section in walk:
            weight = sheet.numeric.curve(section, section.weight)
            sign = 1 if is_nonpositive([-weight]) else -1 if is_nonpositive([weight]) else 0
            if not sign:
                return sheet.words("not enclosed: f has no closed form, and w is not shown to keep its sign")
            if section.is_unbounded and _diverges(sheet, section):
                total = Interval(sign * INFINITY, sign * INFINITY)
            else:
                total = total + _area(sheet, section) * exactly(outward)
            whole = hull(whole, total)
    return sheet.number(whole, says="f(1) = 1; by integration of w")


def elasticity(section: Section) -> Expr:
    """d log w/d log r in t."""
    rate = sympy.cancel(section.position / derivative(section.position, section.t))
    return rate * log_derivative(section.weight, section.t)


def limit_of(sheet: Sheet, section: Section, expression: Expr) -> Limit | None:
    """The limit as r -> oo, if it is known."""
    try:
        return sheet.numeric.curve(section, expression).limit("upper")
    except Undefined:
        return None


def _diverges(sheet: Sheet, section: Section) -> bool:
    """w falls more slowly than 1/r."""
    if section.weight == 0:
        return False
    slope = limit_of(sheet, section, elasticity(section))
    return slope is not None and (slope.infinite > 0 or (slope.interval is not None and slope.interval.lower > -1))


def _area(sheet: Sheet, section: Section) -> Interval:
    """The integral of w over the section."""
    if section.weight == 0:
        return exactly(0)
    if section not in sheet.areas:
        density = section.weight * derivative(section.position, section.t)
        sheet.areas[section] = integral(sheet.numeric.curve(section, density), AREA)
    return sheet.areas[section]


def value_range_all_reals(sheet: Sheet) -> Entry:
    """How far f extends over all real r, as the literature's tables give it: the integral of w."""
    symbolic = sheet.symbolic
    if symbolic is None or symbolic.scaled() is None:
        return sheet.words("no scale family: f is a function on r > 0 only")
    first, last = symbolic.branch.sections[0], symbolic.branch.sections[-1]
    if first.value is None or last.value is None:
        return sheet.words("f has no closed form: it is known as the integral of w")
    values = sheet.numeric.values
    bottom = Curve.of(symbolic.branch, first, substitute(first.value, values)).limit("lower").finite
    top = Curve.of(symbolic.branch, last, substitute(last.value, values)).limit("upper").finite
    span = top + -bottom
    mirrored = substitute(first.value, {first.t: -first.t})
    closed = [sympy.together(b - a) for b in limit_form(last.value, last.t) for a in limit_form(mirrored, first.t)]
    return sheet.number(span, closed, scaling=sheet.scaling(span, -1))
