"""How far from r = 1 the weight has fallen to 1/2."""

from typing import Literal

import sympy
from sympy import Expr, Rational

from sapo_gates.datasheet.sheet import Entry, Sheet, exactly
from sapo_gates.functions import r, substitute
from sapo_gates.prove.curves import Curve
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.extrema import first_crossing
from sapo_gates.prove.interval import Interval
from sapo_gates.prove.numeric import solutions
from sapo_gates.prove.sections import in_x

HALF = Rational(1, 2)
Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


def half_widths(sheet: Sheet) -> dict[str, Entry]:
    """h = inf{h > 0 : w(1 -+ h) <= 1/2} on both sides, and the same distances in z = log r."""
    found = {side: _crossing(sheet, side) for side in SIDES}
    entries = {f"half_width_{side}": _width(sheet, side, found[side], in_log=False) for side in SIDES}
    return entries | {f"half_width_{side}_log": _width(sheet, side, found[side], in_log=True) for side in SIDES}


def _width(sheet: Sheet, side: Side, found: tuple[Interval, Curve] | str, *, in_log: bool) -> Entry:
    if isinstance(found, str):
        return sheet.words(found)
    place, curve = found
    sign = 1 if side == "right" else -1
    if in_log:
        width = compiled(sign * sympy.log(r))({r: place})
        return sheet.number(width, [sympy.expand_log(sign * sympy.log(form)) for form in _forms(sheet, curve)])
    width = place + exactly(-1) if side == "right" else exactly(1) + -place
    closed = [sign * (form - 1) for form in _forms(sheet, curve)]
    return sheet.number(width, closed, scaling=sheet.scaling(width, -1))


def _crossing(sheet: Sheet, side: Side) -> tuple[Interval, Curve] | str:
    """The first ratio away from 1 at which w <= 1/2, or why there is none."""
    walk = sheet.numeric.left if side == "left" else sheet.numeric.right
    found = first_crossing([sheet.numeric.curve(section, section.weight - HALF) for section in walk])
    if found.curve is None or found.box is None:
        return f"never halves: w > 1/2 on {'(0, 1)' if side == 'left' else '(1, oo)'}"
    place = found.curve.place(found.box)
    return (place, found.curve) if found.certain else f"not enclosed: w comes close to 1/2 near r in {place}"


def _forms(sheet: Sheet, curve: Curve) -> list[Expr]:
    """Candidates for the ratio at which w is 1/2: solutions, or the breakpoint where w jumps past 1/2."""
    twin = sheet.twin(curve.section)
    if sheet.symbolic is None or twin is None:
        return []
    chart = sheet.symbolic.branch.chart
    weight = in_x(sheet.symbolic.branch, twin, twin.weight)
    found = [twin.lower if curve.section.side == "right" else twin.upper]
    found += solutions(weight, HALF, chart.x) if chart.x in weight.free_symbols else []
    return [substitute(chart.ratio, {chart.x: x}) for x in found if x.is_finite is not False]
