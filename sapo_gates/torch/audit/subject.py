"""A foreign loss or gate as the audit sees it, and what autograd says it does.

The log-ratio is varied through the old policy's log-probabilities; the trained policy's stay at -1 nat, where every
shape of loss can be reached and every dtype is exact.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sapo_gates.errors import AuditError
from sapo_gates.torch.trace import Input

LOG_PROB = -1.0
Knobs = Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """What a policy loss is given; all of one floating dtype but the mask."""

    log_probs: Tensor  # [B, T], nats
    old_log_probs: Tensor  # [B, T], nats
    advantages: Tensor  # [B]
    mask: Tensor  # [B, T], bool

    @property
    def log_ratio(self) -> Tensor:
        """z [B, T] as the rounded log-probabilities have it, in float64."""
        return self.log_probs.detach().double() - self.old_log_probs.double()

    def rows(self, which: Sequence[int] | slice) -> "Batch":
        """Some completions of the batch."""
        return Batch(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})

    def padded(self, columns: int) -> "Batch":
        """The same with masked columns after the last token."""
        wide = lambda t, value: torch.nn.functional.pad(t, (0, columns), value=value)  # noqa: E731
        return replace(
            self,
            log_probs=wide(self.log_probs, LOG_PROB),
            old_log_probs=wide(self.old_log_probs, LOG_PROB),
            mask=wide(self.mask, False),
        )


def batch(
    log_ratios: Sequence[Sequence[float]],
    advantages: Sequence[float],
    mask: Sequence[Sequence[int]] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """A batch with these log-ratios [B, T] and advantages [B]; every token counts unless a mask says otherwise."""
    z = torch.tensor(log_ratios, dtype=torch.float64)
    return Batch(
        log_probs=torch.full_like(z, LOG_PROB).to(dtype),
        old_log_probs=(LOG_PROB - z).to(dtype),
        advantages=torch.tensor(advantages, dtype=dtype),
        mask=torch.ones_like(z, dtype=torch.bool) if mask is None else torch.tensor(mask, dtype=torch.bool),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A function under audit.

    loss: (batch, the minibatch it is a part of, knobs) -> the loss [] and metrics; the losses of the parts add up to
        the minibatch's. None for a gate.
    gate: (ratios or log-ratios, A, knobs) -> f, elementwise. None for a loss.
    of: which of the two the gate takes.
    knobs: what the function can be told, with its values; choices: the words that a knob which is a word may be.
    reduces: whether it reduces tokens to one number itself.
    """

    name: str
    shape: str
    knobs: Knobs = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loss: Callable[[Batch, Batch, Knobs], tuple[Tensor, Mapping[str, Any]]] | None = None
    gate: Callable[[Tensor, float, Knobs], Tensor] | None = None
    of: Input = "log_ratio"
    reduces: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """loss: its number. score: minus its gradient by log_probs [B, T], in float64. metrics: what came with it."""

    loss: float
    score: Tensor
    metrics: Mapping[str, Any]


class Raised(Exception):
    """The function under audit raised; the message is its own."""


def measure(subject: Subject, part: Batch, whole: Batch | None = None, **knobs: Any) -> Measured:
    """The loss of a batch and minus its gradient by each token's log-probability.

    Raises:
        Raised: the function did.
    """
    assert subject.loss is not None, "a gate has no loss"
    leaf = part.log_probs.detach().clone().requires_grad_()
    with foreign():
        loss, metrics = subject.loss(replace(part, log_probs=leaf), whole or part, {**subject.knobs, **knobs})
        score = -gradient(loss, leaf).double()
    return Measured(loss=float(loss.detach()), score=score, metrics=metrics)


@contextmanager
def foreign() -> Iterator[None]:
    """Around a call of the function under audit: its warnings are its own, its errors are told as such."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # whatever a foreign function raises
        raise Raised(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}") from error


def gradient(result: Tensor, leaf: Tensor) -> Tensor:
    """d result / d leaf; 0 where it does not depend on it, as far as autograd knows."""
    if not result.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(result, leaf, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token: z as rounded, the implied f (up to a constant) and phi = df/dz."""

    z: float
    value: float
    score: float


def token(subject: Subject, z: float, advantage: float, dtype: torch.dtype = torch.float64, **knobs: Any) -> Token:
    """What the function does to a single token: f = -loss/A and phi = -(d loss / d log pi)/A.

    Raises:
        Raised: the function did.
    """
    if subject.gate is None:
        one = batch([[z]], [advantage], dtype=dtype)
        found = measure(subject, one, **knobs)
        return Token(z=one.log_ratio.item(), value=-found.loss / advantage, score=found.score.item() / advantage)
    by_ratio = subject.of == "ratio"
    at = math.exp(min(z, 709.0)) if by_ratio else z
    leaf = torch.tensor([at], dtype=torch.float64).to(dtype).requires_grad_()
    with foreign():
        value = subject.gate(leaf, advantage, {**subject.knobs, **knobs})
        slope = gradient(value.sum(), leaf).item()
    at = leaf.item()
    rounded = at if not by_ratio else math.log(at) if at > 0 else -math.inf
    return Token(z=rounded, value=value.item(), score=slope * at if by_ratio else slope)


def score_weights(subject: Subject, log_ratios: Sequence[float], advantage: float) -> list[float]:
    """phi at each log-ratio, in float64.

    A loss is given them as one batch of completions of one token, whose shares are equal under every reduction; one by
    one where two of them, tried alone, show that they are not.
    """
    if subject.loss is None:
        return [token(subject, z, advantage).score for z in log_ratios]
    whole = measure(subject, batch([[z] for z in log_ratios], [advantage] * len(log_ratios))).score[:, 0] / advantage
    first, last = (token(subject, log_ratios[i], advantage).score for i in (0, -1))
    scale = first / whole[0].item() if whole[0] else 1.0
    if abs(whole[-1].item() * scale - last) <= 1e-6 * abs(last):
        return (whole * scale).tolist()
    return [token(subject, z, advantage).score for z in log_ratios]


def probe(subject: Subject) -> None:
    """Refuse a function that cannot even be called.

    Raises:
        AuditError: it raised on two ordinary tokens.
    """
    try:
        for advantage in (1.0, -1.0):
            token(subject, 0.1, advantage)
    except Raised as error:
        raise AuditError(
            f"{subject.name}, called as {subject.shape}, raises {error}; name another shape with --as, or what "
            f"it needs with --knob NAME=VALUE."
        ) from error
