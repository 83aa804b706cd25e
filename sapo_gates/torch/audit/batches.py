"""How tokens become one number: the reduction's name, and whether the batch's cut, padding and order matter."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sapo_gates.gate import Gate
from sapo_gates.torch.audit.finding import Finding, fails, holds, inapplicable
from sapo_gates.torch.audit.subject import Batch, Raised, Subject, batch, measure, token

CLOSE = 1e-6  # relative, in float64: room for a denominator with 1e-8 added
RAGGED = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]


def reduction(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """The reduction by name, from the gradients of on-policy tokens in two ragged batches."""
    if subject.gate is not None or not subject.reduces:
        yield inapplicable("reduction", "it returns a number per token and leaves the reduction to its caller")
        return
    unit = token(subject, 0.0, 1.0).score
    masks = [torch.tensor(RAGGED, dtype=torch.bool), torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=torch.bool)]
    shares = [_shares(subject, mask) / unit for mask in masks]
    for name, share in _named(shares, masks).items():
        if all(
            torch.allclose(found, share(mask), rtol=CLOSE, atol=0) for found, mask in zip(shares, masks, strict=True)
        ):
            yield holds("reduction", f"{name}: {_whole_masked(subject, unit)}")
            return
    numbers = "; ".join(", ".join(f"{v:.6g}" for v in s[m].tolist()) for s, m in zip(shares, masks, strict=True))
    lengths = "; ".join(", ".join(map(str, mask.sum(1).tolist())) for mask in masks)
    yield fails(
        "reduction",
        f"no reduction known here: with completions of {lengths} tokens, token by token, the shares are {numbers}",
        lengths=masks[0].sum(1).tolist(),
    )


def _shares(subject: Subject, mask: Tensor) -> Tensor:
    zeros = [[0.0] * mask.shape[1]] * mask.shape[0]
    return measure(subject, batch(zeros, [1.0] * mask.shape[0], mask.tolist())).score * mask


def _named(shares: list[Tensor], masks: list[Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every known reduction as the share of each token of a mask."""

    def per_sequence(length: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
        return lambda mask: mask.double() / mask.shape[0] / length(mask)

    constant = (1 / (shares[0][masks[0]][0] * masks[0].shape[0])).item() if shares[0][masks[0]][0] else 1.0
    return {
        "seq-mean-token-mean": per_sequence(lambda mask: mask.sum(1, keepdim=True).clamp(min=1)),
        "token-mean": lambda mask: mask.double() / mask.sum(),
        "seq-mean-token-sum-norm by the padded width": per_sequence(lambda mask: mask.shape[1]),
        "seq-mean-token-sum": per_sequence(lambda mask: 1.0),
        "token-sum": lambda mask: mask.double(),
        f"seq-mean-token-sum-norm by {constant:.6g}": per_sequence(lambda mask: constant),
    }


def _whole_masked(subject: Subject, unit: float) -> str:
    share = _shares(subject, torch.tensor([[1], [0]], dtype=torch.bool))[0, 0].item() / unit
    return "completions masked whole " + ("do not count" if abs(share - 1) < CLOSE else "count in its denominator")


def _sample() -> Batch:
    z = [[0.3, -0.2, 0.1, 0.0], [-0.4, 0.0, 0.0, 0.0], [0.2, 0.6, 0.0, 0.0], [-0.1, 0.2, -0.3, 0.5]]
    return batch(z, [1.0, -0.5, 0.25, -1.0], [*RAGGED, [1, 1, 1, 1]])


def cut_padding_order(subject: Subject, against: Gate | None) -> Iterator[Finding]:
    """Whether each token's gradient survives a split into microbatches, more padding, another order."""
    ids = ("microbatch-invariant", "padding-invariant", "order-invariant")
    if subject.gate is not None:
        yield from (inapplicable(id, "a gate sees one token at a time") for id in ids)
        return
    whole = _sample()
    plain = measure(subject, whole).score
    order = [2, 0, 3, 1]
    moves: tuple[tuple[str, str, Callable[[], Tensor]], ...] = (
        ("a split into two microbatches of two completions", "the lengths differ: 3, 1 and 2, 4",
         lambda: torch.cat([measure(subject, whole.rows(half), whole).score for half in (slice(2), slice(2, 4))])),
        ("two more columns of padding", "4 columns become 6",
         lambda: measure(subject, whole.padded(2)).score[:, :4]),
        ("another order of the completions", "order 2, 0, 3, 1",
         lambda: measure(subject, whole.rows(order)).score[[order.index(i) for i in range(4)]]),
    )  # fmt: skip
    for id, (what, where, moved) in zip(ids, moves, strict=True):
        try:
            changed = ((moved() - plain).abs() / plain.abs().clamp(min=1e-300) * whole.mask).nan_to_num(1e300)
        except Raised as error:
            yield fails(id, f"{what} raises {error}")
            continue
        row, column = divmod(int(changed.argmax()), 4)
        if changed.max() <= CLOSE:
            yield holds(id, f"{what} leaves every token's gradient as it is")
        else:
            yield fails(id, f"{what} changes a gradient by {changed.max():.2%} ({where})", completion=row, token=column)


def level(subject: Subject) -> str:
    """Whether a token's weight is its own ratio's, or that of its whole completion."""
    if subject.gate is not None:
        return "token"
    base, moved = (measure(subject, batch([[0.1, z]], [1.0])).score[0, 0].item() for z in (0.1, 0.6))
    return "token" if abs(base - moved) <= 1e-6 * abs(base) else "sequence"
