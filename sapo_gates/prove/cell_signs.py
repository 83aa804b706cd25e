"""Signs of functions over a cell: every symbol, parameters and coordinates alike, in a domain of its own."""

from collections.abc import Mapping
from fractions import Fraction
from itertools import product

import sympy
from sympy import Dummy, Expr, Rational, Symbol

from sapo_gates.derive import derivative
from sapo_gates.functions import substitute
from sapo_gates.gate import Domain
from sapo_gates.prove.enclose import compiled
from sapo_gates.prove.forms import is_identity, tamed
from sapo_gates.prove.interval import Interval, Undefined


class Unsupported(Exception):
    """The expression has corners that cannot be placed; what it says is what remains undecided."""


class Straddles(Unsupported):
    """A function of the parameters alone decides between pieces and has no constant sign on the cell."""

    def __init__(self, switch: Expr, says: str) -> None:
        """The function whose zero cuts the cell."""
        super().__init__(says)
        self.switch = switch


def domain_interval(domain: Domain) -> Interval:
    """The domain as an interval; open ends stay open where they are dyadic."""
    return Interval.of(as_end(domain.lower), as_end(domain.upper), domain.lower_open, domain.upper_open)


def as_end(end: Expr) -> Fraction | float:
    """A rational as a Fraction, an infinity as a float."""
    return Fraction(int(end.p), int(end.q)) if isinstance(end, Rational) else float(end)


def sign_on(expression: Expr, cell: Mapping[Symbol, Domain]) -> int | None:
    """The sign of the expression everywhere on a cell; None where that is not certain, or not constant."""
    ranges = {symbol: domain_interval(domain) for symbol, domain in cell.items()}
    found = _sign_of_range(expression, ranges)  # cheap, and mostly enough
    found = polynomial_sign(expression, cell) if found is None else found
    found = enclosed_sign(expression, ranges) if found is None else found
    return _sign_by_slope(expression, cell, ranges) if found is None else found


def certain_sign(expression: Expr, cell: Mapping[Symbol, Domain]) -> int:
    """The same.

    Raises:
        Straddles: it is not certain.
    """
    sign = sign_on(expression, cell)
    if sign is None:
        raise Straddles(expression, f"the sign of {expression} depends on the parameters")
    return sign


def enclosed_sign(expression: Expr, ranges: Mapping[Symbol, Interval]) -> int | None:
    """The sign of the expression over all the ranges, or None if it is not certain or not constant."""
    if not expression.free_symbols <= set(ranges):
        return None
    for form in (expression, sympy.expand(expression), tamed(sympy.factor, expression)):
        found = _sign_of_range(form, ranges)
        if found is not None:
            return found
    return None


def _sign_of_range(expression: Expr, ranges: Mapping[Symbol, Interval]) -> int | None:
    if not expression.free_symbols <= set(ranges):
        return None
    try:
        range_ = compiled(expression)(ranges)
    except Undefined:
        return None
    return 1 if range_.is_positive else -1 if range_.is_negative else 0 if range_.is_point else None


def _sign_by_slope(
    switch: Expr, inside: Mapping[Symbol, Domain], ranges: Mapping[Symbol, Interval], depth: int = 2
) -> int | None:
    """The sign of a switch that is 0 at an open end of a variable's range and strictly monotone inside."""
    for t in sorted(set(inside) & switch.free_symbols, key=str):
        ends = (inside[t].lower, inside[t].lower_open, 1), (inside[t].upper, inside[t].upper_open, -1)
        for end, is_open, away in ends:
            if end.is_finite and is_open and is_identity(substitute(switch, {t: end}), sympy.Integer(0)):
                slope = derivative(switch, t)
                found = enclosed_sign(slope, ranges) or (depth and _sign_by_slope(slope, inside, ranges, depth - 1))
                if found:
                    return away * found
    return None


def polynomial_sign(expression: Expr, cell: Mapping[Symbol, Domain]) -> int | None:
    """The sign of a rational function on a cell, exactly; None where this rule does not show one.

    Every variable is written in q > 0: x = lower + q, or x = (lower + upper q)/(1 + q). If numerator and denominator
    then have coefficients of one sign each, so has the function on the open cell; ends that belong to the cell are
    looked at one by one.
    """
    symbols = sorted(expression.free_symbols, key=str)
    if not set(symbols) <= set(cell):
        return None
    signs = set()
    for ends in product(*(_faces(cell[symbol]) for symbol in symbols)):
        face = dict(zip(symbols, ends, strict=True))
        signs.add(_open_sign(substitute(expression, face)))
    return signs.pop() if len(signs) == 1 else None


def _faces(domain: Domain) -> list[Expr]:
    """The inside of a domain as an expression in a positive q, and each end that belongs to it."""
    q = Dummy("q", positive=True)
    lower, upper = domain.lower, domain.upper
    closed = [end for end, is_open in ((lower, domain.lower_open), (upper, domain.upper_open)) if not is_open]
    if lower == upper:
        return [lower]
    if lower.is_infinite:
        return [*closed, upper - q] if upper.is_finite else []
    return [*closed, lower + q if upper.is_infinite else (lower + upper * q) / (1 + q)]


def _open_sign(expression: Expr) -> int | None:
    """The sign for every positive value of its symbols, by the signs of its coefficients."""
    numerator, denominator = sympy.fraction(sympy.together(expression))
    if numerator == 0:
        return 0
    sign = 1
    for part in (numerator, denominator):
        if not part.is_polynomial():
            return None
        symbols = sorted(part.free_symbols, key=str)
        coefficients = sympy.Poly(part, *symbols).coeffs() if symbols else [part]
        if all(c.is_negative for c in coefficients):
            sign = -sign
        elif not all(c.is_positive for c in coefficients):
            return None
    return sign
