"""Gate text to sympy, without eval: a small precedence parser that can build formulas and nothing else.

The grammar is Python's for arithmetic and comparisons, with `^` as a second spelling of `**`; numbers are exact
(`0.1` is one tenth). Every function and name comes from `functions.py` or the gate's own parameters.
"""

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast

import sympy
from sympy import Add, Expr, Integer, Rational

from sapo_gates.errors import GateTextError, did_you_mean
from sapo_gates.functions import CONSTANTS, ELEMENTARY, r, z

MAX_LENGTH = 10_000  # characters; the longest published gate has 90
MAX_TOKENS = 2_000  # sympy sorts a sum anew with every term
MAX_COMMAS = 40
MAX_CORNERS = 20  # Abs, sign, Max, Min and Piecewise together: sympy asks for the sign of everything inside
MAX_COMPARED = 8  # arguments of one Max or Min, which sympy compares in pairs
MAX_DEPTH = 60  # nested brackets and signs
MAX_EXPONENT = 1_000  # of a power whose base holds r or a parameter
MAX_DIGITS = 1_000  # of an exact number, so that what was read can be written and read again
MAX_BITS = 20_000  # of a number on the way there
MAX_CONSTANT = 10_000  # that a function is applied to: cosh(1e30) has 10^29 digits, and sin(1e30) needs 30 more
GAMMA_LIKE = ("gamma", "loggamma", "lowergamma", "uppergamma")
MAX_ORDER = 10  # of an incomplete gamma function: sympy spells integer orders as that many terms
CORNERS = ("Abs", "sign", "Max", "Min", "Piecewise")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<op>\*\*|<=|>=|[-+*/^(),<>&|])|(?P<bad>\S))",
    re.ASCII,
)
_BINARY = {"<": 1, ">": 1, "<=": 1, ">=": 1, "|": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5, "**": 7, "^": 7}
_SIGN_POWER = 6  # a sign binds tighter than * and looser than **: -a**2 is -(a**2)
_RELATIONS: dict[str, Callable[[Expr, Expr], Any]] = {
    "<": sympy.StrictLessThan,
    ">": sympy.StrictGreaterThan,
    "<=": sympy.LessThan,
    ">=": sympy.GreaterThan,
}
_CONNECTIVES = {"&": sympy.And, "|": sympy.Or}  # sympy joins neighbouring pieces of one value by them, so they are read


def parse_expression(text: str, parameters: Mapping[str, Expr]) -> Expr:
    """The sympy expression that the text spells, in r, z = log r and the named parameters.

    Raises:
        GateTextError: the text is empty, too long or too deep, is no formula, or names something unknown.
    """
    if len(text) > MAX_LENGTH:
        raise GateTextError(
            f"expression of {len(text)} characters: at most {MAX_LENGTH} are read; write the gate in fewer terms."
        )
    try:
        result = _Parser(text, {"r": r, "z": z, **CONSTANTS, **parameters}).whole()
    except (ArithmeticError, TypeError, ValueError, RecursionError, AttributeError) as error:
        raise GateTextError(f"{_shown(text)} is no formula of a gate: {_first_line(error)}") from error
    _check_readable(text, result)
    return result


def _check_readable(text: str, result: Any) -> None:
    """Refuse what is no finite real expression, and what sympy writes in words that this parser does not know."""
    if not isinstance(result, Expr) or result.has(
        sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I, sympy.AccumBounds
    ):
        raise GateTextError(f"{_shown(text)} = {_shown(str(result))} is not a finite real expression; a gate is one.")
    for function in result.atoms(sympy.Function):
        if function.func not in ELEMENTARY.values():
            raise GateTextError(
                f"{_shown(text)} becomes {_shown(str(function))}, and {function.func.__name__} is unknown; "
                f"known are {', '.join(ELEMENTARY)}."
            )
    for power in result.atoms(sympy.Pow):
        _check_power(power.base, power.exp)
    for number in result.atoms(Rational):
        if max(abs(int(number.p)), int(number.q)) >= 10**MAX_DIGITS:
            raise GateTextError(f"{_shown(text)} holds a number of over {MAX_DIGITS} digits; rescale the formula.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


class _Parser:
    """Precedence climbing over the tokens of one text."""

    def __init__(self, text: str, names: Mapping[str, Expr]) -> None:
        self.text, self.names, self.depth, self.at = text, names, 0, 0
        self.tokens: list[tuple[str, str]] = []
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup
            assert kind is not None
            if kind == "bad":
                raise GateTextError(f"{match['bad']!r} in {_shown(text)} is not part of a formula; remove it.")
            self.tokens.append((kind, match[kind]))
        for what, found, most in (
            ("words and operators", len(self.tokens), MAX_TOKENS),
            ("commas", self.tokens.count(("op", ",")), MAX_COMMAS),
            (f"of {', '.join(CORNERS)}", sum(token in CORNERS for _, token in self.tokens), MAX_CORNERS),
        ):
            if found > most:
                raise GateTextError(f"{_shown(text)} has {found} {what}: at most {most} are read; write it shorter.")

    def whole(self) -> Any:
        if not self.tokens:
            raise GateTextError(
                "the expression is empty: a gate is a formula in r, for example '1 + atan(tau*(r - 1))/tau'."
            )
        result = self.operand(0)
        if self.at < len(self.tokens):
            raise self.unexpected()
        return result

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def unexpected(self) -> GateTextError:
        found = repr(self.peek()) if self.peek() else "the end"
        return GateTextError(
            f"{_shown(self.text)}: {found} is not expected there; check operators, commas and brackets."
        )

    def take(self, token: str) -> None:
        if self.peek() != token:
            raise self.unexpected()
        self.at += 1

    def operand(self, floor: int) -> Any:
        """A term and everything after it that binds at least as tightly as `floor`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise GateTextError(f"{_shown(self.text)} is nested deeper than {MAX_DEPTH}; remove brackets.")
        left = self.prefix()
        while (binding := _BINARY.get(self.peek(), -1)) >= floor and binding > 0:
            operator = self.peek()
            self.at += 1
            # powers associate to the right; a chain of comparisons has no meaning here
            right = self.operand(binding if operator in ("**", "^") else binding + 1)
            left = self.apply(operator, left, right)
        self.depth -= 1
        return left

    def prefix(self) -> Any:
        kind, token = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if kind == "op" and token in "+-":
            self.at += 1
            inner = self.number_like(self.operand(_SIGN_POWER))
            return -inner if token == "-" else inner
        if token == "(":
            self.at += 1
            items = self.items()
            return items[0] if len(items) == 1 else tuple(items)
        if kind == "number":
            self.at += 1
            return _literal(token)
        if kind == "name":
            self.at += 1
            return self.call(token) if self.peek() == "(" else self.named(token)
        raise self.unexpected()

    def items(self) -> list[Any]:
        """What stands between the bracket just opened and its end, separated by commas."""
        found = [self.operand(0)]
        while self.peek() == ",":
            self.at += 1
            if self.peek() == ")":
                break
            found.append(self.operand(0))
        self.take(")")
        return found

    def named(self, name: str) -> Any:
        if name in self.names:
            return self.names[name]
        if name == "True":
            return sympy.true
        if name in ELEMENTARY:
            raise GateTextError(f"{name!r} is a function and needs an argument: {name}(...).")
        known = [*self.names, *ELEMENTARY]
        raise GateTextError(
            f"unknown name {name!r}; a gate may use {', '.join(self.names)} and functions.{did_you_mean(name, known)}"
        )

    def call(self, name: str) -> Any:
        if name not in ELEMENTARY:
            what = f"{name!r} is not a function" if name in self.names else f"unknown function {name!r}"
            raise GateTextError(f"{what}; known are {', '.join(ELEMENTARY)}.{did_you_mean(name, ELEMENTARY)}")
        self.take("(")
        arguments = self.items()
        if name == "Piecewise":
            return _piecewise(arguments)
        _check_call(name, [self.number_like(argument) for argument in arguments])
        return _real(ELEMENTARY[name](*arguments))

    def number_like(self, operand: Any) -> Expr:
        if not isinstance(operand, Expr):
            raise GateTextError(
                f"{_shown(self.text)}: {_shown(str(operand))} is not a number; comparisons belong into Piecewise, "
                "two of them as (a < r) & (r < b)."
            )
        return operand

    def condition(self, operand: Any) -> Any:
        if isinstance(operand, Expr | tuple):
            raise GateTextError(
                f"{_shown(self.text)}: {_shown(str(operand))} is not a condition; write for example r < 1."
            )
        return operand

    def apply(self, operator: str, left: Any, right: Any) -> Any:
        if operator in _CONNECTIVES:
            return _CONNECTIVES[operator](self.condition(left), self.condition(right))
        left, right = self.number_like(left), self.number_like(right)
        match operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
            case "**" | "^":
                _check_power(left, right)
                return _real(_power(left, right))
        if left.has(sympy.Piecewise) or right.has(sympy.Piecewise):
            raise GateTextError(f"{_shown(self.text)}: a condition holds no Piecewise; write one piece more instead.")
        return _RELATIONS[operator](left, right)


def _power(base: Expr, exponent: Expr) -> Expr:
    """base^exponent, a large factor of what holds a logarithm in front.

    SymPy takes (10^9 log(r) - 2)^2 in an exponential apart as log(r^(10^9)) - 2, and asks polynomials for its sign.
    """
    if isinstance(base, Add) and base.has(sympy.log, z) and isinstance(exponent, Rational):
        largest = max(abs(term.as_coeff_Mul()[0]) for term in base.args if term.has(sympy.log, z))
        if largest > MAX_EXPONENT:
            return largest**exponent * sympy.expand_mul(base / largest) ** exponent
    return cast(Expr, base**exponent)


def _real(value: Expr) -> Expr:
    """The value, unless it is a number like asin(2) that is not real: sympy would look for its sign forever."""
    if value.is_number and not value.has(sympy.nan, sympy.zoo, sympy.AccumBounds) and sympy.N(value, 5).has(sympy.I):
        raise GateTextError(f"{_shown(str(value))} is not a real number; keep arguments inside the function's domain.")
    return value


def _literal(token: str) -> Expr:
    mantissa, _, exponent = token.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > 400:
        raise GateTextError(
            f"the number {_shown(token)} is too long: at most {MAX_DIGITS} digits and 10^400 are read; rescale."
        )
    return Rational(Fraction(token).numerator, Fraction(token).denominator)


def _piecewise(pieces: list[Any]) -> Expr:
    for piece in pieces:
        if not (isinstance(piece, tuple) and len(piece) == 2 and isinstance(piece[0], Expr)) or isinstance(
            piece[1], Expr
        ):
            raise GateTextError("Piecewise takes pairs: Piecewise((value, condition), ..., (value, True)).")
    if pieces[-1][1] is not sympy.true:
        raise GateTextError("Piecewise must end with (value, True), so that it is defined everywhere; add that pair.")
    return sympy.Piecewise(*pieces)


def _magnitude(number: Expr) -> float:
    """log2 |number|, roughly; 0 for zero."""
    if isinstance(number, Rational):
        return max(abs(int(number.p)).bit_length(), int(number.q).bit_length())
    approximate = abs(sympy.N(number, 5))
    return float(abs(sympy.log(approximate, 2))) if approximate.is_Float and approximate != 0 else 0.0


def _check_power(base: Expr, exponent: Expr) -> None:
    """Refuse, before sympy computes it, a power whose digits would not fit into memory."""
    if not exponent.is_number:
        return
    size = abs(exponent) if isinstance(exponent, Rational) else abs(sympy.N(exponent, 5))
    too_large = size * max(_magnitude(base), 1) > MAX_BITS if base.is_number else size > MAX_EXPONENT
    too_large = too_large or (base.is_number and isinstance(exponent, Rational) and exponent.q > MAX_EXPONENT)
    if too_large and base != Integer(1):
        raise GateTextError(
            f"the power {_shown(f'{base}**{exponent}')} is too large: exponents go to {MAX_EXPONENT}, exact numbers to "
            f"{MAX_BITS} bits; rescale the formula."
        )


def _check_call(name: str, arguments: list[Expr]) -> None:
    """The same for functions that sympy evaluates exactly."""
    largest = 100 if name in GAMMA_LIKE else math.inf if name in (*CORNERS, "sqrt", "log") else MAX_CONSTANT
    for argument in arguments:
        vanishes = name == "exp" and argument.is_Rational and argument.is_negative  # as at a needle's foot
        if argument.is_number and not vanishes and abs(sympy.N(argument, 5)) > largest:
            raise GateTextError(
                f"{name}({_shown(str(argument))}) is too large: numbers up to {largest} are read there; rescale."
            )
    if name in ("lowergamma", "uppergamma") and arguments[0].is_number and abs(sympy.N(arguments[0], 5)) > MAX_ORDER:
        raise GateTextError(f"{name} of order {_shown(str(arguments[0]))}: orders up to {MAX_ORDER} are read.")
    if name in ("Max", "Min"):
        compared = sum(len(a.args) if a.func is ELEMENTARY[name] else 1 for a in arguments)
        if compared > MAX_COMPARED:
            raise GateTextError(f"{name} of {compared} arguments: at most {MAX_COMPARED} are read; use fewer.")
    if name == "exp":
        for term in sympy.Add.make_args(arguments[0]):
            coefficient, rest = term.as_coeff_Mul()
            if rest.func is sympy.log:  # exp(n log x) is the power x^n to sympy
                _check_power(sympy.Symbol("base"), coefficient)


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?(?:/0*[1-9]\d*)?"
_DOMAIN = re.compile(rf"\s*([\[(])\s*({_NUMBER}|-oo)\s*,\s*({_NUMBER}|\+?oo)\s*([\])])\s*", re.ASCII)


def parse_number(text: str) -> Rational:
    """The rational that a text spells exactly: `10`, `0.1`, `1e-9`, `1/3`.

    Raises:
        GateTextError: the text is no number, or a very long one.
    """
    if len(text) > 400 or re.fullmatch(_NUMBER, text, re.ASCII) is None:
        raise GateTextError(f"{_shown(text)} is no number of at most 400 digits; write for example 10, 0.1 or 1/3.")
    return Rational(text)


def parse_domain(text: str) -> tuple[Expr, Expr, bool, bool]:
    """`(0, oo)` as (lower, upper, lower is open, upper is open); ends are exact rationals or infinite.

    Raises:
        GateTextError: the text is no interval, or an empty one.
    """
    match = _DOMAIN.fullmatch(text) if len(text) < 1_000 else None
    if match is None:
        raise GateTextError(f"domain {_shown(text)} is no interval; write for example '(0, oo)' or '[1/20, 20]'.")
    opening, lower_text, upper_text, closing = match.groups()
    lower = -sympy.oo if lower_text == "-oo" else parse_number(lower_text)
    upper = sympy.oo if upper_text.endswith("oo") else parse_number(upper_text)
    lower_open, upper_open = opening == "(", closing == ")"
    if (lower.is_infinite and not lower_open) or (upper.is_infinite and not upper_open):
        raise GateTextError(
            f"domain {_shown(text)} includes infinity, which is not a number; write a round bracket there."
        )
    if lower > upper or (lower == upper and (lower_open or upper_open)):
        raise GateTextError(f"domain {_shown(text)} is empty: the lower end must lie below the upper one.")
    return lower, upper, lower_open, upper_open
