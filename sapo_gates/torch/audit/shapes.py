"""The shapes losses and gates come in, told apart by the names of their parameters, and how each is called.

ratio-gate       f(ratio[, advantage]) -> f, a number per token
log-ratio-gate   f(log_ratio[, advantage]) -> f, a number per token
objective        f(log_ratio, advantage, mask) -> f * A, a number per token, as this package's exports are
policy-loss      f(log_probs, old_log_probs, advantages, mask, ...) -> loss or (loss, metrics), a scalar or per token
verl             f(old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, config, ...)
trl              GRPOTrainer._compute_loss(self, model, inputs), or a class derived from GRPOTrainer
liger            LigerFusedLinearGRPOLoss, a class whose forward takes (_input, lin_weight, selected_token_ids, ...)
"""

import ast
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sapo_gates.errors import AuditError, did_you_mean
from sapo_gates.torch.audit import peers
from sapo_gates.torch.audit.subject import Batch, Knobs, Subject
from sapo_gates.torch.trace import ADVANTAGE_NAMES, LOG_RATIO_NAMES, RATIO_NAMES, Input

ROLES: dict[str, tuple[str, ...]] = {
    "log_probs": (
        "log_probs", "log_prob", "logprobs", "logprob", "logps", "logp", "per_token_logps", "new_log_probs",
        "new_logprobs", "new_logps", "logp_new", "policy_log_probs", "current_log_probs", "curr_log_probs",
        "curr_logprobs", "trainer_logprobs",
    ),
    "old_log_probs": (
        "old_log_probs", "old_log_prob", "old_logprobs", "old_logprob", "old_logps", "old_per_token_logps", "logp_old",
        "prev_log_probs", "prev_logprobs", "behavior_log_probs", "inference_logprobs", "sampling_log_probs",
    ),
    "advantages": ADVANTAGE_NAMES,
    "mask": (
        "mask", "response_mask", "loss_mask", "completion_mask", "action_mask", "token_mask", "attention_mask", "masks",
    ),
}  # fmt: skip
"""What a policy loss calls its tensors."""

Reader = Callable[[str, Callable[..., Any], Mapping[str, Any]], Subject]


def subject(
    function: Callable[..., Any], *, name: str, shape: str | None = None, knobs: Knobs | None = None
) -> Subject:
    """The function as the audit sees it; its shape is recognised where none is named.

    Raises:
        AuditError: no shape fits the names of its parameters, or the one named does not exist or does not fit.
    """
    if shape is not None and shape not in SHAPES:
        raise AuditError(f"shape {shape!r} does not exist; known are {', '.join(SHAPES)}.{did_you_mean(shape, SHAPES)}")
    return SHAPES[shape or _recognised(function, name)](name, function, knobs or {})


def imported(dotted: str) -> Any:
    """What pkg.module:NAME names; NAME may be inside a class.

    Raises:
        AuditError: there is none.
    """
    module, _, path = dotted.partition(":")
    try:
        return functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise AuditError(f"cannot take {dotted!r}: {error}; write pkg.module:NAME of an importable module.") from error


def knob(text: str) -> tuple[str, Any]:
    """NAME=VALUE with VALUE a Python literal, pkg.module:NAME, or a word.

    Raises:
        AuditError: it has no equals sign, or names what cannot be imported.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise AuditError(f"--knob {text!r} is no setting; write for example tau=10 or loss_type=sapo.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, imported(value) if ":" in value else value


def _recognised(function: Callable[..., Any], name: str) -> str:
    if inspect.isclass(function) and hasattr(function, "_compute_loss"):
        return "trl"
    names = _parameters(function, name)
    first = names[0].lower() if names else ""
    if {"old_log_prob", "log_prob", "response_mask", "config"} <= names.keys():
        return "verl"
    if list(names)[-2:] == ["model", "inputs"]:
        return "trl"
    if {"_input", "lin_weight", "selected_token_ids"} <= names.keys():
        return "liger"
    if _role(names, "log_probs") and _role(names, "old_log_probs"):
        return "policy-loss"
    if first in RATIO_NAMES:
        return "ratio-gate"
    if first in LOG_RATIO_NAMES:
        return "objective" if _role(names, "advantages") and _role(names, "mask") else "log-ratio-gate"
    raise AuditError(
        f"{name}({', '.join(names)}) has no shape known here; name one with --as ({', '.join(SHAPES)}), or its "
        f"parameters as such losses do: ratio or log_ratio; log_probs, old_log_probs, advantages, mask."
    )


class _Names(dict[str, inspect.Parameter]):
    """A function's parameters, by name and by position."""

    def __getitem__(self, key: Any) -> Any:
        return list(self)[key] if isinstance(key, int) else super().__getitem__(key)


def _parameters(function: Callable[..., Any], name: str) -> _Names:
    called = getattr(function, "forward", function) if inspect.isclass(function) else function
    try:
        found = inspect.signature(called).parameters
    except (TypeError, ValueError) as error:
        raise AuditError(f"{name} has no signature to read: {error}; wrap it in a function.") from error
    return _Names({n: p for n, p in found.items() if n != "self" or called is function})


def _role(names: Mapping[str, inspect.Parameter], role: str) -> str | None:
    """The parameter that plays a role, by its name."""
    return next((name for name in names if name.lower() in ROLES[role]), None)


def _settings(
    name: str, parameters: Mapping[str, inspect.Parameter], taken: set[str | None], given: Knobs
) -> dict[str, Any]:
    """The knobs: numbers that parameters have as defaults, and everything given.

    Raises:
        AuditError: a parameter without default is left out, or one that does not exist is given.
    """
    free = {n: p for n, p in parameters.items() if n not in taken}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in free.values())
    for knob in given:
        if knob not in free and not open_ended:
            raise AuditError(f"{name} has no parameter {knob!r}; it has {list(parameters)}.{did_you_mean(knob, free)}")
    for n, p in free.items():
        if p.default is p.empty and n not in given and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            raise AuditError(f"{name} needs {n!r}, which has no default; give it with --knob {n}=VALUE.")
    numbers = {n: p.default for n, p in free.items() if isinstance(p.default, int | float) and p.default is not p.empty}
    return {**{n: v for n, v in numbers.items() if not isinstance(v, bool)}, **given}


def _gate(shape: str) -> Reader:
    def read(name: str, function: Callable[..., Any], given: Knobs) -> Subject:
        parameters = _parameters(function, name)
        first, advantage = parameters[0], _role(parameters, "advantages")

        def gate(values: Tensor, sign: float, knobs: Knobs) -> Tensor:
            extra = {} if advantage is None else {advantage: torch.full_like(values, sign).detach()}
            return function(values, **extra, **knobs)

        of: Input = "ratio" if shape == "ratio-gate" else "log_ratio"
        settings = _settings(name, parameters, {first, advantage}, given)
        return Subject(name=name, shape=shape, gate=gate, of=of, knobs=settings)

    return read


def _objective(name: str, function: Callable[..., Any], given: Knobs) -> Subject:
    parameters = _parameters(function, name)
    advantage, mask = _role(parameters, "advantages"), _role(parameters, "mask")
    if advantage is None or mask is None:
        raise AuditError(
            f"{name}({', '.join(parameters)}) has no parameter for the advantage or the mask; rename them."
        )

    def loss(part: Batch, whole: Batch, knobs: Knobs) -> tuple[Tensor, Mapping[str, Any]]:
        z = part.log_probs - part.old_log_probs
        terms = function(z, **{advantage: part.advantages, mask: part.mask}, **knobs)
        return -torch.where(part.mask, terms, 0.0).sum(), {}

    settings = _settings(name, parameters, {parameters[0], advantage, mask}, given)
    return Subject(name=name, shape="objective", loss=loss, reduces=False, knobs=settings)


def _policy_loss(name: str, function: Callable[..., Any], given: Knobs) -> Subject:
    parameters = _parameters(function, name)
    roles = {role: _role(parameters, role) for role in ROLES}
    missing = [role for role in ("log_probs", "old_log_probs", "advantages") if roles[role] is None]
    if missing:
        raise AuditError(
            f"{name}({', '.join(parameters)}) has no parameter for {', '.join(missing)}; such a parameter is called "
            f"{', '.join(ROLES[missing[0]][:4])} or alike."
        )
    settings = _settings(name, parameters, set(roles.values()), given)

    def call(part: Batch, advantages: Tensor, knobs: Knobs) -> tuple[Tensor, Mapping[str, Any]]:
        tensors = {"log_probs": part.log_probs, "old_log_probs": part.old_log_probs, "advantages": advantages}
        mask = {} if roles["mask"] is None else {roles["mask"]: part.mask.to(part.log_probs.dtype)}
        result = function(**{str(roles[role]): tensor for role, tensor in tensors.items()}, **mask, **knobs)
        loss, rest = (result[0], result[1:]) if isinstance(result, tuple) else (result, ())
        return loss, next((extra for extra in rest if isinstance(extra, Mapping)), {})

    per_token, reduces = _called(call, settings)

    def loss(part: Batch, whole: Batch, knobs: Knobs) -> tuple[Tensor, Mapping[str, Any]]:
        advantages = part.advantages[:, None].expand_as(part.log_probs) if per_token else part.advantages
        found, metrics = call(part, advantages, knobs)
        if not reduces:  # a number per token: summed where it counts
            return torch.where(part.mask, found, 0.0).sum(), metrics
        return found * len(part.advantages) / len(whole.advantages), metrics

    return Subject(name=name, shape="policy-loss", loss=loss, reduces=reduces, knobs=settings)


def _called(call: Callable[[Batch, Tensor, Knobs], Any], knobs: Knobs) -> tuple[bool, bool]:
    """Whether the loss takes advantages [B, T], else [B]; and whether it returns one number.

    Raises:
        AuditError: it takes neither.
    """
    ones = torch.ones(3, 2)
    example = Batch(log_probs=-ones, old_log_probs=-ones, advantages=ones[:, 0], mask=ones.bool())
    refusals = []
    for per_token, advantages in ((True, ones), (False, ones[:, 0])):
        try:
            return per_token, call(example, advantages, knobs)[0].dim() == 0
        except Exception as error:  # whatever a foreign function raises
            refusals.append(" ".join(str(error).split())[:100])
    raise AuditError(
        f"the loss takes advantages neither as [B, T] ({refusals[0]}) nor as [B] ({refusals[1]}); give what it needs "
        f"with --knob NAME=VALUE."
    )


SHAPES: dict[str, Reader] = {
    "ratio-gate": _gate("ratio-gate"),
    "log-ratio-gate": _gate("log-ratio-gate"),
    "objective": _objective,
    "policy-loss": _policy_loss,
    "verl": peers.verl,
    "trl": peers.trl,
    "liger": peers.liger,
}
