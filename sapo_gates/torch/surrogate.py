"""A certificate and temperatures in, a torch function out: generated, measured, loaded."""

import linecache
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import sympy
import torch
from sympy import Expr, Piecewise

from sapo_gates.derive import derivative
from sapo_gates.derive import formula as declared_formula
from sapo_gates.errors import ExportError, NotCertified
from sapo_gates.functions import r
from sapo_gates.gate import Gate, Number
from sapo_gates.torch import runtime, wide
from sapo_gates.torch.generate import function_source, rewritings, x
from sapo_gates.torch.reference import ball_function, two_floats, value_at
from sapo_gates.torch.runtime import Formula, Quantity, TorchGate
from sapo_gates.verdict import SIGNS, Sign

if TYPE_CHECKING:
    from sapo_gates.certificate import Certificate

QUANTITIES: tuple[Quantity, ...] = ("value", "weight", "score", "slope")
_SIZES = (1e-30, 1e-9, 1e-4, 0.01, 0.07, 0.2, 0.31, 0.7, 1.3, 3, 6, 11, 17, 40, 90, 300, 700, 1e4)
_PROBES = [sign * size for size in _SIZES for sign in (1, -1)]
_GOOD = 1e-14  # relative: 4 ulp of float64 are 9e-16, a cancellation costs far more
_PLAIN_LIMITS = (350.0, 110.0)  # r^2 stays finite; every float32 beyond is 0 or infinite in r


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
    namespace = {**_names(wide), **_names(runtime)}
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
    numbers = {"positive": parameter_values(gate, "positive", positive),
               "negative": parameter_values(gate, "negative", negative)}  # fmt: skip
    printed: dict[Expr, str] = {}
    definitions, table = [], []
    for sign in SIGNS:
        for quantity in QUANTITIES:
            expression = bound_formula(gate, sign, quantity, numbers[sign])
            if expression is None:
                continue
            if expression not in printed:
                name = f"{sign}_{quantity}"
                try:
                    definition, formula = best_source(f"{name}_", expression)
                except ExportError:
                    if quantity == gate.kind or quantity != "value":
                        raise
                    continue  # an integral in functions torch does not have is no closed form here
                definitions.append(
                    f"{definition}\n\n{name} = Formula({name}_, {formula.needs}, {formula.plain_limit})\n"
                )
                printed[expression] = name
            table.append(f"        ({sign!r}, {quantity!r}): {printed[expression]},\n")
    shown = {sign: {name: str(value) for name, value in numbers[sign].items()} for sign in SIGNS}
    return "\n\n".join(
        [
            *definitions,
            f"gate = TorchGate(\n    name={gate.name!r},\n    digest={certificate.digest!r},\n"
            f"    certified={certified},\n    positive={shown['positive']!r},\n    negative={shown['negative']!r},\n"
            f"    formulas={{\n{''.join(table)}    }},\n)\n",
        ]
    )


def _refusal(certificate: "Certificate") -> str:
    failed = [q for verdict in ("refuted", "undecided") for q in certificate.requirements if q.verdict == verdict]
    what = f"the certificate's verdict is {certificate.verdict}"
    if failed:
        witness = failed[0].witness
        where = f" at r = {', '.join(witness.r)} ({witness.why})" if witness else ""
        what = f"{failed[0].id} is {failed[0].verdict}{where}"
    return (
        f"cannot export gate {certificate.gate.name!r}: {what}. Pass allow_uncertified=True to get a function that is "
        f"marked as such."
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


def best_source(name: str, expression: Expr) -> tuple[str, Formula]:
    """The first rewriting that computes well, as source and as what that defines.

    Well: exact to nearly float64 in Wide, and plain float64 is enough for float32. If none does both, the most exact.
    """
    exact = _references(expression)
    measured: list[tuple[float, str, Formula]] = []
    for rewritten in rewritings(expression):
        source, formula = _loaded(name, rewritten)
        if torch.isnan(runtime.wide(formula, torch.zeros(1, dtype=torch.float64))).any():
            source, formula = _loaded(name, _filled(rewritten, expression))  # such as sin(x)/x
        error, formula = _error(formula, exact), replace(formula, plain_limit=_plain_limit(formula))
        if error < _GOOD and formula.plain_limit is not None:
            return source, formula
        measured.append((error, source, formula))
    _, source, formula = min(measured, key=lambda entry: entry[0])
    return source, formula


def _loaded(name: str, expression: Expr) -> tuple[str, Formula]:
    source, needs = function_source(name, expression)
    namespace = _names(wide)
    exec(source, namespace)
    return source, Formula(namespace[name], needs, None)


def _names(module: ModuleType) -> dict[str, Any]:
    """Everything a module defines, but not its own name: torch.compile would look for the rest there."""
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def _filled(rewritten: Expr, expression: Expr) -> Expr:
    """A removable singularity at r = 1 filled by its limit."""
    limit = sympy.limit(expression, r, 1)
    return Piecewise((limit, sympy.Abs(x) <= 0), (rewritten, True)) if limit.is_finite else rewritten


def _references(expression: Expr) -> list[tuple[float, float]]:
    """(z, true value) at the probes, where the true value is a float64 that is neither tiny nor infinite."""
    ball = ball_function(expression)
    known = [(z, two_floats(value_at(ball, z))[0]) for z in _PROBES]
    return [(z, value) for z, value in known if 1e-290 < abs(value) < 1e300]


def _error(formula: Formula, exact: list[tuple[float, float]]) -> float:
    """The worst relative error in Wide numbers."""
    if not exact:
        return 0.0
    z, true = torch.tensor(exact, dtype=torch.float64).unbind(1)
    error = ((runtime.wide(formula, z) - true) / true).abs()
    return torch.nan_to_num(error, nan=torch.inf).max().item()


def _line() -> torch.Tensor:
    """Log-ratios over the whole line of float32, closest where gates bend; few enough for one thread."""
    parts = torch.linspace(0, 20, 500), torch.linspace(20, 120, 100), torch.logspace(-44, 38, 300)
    sizes = torch.cat([*parts, torch.tensor([torch.inf])]).to(torch.float64)
    return torch.cat([sizes, -sizes])


def _plain_limit(formula: Formula) -> float | None:
    """The first limit with which plain float64 gives what Wide gives at float32 inputs over the whole line."""
    z = _line()
    true = runtime.wide(formula, z)
    for limit in _PLAIN_LIMITS:
        quick = runtime.plain(formula, z, limit, {})
        close = (quick - true).abs() <= 2**-28 * true.abs() + 1e-48  # float32 counts in steps of 1.4e-45
        same = (close & torch.isfinite(true)) | (quick.float() == true.float())
        same |= torch.isnan(quick) & torch.isnan(true)
        if same.all():
            return limit
    return None
