"""What the exported function really computes, held against its declaration at high precision.

The result is evidence of its own kind, `sampled` or `exhaustive`, kept in a certificate beside the proofs. The unit is
the ulp: the distance of neighbouring numbers of the dtype at the true value.

Error model. float32, bfloat16, float16: everything is computed in float64, whose errors are far below these dtypes'
ulp, and rounded once (through float32, on CPU): 0.5 ulp and a little, tolerance 1. float64: about 100 bits but for the
outermost transcendental function, good to 1 ulp, whose error the operations around it can double: tolerance 4.
"""

import sys
from collections.abc import Iterable
from typing import Any, Literal

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis import strategies as st
from torch import Tensor

from sapo_gates.torch.reference import Ball, ball_function, two_floats, value_at
from sapo_gates.torch.runtime import TorchGate
from sapo_gates.torch.surrogate import bound_formula
from sapo_gates.verdict import SIGNS, Sign

Checked = Literal["value", "weight", "score"]
CHECKED: tuple[Checked, ...] = ("value", "weight", "score")
BOUND_ULP = {torch.float64: 4.0, torch.float32: 1.0, torch.bfloat16: 1.0, torch.float16: 1.0}
_BITS = {torch.float64: 53, torch.float32: 24, torch.bfloat16: 8, torch.float16: 11}
KILLERS = (0.0, 1e-30, 1e-8, 1e-3, 0.2, 1.0, 20.0, 40.0, 88.7, 89.0, 104.0, 350.0, 709.7, 709.8, 1e4, 6e4, float("inf"))
"""Sizes of log-ratios at which implementations break."""


def check(
    gate: TorchGate, dtypes: Iterable[torch.dtype] = tuple(BOUND_ULP), examples: int = 12
) -> tuple[dict[str, Any], ...]:
    """Sampled evidence: value, weight and the gradient autograd gives, for each sign of A and dtype.

    Each example is a handful of log-ratios that hypothesis chooses so as to raise the error; the choice is the same
    every time.
    """
    return tuple(
        _sampled(gate, sign, quantity, dtype, examples)
        for sign in SIGNS
        for quantity in _quantities(gate)
        for dtype in dtypes
    )


def check_every(gate: TorchGate, dtype: torch.dtype) -> tuple[dict[str, Any], ...]:
    """Exhaustive evidence: the same at every number of a 16-bit dtype; some seconds."""
    z = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    z = z[~torch.isnan(z)]
    found = []
    for sign in SIGNS:
        for quantity in _quantities(gate):
            worst = _worst(gate, sign, quantity, z, _ball(gate, sign, quantity))
            found.append(_entry("exhaustive", sign, quantity, dtype, z.numel(), *worst))
    return tuple(found)


def _quantities(gate: TorchGate) -> tuple[Checked, ...]:
    return CHECKED if gate.has_value else CHECKED[1:]


def _entry(
    kind: str, sign: Sign, quantity: Checked, dtype: torch.dtype, examples: int, ulp: float, worst: float
) -> dict[str, Any]:
    bound = BOUND_ULP[dtype]
    return {
        "kind": kind,
        "dtype": str(dtype).removeprefix("torch."),
        "quantity": quantity,
        "sign": sign,
        "examples": examples,
        "worst_ulp": min(ulp, sys.float_info.max),  # JSON has no infinity
        "worst_input": repr(worst),
        "bound_ulp": bound,
        "holds": ulp <= bound,
    }


def _sampled(gate: TorchGate, sign: Sign, quantity: Checked, dtype: torch.dtype, examples: int) -> dict[str, Any]:
    ball = _ball(gate, sign, quantity)
    signed = [s * size for size in KILLERS for s in (1.0, -1.0)]
    killers = torch.tensor(signed, dtype=torch.float64).to(dtype)
    found = [_worst(gate, sign, quantity, killers, ball)]
    count = killers.numel()

    sizes = st.one_of(st.floats(-1.0, 1.0), st.floats(-30.0, 30.0), st.floats(allow_nan=False))

    @seed(0)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.target],
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
    )
    @given(st.lists(sizes, min_size=16, max_size=16))
    def sample(log_ratios: list[float]) -> None:
        nonlocal count
        found.append(_worst(gate, sign, quantity, torch.tensor(log_ratios, dtype=torch.float64).to(dtype), ball))
        count += len(log_ratios)
        target(min(found[-1][0], 1e6))

    sample()
    return _entry("sampled", sign, quantity, dtype, count, *max(found))


def _ball(gate: TorchGate, sign: Sign, quantity: Checked) -> Ball:
    declared = gate.declaration
    numbers = declared.checked(gate.positive if sign == "positive" else gate.negative)
    expression = bound_formula(declared, sign, quantity, numbers)
    assert expression is not None
    return ball_function(expression)


def computed(gate: TorchGate, sign: Sign, quantity: Checked, z: Tensor) -> Tensor:
    """What the gate says at log-ratios z; the score weight as the gradient of gate(z, A) at A = 1 or -1."""
    advantage = torch.full(z.shape, 1.0 if sign == "positive" else -1.0)
    if quantity != "score":
        return getattr(gate, quantity)(z, advantage).detach()
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gate(z, advantage).sum(), z)
    return gradient * advantage.to(z.dtype)


def _worst(gate: TorchGate, sign: Sign, quantity: Checked, z: Tensor, ball: Ball) -> tuple[float, float]:
    """The largest error in ulp and where it occurs."""
    tiny = -1100 if z.dtype == torch.float64 else -200
    true = torch.tensor([two_floats(value_at(ball, at, tiny)) for at in z.double().tolist()], dtype=torch.float64)
    true[torch.isinf(z) & (true[:, 0].abs() > 1e30)] *= torch.inf  # reached only as |z| -> oo
    error = ulps(computed(gate, sign, quantity, z), true[:, 0], true[:, 1])
    return (error.max().item(), z[error.argmax()].item())


def ulps(result: Tensor, hi: Tensor, lo: Tensor) -> Tensor:
    """|result - (hi + lo)| in units of the last place of result's dtype at hi; infinite for a NaN where there is none.

    Where the true value is beyond the largest finite number, infinity is right and that number is 1 ulp away.
    """
    dtype = result.dtype
    info = torch.finfo(dtype)
    _, exponent = torch.frexp(torch.clamp(hi, -info.max, info.max))
    smallest = torch.finfo(dtype).smallest_normal * 2.0 ** (1 - _BITS[dtype])
    place = torch.clamp(torch.ldexp(torch.ones_like(hi), (exponent - _BITS[dtype]).double()), min=smallest)
    beyond = hi.abs() >= info.max + place / 2
    error = ((result.double() - hi) - lo).abs() / place
    error = torch.where(beyond, torch.where(result.double() == torch.sign(hi) * torch.inf, 0.0, torch.inf), error)
    error = torch.where(torch.isnan(hi), 0.0, error)  # the declaration itself says nothing there
    return torch.nan_to_num(error, nan=torch.inf, posinf=torch.inf)
