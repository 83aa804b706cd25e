"""Does the formula exist at every ratio and every parameter value? An obligation beneath all others.

A proof speaks of whichever equal spelling of the formula is enclosed best, and equal spellings agree only where both
exist: (tau*r - r)/(tau - 1) is r, but for tau = 1. So every operation in the text itself has to be defined for every
parameter value, at all but isolated ratios; those the text fills by its limit, which is the other spelling's value.
A function of what is divided by 0 there may jump instead, as atan(sin(r)/cos(r)) does, whose slope is 1: it has to be
defined at those ratios too.
The text is that of a piece: where a corner is 0 its product is 0, whatever the other factors are there, so that
Max(0, r - 9)*log(r - 8) is a gate's term for every r > 0. `recheck` and exported functions read it so too.

The zeros of a denominator D are isolated where D, D', ... are not all 0 at one t of the section: D is analytic in t
wherever the operations inside it are defined, and then does not vanish identically.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, cast

import sympy
from sympy import Expr, Pow, Symbol

from sapo_gates.derive import derivative
from sapo_gates.errors import GateTextError
from sapo_gates.functions import r, sigmoid, substitute
from sapo_gates.gate import Gate
from sapo_gates.prove.boxes import Box, Budget, Closed, Range, Rule, cover
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.corners import check_digits, switches_of, zeros
from sapo_gates.prove.forms import forms_of, tamed
from sapo_gates.prove.interval import Interval, NowhereDefined, Undefined
from sapo_gates.prove.points import Point, parameter_points
from sapo_gates.prove.sections import Branch, Section
from sapo_gates.prove.signs import SectionProver, enclosure_of
from sapo_gates.verdict import Sign

FEW, MANY = 20, 400  # boxes
MAX_ORDER = 3  # of the derivatives of a denominator
ENTIRE = (
    *(sympy.exp, sympy.tanh, sympy.sech, sympy.sinh, sympy.cosh, sympy.asinh, sympy.atan, sympy.sin, sympy.cos),
    *(sympy.erf, sympy.erfc, sympy.erfi, sigmoid),
)
"""Functions that are defined, and analytic, at every real number."""


@dataclass(frozen=True)
class Missing:
    """An operation that is not shown to exist everywhere on its section."""

    branch: Branch
    section: Section
    operation: Expr
    box: Box

    def refuse(self, gate: Gate, side: Sign) -> None:
        """Look for a parameter value at which it does not exist, whatever the ratio.

        Raises:
            GateTextError: there is one.
        """
        points = [parameter_points(gate, side, self.branch.all_domains, box) for box in (None, self.box)]
        for point in chain(self._zeros(), *points):
            if not (self._is_missing_at(point) and self._is_on_ratios(point)):
                continue
            known = {gate.parameter(str(p)): value for p, value in point.items() if p in self.operation.free_symbols}
            where = ", ".join(f"{p} = {value}" for p, value in known.items())
            domain = " x ".join(str(p.domain) for p in known)
            at = f"at {where}, a value of its domain {domain}" if known else "at every ratio"
            divides = isinstance(self.operation, Pow) and self.section.t in self.operation.free_symbols
            what = "it divides by 0 at every r" if divides else f"{self.operation} is no real number"
            cure = "narrow the domain, or change the formula" if known else "change the formula"
            raise GateTextError(f"gate {gate.name!r} does not exist {at}: {what}; {cure}.")

    def _is_missing_at(self, point: Point) -> bool:
        try:
            check_digits(self.operation, point)
            there: Any = substitute(self.operation, point)
            if there.has(sympy.nan, sympy.zoo) or there.is_extended_real is False:
                return True
            enclosure_of(there)({})
        except NowhereDefined:
            return True
        except (Undefined, Unsupported, KeyError):
            pass
        return False

    def _zeros(self) -> Iterator[Point]:
        """Where a denominator is 0, as far as that is up to one parameter."""
        denominator = tamed(sympy.factor, getattr(self.operation, "base", sympy.Integer(1)))
        for factor in sympy.Mul.make_args(denominator):
            for p, domain in self.branch.all_domains.items():
                if factor.free_symbols == {p}:
                    with suppress(Unsupported):
                        yield from ({p: zero} for zero in zeros(factor, p) if zero in domain)

    def _is_on_ratios(self, point: Point) -> bool:
        """Whether the section reaches to r > 0 there: a chart may go beyond."""
        upper = self.section.upper
        if upper is sympy.oo:
            return True
        chart = self.branch.chart
        ratio = substitute(substitute(chart.ratio, {chart.x: upper}), point)
        with suppress(Undefined):
            return enclosure_of(ratio)({}).is_positive
        return False


def missing(branch: Branch, budget: Budget) -> Missing | None:
    """The first operation that is not shown to exist; None if all are."""
    for section in branch.sections:
        prover = _Existence(SectionProver(branch, section), budget)
        corners = switches_of([branch.weight] if branch.value is None else [branch.value, branch.weight])
        ratio = substitute(branch.chart.ratio, {branch.chart.x: section.position})
        text = (substitute(one, {r: ratio}) for one in (*branch.compared, *branch.operations))
        lost = [one for one in text if not any(f is not None and f.has(one) for f in (section.value, section.weight))]
        placed = [substitute(one, {branch.chart.x: section.position}) for one in corners]
        plain = [one for one in (*placed, *lost) if not one.has(sympy.Piecewise)]
        for formula in dict.fromkeys((section.position, *plain, section.value, section.weight)):
            if formula is None or prover.cover(formula, boxes=FEW) is None:
                continue
            for node in sympy.postorder_traversal(formula):
                if isinstance(node, Pow | sympy.Function) and (box := prover.open_box(node)) is not None:
                    return Missing(branch, section, cast(Expr, node), box)
    return None


@dataclass(frozen=True)
class _Existence:
    """What exists on one section."""

    prover: SectionProver
    budget: Budget

    def open_box(self, node: Any) -> Box | None:
        """Where an operation on operands that exist is not shown to exist at all but isolated t; None if nowhere."""
        if self.prover.t not in node.free_symbols:
            return self.cover(node)
        match node:
            case Pow(exp=sympy.Integer()):
                return None if node.exp.is_positive else self._identically_zero(node.base)
            case sympy.coth() | sympy.csch():
                return self._identically_zero(cast(Expr, sympy.sinh(node.args[0])))
            case Pow() | sympy.log():
                found = [self.cover(form, lambda x: x.is_positive) for form in forms_of(node.args[0])]
                return None if None in found else found[0]
        divides = any(self.prover.t in power.free_symbols for power in node.atoms(Pow) if power.exp.is_negative)
        return None if isinstance(node, ENTIRE) and not divides else self.cover(node)

    def cover(
        self, formula: Expr, settles: Callable[[Interval], bool] = lambda _: True, boxes: int = MANY
    ) -> Box | None:
        """A box on which the formula is not defined, or its range does not settle; None if boxes cover the section."""
        enclosure = enclosure_of(formula)

        def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            with suppress(Undefined):
                return settles(enclosure(ranges))
            return False

        whole = {s: one for s, one in self.prover.box(eliminated=True).items() if s in formula.free_symbols}
        return self._cover(whole, rule, boxes)

    def _identically_zero(self, denominator: Expr) -> Box | None:
        """A box of parameters at which the denominator may vanish at every t; None if nowhere."""
        slopes, t = [denominator], self.prover.t
        for _ in range(MAX_ORDER):
            slopes.append(derivative(slopes[-1], t))
        enclosures = [enclosure_of(slope) for slope in slopes]
        whole = self.prover.box(eliminated=True)
        points = [Range(half.middle, half.middle).interval for half in whole[t].halves()]

        def rule(ranges: Mapping[Symbol, Interval], box: Box) -> bool:
            for at, enclosure in product(points, enclosures):
                with suppress(Undefined):
                    if not enclosure({**ranges, t: at}).contains_zero:
                        return True
            return False

        used = {p: one for p, one in whole.items() if p != t and p in denominator.free_symbols}
        return self._cover(used, rule, MANY)

    def _cover(self, whole: Box, rule: Rule, boxes: int) -> Box | None:
        outcome = cover(whole, [("exists", rule)], Budget(self.budget.deadline, boxes))
        return None if isinstance(outcome, Closed) else outcome.box
