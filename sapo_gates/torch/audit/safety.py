"""Numbers that spread: a huge log-ratio, an infinite or undefined one, where nothing should be learned from it."""

import math
from collections.abc import Callable, Iterator

import torch

from sapo_gates.gate import Gate
from sapo_gates.torch.audit.finding import Finding, fails, holds, inapplicable
from sapo_gates.torch.audit.subject import Batch, Raised, Subject, batch, measure, token
from sapo_gates.torch.audit.weight import DTYPES, SIDES, short, truths

KILLERS = (20.0, -20.0, 89.0, -89.0, 710.0, -710.0, 1e4, -1e4, math.inf, -math.inf, math.nan)
"""Log-ratios that break implementations, the ordinary ones first."""
SIZES = (1.0, 5.0, 11.0, 12.0, 20.0, 40.0, 88.0, 89.0, 104.0, 350.0, 709.0, 710.0, 1e4, 6e4)
LIVE = 0.1


def masked_and_zero(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether tokens that are masked, or of advantage 0, have no effect, whatever their log-ratio."""
    for id, what, place in (
        ("mask-safe", "a masked token", lambda z, dtype: batch([[LIVE, z]], [1.0], [[1, 0]], dtype)),
        ("zero-advantage-safe", "a token with A = 0", lambda z, dtype: batch([[LIVE], [z]], [1.0, 0.0], None, dtype)),
    ):
        if subject.gate is not None:
            yield inapplicable(id, "a gate sees no mask and no advantage of 0")
        else:
            yield _inert(subject, id, what, place)


def _inert(subject: Subject, id: str, what: str, place: Callable[[float, torch.dtype], Batch]) -> Finding:
    dtype = torch.float32
    try:
        plain = measure(subject, place(0.0, dtype))
        for z in (2.0, *KILLERS):
            complaint = _complaint(subject, place(z, dtype), plain.score)
            if complaint:
                z = _smallest(lambda size: bool(_complaint(subject, place(size, dtype), plain.score)), z)
                complaint = _complaint(subject, place(z, dtype), plain.score)
                return fails(id, f"{what} beside a live one: {complaint}", z=z, dtype=short(dtype))
    except Raised as error:
        return fails(id, f"raises {error}")
    return holds(id, f"{what} has gradient 0 and changes nothing, up to infinite and undefined log-ratios")


def _complaint(subject: Subject, made: Batch, plain: torch.Tensor) -> str:
    found = measure(subject, made)
    live, inert = found.score.flatten()[0].item(), found.score.flatten()[1].item()
    if not math.isfinite(found.loss):
        return f"the loss is {found.loss}"
    if inert != 0:
        return f"its gradient is {inert:.6g}, not 0"
    if not abs(live - plain.flatten()[0].item()) <= 1e-5:
        return f"the live token's gradient moves from {plain.flatten()[0].item():.6g} to {live:.6g}"
    return ""


def _smallest(breaks: Callable[[float], bool], at: float) -> float:
    """A log-ratio on the side of `at` at which something still breaks, and hardly nearer to 0 does not."""
    if not math.isfinite(at):
        return at
    if breaks(0.0):
        return 0.0
    low, high = 0.0, abs(at)
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if breaks(math.copysign(middle, at)) else (middle, high)
    short = math.copysign(float(f"{high * (1 + 5e-5):.5g}"), at)
    return short if breaks(short) else math.copysign(high, at)


def finite(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether loss and gradient are finite wherever the named gate is, one finding for each dtype."""
    true = truths(against) if against is not None else {}
    for dtype in DTYPES:
        id = f"finite-{short(dtype)}"
        largest = torch.finfo(dtype).max / 4
        if subject.of == "ratio":  # the caller forms the ratio, and its overflow is not the gate's
            largest = math.log(largest)
        found = None
        for sign, advantage in SIDES:
            for direction in (1.0, -1.0):
                bad = lambda z: _not_finite(subject, z, advantage, dtype)  # noqa: B023, E731
                for size in SIZES:
                    z = direction * size
                    infinite = sign in true and not abs(true[sign](z)) < torch.finfo(dtype).max / 4
                    if infinite or size > largest or not bad(z):
                        continue
                    z = _smallest(lambda at: bool(bad(at)), z)  # noqa: B023
                    if found is None or abs(z) < abs(found[0]):
                        found = (z, advantage, bad(z))
                    break
        if found is None:
            says = "finite wherever the named gate is" if against is not None else "finite"
            yield holds(id, f"loss and gradient are {says}, up to |z| = {min(SIZES[-1], largest):g}")
        else:
            z, advantage, says = found
            yield fails(id, says, z=z, A=advantage, dtype=short(dtype))


def _not_finite(subject: Subject, z: float, advantage: float, dtype: torch.dtype) -> str:
    try:
        found = token(subject, z, advantage, dtype)
    except Raised as error:
        return f"raises {error}"
    if math.isfinite(found.score) and math.isfinite(found.value):
        return ""
    return f"value {found.value:.4g}, gradient {found.score * advantage:.4g}"
