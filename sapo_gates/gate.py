"""A gate: one formula for each sign of the advantage, declared by value, weight or score weight.

    value  f(r)        the objective's token term is f(r) * A
    weight w(r) = f'(r)    what multiplies the policy gradient; 1 on policy
    score  phi(r) = r w(r)  what multiplies A * grad log pi

Of the three one is declared and the others are derived. Source: arXiv:2511.20347, arXiv:2602.19345v2.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import sympy
from sympy import Expr, Rational, Symbol

from sapo_gates.errors import GateTextError, ParameterValueError, TraceError, UnknownParameter, did_you_mean
from sapo_gates.expression import parse_domain, parse_expression, parse_number
from sapo_gates.functions import CONSTANTS, ELEMENTARY, r, substitute, z
from sapo_gates.verdict import SIGNS, Sign


def _written(expression: Expr, parameters: Mapping[str, "Parameter"]) -> str:
    """The text that reads as an expression with this text: sympy writes 1/(2*(r + 1)) and reads it as 1/(2*r + 2)."""
    text = ""
    for _ in range(MAX_REREADS):
        text = sympy.sstr(expression)
        again = parse_expression(text, parameters)
        if again == expression:
            return text
        expression = again
    raise GateTextError(f"{text[:60]!r} has no text that sympy reads as it wrote it; simplify the formula.")


MAX_REREADS = 5


def _quoted(text: object) -> str:
    """As a TOML string; JSON's is one, but for the delete character, which TOML wants spelled."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


Kind = Literal["value", "weight", "score"]
Number = int | float | str | Fraction | sympy.Rational


def exact(number: Number) -> Rational:
    """The rational a number was written as: 0.1 is one tenth, not the double next to it.

    Raises:
        GateTextError: it is not a finite number.
    """
    return parse_number(str(number))


@dataclass(frozen=True)
class Domain:
    """An interval with rational or infinite ends, open or closed: the values a claim is made for."""

    lower: Expr
    upper: Expr
    lower_open: bool
    upper_open: bool

    @staticmethod
    def parse(text: str) -> "Domain":
        """`(0, oo)`, `[1/20, 20]`, `[1, oo)`."""
        return Domain(*parse_domain(text))

    def __str__(self) -> str:
        left, right = "[("[self.lower_open], "])"[self.upper_open]
        return f"{left}{self.lower}, {self.upper}{right}"

    def __contains__(self, number: Rational) -> bool:
        above = number > self.lower or (number == self.lower and not self.lower_open)
        below = number < self.upper or (number == self.upper and not self.upper_open)
        return bool(above and below)

    @property
    def is_positive(self) -> bool:
        """Whether every value is > 0."""
        return bool(self.lower > 0 or (self.lower == 0 and self.lower_open))


RESERVED = ("r", "z", "s_", "t_", "u_", "True", *CONSTANTS, *ELEMENTARY)
"""Names no parameter may have; s, t and u are the coordinates in which certificates speak."""


class Parameter(Symbol):
    """A parameter of a gate: a sympy symbol that knows its domain and the values it is trained with.

    domain: what is claimed, e.g. `(0, oo)` for every tau > 0. positive, negative: the trained value where A > 0, and
    otherwise; exact rationals. says: the parameter in words.
    """

    domain: Domain
    positive: Rational
    negative: Rational
    says: str

    def __new__(cls, name: str, domain: str, positive: Number, negative: Number, says: str = "") -> "Parameter":
        """Checks the name, and that both trained values lie in the domain."""
        if name in RESERVED or not name.isidentifier() or not name.isascii():
            raise GateTextError(
                f"parameter name {name!r} is taken or not a name; choose letters, digits and _, such as 'tau'."
            )
        interval = Domain.parse(domain)
        assumptions = {"positive": True} if interval.is_positive else {"real": True}
        self = Symbol.__xnew__(cls, name, **assumptions)
        self.domain, self.says = interval, says
        self.positive, self.negative = exact(positive), exact(negative)
        for value in (self.positive, self.negative):
            if value not in interval:
                raise ParameterValueError(
                    f"{name}={value} is outside its domain {interval}: a gate is trained only where it is claimed; "
                    f"choose a value inside, or widen the domain."
                )
        return self

    def __getnewargs_ex__(self) -> Any:
        """Symbol's pickling would drop domain and values."""
        return (self.name, str(self.domain), str(self.positive), str(self.negative), self.says), {}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Rebuild through the constructor."""
        return Parameter, self.__getnewargs_ex__()[0]

    def value_for(self, sign: Sign) -> Rational:
        """The trained value for that sign of A."""
        return self.positive if sign == "positive" else self.negative


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate function as mathematics; immutable.

    Exactly one of value, weight, score is given: an expression in r (or z = log r) and the parameters, or a pair
    (for A > 0, for A <= 0).

    Raises:
        GateTextError: none or several of the three are given, or a symbol is neither r, z nor a parameter.
    """

    name: str
    value: Expr | tuple[Expr, Expr] | None = None
    weight: Expr | tuple[Expr, Expr] | None = None
    score: Expr | tuple[Expr, Expr] | None = None
    parameters: tuple[Parameter, ...] = ()
    source: str = ""
    says: str = ""

    def __post_init__(self) -> None:
        given = [kind for kind in ("value", "weight", "score") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise GateTextError(
                f"gate {self.name!r} declares {given or 'nothing'}: exactly one of value, weight, score "
                f"defines a gate, the others are derived; keep one."
            )
        known = {r, z, *self.parameters}
        for sign in SIGNS:
            unknown = self.declared(sign).free_symbols - known
            if unknown:
                name = str(min(unknown, key=str))
                raise GateTextError(
                    f"gate {self.name!r} uses {name!r}, which is neither r, z nor a parameter "
                    f"{[p.name for p in self.parameters]}.{did_you_mean(name, [str(k) for k in known])}"
                )
            floats = self.declared(sign).atoms(sympy.Float)
            if floats:
                raise GateTextError(
                    f"gate {self.name!r} holds the float {min(floats)}: proofs are about exact numbers; write Rational."
                )

    @classmethod
    def from_torch(cls, function: Callable[..., Any], **options: Any) -> "Gate":
        """The gate that an elementwise torch function of the ratio or log-ratio computes, read from its graph.

        Takes the options of `sapo_gates.torch.trace.trace_gate`, which it calls: of, kind, name, parameters.

        Raises:
            TraceError: an operation that cannot be translated, control flow that depends on the numbers, no torch.
        """
        try:
            from sapo_gates.torch.trace import trace_gate
        except ImportError as error:
            raise TraceError(
                f"a torch function is read with torch, which cannot be imported ({error}); install it."
            ) from error
        return trace_gate(function, **options)

    @property
    def kind(self) -> Kind:
        """Which of value, weight and score weight is declared."""
        return "value" if self.value is not None else "weight" if self.weight is not None else "score"

    def declared(self, sign: Sign) -> Expr:
        """The declared expression for that sign of A."""
        declaration = getattr(self, self.kind)
        chosen = declaration[SIGNS.index(sign)] if isinstance(declaration, tuple) else declaration
        return sympy.sympify(chosen)

    def parameters_for(self, sign: Sign) -> tuple[Parameter, ...]:
        """The parameters that the branch for that sign really depends on."""
        return tuple(p for p in self.parameters if p in self.declared(sign).free_symbols)

    def bind(
        self,
        both: Mapping[str, Number] | None = None,
        *,
        positive: Mapping[str, Number] | None = None,
        negative: Mapping[str, Number] | None = None,
        **numbers: Number,
    ) -> "Gate":
        """The gate with parameters fixed: `SIGMOID.bind(tau=1)`, or `bind(positive={"tau": 10})` for one sign.

        Raises:
            UnknownParameter: the gate has no parameter of that name.
            ParameterValueError: a value lies outside the parameter's domain.
        """
        shared = {**(both or {}), **numbers}
        bound = {"positive": {**shared, **(positive or {})}, "negative": {**shared, **(negative or {})}}
        branches = tuple(self._substitute(sign, bound[sign]) for sign in SIGNS)
        left = {symbol for branch in branches for symbol in branch.free_symbols}
        return replace(
            self,
            **{self.kind: branches[0] if branches[0] == branches[1] else branches},
            parameters=tuple(p for p in self.parameters if p in left or p.name not in {*bound["positive"]}),
        )

    def _substitute(self, sign: Sign, numbers: Mapping[str, Number]) -> Expr:
        return substitute(self.declared(sign), {self.parameter(k): v for k, v in self.checked(numbers).items()})

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name.

        Raises:
            UnknownParameter: there is none.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        names = [p.name for p in self.parameters]
        raise UnknownParameter(
            f"gate {self.name!r} has no parameter {name!r}; it has {names}.{did_you_mean(name, names)}"
        )

    def checked(self, numbers: Mapping[str, Number]) -> dict[str, Rational]:
        """The numbers as exact rationals, each inside its parameter's domain."""
        exacts = {}
        for name, number in numbers.items():
            parameter = self.parameter(name)
            value = exact(number)
            if value not in parameter.domain:
                raise ParameterValueError(
                    f"{name}={number} is outside the domain {parameter.domain} that gate {self.name!r} is claimed for; "
                    f"choose a value inside."
                )
            exacts[name] = value
        return exacts

    @cached_property
    def text(self) -> str:
        """The gate file that declares this gate; loading it gives the same gate."""
        lines = ["[gate]", f"name = {_quoted(self.name)}"]
        parameters = {p.name: p for p in self.parameters}
        positive, negative = (_quoted(_written(self.declared(sign), parameters)) for sign in SIGNS)
        if positive == negative:
            lines.append(f"{self.kind} = {positive}")
        else:
            lines += [f"{self.kind}_pos = {positive}", f"{self.kind}_neg = {negative}"]
        lines += [f"{key} = {_quoted(text)}" for key in ("source", "says") if (text := getattr(self, key))]
        for p in self.parameters:
            lines += ["", f"[parameters.{p.name}]", f"domain = {_quoted(p.domain)}"]
            lines += [f"positive = {_quoted(p.positive)}", f"negative = {_quoted(p.negative)}"]
            lines += [f"says = {_quoted(p.says)}"] if p.says else []
        return "\n".join(lines) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of what is claimed about: declaration, domains and trained values, but not the words around them."""
        claimed = replace(
            self,
            source="",
            says="",
            parameters=tuple(Parameter(p.name, str(p.domain), p.positive, p.negative) for p in self.parameters),
        )
        return "sha256:" + hashlib.sha256(claimed.text.encode()).hexdigest()
