"""One-sided limits at an end of a section, t = a, and whether there is one to speak of.

A formula may divide 0 by 0 there. Its limit is an expression in the parameters where that can be had: the formula at
t = a, l'Hopital's rule; else it is enclosed, by the rules of `limits` for t = a + h or a - h and h -> 0 from above.
"""

from contextlib import suppress
from typing import Any, cast

import sympy
from sympy import Dummy, Expr, Integer, Pow, Symbol

from sapo_gates.errors import RecheckFailed
from sapo_gates.functions import substitute
from sapo_gates.recheck.boxes import Box, enclose, everywhere, is_defined, require, spans, value_at
from sapo_gates.recheck.formulas import operations, slope
from sapo_gates.recheck.identities import quotient, same, tidy
from sapo_gates.recheck.limits import ABOVE, DOWN, UP, Limit, limit
from sapo_gates.recheck.spans import Undefined, span_of

STEP = Dummy(positive=True)
MAX_ORDER = 6


def exists_near(formula: Expr, t: Symbol, at: Expr, inwards: int, box: Box) -> None:
    """Every operation of the formula is defined near that end of the box in t, for every parameter value.

    A limit is often that of an equal formula, which may be defined where this one is not.

    Raises:
        RecheckFailed: one is not shown to be.
    """
    others = {symbol: span for symbol, span in spans(box).items() if symbol != t}
    infinite = {sympy.oo: UP, -sympy.oo: DOWN}.get(at)
    for node in operations(formula):
        if everywhere(node, box, lambda _: True, 0):
            continue
        near = node if infinite else substitute(node, {t: at + inwards * STEP})
        try:
            limit(near, *((t, infinite) if infinite else (STEP, ABOVE)), others)
        except Undefined:
            holds = is_harmless(node, t, box)
            require(holds, "{} is not shown to be defined near {} = {}", node, t, at)


def is_harmless(node: Any, t: Symbol, box: Box) -> bool:
    """Whether the operation on operands that are is defined on the box, but for isolated t at most.

    Those are where d is 0 in 1/d^k, k whole: isolated, if d or one of its first derivatives has no zero.
    """
    if is_defined(node, box):
        return True
    if not (isinstance(node, Pow) and node.exp.is_Integer):
        return False
    if node.exp > 0:
        return True
    slopes = [node.base]
    for _ in range(3):
        slopes.append(slope(slopes[-1], t))
    return any(everywhere(one, box, lambda x: x.is_positive or x.is_negative) for one in slopes)


def limit_at(formula: Expr, t: Symbol, at: Expr, inwards: int, box: Box) -> Expr | Limit:
    """The limit as t -> at from above (inwards = 1) or below: an expression in what is left, or an enclosure.

    Raises:
        RecheckFailed: it is not known.
    """
    for node in operations(formula):  # what no rewriting below may cancel
        if t not in node.free_symbols:
            enclose(node, box)
    with suppress(Undefined):
        return _exactly(formula, t, at, box)
    with suppress(RecheckFailed):
        terms = [limit_at(term, t, at, inwards, box) for term in formula.args if isinstance(formula, sympy.Add)]
        if terms and all(isinstance(term, Expr) for term in terms):
            return sympy.Add(*terms)
    near = substitute(formula, {t: at + inwards * STEP})
    for form in (near, tidy(near)):
        with suppress(Undefined):
            found = limit(form, STEP, ABOVE, spans(box))
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
