"""Sections of a gate: read from a certificate, placed and covered exactly, and the weight there from the gate's text.

Charts: `ratio` x = r; `scaled` x = tau (r - 1); `log-scaled` x = tau log r, for a parameter tau > 0. A section is the
part of a chart between two ends, with a coordinate t in which it has a constant range.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import sympy
from sympy import Expr, Rational, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Domain, Gate, Kind, Parameter
from sapo_gates.recheck.algebra import (
    INFINITE,
    Bound,
    Range,
    bound,
    convert,
    filled,
    piece,
    plain,
    same,
    sign_over,
    value_at_end,
)
from sapo_gates.recheck.limits import ABOVE, Limit, limit
from sapo_gates.recheck.spans import Undefined
from sapo_gates.verdict import Sign

S, T, U = Symbol("s_", positive=True), Symbol("t_", real=True), Symbol("u_", real=True)
BEYOND = Symbol("s_", negative=True)
NUMBER = re.compile(r"-?\d{1,4000}(/\d{1,4000})?")


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
    return {"oo": float("inf"), "-oo": float("-inf")}.get(str(text)) or fraction(text)


@dataclass(frozen=True)
class Section:
    """ratio: r in terms of t. outward: +1 where t grows away from r = 1, else -1. cell: the parameters' ranges."""

    chart: str
    eliminates: Parameter | None
    cell: tuple[tuple[Parameter, Range], ...]
    lower: Expr
    upper: Expr
    outward: int
    t: Symbol
    t_range: Range
    ratio: Expr

    @property
    def place(self) -> tuple[object, ...]:
        """Which chart and which cell it belongs to."""
        return self.chart, self.eliminates, self.cell

    @cached_property
    def ranges(self) -> dict[Symbol, Range]:
        """Of t and of every parameter."""
        return {self.t: self.t_range, **dict(self.cell)}

    @property
    def on_policy(self) -> Expr:
        """r = 1 in the chart."""
        return Rational(1) if self.chart == "ratio" else Rational(0)


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
        """In r, corners spelled out."""
        return plain(self.gate.declared(self.sign))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """By name; those the branch depends on."""
        found = {p.name: p for p in self.gate.parameters_for(self.sign)}
        require(
            not {"s_", "t_", "u_"} & set(found), "a parameter is named s_, t_ or u_, which certificates use themselves"
        )
        return found

    @cached_property
    def domain(self) -> dict[Parameter, Range]:
        """The declared domain of every parameter."""
        return {p: Range.of(p.domain) for p in self.parameters.values()}

    def read(self, text: object, *others: Symbol) -> Expr:
        """A formula of the certificate, in the parameters and the other symbols."""
        require(isinstance(text, str), "{!r} is not a formula", text)
        if (text, others) in self.known:
            return self.known[text, others]
        names = {**self.parameters, **{str(o): o for o in others}, "E": sympy.E}
        found = parse_expression(str(text), names)
        require(found.free_symbols <= {*self.parameters.values(), *others}, "{} holds a symbol it cannot", text)
        self.known[text, others] = found
        return found

    def quantity(self, section: Section, quantity: Kind) -> Expr:
        """Value, weight or score weight on the section, in t, derived from the gate's text."""
        key = section, quantity
        if key not in self.known:
            if (section, "piece") not in self.known:
                self.known[section, "piece"] = piece(
                    self.declared, lambda switch: sign_over(substitute(switch, {r: section.ratio}), section.ranges)
                )
            formula = convert(self.kind, self.known[section, "piece"], quantity)
            self.known[key] = substitute(formula, {r: section.ratio})
        return self.known[key]

    def one_sided(self, section: Section, at_upper: bool, quantity: Kind) -> Expr | Limit:
        """The limit at an end of the section from inside: an expression in the parameters, or enclosed."""
        key = section, at_upper, quantity
        if key not in self.known:
            self.known[key] = self._one_sided(section, at_upper, quantity)
        return self.known[key]

    def _one_sided(self, section: Section, at_upper: bool, quantity: Kind) -> Expr | Limit:
        end = section.t_range.high if at_upper else section.t_range.low
        assert isinstance(end, Fraction)
        at, cell = Rational(end.numerator, end.denominator), dict(section.cell)
        formula = self.quantity(section, quantity)
        for exactly in (value_at_end, filled):
            try:
                return exactly(formula, section.t, at, cell)
            except Undefined:
                pass
        near = substitute(formula, {section.t: at - S if at_upper else at + S})
        factored = cast(Expr, near.replace(lambda e: e.is_Add, sympy.factor))
        for form in (near, factored):
            try:
                found = limit(form, S, ABOVE, {p: one.span for p, one in cell.items()})
            except Undefined:
                continue
            return sympy.Integer(0) if found.is_zero else found
        raise RecheckFailed(f"the limit of {formula} at {section.t} = {at} is not known")

    def at_end(self, section: Section, quantity: Kind) -> Expr | None:
        """What the text itself says at the section's upper end; None if it declares something else, or no pieces."""
        if self.kind not in (quantity, "score" if quantity == "weight" else quantity) or not self.declared.has(
            sympy.Piecewise
        ):
            return None
        end = section.t_range.high
        assert isinstance(end, Fraction)
        there = {r: substitute(section.ratio, {section.t: Rational(end.numerator, end.denominator)})}
        formula = piece(self.declared, lambda switch: sign_over(substitute(switch, there), dict(section.cell)))
        found = substitute(convert(self.kind, formula, quantity), there)
        return None if found.has(*INFINITE) else found  # a formula that divides by 0 there is filled by its limit


def read_section(branch: Branch, entry: Mapping[str, Any]) -> Section:
    """The section that an entry of the certificate names; every field is checked against the others."""
    fields = ("chart", "eliminates", "domains", "lower", "upper", "side", "t", "position")
    key = json.dumps([entry[field] for field in fields], sort_keys=True)
    if key not in branch.known:
        branch.known[key] = _read_section(branch, entry)
    return branch.known[key]


def _read_section(branch: Branch, entry: Mapping[str, Any]) -> Section:
    chart, eliminates = entry["chart"], entry["eliminates"]
    require(chart in ("ratio", "scaled", "log-scaled"), "no chart {!r}", chart)
    require((eliminates is None) == (chart == "ratio"), "the chart {} eliminates {}", chart, eliminates)
    require(set(entry["domains"]) == set(branch.parameters), "a section's parameters are not the gate's")
    cell = tuple((p, Range.of(Domain.parse(entry["domains"][name]))) for name, p in branch.parameters.items())
    tau = None
    if eliminates is not None:
        require(eliminates in branch.parameters, "no parameter {}", eliminates)
        tau = branch.parameters[eliminates]
        least = dict(cell)[tau]
        require(least.low >= 0 and not (least.low == 0 and least.low_in), "{} > 0 does not hold", tau)
    section = make_section(branch, chart, tau, cell, entry["lower"], entry["upper"], entry["t"])
    position = branch.read(entry["position"], r, section.t, U)
    x = r if chart == "ratio" else U
    stated = _ratio(chart, tau, position)
    require(same(stated, section.ratio), "the position {} does not map {} onto {}", entry["position"], section.t, x)
    require(
        entry["side"] == ("right" if section.outward > 0 else "left"), "the section is not on the {}", entry["side"]
    )
    return section


def make_section(
    branch: Branch, chart: str, tau: Parameter | None, cell: Any, lower_text: str, upper_text: str, t_name: str = "t_"
) -> Section:
    """The section of a chart between two ends, in the coordinate asked for."""
    lower, upper = (
        {"-oo": -sympy.oo, "oo": sympy.oo}.get(text) or branch.read(text) for text in (lower_text, upper_text)
    )
    require(tau not in lower.free_symbols | upper.free_symbols, "an end of the section depends on {}", tau)
    ranges = dict(cell)
    first, x = (Rational(0), r) if chart == "ratio" else (-sympy.oo, U)
    one = Rational(1) if chart == "ratio" else Rational(0)
    if upper is not sympy.oo and lower is not -sympy.oo:
        require(sign_over(upper - lower, ranges) > 0, "{} < {} does not hold", lower, upper)
    require(upper is not -sympy.oo and lower is not sympy.oo, "a section ends where it begins")
    if first == 0:
        require(lower is not -sympy.oo and sign_over(lower, ranges) >= 0, "{} >= 0 does not hold", lower)
    right = lower is not -sympy.oo and sign_over(lower - one, ranges) >= 0
    require(right or (upper is not sympy.oo and sign_over(upper - one, ranges) <= 0), "r = 1 is inside a section")
    numbers = all(end.is_infinite or isinstance(end, Rational) for end in (lower, upper))
    if t_name == str(x):
        require(numbers, "the ends of {} are not numbers", x)
        t, position, t_range = x, x, Range(bound(lower), bound(upper))
    else:
        require(t_name == "t_", "no coordinate {!r}", t_name)
        t = T
        if upper is sympy.oo:
            require(lower is not -sympy.oo, "r = 1 is inside a section")
            position, t_range = lower + T, Range(Fraction(0), float("inf"))
        elif lower is -sympy.oo:
            position, t_range = upper + T, Range(float("-inf"), Fraction(0))
        else:
            position, t_range = lower + T * (upper - lower), Range(Fraction(0), Fraction(1))
    return Section(chart, tau, cell, lower, upper, 1 if right else -1, t, t_range, _ratio(chart, tau, position))


def _ratio(chart: str, tau: Parameter | None, x: Expr) -> Expr:
    if tau is None:
        return x
    return 1 + x / tau if chart == "scaled" else sympy.exp(x / tau)


Structure = dict[tuple[object, ...], list[Section]]


def structure_of(branch: Branch, sections: Iterable[Section]) -> Structure:
    """The sections by cell; in each they follow each other from end to end, and the cells cover the declared domain."""
    found: Structure = {}
    for section in sections:
        found.setdefault(section.place, []).append(section)
    for chain in found.values():
        first = Rational(0) if chain[0].chart == "ratio" else -sympy.oo
        require(chain[0].lower == first and chain[-1].upper is sympy.oo, "the sections do not reach both ends")
        for before, after in pairwise(chain):
            require(before.upper == after.lower, "there is a gap between {} and {}", before.upper, after.lower)
        require(any(section.lower == section.on_policy for section in chain), "r = 1 is not an end of a section")
    covers_cells(branch, found)
    return found


def covers_cells(branch: Branch, cells: Iterable[tuple[object, ...]]) -> None:
    """The cells are parts of the declared domain that leave nothing out, their open and closed ends included."""
    order = list(branch.domain)
    boxes = [[dict(cast(Any, place[2]))[p] for p in order] for place in cells]
    require(partitions(boxes, [branch.domain[p] for p in order], points=True), "the cells are not the declared domain")


def partitions(boxes: Sequence[Sequence[Range]], whole: Sequence[Range], *, points: bool) -> bool:
    """Whether every point of the whole lies in exactly one box, and no box sticks out.

    points=False leaves out common faces: boxes are then read as closed, and neighbours may share their ends.
    """
    if not whole:
        return len(boxes) == 1
    first, rest = whole[0], whole[1:]
    ends = sorted({e for box in boxes for e in (box[0].low, box[0].high)} | {first.low, first.high})
    if not boxes or ends[0] != first.low or ends[-1] != first.high:
        return False
    at = {end: index for index, end in enumerate(ends)}
    starting: list[list[Sequence[Range]]] = [[] for _ in ends]
    for box in boxes:
        starting[at[box[0].low]].append(box)
    active: list[Sequence[Range]] = []
    for index, end in enumerate(ends):
        ended = [box for box in active if box[0].high == end]
        through = [box for box in active if box[0].high != end]
        if not isinstance(end, float) and (points or first.low == first.high):
            new = [b for b in starting[index] if b[0].low_in and (b[0].high > end or b[0].high_in)]
            here = [b[1:] for b in (*through, *(b for b in ended if b[0].high_in), *new)]
            inside = (end > first.low or first.low_in) and (end < first.high or first.high_in)
            if not (partitions(here, rest, points=points) if inside else not here):
                return False
        active = through + [box for box in starting[index] if box[0].high > end]
        if index + 1 < len(ends) and not partitions([box[1:] for box in active], rest, points=points):
            return False
    return not active
