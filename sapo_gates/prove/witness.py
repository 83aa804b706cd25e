"""Exact places where a requirement fails, each confirmed on the declared formula itself at rational numbers."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil

import sympy
from flint import arb
from sympy import Expr, Pow, Rational, Symbol

from sapo_gates.derive import declared_formula, derivative
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Gate, Kind
from sapo_gates.prove.boxes import Box, Range
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.corners import formula_at, zeros
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.evidence import sections_between
from sapo_gates.prove.interval import Interval, Undefined, working_precision
from sapo_gates.prove.points import Point, parameter_points, rational
from sapo_gates.prove.removable import filled
from sapo_gates.prove.sections import Branch, Section
from sapo_gates.prove.tails import Tail, TailBound, below_number
from sapo_gates.verdict import Sign, Witness

WITNESS_PRECISION = 256
SMALL = 1e-6
MAX_POWER = 10**50  # of ten; what is smaller or larger is only said to be so
LOG10_OF_2 = 30102999566398119521373889472449302676818988146210854131  # times 10^-56, rounded down


def exact_value(gate: Gate, side: Sign, quantity: Kind, ratio: Rational, parameters: Point) -> Expr:
    """The quantity at one exact r and exact parameters, from the declared formula, as an exact expression.

    A removable singularity is filled by its limit.

    Raises:
        Undefined: it has no closed form or no value, or which piece holds there is not certain.
    """
    expression = declared_formula(gate.kind, gate.declared(side), quantity)
    if expression is None:
        raise Undefined("no closed form")
    point = {r: ratio, **parameters}
    try:
        formula = formula_at(expression, point, {})
    except Unsupported as error:
        raise Undefined(str(error)) from error
    there = substitute(formula, point)
    if there.has(sympy.nan, sympy.zoo):
        there = filled(substitute(formula, parameters), r, ratio, {})
    if there is None:
        raise Undefined(f"a denominator is 0 at r = {ratio}")
    return there


def enclosed(expression: Expr) -> Interval:
    """A number's enclosure.

    Raises:
        Undefined: it is not defined.
    """
    with working_precision(WITNESS_PRECISION):
        return compiled(expression)({})


def evaluate(gate: Gate, side: Sign, quantity: Kind, ratio: Rational, parameters: Point) -> Interval:
    """The enclosure of the quantity at one exact r and exact parameters.

    Raises:
        Undefined: it is not defined there, or has no closed form.
    """
    return enclosed(exact_value(gate, side, quantity, ratio, parameters))


def shown(range_: Interval) -> tuple[str, str]:
    """Both ends as decimal texts that still enclose."""
    return _decimal(range_.lower, down=True), _decimal(range_.upper, down=False)


def _decimal(end: arb, *, down: bool) -> str:
    if not end.is_finite():
        return "-oo" if end < 0 else "oo"
    if end.is_integer() and abs(end) < 10**12:
        return str(int(float(end)))
    mantissa, exponent = (int(part) for part in end.man_exp())
    if abs(exponent) > 4000:  # too small or too large to spell out: a power of ten beyond it
        digits = (mantissa.bit_length() + exponent) * LOG10_OF_2 // 10**56
        outward, sign = digits + (-2 if (mantissa > 0) == down else 2), "-" if mantissa < 0 else ""
        if outward < -MAX_POWER:
            return "0" if (mantissa > 0) == down else f"{sign}1e-{MAX_POWER}"
        if outward > MAX_POWER:
            return f"{sign}1e{MAX_POWER}" if (mantissa > 0) == down else f"{sign}oo"
        return f"{sign}1e{outward}" if mantissa else "0"
    exact = Fraction(mantissa) * Fraction(2) ** exponent
    return rounded(exact, down=down)


def rounded(exact: Fraction, *, down: bool, digits: int = 12) -> str:
    """A decimal with so many significant digits on the given side of the number."""
    if exact == 0:
        return "0"
    context = Context(prec=digits, rounding=ROUND_FLOOR if down else ROUND_CEILING, Emax=10**6, Emin=-(10**6))
    return format(context.divide(Decimal(exact.numerator), Decimal(exact.denominator)).normalize(), "g")


def ratio_at(branch: Branch, section: Section, t: Fraction, parameters: Point) -> Rational | None:
    """The rational r at a t, or one within 2^-60 of it; None where r <= 0 (a scale proof covers more than (0, oo))."""
    exact = substitute(
        substitute(branch.chart.ratio, {branch.chart.x: section.position}), {section.t: rational(t), **parameters}
    )
    if isinstance(exact, Rational):
        return exact if exact > 0 else None
    try:
        middle = compiled(exact)({}).lower
    except Undefined:
        return None
    if not middle.is_finite() or middle <= 0:
        return None
    mantissa, exponent = (int(part) for part in middle.man_exp())
    if abs(exponent) > 2000:
        return None
    return rational((Fraction(mantissa) * Fraction(2) ** exponent).limit_denominator(2**60))


def names(parameters: Point) -> dict[str, str]:
    """For a witness: texts instead of symbols."""
    return {str(symbol): str(value) for symbol, value in parameters.items()}


def growth(gate: Gate, side: Sign, branch: Branch, section: Section, box: Box) -> Witness | None:
    """Two ratios in the box between which w grows away from r = 1."""
    for parameters in parameter_points(gate, side, branch.all_domains, box):
        for near, far in _inner_pairs(box[section.t]):
            ends = [ratio_at(branch, section, t, parameters) for t in (near, far)]
            if None in ends or ends[0] == ends[1]:
                continue
            low, high = sorted(end for end in ends if end is not None)
            if low < 1 < high:  # a box of one point near r = 1 has neighbours on both sides
                continue
            inner, outer = (low, high) if section.side == "right" else (high, low)
            found = growth_between(gate, side, inner, outer, parameters)
            if found is not None:
                return found
    return None


def growth_between(gate: Gate, side: Sign, inner: Rational, outer: Rational, parameters: Point) -> Witness | None:
    """Two ratios on one side of 1, if w is larger at the one that is farther from it."""
    try:
        at_inner, at_outer = (evaluate(gate, side, "weight", ratio, parameters) for ratio in (inner, outer))
    except Undefined:
        return None
    if not at_outer.lower > at_inner.upper:
        return None
    low, high = sorted((inner, outer))
    ranges = (shown(at_inner), shown(at_outer))
    return Witness(
        kind="pair",
        r=(str(low), str(high)),
        parameters=names(parameters),
        enclosure=ranges if low == inner else ranges[::-1],
        why=f"w grows away from 1: w({outer}) > w({inner})",
    )


def dip(gate: Gate, side: Sign, branch: Branch) -> Witness | None:
    """A ratio near 1 at which w is larger than the w(1) of the text."""
    one = Rational(1)
    for parameters in parameter_points(gate, side, branch.all_domains):
        for step in (sign * Rational(1, 2**k) for k in (1, 4, 10, 20, 40) for sign in (-1, 1)):
            found = growth_between(gate, side, one, one + step, parameters)
            if found is not None:
                return found
    return None


def _inner_pairs(t: Range) -> Iterator[tuple[Fraction, Fraction]]:
    """Pairs of points well inside a range, wide ones first."""
    if isinstance(t.lower, float) or isinstance(t.upper, float):
        middle = t.middle
        yield middle, middle + 1 if isinstance(t.upper, float) else middle - 1
        yield middle, 2 * middle
        return
    width = t.upper - t.lower
    if width == 0:  # a single point at which the claim fails: something near it fails too
        for k in range(3, 60, 4):
            yield t.lower - Fraction(1, 2**k), t.upper + Fraction(1, 2**k)
        return
    for share in (Fraction(3, 8), Fraction(1, 8), Fraction(1, 64), Fraction(1, 4096)):
        middle = Fraction(t.lower + t.upper) / 2
        yield middle - share * width, middle + share * width


def weights_in(
    gate: Gate, side: Sign, branch: Branch, section: Section, box: Box
) -> Iterator[tuple[Rational, Point, Interval]]:
    """Exact ratios in the box, parameters, and w there."""
    for parameters in parameter_points(gate, side, branch.all_domains, box):
        for t in (t for pair in _inner_pairs(box[section.t]) for t in pair):
            ratio = ratio_at(branch, section, t, parameters)
            if ratio is None:
                continue
            try:
                yield ratio, parameters, evaluate(gate, side, "weight", ratio, parameters)
            except Undefined:
                continue


def excess(gate: Gate, side: Sign, branch: Branch, section: Section, box: Box) -> Witness | None:
    """A ratio in the box at which w > 1."""
    for ratio, parameters, weight in weights_in(gate, side, branch, section, box):
        if weight.lower > 1:
            return point(ratio, parameters, weight, f"w({ratio}) > 1")
    return None


def peak_at(gate: Gate, side: Sign, branch: Branch, at: Expr) -> Witness | None:
    """Parameters at which w at a breakpoint, as the text says it there, is not 1 at r = 1 or above 1 elsewhere."""
    for parameters in parameter_points(gate, side, branch.all_domains):
        ratio = substitute(substitute(branch.chart.ratio, {branch.chart.x: at}), parameters)
        if not isinstance(ratio, Rational):
            continue
        try:
            gap = enclosed(exact_value(gate, side, "weight", ratio, parameters) - 1)
        except Undefined:
            continue
        if ratio == 1 and not gap.contains_zero:
            return point(ratio, parameters, gap, f"w(1) - 1 is {'positive' if gap.is_positive else 'negative'}, not 0")
        if gap.is_positive:
            weight = evaluate(gate, side, "weight", ratio, parameters)
            return point(ratio, parameters, weight, f"w({ratio}) > 1")
    return None


def negative(gate: Gate, side: Sign, branch: Branch, section: Section, box: Box) -> Witness | None:
    """A ratio in the box at which w < 0."""
    for ratio, parameters, weight in weights_in(gate, side, branch, section, box):
        if weight.is_negative:
            return point(ratio, parameters, weight, f"w({ratio}) < 0")
    return None


def lower_bounded_tail(gate: Gate, side: Sign, tail: Tail) -> tuple[Witness, dict[str, object]] | None:
    """R, c and parameters with |phi| >= c > 0 on [R, oo), and the proof."""
    points = parameter_points(gate, side, tail.branch.all_domains)
    return next((found for point in points if (found := _tail_at(tail, point)) is not None), None)


def _tail_at(tail: Tail, parameters: Point) -> tuple[Witness, dict[str, object]] | None:
    """The tail's bound at exact parameters, told and shown in the chart's x."""
    in_x = tail.in_x(parameters)
    bound = None if in_x is None else in_x.lower_bound(in_x.section.weight, parameters)
    start = None if in_x is None or bound is None else _first_ratio(in_x, bound.start, parameters)
    if in_x is None or bound is None or start is None:
        return None
    c, at_zero = rational(bound.bound), tail.end == "zero"
    found = Witness(
        kind="tail",
        r=("0", str(start)) if at_zero else (str(start),),
        parameters=names(parameters),
        enclosure=((str(c), "oo") if bound.sign > 0 else ("-oo", str(-c)),),
        why=f"{'phi' if bound.sign > 0 else '-phi'} >= {c} on {f'(0, {start}]' if at_zero else f'[{start}, oo)'}",
    )
    sections = _sections_from(in_x, bound.start, parameters)
    sections[0 if at_zero else -1][f"score at {'least' if bound.sign > 0 else 'most'}"] = _bound_evidence(
        in_x, bound, parameters
    )
    return found, {"sections": sections}


def _sections_from(tail: Tail, start: Fraction, parameters: Point) -> list[dict[str, object]]:
    """All sections at these parameters, with a breakpoint at the tail's start."""
    chart, at = tail.branch.chart, rational(start)
    corners = [substitute(place, parameters) for place in tail.branch.breakpoints]
    nearest = corners[0] if tail.end == "zero" else corners[-1]
    places = corners if nearest == at else [at, *corners] if tail.end == "zero" else [*corners, at]
    return sections_between(chart, [chart.lower, *places, sympy.oo], parameters)


def _bound_evidence(tail: Tail, bound: TailBound, parameters: Point) -> dict[str, object]:
    """phi itself in a form that shows the bound, or its derivative phi * d log phi/d log r * d log r/dt."""
    if bound.rule == "enclosure":
        return {"form": bound.form, "leaves": {"rule": "bound"}}
    phi, ratio = (substitute(e, parameters) for e in (tail.score(tail.section.weight), tail.ratio))
    rate = sympy.cancel(derivative(ratio, tail.section.t) / ratio)
    slope = f"{'-' if bound.sign > 0 else ''}({sympy.sstr(phi)})*({bound.form})*({sympy.sstr(rate)})"
    return {"form": sympy.sstr(phi), "inverse": slope, "leaves": {"rule": "falls-inverse"}}


def unbounded_score(gate: Gate, side: Sign, tail: Tail) -> tuple[Witness, dict[str, object]] | None:
    """A tail that is bounded from below where phi has an infinite limit, or grows like a positive power of r."""
    for parameters in parameter_points(gate, side, tail.branch.all_domains):
        in_x = tail.in_x(parameters)
        form = None if in_x is None else _infinite_limit(in_x, parameters)
        found = None if form is None else _tail_at(tail, parameters)
        if form is not None and found is not None:
            witness, evidence = found
            end = "0" if tail.end == "zero" else "oo"
            return replace(witness, why=f"|phi| -> oo as r -> {end}; {witness.why}"), {**evidence, tail.end: [form]}
    return None


def _infinite_limit(tail: Tail, parameters: Point) -> dict[str, str] | None:
    weight = tail.section.weight
    if weight == 0:
        return None
    key = {"term": sympy.sstr(substitute(weight, parameters))}
    score = tail.limit(substitute(tail.score(weight), parameters))
    if score is not None:
        return {**key, "rule": "limit", "form": sympy.sstr(score[1])} if score[0].infinite else None
    slope = tail.limit(substitute(tail.score_slope(weight), parameters))
    if slope is not None and slope[0].is_away_from_zero == tail.outwards:
        return {**key, "rule": "slope", "form": sympy.sstr(slope[1])}
    return None


def _first_ratio(tail: Tail, t: Fraction, parameters: Point) -> Rational | None:
    """The r at t, or a short rational slightly nearer to the end."""
    exact = substitute(tail.ratio, {tail.section.t: rational(t), **parameters})
    if isinstance(exact, Rational):
        return exact if exact > 0 else None
    range_ = compiled(exact)({})
    if tail.end == "zero":
        below = below_number(range_.lower) if range_.lower > 0 else Fraction(0)
        return rational(below) if below > 0 else None
    if not range_.upper.is_finite() or range_.upper > 2**60:
        return None
    mantissa, exponent = (int(part) for part in range_.upper.man_exp())
    return rational(Fraction(ceil(Fraction(mantissa) * Fraction(2) ** exponent * 64), 64))


def point(ratio: Rational, parameters: Point, enclosure: Interval | None, why: str) -> Witness:
    """A witness at one ratio."""
    return Witness(
        kind="point",
        r=(str(ratio),),
        parameters=names(parameters),
        enclosure=() if enclosure is None else (shown(enclosure),),
        why=why,
    )


def guards(expression: Expr) -> Iterator[tuple[Expr, str]]:
    """What must hold for the expression to be defined: (inner expression, 'nonzero' | 'positive' | 'nonnegative')."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, Pow) and isinstance(node.exp, Rational):
            if node.exp.q != 1:
                yield node.base, "positive" if node.exp < 0 else "nonnegative"
            elif node.exp < 0:
                yield node.base, "nonzero"
        elif isinstance(node, Pow) and node.base is not sympy.E:
            yield node.base, "positive"
        elif isinstance(node, sympy.log):
            yield node.args[0], "positive"


def undefined(gate: Gate, side: Sign, branch: Branch, section: Section, box: Box, quantity: Kind) -> Witness | None:
    """A place in the section where the value or the weight is not defined: a pole, or an argument out of range.

    A zero of a denominator is a pole only where the numerator is not 0 too; else it may be a removable singularity,
    which a gate's text is taken to fill.
    """
    expression = section.value if quantity == "value" and section.value is not None else section.weight
    is_tiny = box[section.t].extent < SMALL  # then its middle sits on a pole, and would make a clumsy bracket
    middle = () if is_tiny else (box[section.t].middle,)
    for parameters in parameter_points(gate, side, branch.all_domains):
        there = substitute(expression, parameters)  # first: a negative number has a power whose exponent is whole
        numerator, denominator = sympy.fraction(sympy.together(there))
        inner = [(denominator, "nonzero"), *guards(there)]
        for at, rule in inner:
            if at.free_symbols != {section.t} or (rule == "nonzero" and at != denominator):
                continue
            signs = [(t, sign) for t in _grid(section, at, *middle) if (sign := _sign_at(at, section.t, t)) is not None]
            for t, sign in signs:
                ratio = ratio_at(branch, section, t, parameters)
                is_pole = rule == "nonzero" and sign == 0 and _sign_at(numerator, section.t, t) in (-1, 1)
                if ratio is None or not (is_pole or (sign < 0 and rule != "nonzero")):
                    continue
                why = {
                    "nonzero": "a denominator is 0",
                    "positive": "the argument of a logarithm or power is negative",
                    "nonnegative": "the argument of a root is negative",
                }[rule]
                return point(ratio, parameters, None, f"not defined at r = {ratio}: {why}")
            for (low, before), (high, after) in pairwise(signs):
                if rule == "nonzero" and before * after < 0:
                    found = _pole(branch, section, at, numerator, low, high, parameters)
                    if found is not None:
                        return _around_pole(gate, side, quantity, found, parameters)
    return None


def _sign_at(expression: Expr, t: Symbol, at: Fraction) -> int | None:
    try:
        range_ = compiled(expression)({t: Interval.of(at, at)})
    except Undefined:
        return None
    if range_.is_point and range_.lower == 0:
        return 0
    return 1 if range_.is_positive else -1 if range_.is_negative else None


def _pole(
    branch: Branch,
    section: Section,
    inner: Expr,
    numerator: Expr,
    low: Fraction,
    high: Fraction,
    parameters: Point,
) -> tuple[Rational, Rational] | None:
    """Ratios between which a denominator changes its sign and the numerator is not 0, close to each other."""
    below = _sign_at(inner, section.t, low)
    for _ in range(20):
        middle = (low + high) / 2
        sign = _sign_at(inner, section.t, middle)
        if sign == below:
            low = middle
        elif sign:
            high = middle
        else:
            break
    ends = [ratio_at(branch, section, t, parameters) for t in (low, high)]
    try:
        vanishes = compiled(numerator)({section.t: Interval.of(low, high)}).contains_zero
    except Undefined:
        vanishes = True
    if ends[0] is None or ends[1] is None or vanishes:
        return None
    return ends[0], ends[1]


def _around_pole(
    gate: Gate, side: Sign, quantity: Kind, ends: tuple[Rational, Rational], parameters: Point
) -> Witness | None:
    try:
        ranges = [evaluate(gate, side, quantity, end, parameters) for end in ends]
    except Undefined:
        return None
    return Witness(
        kind="pair",
        r=(str(ends[0]), str(ends[1])),
        parameters=names(parameters),
        enclosure=(shown(ranges[0]), shown(ranges[1])),
        why=f"a denominator changes its sign between r = {ends[0]} and r = {ends[1]}: a pole lies between",
    )


def _grid(section: Section, inner: Expr, *others: Fraction) -> list[Fraction]:
    """Points to look at, in order: exact zeros, a coarse grid over the section, and the others."""
    whole = Range(section.t_lower, section.t_upper, True, True)
    points = list(others)
    with suppress(Unsupported):
        points += [Fraction(int(e.p), int(e.q)) for e in zeros(inner, section.t) if isinstance(e, Rational)]
    pending = [whole]
    for _ in range(6):
        points += [piece.middle for piece in pending]
        pending = [half for piece in pending for half in piece.halves()]
    return sorted({p for p in points if whole.contains(p)})
