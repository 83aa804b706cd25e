"""A gate as a torch function of the log-ratio z = log r. Imports torch and `wide`, and nothing of the mathematics.

The gradient is the printed score weight, never autograd's way through exp: for f(r) A the chain rule through exp forms
0 * inf from z = 89 on in float32, in which every smooth gate is harmless.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sapo_gates.torch.wide import Number, Pair, Wide, choose, exact_sum, expm1_reduced, log, plain_exp, quick_exp

Quantity = Literal["value", "weight", "score", "slope"]
Part = Literal["token", "weight", "slope"]
PARTS: dict[Part, tuple[Quantity, ...]] = {"token": ("value", "score"), "weight": ("weight",), "slope": ("slope",)}
"""What is computed together: a token's value and score weight, in the forward pass."""
BLOCK = 2**15  # tokens for each thread: so many keep it busy, and their float64 intermediates fit into its cache

torch.empty(2**24, dtype=torch.int8)  # glibc keeps freed memory, as blocks need it, up to the largest ever freed


@dataclass(frozen=True, eq=False)
class Formula:
    """One quantity of one sign of A, as a generated function for Wide numbers: of k and those of z, x, r it needs.

    k makes a constant of two float64. key: what torch.compile knows it by.
    """

    function: Callable[..., tuple[Number]]
    needs: tuple[str, ...]
    key: str

    def __post_init__(self) -> None:
        """A compiled function calls it by its key."""
        _FORMULAS[self.key] = self


@dataclass(frozen=True, eq=False)
class Plain:
    """The quantities of one part as a generated function for float64, enough for inputs of any narrower dtype.

    limit: beyond |z| = limit r is what it is there. constants: further arguments, each for A > 0 and for the rest.
    single_for: dtypes at every number of which the same function is right in float32 too, whose r ends at SINGLE_LIMIT;
    powers: as which power of r each quantity that it then gives goes on.
    quick: the function for an r to 2^-33 and, if possible, with exp, erf and arctan to float32's precision in it, where
    that is right to 2 ulp for float32 inputs.
    """

    function: Callable[..., tuple[Number, ...]]
    needs: tuple[str, ...]
    limit: float
    constants: tuple[tuple[float, float], ...]
    powers: tuple[float, ...] = ()
    single_for: tuple[torch.dtype, ...] = ()
    quick: Callable[..., tuple[Number, ...]] | None = None


SINGLE_LIMIT = 20.0  # its fourth power is a float32; 1 is nothing beside it, so that every quantity goes on as a power
_NO_RATIO = -110.0  # below, r is 0 in float32


def plain(form: Plain, z: Tensor, sign: Tensor, quickly: bool = False) -> tuple[Tensor, ...]:
    """The quantities in the dtype of z, float64 or float32; quickly, for float64 that were float32."""
    single = z.dtype == torch.float32
    low, high = (_NO_RATIO, SINGLE_LIMIT) if single else (-form.limit, form.limit)
    near, most = torch.clamp(z, low, high), min(1e39, torch.finfo(z.dtype).max)  # no 16 or 32 bits are beyond
    exponential = quick_exp if quickly else plain_exp
    make = {"z": lambda: torch.clamp(z, -most, most), "x": lambda: torch.expm1(near), "r": lambda: exponential(near)}
    numbers = [make[name]() for name in form.needs]
    full = lambda number: torch.full((), number, dtype=z.dtype, device=z.device)  # noqa: E731
    constants = [torch.where(sign, full(positive), full(negative)) for positive, negative in form.constants]
    function = form.quick if quickly else form.function
    assert function is not None
    quantities = function(lambda hi, lo: hi, *numbers, *constants)
    if not single or not any(form.powers):
        return quantities
    beyond = torch.clamp(z, min=high) - high
    grown = lambda power: torch.clamp(torch.exp(power * beyond), max=most)  # noqa: E731 - for times infinity 0 is none
    return tuple(one * grown(power) if power else one for one, power in zip(quantities, form.powers, strict=True))


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
    (quantity,) = formula.function(constant, *(numbers[name] for name in formula.needs))
    result = quantity.real().hi
    result = torch.where(torch.isinf(z) & (result.abs() > 1e30), torch.sign(result) * torch.inf, result)
    return torch.where(torch.isnan(z), torch.nan, result)


_FORMULAS: dict[str, Formula] = {}


@torch.library.custom_op(f"{__name__.replace('.', '_')}::wide", mutates_args=())
def opaque(z: Tensor, key: str) -> Tensor:
    """`wide` as one operation: its thousands would keep the compiler busy for minutes."""
    return wide(_FORMULAS[key], z)


@opaque.register_fake
def _(z: Tensor, key: str) -> Tensor:
    return torch.empty_like(z)


@opaque.register_vmap
def _(info: Any, in_dims: tuple[int | None, None], z: Tensor, key: str) -> tuple[Tensor, int | None]:
    return opaque(z, key), in_dims[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchGate:
    """A gate with its temperatures fixed, elementwise on log-ratios in nats.

    Value, weight and score weight are the true ones rounded: to within 1 ulp for float32, bfloat16 and float16, which
    are computed in float64 (in about 100 bits where that is not enough), and to within 4 ulp for float64, which is
    computed in about 100 bits and far slower. bfloat16 and float16 are computed in float32 wherever the export found
    all 65,536 of them right that way. Compiled for a CPU, r and exp, erf and arctan of it are polynomials of few terms
    wherever that was measured to keep float32 inputs to within 2 ulp. Exceptions in float64: a formula that cancels
    against a transcendental function, as 1 + cos does near its zeros; and beyond |z| = 1e140 r is what it is there.
    Exception in every dtype: a value without closed form is tabulated, and where it vanishes towards an end it keeps an
    error below 1e-20 there, not its digits. Gradients of a token are saved as float32 (float64 for float64), so that
    one factor A and one factor from above each may add half an ulp. `numerics` measures all of it.

    The advantage chooses the branch: A > 0 the positive one, everything else, A = 0 included, the negative one.
    Advantages and masks broadcast to the shape of log_ratio; one of shape [B] beside [B, ...] is one number per row.

    torch.compile compiles so many gates in one process as torch._dynamo.config.recompile_limit says, 8 by default, for
    it takes all callable objects for one function: beyond, raise that first, or it falls back to eager.
    """

    name: str
    digest: str
    certified: bool
    positive: Mapping[str, str]
    negative: Mapping[str, str]
    formulas: Mapping[tuple[str, str], Formula] = field(repr=False)
    plain_forms: Mapping[tuple[str, str], Plain] = field(repr=False)
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
        factor = advantage = per_token(advantage, log_ratio, "advantage")
        if mask is not None:
            factor = torch.where(per_token(mask, log_ratio, "mask") != 0, advantage, 0)
        return self._token(log_ratio, advantage > 0, factor)[0]

    def value(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """f(r) of the branch for that sign of A, with gradient phi(r); where f is derived, f(1) = 1."""
        return self._token(log_ratio, *self._branch(log_ratio, advantage))[0]

    def weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """w(r) = df/dr, without gradient."""
        sign, _ = self._branch(log_ratio, advantage)
        weight = lambda z, sign: self.evaluate("weight", z, sign)  # noqa: E731
        return in_blocks(weight, (log_ratio.dtype,), log_ratio.detach(), sign)[0]

    def score_weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """phi(r) = r w(r) = df/dz, with its derivative where the gate has one."""
        sign, one = self._branch(log_ratio, advantage)
        score = self._token(log_ratio.detach(), sign, one)[1]
        return _Score.apply(self, log_ratio, sign, one, score).to(log_ratio.dtype)  # type: ignore[union-attr]

    def _token(self, log_ratio: Tensor, sign: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        return _Token.apply(self, log_ratio, sign, factor)  # type: ignore[return-value]

    def _branch(self, log_ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """The sign of A, and a factor of 1."""
        sign = per_token(advantage, log_ratio, "advantage") > 0
        return sign, torch.ones_like(sign, dtype=torch.float32)

    def evaluate(self, part: Part, log_ratio: Tensor, sign: Tensor) -> tuple[Tensor, ...]:
        """The quantities of one part, unrounded, in float64, or in float32 where inputs of that dtype are right so."""
        positive, negative = (self.plain_forms.get((side, part)) for side in ("positive", "negative"))
        if log_ratio.dtype == torch.float64 or positive is None or negative is None:
            return tuple(self._wide(quantity, log_ratio.double(), sign) for quantity in PARTS[part])
        compute = lambda form: plain(form, widened(form, log_ratio), sign, quickly(form, log_ratio))  # noqa: E731
        if positive is negative:
            return compute(positive)
        sides = compute(positive), compute(negative)
        return tuple(torch.where(sign, mine, theirs) for mine, theirs in zip(*sides, strict=True))

    def _wide(self, quantity: Quantity, z: Tensor, sign: Tensor) -> Tensor:
        positive, negative = (self.formulas[side, quantity] for side in ("positive", "negative"))
        compute = opaque_wide if torch.compiler.is_compiling() else wide
        if positive is negative:
            return compute(positive, z)
        return torch.where(sign, compute(positive, z), compute(negative, z))


def widened(form: Plain, log_ratio: Tensor) -> Tensor:
    """In the dtype that the form is to be computed in."""
    return log_ratio.float() if log_ratio.dtype in form.single_for else log_ratio.double()


def quickly(form: Plain, log_ratio: Tensor) -> bool:
    """Where it is worth it and right: compiled, where functions bound the speed, by a CPU's exact float32."""
    cpu = log_ratio.device.type == "cpu" and torch.compiler.is_compiling()
    return cpu and log_ratio.dtype == torch.float32 and form.quick is not None


def opaque_wide(formula: Formula, z: Tensor) -> Tensor:
    """`wide`, for the compiler."""
    return opaque(z, formula.key)


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


def in_blocks(
    function: Callable[..., tuple[Tensor, ...]], dtypes: tuple[torch.dtype, ...], like: Tensor, *others: Tensor
) -> tuple[Tensor, ...]:
    """function(like, *others), its results rounded to dtypes; eager on a CPU, some rows at a time."""
    size, rows = like.numel(), like.shape[0] if like.dim() else 1
    step = rows
    if like.device.type == "cpu" and not torch.compiler.is_compiling():
        step = max(1, BLOCK * torch.get_num_threads() * rows // max(1, size))
    if step >= rows:
        results = function(like, *others)
        return tuple(rounded(one, dtype) for one, dtype in zip(results, dtypes, strict=True))
    per_row = [other.dim() == like.dim() and other.shape[0] > 1 for other in others]
    whole: tuple[Tensor, ...] = ()
    for at in range(0, rows, step):
        here = slice(at, at + step)
        mine = (other[here] if cut else other for other, cut in zip(others, per_row, strict=True))
        results = function(like[here], *mine)
        whole = whole or tuple(
            one.new_empty(like.shape, dtype=dtype) for one, dtype in zip(results, dtypes, strict=True)
        )
        for into, one in zip(whole, results, strict=True):
            into[here].copy_(one)
    return whole


def rounded(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Through float32, as torch itself rounds to 16 bits, but for which its compiler has no vectors."""
    near = exact if dtype == torch.float64 else exact.to(torch.float32)
    return near if near.dtype == dtype else torch.empty_like(near, dtype=dtype).copy_(near)


def saved(score: Tensor) -> Tensor:
    """The tensor, kept by torch.compile for the backward pass, which would else compute the gate again from z.

    There is a list of operations that it may compute again; flipping, along no dimension, is not on it and free.
    """
    return torch.flip(score, ()) if torch.compiler.is_compiling() else score


class _Token(torch.autograd.Function):
    """(f(r) * factor, phi(r) * factor): the second is the derivative of the first, and none flows through it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gate: TorchGate, log_ratio: Tensor, sign: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
        def block(log_ratio: Tensor, sign: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
            harmless = torch.where(factor == 0, 0, log_ratio)  # NaN or infinite, it is not to count
            return tuple(factor * quantity for quantity in gate.evaluate("token", harmless, sign))

        dtypes = (log_ratio.dtype, torch.promote_types(log_ratio.dtype, torch.float32))
        value, score = in_blocks(block, dtypes, log_ratio, sign, factor)
        return value, saved(score)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.gate, *tensors = inputs
        ctx.save_for_backward(*tensors, output[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None, None]:
        *tensors, score = ctx.saved_tensors
        factor = tensors[-1]
        return None, _Product.apply(grads[0], _Score.apply(ctx.gate, *tensors, score), factor), None, None  # type: ignore[return-value]


class _Score(torch.autograd.Function):
    """phi * factor as it was computed with the value, with a derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gate: TorchGate, log_ratio: Tensor, sign: Tensor, factor: Tensor, score: Tensor) -> Tensor:
        return score.view_as(score)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.gate, *tensors, _ = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None, None, None]:
        log_ratio, sign, factor = ctx.saved_tensors
        slope = _Slope.apply(ctx.gate, log_ratio, sign, factor)
        return None, _Product.apply(grads[0], slope, factor), None, None, None  # type: ignore[return-value]


class _Product(torch.autograd.Function):
    """grad * slope, 0 where the factor is, in the dtype of grad."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, slope: Tensor, factor: Tensor) -> Tensor:
        product = lambda grad, slope, factor: (torch.where(factor == 0, 0, grad * slope),)  # noqa: E731
        return in_blocks(product, (grad.dtype,), grad, slope, factor)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        grad, slope, factor = ctx.saved_tensors
        by_grad = _Product.apply(grads[0], slope, factor)
        return by_grad, _Product.apply(grads[0], grad, factor), None  # type: ignore[return-value]


class _Slope(torch.autograd.Function):
    """d phi/dz * factor, in the dtype that phi is saved in."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gate: TorchGate, log_ratio: Tensor, sign: Tensor, factor: Tensor) -> Tensor:
        def block(log_ratio: Tensor, sign: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
            harmless = torch.where(factor == 0, 0, log_ratio)
            return tuple(factor * quantity for quantity in gate.evaluate("slope", harmless, sign))

        dtype = torch.promote_types(log_ratio.dtype, torch.float32)
        return in_blocks(block, (dtype,), log_ratio, sign, factor)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to save."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError("a gate has a value, a gradient and a second derivative; its third is not exported.")
