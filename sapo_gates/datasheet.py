"""The numbers of a gate: how smooth, how wide, how strong, how its tail falls; each enclosed rigorously.

Enclosures are proved at the given parameter values: suprema by bracketing every stationary point, limits with certain
operations only. A closed form is printed where one is found and its value at these parameters lies in the enclosure; a
quantity that scales with tau is printed as c*tau or c/tau, and then holds for every tau.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import sympy
from sympy import Expr, Rational

from sapo_gates.derive import derivative
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Gate, Number, Parameter
from sapo_gates.gatefile import load_gate
from sapo_gates.prove.case import OneSided, one_sided
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.extrema import Curve, End, Supremum, first_crossing, is_flat, is_nonpositive, supremum
from sapo_gates.prove.forms import is_identity, log_derivative, tamed
from sapo_gates.prove.integrals import integral
from sapo_gates.prove.interval import INFINITY, Interval, Undefined, hull, working_precision
from sapo_gates.prove.limits import Limit
from sapo_gates.prove.numeric import Numeric, Symbolic, by_log_ratio, by_ratio, in_ratio, solutions
from sapo_gates.prove.sections import Section, Unsupported
from sapo_gates.prove.witness import shown
from sapo_gates.verdict import SIGNS, Sign

Entry = dict[str, Any]
AREAS = (1e-7, 1e-10)  # absolute widths of integrals, the second where f(0+) or f(oo) is small
COARSE = Fraction(1, 2**30)  # relative width of suprema whose place is not reported
MAX_ORDER = 8  # derivatives of w compared at breakpoints
HALF = Rational(1, 2)


def datasheet(
    gate: str | Path | Gate, positive: Mapping[str, Number] | None = None, negative: Mapping[str, Number] | None = None
) -> dict[Sign, dict[str, Entry]]:
    """Everything worth knowing about a gate as numbers, for each sign of A.

    Args:
        gate: a Gate, a family's name, a gate file or `pkg.module:NAME`.
        positive: parameter values where A > 0; those not named have their trained value.
        negative: the same where A <= 0.

    Returns:
        For each sign a table of entries; an entry has `closed_form` (text or None), `at` (the parameter values),
        `enclosure` (two decimal texts around the number, or None where there is no number) and, where words are needed,
        `says`.

    Raises:
        UnknownGate, GateTextError: the gate cannot be read.
        UnknownParameter, ParameterValueError: a value is for no parameter, or outside its domain.
    """
    loaded = load_gate(gate)
    sheets: dict[object, dict[str, Entry]] = {}
    found: dict[Sign, dict[str, Entry]] = {}
    with working_precision():
        for sign, numbers in zip(SIGNS, (positive, negative), strict=True):
            given = loaded.checked(numbers or {})
            values = {p: given.get(p.name, p.value_for(sign)) for p in loaded.parameters_for(sign)}
            key = loaded.declared(sign), tuple(values.items())
            if key not in sheets or sign == "negative":  # pessimism is another statement for A <= 0
                known = sheets.get(key, {})
                sheets[key] = _Sheet(Numeric(loaded, sign, values)).entries(known)
            found[sign] = sheets[key]
    return found


def log_curvature(
    gate: Gate, positive: Mapping[str, Number] | None = None, negative: Mapping[str, Number] | None = None
) -> dict[Sign, float]:
    """An upper bound of sup |g''|, g(z) = w(e^z), for each sign of A; infinite where g' jumps or nothing is proved."""
    found: dict[Sign, float] = {}
    with working_precision():
        for sign, numbers in zip(SIGNS, (positive, negative), strict=True):
            given = gate.checked(numbers or {})
            values = {p: given.get(p.name, p.value_for(sign)) for p in gate.parameters_for(sign)}
            sheet = _Sheet(Numeric(gate, sign, values))
            enclosure = sheet._answer(sheet.log_curvature)["enclosure"]
            # the texts enclose; the next float above the upper one still does
            found[sign] = math.nextafter(float(enclosure[1]), math.inf) if enclosure else math.inf
    return found


def parameters_at(values: Mapping[Parameter, Rational]) -> dict[str, int | str]:
    """Parameter values for JSON: whole numbers as such, other rationals as texts."""
    return {p.name: int(v) if v.is_Integer else str(v) for p, v in values.items()}


@dataclass(frozen=True, eq=False)
class _Sheet:
    """One sign of A of one gate at fixed values."""

    numeric: Numeric

    @property
    def symbolic(self) -> Symbolic | None:
        """With the parameters left in, for closed forms."""
        return self.numeric.symbolic

    def entries(self, known: Mapping[str, Entry]) -> dict[str, Entry]:
        """All entries in reading order; those that do not depend on the sign of A are taken over where known."""
        made: dict[str, Callable[[], Entry]] = {
            "smoothness": self.smoothness,
            "half_width_left": lambda: self.half_width("left"),
            "half_width_right": lambda: self.half_width("right"),
            "half_width_left_log": lambda: self.half_width_log("left"),
            "half_width_right_log": lambda: self.half_width_log("right"),
            "weight_at_zero": lambda: self.end("weight", "zero"),
            "value_at_zero": lambda: self.end("value", "zero"),
            "value_at_infinity": lambda: self.end("value", "infinity"),
            "value_range": self.value_range,
            "value_range_all_reals": self.value_range_all_reals,
            "score_supremum": self.score_supremum,
            "score_supremum_at": self.score_supremum_at,
            "tail": self.tail,
            "weight_lipschitz": self.weight_lipschitz,
            "curvature": self.curvature,
            "kappa": self.kappa,
            "surrogate_gap": self.surrogate_gap,
            "pessimism_kill_side": lambda: self.pessimism(kill=True),
            "pessimism_pass_side": lambda: self.pessimism(kill=False),
            "log_symmetry": self.log_symmetry,
            "scale_family": self.scale_family,
            "log_curvature": self.log_curvature,
        }
        return {
            name: known[name] if name in known and "pessimism" not in name else self._answer(make)
            for name, make in made.items()
        }

    def _answer(self, make: Callable[[], Entry]) -> Entry:
        try:
            return make()
        except (Unsupported, Undefined) as error:
            return self.words(f"not enclosed: {error}")

    # Entries ----------------------------------------------------------------------------------------------------------

    def words(self, says: str) -> Entry:
        """No number."""
        return {"closed_form": None, "at": self.at, "enclosure": None, "says": says}

    def number(self, found: Interval, closed: Sequence[Expr | str | None] = (), says: str = "") -> Entry:
        """A number, with the first closed form that agrees with it; a text is one already."""
        forms = (form if isinstance(form, str) else self.confirmed(form, found) for form in closed)
        entry: Entry = {"closed_form": next((f for f in forms if f is not None), None), "at": self.at}
        entry["enclosure"] = list(shown(found))
        return {**entry, "says": says} if says else entry

    @property
    def at(self) -> dict[str, int | str]:
        """The parameter values of this sheet."""
        return parameters_at(self.numeric.values)

    def confirmed(self, form: Expr | None, found: Interval) -> str | None:
        """The closed form as text if its value at these parameters meets a tight enclosure."""
        if form is None or not (found.lower.is_finite() and found.upper.is_finite()):
            return None
        if found.upper - found.lower > 1e-7 * abs(found.upper):
            return None
        try:
            value = compiled(substitute(form, self.numeric.values))({})
        except Undefined:
            return None
        return sympy.sstr(form) if value.lower <= found.upper and found.lower <= value.upper else None

    def scaled_text(self, found: Interval, power: int) -> str | None:
        """c tau^power with c to 6 digits, where found = c tau^power."""
        if self.symbolic is None or self.symbolic.scale is None:
            return None
        tau = self.numeric.values[self.symbolic.scale]
        c = (found * _exact(tau**-power)).lower.str(6, radius=False)
        name = self.symbolic.scale.name
        return f"{Decimal(c).normalize():f}" + {-1: f"/{name}", 1: f"*{name}", 2: f"*{name}**2"}[power]

    # Smoothness -------------------------------------------------------------------------------------------------------

    def smoothness(self) -> Entry:
        """The largest k with f in C^k: one-sided derivatives compared at every breakpoint where the formula changes."""
        numeric = self.numeric
        corners = []
        for before, after in zip(numeric.sections, numeric.sections[1:], strict=False):
            same = is_identity(in_ratio(before, before.weight), in_ratio(after, after.weight))
            if before.value is not None and after.value is not None:
                same = same and is_identity(in_ratio(before, before.value), in_ratio(after, after.value))
            if not same:
                corners.append((before, after))
        if not corners:
            return self.words("analytic") if self._is_analytic() else self.words("C^oo")
        if all(_are_flat(a, b) for a, b in corners):
            return self.words("C^oo, not analytic")
        smallest, certain = MAX_ORDER + 1, True
        for before, after in corners:
            order, sure = self._order(before, after)
            if order < smallest or (order == smallest and sure):
                smallest, certain = order, sure
        if smallest < 0:
            return self.words("f jumps")
        if not certain:
            return {**self.words(f"at least C^{smallest}"), "enclosure": [str(smallest), "oo"]}
        return {**self.words(f"C^{smallest}, not C^{smallest + 1}"), "enclosure": [str(smallest)] * 2}

    def _order(self, before: Section, after: Section) -> tuple[int, bool]:
        """The k with f in C^k at this breakpoint, and whether f is certainly not in C^(k+1)."""
        if before.value is not None and after.value is not None:
            match = self._matches(before, after, before.value, after.value)
            if not match:
                return -1, match is False
        left, right = before.weight, after.weight
        for order in range(MAX_ORDER + 1):
            match = self._matches(before, after, left, right)
            if not match:
                return order, match is False
            left, right = by_ratio(before, left), by_ratio(after, right)
        return MAX_ORDER + 1, False

    def _matches(self, before: Section, after: Section, left: Expr, right: Expr) -> bool | None:
        a = one_sided(before, left, "upper", self.numeric.branch)
        b = one_sided(after, right, "lower", self.numeric.branch)
        if a.expression is not None and b.expression is not None and is_identity(a.expression, b.expression):
            return True
        if any(side.limit is not None and side.limit.infinite for side in (a, b)):
            return False
        try:
            x, y = a.enclosure({}), b.enclosure({})
        except Undefined:
            return None
        return False if x.upper < y.lower or y.upper < x.lower else None

    def _is_analytic(self) -> bool:
        """Every root and logarithm takes positive numbers only, so that the formula is analytic inside its sections."""
        for section in self.numeric.sections:
            for node in sympy.preorder_traversal(section.weight):
                inner: Any = None
                if isinstance(node, sympy.Pow) and not node.exp.is_Integer and node.base is not sympy.E:
                    inner = node.base
                elif isinstance(node, sympy.log | sympy.loggamma):
                    inner = node.args[0]
                if inner is None or inner.is_positive or not inner.free_symbols:
                    continue
                curve = self.numeric.curve(section, inner)
                if first_crossing([curve]).curve is not None:
                    return False
        return True

    # Width ------------------------------------------------------------------------------------------------------------

    def _half(self, side: str) -> tuple[Interval, Curve] | str:
        """The first ratio away from 1 at which w <= 1/2, or why there is none."""
        numeric = self.numeric
        walk = numeric.left if side == "left" else numeric.right
        found = first_crossing([numeric.curve(section, section.weight - HALF) for section in walk])
        if found.curve is None or found.box is None:
            reach = "(0, 1)" if side == "left" else "(1, oo)"
            return f"never halves: w > 1/2 on {reach}"
        if not found.certain:
            return f"not enclosed: w comes close to 1/2 near r in {found.curve.place(found.box)}"
        return found.curve.place(found.box), found.curve

    @cached_property
    def _halves(self) -> dict[str, tuple[Interval, Curve] | str]:
        return {side: self._half(side) for side in ("left", "right")}

    def half_width(self, side: str) -> Entry:
        """h = inf{h > 0 : w(1 -+ h) <= 1/2}."""
        found = self._halves[side]
        if isinstance(found, str):
            return self.words(found)
        place, curve = found
        width = place + _exact(-1) if side == "right" else _exact(1) + -place
        forms = [r_half - 1 if side == "right" else 1 - r_half for r_half in self._half_forms(curve)]
        return self.number(width, [*forms, self.scaled_text(width, -1)])

    def half_width_log(self, side: str) -> Entry:
        """The same as a distance in z = log r."""
        found = self._halves[side]
        if isinstance(found, str):
            return self.words(found)
        place, curve = found
        sign = 1 if side == "right" else -1
        width = compiled(sign * sympy.log(r))({r: place})
        return self.number(width, [sympy.expand_log(sign * sympy.log(form)) for form in self._half_forms(curve)])

    def _half_forms(self, curve: Curve) -> list[Expr]:
        """Candidates for the ratio at which w is 1/2: solutions, or the breakpoint where w jumps past 1/2."""
        if curve.section not in self._known_forms:
            self._known_forms[curve.section] = self._find_half_forms(curve)
        return self._known_forms[curve.section]

    @cached_property
    def _known_forms(self) -> dict[Section, list[Expr]]:
        return {}

    def _find_half_forms(self, curve: Curve) -> list[Expr]:
        twin = self._twin(curve.section)
        if self.symbolic is None or twin is None:
            return []
        chart = self.symbolic.branch.chart
        weight = self.symbolic.in_x(twin, twin.weight)
        found = [twin.lower if curve.section.side == "right" else twin.upper]
        found += solutions(weight, HALF, chart.x) if chart.x in weight.free_symbols else []
        return [substitute(chart.ratio, {chart.x: x}) for x in found if x.is_finite]

    def _twin(self, section: Section) -> Section | None:
        """The section of the symbolic branch that this one is at these values."""
        if self.symbolic is None or len(self.symbolic.branch.sections) != len(self.numeric.sections):
            return None
        return self.symbolic.branch.sections[self.numeric.sections.index(section)]

    # Ends -------------------------------------------------------------------------------------------------------------

    def _expressions(self, quantity: str) -> tuple[Expr | None, ...]:
        if quantity == "value":
            return self.numeric.values_by_section
        return tuple(section.weight for section in self.numeric.sections)

    def end(self, quantity: str, end: str) -> Entry:
        """The limit of f or w at r = 0 or r = oo."""
        index = 0 if end == "zero" else -1
        section, expression = self.numeric.sections[index], self._expressions(quantity)[index]
        if expression is None:
            return self._value_by_integral(end)
        where: End = "lower" if end == "zero" else "upper"
        found = self.numeric.curve(section, expression).limit(where)
        if found.infinite:
            return self.words("oo" if found.infinite > 0 else "-oo")
        return self.number(found.finite, self._end_forms(section, quantity, end))

    def _value_by_integral(self, end: str) -> Entry:
        """f(0+) or f(oo) with f(1) = 1, where f is known as the integral of w."""
        last = self.numeric.sections[-1]
        if end == "infinity" and last.weight != 0 and self._diverges(last):
            return self.words("oo: w falls more slowly than 1/r")
        return self.number(self._integral(end), says="f(1) = 1; by integration of w")

    def _integral(self, end: str) -> Interval:
        sections = self.numeric.left if end == "zero" else self.numeric.right
        total = _exact(1)
        for width in AREAS:
            total = _exact(1)
            for section in sections:
                total = total + self._area(section, width) * _exact(-1 if end == "zero" else 1)
            if total.upper - total.lower <= 5e-7 * abs(total.lower):
                break
        return total

    def _end_forms(self, section: Section, quantity: str, end: str) -> list[Expr]:
        twin = self._twin(section)
        formula = None if twin is None else twin.value if quantity == "value" else twin.weight
        if self.symbolic is None or twin is None or formula is None:
            return []
        in_r = self.symbolic.in_ratio(twin, formula)
        plain = [substitute(in_r, {r: sympy.Integer(0)})] if end == "zero" else []
        there = 0 if end == "zero" else sympy.oo
        found = [*plain, tamed(lambda e: sympy.limit(e, r, there), in_r)]
        return [e for e in found if r not in e.free_symbols and not e.has(sympy.nan, sympy.zoo, sympy.oo)]

    def value_range(self) -> Entry:
        """[inf f, sup f] over (0, oo)."""
        pairs = list(zip(self.numeric.sections, self.numeric.values_by_section, strict=True))
        curves = [self.numeric.curve(section, value, depth=1) for section, value in pairs if value is not None]
        if len(curves) < len(pairs):
            return self._range_by_integral()
        top, bottom = supremum(curves, COARSE), supremum([-curve for curve in curves], COARSE)
        words = [("sup f", top.is_infinite, "oo"), ("inf f", bottom.is_infinite, "-oo")]
        says = ", ".join(f"{name} = {value}" for name, infinite, value in words if infinite)
        low, high = shown(-bottom.interval)[0], shown(top.interval)[1]
        return {"closed_form": None, "at": self.at, "enclosure": [low, high], **({"says": says} if says else {})}

    def _range_by_integral(self) -> Entry:
        """f is monotone on sections where w keeps its sign, so its ends are at the sections' ends."""
        numeric, ends = self.numeric, [_exact(1)]
        for walk, outward in ((numeric.left, -1), (numeric.right, 1)):
            total = _exact(1)
            for section in walk:
                sign = next((s for s in (1, -1) if is_nonpositive([numeric.curve(section, -s * section.weight)])), 0)
                if not sign:
                    return self.words("not enclosed: f has no closed form, and w is not shown to keep its sign")
                if section.weight == 0:
                    continue
                if section.is_unbounded and self._diverges(section):
                    infinity = sign * INFINITY
                    total = Interval(infinity, infinity)
                else:
                    total = total + self._area(section) * _exact(outward)
                ends.append(total)
        whole = ends[0]
        for end in ends[1:]:
            whole = hull(whole, end)
        return self.number(whole, says="f(1) = 1; by integration of w")

    def _diverges(self, section: Section) -> bool:
        """w falls more slowly than 1/r."""
        slope = self._limit(section, _elasticity(section))
        return slope is not None and (slope.infinite > 0 or (slope.interval is not None and slope.interval.lower > -1))

    def _area(self, section: Section, width: float = 1e-7) -> Interval:
        """The integral of w over the section, to about that absolute width."""
        if section.weight == 0:
            return _exact(0)
        if (section, width) not in self._areas:
            density = section.weight * derivative(section.position, section.t)
            self._areas[section, width] = integral(self.numeric.curve(section, density), width)
        return self._areas[section, width]

    @cached_property
    def _areas(self) -> dict[tuple[Section, float], Interval]:
        return {}

    def value_range_all_reals(self) -> Entry:
        """How far f extends over all real r, as the literature's tables give it: the integral of w."""
        scaled = None if self.symbolic is None else self.symbolic.scaled()
        if self.symbolic is None or scaled is None or self.symbolic.scale is None:
            return self.words("no scale family: f is a function on r > 0 only")
        first, last = self.symbolic.branch.sections[0], self.symbolic.branch.sections[-1]
        if first.value is None or last.value is None:
            return self.words("f has no closed form: it is known as the integral of w")
        values = self.numeric.values
        bottom = Curve(self.symbolic.branch, first, substitute(first.value, values)).limit("lower").finite
        top = Curve(self.symbolic.branch, last, substitute(last.value, values)).limit("upper").finite
        forms = [
            tamed(lambda e: sympy.limit(e, t, where), value)  # noqa: B023
            for t, value, where in ((first.t, first.value, -sympy.oo), (last.t, last.value, sympy.oo))
        ]
        span = top + -bottom
        closed = sympy.simplify(forms[1] - forms[0]) if not any(f.has(first.t, last.t) for f in forms) else None
        return self.number(span, [closed, self.scaled_text(span, -1)])

    # Strength ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _score(self) -> Supremum:
        sections = self.numeric.sections
        return supremum([self.numeric.curve(s, s.position * s.weight, depth=1) for s in sections])

    @cached_property
    def _score_peaks(self) -> list[Expr]:
        """Candidates for the argmax of phi: zeros of its derivative, in the parameters."""
        found: list[Expr] = []
        for curve in dict.fromkeys(curve for curve, _ in self._score.places):
            twin = self._twin(curve.section)
            if self.symbolic is None or twin is None:
                continue
            weight = self.symbolic.in_ratio(twin, twin.weight)
            rate = sympy.together(sympy.diff(r * weight, r))
            found += solutions(sympy.fraction(rate)[0], sympy.Integer(0), r)
        return found

    def score_supremum(self) -> Entry:
        """sup phi."""
        found = self._score
        if found.is_infinite:
            return self.words("unbounded: phi grows without limit")
        if not found.upper.is_finite():
            return self.words(f"not enclosed: at least {shown(found.interval)[0]}")
        forms: list[Expr] = [sympy.Integer(1)]
        for curve, _ in found.places:
            twin = self._twin(curve.section)
            if self.symbolic is not None and twin is not None:
                weight = self.symbolic.in_ratio(twin, twin.weight)
                ends = [substitute(self.symbolic.branch.chart.ratio, {self.symbolic.branch.chart.x: e})
                        for e in (twin.lower, twin.upper) if e.is_finite]  # fmt: skip
                peaks = [*ends, *self._score_peaks]
                forms += [tamed(sympy.simplify, substitute(r * weight, {r: peak})) for peak in peaks]
                forms += self._end_forms_of(r * weight)
        return self.number(found.interval, [f for f in forms if r not in f.free_symbols])

    @staticmethod
    def _end_forms_of(expression: Expr) -> list[Expr]:
        found = tamed(lambda e: sympy.limit(e, r, sympy.oo), expression)
        return [found] if found.is_finite else []

    def score_supremum_at(self) -> Entry:
        """Where phi is largest."""
        found = self._score
        if found.is_infinite or not found.upper.is_finite():
            return self.words("nowhere" if found.is_infinite else "not enclosed")
        if any(curve.section.is_unbounded and isinstance(box.upper, float) for curve, box in found.places):
            return self.words("approached as r -> oo")
        places = [curve.place(box) for curve, box in found.places]
        place = places[0]
        for other in places[1:]:
            place = hull(place, other)
        if place.upper - place.lower > 1e-6 * place.upper:
            return {**self.number(place), "says": "reached at several places, or along an interval"}
        ends = [e for e in map(self._breakpoint, found.places) if e is not None]
        return self.number(place, [*ends, *self._score_peaks])

    def _breakpoint(self, place: tuple[Curve, Any]) -> Expr | None:
        """The breakpoint, in the parameters, at which the place lies, if it is one."""
        curve, box = place
        twin = self._twin(curve.section)
        if twin is None or self.symbolic is None or box.lower != box.upper:
            return None
        chart = self.symbolic.branch.chart
        for end in ("lower", "upper"):
            if box.lower == getattr(curve.section, f"t_{end}"):
                return substitute(chart.ratio, {chart.x: getattr(twin, end)})
        return None

    # Tail -------------------------------------------------------------------------------------------------------------

    def tail(self) -> Entry:
        """How w falls as r -> oo, by the limit of E = d log w/d log r, and of E/r and E/r^2 where that is -oo."""
        sections = self.numeric.sections
        last = sections[-1]
        if last.weight == 0:
            support = next(s for s in reversed(sections) if s.weight != 0)
            edge = self.numeric.curve(support, support.position).limit("upper").finite
            return self.number(edge, [self._breakpoint_form(support)], f"compact: w = 0 for r >= {_short(edge)}")
        at_end = self._limit(last, last.weight)
        if at_end is not None and (at_end.infinite or not at_end.finite.contains_zero):
            if at_end.infinite:
                return self.words("non-vanishing: |w| -> oo")
            return self.number(
                at_end.finite, self._end_forms(last, "weight", "infinity"), "non-vanishing: w has this limit"
            )
        elasticity = _elasticity(last)
        slope = self._limit(last, elasticity)
        if slope is None:
            return self.words("not classified: the limit of d log w/d log r is not known")
        if not slope.infinite:
            order = -slope.finite
            return self.number(order, self._rates(last, 0), "polynomial: w falls like r^-p, p enclosed")
        names = ("every power", "exponential: log w falls like -c r", "Gaussian: log w falls like -c r^2/2")
        for power in (1, 2):
            found = self._limit(last, elasticity / last.position**power)
            slower, here = (name.partition(":")[0] for name in names[power - 1 : power + 1])
            if found is None:
                return self.words(f"faster than {slower}")
            if found.is_zero:
                return self.words(f"between: faster than {slower}, slower than {here}")
            if not found.infinite:
                return self.number(-found.finite, self._rates(last, power), f"{names[power]}, c enclosed")
        return self.words("faster than Gaussian")

    def _limit(self, section: Section, expression: Expr) -> Limit | None:
        try:
            return self.numeric.curve(section, expression).limit("upper")
        except Undefined:
            return None

    def _breakpoint_form(self, section: Section) -> Expr | None:
        twin = self._twin(section)
        if twin is None or self.symbolic is None:
            return None
        return substitute(self.symbolic.branch.chart.ratio, {self.symbolic.branch.chart.x: twin.upper})

    def _rates(self, section: Section, power: int) -> list[Expr]:
        twin = self._twin(section)
        if twin is None or self.symbolic is None:
            return []
        weight = self.symbolic.in_ratio(twin, twin.weight)
        rate = -r * sympy.diff(weight, r) / weight / r**power
        found = tamed(lambda e: sympy.limit(e, r, sympy.oo), rate)
        return [found] if r not in found.free_symbols else []

    # Slopes -----------------------------------------------------------------------------------------------------------

    def _jumps(self) -> str | None:
        """Where w jumps, in words."""
        for before, after in zip(self.numeric.sections, self.numeric.sections[1:], strict=False):
            if self._matches(before, after, before.weight, after.weight) is not True:
                edge = self.numeric.curve(before, before.position).limit("upper").finite
                return f"w jumps at r = {_short(edge)}"
        return None

    def _supremum_of_size(self, expression: Callable[[Section], Expr], power: int) -> tuple[Interval, str | None]:
        """sup |e| over all sections; for a scale family first over all real u, where it may be reached at u > 0."""
        scaled = None if self.symbolic is None else self.symbolic.scaled()
        if scaled is not None and self.symbolic is not None and self.symbolic.scale is not None:
            branch, sections = scaled
            curves = [Curve(branch, s, expression(s), depth=1) for s in sections]
            found = supremum([*curves, *(-curve for curve in curves)], COARSE)
            if found.upper.is_finite() and any(curve.section.side == "right" for curve, _ in found.places):
                everywhere = found.interval * _exact(self.numeric.values[self.symbolic.scale] ** power)
                return everywhere, self.scaled_text(everywhere, power)
        curves = [self.numeric.curve(s, expression(s), depth=1) for s in self.numeric.sections]
        return supremum([*curves, *(-curve for curve in curves)], COARSE).interval, None

    def weight_lipschitz(self) -> Entry:
        """sup |w'|."""
        jump = self._jumps()
        if jump is not None:
            return self.words(f"not Lipschitz: {jump}")
        found, text = self._supremum_of_size(lambda s: by_ratio(s, s.weight), 1)
        if not found.upper.is_finite():
            return self.words("not Lipschitz: w' is unbounded" if not found.lower.is_finite() else "not enclosed")
        return self.number(found, [text])

    @cached_property
    def _curvatures(self) -> dict[str, OneSided]:
        branch = self.numeric.branch
        left, right = self.numeric.left[0], self.numeric.right[0]
        second = {s.side: by_ratio(s, by_ratio(s, s.weight)) for s in (left, right)}
        return {
            "left": one_sided(left, second["left"], "upper", branch),
            "right": one_sided(right, second["right"], "lower", branch),
        }

    def curvature(self) -> Entry:
        """w''(1), from the right; where the left differs it is said."""
        left, right = (self._curvatures[side] for side in ("left", "right"))
        if any(side.limit is not None and side.limit.infinite for side in (left, right)):
            return self.words("w'' is unbounded at 1")
        here = right.enclosure({})
        same = (
            left.expression is not None
            and right.expression is not None
            and is_identity(left.expression, right.expression)
        )
        says = "" if same else f"from the right; from the left it is {_short(left.enclosure({}))}"
        slopes = [self._slope_at_one(s) for s in (self.numeric.left[0], self.numeric.right[0])]
        if not all(slope is not None and slope.is_point and slope.lower == 0 for slope in slopes):
            says = (says + "; " if says else "") + "w has a slope at 1, so it is not flat there"
        return self.number(here, [self._curvature_form(), self.scaled_text(here, 2)], says)

    def _curvature_form(self) -> Expr | None:
        twin = self._twin(self.numeric.right[0])
        if twin is None or self.symbolic is None:
            return None
        found = substitute(sympy.diff(self.symbolic.in_ratio(twin, twin.weight), r, 2), {r: sympy.Integer(1)})
        return None if found.has(sympy.nan, sympy.zoo, sympy.oo) else sympy.simplify(found)

    def _slope_at_one(self, section: Section) -> Interval | None:
        end = "lower" if section.side == "right" else "upper"
        try:
            found = one_sided(section, by_ratio(section, section.weight), end, self.numeric.branch)
            if found.expression is not None and is_identity(found.expression, sympy.Integer(0)):
                return _exact(0)
            return found.enclosure({})
        except Undefined:
            return None

    @cached_property
    def _gap(self) -> str | tuple[Interval, Interval]:
        """sup (1 - w)/(r - 1)^2 and sup (w - 1)/(r - 1)^2, or why there is none."""
        curves = []
        for section in self.numeric.sections:
            touches = section in (self.numeric.left[0], self.numeric.right[0])
            mean = None
            if touches:
                end = "lower" if section.side == "right" else "upper"
                one = one_sided(section, section.weight, end, self.numeric.branch)
                if one.expression is None or not is_identity(one.expression, sympy.Integer(1)):
                    return "no kappa: w(1) is not 1"
                slope = self._slope_at_one(section)
                if slope is None or not (slope.is_point and slope.lower == 0):
                    return "no kappa: w has a corner or a slope at 1, so 1 - w is not of order (r - 1)^2"
                mean = self.numeric.curve(section, -by_ratio(section, by_ratio(section, section.weight)) / 2, depth=1)
            gap = (1 - section.weight) / (section.position - 1) ** 2
            curves.append(self.numeric.curve(section, gap, mean))
        above, below = supremum(curves, COARSE), supremum([-curve for curve in curves], COARSE)
        return above.interval, below.interval

    def kappa(self) -> Entry:
        """The smallest kappa with w >= 1 - kappa (r - 1)^2 on (0, oo)."""
        if isinstance(self._gap, str):
            return self.words(self._gap)
        found = self._gap[0]
        if not found.upper.is_finite():
            return self.words("no kappa: w'' is unbounded at 1" if not found.lower.is_finite() else "not enclosed")
        form = self._curvature_form()
        edges = [e for e in map(self._breakpoint_form, self.numeric.sections[:-1]) if e is not None and e != 1]
        return self.number(
            found, [None if form is None else -form / 2, *((e - 1) ** -2 for e in edges), self._kappa_text(found)]
        )

    def _kappa_text(self, found: Interval) -> str | None:
        """c tau^2, if the supremum is the limit at r = 1 for every tau."""
        here = self._curvatures["right"].enclosure({}) * _exact(-HALF)
        is_limit = here.lower <= found.upper and found.lower <= here.upper
        return self.scaled_text(found, 2) if is_limit else None

    def surrogate_gap(self) -> Entry:
        """The smallest c that kappa gives with |r - f(r)| <= c |r - 1|^3, f shifted to f(1) = 1."""
        if isinstance(self._gap, str):
            return self.words(self._gap)
        above, below = self._gap
        wider = below if below.lower > above.upper else above
        if not wider.upper.is_finite():
            return self.words("no bound of third order")
        form = self._curvature_form()
        third = wider * _exact(Rational(1, 3))
        return self.number(third, [None if form is None else -form / 6], "|r - f(r)| <= c |r - 1|^3, c enclosed")

    def log_curvature(self) -> Entry:
        """sup |g''| with g(z) = w(e^z), which bounds the cost of averaging log-ratios (arXiv:2511.20347, 4.1)."""
        jump = self._jumps()
        if jump is not None:
            return self.words(f"oo: {jump}")
        for before, after in zip(self.numeric.sections, self.numeric.sections[1:], strict=False):
            match = self._matches(before, after, by_ratio(before, before.weight), by_ratio(after, after.weight))
            if match is not True and not _are_flat(before, after):
                edge = self.numeric.curve(before, before.position).limit("upper").finite
                says = (
                    f"w has a corner at r = {_short(edge)}"
                    if match is False
                    else "whether w has a corner is not settled"
                )
                return self.words(f"oo: {says}" if match is False else f"not enclosed: {says}")
        curves = []
        for s in self.numeric.sections:
            second = by_log_ratio(s, by_log_ratio(s, s.weight))
            curves.append(self.numeric.curve(s, tamed(sympy.factor, second)))
        found = supremum([*curves, *(-curve for curve in curves)], COARSE)
        if not found.upper.is_finite():
            return self.words("oo: g'' is unbounded" if found.is_infinite else "not enclosed")
        return self.number(found.interval)

    # Signs ------------------------------------------------------------------------------------------------------------

    def pessimism(self, *, kill: bool) -> Entry:
        """f(r) A <= r A on one side of 1, f shifted to f(1) = 1: the gate promises no more than the plain ratio."""
        numeric = self.numeric
        is_positive = numeric.side == "positive"
        walk = numeric.right if is_positive == kill else numeric.left
        reach = "r > 1" if is_positive == kill else "r < 1"
        differences, slopes = [], []
        for section in walk:
            value = numeric.values_by_section[numeric.sections.index(section)]
            outward = 1 if section.side == "right" else -1
            slopes.append(numeric.curve(section, outward * (section.weight - 1), depth=1))
            if value is not None:
                differences.append(numeric.curve(section, value - self._value_at_one() + 1 - section.position, depth=2))
        sign = 1 if is_positive else -1  # pessimistic: sign (f - r) <= 0
        for curves in (slopes, differences):
            if len(curves) < len(walk):
                continue
            lower = is_nonpositive([curve if sign > 0 else -curve for curve in curves])
            upper = is_nonpositive([-curve if sign > 0 else curve for curve in curves])
            if lower and upper:
                return self.words(f"equal: f(r) = r on {reach}")
            if lower:
                return self.words(f"pessimistic: f(r) A <= r A on {reach}")
            if upper:
                return self.words(f"optimistic: f(r) A >= r A on {reach}")
            if lower is False and upper is False and curves is differences:
                return self.words(f"neither: f(r) A - r A changes its sign on {reach}")
        return self.words(f"not settled on {reach}")

    def _value_at_one(self) -> Expr:
        if self.numeric.gate.kind != "value":
            return sympy.Integer(1)  # the constant of integration
        section = self.numeric.right[0]
        value = self.numeric.values_by_section[self.numeric.sections.index(section)]
        assert value is not None
        found = one_sided(section, value, "lower", self.numeric.branch)
        if found.expression is None:
            raise Undefined("f(1) is not known as an expression")
        return found.expression

    def log_symmetry(self) -> Entry:
        """Whether w(e^z) = w(e^-z)."""
        left, right = self.numeric.left, self.numeric.right
        if len(left) == len(right):
            mirrored = all(
                (b.upper is sympy.oo and a.lower in (0, -sympy.oo)) or is_identity(a.lower * b.upper, sympy.Integer(1))
                for a, b in zip(left, right, strict=True)
            )
            pairs = [
                (
                    substitute(in_ratio(a, a.weight), {r: sympy.exp(-z)}),
                    substitute(in_ratio(b, b.weight), {r: sympy.exp(z)}),
                )
                for a, b in zip(left, right, strict=True)
            ]
            if mirrored and all(is_identity(a, b) for a, b in pairs):
                return self.words("yes: w(1/r) = w(r)")
        for ratio in (Rational(2), Rational(3, 2), Rational(11, 10), Rational(10), Rational(101, 100), Rational(1000)):
            try:
                here, there = self._weight(ratio), self._weight(ratio**-1)
            except Undefined:
                continue
            if here.upper < there.lower or there.upper < here.lower:
                return self.words(f"no: w({ratio}) = {_short(here)}, w({1 / ratio}) = {_short(there)}")
        return self.words("not settled")

    def _weight(self, ratio: Expr) -> Interval:
        for section in self.numeric.sections:
            position = self.numeric.curve(section, section.position)
            low = position.limit("lower").finite if section.lower != 0 else None
            high = position.limit("upper").finite if section.upper is not sympy.oo else None
            if (low is None or low.upper < ratio) and (high is None or ratio < high.lower):
                return compiled(substitute(in_ratio(section, section.weight), {r: ratio}))({})
        raise Undefined("r is a breakpoint")

    def scale_family(self) -> Entry:
        """Whether w depends on tau and r through tau (r - 1), or through tau log r, alone."""
        if self.symbolic is None or self.symbolic.branch.chart.parameter is None:
            return self.words("no")
        chart = self.symbolic.branch.chart
        inner = f"{chart.parameter}*(r - 1)" if chart.kind == "scaled" else f"{chart.parameter}*log(r)"
        return self.words(f"yes: w is a function of {inner}")


def _elasticity(section: Section) -> Expr:
    """d log w/d log r in t."""
    rate = sympy.cancel(section.position / derivative(section.position, section.t))
    return rate * log_derivative(section.weight, section.t)


def _are_flat(before: Section, after: Section) -> bool:
    """w and all its derivatives go to 0 from both sides."""
    left, right = before.t_upper, after.t_lower
    assert isinstance(left, Fraction)
    assert isinstance(right, Fraction)
    return is_flat(before.weight, before.t, left, "upper") and is_flat(after.weight, after.t, right, "lower")


def _exact(number: Expr | int) -> Interval:
    exact = Fraction(str(number))
    return Interval.of(exact, exact)


def _short(found: Interval) -> str:
    return ((found.lower + found.upper) / 2).str(6, radius=False)
