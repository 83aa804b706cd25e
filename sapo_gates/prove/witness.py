"""Exact places where a requirement fails, each confirmed on the declared formula itself at rational numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil

import sympy
from flint import arb
from sympy import Expr, Pow, Rational, Symbol

from sapo_gates.derive import declared_formula
from sapo_gates.functions import r
from sapo_gates.gate import Domain, Gate, Kind
from sapo_gates.prove.boxes import Box, Range
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.interval import Interval, Undefined, working_precision
from sapo_gates.prove.sections import Branch, Section, Unsupported, as_end, section_key, value_at, zeros
from sapo_gates.prove.tails import Tail, limit_at_infinity
from sapo_gates.verdict import Sign, Witness

Point = Mapping[Symbol, Rational]
WITNESS_PRECISION = 256


def evaluate(gate: Gate, side: Sign, quantity: Kind, ratio: Rational, parameters: Point) -> Interval:
    """The quantity at one exact r and exact parameters, from the declared formula.

    Raises:
        Undefined: it is not defined there, or not a closed form.
    """
    expression = declared_formula(gate.kind, gate.declared(side), quantity)
    if expression is None:
        raise Undefined("no closed form")
    with working_precision(WITNESS_PRECISION):
        try:
            return compiled(value_at(expression, {r: ratio, **parameters}, {}))({})
        except Unsupported as error:
            raise Undefined(str(error)) from error


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
        digits = int((mantissa.bit_length() + exponent) * 0.30103)
        outward = digits + (-1 if (mantissa > 0) == down else 1)
        return f"{'-' if mantissa < 0 else ''}1e{outward}" if mantissa else "0"
    exact = Fraction(mantissa) * Fraction(2) ** exponent
    return rounded(exact, down=down)


def rounded(exact: Fraction, *, down: bool, digits: int = 12) -> str:
    """A decimal with so many significant digits on the given side of the number."""
    if exact == 0:
        return "0"
    context = Context(prec=digits, rounding=ROUND_FLOOR if down else ROUND_CEILING, Emax=10**6, Emin=-(10**6))
    return format(context.divide(Decimal(exact.numerator), Decimal(exact.denominator)).normalize(), "g")


def rational(number: Fraction) -> Rational:
    """A Fraction as sympy's."""
    return Rational(number.numerator, number.denominator)


def parameter_points(
    gate: Gate, side: Sign, domains: Mapping[Symbol, Domain], box: Box | None = None
) -> Iterator[Point]:
    """Exact parameter values worth trying: the box's middle or the trained ones first, then ends and powers of ten."""
    choices: dict[Symbol, list[Rational]] = {}
    for p, domain in domains.items():
        whole = Range(as_end(domain.lower), as_end(domain.upper), domain.lower_open, domain.upper_open)
        here = box[p] if box is not None and p in box else whole
        trained = gate.parameter(p.name).value_for(side)
        wanted = [trained, *map(Rational, ("1", "1/2", "2", "20", "1/10", "100", "1/100", "1000"))]
        wanted += [rational(e) for e in (here.lower, here.upper) if isinstance(e, Fraction)] + [rational(here.middle)]
        inside = [value for value in wanted if here.contains(Fraction(int(value.p), int(value.q))) and value in domain]
        choices[p] = list(dict.fromkeys(inside))[:8]
    longest = max((len(values) for values in choices.values()), default=1)
    for index in range(longest):
        yield {p: values[index % len(values)] for p, values in choices.items() if values}


def ratio_at(branch: Branch, section: Section, t: Fraction, parameters: Point) -> Rational | None:
    """The rational r at a t, or one within 2^-60 of it; None where r > 0 fails (a scale proof covers more than (0, oo))."""
    exact = branch.chart.ratio.xreplace({branch.chart.x: section.position}).xreplace(
        {section.t: rational(t), **parameters}
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
            inner, outer = (low, high) if section.side == "right" else (high, low)
            try:
                at_inner, at_outer = (evaluate(gate, side, "weight", e, parameters) for e in (inner, outer))
            except Undefined:
                continue
            if at_outer.lower > at_inner.upper:
                return Witness(
                    kind="pair",
                    r=(str(low), str(high)),
                    parameters=names(parameters),
                    enclosure=(shown(at_inner), shown(at_outer))
                    if section.side == "right"
                    else (shown(at_outer), shown(at_inner)),
                    why=f"w grows away from 1: w({outer}) > w({inner})",
                )
    return None


def _inner_pairs(t: Range) -> Iterator[tuple[Fraction, Fraction]]:
    """Pairs of points well inside a range, wide ones first."""
    if isinstance(t.lower, float) or isinstance(t.upper, float):
        middle = t.middle
        yield middle, middle + 1 if isinstance(t.upper, float) else middle - 1
        yield middle, 2 * middle
        return
    width = t.upper - t.lower
    for share in (Fraction(3, 8), Fraction(1, 8), Fraction(1, 64), Fraction(1, 4096)):
        middle = (t.lower + t.upper) / 2
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


def not_one(gate: Gate, side: Sign, branch: Branch) -> Witness | None:
    """Parameters at which w(1) is not 1."""
    for parameters in parameter_points(gate, side, branch.all_domains):
        try:
            weight = evaluate(gate, side, "weight", Rational(1), parameters)
        except Undefined:
            continue
        if weight.lower > 1 or weight.upper < 1:
            return point(Rational(1), parameters, weight, "w(1) is not 1")
    return None


def negative(gate: Gate, side: Sign, branch: Branch, section: Section, box: Box) -> Witness | None:
    """A ratio in the box at which w < 0."""
    for ratio, parameters, weight in weights_in(gate, side, branch, section, box):
        if weight.is_negative:
            return point(ratio, parameters, weight, f"w({ratio}) < 0")
    return None


def lower_bounded_tail(gate: Gate, side: Sign, tail: Tail) -> tuple[Witness, dict[str, object]] | None:
    """R, c and parameters with |phi| >= c > 0 on [R, oo), and the proof."""
    for parameters in parameter_points(gate, side, tail.branch.all_domains):
        bound = tail.lower_bound(tail.section.weight, parameters)
        if bound is None:
            continue
        start, c = _first_ratio(tail, bound.start, parameters), rational(bound.bound)
        if start is None:
            continue
        found = Witness(
            kind="tail",
            r=(str(start),),
            parameters=names(parameters),
            enclosure=((str(c), "oo") if bound.sign > 0 else ("-oo", str(-c)),),
            why=f"{'phi' if bound.sign > 0 else '-phi'} >= {c} on [{start}, oo)",
        )
        key = section_key(tail.branch, tail.section)
        return found, {"tail": {**key, "start": str(bound.start), "rule": bound.rule, "form": bound.form}}
    return None


def unbounded_score(gate: Gate, side: Sign, tail: Tail) -> tuple[Witness, dict[str, object]] | None:
    """A lower-bounded tail at parameters where phi also has an infinite limit."""
    for parameters in parameter_points(gate, side, tail.branch.all_domains):
        phi = tail.score(tail.section.weight).xreplace(dict(parameters))
        found = limit_at_infinity(phi, tail.section.t, {})
        bounded = lower_bounded_tail(gate, side, tail) if found is not None and found[0].infinite else None
        if found is not None and bounded is not None and bounded[0].parameters == names(parameters):
            grown = replace(bounded[0], why=f"|phi| -> oo as r -> oo; {bounded[0].why}")
            return grown, {**bounded[1], "limit": sympy.sstr(found[1])}
    return None


def _first_ratio(tail: Tail, t: Fraction, parameters: Point) -> Rational | None:
    """The r at t, or a slightly larger short rational."""
    exact = tail.ratio.xreplace({tail.section.t: rational(t), **parameters})
    if isinstance(exact, Rational):
        return exact if exact > 0 else None
    upper = compiled(exact)({}).upper
    if not upper.is_finite() or upper > 2**60:
        return None
    mantissa, exponent = (int(part) for part in upper.man_exp())
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


def undefined(gate: Gate, side: Sign, branch: Branch, section: Section, box: Box, expression: Expr) -> Witness | None:
    """A place in the section where the value or the weight is not defined: a pole, or an argument out of range."""
    for parameters in parameter_points(gate, side, branch.all_domains):
        for inner, rule in guards(expression):
            at = inner.xreplace(dict(parameters))
            if at.free_symbols != {section.t}:
                continue
            samples = []
            for t in _grid(section, box, at):
                ratio = ratio_at(branch, section, t, parameters)
                if ratio is None:
                    continue
                try:
                    samples.append((ratio, compiled(at)({section.t: Interval.of(t, t)})))
                except Undefined:
                    continue
            samples.sort(key=lambda sample: sample[0])
            for ratio, range_ in samples:
                is_zero = range_.is_point and range_.lower == 0
                if (rule != "nonzero" and range_.is_negative) or (rule != "nonnegative" and is_zero):
                    what = {
                        "nonzero": "a denominator is 0",
                        "positive": "the argument of a logarithm or power is not positive",
                    }
                    why = what.get(rule, "the argument of a root is negative")
                    return point(ratio, parameters, range_, f"not defined at r = {ratio}: {why}")
            if rule == "nonzero":
                for (low, left), (high, right) in pairwise(samples):
                    if left.is_negative != right.is_negative and not (left.contains_zero or right.contains_zero):
                        return Witness(
                            kind="pair",
                            r=(str(low), str(high)),
                            parameters=names(parameters),
                            enclosure=(shown(left), shown(right)),
                            why=f"a denominator changes its sign between r = {low} and r = {high}: a pole lies between",
                        )
    return None


def _grid(section: Section, box: Box, inner: Expr) -> list[Fraction]:
    """Points to look at: exact zeros, the open box, and a coarse grid over the whole section."""
    whole = Range(section.t_lower, section.t_upper, True, True)
    points = []
    try:
        points += [Fraction(int(e.p), int(e.q)) for e in zeros(inner, section.t) if isinstance(e, Rational)]
    except Unsupported:
        pass
    for range_ in (box[section.t], whole):
        pending = [range_]
        for _ in range(6):
            points += [piece.middle for piece in pending]
            pending = [half for piece in pending for half in piece.halves()]
    return sorted({p for p in points if whole.contains(p)})
