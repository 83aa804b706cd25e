"""What happens to f and w at the breakpoints between sections."""

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal

import sympy
from flint import arb
from sympy import Expr, Rational

from sapo_gates.functions import r, substitute
from sapo_gates.gate import Gate
from sapo_gates.prove.case import OneSided, one_sided
from sapo_gates.prove.cell_signs import Unsupported, domain_interval
from sapo_gates.prove.corners import value_at
from sapo_gates.prove.enclose import compiled, enclose_at
from sapo_gates.prove.forms import is_identity, tamed
from sapo_gates.prove.interval import Interval, Undefined, working_precision
from sapo_gates.prove.points import parameter_points, rational
from sapo_gates.prove.sections import Branch, Section
from sapo_gates.prove.witness import WITNESS_PRECISION, enclosed, names, point, shown
from sapo_gates.verdict import Sign, Witness

Quantity = Literal["value", "weight"]
NAMES: dict[Quantity, str] = {"value": "f", "weight": "w"}


@dataclass(frozen=True)
class Join:
    """A breakpoint, the sections that meet there, and the one-sided limits of one quantity."""

    branch: Branch
    before: Section
    after: Section
    quantity: Quantity

    @property
    def at(self) -> Expr:
        """The breakpoint in the chart's x."""
        return self.before.upper

    @property
    def place(self) -> str:
        """The breakpoint as a ratio, in words."""
        return f"r = {sympy.sstr(substitute(self.branch.chart.ratio, {self.branch.chart.x: self.at}))}"

    @property
    def name(self) -> str:
        """The quantity, as formulas call it."""
        return NAMES[self.quantity]

    @cached_property
    def sides(self) -> tuple[OneSided, OneSided]:
        """Limits from the left and from the right."""
        return (
            one_sided(self.before, _of(self.before, self.quantity), "upper", self.branch),
            one_sided(self.after, _of(self.after, self.quantity), "lower", self.branch),
        )

    @cached_property
    def is_plain(self) -> bool:
        """Whether, with numbers as parameters, both formulas are continuous up to the breakpoint: limits are values."""
        ends = (self.before, self.before.t_upper), (self.after, self.after.t_lower)
        with suppress(Undefined, KeyError):
            for section, at in ends:
                compiled(_of(section, self.quantity))({section.t: Interval.of(at, at)})
            return True
        return False

    @cached_property
    def is_smooth(self) -> bool:
        """Both limits are the same finite number for every parameter, by identity."""
        left, right = self.sides
        if left.expression is None or right.expression is None:
            return False
        return is_identity(left.expression, right.expression)

    @cached_property
    def fills(self) -> bool:
        """What the text says at the breakpoint itself is the limit from the left."""
        left, there = self.sides[0].expression, self.declared_there
        return there is None or (left is not None and is_identity(there, left))

    @cached_property
    def stands_alone(self) -> bool:
        """What the text says at the breakpoint is not shown to be the limit from either side."""
        there = self.declared_there
        sides = [side.expression for side in self.sides]
        return there is not None and not any(side is not None and is_identity(there, side) for side in sides)

    @cached_property
    def declared_there(self) -> Expr | None:
        """The quantity at the breakpoint, if it is declared piecewise: a derived weight has no say at a corner.

        Nor has a formula that divides by 0 there, or chooses its piece by one that does, as Min(1, 1/Abs(r - 1)) at 1:
        where it has a limit, that fills it. nan where it is not certain which piece holds, as where the text itself
        compares what is 1/0 there.
        """
        whole = self.branch.value if self.quantity == "value" else self.branch.weight
        if (
            whole is None
            or not whole.has(sympy.Piecewise)
            or (self.quantity == "weight" and self.branch.value is not None)
        ):
            return None
        if not all(self._exists_there(side) for side in self.branch.compared):
            return sympy.nan
        try:
            there = value_at(whole, {self.branch.chart.x: self.at}, self.branch.all_domains)
        except Unsupported:
            return sympy.nan
        except Undefined:
            return None
        return None if there.has(sympy.nan, sympy.zoo) else there

    def _exists_there(self, compared: Expr) -> bool:
        ratio = substitute(self.branch.chart.ratio, {self.branch.chart.x: self.at})
        try:
            return not value_at(compared, {r: ratio}, self.branch.all_domains).has(sympy.nan, sympy.zoo)
        except (Unsupported, Undefined):
            return False

    @cached_property
    def difference(self) -> Interval | None:
        """Right limit minus left limit, over the whole cell."""
        ranges = {p: domain_interval(d) for p, d in self.branch.all_domains.items()}
        left, right = self.sides
        try:
            if left.expression is not None and right.expression is not None:
                return compiled(tamed(sympy.factor, right.expression - left.expression))(ranges)
            return right.enclosure(ranges) + -left.enclosure(ranges)
        except Undefined:
            return None

    @cached_property
    def rises(self) -> bool | None:
        """Whether w jumps away from r = 1 upwards for some parameter; False only if for none; None if not certain."""
        if self.is_smooth or self.at == self.branch.chart.on_policy:
            return False
        if self.difference is None:
            return None
        outwards = self.difference if self.after.side == "right" else -self.difference
        if outwards.is_positive:
            return True
        return False if outwards.is_nonpositive else None

    @cached_property
    def is_below_a_side(self) -> bool | None:
        """Whether the text says less at the breakpoint than a limit there; False only if it never does."""
        there = self.declared_there
        if there is None:
            return False
        ranges = {p: domain_interval(d) for p, d in self.branch.all_domains.items()}
        answers = set()
        for side in self.sides:
            if side.expression is not None and is_identity(there, side.expression):
                answers.add(False)
                continue
            try:
                gap = compiled(there)(ranges) + -side.enclosure(ranges)
            except Undefined:
                return None
            answers.add(False if gap.is_nonnegative else True if gap.is_negative else None)
        return True if True in answers else None if None in answers else False

    def not_one(self, gate: Gate, side: Sign, *, approached: bool = False) -> Witness | None:
        """Parameters at which the quantity is not 1 there, by the text if it says it, else as a limit.

        The enclosure is of the difference, which 1 + 1e-1000000 tells from 0. approached: by the limits in any case.
        """
        there = self.declared_there
        found = [side.expression for side in self.sides] if approached or there is None else [there]
        for parameters in parameter_points(gate, side, self.branch.all_domains):
            for expression in found:
                try:
                    gap = enclosed(substitute(expression - 1, parameters)) if expression is not None else None
                except Undefined:
                    continue
                if gap is not None and not gap.contains_zero:
                    direction = "positive" if gap.is_positive else "negative"
                    return point(Rational(1), parameters, gap, f"w(1) - 1 is {direction}, not 0")
        return None

    def witness(self, gate: Gate, side: Sign, why: str, *, rising: bool = False) -> Witness | None:
        """The jump at exact parameters, if both one-sided limits are enclosed apart there.

        rising: only a jump upwards, away from r = 1.
        """
        for parameters in parameter_points(gate, side, self.branch.all_domains):
            at = dict(parameters)
            with working_precision(WITNESS_PRECISION):
                try:
                    left, right = (
                        enclose_at(side.expression, at) if side.expression is not None else side.enclosure({})
                        for side in self.sides
                    )
                except (Undefined, KeyError):
                    continue
            up, down = (left.upper < right.lower), (right.upper < left.lower)
            outwards = up if self.after.side == "right" else down
            if not (outwards if rising else up or down):
                continue
            ratio = substitute(substitute(self.branch.chart.ratio, {self.branch.chart.x: self.at}), at)
            if not ratio.is_positive:  # the chart may go on below r = 0
                continue
            kind, where = _exact_place(ratio)
            return Witness(
                kind=kind,
                r=where,
                parameters=names(parameters),
                enclosure=(shown(left), shown(right)),
                why=f"{why}: from {_short(left)} to {_short(right)} at r = {sympy.sstr(ratio)}",
            )
        return None


def _exact_place(ratio: Expr) -> tuple[Literal["jump", "pair"], tuple[str, ...]]:
    """The breakpoint as a rational, or two rationals 2^-40 apart around it."""
    if isinstance(ratio, Rational):
        return "jump", (str(ratio),)
    middle = compiled(ratio)({}).lower.str(30, radius=False)
    nearby = Fraction(middle).limit_denominator(2**40)
    width = Fraction(1, 2**40)
    return "pair", (str(rational(nearby - width)), str(rational(nearby + width)))


def _short(range_: Interval) -> str:
    return ((range_.lower + range_.upper) / arb(2)).str(6, radius=False)


def _of(section: Section, quantity: Quantity) -> Expr:
    expression = section.value if quantity == "value" else section.weight
    assert expression is not None
    return expression


@lru_cache(maxsize=64)
def joins_of(branch: Branch, quantity: Quantity) -> tuple[Join, ...]:
    """Every breakpoint of a branch, from left to right."""
    return tuple(Join(branch, before, after, quantity) for before, after in pairwise(branch.sections))
