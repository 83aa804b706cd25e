"""Gate files, and everything else a user may name a gate by. A gate file holds no code."""

import importlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sympy

from sapo_gates.errors import GateTextError, ParameterValueError, SapoGatesError, UnknownGate, did_you_mean
from sapo_gates.expression import parse_expression, parse_number
from sapo_gates.gate import Gate, Kind, Parameter
from sapo_gates.verdict import SIGNS

MAX_BYTES = 100_000
KINDS: tuple[Kind, ...] = ("value", "weight", "score")
PAIRS = tuple(f"{kind}_{sign}" for kind in KINDS for sign in ("pos", "neg"))
GATE_KEYS = ("name", *KINDS, "source", "says", *PAIRS)
PARAMETER_KEYS = ("domain", "positive", "negative", "says")


def load_gate(name: "str | Path | Gate") -> Gate:
    """A gate from a family's name, a gate file, or `pkg.module:NAME`, a Gate or an elementwise torch function.

    Raises:
        TraceError: a torch function that cannot be read as a formula; what stands in the way is named.
        UnknownGate: nothing of that name; the nearest family is offered.
        GateTextError: the file is no gate file; the line says what and how to mend it.
    """
    if isinstance(name, Gate):
        return name
    from sapo_gates.families import FAMILIES  # built when they are asked for, see sapo_gates.__getattr__

    families = {family.name: family for family in FAMILIES}
    if str(name) in families:
        return families[str(name)]
    path = Path(name)
    if path.suffix == ".toml" or _is_file(path):
        return read_gate_file(path)
    if ":" in str(name):
        return _from_module(str(name))
    raise UnknownGate(
        f"no gate {str(name)!r}: it is neither a family, a gate file (.toml) nor pkg.module:NAME; "
        f"`sapo-gates list` shows the families.{did_you_mean(str(name), families)}"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for one
        return False


def _from_module(dotted: str) -> Gate:
    module_name, _, attribute = dotted.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # the module is the user's, and may fail in any way while it is imported
        raise UnknownGate(
            f"cannot take gate {dotted!r}: {error}; write pkg.module:NAME of an importable module."
        ) from error
    if isinstance(found, Gate):
        return found
    if callable(found) and not isinstance(found, sympy.Basic):  # a symbol can be called, and is no function
        return Gate.from_torch(found)
    raise UnknownGate(f"{dotted!r} is a {type(found).__name__}, not a Gate or a torch function; name one of these.")


def parse_assignments(texts: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameter values for A > 0 and for A <= 0 from texts such as `tau=10` (both signs) and `negative.tau=12` (one).

    Raises:
        ParameterValueError: a text is neither; whether gate and domain fit is for the gate to say.
    """
    numbers: dict[str, dict[str, str]] = {"": {}, **{sign: {} for sign in SIGNS}}
    for text in texts:
        target, equals, value = text.partition("=")
        sign, dot, name = target.rpartition(".")
        if not equals or sign not in numbers or (dot and not sign):
            raise ParameterValueError(f"{text!r} is no assignment; write tau=10, positive.tau=10 or negative.tau=12.")
        numbers[sign][name] = value
    positive, negative = ({**numbers[""], **numbers[sign]} for sign in SIGNS)
    return positive, negative


def read_gate_file(path: Path) -> Gate:
    """The gate declared in a TOML file.

    Raises:
        GateTextError: see `parse_gate`; also a file that is missing, too large or no text.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise GateTextError(
                f"{path} has {path.stat().st_size} bytes: a gate file has at most {MAX_BYTES}; shorten it."
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GateTextError(f"cannot read gate file {path}: {error}; give a UTF-8 text file.") from error
    try:
        return parse_gate(text)
    except SapoGatesError as error:
        raise type(error)(f"{path}: {error}") from error


def parse_gate(text: str) -> Gate:
    """The gate that a gate file's text declares; nothing in it is executed.

    Raises:
        GateTextError: no TOML, an unknown key or name (the nearest is offered), a missing key or a wrong type.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise GateTextError(
            f"not a TOML file: {str(error) or 'nested too deeply'}; see `sapo-gates show arctan` for a gate file."
        ) from error
    _only(content, ("gate", "parameters"), "a gate file")
    if "gate" not in content:
        raise GateTextError("no [gate] table: a gate file has one, with name and value; see `sapo-gates show arctan`.")
    table = _table(content["gate"], "gate")
    _only(table, GATE_KEYS, "[gate]")
    parameters = {
        name: _parameter(name, _table(body, f"parameters.{name}"))
        for name, body in _table(content.get("parameters", {}), "parameters").items()
    }
    kind, texts = _declaration(table)
    expressions = [parse_expression(_text(table, key, "[gate]"), parameters) for key in texts]
    return Gate(
        name=_text(table, "name", "[gate]"),
        source=_text(table, "source", "[gate]", default=""),
        says=_text(table, "says", "[gate]", default=""),
        parameters=tuple(parameters.values()),
        **{kind: expressions[0] if len(expressions) == 1 else tuple(expressions)},
    )


def _declaration(table: dict[str, Any]) -> tuple[Kind, list[str]]:
    """The keys that declare the gate: one, or a pair for the two signs of A."""
    given = [key for key in GATE_KEYS if key.split("_")[0] in KINDS and key in table]
    for kind in KINDS:
        for keys in ([kind], [f"{kind}_pos", f"{kind}_neg"]):
            if given == keys:
                return kind, keys
    raise GateTextError(
        f"[gate] declares {given or 'nothing'}: exactly one of value, weight, score is needed, or a pair such as "
        f"value_pos and value_neg; keep one."
    )


def _parameter(name: str, body: dict[str, Any]) -> Parameter:
    where = f"[parameters.{name}]"
    _only(body, PARAMETER_KEYS, where)
    if "domain" not in body:
        raise GateTextError(f'{where} has no domain: a claim needs to say for which values; add domain = "(0, oo)".')
    values = {key: _number(body[key], f"{where} {key}") for key in ("positive", "negative") if key in body}
    if not values:
        raise GateTextError(f"{where} has no trained value; add positive = ... and negative = ... .")
    positive, negative = (values.get(key, next(iter(values.values()))) for key in ("positive", "negative"))
    says = _text(body, "says", where, default="")
    return Parameter(name, _text(body, "domain", where), positive, negative, says)


def _number(value: object, where: str) -> str:
    """A trained value as text, so that 0.1 stays one tenth; rationals are written in quotes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise GateTextError(f'{where} = {value!r} is not a number; write for example 10 or "1/3".')
    try:
        return str(parse_number(str(value)))
    except GateTextError as error:
        raise GateTextError(f"{where}: {error}") from error


def _only(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise GateTextError(
                f"unknown key {key!r} in {where}; known are {', '.join(known)}.{did_you_mean(key, known)}"
            )


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GateTextError(f"[{where}] is {type(value).__name__}, not a table; write [{where}] on a line of its own.")
    return value


def _text(table: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise GateTextError(f'{where} {key} = {value!r} is not a text; write {key} = "...".')
    return value
