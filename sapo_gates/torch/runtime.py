"""A gate as a torch function of the log-ratio z = log r. Imports torch and `wide`, and nothing of the mathematics.

The gradient is the printed score weight, never autograd's way through exp: for f(r) A the chain rule through exp forms
0 * inf from z = 89 on in float32, in which every smooth gate is harmless.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sapo_gates.errors import ExportError
from sapo_gates.torch.wide import Number, Pair, Wide, choose, exact_sum, expm1_reduced, log

Quantity = Literal["value", "weight", "score", "slope"]
BLOCK = 2**16  # tokens whose float64 intermediates fit into a processor's cache


@dataclass(frozen=True, eq=False)
class Formula:
    """A generated function of a maker of constants and of those of z, x = r - 1 and r that it needs.

    plain_limit: where float64 serves float32 inputs, with r beyond |z| = plain_limit what it is there; None: nowhere.
    """

    function: Callable[..., Number]
    needs: tuple[str, ...]
    plain_limit: float | None


def plain(formula: Formula, z: Tensor, limit: float, known: dict[tuple[str, float], Tensor]) -> Tensor:
    """The formula in float64; `known` keeps what another formula has computed already."""
    for name in formula.needs:
        if (name, limit) not in known:
            if name == "z":
                known[name, limit] = torch.clamp(z, -1e60, 1e60)
            else:
                known[name, limit] = (torch.exp if name == "r" else torch.expm1)(torch.clamp(z, -limit, limit))
    constant = lambda hi, lo: torch.full((), hi, dtype=torch.float64, device=z.device)  # noqa: E731
    return formula.function(constant, *(known[name, limit] for name in formula.needs))


def wide(formula: Formula, z: Tensor) -> Tensor:
    """The formula in Wide numbers, right for every float64, infinities included."""
    zero, one = torch.zeros_like(z), torch.ones_like(z)
    constant = lambda hi, lo: Wide(Pair(zero + hi, zero + lo), Pair(zero, zero))  # noqa: E731
    inside = torch.clamp(z, -1e140, 1e140)  # squared still below FAR
    e, k = expm1_reduced(Pair(-inside.abs(), zero))  # r - 1 = (1 - e^-z) e^z for z > 0
    power = torch.exp2(torch.clamp(k, -1022, 0))
    x = (e.times(power) + exact_sum(power, -one)).times(torch.where(z > 0, -1.0, 1.0))
    whole = torch.where(torch.isinf(z), inside, z)
    far = whole.abs() > 1e100  # there z is written +-exp(log |z|), so that its powers do not overflow
    size = log(constant(torch.where(far, whole.abs(), 1.0), 0.0)).m
    numbers = {
        "z": Wide(choose(far, Pair(torch.sign(z), zero), Pair(whole, zero)), size),
        "x": Wide(x, Pair(torch.clamp(inside, min=0), zero)),
        "r": Wide(Pair(one, zero), Pair(inside, zero)),
    }
    result = formula.function(constant, *(numbers[name] for name in formula.needs)).real().hi
    return torch.where(torch.isinf(z) & (result.abs() > 1e30), torch.sign(result) * torch.inf, result)


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchGate:
    """A gate with its temperatures fixed, elementwise on log-ratios in nats.

    Float32, bfloat16 and float16 are computed in float64 and rounded once (bound: 1 ulp). Float64 is computed in about
    100 bits, which is far slower (bound: 4 ulp, unless the formula cancels against a transcendental function, as
    1 + cos does near its zeros; beyond |z| = 1e140 r is what it is there). `numerics` measures both.

    The advantage chooses the branch: A > 0 the positive one, everything else, A = 0 included, the negative one.
    Advantages and masks broadcast to the shape of log_ratio; one of shape [B] beside [B, ...] is one number per row.
    """

    name: str
    digest: str
    certified: bool
    positive: Mapping[str, str]
    negative: Mapping[str, str]
    formulas: Mapping[tuple[str, str], Formula] = field(repr=False)
    declaration: Any = field(default=None, repr=False)

    def __call__(self, log_ratio: Tensor, advantage: Tensor, mask: Tensor | None = None) -> Tensor:
        """f(r) A per token, with gradient phi(r) A; exactly 0 with gradient 0 where A = 0 or mask = 0, NaN or not.

        Args:
            log_ratio: z, any floating dtype; the result has its shape and dtype.
            advantage: A, no gradient flows into it.
            mask: counts where it is not 0.

        Raises:
            ValueError: advantage or mask does not broadcast to log_ratio.
        """
        advantage = per_token(advantage, log_ratio, "advantage").to(torch.float64)
        factor = advantage
        if mask is not None:
            factor = torch.where(per_token(mask, log_ratio, "mask") != 0, advantage, 0.0)
        return _Value.apply(self, log_ratio, advantage > 0, factor)

    def value(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """f(r) of the branch for that sign of A, with gradient phi(r).

        Raises:
            ExportError: f has no closed form (the gate is declared by weight or score weight).
        """
        if not self.has_value:
            raise ExportError(
                f"gate {self.name!r} has no value: its declared weight has no integral in closed form; "
                f"use weight, score_weight or the gradient of the gate itself."
            )
        sign = per_token(advantage, log_ratio, "advantage") > 0
        return _Value.apply(self, log_ratio, sign, torch.ones_like(sign, dtype=torch.float64))

    def weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """w(r) = df/dr, without gradient."""
        sign = per_token(advantage, log_ratio, "advantage") > 0
        return self.evaluate("weight", log_ratio.detach(), sign).to(log_ratio.dtype)

    def score_weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """phi(r) = r w(r) = df/dz, with its derivative where the gate has one."""
        sign = per_token(advantage, log_ratio, "advantage") > 0
        ones = torch.ones_like(sign, dtype=torch.float64)
        return _Gradient.apply(self, torch.ones_like(log_ratio), log_ratio, sign, ones)

    @property
    def has_value(self) -> bool:
        """Whether f has a closed form; if not, calling the gate gives phi * z * A, with the right gradient phi * A."""
        return ("positive", "value") in self.formulas and ("negative", "value") in self.formulas

    def evaluate(self, quantity: Quantity, log_ratio: Tensor, sign: Tensor) -> Tensor:
        """One quantity in float64, unrounded, for log-ratios of any dtype."""
        positive, negative = (self.formulas[side, quantity] for side in ("positive", "negative"))
        z, known = log_ratio.to(torch.float64), {}
        result = self.branch(positive, log_ratio, z, known)
        if positive is not negative:
            result = torch.where(sign, result, self.branch(negative, log_ratio, z, known))
        return torch.where(torch.isnan(z), torch.nan, result)

    def branch(self, formula: Formula, log_ratio: Tensor, z: Tensor, known: dict[tuple[str, float], Tensor]) -> Tensor:
        """In float64 where that was found to be enough for the dtype, else in Wide numbers."""
        if formula.plain_limit is None or log_ratio.dtype == torch.float64:
            return wide(formula, z)
        return plain(formula, z, formula.plain_limit, known)


def per_token(tensor: Tensor, log_ratio: Tensor, name: str) -> Tensor:
    """`tensor` so that it broadcasts to log_ratio: [B] beside [B, ...] becomes [B, 1, ...]."""
    shape = tuple(tensor.shape)
    if len(shape) == 1 and log_ratio.dim() > 1 and shape[0] == log_ratio.shape[0]:
        return tensor.detach().reshape(shape + (1,) * (log_ratio.dim() - 1))
    fits = len(shape) <= log_ratio.dim() and all(
        mine in (1, theirs) for mine, theirs in zip(reversed(shape), reversed(log_ratio.shape), strict=False)
    )
    if not fits or (len(shape) == 1 and log_ratio.dim() > 1 and shape[0] > 1):
        raise ValueError(
            f"{name} of shape {list(shape)} beside log_ratio of shape {list(log_ratio.shape)}: it must have that "
            f"shape, or [{log_ratio.shape[0] if log_ratio.dim() else 1}] for one number per row; reshape it."
        )
    return tensor.detach()


def in_blocks(function: Callable[..., Tensor], log_ratio: Tensor, *others: Tensor) -> Tensor:
    """function(log_ratio, *others), on a CPU in eager mode some rows at a time, which its cache can hold."""
    size = log_ratio.numel()
    if size <= 2 * BLOCK or log_ratio.device.type != "cpu" or torch.compiler.is_compiling():
        return function(log_ratio, *others)
    rows = max(1, BLOCK * log_ratio.shape[0] // size)
    per_row = [other.dim() == log_ratio.dim() and other.shape[0] > 1 for other in others]
    blocks = []
    for at in range(0, log_ratio.shape[0], rows):
        here = slice(at, at + rows)
        mine = (other[here] if cut else other for other, cut in zip(others, per_row, strict=True))
        blocks.append(function(log_ratio[here], *mine))
    return torch.cat(blocks)


def _times(factor: Tensor, quantity: Tensor) -> Tensor:
    return torch.where(factor == 0, 0.0, factor * quantity)


class _Value(torch.autograd.Function):
    """f(r) * factor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gate: TorchGate, log_ratio: Tensor, sign: Tensor, factor: Tensor) -> Tensor:
        def block(log_ratio: Tensor, sign: Tensor, factor: Tensor) -> Tensor:
            if gate.has_value:
                f = gate.evaluate("value", log_ratio, sign)
            else:  # as methods that stop the gradient do: phi * z, whose gradient is meant to be phi
                f = _times(gate.evaluate("score", log_ratio, sign), log_ratio.to(torch.float64))
            return _times(factor, f).to(log_ratio.dtype)

        return in_blocks(block, log_ratio, sign, factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.gate, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None, None]:
        return None, _Gradient.apply(ctx.gate, *grads, *ctx.saved_tensors), None, None


class _Gradient(torch.autograd.Function):
    """grad * phi(r) * factor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gate: TorchGate, grad: Tensor, log_ratio: Tensor, sign: Tensor, factor: Tensor) -> Tensor:
        def block(log_ratio: Tensor, grad: Tensor, sign: Tensor, factor: Tensor) -> Tensor:
            phi = gate.evaluate("score", log_ratio, sign)
            return _times(factor, phi * grad.to(torch.float64)).to(log_ratio.dtype)

        return in_blocks(block, log_ratio, grad, sign, factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.gate, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, None, None]:
        (again,) = grads
        grad, log_ratio, sign, factor = ctx.saved_tensors
        by_grad = _Gradient.apply(ctx.gate, again, log_ratio, sign, factor)
        slope = ctx.gate.evaluate("slope", log_ratio, sign)
        by_z = _times(factor, slope * again.to(torch.float64) * grad.to(torch.float64))
        return None, by_grad, by_z.to(log_ratio.dtype), None, None
