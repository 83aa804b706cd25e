"""A run is one complete value: defaults, then the recipe, then dotted flags; later wins.

Field = YAML key = dotted flag. The string under a field is its help text. pydantic does the checking of types;
what is here turns its findings into one line that says the thing, the value, the rule and the cure.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sapo_train.errors import ConfigError

T = TypeVar("T")
RECIPES = Path(__file__).parent / "recipes"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Declare a frozen, keyword-only configuration that refuses unknown keys."""
    cls.__pydantic_config__ = ConfigDict(  # type: ignore[attr-defined]
        extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def check(rule: bool, message: str) -> None:
    """Refuse a configuration that breaks a rule.

    Raises:
        ValueError: with `message`; `build` turns it into a ConfigError.
    """
    if not rule:
        raise ValueError(message)


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """Turn nested plain values into the configuration `cls`.

    Raises:
        ConfigError: one line for the first thing that is wrong.
    """
    try:
        made = _adapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigError(_one_line(cls, error)) from None
    _refuse_truth_as_number(values, made, "")
    return made


def _refuse_truth_as_number(given: Any, made: Any, name: str) -> None:
    """pydantic takes true for 1, and a flag whose value was forgotten is true."""
    if isinstance(given, bool) and not isinstance(made, bool):
        raise ConfigError(f"{name}={str(given).lower()} must be a number: give it a value, as in --{name}=1e-6.")
    if isinstance(given, Mapping):
        for key, value in given.items():
            below = made.get(key) if isinstance(made, Mapping) else getattr(made, key, value)
            _refuse_truth_as_number(value, below, f"{name}.{key}".lstrip("."))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for number, (value, below) in enumerate(zip(given, made, strict=False)):
            _refuse_truth_as_number(value, below, f"{name}.{number}")


def plain(value: Any) -> dict[str, Any]:
    """Return the configuration as nested dicts and lists, as `build` and YAML take them."""
    return _adapter(type(value)).dump_python(value, mode="json")


def find_recipe(name: str) -> Path | None:
    """Return the path of a recipe: a YAML file, or one that ships."""
    return next((p for p in (Path(name), RECIPES / name, RECIPES / f"{name}.yaml") if p.is_file()), None)


class _Recipe(yaml.SafeLoader):
    """YAML in which no key stands twice: PyYAML takes the last of them without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML's, for keys that differ."""
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice!r} stands twice; leave one", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load_recipe(name: str) -> dict[str, Any]:
    """Read a recipe: a path to a YAML file, or the name of one that ships.

    `base: NAME` in it names another recipe, in the same folder or shipped, that it is laid on.

    Raises:
        ConfigError: there is no such file, it is not a YAML mapping, or it is a base of itself.
    """
    return _read_recipe(name, ())


def _read_recipe(name: str, above: tuple[Path, ...]) -> dict[str, Any]:
    path = find_recipe(name)
    shipped = sorted(p.name for p in RECIPES.glob("*.yaml"))
    if path is None:
        raise ConfigError(f"no recipe {name!r}: neither a file nor one of {shipped}.{nearest(name, shipped)}")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Recipe)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {path} must be a mapping like 'optim: {{lr: 1e-6}}', not {type(values).__name__}.")
    if "base" not in values:
        return values
    base = values.pop("base")
    if path in above:
        raise ConfigError(f"recipe {path} is a base of itself: {' → '.join(p.name for p in (*above, path))}.")
    beside = path.parent / str(base)
    return merge(_read_recipe(str(beside if beside.is_file() else base), (*above, path)), values)


def parse_flags(cls: type, flags: Sequence[str]) -> dict[str, Any]:
    """Read `--a.b=value` (or `--a.b value`, or a bare `--a` for true) into nested values of the configuration `cls`.

    In the names of fields dashes are underscores; the keys of a mapping are taken as they stand.

    Raises:
        ConfigError: something that is not a dotted flag, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    rest = list(flags)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or len(flag) < 3:
            raise ConfigError(f"cannot read {flag!r}: flags look like --optim.lr=1e-6.")
        name, equals, text = flag[2:].partition("=")
        if not equals:
            text = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        *parents, leaf = _path(cls, name)
        node = values
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--{name} goes into {parent!r}, which another flag has set to {node!r}.")
        try:
            node[leaf] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--{name}={text!r} is not a value: quote it as YAML would.") from None
    return values


def _path(cls: type, name: str) -> list[str]:
    """Split a dotted name; what names a number in a mapping is one key, as of a reward 'my.module:function'."""
    kind: Any = cls
    path, words = [], name.split(".")
    while words:
        mapping = next((k for k in (kind, *get_args(kind)) if get_origin(k) is dict), None)
        if mapping and get_args(mapping)[1] is not Any:
            return [*path, ".".join(words)]
        word = words.pop(0)
        path.append(word.replace("-", "_") if dataclasses.is_dataclass(kind) else word)
        kind = _below(kind, path[-1])
    return path


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, key by key; `over` wins. The items of a list have their numbers as keys.

    Raises:
        ConfigError: `over` has a key for an item that a list does not have.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        elif isinstance(below, list) and isinstance(value, Mapping):
            items = {str(number): item for number, item in enumerate(below)}
            if unknown := sorted(set(value) - set(items)):
                raise ConfigError(f"{key} has no item {unknown[0]!r}; its items are {list(items)}.")
            merged[key] = list(merge(items, value).values())
        else:
            merged[key] = value
    return merged


def describe(cls: type, prefix: str = "", lists: dict[type, str] | None = None) -> list[tuple[str, str, str]]:
    """List every dotted flag of a configuration with its default and its help text.

    Args:
        cls: the configuration.
        prefix: what its flags begin with.
        lists: for each configuration that a list above holds, that list; its flags are described there.
    """
    says, lists = _help(cls), {} if lists is None else lists
    rows: list[tuple[str, str, str]] = []
    for field in dataclasses.fields(cls):
        kind, name, default = get_type_hints(cls)[field.name], prefix + field.name, field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            rows += describe(kind, name + ".", lists)
        elif item := _item(kind):
            more = f" Items as in --{lists[item]}." if item in lists else " Items are numbered from 0:"
            number = len(default) if isinstance(default, tuple) else "some"
            rows.append((name, f"{number} items", says[field.name] + more))
            rows += [] if item in lists else describe(item, name + ".0.", lists)
            lists.setdefault(item, name)
        else:
            rows.append((name, "required" if default is dataclasses.MISSING else str(default), says[field.name]))
    return rows


@functools.cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)  # of a whole run it takes a tenth of a second


@functools.cache
def _help(cls: type) -> dict[str, str]:
    schema = _adapter(cls).json_schema()
    return {key: " ".join(value.get("description", "").split()) for key, value in schema["properties"].items()}


def nearest(name: str, names: Sequence[str]) -> str:
    """Offer the name that a slip of the pen may have missed, if one is near."""
    close = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _elsewhere(cls: type, key: str) -> str:
    """Offer a field of this name in another section: --lr is meant as --optim.lr."""
    found = [name for name, _, _ in describe(cls) if name.rpartition(".")[2] == key]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _item(kind: Any) -> type | None:
    """Return the configuration that `tuple[configuration, ...]` holds."""
    return next((item for item in get_args(kind) if isinstance(item, type) and dataclasses.is_dataclass(item)), None)


def _below(kind: Any, key: Any) -> Any:
    """Return the type of a field, or of the items of a list; `object` where the configuration does not say."""
    return get_type_hints(kind).get(key, object) if dataclasses.is_dataclass(kind) else _item(kind) or object


def _one_line(cls: type, error: ValidationError) -> str:
    found: list[Any] = error.errors(include_url=False)
    unknown = {"unexpected_keyword_argument", "extra_forbidden"}
    first = next((one for one in found if one["type"] in unknown), found[0])  # a slip of the pen may miss another key
    *parents, key = first["loc"] or ("",)
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] in unknown:
        section = functools.reduce(_below, parents, cls)
        names = [field.name for field in dataclasses.fields(section)] if dataclasses.is_dataclass(section) else []
        where = ".".join(str(part) for part in parents) or "a run"
        near = nearest(str(key), names) or _elsewhere(cls, str(key))
        return f"unknown key {name}; {where} has {names}.{near}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"].startswith("missing"):
        return f"{name} is required and not given."
    rule = (
        first["msg"]
        .replace("Input should be", "must be")
        .replace("a valid tuple", "a list")
        .replace("a valid dictionary", "a mapping")
        .replace(", unable to parse string as an integer", "")
    )
    return f"{name}={first['input']!r} {rule.replace(', unable to parse string as a number', '')}."
