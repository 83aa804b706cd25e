"""How w falls as r -> oo, by the limit of E = d log w/d log r, and of E/r and E/r^2 where that is -oo."""

import sympy
from sympy import Expr

from sapo_gates.datasheet.ends import elasticity, limit_of
from sapo_gates.datasheet.sheet import Entry, Sheet, limit_form, short
from sapo_gates.functions import r
from sapo_gates.prove.forms import log_derivative
from sapo_gates.prove.sections import Section

FASTER_THAN = ("every power", "exponential", "Gaussian")
RATES = ("", "exponential: log w falls like -c r, c enclosed", "Gaussian: log w falls like -c r^2/2, c enclosed")


def tail(sheet: Sheet) -> Entry:
    """Compact, Gaussian, exponential, polynomial with its order, or non-vanishing."""
    last = sheet.numeric.sections[-1]
    if last.weight == 0:
        support = next((s for s in reversed(sheet.numeric.sections) if s.weight != 0), None)
        if support is None:
            return sheet.words("compact: w = 0 everywhere")
        edge = sheet.ratio(support, "upper")
        return sheet.number(edge, [sheet.end_form(support, "upper")], f"compact: w = 0 for r >= {short(edge)}")
    at_end = limit_of(sheet, last, last.weight)
    if at_end is not None and at_end.infinite:
        return sheet.words("non-vanishing: |w| -> oo")
    if at_end is not None and not at_end.finite.contains_zero:
        form = sheet.weight_form(last)
        forms = [] if form is None else limit_form(form, r)
        return sheet.number(at_end.finite, forms, "non-vanishing: w has this limit")
    rate = elasticity(last)
    slope = limit_of(sheet, last, rate)
    if slope is None:
        return sheet.words("not classified: the limit of d log w/d log r is not known")
    if slope.is_zero:
        return sheet.words("slower than every power")
    if not slope.infinite:
        return sheet.number(-slope.finite, _rates(sheet, last, 0), "polynomial: w falls like r^-p, p enclosed")
    for power in (1, 2):
        found = limit_of(sheet, last, rate / last.position**power)
        if found is None:
            return sheet.words(f"faster than {FASTER_THAN[power - 1]}")
        if found.is_zero:
            return sheet.words(f"between: faster than {FASTER_THAN[power - 1]}, slower than {FASTER_THAN[power]}")
        if not found.infinite:
            return sheet.number(-found.finite, _rates(sheet, last, power), RATES[power])
    return sheet.words("faster than Gaussian")


def _rates(sheet: Sheet, section: Section, power: int) -> list[Expr]:
    weight = sheet.weight_form(section)
    return [] if weight is None else limit_form(sympy.together(-r * log_derivative(weight, r) / r**power), r)
