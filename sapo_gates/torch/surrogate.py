"""A certificate and temperatures in, a torch function out: generated, measured, loaded."""

import linecache
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sympy
from sympy import Expr, Function
from sympy.core.function import AppliedUndef
from torch import Tensor

from sapo_gates.derive import derivative
from sapo_gates.derive import formula as declared_formula
from sapo_gates.errors import ExportError, NotCertified
from sapo_gates.functions import r, z
from sapo_gates.gate import Gate, Number
from sapo_gates.torch import runtime
from sapo_gates.torch import wide as numbers_
from sapo_gates.torch.forms import best_plain, best_wide, line, names, wide_formula
from sapo_gates.torch.primitive import table
from sapo_gates.torch.runtime import PARTS, Formula, Part, Quantity, TorchGate, wide
from sapo_gates.torch.wide import Primitive
from sapo_gates.verdict import SIGNS, Sign

if TYPE_CHECKING:
    from sapo_gates.certificate import Certificate

Numbers = Mapping[Sign, Mapping[str, sympy.Rational]]
QUANTITIES: tuple[Quantity, ...] = ("score", "value", "weight", "slope")


def surrogate(
    certificate: "Certificate",
    *,
    positive: Mapping[str, Number] | None = None,
    negative: Mapping[str, Number] | None = None,
    allow_uncertified: bool = False,
) -> TorchGate:
    """The certified gate as a torch function of the log-ratio, at the trained parameter values or those given.

    Raises:
        NotCertified: a requirement is refuted or undecided, unless allow_uncertified; the result then says so.
        ParameterValueError: a value outside the domain the gate is certified for.
        UnknownParameter: the gate has no parameter of that name.
        ExportError: the formula needs a function that torch does not have.
    """
    source = gate_source(certificate, positive=positive, negative=negative, allow_uncertified=allow_uncertified)
    filename = f"<gate {certificate.gate.name} {hash(source):x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = {**names(numbers_), **names(runtime)}
    exec(compile(source, filename, "exec"), namespace)  # printed by `generate` from an expression, never a user's text
    return replace(namespace["gate"], declaration=certificate.gate)


def gate_source(
    certificate: "Certificate",
    *,
    positive: Mapping[str, Number] | None = None,
    negative: Mapping[str, Number] | None = None,
    allow_uncertified: bool = False,
) -> str:
    """The same as Python source that needs the names of `wide` and `runtime`."""
    certified = certificate.verdict == "certified"
    if not (certified or allow_uncertified):
        raise NotCertified(_refusal(certificate))
    gate = certificate.gate
    numbers: Numbers = {
        "positive": parameter_values(gate, "positive", positive),
        "negative": parameter_values(gate, "negative", negative),
    }
    printed = _Module(gate, numbers)
    shown = {sign: {name: str(value) for name, value in numbers[sign].items()} for sign in SIGNS}
    return "\n\n".join(
        [
            *printed.definitions.values(),
            f"gate = TorchGate(\n    name={gate.name!r},\n    digest={certificate.digest!r},\n"
            f"    certified={certified},\n    positive={shown['positive']!r},\n    negative={shown['negative']!r},\n"
            f"    formulas={{\n{_entries({key: name for key, (name, _) in printed.formulas.items()})}    }},\n"
            f"    plain_forms={{\n{_entries(printed.plain_forms)}    }},\n)\n",
        ]
    )


def _entries(table: Mapping[Any, str]) -> str:
    return "".join(f"        {key!r}: {name},\n" for key, name in table.items())


class _Module:
    """The definitions that one gate's module consists of, by name in the order they are printed."""

    def __init__(self, gate: Gate, numbers: Numbers) -> None:
        self.gate, self.numbers = gate, numbers
        self.definitions: dict[str, str] = {}
        self.primitives: dict[str, Primitive] = {}
        self.formulas: dict[tuple[Sign, Quantity], tuple[str, Formula]] = {}
        self.plain_forms: dict[tuple[Sign, Part], str] = {}
        self.expressions: dict[tuple[Sign, Quantity], Any] = {}
        for sign in SIGNS:
            for quantity in QUANTITIES:
                self._add_formula(sign, quantity)
        truths = {key: wide(formula, line()) for key, (_, formula) in self.formulas.items()}
        for part in PARTS:
            self._add_plain(part, truths)

    def _add_formula(self, sign: Sign, quantity: Quantity) -> None:
        """One formula where both signs have the same."""
        name = f"{sign}_{quantity}"
        expression = bound_formula(self.gate, sign, quantity, self.numbers[sign])
        same = next((key for key, known in self.expressions.items() if known == expression), None)
        if expression is not None and same is not None:
            self.expressions[sign, quantity], self.formulas[sign, quantity] = expression, self.formulas[same]
            return
        try:
            found = best_wide(f"{name}_", expression) if expression is not None else None
        except ExportError:
            if quantity != "value" or self.gate.kind == "value":
                raise
            found = None  # an integral in functions torch does not have is no closed form here
        if found is None:
            expression = self._primitive(sign)
            found = wide_formula(f"{name}_", expression, self.primitives)
        source, formula = found
        self.definitions[name] = f"{source}\n\n{name} = Formula({name}_, {formula.needs}, {formula.key!r})\n"
        self.expressions[sign, quantity], self.formulas[sign, quantity] = expression, (name, formula)

    def _primitive(self, sign: Sign) -> Any:
        """The value as a function of z in pieces; of both signs, where they have the same score weight."""
        score = bound_formula(self.gate, sign, "score", self.numbers[sign])
        if sign == "negative" and score == self.expressions["positive", "score"]:
            return self.expressions["positive", "value"]
        rows = table(score)
        text = "\n".join(f"    {row!r},".replace("inf", "torch.inf") for row in rows)
        name = f"{sign}_primitive_{sha256(text.encode()).hexdigest()[:8]}"  # its formula's key must be its own too
        self.definitions[name] = f"{name} = Primitive((\n{text}\n))\n"
        self.primitives[name] = Primitive(tuple(rows))
        return Function(name)(z)

    def _add_plain(self, part: Part, truths: Mapping[tuple[Sign, Quantity], Tensor]) -> None:
        """One form where the signs differ in constants only."""
        free: dict[Sign, dict[sympy.Symbol, sympy.Rational]] = {
            sign: {self.gate.parameter(n): v for n, v in self.numbers[sign].items()} for sign in SIGNS
        }
        shared = [self._shared(quantity) for quantity in PARTS[part]]
        tries: list[tuple[str, list[Any], tuple[Sign, ...]]] = []
        if None not in shared:
            tries.append((f"plain_{part}", shared, SIGNS))
        for sign in SIGNS:
            tries.append((f"plain_{sign}_{part}", [self.expressions[sign, q] for q in PARTS[part]], (sign,)))
        for name, expressions, signs in tries:
            true: dict[Sign, list[Tensor]] = {
                sign: [truths[sign, quantity] for quantity in PARTS[part]] for sign in signs
            }
            found = best_plain(f"{name}_", expressions, free, true, self.primitives, quick=part == "token")
            if found is not None:
                source, form = found
                quick = f", {form.quick.__name__}" if form.quick else ""
                text = f"{form.needs}, {form.limit}, {form.constants}, {form.powers}, {form.single_for}{quick}"
                text = f"Plain({name}_, {text})"
                self.definitions[name] = f"{source}\n\n{name} = {text}\n"
                self.plain_forms |= {(sign, part): name for sign in signs}
            if ("negative", part) in self.plain_forms:
                break

    def _shared(self, quantity: Quantity) -> Any:
        """One formula for both signs, with the parameters in it that differ, but for exponents; None: there is none."""
        positive, negative = (self.expressions[sign, quantity] for sign in SIGNS)
        if positive == negative:
            return positive
        if self.gate.declared("positive") != self.gate.declared("negative") or positive.has(AppliedUndef):
            return None
        same = {
            name: value for name, value in self.numbers["positive"].items() if self.numbers["negative"][name] == value
        }
        formula: Any = bound_formula(self.gate, "positive", quantity, same)
        in_exponents = {symbol for power in formula.atoms(sympy.Pow) for symbol in power.exp.free_symbols}
        return None if in_exponents - {r} else formula


def _refusal(certificate: "Certificate") -> str:
    failed = [q for verdict in ("refuted", "undecided") for q in certificate.requirements if q.verdict == verdict]
    what = f"the certificate's verdict is {certificate.verdict}"
    if failed:
        witness = failed[0].witness
        where = f" at r = {', '.join(witness.r)} ({witness.why})" if witness else ""
        what = f"{failed[0].id} is {failed[0].verdict}{where}"
    return (
        f"cannot export gate {certificate.gate.name!r}: {what}. Pass allow_uncertified=True to "
        f"sapo_gates.torch.surrogate to get a function that is marked as such."
    )


def parameter_values(gate: Gate, sign: Sign, given: Mapping[str, Number] | None) -> dict[str, sympy.Rational]:
    """The trained values, with those given in their place, each inside its domain."""
    return {p.name: p.value_for(sign) for p in gate.parameters} | gate.checked(given or {})


def bound_formula(gate: Gate, sign: Sign, quantity: Quantity, numbers: Mapping[str, sympy.Rational]) -> Expr | None:
    """A formula in r alone; the slope is d phi/dz = r phi'(r)."""
    expression = declared_formula(gate, sign, "score" if quantity == "slope" else quantity)
    if expression is None:
        return None
    bound: Any = expression.xreplace({gate.parameter(name): value for name, value in numbers.items()})
    return r * derivative(bound, r) if quantity == "slope" else bound
