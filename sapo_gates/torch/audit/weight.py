"""What multiplies A grad log pi: one on policy, as large as A and of its sign, the derivative of the value, the gate's.

Error model of a comparison with a named gate: a plain implementation of u = half a unit in the last place rounds the
log-ratio and the ratio a few times, so it is allowed the gate's own spread over z +- 4u(1 + |z|); and 8u(r + |phi|) for
what it rounds afterwards: a sigmoid beside 1 is off by u, which its derivative 4 r s(1 - s) shows four times. Beside
that 1e-7, because denominators with an added 1e-8 are customary.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache

import torch

from sapo_gates.gate import Gate
from sapo_gates.torch.audit.finding import Finding, fails, holds, inapplicable
from sapo_gates.torch.audit.subject import Raised, Subject, Token, token
from sapo_gates.torch.reference import ball_function, two_floats, value_at
from sapo_gates.torch.surrogate import bound_formula, parameter_values
from sapo_gates.verdict import Sign

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CUSTOMARY = 1e-7
BEFORE, AFTER = 4, 8
COMPARED = (0, 1e-3, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.4, 2, 3)
SIDES: tuple[tuple[Sign, float], ...] = (("positive", 1.0), ("negative", -1.0))


def short(dtype: torch.dtype) -> str:
    """float32 for torch.float32."""
    return str(dtype).removeprefix("torch.")


def unit_weight(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether an on-policy token pulls with weight 1: its gradient is A."""
    for _, advantage in SIDES:
        score = token(subject, 0.0, advantage).score
        if not abs(score - 1) <= CUSTOMARY * 10:
            yield fails("unit-weight", f"an on-policy token has weight {score:.6g}, not 1", z=0.0, A=advantage)
            return
    yield holds("unit-weight", "an on-policy token's gradient is A, for both signs")


def advantage_used(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether the gradient has the sign of A and is proportional to it."""
    if subject.gate is not None:
        yield inapplicable("advantage-sign", "a gate is multiplied by A by its caller")
        yield inapplicable("advantage-size", "a gate is multiplied by A by its caller")
        return
    wrong = next((a for a in (1.0, -1.0) if not token(subject, 0.0, a).score > 0), None)
    if wrong is None:
        yield holds("advantage-sign", "pulls up where A > 0 and down where A < 0")
    else:
        gradient = token(subject, 0.0, wrong).score * wrong
        yield fails("advantage-sign", f"d objective / d log pi is {gradient:.6g} where A = {wrong:g}", z=0.0, A=wrong)
    for unit in (1.0, -1.0):
        one, two = (token(subject, 0.1, size * unit).score * size for size in (1.0, 2.0))
        if not abs(two - 2 * one) <= 1e-6 * abs(one) or one == 0:
            said = f"A = {2 * unit:g} pulls {two / one:.4g} times as hard as A = {unit:g}" if one else "A has no effect"
            yield fails("advantage-size", said, z=0.1, A=2 * unit)
            return
    yield holds("advantage-size", "twice the advantage pulls twice as hard")


def gradient_of_value(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether the gradient is the value's, or something that carries it was detached."""
    id = "gradient-of-value"
    if against is not None and against.kind == "score":
        yield inapplicable(id, f"{against.name} defines the score weight alone; its value is no objective")
        return
    for z in (0.11, -0.12, 0.53, -0.55):
        for _, advantage in SIDES:
            here, slope = token(subject, z, advantage), _slope(subject, z, advantage)
            if not abs(slope - here.score) <= 5e-3 * (1 + abs(here.score)):
                yield fails(id, _detached(here, slope), z=z, A=advantage)
                return
    yield holds(id, "autograd's gradient is the value's slope")


def _slope(subject: Subject, z: float, advantage: float) -> float:
    """df/dz to about four digits, from five points so far apart that a value rounded to float32 still shows them."""
    step = 3e-3
    far_low, low, high, far_high = (token(subject, z + n * step, advantage).value for n in (-2, -1, 1, 2))
    return (far_low - 8 * low + 8 * high - far_high) / (12 * step)


def _detached(here: Token, slope: float) -> str:
    if here.score == 0:
        return f"the value moves ({slope:.4g} per nat) and the gradient is 0: it is detached"
    if abs(here.score - here.value) <= 1e-6 * abs(here.value):
        return f"the gradient is the value {here.value:.4g}, not its slope {slope:.4g}: the gate's value is the weight"
    return f"the gradient is {here.score:.4g} and the value's slope {slope:.4g}: part of it is detached"


Truth = Callable[[float], float]


def truths(gate: Gate) -> dict[Sign, Truth]:
    """The named gate's score weight as a function of z, for each sign at its trained values, as Arb has it."""

    def truth(sign: Sign) -> Truth:
        formula = bound_formula(gate, sign, "score", parameter_values(gate, sign, None))
        assert formula is not None
        ball = ball_function(formula)
        return cache(lambda z: two_floats(value_at(ball, z))[0])

    return {sign: truth(sign) for sign, _ in SIDES}


def matches(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether the gradient is the named gate's, in every dtype, up to what rounding explains."""
    if against is None:
        yield inapplicable("matches-gate", "no gate was named to compare with; name one with --against")
        return
    true = truths(against)
    for dtype in DTYPES:
        yield _matches(subject, against.name, true, dtype)


def _matches(subject: Subject, name: str, true: dict[Sign, Truth], dtype: torch.dtype) -> Finding:
    id = f"matches-{name}-{short(dtype)}"
    unit = torch.finfo(dtype).eps / 2
    worst = (0.0, 0.0, 1.0, 0.0, 0.0)
    for sign, advantage in SIDES:
        for z in sorted({s * size for size in COMPARED for s in (1, -1)}, key=abs):
            try:
                found = token(subject, z, advantage, dtype)
            except Raised as error:
                return fails(id, f"raises {error}", z=z, A=advantage)
            low, high = _allowed(true[sign], found.z, unit)
            middle = true[sign](found.z)
            room = max(high - middle, middle - low)
            excess = abs(found.score - middle) / room if math.isfinite(found.score) else math.inf
            worst = max(worst, (excess, found.z, advantage, found.score, middle))
    excess, z, advantage, score, middle = worst
    said = f"at z = {z:.4g}, A = {advantage:g} the score weight is {score:.6g}, the gate's {middle:.6g}"
    if excess <= 1:
        return holds(id, f"within rounding; worst {said}")
    return fails(id, f"{said}: {excess:.3g} times what rounding explains", z=z, A=advantage, dtype=short(dtype))


def _allowed(true: Truth, z: float, unit: float) -> tuple[float, float]:
    """What a plain implementation may give at z."""
    shift = BEFORE * unit * (1 + abs(z))
    near = [true(z - shift), true(z), true(z + shift)]
    slack = AFTER * unit * (math.exp(z) + abs(near[1])) + CUSTOMARY * (1 + abs(near[1]))
    return min(near) - slack, max(near) + slack
