"""A gate that someone only has as a torch function, read from its graph of operations into the declaration language.

The graph is the one `make_fx` records for a tensor of one element. What `detach` holds back carries a symbol of its
own, so that the gradient the function really applies is known, and a gate whose value and gradient belong together is
declared by value, any other by score weight. Control flow that depends on a tensor's numbers is refused: a graph shows
one way through it.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import getitem
from typing import Any, Literal

import numpy as np
import sympy
import torch
from sympy import Expr, Max, Min, Symbol
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode

from sapo_gates.errors import SapoGatesError, TraceError
from sapo_gates.functions import r
from sapo_gates.gate import Gate, Kind, Parameter
from sapo_gates.torch.aten import OPERATIONS, as_number, constant
from sapo_gates.torch.reference import ball_function, two_floats, value_at
from sapo_gates.torch.surrogate import bound_formula
from sapo_gates.verdict import SIGNS, Sign

Input = Literal["ratio", "log_ratio"]
RATIO_NAMES = ("ratio", "ratios", "r", "rho", "importance_ratio", "importance_ratios", "coef", "coef_1", "is_ratio")
LOG_RATIO_NAMES = ("log_ratio", "log_ratios", "logratio", "z", "log_r", "log_importance_ratio", "negative_approx_kl")
ADVANTAGE_NAMES = ("advantage", "advantages", "adv", "advs", "a")
_FROZEN = Symbol("r_detached", positive=True)
_CHECKED = np.concatenate([np.linspace(-4.03, 4.07, 41), np.linspace(-0.3371, 0.3391, 20), [-9.7, -7.1, 6.3, 8.9]])
_FLOAT_ERROR = 1e-6  # float64 after cancellation, or numbers held in float32, as torch.where of two floats holds them


def trace_gate(
    function: Callable[..., Tensor],
    *,
    of: Input | None = None,
    kind: Kind = "value",
    name: str | None = None,
    parameters: tuple[Parameter, ...] = (),
) -> Gate:
    """The gate that an elementwise torch function computes.

    Args:
        function: of the ratio or the log-ratio, and of the advantage where it has a parameter of that name (it is
            called with A = 1 and A = -1). Every other parameter keeps its default.
        of: what its first parameter is; None: by that parameter's name.
        kind: what it returns: value, weight or score weight.
        name: of the gate; None: the function's own.
        parameters: those of the function's keywords that stay symbols, so that a proof covers their whole domain.

    Raises:
        TraceError: an operation that cannot be translated, control flow that depends on the numbers, or a formula that
            the function does not compute.
    """
    shown = name or getattr(function, "__name__", type(function).__name__)
    names = _parameter_names(function, shown)
    of = of or _input_of(names[0] if names else "", shown)
    advantage = next((n for n in names[1:] if n.lower() in ADVANTAGE_NAMES), None)

    def per_token(sign: Sign) -> Callable[..., Tensor]:
        def call(first: Tensor, **knobs: Any) -> Tensor:
            if advantage is not None:
                knobs[advantage] = torch.full_like(first, 1.0 if sign == "positive" else -1.0)
            return function(first, **knobs)

        return call

    kinds: dict[Sign, tuple[Kind, Expr]] = {sign: trace(per_token(sign), of, parameters, shown, kind) for sign in SIGNS}
    gate = declared(shown, kinds, parameters, f"traced from {shown}")
    for sign in SIGNS:
        check_trace(gate, sign, per_token(sign), of, kind, shown)
    return gate


def trace(
    function: Callable[..., Tensor], of: Input, parameters: tuple[Parameter, ...], shown: str, kind: Kind = "value"
) -> tuple[Kind, Expr]:
    """What a function of one number is as a formula, and whether that is the value, the weight or the score weight."""
    graph = record(function, of, parameters, shown)
    start = r if of == "ratio" else sympy.log(r)
    found = translate(graph, (start, *parameters), shown)
    if _FROZEN not in found.free_symbols:
        return kind, found
    if kind != "value":
        return kind, found.subs(_FROZEN, r)
    smooth = found.rewrite(sympy.Piecewise) if found.has(sympy.Max, sympy.Min, sympy.Abs, sympy.sign) else found
    return "score", (r * smooth.diff(r)).subs(_FROZEN, r)


def declared(shown: str, found: dict[Sign, tuple[Kind, Expr]], parameters: tuple[Parameter, ...], source: str) -> Gate:
    """The gate of what was found for the two signs of A.

    Raises:
        TraceError: that is no gate.
    """
    (kind, positive), (kind_negative, negative) = found["positive"], found["negative"]
    if kind != kind_negative:  # one side holds something back: both are declared by what they apply
        positive, negative = (
            e if k == "score" else r * sympy.diff(e.rewrite(sympy.Piecewise), r) for k, e in found.values()
        )
        kind = "score"
    both: Any = positive if positive == negative else (positive, negative)
    try:
        return Gate(name=shown, source=source, parameters=parameters, **{kind: both})
    except SapoGatesError as error:
        raise TraceError(f"{shown} computes {positive}, which is no gate: {error}") from error


class _Unread(TorchFunctionMode):
    """While a graph is recorded, a tensor's number may be carried away (into a metric) but not looked at."""

    READS = (torch.Tensor.item, torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.tolist, torch.Tensor.numpy)
    DECISIONS = (
        torch.Tensor.__bool__, torch.Tensor.__index__, torch.Tensor.__contains__, torch.Tensor.is_nonzero,
        torch.Tensor.equal, torch.Tensor.allclose, torch.equal, torch.allclose, torch.is_nonzero,
    )  # fmt: skip

    def __init__(self, shown: str) -> None:
        super().__init__()
        self.shown = shown

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.READS:
            return _Carried(self.shown)
        if func in self.DECISIONS:
            raise _data_dependent(self.shown)
        return func(*args, **(kwargs or {}))


class _Carried:
    """The number of a traced tensor: every use of it would make the graph depend on it."""

    def __init__(self, shown: str) -> None:
        self.shown = shown

    def _used(self, *_: Any) -> Any:
        raise _data_dependent(self.shown)

    __bool__ = __float__ = __int__ = __lt__ = __le__ = __gt__ = __ge__ = _used
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = _used
    __eq__ = __ne__ = _used  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def _data_dependent(shown: str) -> TraceError:
    return TraceError(
        f"{shown} takes decisions from the numbers in a tensor (an `if`, `.item()` or `float()`): its graph shows "
        f"one way through them only; write torch.where."
    )


@contextmanager
def _readable_errors(shown: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the function's own, about inputs of one element
            yield
    except SapoGatesError:
        raise
    except Exception as error:  # whatever a foreign function raises
        raise TraceError(
            f"{shown} cannot be recorded: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error


def record(function: Callable[..., Tensor], of: Input, parameters: tuple[Parameter, ...], shown: str) -> GraphModule:
    """The graph of aten operations for one number, with the parameters as tensors."""
    names = [p.name for p in parameters]
    start = torch.full((1, 1), 1.2 if of == "ratio" else 0.2, dtype=torch.float64)
    values = [torch.tensor(float(p.positive), dtype=torch.float64) for p in parameters]

    def call(first: Tensor, *given: Tensor) -> Tensor:
        result = function(first, **dict(zip(names, given, strict=True)))
        return result[0] if isinstance(result, tuple) else result

    with _readable_errors(shown), _Unread(shown):
        graph = make_fx(call)(start, *values)
    graph.graph.eliminate_dead_code()
    return graph


def translate(graph: GraphModule, inputs: tuple[Expr, ...], shown: str) -> Expr:
    """The graph's result as an expression in its inputs; what it detaches is in a symbol of its own.

    Raises:
        TraceError: an operation that has no translation, which is named.
    """
    known: dict[Node, Any] = {}
    given = iter(inputs)
    for node in graph.graph.nodes:
        match node.op:
            case "placeholder":
                known[node] = next(given)
            case "get_attr":
                known[node] = _tensor_constant(getattr(graph, str(node.target)), shown)
            case "call_function":
                known[node] = _operation(node, known, shown)
            case "output":
                result = node.args[0]
                found = as_number(known[result] if isinstance(result, Node) else result)
                return found.replace(lambda part: isinstance(part, Max | Min), lambda part: part.func(*part.args))
    raise TraceError(f"{shown} returns nothing; a gate returns a tensor.")


def _operation(node: Node, known: dict[Node, Any], shown: str) -> Any:
    args: Any = map_arg(node.args, lambda n: known[n])
    kwargs: Any = map_arg(dict(node.kwargs), lambda n: known[n])
    target = str(node.target)
    name = target.split(".")[1].removesuffix("_") if target.startswith("aten.") else target
    if node.target is getitem:
        return args[0][args[1]]
    if name == "detach":
        return _detached(args[0])
    if name == "cat":
        if len(args[0]) == 1:
            return args[0][0]
    elif name in OPERATIONS:
        try:
            return OPERATIONS[name](*args, **kwargs)
        except TypeError as error:
            raise TraceError(f"{shown} uses {target} in a form that has no translation: {error}") from error
    raise TraceError(
        f"{shown} uses {target}, which has no translation into a gate's formula; write it with elementwise functions "
        f"such as exp, sigmoid, tanh, erf, clamp or where."
    )


def _detached(value: Any) -> Any:
    return value.xreplace({r: _FROZEN}) if isinstance(value, sympy.Basic) else value


def _tensor_constant(tensor: Tensor, shown: str) -> Any:
    """The one number that a constant tensor holds, as its dtype prints it."""
    values = tensor.detach().reshape(-1)
    if values.numel() == 0 or bool((values != values[0]).any()):
        raise TraceError(f"{shown} holds a tensor of {values.numel()} different numbers; a gate has one formula.")
    if values.dtype == torch.bool:
        return sympy.true if values[0] else sympy.false
    number = values[0].item()
    return constant(number, str(np.float32(number)) if values.dtype == torch.float32 else None)


def check_trace(
    gate: Gate, sign: Sign, function: Callable[..., Tensor], of: Input, kind: Kind, shown: str, factor: float = 1.0
) -> None:
    """Compare the formula with the function, and the gradient it implies with the one autograd gives, in float64.

    factor: by which the function's numbers are multiplied to be the gate's.

    Raises:
        TraceError: they differ, at a point that is named.
    """
    numbers = {p.name: p.value_for(sign) for p in gate.parameters}
    knobs = {name: float(value) for name, value in numbers.items()}
    z = torch.tensor(_CHECKED, dtype=torch.float64)
    first = (torch.exp(z) if of == "ratio" else z.clone()).requires_grad_()
    with _readable_errors(shown):
        result = function(first, **knobs)
        result = result[0] if isinstance(result, tuple) else result
        if result.shape != first.shape:
            raise TraceError(f"{shown} maps {list(first.shape)} to {list(result.shape)}: a gate is elementwise.")
        gradient = torch.zeros_like(first)
        if result.requires_grad:
            (gradient,) = torch.autograd.grad(result.sum(), first)
    score = gradient * first.detach() if of == "ratio" else gradient
    if gate.kind == kind:
        _compare(gate, sign, kind, numbers, result.detach() * factor, shown, "the value")
    if kind == "value":
        _compare(gate, sign, "score", numbers, score * factor, shown, "the gradient")


def _compare(
    gate: Gate, sign: Sign, quantity: Kind, numbers: dict[str, sympy.Rational], got: Tensor, shown: str, what: str
) -> None:
    formula = bound_formula(gate, sign, quantity, numbers)
    assert formula is not None
    ball = ball_function(formula)
    for z, number in zip(_CHECKED.tolist(), got.tolist(), strict=True):
        true = two_floats(value_at(ball, z))[0]
        if number != true and not abs(number - true) <= _FLOAT_ERROR * max(1.0, abs(true)):
            cause = " (part of it is computed under no_grad or in an autograd.Function)" if what != "the value" else ""
            at = f"z = {z:g}, A {'> 0' if sign == 'positive' else '<= 0'}"
            raise TraceError(
                f"the formula read from {shown} is not what it computes: "
                f"at {at}, {what} is {number:.9g}, of the formula {true:.9g}{cause}."
            )


def _parameter_names(function: Callable[..., Any], shown: str) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise TraceError(f"{shown} has no signature to read: {error}; wrap it in a function of ratio.") from error


def _input_of(first: str, shown: str) -> Input:
    if first.lower() in RATIO_NAMES:
        return "ratio"
    if first.lower() in LOG_RATIO_NAMES:
        return "log_ratio"
    raise TraceError(
        f"{shown}'s first parameter is {first!r}: name it ratio or log_ratio (known are {', '.join(RATIO_NAMES)}; "
        f"{', '.join(LOG_RATIO_NAMES)}), or say which with of='ratio' or of='log_ratio'."
    )
