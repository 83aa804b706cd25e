"""The formula of a foreign function, for the prover: that of a gate, or of a loss of one token."""

from collections.abc import Callable
from typing import Any

import sympy
import torch
from sympy import Expr, Rational
from torch import Tensor

from sapo_gates.derive import declared_formula
from sapo_gates.functions import r
from sapo_gates.gate import Gate, Kind
from sapo_gates.torch.audit.subject import Batch, Subject
from sapo_gates.torch.trace import check_trace, declared, trace
from sapo_gates.verdict import SIGNS, Sign

ROUNDING = Rational(1, 10**6)


def traced(subject: Subject) -> Gate:
    """The gate that the subject computes for a single token.

    A loss whose denominator has 1e-8 added is the gate times a factor beside 1; a factor within 1e-6 of 1 is left out.

    Raises:
        TraceError: its graph has no formula; what stands in the way is named.
    """
    functions: dict[Sign, Callable[..., Tensor]] = {sign: one_token(subject, sign) for sign in SIGNS}
    found: dict[Sign, tuple[Kind, Expr]] = {}
    factors: dict[Sign, Expr] = {}
    for sign, function in functions.items():
        kind, expression = trace(function, subject.of, (), subject.name)
        factors[sign] = _factor(kind, expression)
        found[sign] = kind, expression * factors[sign]
    gate = declared(subject.name, found, (), f"traced from {subject.name}")
    for sign, function in functions.items():
        check_trace(gate, sign, function, subject.of, "value", subject.name, float(factors[sign]))
    return gate


def _factor(kind: Kind, expression: Expr) -> Expr:
    """What makes a weight on policy of nearly 1 exactly 1; else 1."""
    score = declared_formula(kind, expression, "score")
    at_one = sympy.Integer(0) if score is None else score.subs(r, 1)
    return 1 / at_one if at_one.is_Rational and 0 < abs(at_one - 1) <= ROUNDING else sympy.Integer(1)


def one_token(subject: Subject, sign: Sign) -> Callable[..., Tensor]:
    """f of a ratio or log-ratio tensor: the gate itself, or -loss/A of each number as a token of its own."""
    advantage = 1.0 if sign == "positive" else -1.0

    def gate(first: Tensor, **_: Any) -> Tensor:
        assert subject.gate is not None
        return subject.gate(first, advantage, subject.knobs)

    def loss(first: Tensor, **_: Any) -> Tensor:
        flat = first.reshape(-1)
        values = [one(flat if len(flat) == 1 else flat[i]) for i in range(len(flat))]
        return (values[0] if len(values) == 1 else torch.cat(values)).reshape(first.shape)

    def one(z: Tensor) -> Tensor:
        assert subject.loss is not None
        ones = torch.ones(1, 1, dtype=z.dtype)
        token = Batch(
            log_probs=z.reshape(1, 1),
            old_log_probs=torch.zeros_like(ones),
            advantages=advantage * ones[0],
            mask=ones.bool(),
        )
        value = subject.loss(token, token, subject.knobs)[0].reshape(1)
        return -value if advantage > 0 else value

    return loss if subject.gate is None else gate
