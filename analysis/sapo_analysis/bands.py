"""What a gate's weight can be over an interval of temperatures: enclosures by the prover's arithmetic, no samples.

At one temperature the enclosure of w(r) is thinner than any line (10^-30). Over tau in [low, high] it is a band that
can be seen: no ratio in a pixel and no temperature in between gives a weight outside it.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import inf, nextafter

import numpy as np
from flint import arb
from sympy import Expr, Rational, Symbol

from sapo_analysis.errors import FigureError
from sapo_analysis.evaluate import Array
from sapo_gates import Gate
from sapo_gates.derive import formula
from sapo_gates.functions import r, substitute
from sapo_gates.gate import Kind
from sapo_gates.prove.enclose import Enclosure, compiled
from sapo_gates.prove.forms import forms_of
from sapo_gates.prove.interval import Interval, Undefined, working_precision
from sapo_gates.prove.pieces import possible
from sapo_gates.verdict import Sign

SLICES = 24  # of the temperatures, by equal factors: an interval forgets what its occurrences have in common
BITS = 53 + 11  # a picture needs no more


@dataclass(frozen=True)
class Band:
    """Between which numbers a quantity lies, [N], for every ratio from edges[i] to edges[i + 1]."""

    lower: Array
    upper: Array


def band(gate: Gate, sign: Sign, quantity: Kind, edges: Array, low: Rational, high: Rational) -> Band:
    """Value f with f(1) = 1, weight w or score weight r w over pixels [N + 1] and tau in [low, high].

    Other parameters have their trained values. Where the weight is w in [a, b] on a pixel, r w is in [a, b] times the
    pixel, and f changes by an amount in [a, b] times its width.

    Raises:
        FigureError: no enclosure is known somewhere.
    """
    lower, upper = _weights(gate, sign, tuple(edges.tolist()), low, high)
    if quantity == "value":
        lower, upper = _integrals(edges, lower, upper)
    elif quantity == "score":
        ends = [weight * ratio for weight in (lower, upper) for ratio in (edges[:-1], edges[1:])]
        lower, upper = np.minimum.reduce(ends), np.maximum.reduce(ends)
    return Band(lower.min(0), upper.max(0))


def _integrals(edges: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """1 + integral of w from 1 to anywhere in each pixel, for each slice [S, N]."""
    low, high = np.ones_like(lower), np.ones_like(upper)
    steps = [edges[1:] - np.maximum(edges[:-1], 1.0), np.minimum(edges[1:], 1.0) - edges[:-1]]
    for side, step in zip((1, -1), np.maximum(steps, 0.0), strict=True):
        walk = slice(None, None, side)
        for bound, change in ((low, lower if side > 0 else -upper), (high, upper if side > 0 else -lower)):
            moved = (change * step)[:, walk]
            before = np.cumsum(moved, 1) - moved
            pick = np.minimum if bound is low else np.maximum
            bound += (before + pick(moved, 0.0))[:, walk]
    return low, high


@lru_cache(maxsize=64)
def _weights(gate: Gate, sign: Sign, edges: tuple[float, ...], low: Rational, high: Rational) -> tuple[Array, Array]:
    """The weight's bounds for each slice of the temperatures and each pixel, [S, N]."""
    weight = formula(gate, sign, "weight")
    assert weight is not None  # only a value can lack a closed form
    tau = gate.parameter("tau")
    weight = substitute(weight, {p: p.value_for(sign) for p in gate.parameters_for(sign) if p != tau})
    cuts = [Fraction(str(x)) for x in np.geomspace(float(low), float(high), SLICES + 1)]
    cuts[0], cuts[-1] = (Fraction(int(end.p), int(end.q)) for end in (low, high))
    shape = (SLICES, len(edges) - 1)
    lower, upper = np.empty(shape), np.empty(shape)
    with working_precision(BITS):
        for k, j in np.ndindex(*shape):
            box = {r: Interval.of(edges[j], edges[j + 1]), tau: Interval.of(cuts[k], cuts[k + 1])}
            try:
                lower[k, j], upper[k, j] = _enclosed(weight, box)
            except Undefined as error:
                raise FigureError(
                    f"no enclosure of {gate.name!r} is known near r = {edges[j]:.4g}, tau = {float(cuts[k]):.4g} "
                    f"({error}); draw it at single temperatures."
                ) from None
    return lower, upper


def _enclosed(weight: Expr, box: dict[Symbol, Interval]) -> tuple[float, float]:
    """Every piece that may hold in the box, each in all its forms at once; as floats, outwards."""
    ends = []
    for piece in possible(weight, box):
        found: list[Interval] = []
        undefined: Undefined | None = None
        for form in _forms(piece):
            try:
                found.append(form(box))
            except Undefined as error:
                undefined = error
        if not found:
            raise undefined or Undefined("no form of the weight is enclosed")
        ends.append((max(_float(one.lower, -inf) for one in found), min(_float(one.upper, inf) for one in found)))
    return min(low for low, _ in ends), max(high for _, high in ends)


def _float(end: arb, outwards: float) -> float:
    """The nearest float, or the next one outwards where that is another number."""
    near = float(end)
    return near if end == arb(near) else nextafter(near, outwards)


@lru_cache(maxsize=256)
def _forms(piece: Expr) -> tuple[Enclosure, ...]:
    """Equal formulas, of which an interval may enclose one better than another."""
    return tuple(compiled(form) for form in forms_of(piece))
