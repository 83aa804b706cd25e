"""Cells of the parameter domain, sections of (0, oo) in each, and what the gate's text says on them and at their ends.

A cell is a box of parameters with breakpoints in a chart x of (0, oo): `ratio` x = r; `scaled` x = tau (r - 1);
`log-scaled` x = tau log r, for a parameter tau > 0. In the scaled chart x runs over all reals, which is more than r > 0
needs. Between neighbouring breakpoints, of which r = 1 is one, lie the sections, each with a coordinate t of constant
range, so that sections whose ends move with a parameter are boxes too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import sympy
from sympy import Dummy, Expr, Integer, Pow, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Domain, Gate, Kind, Parameter
from sapo_gates.recheck.boxes import (
    INFINITE,
    Bound,
    Range,
    bound,
    covers,
    enclose,
    points_of,
    rational,
    sign_over,
    spans,
)
from sapo_gates.recheck.formulas import CORNERS, convert, pieces, slope
from sapo_gates.recheck.identities import quotient, same, tidy
from sapo_gates.recheck.limits import ABOVE, Limit, limit
from sapo_gates.recheck.spans import Undefined, span_of
from sapo_gates.verdict import Sign

S, T, U = Symbol("s_", positive=True), Symbol("t_", real=True), Symbol("u_", real=True)
BEYOND = Symbol("s_", negative=True)
NUMBER = re.compile(r"-?\d{1,4000}(/\d{1,4000})?")
MAX_ORDER = 6
NOT_FINITE = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.AccumBounds)


def require(holds: object, says: str, *about: object) -> None:
    """RecheckFailed unless it holds; formulas are printed only then, which takes its time."""
    if not holds:
        raise RecheckFailed(says.format(*about) if about else says)


def fraction(text: object) -> Fraction:
    """An exact rational as certificates spell it."""
    require(isinstance(text, str) and NUMBER.fullmatch(text), "{!r} is not a rational number", text)
    return Fraction(str(text))


def end_of_range(text: object) -> Bound:
    """The same, or an infinity."""
    return {"oo": INFINITE, "-oo": -INFINITE}.get(str(text)) or fraction(text)


@dataclass(frozen=True, eq=False)
class Section:
    """ratio: r in terms of t. outward: +1 where t grows away from r = 1, else -1. cell: ranges of the parameters."""

    eliminates: Parameter | None
    cell: Mapping[Symbol, Range]
    lower: Expr
    upper: Expr
    outward: int
    touches_one: bool
    t: Symbol
    t_range: Range
    ratio: Expr

    @cached_property
    def box(self) -> dict[Symbol, Range]:
        """Of t and of every parameter."""
        return {self.t: self.t_range, **self.cell}


@dataclass(frozen=True, eq=False)
class Cell:
    """The sections from r = 0 to r = oo over one box of parameters; one: how many of them lie left of r = 1."""

    chart: str
    parameters: Mapping[Symbol, Range]
    sections: tuple[Section, ...]
    one: int

    @property
    def breakpoints(self) -> Iterator[tuple[Section, Section]]:
        """The sections on both sides of each."""
        return pairwise(self.sections)

    @property
    def at_one(self) -> tuple[Section, Section]:
        """The sections on both sides of r = 1."""
        return self.sections[self.one - 1], self.sections[self.one]


@dataclass
class Branch:
    """One sign of A: the declared formula, its parameters, and what was derived from it so far.

    known may be shared between both signs where they share the formula.
    """

    gate: Gate
    sign: Sign
    known: dict[object, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What is declared."""
        return self.gate.kind

    @cached_property
    def declared(self) -> Expr:
        """In r."""
        return substitute(self.gate.declared(self.sign), {z: sympy.log(r)})

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """By name; those the branch depends on."""
        return {p.name: p for p in self.gate.parameters_for(self.sign)}

    @cached_property
    def domain(self) -> dict[Symbol, Range]:
        """The declared domain of every parameter."""
        return {p: Range.of(p.domain) for p in self.parameters.values()}

    def once(self, key: object, make: Any) -> Any:
        """What make() gives, made when first asked for."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def read(self, text: object, *others: Symbol) -> Expr:
        """A formula of the certificate, in the parameters and the other symbols."""
        require(isinstance(text, str), "{!r} is not a formula", text)
        names = {**self.parameters, **{str(other): other for other in others}, "E": sympy.E}
        found = self.once((text, others), lambda: parse_expression(str(text), names))
        require(found.free_symbols <= {*self.parameters.values(), *others}, "{} holds a symbol it cannot", text)
        return found

    def cells(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[Cell, Mapping[str, Any]]]:
        """The cells that entries of the certificate name, each with its entry; they are the declared domain."""
        found = [self.cell(entry) for entry in entries]
        boxes = [[cell.parameters[p] for p in self.domain] for cell in found]
        require(covers(boxes, list(self.domain.values())), "the cells are not the declared domain")
        return list(zip(found, entries, strict=True))

    def cell(self, entry: Mapping[str, Any]) -> Cell:
        """One of them."""
        named = [entry[key] for key in ("chart", "eliminates", "domains", "breakpoints")]
        return self.once(json.dumps(named, sort_keys=True), lambda: _cell(self, *named))

    def on(self, section: Section, quantity: Kind) -> Expr:
        """Value, weight or score weight on a section, in t, from the gate's text."""
        return self.once((section, quantity), lambda: self._on(section, quantity))

    def _on(self, section: Section, quantity: Kind) -> Expr:
        declared = substitute(self.declared, points_of(section.cell))
        (formula, *others) = pieces(
            declared, lambda switch: [sign_over(substitute(switch, {r: section.ratio}), section.box)]
        )
        require(not others, "which piece holds is not certain")
        return substitute(convert(self.kind, formula, quantity), {r: section.ratio})

    def text_at(self, before: Section, quantity: Kind) -> Expr | None:
        """What the text itself says at the section's upper end; None if it declares something else, or no pieces."""
        return self.once((before, "text", quantity), lambda: self._text_at(before, quantity))

    def _text_at(self, before: Section, quantity: Kind) -> Expr | None:
        own = self.kind == quantity or (self.kind, quantity) == ("score", "weight")
        if not own or not self.declared.has(*CORNERS):
            return None
        there = {r: substitute(before.ratio, {before.t: rational(before.t_range.high)})}
        declared = substitute(self.declared, points_of(before.cell))
        (formula, *_) = pieces(declared, lambda switch: [sign_over(substitute(switch, there), before.cell)])
        found = substitute(convert(self.kind, formula, quantity), there)
        return None if found.has(*NOT_FINITE) else found  # a formula that divides by 0 there is filled by its limit

    def limits_at(self, before: Section, after: Section, quantity: Kind, order: int = 0) -> tuple[Expr | Limit, ...]:
        """The one-sided limits at a breakpoint of the quantity, or of its derivative of that order by r."""
        sides = ((before, before.t_range.high), (after, after.t_range.low))
        return tuple(
            self.once((section, end, quantity, order), lambda s=section, e=end: self._limit(s, e, quantity, order))  # type: ignore[misc]
            for section, end in sides
        )

    def derivative(self, section: Section, quantity: Kind, order: int) -> Expr:
        """d^order/dr^order of the quantity on the section, in t."""
        found = self.on(section, quantity)
        for _ in range(order):
            found = slope(found, section.t) / slope(section.ratio, section.t)
        return found

    def _limit(self, section: Section, end: Fraction, quantity: Kind, order: int) -> Expr | Limit:
        at, inwards = rational(end), S if end == section.t_range.low else -S
        return limit_at(self.derivative(section, quantity, order), section.t, at, inwards, section.cell)


def limit_at(formula: Expr, t: Symbol, at: Rational, inwards: Expr, box: Mapping[Symbol, Range]) -> Expr | Limit:
    """The limit as t -> at from the side named: an expression in what is left, or an enclosure.

    Raises:
        RecheckFailed: it is not known.
    """
    for node in sympy.preorder_traversal(formula):  # what no rewriting below may cancel
        if t not in node.free_symbols and isinstance(node, Pow | sympy.Function):
            enclose(cast(Expr, node), box)
    with suppress(Undefined):
        return _exactly(formula, t, at, box)
    near = substitute(formula, {t: at + inwards})
    for form in (near, tidy(near)):
        try:
            found = limit(form, S, ABOVE, spans(box))
        except Undefined:
            continue
        return Integer(0) if found.is_zero else found
    raise RecheckFailed(f"the limit of {formula} at {t} = {at} is not known")


def _exactly(formula: Expr, t: Symbol, at: Expr, box: Mapping[Symbol, Range]) -> Expr:
    try:
        return value_at(formula, t, at, box)
    except Undefined:
        return filled(formula, t, at, box)


def filled(formula: Expr, t: Symbol, at: Expr, box: Mapping[Symbol, Range]) -> Expr:
    """The limit at t = at, where something in the formula is 0/0.

    Where the outermost operation is continuous at the limits of its arguments, it is that of these; else by l'Hopital's
    rule.

    Raises:
        Undefined: none is shown.
    """
    parts = {part: Dummy() for part in formula.args if t in part.free_symbols}
    with suppress(Undefined):
        limits = {symbol: _exactly(cast(Expr, part), t, at, box) for part, symbol in parts.items()}
        outside = substitute(formula, parts)
        span_of(outside)({**spans(box), **{symbol: enclose(found, box) for symbol, found in limits.items()}})
        return substitute(outside, limits)
    top, bottom = quotient(formula)
    for _ in range(MAX_ORDER):
        above, below = (value_at(part, t, at, box) for part in (top, bottom))
        if not same(below, Integer(0)):
            span = enclose(below, box)
            if span.is_positive or span.is_negative:
                return above / below
            break
        if not same(above, Integer(0)):
            break
        top, bottom = slope(top, t), slope(bottom, t)
    raise Undefined(f"{formula} at {t} = {at}")


def value_at(formula: Expr, t: Symbol, at: Expr, box: Mapping[Symbol, Range]) -> Expr:
    """The formula at t = at, which is its limit there: every operation in it is defined and continuous at that point.

    Raises:
        Undefined: one is not.
    """
    for node in sympy.preorder_traversal(formula):
        if isinstance(node, Pow | sympy.Function):  # sums and products of what is defined are
            there: Any = substitute(cast(Expr, node), {t: at})
            if there.has(*NOT_FINITE):
                raise Undefined(f"{node} at {t} = {at}")
            enclose(there, box)
            if isinstance(node, Pow) and not node.exp.is_number:  # SymPy takes 0^0 for 1
                base, exponent = (enclose(substitute(cast(Expr, part), {t: at}), box) for part in node.args)
                if not (base.is_positive or (base.low >= 0 and exponent.is_positive)):
                    raise Undefined(f"{node} at {t} = {at}")
    return substitute(formula, {t: at})


def _cell(branch: Branch, chart: Any, eliminates: Any, domains: Any, breakpoints: Any) -> Cell:
    require(chart in ("ratio", "scaled", "log-scaled"), "no chart {!r}", chart)
    require((eliminates is None) == (chart == "ratio"), "the chart {} eliminates {}", chart, eliminates)
    require(set(domains) == set(branch.parameters), "a cell's parameters are not the gate's")
    box: dict[Symbol, Range] = {p: Range.of(Domain.parse(domains[name])) for name, p in branch.parameters.items()}
    tau = None if eliminates is None else branch.parameters.get(eliminates)
    if eliminates is not None:
        require(tau is not None, "no parameter {}", eliminates)
        require(box[tau].span.is_positive, "{} > 0 does not hold", tau)  # type: ignore[index]
    x, one, first = (r, Integer(1), Integer(0)) if tau is None else (U, Integer(0), -sympy.oo)
    inner = [branch.read(text) for text in breakpoints]
    require(inner.count(one) == 1, "r = 1 is not one of the breakpoints")
    require(not any(tau in end.free_symbols for end in inner), "a breakpoint depends on {}", tau)
    ends = [first, *inner, sympy.oo]
    sections = []
    for index, (lower, upper) in enumerate(pairwise(ends)):
        require(
            not (lower.is_finite and upper.is_finite) or sign_over(upper - lower, box) > 0,
            "{} < {} does not hold",
            lower,
            upper,
        )
        t, position, t_range = _coordinate(x, lower, upper)
        ratio = position if chart == "ratio" else 1 + position / tau if chart == "scaled" else sympy.exp(position / tau)
        outward = 1 if index > inner.index(one) else -1
        sections.append(Section(tau, box, lower, upper, outward, one in (lower, upper), t, t_range, ratio))
    return Cell(chart, box, tuple(sections), inner.index(one) + 1)


def _coordinate(x: Symbol, lower: Expr, upper: Expr) -> tuple[Symbol, Expr, Range]:
    """t, x(t) and the range of t: x itself between numbers that binary fractions are, else measured from an end."""
    if all(end.is_infinite or (isinstance(end, Rational) and end.q & (end.q - 1) == 0) for end in (lower, upper)):
        return x, x, Range(bound(lower), bound(upper))
    if upper is sympy.oo:
        return T, lower + T, Range(Fraction(0), INFINITE)
    if lower is -sympy.oo:
        return T, upper + T, Range(-INFINITE, Fraction(0))
    return T, lower + T * (upper - lower), Range(Fraction(0), Fraction(1))
