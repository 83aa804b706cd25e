"""Whether a witness breaks its requirement: the declared formula at exact numbers, by SymPy and mpmath alone."""

from typing import cast

import mpmath
import sympy
from sympy import Expr, Piecewise, Rational

from sapo_gates import Gate
from sapo_gates.functions import r, sigmoid, z
from sapo_gates.verdict import Sign, Witness

DIGITS = (30, 60, 120, 250, 500, 1000, 4000, 20_000)  # at which a number is evaluated to tell it from 0
CLOSE = Rational(1, 10**60)  # how far from a corner or a hole its limits are taken, in units of r
APART = Rational(1, 10**40)  # what a limit taken so may be off by; what is less than that apart does not jump
FILLED = 1e-30  # how close a simple number must be to fill a hole
FAR = [sympy.Integer(10) ** k for k in (0, 1, 2, 4, 8, 16, 40)]  # multiples of r at which a tail is looked at
FARTHEST = sympy.Integer(10) ** 1_000


class Unjudged(Exception):
    """It cannot be told."""


def fails(gate: Gate, sign: Sign, requirement: str, witness: Witness) -> bool:
    """Whether the requirement is broken at the witness, and what its enclosures are about lies in them.

    Raises:
        Unjudged: a number cannot be told from 0.
    """
    values = {p: Rational(witness.parameters[p.name]) for p in gate.parameters_for(sign)}
    ratios = [Rational(ratio) for ratio in witness.r]
    if not all(value in p.domain for p, value in values.items()) or not all(ratio > 0 for ratio in ratios[-1:]):
        return False
    declared = gate.declared(sign).replace(sigmoid, lambda u: 1 / (1 + sympy.exp(-u))).xreplace({z: sympy.log(r)})
    formula = cast(Expr, declared.xreplace(values))
    weight = {"value": lambda: sympy.diff(formula, r), "score": lambda: formula / r}.get(gate.kind, lambda: formula)()
    declares = {"value": [formula, weight]}.get(gate.kind, [weight])

    def encloses(*numbers: Expr, slack: Expr = sympy.S.Zero) -> bool:
        ranges = [tuple(map(_number, ends)) for ends in witness.enclosure] or [(-sympy.oo, sympy.oo)] * len(numbers)
        return all(
            (low == -sympy.oo or _sign(number - low + slack) >= 0)
            and (high == sympy.oo or _sign(high - number + slack) >= 0)
            for number, (low, high) in zip(numbers, ranges, strict=True)
        )

    match requirement, witness.kind, ratios:
        case "monotone-decay", "pair", [low, high] if low < high and (low >= 1 or high <= 1):
            below, above = value(weight, low), value(weight, high)
            return _sign(above - below if low >= 1 else below - above) > 0 and encloses(below, above)
        case "monotone-decay", "jump", [at] if at != 1:
            left, right = _limits(weight, at)
            return _sign((right - left if at > 1 else left - right) - APART) > 0 and encloses(left, right, slack=APART)
        case "continuously-differentiable" | "first-order-agreement" | "unit-peak", "jump", [at]:
            if requirement != "continuously-differentiable" and at != 1:
                return False
            return any(_is_apart(*_limits(f, at)) and encloses(*_limits(f, at), slack=APART) for f in declares)
        case "continuously-differentiable", "pair", [low, high] if low < high:
            return any(_breaks(f, low, high) for f in declares)
        case "continuously-differentiable", "point", [at]:
            return any(_is_undefined(f, at) for f in declares)
        case "unit-peak" | "first-order-agreement", "point", [at]:
            there = value(weight, at)
            if there == 1 and witness.enclosure and abs(_number(witness.enclosure[0][0])) < FILLED:
                raise Unjudged(f"a hole is filled to {FILLED} only")
            if at == 1:
                return _sign(there - 1) != 0 and encloses(there - 1)
            return requirement == "unit-peak" and _sign(there - 1) > 0 and encloses(there)
        case "nonnegative-weight", "point", [at]:
            return _sign(value(weight, at)) < 0 and encloses(value(weight, at))
        case "vanishing-score" | "bounded-value" | "bounded-score", "tail", [*_, at]:
            if requirement == "vanishing-score" and len(ratios) == 2:
                return False
            outwards = [at / k if len(ratios) == 2 else at * k for k in FAR]
            scores = [ratio * value(weight, ratio) for ratio in outwards]
            stays = all(_sign(score) == _sign(scores[0]) != 0 and encloses(score) for score in scores)
            if requirement != "bounded-score":
                return stays
            farthest = at / FARTHEST if len(ratios) == 2 else at * FARTHEST
            return stays and _sign(abs(farthest * value(weight, farthest)) - 2 * abs(scores[0])) > 0
        case _:
            return False


def value(expression: Expr, ratio: Expr) -> Expr:
    """The expression at an exact ratio; 0/0 is filled by the simple number that its neighbours are close to."""
    if expression == r:
        return ratio
    if r not in expression.free_symbols:
        return expression
    if isinstance(expression, Piecewise):
        return next(value(piece, ratio) for piece, holds in expression.args if holds.subs(r, ratio) is sympy.true)
    there = cast(Expr, expression.func(*(value(cast(Expr, part), ratio) for part in expression.args)))
    if not there.has(sympy.nan):
        return there
    with mpmath.workdps(200):
        nearby = sympy.Float(sympy.lambdify(r, expression, "mpmath")(mpmath.mpf(ratio.p) / ratio.q + APART), 200)
    simple = sympy.nsimplify(nearby, rational=True, tolerance=FILLED)
    if abs(simple - nearby) > FILLED:
        raise Unjudged(f"{expression} at {ratio}")
    return simple


def _sign(number: Expr) -> int:
    """At more and more digits, until two results agree; what cancels exactly does so first."""
    number = cast(Expr, sympy.expand_mul(sympy.sympify(number)))
    if number.is_Rational:
        return int(sympy.sign(number))
    before = None
    for digits in DIGITS:
        found = number.evalf(digits, maxn=4 * digits)
        if not found.is_real:
            raise Unjudged("not a real number")
        if before is not None and found != 0 and abs(found - before) < abs(found) / 1000:
            return int(sympy.sign(found))
        before = found
    raise Unjudged(f"not told from 0 by {DIGITS[-1]} digits")


def _number(text: str) -> Expr:
    """Exact, unless it is too small or too large to spell out."""
    _, _, exponent = text.partition("e")
    return (
        sympy.Float(text, 50)
        if abs(int(exponent or 0)) > 4000
        else cast(Expr, sympy.oo * (-1 if text[0] == "-" else 1))
        if "oo" in text
        else Rational(text)
    )


def _limits(expression: Expr, at: Expr) -> tuple[Expr, Expr]:
    """From both sides, but for APART."""
    return value(expression, at - CLOSE), value(expression, at + CLOSE)


def _is_apart(one: Expr, other: Expr) -> bool:
    return _sign(abs(one - other) - APART) > 0


def _breaks(expression: Expr, low: Expr, high: Expr) -> bool:
    """Whether the values stay apart when the two ratios are moved together."""
    while high - low > CLOSE:
        middle = (low + high) / 2
        gaps = [abs(value(expression, middle) - value(expression, end)) for end in (low, high)]
        low, high = (low, middle) if _sign(gaps[0] - gaps[1]) > 0 else (middle, high)
    return _is_apart(value(expression, low), value(expression, high))


def _is_undefined(expression: Expr, at: Expr) -> bool:
    """Infinite or not real."""
    there = value(expression, at)
    return there.has(sympy.zoo, sympy.oo) or not sympy.N(there, 30).is_real
