"""What can be set has an effect, a temperature of 0 is refused, and a clip metric tells something."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from sapo_gates.gate import Gate
from sapo_gates.torch.audit.finding import Finding, fails, holds, inapplicable
from sapo_gates.torch.audit.subject import Raised, Subject, batch, measure, token

FAR = 7.0
SPREAD = (-2.0, -0.5, -0.15, 0.0, 0.15, 0.5, 2.0)


def knobs_alive(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether the loss or its gradient moves when a knob does; one finding for each knob."""
    tried = {name: _others(value) for name, value in subject.knobs.items()} | dict(subject.choices)
    tried = {name: values for name, values in tried.items() if values}
    if not tried:
        yield inapplicable("knob-alive", "it has no knob; name one with --knob NAME=VALUE")
    for name, values in tried.items():
        id, own = f"knob-alive-{name}", subject.knobs.get(name)
        base = _profile(subject)
        answers = [(value, _profile_or_none(subject, name, value)) for value in values if value != own]
        accepted = [(value, profile) for value, profile in answers if profile is not None]
        if not accepted:
            yield inapplicable(id, f"every other value tried is refused: {', '.join(str(v) for v, _ in answers)}")
        elif any(not torch.allclose(base, profile, rtol=1e-9, atol=1e-12, equal_nan=True) for _, profile in accepted):
            yield holds(id, "loss and gradient move with it")
        else:
            shown = ", ".join(str(value) for value, _ in accepted)
            yield fails(id, f"{name} = {own} can be {shown} and nothing changes", knob=name, values=shown)


def _others(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ()
    return (value * 1.5, value * 0.5, value + 1) if isinstance(value, float) else (value + 1, value * 2)


def _profile(subject: Subject, **knobs: Any) -> torch.Tensor:
    """Losses and gradients of tokens on and off policy, for both signs of A, alone and in two completions."""
    alone = [token(subject, z, a, **knobs) for z in SPREAD for a in (1.0, -1.0)]
    numbers = [number for t in alone for number in (t.value, t.score)]
    if subject.gate is None:
        ragged = batch([[0.1, -0.3, 0.2], [0.4, 0.0, 0.0]], [1.0, -1.0], [[1, 1, 1], [1, 0, 0]])
        found = measure(subject, ragged, **knobs)
        numbers += [found.loss, *found.score.flatten().tolist()]
    return torch.tensor(numbers, dtype=torch.float64)


def _profile_or_none(subject: Subject, name: str, value: Any) -> torch.Tensor | None:
    try:
        return _profile(subject, **{name: value})
    except Raised:
        return None


def temperatures_refused(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether tau = 0, which leaves a gate no width, and tau < 0, which inverts it, are refused."""
    found = _temperatures(subject)
    if not found:
        yield inapplicable("temperature-refused", "it has no knob named as a temperature")
    for name in found:
        accepted = [value for value in (0.0, -1.0) if _profile_or_none(subject, name, value) is not None]
        id = f"temperature-refused-{name}"
        if accepted:
            setting: dict[str, Any] = {name: accepted[0]}
            loss = token(subject, 0.1, 1.0 if "neg" not in name else -1.0, **setting).value
            shown = " and ".join(f"{value:g}" for value in accepted)
            said = f"{name} = {shown}: accepted; at {accepted[0]:g} f(1.1) is {loss:.4g}"
            yield fails(id, said, knob=name, value=accepted[0])
        else:
            yield holds(id, f"{name} = 0 and {name} = -1 are refused")


def _temperatures(subject: Subject) -> list[str]:
    return [
        name
        for name, value in subject.knobs.items()
        if ("tau" in name or "temperature" in name) and isinstance(value, int | float) and value > 0
    ]


def temperatures_kept(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether bfloat16 tensors leave a temperature its digits: rounded to bfloat16, 1.05 is 1.046875."""
    found = _temperatures(subject)
    if not found:
        yield inapplicable("temperature-kept", "it has no knob named as a temperature")
    for name in found:
        rounded = float(torch.tensor(subject.knobs[name], dtype=torch.bfloat16))
        spacing = 2.0 ** (math.floor(math.log2(rounded)) - 7)
        between = rounded + 0.45 * spacing
        id = f"temperature-kept-{name}"
        if _in_bfloat16(subject, name, between) != (coarse := _in_bfloat16(subject, name, rounded)):
            yield holds(id, f"{name} = {between:g} and {rounded:g} differ for bfloat16 tensors")
        elif _in_bfloat16(subject, name, 2 * rounded) == coarse:
            yield inapplicable(id, f"{name} has no effect at all")
        else:
            yield fails(
                id, f"{between:g} acts as {rounded:g}: it is rounded with the tensors", dtype="bfloat16", knob=name
            )


def _in_bfloat16(subject: Subject, name: str, value: float) -> list[tuple[float, float]]:
    setting: dict[str, Any] = {name: value}
    tokens = [
        token(subject, z, advantage, torch.bfloat16, **setting)
        for z in torch.logspace(-1.5, 0.3, 40).tolist()
        for advantage in (1.0, -1.0)
    ]
    return [(t.value, t.score) for t in tokens]


def clip_metrics(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether a metric named after clipping tells a batch far off policy from one on policy."""
    id = "clip-metric-alive"
    if subject.gate is not None:
        yield inapplicable(id, "a gate reports no metric")
        return
    near, far = (measure(subject, batch([[z, z], [-z, -z]] * 2, [1.0, 1.0, -1.0, -1.0])).metrics for z in (0.0, FAR))
    named = [name for name in far if "clip" in name.lower()]
    if not named:
        yield inapplicable(id, "it reports no metric named after clipping")
        return
    still = [name for name in named if _number(near.get(name)) == _number(far[name])]
    if len(still) == len(named):
        yield fails(id, f"{', '.join(still)}: {_number(far[still[0]]):g} on policy and at r = e^{FAR:g} alike", z=FAR)
    else:
        yield holds(id, f"{', '.join(n for n in named if n not in still)} moves off policy")


def _number(value: Any) -> float:
    if isinstance(value, list | tuple):
        value = value[-1] if value else math.nan
    return float(value)
