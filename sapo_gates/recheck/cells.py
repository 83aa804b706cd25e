"""Cells of the parameter domain, sections of (0, oo) in each, and what the gate's text says on them and at their ends.

A section is a coordinate: an increasing function r(t) on a range of t that does not depend on the parameters, though
r may. The sections of a cell follow each other without a gap from r = 0, or from below it, to r = oo; where two meet is
a breakpoint, and r = 1 is one. So 1 + t/tau with t in (0, oo) is [1, oo) for every tau, in a coordinate in which a
weight may no longer depend on tau. Inside a section one smooth formula holds: the signs of everything that the corners
of the text switch at are constant there, which is checked.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import sympy
from sympy import Dummy, Expr, Integer, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.errors import RecheckFailed
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Gate, Kind, Parameter
from sapo_gates.recheck.boxes import (
    INFINITE,
    Box,
    Range,
    enclose,
    end,
    everywhere,
    is_defined,
    parts,
    points_of,
    rational,
    require,
    sign_over,
    spans,
    value_at,
)
from sapo_gates.recheck.formulas import CORNERS, assigned, convert, piece, slope
from sapo_gates.recheck.identities import quotient, same, tidy
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, Limit, limit
from sapo_gates.recheck.spans import Undefined, span_of
from sapo_gates.verdict import Sign

STEP = Dummy(positive=True)
MAX_ORDER = 6
LOST = (sympy.log, sympy.tan, sympy.atanh, sympy.lowergamma, sympy.uppergamma)
"""Functions whose derivatives exist in more places, or cancel there: that of atan(tan(r)) is 1."""
Entry = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Section:
    """ratio: r in terms of t; s: 1/t; outward: +1 where t grows away from r = 1, else -1; cell: of the parameters."""

    cell: Box
    outward: int
    t: Symbol
    s: Symbol
    t_range: Range
    ratio: Expr

    @cached_property
    def box(self) -> dict[Symbol, Range]:
        """Of t and of every parameter."""
        return {self.t: self.t_range, **self.cell}

    @cached_property
    def ends(self) -> tuple[Expr, Expr]:
        """r at both ends of t; for one where t is finite."""
        low, high = self.t_range.low, self.t_range.high
        return cast(
            Any,
            tuple(
                sympy.oo if isinstance(at, float) else value_at(self.ratio, self.t, rational(at), self.cell)
                for at in (low, high)
            ),
        )


@dataclass(frozen=True, eq=False)
class Cell:
    """The sections over one box of parameters; one: how many of them lie left of r = 1.

    ends_at_zero: r -> 0 in the first; else it reaches below 0, which is more than is needed.
    """

    parameters: Box
    sections: tuple[Section, ...]
    one: int
    ends_at_zero: bool

    @property
    def breakpoints(self) -> Iterator[tuple[Section, Section]]:
        """The sections on both sides of each."""
        return pairwise(self.sections)

    @property
    def at_one(self) -> tuple[Section, Section]:
        """The sections on both sides of r = 1."""
        return self.sections[self.one - 1], self.sections[self.one]

    def outwards(self, side: int) -> tuple[Section, ...]:
        """The sections from r = 1 to oo (side +1) or to 0 (side -1)."""
        return self.sections[self.one :] if side > 0 else self.sections[self.one - 1 :: -1]


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

    @property
    def declared_kinds(self) -> tuple[Kind, ...]:
        """f and w where f is declared, else w alone."""
        return ("value", "weight") if self.kind == "value" else ("weight",)

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

    def cells(self, tree: Entry) -> Iterator[tuple[Cell, Entry]]:
        """The cells of a tree over the declared domain, each with its entry."""
        for box, entry in parts(tree, self.domain):
            yield self.cell(entry, box), entry

    def cell(self, entry: Entry, box: Box) -> Cell:
        """One of them."""
        named = json.dumps([[shown[key] for key in ("t", "r", "from", "to")] for shown in entry["sections"]])
        return self.once((named, *box.values()), lambda: _cell(self, box, entry["sections"]))

    def on(self, section: Section, quantity: Kind) -> Expr:
        """Value, weight or score weight on a section, in t, from the gate's text."""
        return self.once((section, quantity), lambda: self._on(section, quantity))

    def _on(self, section: Section, quantity: Kind) -> Expr:
        formula = self._piece(self.declared, {r: section.ratio}, section.cell, section.box)
        return substitute(convert(self.kind, formula, quantity), {r: section.ratio})

    def _piece(self, text: Expr, ratio: dict[Symbol, Expr], cell: Box, box: Box) -> Expr:
        """The smooth formula that the text is at the ratio."""
        return piece(text, points_of(cell), lambda switch: sign_over(assigned(switch, ratio), box))

    def value_exists(self, section: Section) -> None:
        """Where f is declared: what its derivative w no longer shows is defined on the section."""
        for node in sympy.preorder_traversal(self.on(section, "value")) if self.kind == "value" else ():
            lost = isinstance(node, LOST) or section.t not in node.free_symbols
            holds = not (lost and _is_operation(node)) or is_defined(cast(Expr, node), section.box)
            require(holds, "the value's {} is not shown to be defined", node)

    def text_at(self, before: Section, quantity: Kind) -> Expr | None:
        """What the text itself says at the section's upper end; None if it declares something else, or no pieces."""
        return self.once((before, "text", quantity), lambda: self._text_at(before, quantity))

    def _text_at(self, before: Section, quantity: Kind) -> Expr | None:
        own = self.kind == quantity or (self.kind, quantity) == ("score", "weight")
        if not own or not self.declared.has(*CORNERS):
            return None
        there = {r: before.ends[1]}
        conditions = [
            condition for piecewise in self.declared.atoms(sympy.Piecewise) for _, condition in piecewise.args
        ]
        for side in {side for one in conditions for relation in one.atoms(Relational) for side in relation.args}:
            formula = self._piece(side, there, before.cell, before.cell)  # no other makes up for a comparison with 1/0
            require(is_defined(assigned(formula, there), before.cell), "{} at {} is no number", side, before.ends[1])
        try:
            formula = self._piece(self.declared, there, before.cell, before.cell)
            found = assigned(convert(self.kind, formula, quantity), there)
        except Undefined:
            return None  # a formula that divides by 0 there, or is chosen by one that does, is filled by its limit
        require(is_defined(found, before.cell), "the text at {} may be undefined", before.ends[1])
        return found

    def derivative(self, section: Section, quantity: Kind, order: int) -> Expr:
        """d^order/dr^order of the quantity on the section, in t."""
        found = self.on(section, quantity)
        for _ in range(order):
            found = slope(found, section.t) / slope(section.ratio, section.t)
        return found

    def limits_at(self, before: Section, after: Section, quantity: Kind, order: int = 0) -> tuple[Expr | Limit, ...]:
        """The one-sided limits at a breakpoint of the quantity, or of its derivative of that order by r."""
        return self._limit(before, -1, quantity, order), self._limit(after, 1, quantity, order)

    def _limit(self, section: Section, inwards: int, quantity: Kind, order: int) -> Expr | Limit:
        end = rational(section.t_range.low if inwards > 0 else section.t_range.high)

        def found() -> Expr | Limit:
            exists_near(section, self.on(section, quantity), end, inwards)
            return limit_at(self.derivative(section, quantity, order), section.t, end, inwards, section.cell)

        return self.once((section, inwards, quantity, order), found)


def _is_operation(node: object) -> bool:
    """What may be undefined; sums and products of what is defined are."""
    return isinstance(node, Pow | sympy.Function)


def exists_near(section: Section, formula: Expr, at: Expr, inwards: int) -> None:
    """Every operation of the formula is defined near that end of the section, for every parameter value.

    A limit is often that of an equal formula, which may be defined where this one is not.

    Raises:
        RecheckFailed: one is not shown to be.
    """
    infinite = {sympy.oo: UP, -sympy.oo: DOWN}.get(at)
    for node in sympy.preorder_traversal(formula):
        if not _is_operation(node) or everywhere(cast(Expr, node), section.box, lambda _: True, 0):
            continue
        near = cast(Expr, node if infinite else substitute(cast(Expr, node), {section.t: at + inwards * STEP}))
        try:
            limit(near, *((section.t, infinite) if infinite else (STEP, ABOVE)), spans(section.cell))
        except Undefined:
            holds = is_defined(cast(Expr, node), section.box)
            if not holds and isinstance(node, Pow) and node.exp.is_Integer:
                holds = has_isolated_zeros(cast(Expr, node.base), section.t, section.box)
            require(holds, "{} is not shown to be defined near r = {}", node, at)


def has_isolated_zeros(formula: Expr, t: Symbol, box: Box) -> bool:
    """Whether one of the formula's first derivatives has no zero on the box."""
    slopes = [formula]
    for _ in range(3):
        slopes.append(slope(slopes[-1], t))
    return any(everywhere(one, box, lambda x: x.is_positive or x.is_negative) for one in slopes)


def limit_at(formula: Expr, t: Symbol, at: Expr, inwards: int, box: Box) -> Expr | Limit:
    """The limit as t -> at from above (inwards = 1) or below: an expression in what is left, or an enclosure.

    Raises:
        RecheckFailed: it is not known.
    """
    for node in sympy.preorder_traversal(formula):  # what no rewriting below may cancel
        if t not in node.free_symbols and _is_operation(node):
            enclose(cast(Expr, node), box)
    with suppress(Undefined):
        return _exactly(formula, t, at, box)
    with suppress(RecheckFailed):
        terms = [limit_at(term, t, at, inwards, box) for term in formula.args if isinstance(formula, sympy.Add)]
        if terms and all(isinstance(term, Expr) for term in terms):
            return sympy.Add(*terms)
    near = substitute(formula, {t: at + inwards * STEP})
    for form in (near, tidy(near)):
        try:
            found = limit(form, STEP, ABOVE, spans(box))
        except Undefined:
            continue
        return Integer(0) if found.is_zero else found
    raise RecheckFailed(f"the limit of {formula} at {t} = {at} is not known")


def _exactly(formula: Expr, t: Symbol, at: Expr, box: Box) -> Expr:
    try:
        return value_at(formula, t, at, box)
    except Undefined:
        return filled(formula, t, at, box)


def filled(formula: Expr, t: Symbol, at: Expr, box: Box) -> Expr:
    """The limit at t = at, where something in the formula is 0/0.

    Where the outermost operation is continuous at the limits of its arguments, it is that of these; else by l'Hopital's
    rule, for a product without the factors whose limits are known.

    Raises:
        Undefined: none is shown.
    """
    arguments = {part: Dummy() for part in formula.args if t in part.free_symbols}
    with suppress(Undefined):
        limits = {symbol: _exactly(cast(Expr, part), t, at, box) for part, symbol in arguments.items()}
        outside = substitute(formula, arguments)
        span_of(outside)({**spans(box), **{symbol: enclose(found, box) for symbol, found in limits.items()}})
        return substitute(outside, limits)
    known: dict[Any, Expr] = {}
    for part in arguments if isinstance(formula, sympy.Mul) else ():
        with suppress(Undefined):
            found = _exactly(cast(Expr, part), t, at, box)
            known |= {} if same(found, Integer(0)) else {part: found}
    if known:
        rest = sympy.Mul(*(part for part in formula.args if part not in known))
        return sympy.Mul(*known.values(), filled(rest, t, at, box))
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


def _cell(branch: Branch, box: Box, entries: Any) -> Cell:
    sections: list[Section] = []
    one = 0
    for entry in entries:
        t_range = Range(end(entry["from"]), end(entry["to"]))
        require(t_range.low < t_range.high, "{} to {} is no range", entry["from"], entry["to"])
        t, s = _coordinates(entry["t"], t_range)
        ratio = branch.read(entry["r"], t)
        section = Section(box, 1 if one else -1, t, s, t_range, ratio)
        increases = is_defined(ratio, section.box) and sign_over(slope(ratio, t), section.box) == 1
        require(increases, "r = {} does not increase", ratio)
        sections.append(section)
        if not one and same(section.ends[1], Integer(1)):
            one = len(sections)
    for before, after in pairwise(sections):
        meet = sympy.oo not in (before.ends[1], after.ends[0]) and same(before.ends[1], after.ends[0])
        require(meet, "r = {} and r = {} do not follow each other", before.ratio, after.ratio)
    require(0 < one < len(sections), "r = 1 is not one of the breakpoints")
    first, last = sections[0], sections[-1]
    if first.t_range.low == -INFINITE:
        low = limit(first.ratio, first.t, DOWN, spans(box))
        ends_at_zero = low.is_zero
        require(ends_at_zero or low == DOWN, "the sections do not start at r = 0")
    else:
        ends_at_zero = first.t_range.low == 0 and same(first.ends[0], Integer(0))
        require(ends_at_zero, "the sections do not start at r = 0")
    reached = last.t_range.high == INFINITE and limit(last.ratio, last.t, UP, spans(box)) == UP
    require(reached, "the sections do not reach r = oo")
    return Cell(box, tuple(sections), one, ends_at_zero)


def _coordinates(name: str, t_range: Range) -> tuple[Symbol, Symbol]:
    """t, and s = 1/t with the sign of t."""
    require(name in ("u_", "t_") or (name == "r" and t_range.low >= 0), "no coordinate is called {!r} here", name)
    sign = "positive" if t_range.low >= 0 else "negative" if t_range.high <= 0 else "real"
    return r if name == "r" else Symbol(name, real=True), Symbol("s_", **{sign: True})
