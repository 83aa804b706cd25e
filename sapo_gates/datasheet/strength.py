"""The largest score weight phi = r w, and where it is."""

from fractions import Fraction
from typing import Any

import sympy
from sympy import Expr

from sapo_gates.datasheet.sheet import Entry, Sheet, limit_form
from sapo_gates.functions import r, substitute
from sapo_gates.prove.curves import ENDS, Curve
from sapo_gates.prove.extrema import TIGHT, Supremum, supremum
from sapo_gates.prove.forms import log_derivative
from sapo_gates.prove.interval import hull
from sapo_gates.prove.numeric import Numeric, shortened, solutions
from sapo_gates.prove.sections import Section
from sapo_gates.prove.witness import shown


def largest_score(numeric: Numeric, tolerance: Fraction = TIGHT) -> Supremum:
    """sup phi over (0, oo)."""
    return supremum(
        [numeric.curve(s, shortened(s, s.position * s.weight)) for s in numeric.sections],
        tolerance,
    )


def scores(sheet: Sheet) -> dict[str, Entry]:
    """sup phi and its argmax."""
    found = largest_score(sheet.numeric)
    peaks = {curve.section: _peaks(sheet, curve.section) for curve, _ in found.places}
    return {"score_supremum": _supremum(sheet, found, peaks), "score_supremum_at": _place(sheet, found, peaks)}


def _peaks(sheet: Sheet, section: Section) -> list[Expr]:
    """Candidates for the argmax of phi: zeros of d log phi/dr, in the parameters."""
    weight = sheet.weight_form(section)
    if weight is None:
        return []
    rate = sympy.together(1 / r + log_derivative(weight, r))
    return solutions(sympy.fraction(rate)[0], sympy.Integer(0), r)


def _supremum(sheet: Sheet, found: Supremum, peaks: dict[Section, list[Expr]]) -> Entry:
    if found.is_infinite:
        return sheet.words("unbounded: phi grows without limit")
    if not found.upper.is_finite():
        return sheet.words(f"not enclosed: at least {shown(found.interval)[0]}")
    forms: list[Expr] = [sympy.Integer(1)]
    for section, inside in peaks.items():
        weight = sheet.weight_form(section)
        if weight is None:
            continue
        ends = [e for end in ENDS if (e := sheet.end_form(section, end)) is not None and e.is_finite]
        score = r * weight
        forms += [substitute(score, {r: place}) for place in (*ends, *inside)] + limit_form(score, r)
    entry = sheet.number(found.interval, [form for form in forms if r not in form.free_symbols])
    if entry["closed_form"] is not None:
        short = sympy.simplify(next(f for f in forms if sympy.sstr(f) == entry["closed_form"]))
        entry["closed_form"] = sheet.confirmed(short, found.interval) or entry["closed_form"]
    return entry


def _place(sheet: Sheet, found: Supremum, peaks: dict[Section, list[Expr]]) -> Entry:
    if found.is_infinite or not found.upper.is_finite():
        return sheet.words("nowhere" if found.is_infinite else "not enclosed")
    if any(curve.section.is_unbounded and isinstance(box.upper, float) for curve, box in found.places):
        return sheet.words("approached as r -> oo")
    places = [curve.place(box) for curve, box in found.places]
    place = places[0]
    for other in places[1:]:
        place = hull(place, other)
    if place.upper - place.lower > 1e-6 * place.upper:
        return {**sheet.number(place), "says": "reached at several places, or along an interval"}
    ends = [e for e in (_breakpoint(sheet, *one) for one in found.places) if e is not None]
    return sheet.number(place, [*ends, *(peak for inside in peaks.values() for peak in inside)])


def _breakpoint(sheet: Sheet, curve: Curve, box: Any) -> Expr | None:
    """The breakpoint, in the parameters, at which the place lies, if it is one."""
    if box.lower != box.upper:
        return None
    for end in ENDS:
        if box.lower == getattr(curve.section, f"t_{end}"):
            return sheet.end_form(curve.section, end)
    return None
