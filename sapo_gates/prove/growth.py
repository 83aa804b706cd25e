"""Enclosures on [R, oo) that keep the order of growth: f(s) in s^p [a, b] for every s >= R.

Plain intervals forget how fast a tail falls, so that r * sech(r)^2 would be oo * 0. Here powers of s are carried along
exactly, and what falls or grows exponentially counts as a high power: exp(-c s) in s^-16 [0, C].
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy
from flint import arb, fmpq
from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from sapo_gates.functions import sigmoid
from sapo_gates.prove.enclose import FUNCTIONS, compiled, power
from sapo_gates.prove.interval import INFINITY, ONE, ZERO, Interval, Undefined

EXPONENTIAL = Fraction(16)
"""The power of s that stands for exponential growth; above what a datasheet multiplies a weight with."""

LOGARITHMIC = Fraction(1, 8)
"""log s grows more slowly than this power."""


@dataclass(frozen=True)
class Growth:
    """s^power times a number in the range, for every s >= start > 0."""

    start: arb
    power: Fraction
    range: Interval

    @property
    def interval(self) -> Interval:
        """Every value on [start, oo)."""
        return self.range * self._power_range(self.power)

    def _power_range(self, exponent: Fraction) -> Interval:
        """s^exponent over [start, oo)."""
        if exponent == 0:
            return Interval(ONE, ONE)
        at_start = Interval.around(self._start_to(exponent))
        if exponent > 0:
            return Interval(at_start.lower, INFINITY)
        return Interval(ZERO, at_start.upper, lower_open=True)

    def _start_to(self, exponent: Fraction) -> arb:
        return self.start ** arb(fmpq(exponent.numerator, exponent.denominator))

    def _with(self, exponent: Fraction, range_: Interval) -> "Growth":
        return Growth(self.start, exponent, range_)

    def __neg__(self) -> "Growth":
        return self._with(self.power, -self.range)

    def __add__(self, other: "Growth") -> "Growth":
        if self.power < other.power:
            return other + self
        if other.range.is_point and other.range.lower == 0:
            return self
        return self._with(self.power, self.range + other.range * self._power_range(other.power - self.power))

    def __mul__(self, other: "Growth") -> "Growth":
        return self._with(self.power + other.power, self.range * other.range)

    def to(self, exponent: Rational) -> "Growth":
        """A rational power."""
        q = Fraction(int(exponent.p), int(exponent.q))
        return self._with(self.power * q, power(self.range, exponent))

    def exp(self) -> "Growth":
        """e to it."""
        sign = 1 if self.range.is_positive else -1
        slowest = self.range.lower if sign > 0 else -self.range.upper
        rate = slowest * arb(fmpq(self.power.numerator, self.power.denominator)) * self._start_to(self.power)
        if self.power <= 0 or not rate >= int(EXPONENTIAL):  # s^-16 e^(c s^p) is not shown to be monotone from here on
            return self._with(Fraction(0), FUNCTIONS[sympy.exp](self.interval))
        bound = (sign * slowest * self._start_to(self.power)).exp() * self._start_to(-sign * EXPONENTIAL)
        if sign > 0:
            return self._with(EXPONENTIAL, Interval(bound.lower(), INFINITY))
        return self._with(-EXPONENTIAL, Interval(ZERO, bound.upper(), lower_open=True))

    def log(self) -> "Growth":
        """log(s^p x) = p log s + log x."""
        inner = self._with(Fraction(0), FUNCTIONS[sympy.log](self.range))
        if self.power == 0:
            return inner
        # log s / s^(1/8) has its peak 8/e at s = e^8
        at_start = (self.start.log() * self._start_to(-LOGARITHMIC)).upper() if self.start.log() > 8 else ZERO
        most = at_start if at_start > 0 else (8 / arb.const_e()).upper()
        least = ZERO if self.start >= 1 else -INFINITY
        logarithm = self._with(LOGARITHMIC, Interval(least, most))
        return inner + logarithm * self._with(Fraction(0), _number(self.power))

    def odd(self, function: Callable[[Interval], Interval], slope: arb) -> "Growth":
        """An increasing odd function that bends towards the axis: g(y)/y falls from the slope at 0."""
        if self.power >= 0:
            return self._with(Fraction(0), function(self.interval))
        size = self.interval.absolute().upper
        if size == 0:
            return self
        quotient = function(Interval(size, size)) * Interval(size, size).reciprocal()
        return self._with(self.power, self.range * Interval(quotient.lower, slope.upper()))

    def sech(self) -> "Growth":
        """2 e^-|y|/(1 + e^-2|y|), between once and twice e^-|y|."""
        if self.power <= 0:
            return self._with(Fraction(0), FUNCTIONS[sympy.sech](self.interval))
        falls = (self if self.range.is_negative else -self).exp()
        return falls * self._with(Fraction(0), Interval(ONE, ONE + 1))

    def sigmoid(self) -> "Growth":
        """Between half of e^y and e^y, where y < 0."""
        if self.power <= 0 or not self.range.is_negative:
            return self._with(Fraction(0), FUNCTIONS[sigmoid](self.interval))
        return self.exp() * self._with(Fraction(0), Interval(ONE / 2, ONE))

    def erfc(self) -> "Growth":
        """At most e^(-y^2), where y > 0."""
        if self.power <= 0 or not self.range.is_positive:
            return self._with(Fraction(0), FUNCTIONS[sympy.erfc](self.interval))
        falls = (-(self * self)).exp()
        return falls * self._with(Fraction(0), Interval(ZERO, ONE, lower_open=True))

    def other(self, function: Any) -> "Growth":
        """Any function of which no growth is known."""
        return self._with(Fraction(0), function(self.interval))


_METHODS: dict[Any, Callable[[Growth], Growth]] = {
    sympy.exp: Growth.exp,
    sympy.log: Growth.log,
    sympy.sech: Growth.sech,
    sympy.erfc: Growth.erfc,
    sigmoid: Growth.sigmoid,
    sympy.tanh: lambda g: g.odd(FUNCTIONS[sympy.tanh], ONE),
    sympy.atan: lambda g: g.odd(FUNCTIONS[sympy.atan], ONE),
    sympy.erf: lambda g: g.odd(FUNCTIONS[sympy.erf], 2 / arb.pi().sqrt()),
    sympy.asinh: lambda g: g.odd(FUNCTIONS[sympy.asinh], ONE) if g.power < 0 else g.other(FUNCTIONS[sympy.asinh]),
}


def growth(expression: Expr, s: Symbol, start: Fraction) -> Growth:
    """The expression for every s >= start > 0.

    Raises:
        Undefined: no enclosure of its growth is found.
    """
    first = arb(fmpq(start.numerator, start.denominator)).lower()
    seen: dict[Expr, Growth] = {}

    def of(node: Expr) -> Growth:
        if node not in seen:
            seen[node] = found(node)
        return seen[node]

    def found(node: Expr) -> Growth:
        if node == s:
            return Growth(first, Fraction(1), Interval(ONE, ONE))
        if s not in node.free_symbols:
            return Growth(first, Fraction(0), compiled(node)({}))
        match node:
            case Add() | Mul():
                total, *rest = map(of, node.args)
                for one in rest:
                    total = total + one if isinstance(node, Add) else total * one
                return total
            case Pow(exp=Rational()):
                return of(node.base).to(node.exp)
            case Pow():
                return (of(node.exp) * of(node.base).log()).exp()
        if len(node.args) != 1:
            function = FUNCTIONS.get(node.func)
            if function is None:
                raise Undefined(f"no rigorous enclosure for {node.func.__name__}")
            return Growth(first, Fraction(0), function(*(of(argument).interval for argument in node.args)))
        inner = of(node.args[0])
        if node.func in _METHODS:
            return _METHODS[node.func](inner)
        if node.func not in FUNCTIONS:
            raise Undefined(f"no rigorous enclosure for {node.func.__name__}")
        return inner.other(FUNCTIONS[node.func])

    return of(expression)


def _number(number: Fraction) -> Interval:
    return Interval.of(number, number)
