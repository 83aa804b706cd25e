"""What the exported function really computes, held against its declaration at high precision.

The result is evidence of its own kind, `sampled` or `exhaustive`, kept in a certificate beside the proofs. The unit is
the ulp: the distance of neighbouring numbers of the dtype at the true value.

Error model. float32, bfloat16, float16: everything is computed in float64, with errors below 2^-28 of the result where
the export was made, and rounded once (through float32, on CPU): 0.5 ulp and a little, tolerance 1. Where bfloat16 or
float16 are computed in float32, the export has found that at every number to differ from float64 by less than 2^-14 of
the result, 1/64 ulp of bfloat16 and 1/8 of float16, at most. float64: about 100
bits but for the outermost transcendental function, good to 1 ulp, whose error the operations around it can double:
tolerance 4. What is measured is the eager function; compiled for a CPU, float32 may be 2 ulp off (`forms`).
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from flint import arb
from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis import strategies as st
from torch import Tensor

from sapo_gates.errors import ExportError
from sapo_gates.torch.reference import PrimitiveReference, ball_function, two_floats, value_at
from sapo_gates.torch.runtime import TorchGate, wide
from sapo_gates.torch.surrogate import bound_formula
from sapo_gates.verdict import SIGNS, Sign

Checked = Literal["value", "weight", "score"]
Reference = Callable[[float], arb]
CHECKED: tuple[Checked, ...] = ("value", "weight", "score")
BOUND_ULP = {torch.float64: 4.0, torch.float32: 1.0, torch.bfloat16: 1.0, torch.float16: 1.0}
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in BOUND_ULP}
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
        _sampled(gate, sign, quantity, dtype, examples) for sign in SIGNS for quantity in CHECKED for dtype in dtypes
    )


def check_every(gate: TorchGate, dtype: torch.dtype) -> tuple[dict[str, Any], ...]:
    """Exhaustive evidence: the same at every number of a 16-bit dtype, against Arb; some seconds to a minute."""
    z = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    z = z[~torch.isnan(z)]
    found = []
    for sign in SIGNS:
        for quantity in CHECKED:
            worst = _worst(gate, sign, quantity, z, reference(gate, sign, quantity, dtype))
            found.append(_entry("exhaustive", sign, quantity, dtype, z.numel(), *worst))
    return tuple(found)


CHUNK = 2**16
EVERY_FLOAT32 = 2**32


def check_float32(
    gate: TorchGate, first: int = 0, last: int = EVERY_FLOAT32, done: Callable[[int], None] = lambda count: None
) -> tuple[dict[str, Any], ...]:
    """Exhaustive evidence: every float32 whose bits, read as an integer, are in [first, last).

    Against the gate's own 100-bit form, at some thirty microseconds a number: all of them take a core forty hours. The
    worst number of each quantity is then held against Arb, which decides what the evidence says. An interrupt ends it
    early: the evidence is then of the numbers tried, and says which.

    Args:
        gate: as exported.
        first: of the range.
        last: one beyond it.
        done: called with how many numbers were tried in each chunk.

    Raises:
        ExportError: an empty range, or one that leaves the 32 bits.
    """
    if not 0 <= first < last <= EVERY_FLOAT32:
        raise ExportError(f"first={first}, last={last}: bits of a float32 lie in 0 <= first < last <= 2**32.")
    worst: dict[tuple[Sign, Checked], tuple[float, float]] = {}
    count, at = 0, first
    try:
        while at < last:
            end = min(at + CHUNK, last)
            bits = torch.arange(at, end, dtype=torch.int64)
            z = torch.where(bits < 2**31, bits, bits - 2**32).to(torch.int32).view(torch.float32)
            z = z[~torch.isnan(z)]
            if z.numel():
                for key, found in _against_wide(gate, z).items():
                    worst[key] = max(worst.get(key, (-1.0, 0.0)), found)
            count, at = count + z.numel(), end
            done(z.numel())
    except KeyboardInterrupt:
        pass
    entries = []
    for (sign, quantity), (_, z_worst) in worst.items():
        exact = reference(gate, sign, quantity, torch.float32)
        found = _worst(gate, sign, quantity, torch.tensor([z_worst], dtype=torch.float32), exact)
        entries.append(_entry("exhaustive", sign, quantity, torch.float32, count, *found) | {"bits": [first, at]})
    return tuple(entries)


def _against_wide(gate: TorchGate, z: Tensor) -> dict[tuple[Sign, Checked], tuple[float, float]]:
    """For each sign and quantity the largest error in ulp and where it is."""
    found: dict[tuple[Sign, Checked], tuple[float, float]] = {}
    for sign in SIGNS:
        for quantity in CHECKED:
            true = wide(gate.formulas[sign, quantity], z.double())
            error = ulps(computed(gate, sign, quantity, z), true, torch.zeros_like(true))
            found[sign, quantity] = error.max().item(), z[error.argmax()].item()
    return found


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
    true_at = reference(gate, sign, quantity, dtype)
    signed = [s * size for size in KILLERS for s in (1.0, -1.0)]
    killers = torch.tensor(signed, dtype=torch.float64).to(dtype)
    found = [_worst(gate, sign, quantity, killers, true_at)]
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
        found.append(_worst(gate, sign, quantity, torch.tensor(log_ratios, dtype=torch.float64).to(dtype), true_at))
        count += len(log_ratios)
        target(min(found[-1][0], 1e6))

    sample()
    return _entry("sampled", sign, quantity, dtype, count, *max(found))


def reference(gate: TorchGate, sign: Sign, quantity: Checked, dtype: torch.dtype) -> Reference:
    """What is declared, in high precision; the value of a gate that has none in closed form by quadrature."""
    numbers = gate.declaration.checked(gate.positive if sign == "positive" else gate.negative)
    expression = bound_formula(gate.declaration, sign, quantity, numbers)
    if expression is None:
        score = bound_formula(gate.declaration, sign, "score", numbers)
        assert score is not None
        return PrimitiveReference(score)
    ball, tiny = ball_function(expression), -1100 if dtype == torch.float64 else -200
    return lambda z: value_at(ball, z, tiny)


def computed(gate: TorchGate, sign: Sign, quantity: Checked, z: Tensor) -> Tensor:
    """What the gate says at log-ratios z; the score weight as the gradient of gate(z, A) at A = 1 or -1."""
    advantage = torch.full(z.shape, 1.0 if sign == "positive" else -1.0)
    if quantity != "score":
        return getattr(gate, quantity)(z, advantage).detach()
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gate(z, advantage).sum(), z)
    return gradient * advantage.to(z.dtype)


def _worst(gate: TorchGate, sign: Sign, quantity: Checked, z: Tensor, true_at: Reference) -> tuple[float, float]:
    """The largest error in ulp and where it occurs."""
    true = torch.tensor([two_floats(true_at(at)) for at in z.double().tolist()], dtype=torch.float64)
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
