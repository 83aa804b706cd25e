"""A formula as a convex mixture of gates of its own kind, each in a parameter in which it may be a function of one u.

What the profiles ask of a gate holds of share_1 g_1 + share_2 g_2 + ..., shares >= 0 of sum 1, where it holds of every
part: sums of what decays, is bounded, vanishes, is at most 1 or smooth are so too. Corners of different parts then
never meet, and a part in tau_1 (r - 1) is settled for every tau_1, whatever scales the others have. A part's parameter
may stand for a number, or for an expression in one of the gate's, as tau for 1/s: what holds for every tau then holds
for every s.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, product
from typing import Any, cast

import sympy
from sympy import Add, Dummy, Expr, Integer, Mul, Pow, Symbol
from sympy.core.relational import Relational

from sapo_gates.derive import CORNERS, derivative, smooth_pieces
from sapo_gates.errors import SapoGatesError
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r, substitute, z
from sapo_gates.gate import Gate, Kind, Parameter
from sapo_gates.gatefile import parse_gate
from sapo_gates.prove.cell_signs import domain_interval
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import SYMPY_GIVES_UP, is_identity
from sapo_gates.prove.interval import Interval, Undefined
from sapo_gates.prove.removable import filled
from sapo_gates.verdict import Sign

STAND_IN = Dummy(positive=True)
"""For an expression in a parameter."""


@dataclass(frozen=True)
class Part:
    """share * gate, the gate's parameters at the values, which are expressions in those of the whole."""

    share: Expr
    gate: Gate
    values: Mapping[str, Expr]

    @property
    def entry(self) -> dict[str, object]:
        """As certificates spell it."""
        values = {name: sympy.sstr(value) for name, value in self.values.items()}
        return {"share": sympy.sstr(self.share), "gate": self.gate.text, "values": values}

    def formula(self, side: Sign) -> Expr:
        """share * the gate's formula at the values."""
        values = {self.gate.parameter(name): value for name, value in self.values.items()}
        return self.share * substitute(self.gate.declared(side), values)


def parts_of(gate: Gate, side: Sign) -> tuple[Part, ...]:
    """The gate's formula for one sign as a mixture, or as one gate with another parameter; empty if it is neither."""
    with suppress(SapoGatesError, Undefined, *SYMPY_GIVES_UP):
        read = parse_gate(gate.text)  # a formula that was written and read again may come back in another order
        declared, parameters = read.declared(side), read.parameters_for(side)
        terms = _terms(gate.kind, declared, {p: domain_interval(p.domain) for p in parameters})
        for spelled in (False, True):
            parts = tuple(_part(gate.kind, share, formula, parameters, spelled=spelled) for share, formula in terms)
            if len(parts) == 1 and parts[0].gate.declared(side) == declared:
                break
            if parts:
                total = sympy.sstr(Add(*(part.formula(side) for part in parts)))
                if parse_expression(total, {p.name: p for p in parameters}) == declared:
                    return parts
    return ()


def _terms(kind: Kind, declared: Expr, domains: Mapping[Symbol, Interval]) -> list[tuple[Expr, Expr]]:
    """Shares and what they are shares of; none where shares may be negative, or their sum is not 1."""
    found: list[tuple[Expr, Expr]] = []
    constant = Integer(0)
    for term in Add.make_args(declared):
        if kind == "value" and not term.has(r, z):
            constant += term
            continue
        share = _at_one(kind, term, domains)
        if share is None or not compiled(share)(domains).is_nonnegative or share == 0:
            return []
        found.append((share, term / share))
    if not found or not is_identity(Add(*(share for share, _ in found)), Integer(1)):
        return []
    share, first = found[0]
    return [(share, first + constant / share), *found[1:]]


def _at_one(kind: Kind, term: Expr, domains: Mapping[Symbol, Interval]) -> Expr | None:
    """The term's weight at r = 1; where that is 0/0, its limit; where that is not known, its constant factor."""
    weight = _weight(kind, term)
    there = substitute(weight, {r: Integer(1), z: Integer(0)})
    if there.has(sympy.nan, sympy.zoo) and not weight.has(*CORNERS):
        there = filled(substitute(weight, {z: sympy.log(r)}), r, Integer(1), domains) or there
    if there.has(sympy.nan, sympy.zoo, *CORNERS):
        return term.as_independent(r, z, as_Add=False)[0]
    return sympy.simplify(there)


def _weight(kind: Kind, term: Expr) -> Expr:
    return derivative(smooth_pieces(term), r) if kind == "value" else term


def _part(kind: Kind, share: Expr, formula: Expr, parameters: Sequence[Parameter], *, spelled: bool) -> Part:
    """What scales r - 1 or log r, an expression in a parameter or a number, gives way to a parameter for it.

    spelled: only where the formula is then spelled as it was: 0.3 (r - 1)/sinh(0.3 r - 0.3) is another spelling.
    """
    own = [p for p in parameters if p in formula.free_symbols]
    values: dict[str, Expr] = {p.name: p for p in own}
    if not any(_scales(kind, formula, p, -1) for p in own):
        for old, image, moved in _spellings(kind, formula, own):
            new = _parameter(image, old, {q.name for q in parameters})
            there = substitute(moved, {STAND_IN: image})
            if new is not None and (share * there == share * formula if spelled else is_identity(there, formula)):
                own, formula = [*(p for p in own if p != old), new], substitute(moved, {STAND_IN: new})
                values = {name: value for name, value in values.items() if value != old} | {new.name: image}
                break
    gate = Gate(name="part", parameters=tuple(own), **{kind: formula})  # pyright: ignore[reportArgumentType]
    return Part(share, parse_gate(gate.text), values)


def _spellings(kind: Kind, formula: Expr, own: Sequence[Parameter]) -> Iterator[tuple[Parameter | None, Expr, Expr]]:
    """A parameter that goes, if any, what the stand-in is, and the formula in which the stand-in scales."""
    for p, sign in product(own, (1, -1)):
        for inner, degree in product((p, *dict.fromkeys(_images(formula, p))), DEGREES):
            if _scales(kind, formula, inner, degree):
                yield p, (sign * inner) ** (-1 / degree), substitute(formula, {inner: sign * STAND_IN**-degree})
    scales: dict[Expr, dict[Expr, Expr]] = {}
    for node in sympy.preorder_traversal(formula):
        if (found := _scaled(cast(Expr, node))) is not None:
            scales.setdefault(found[0], {})[cast(Expr, node)] = found[1]
    for scale, nodes in scales.items():
        relations: dict[Any, Any] = {e: _rescaled(e, scale) for e in formula.atoms(Relational)}
        moved = substitute(substitute(formula, relations), nodes)
        if _scales(kind, moved, STAND_IN, -1):
            yield None, scale, moved


DEGREES = tuple(map(sympy.Rational, ("1", "-1", "-2", "2", "-1/2", "1/2")))


def _images(expression: Expr, p: Parameter) -> Iterator[Expr]:
    """The largest parts of the expression in p alone, other than p."""
    if expression.free_symbols == {p} and isinstance(expression, Expr):
        yield from () if expression == p else (expression,)
        return
    for part in expression.args:
        if p in part.free_symbols:
            yield from _images(cast(Expr, part), p)


def _scaled(node: Expr) -> tuple[Expr, Expr] | None:
    """The c of k x^n, where x is r - 1, log r or its size and |k| = c^n; and the same with the stand-in for c."""
    if not (node.is_Mul or node.is_Add) or node.free_symbols not in ({r}, {z}):
        return None
    k, rest = (node.coeff(r), r - 1) if _is_multiple(node) else node.as_independent(r, z, as_Add=False)
    base, n = rest.as_base_exp()
    if k == 1 or base not in (r - 1, z, sympy.Abs(r - 1), sympy.Abs(z)) or not (n.is_Rational and n.is_positive):
        return None
    return sympy.powsimp(abs(k) ** (1 / n)), sympy.sign(k) * STAND_IN**n * rest


def _rescaled(relation: Any, scale: Expr) -> Any:
    """|x| < d as c |x| < c d, with the stand-in for the first c."""
    if isinstance(relation.lhs, sympy.Abs) and relation.rhs.is_number:
        return relation.func(STAND_IN * relation.lhs, scale * relation.rhs)
    return relation


def _is_multiple(e: Expr) -> bool:
    """k (r - 1), which SymPy spells k r - k."""
    return bool(e.is_Add and e.free_symbols == {r} and e == e.coeff(r) * (r - 1))


def _scales(kind: Kind, formula: Expr, scale: Expr, degree: Expr | int) -> bool:
    """Whether the weight is a function of c (r - 1), or of c log r, where the scale is a multiple of c^-degree."""
    weighed = formula / r if kind == "score" else formula
    if kind == "value":
        weighed = Add(*(term for term in Add.make_args(formula) if term.has(r, z)))
    return any(_degree(weighed, {scale: degree, x: 1}) == (kind == "value") for x in (r - 1, z) if weighed.has(x))


def _degree(e: Any, degrees: Mapping[Any, Any]) -> Any:
    """The d for which the expression, where x and the scale are k and k^degree times as large, is k^d times as large.

    None where that is not plain to see.
    """
    if e in degrees:
        return degrees[e]
    if e.is_Add and _is_multiple(e):
        return degrees.get(r - 1)
    if not e.args:
        return None if e in (r, z) else 0
    found = [_degree(part, degrees) for part in e.args if part != 0]
    if None in found:
        return None
    if isinstance(e, Mul):
        return sum(found)
    if isinstance(e, Pow):
        return found[0] * e.exp if e.exp.is_Rational else None if any(found) else 0
    same = found[0] if len(set(found)) == 1 else None
    if isinstance(e, Add | sympy.Max | sympy.Min | sympy.Abs | sympy.Piecewise):
        return same
    if isinstance(e, Relational | sympy.sign):
        return None if same is None else 0
    return None if any(found) else 0


def _parameter(image: Expr, old: Parameter | None, taken: Collection[str]) -> Parameter | None:
    """A parameter for an expression in an old one, or for a number, with a domain that is shown to hold it."""
    name = next(name for name in map("scale_{}".format, count(1)) if name not in taken)
    ends = () if old is None else (old.domain.lower, old.domain.upper)
    try:
        values = compiled(image)({} if old is None else {old: domain_interval(old.domain)})
        for low in (*(substitute(image, {old: end}) for end in ends), Integer(0)):
            above = values + -compiled(low)({}) if low.is_Rational else None
            if above is not None and above.is_nonnegative:
                return Parameter(name, f"{'(' if above.is_positive else '['}{low}, oo)", str(low + 1), str(low + 1))
    except Undefined:
        pass
    return None
