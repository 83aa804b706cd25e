"""How fast w changes: sup |w'|, w''(1), what that costs near r = 1, and sup |g''| for g(z) = w(e^z)."""

import sympy
from sympy import Expr, Rational

from sapo_gates.datasheet.sheet import COARSE, Entry, Sheet, exactly, inner_end, short
from sapo_gates.datasheet.smoothness import is_flat_corner, jump, matches, neighbours
from sapo_gates.functions import r, substitute
from sapo_gates.prove.case import OneSided, one_sided
from sapo_gates.prove.curves import Curve
from sapo_gates.prove.extrema import Supremum, supremum
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.numeric import by_log_ratio, by_ratio
from sapo_gates.prove.sections import Section


def weight_lipschitz(sheet: Sheet) -> Entry:
    """sup |w'|."""
    where = jump(sheet)
    if where is not None:
        return sheet.words(f"not Lipschitz: {where}")
    found, scaling = _largest_slope(sheet)
    if not found.upper.is_finite():
        return sheet.words("not Lipschitz: w' is unbounded" if not found.lower.is_finite() else "not enclosed")
    return sheet.number(found, scaling=scaling)


def _largest_slope(sheet: Sheet) -> tuple[Interval, str | None]:
    """sup |w'|; for a scale family first over all real u, where it may be reached at u > 0 and so for every tau."""
    symbolic = sheet.symbolic
    scaled = None if symbolic is None else symbolic.scaled()
    if scaled is not None and symbolic is not None and symbolic.scale is not None:
        branch, sections = scaled
        found = _size([Curve.of(branch, s, by_ratio(s, s.weight)) for s in sections])
        if found.upper.is_finite() and any(curve.section.side == "right" for curve, _ in found.places):
            everywhere = found.interval * exactly(sheet.numeric.values[symbolic.scale])
            return everywhere, sheet.scaling(everywhere, 1)
    return _size([sheet.numeric.curve(s, by_ratio(s, s.weight)) for s in sheet.numeric.sections]).interval, None


def _size(curves: list[Curve]) -> Supremum:
    """The supremum of the absolute value."""
    return supremum([*curves, *(-curve for curve in curves)], COARSE)


def log_curvature(sheet: Sheet) -> Entry:
    """sup |g''| with g(z) = w(e^z), which bounds the cost of averaging log-ratios (arXiv:2511.20347, 4.1)."""
    where = jump(sheet)
    if where is not None:
        return sheet.words(f"oo: {where}")
    for before, after in neighbours(sheet):
        match = matches(sheet, before, after, by_ratio(before, before.weight), by_ratio(after, after.weight))
        if match is not True and not is_flat_corner(before, after):
            edge = short(sheet.ratio(before, "upper"))
            says = f"oo: w has a corner at r = {edge}"
            return sheet.words(says if match is False else f"not enclosed: whether w has a corner at r = {edge}")
    found = _size([sheet.numeric.curve(s, by_log_ratio(s, by_log_ratio(s, s.weight))) for s in sheet.numeric.sections])
    if not found.upper.is_finite():
        return sheet.words("oo: g'' is unbounded" if found.is_infinite else "not enclosed")
    return sheet.number(found.interval)


# Near r = 1 -----------------------------------------------------------------------------------------------------------


def around_one(sheet: Sheet) -> dict[str, Entry]:
    """w''(1), kappa and the surrogate gap."""
    second = {section.side: _second_derivative(sheet, section) for section in sheet.inner}
    form = _curvature_form(sheet)
    return {
        "curvature": sheet.answer(lambda: _curvature(sheet, second, form)),
        "kappa": sheet.answer(lambda: _kappa(sheet, second, form)),
        "surrogate_gap": sheet.answer(lambda: _surrogate_gap(sheet, form)),
    }


def _second_derivative(sheet: Sheet, section: Section) -> OneSided:
    second = by_ratio(section, by_ratio(section, section.weight))
    return one_sided(section, second, inner_end(section), sheet.numeric.branch)


def _curvature(sheet: Sheet, second: dict[str, OneSided], form: Expr | None) -> Entry:
    left, right = second["left"], second["right"]
    if any(side.limit is not None and side.limit.infinite for side in (left, right)):
        return sheet.words("w'' is unbounded at 1")
    here = right.enclosure({})
    says = []
    known = left.expression is not None and right.expression is not None
    if not (known and is_identity(left.expression, right.expression)):
        says.append(f"from the right; from the left it is {short(left.enclosure({}))}")
    if not all(_is_level(sheet, section) for section in sheet.inner):
        says.append("w has a slope at 1, so it is not flat there")
    return sheet.number(here, [form], "; ".join(says), sheet.scaling(here, 2))


def _curvature_form(sheet: Sheet) -> Expr | None:
    weight = sheet.weight_form(sheet.inner[1])
    if weight is None:
        return None
    found = substitute(sympy.diff(weight, r, 2), {r: sympy.Integer(1)})
    return None if found.has(sympy.nan, sympy.zoo, sympy.oo) else sympy.factor(found)


def _is_level(sheet: Sheet, section: Section) -> bool:
    """w'(1) = 0 from this side, exactly.

    Raises:
        Undefined: w'(1) is not known.
    """
    slope = sheet.at_inner_end(section, by_ratio(section, section.weight))
    if slope is None:
        raise Undefined("w'(1) is not known")
    return is_identity(slope, sympy.Integer(0))


def _quotients(sheet: Sheet) -> list[Curve] | str:
    """(1 - w)/(r - 1)^2, or why it is unbounded."""
    curves = []
    for section in sheet.numeric.sections:
        inner = section in sheet.inner
        if inner:
            one = sheet.at_inner_end(section, section.weight)
            if one is None or not is_identity(one, sympy.Integer(1)):
                return "no kappa: w(1) is not 1"
            if not _is_level(sheet, section):
                return "no kappa: w has a corner or a slope at 1, so 1 - w is not of order (r - 1)^2"
        order = 2 if inner else 0
        curves.append(sheet.numeric.curve(section, 1 - section.weight, (section.position - 1) ** 2, order))
    return curves


def _kappa(sheet: Sheet, second: dict[str, OneSided], form: Expr | None) -> Entry:
    """The smallest kappa with w >= 1 - kappa (r - 1)^2 on (0, oo)."""
    quotients = _quotients(sheet)
    if isinstance(quotients, str):
        return sheet.words(quotients)
    found = supremum(quotients, COARSE).interval
    if not found.upper.is_finite():
        return sheet.words("no kappa: w'' is unbounded at 1" if not found.lower.is_finite() else "not enclosed")
    edges = [e for s in sheet.numeric.sections[:-1] if (e := sheet.end_form(s, "upper")) is not None and e != 1]
    at_one = second["right"].enclosure({}) * exactly(Rational(-1, 2))
    is_limit = at_one.lower <= found.upper and found.lower <= at_one.upper  # of the quotient at r = 1, for every tau
    scaling = sheet.scaling(found, 2) if is_limit else None
    return sheet.number(found, [None if form is None else -form / 2, *((e - 1) ** -2 for e in edges)], scaling=scaling)


def _surrogate_gap(sheet: Sheet, form: Expr | None) -> Entry:
    """The smallest c that kappa gives with |r - f(r)| <= c |r - 1|^3, f shifted to f(1) = 1."""
    quotients = _quotients(sheet)
    if isinstance(quotients, str):
        return sheet.words(quotients)
    wider = _size(quotients).interval
    if not wider.upper.is_finite():
        return sheet.words("not enclosed" if wider.lower.is_finite() else "no bound of third order")
    third = wider * exactly(Rational(1, 3))
    return sheet.number(third, [None if form is None else -form / 6], "|r - f(r)| <= c |r - 1|^3, c enclosed")
