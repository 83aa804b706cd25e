"""Cells of the parameter domain, sections of (0, oo) in each, and what the gate's text says on them and at their ends.

A section is a coordinate: an increasing function r(t) on a range of t that does not depend on the parameters, though
r may. The sections of a cell follow each other without a gap from r = 0, or from below it, to r = oo; where two meet is
a breakpoint, and r = 1 is one. So 1 + t/tau with t in (0, oo) is [1, oo) for every tau, in a coordinate in which a
weight may no longer depend on tau. Inside a section one smooth formula holds: the signs of everything that the corners
of the text switch at are constant there, which is checked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import pairwise
from typing import Any, TypeVar, cast

import sympy
from sympy import Expr, Integer, Symbol
from sympy.core.relational import Relational

from sapo_gates.expression import parse_expression
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Gate, Kind, Parameter
from sapo_gates.gatefile import parse_gate
from sapo_gates.recheck.boxes import (
    Box,
    Range,
    end,
    is_defined,
    parts,
    points_of,
    require,
    sign_over,
    spans,
    value_at,
)
from sapo_gates.recheck.formulas import CORNERS, assigned, convert, lost, operations, piece, slope
from sapo_gates.recheck.identities import same
from sapo_gates.recheck.limits import DOWN, UP, Limit, limit
from sapo_gates.recheck.onesided import exists_near, is_harmless, limit_at
from sapo_gates.recheck.spans import Undefined
from sapo_gates.verdict import Sign

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
    def ends(self) -> tuple[Any, Any]:
        """r at both ends of t; oo for an end where t is infinite, whatever r is there."""
        low, high = (
            value_at(self.ratio, self.t, at, self.cell) if at.is_finite else sympy.oo
            for at in (self.t_range.low, self.t_range.high)
        )
        return low, high


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


@dataclass(frozen=True)
class Reading:
    """Where a text is read: the ratio, in t and the parameters, over a box of them."""

    ratio: dict[Symbol, Expr]
    box: Box
    t: Symbol

    def piece(self, text: Expr) -> Expr:
        """The smooth formula in r that the text is there; what vanishes from it at the ratio has to exist too."""
        found = piece(text, {**points_of(self.box), z: sympy.log(r)}, self)
        for node in lost(found, self.ratio, assigned(found, self.ratio)):
            self._exists(node)
        return found

    def sign(self, formula: Expr) -> int:
        """The sign that a formula in r has there."""
        return sign_over(assigned(formula, self.ratio), self.box)

    def exists(self, operation: Expr) -> None:
        """RecheckFailed unless an operation in r is shown to be defined there, but at isolated t."""
        self._exists(assigned(operation, self.ratio))

    def _exists(self, operation: Expr) -> None:
        require(is_harmless(operation, self.t, self.box), "{} is not shown to be defined", operation)


Question = TypeVar("Question", bound=Callable[..., Any])


def once(make: Question) -> Question:
    """A method of a branch that answers the same question but once."""

    @wraps(make)
    def answer(branch: "Branch", *question: Any) -> Any:
        key = make.__name__, *question
        if key not in branch.known:
            branch.known[key] = make(branch, *question)
        return branch.known[key]

    return cast(Question, answer)


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
        """In r and z = log r."""
        return self.gate.declared(self.sign)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """By name; those the branch depends on."""
        return {p.name: p for p in self.gate.parameters_for(self.sign)}

    @cached_property
    def domain(self) -> dict[Symbol, Range]:
        """The declared domain of every parameter."""
        return {p: Range.of(p.domain) for p in self.parameters.values()}

    @once
    def read(self, text: object, *others: Symbol) -> Expr:
        """A formula of the certificate, in the parameters and the other symbols."""
        require(isinstance(text, str), "{!r} is not a formula", text)
        names = {**self.parameters, **{str(other): other for other in others}}
        found = parse_expression(str(text), names)
        require(found.free_symbols <= {*self.parameters.values(), *others}, "{} holds a symbol it cannot", text)
        return found

    @once
    def part(self, text: str) -> "Branch":
        """Another gate, of which the formula may be a share."""
        return Branch(parse_gate(text), self.sign)

    def cells(self, tree: Entry) -> Iterator[tuple[Cell, Entry]]:
        """The cells of a tree over the declared domain, each with its entry."""
        for box, entry in parts(tree, self.domain):
            yield self.cell(entry, box), entry

    def cell(self, entry: Entry, box: Box) -> Cell:
        """One of them."""
        return self.cell_of(
            tuple(box.items()), *((one["t"], one["r"], one["from"], one["to"]) for one in entry["sections"])
        )

    @once
    def cell_of(self, box: Any, *sections: tuple[str, str, str, str]) -> Cell:
        """The cell with these sections, each by t, r in t, and the ends of t; what is no cell is refused."""
        return _cell(self, dict(box), sections)

    @once
    def on(self, section: Section, quantity: Kind) -> Expr:
        """Value, weight or score weight on a section, in t, from the gate's text."""
        formula = Reading({r: section.ratio}, section.box, section.t).piece(self.declared)
        return substitute(convert(self.kind, formula, quantity), {r: section.ratio})

    @once
    def value_exists(self, section: Section) -> None:
        """Where f is declared: its derivative w may exist where it does not, or jumps, as that of asin(r) + acos(r)."""
        for node in operations(self.on(section, "value")) if self.kind == "value" else ():
            holds = is_harmless(node, section.t, section.box)
            require(holds, "the value's {} is not shown to be defined", node)

    @once
    def text_at(self, before: Section, quantity: Kind) -> Expr | None:
        """What the text itself says at the section's upper end; None if it declares something else, or no pieces."""
        own = self.kind == quantity or (self.kind, quantity) == ("score", "weight")
        if not own or not self.declared.has(*CORNERS):
            return None
        there, at = {r: before.ends[1]}, Reading({r: before.ends[1]}, before.cell, r)
        for side in {side for relation in self.declared.atoms(Relational) for side in relation.args}:
            formula = at.piece(side)  # no other makes up for a comparison with 1/0
            require(is_defined(assigned(formula, there), before.cell), "{} at {} is no number", side, before.ends[1])
        try:
            found = assigned(convert(self.kind, at.piece(self.declared), quantity), there)
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
        return self.limit_in(before, -1, quantity, order), self.limit_in(after, 1, quantity, order)

    @once
    def limit_in(self, section: Section, inwards: int, quantity: Kind, order: int) -> Expr | Limit:
        """The same at the section's lower end (inwards = 1) or upper end."""
        end = section.t_range.low if inwards > 0 else section.t_range.high
        exists_near(self.on(section, quantity), section.t, end, inwards, section.box)
        return limit_at(self.derivative(section, quantity, order), section.t, end, inwards, section.cell)


def _cell(branch: Branch, box: Box, entries: Iterable[tuple[str, str, str, str]]) -> Cell:
    sections: list[Section] = []
    one = 0
    for name, formula, low, high in entries:
        t_range = Range(end(low), end(high))
        require(t_range.low < t_range.high, "{} to {} is no range", low, high)
        t, s = _coordinates(name, t_range)
        ratio = branch.read(formula, t)
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
    if first.t_range.low.is_finite:
        starts = ends_at_zero = first.t_range.low == 0 and same(first.ends[0], Integer(0))
    else:
        low = limit(first.ratio, first.t, DOWN, spans(box))
        starts, ends_at_zero = low.is_zero or low == DOWN, low.is_zero
    require(starts, "the sections do not start at r = 0")
    reached = last.t_range.high == sympy.oo and limit(last.ratio, last.t, UP, spans(box)) == UP
    require(reached, "the sections do not reach r = oo")
    return Cell(box, tuple(sections), one, ends_at_zero)


def _coordinates(name: str, t_range: Range) -> tuple[Symbol, Symbol]:
    """t, and s = 1/t with the sign of t."""
    require(name in ("u_", "t_") or (name == "r" and t_range.low >= 0), "no coordinate is called {!r} here", name)
    sign = "positive" if t_range.low >= 0 else "negative" if t_range.high <= 0 else "real"
    return r if name == "r" else Symbol(name, real=True), Symbol("s_", **{sign: True})
