"""One sign of A of one gate at fixed parameter values, and how its numbers become entries of the datasheet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import sympy
from sympy import Expr, Rational

from sapo_gates.functions import substitute
from sapo_gates.gate import Gate, Number
from sapo_gates.prove.case import one_sided
from sapo_gates.prove.cell_signs import Unsupported
from sapo_gates.prove.curves import Curve
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import is_identity
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.numeric import Numeric, Symbolic, by_ratio, shortened
from sapo_gates.prove.sections import Section
from sapo_gates.prove.witness import shown
from sapo_gates.verdict import Sign

Entry = dict[str, Any]
COARSE = Fraction(1, 2**34)  # relative width of suprema whose place is not reported


@dataclass(frozen=True, eq=False)
class Sheet:
    """What every entry is made from."""

    numeric: Numeric

    @staticmethod
    def of(gate: Gate, sign: Sign, numbers: Mapping[str, Number]) -> "Sheet":
        """At these parameter values; parameters that are not named have their trained value.

        Raises:
            UnknownParameter, ParameterValueError: a value is for no parameter, or outside its domain.
        """
        given = gate.checked(numbers)
        return Sheet(Numeric(gate, sign, {p: given.get(p.name, p.value_for(sign)) for p in gate.parameters_for(sign)}))

    @cached_property
    def areas(self) -> dict[Section, Interval]:
        """Integrals of w that were found."""
        return {}

    @property
    def symbolic(self) -> Symbolic | None:
        """With the parameters left in, for closed forms."""
        return self.numeric.symbolic

    @property
    def at(self) -> dict[str, int | str]:
        """The parameter values: whole numbers as such, other rationals as texts."""
        return {p.name: int(v) if v.is_Integer else str(v) for p, v in self.numeric.values.items()}

    # Entries ----------------------------------------------------------------------------------------------------------

    def answer(self, make: Callable[[], Entry]) -> Entry:
        """The entry, or why there is none."""
        try:
            return make()
        except (Unsupported, Undefined) as error:
            return self.words(f"not enclosed: {error}")

    def words(self, says: str) -> Entry:
        """No number."""
        return {"closed_form": None, "at": self.at, "enclosure": None, "says": says}

    def answers(self, names: Sequence[str], make: Callable[[], dict[str, Entry]]) -> dict[str, Entry]:
        """Entries that are found together, or why there are none."""
        try:
            return make()
        except (Unsupported, Undefined) as error:
            return {name: self.words(f"not enclosed: {error}") for name in names}

    def number(
        self, found: Interval, closed: Sequence[Expr | None] = (), says: str = "", scaling: str | None = None
    ) -> Entry:
        """A number, with the first closed form that agrees with it; scaling: what to say if none does."""
        forms = (self.confirmed(form, found) for form in closed)
        entry: Entry = {"closed_form": next((f for f in forms if f is not None), None), "at": self.at}
        entry["enclosure"] = list(shown(found))
        words = [says, scaling if entry["closed_form"] is None else None]
        return {**entry, "says": "; ".join(filter(None, words))} if any(words) else entry

    def confirmed(self, form: Expr | None, found: Interval) -> str | None:
        """The closed form as text if its value at these parameters meets a tight enclosure."""
        if form is None or not (found.lower.is_finite() and found.upper.is_finite()):
            return None
        if found.upper - found.lower > 1e-7 * abs(found.upper):
            return None
        try:
            value = compiled(substitute(form, self.numeric.values))({})
        except (Undefined, KeyError):
            return None
        return sympy.sstr(form) if value.lower <= found.upper and found.lower <= value.upper else None

    def scaling(self, found: Interval, power: int) -> str | None:
        """Says that found = c tau^power for every tau, with c enclosed."""
        if self.symbolic is None or self.symbolic.scale is None:
            return None
        name, tau = self.symbolic.scale.name, self.numeric.values[self.symbolic.scale]
        low, high = shown(found * exactly(tau**-power))
        scaled = {-1: f"c/{name}", 1: f"c*{name}", 2: f"c*{name}**2"}[power]
        return f"{scaled} for every {name}, c in [{low}, {high}]"

    # Sections ---------------------------------------------------------------------------------------------------------

    @cached_property
    def inner(self) -> tuple[Section, Section]:
        """The sections on both sides of r = 1."""
        return self.numeric.left[0], self.numeric.right[0]

    def twin(self, section: Section) -> Section | None:
        """The section of the symbolic branch that this one is at these values."""
        if self.symbolic is None or len(self.symbolic.branch.sections) != len(self.numeric.sections):
            return None
        return self.symbolic.branch.sections[self.numeric.sections.index(section)]

    def weight_form(self, section: Section) -> Expr | None:
        """w in r and the parameters."""
        twin = self.twin(section)
        return None if twin is None or self.symbolic is None else self.symbolic.in_ratio(twin, twin.weight)

    def end_form(self, section: Section, end: str) -> Expr | None:
        """The ratio at one end of a section, in the parameters."""
        twin = self.twin(section)
        if twin is None or self.symbolic is None:
            return None
        chart = self.symbolic.branch.chart
        return substitute(chart.ratio, {chart.x: getattr(twin, end)})

    def ratio(self, section: Section, end: str) -> Interval:
        """The ratio at a finite end of a section."""
        assert end in ("lower", "upper")
        return self.numeric.curve(section, section.position).limit(end).finite

    def over_zero(self, section: Section, expression: Expr, most: int = 6) -> Curve:
        """The expression over the n-th power of the distance from the section's inner end, where n derivatives vanish.

        It has the expression's sign, but does not touch 0 at that end, where no enclosure could tell its sign. The
        expression itself counts as a derivative.
        """
        expression = shortened(section, expression)
        order = self.zeros_at_inner_end(section, expression, most)
        inner = Rational(str(getattr(section, f"t_{inner_end(section)}")))
        distance = section.t - inner if section.side == "right" else inner - section.t
        return self.numeric.curve(section, expression, distance**order, order)

    def zeros_at_inner_end(self, section: Section, expression: Expr, most: int) -> int:
        """How many Taylor coefficients vanish exactly at the section's inner end; at most so many are looked at."""
        for order in range(most):
            here = self.at_inner_end(section, expression)
            if here is None or not is_identity(here, sympy.Integer(0)):
                return order
            expression = by_ratio(section, expression)
        return most

    def at_inner_end(self, section: Section, expression: Expr) -> Expr | None:
        """The limit at the section's end nearer to r = 1, from inside, if it is known exactly."""
        return one_sided(section, expression, inner_end(section), self.numeric.branch).expression


def inner_end(section: Section) -> Any:
    """The end nearer to r = 1."""
    return "lower" if section.side == "right" else "upper"


def exactly(number: Expr | int) -> Interval:
    """The interval of one rational."""
    exact = Fraction(str(number))
    return Interval.of(exact, exact)


def short(found: Interval) -> str:
    """The middle to 6 digits."""
    return ((found.lower + found.upper) / 2).str(6, radius=False)


def limit_form(expression: Expr, x: sympy.Symbol) -> list[Expr]:
    """Candidates for the limit as x -> oo: whoever uses one checks it.

    The value where SymPy knows it; else functions that saturate by their limits, roots and quotients of polynomials by
    their leading terms.
    """
    plain = substitute(expression, {x: sympy.oo})
    if not plain.has(sympy.nan, sympy.zoo, sympy.oo):
        return [plain]

    def leading(polynomial: Expr) -> Expr:
        found = sympy.Poly(polynomial, x)
        return found.LC() * x ** found.degree()

    def is_root(node: Expr) -> bool:
        return node.is_Pow and not node.exp.is_Integer and x in node.free_symbols and node.base.is_polynomial(x)

    settled = expression.replace(sympy.tanh, lambda _: sympy.Integer(1))
    settled = settled.replace(is_root, lambda e: sympy.powdenest(leading(e.base) ** e.exp, force=True))
    numerator, denominator = sympy.fraction(sympy.together(settled))
    if not (numerator.is_polynomial(x) and denominator.is_polynomial(x)):
        return []
    found = sympy.cancel(leading(numerator) / leading(denominator))
    return [found] if x not in found.free_symbols else []
