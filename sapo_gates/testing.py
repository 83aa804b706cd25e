"""Hypothesis strategies and assertions that hold a loss or gate of your own to its properties, in your own pytest.

Take a loss whose ratio is not kept from overflowing, and whose mask is multiplied where it should choose:

>>> import torch
>>> def my_loss(log_probs, old_log_probs, advantages, mask):
...     ratio = torch.exp(log_probs - old_log_probs)
...     terms = torch.sigmoid(ratio - 1) * 4 * advantages * mask
...     return -(terms.sum(1) / mask.sum(1).clamp(min=1)).mean()

Every property of an audit is one line, and the random batches, in which killers stand beside live tokens, two more:

>>> from hypothesis import given
>>> from sapo_gates.testing import assert_holds, assert_inert, batches
>>> assert_holds(my_loss, "unit-weight", "advantage", "matches-gate", against="sigmoid", set={"tau": 1})

>>> @given(batches())
... def test_what_does_not_count_changes_nothing(batch):
...     assert_inert(my_loss, batch)
>>> test_what_does_not_count_changes_nothing()
Traceback (most recent call last):
    ...
AssertionError: my_loss: the gradient of a token that does not count is nan at z = ...
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from sapo_gates.errors import AuditError, did_you_mean
from sapo_gates.gate import Gate, Number
from sapo_gates.gatefile import load_gate
from sapo_gates.torch.audit.audit import PROPERTIES, audit
from sapo_gates.torch.audit.shapes import subject
from sapo_gates.torch.audit.subject import Batch, Measured, measure
from sapo_gates.torch.audit.subject import batch as made
from sapo_gates.torch.numerics import KILLERS

__all__ = ["Batch", "advantages", "assert_finite", "assert_holds", "assert_inert", "batches", "log_ratios", "masks"]


WORST = (89.0, -89.0, 1e4, float("inf"), float("-inf"), float("nan"))
"""Log-ratios beside which a live token is lost most often."""


def log_ratios(*, killers: bool = True, nan: bool = False) -> st.SearchStrategy[float]:
    """Log-ratios in nats: near 0, within 30, and, unless they are not wanted, those at which implementations break.

    The killers include both infinities; NaN only on demand.
    """
    ordinary = st.floats(-1.0, 1.0) | st.floats(-30.0, 30.0)
    if not killers:
        return ordinary
    sizes = sorted({sign * size for size in KILLERS for sign in (1.0, -1.0)}, key=abs)
    return ordinary | st.sampled_from([*sizes, float("nan")] if nan else sizes)


def advantages() -> st.SearchStrategy[float]:
    """Advantages as a group gives them: often 0, of both signs, of a few standard deviations at most."""
    return st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-4.0, 4.0, width=16)


@st.composite
def masks(draw: st.DrawFn, rows: int, columns: int) -> list[list[int]]:
    """Masks [rows, columns] of completions: each a run of tokens from the first on; one at least is not empty."""
    lengths = draw(st.lists(st.integers(0, columns), min_size=rows, max_size=rows).filter(any))
    return [[int(at < length) for at in range(columns)] for length in lengths]


@st.composite
def batches(
    draw: st.DrawFn, *, dtype: torch.dtype = torch.float32, rows: int = 3, columns: int = 4, inert_killers: bool = True
) -> Batch:
    """Batches of at most rows x columns tokens. Tokens that count are within 5 nats of their old policy.

    inert_killers: whether tokens that are masked or have A = 0 may have any log-ratio, infinities and NaN included.
    """
    size = draw(st.integers(1, rows)), draw(st.integers(1, columns))
    mask = draw(masks(*size))
    advantage = draw(st.lists(advantages(), min_size=size[0], max_size=size[0]))
    live = st.floats(-5.0, 5.0)
    inert = st.sampled_from(WORST) | log_ratios(nan=True) if inert_killers else live
    z = [[draw(live if on and a else inert) for on in row] for row, a in zip(mask, advantage, strict=True)]
    return made(z, advantage, mask, dtype)


def assert_holds(
    function: Callable[..., Any],
    *properties: str,
    against: str | Gate | None = None,
    set: Mapping[str, Number] | None = None,
    positive: Mapping[str, Number] | None = None,
    negative: Mapping[str, Number] | None = None,
    shape: str | None = None,
    knobs: Mapping[str, Any] | None = None,
) -> None:
    """Assert properties of an audit, all of them if none is named: see `sapo_gates.torch.audit.PROPERTIES`.

    Args:
        function: a gate or a loss, as `sapo-gates audit` takes them.
        properties: their names.
        against: the gate it claims to be; set, positive, negative: its parameters, for both signs of A or one.
        shape: how the function is called, where its parameters' names do not tell.
        knobs: what it is called with beside its tensors.

    Raises:
        AssertionError: a property fails; each with its input.
        AuditError: there is no such property, or the function cannot be called.
    """
    for name in properties:
        if name not in PROPERTIES:
            raise AuditError(
                f"no property {name!r}; known are {', '.join(PROPERTIES)}.{did_you_mean(name, PROPERTIES)}"
            )
    gate = None if against is None else load_gate(against)
    if gate is not None and (set or positive or negative):
        gate = gate.bind(set, positive=positive, negative=negative)
    found = audit(function, against=gate, shape=shape, knobs=knobs, only=properties or tuple(PROPERTIES), prove=False)
    failures = [f"{f.id}: {f.says} (at {dict(f.input)})" for f in found.findings if f.verdict == "fails"]
    assert not failures, f"{found.name} fails {'; '.join(failures)}"


def assert_finite(function: Callable[..., Any], batch: Batch, **knobs: Any) -> None:
    """Assert that the loss of a batch and its gradient are finite.

    Raises:
        AssertionError: one is not; the message says which.
    """
    name, found = _measured(function, batch, knobs)
    assert torch.isfinite(torch.tensor(found.loss)), f"{name}: the loss is {found.loss} at z = {_list(batch.log_ratio)}"
    bad = ~torch.isfinite(found.score)
    assert not bad.any(), f"{name}: a gradient is {found.score[bad][0]} at z = {batch.log_ratio[bad].tolist()}"


def assert_inert(function: Callable[..., Any], batch: Batch, **knobs: Any) -> None:
    """Assert that tokens that are masked or have A = 0 have gradient exactly 0, and change no other token's gradient.

    Raises:
        AssertionError: one does; the message says which.
    """
    inert = ~batch.mask | (batch.advantages[:, None] == 0)
    name, found = _measured(function, batch, knobs)
    wrong = inert & (found.score != 0)
    z = batch.log_ratio
    assert not wrong.any(), (
        f"{name}: the gradient of a token that does not count is {found.score[wrong][0]} at z = {z[wrong][0]}"
    )
    quiet = replace(batch, old_log_probs=torch.where(inert, batch.log_probs, batch.old_log_probs))
    _, calm = _measured(function, quiet, knobs)
    moved = ~torch.isclose(found.score, calm.score, rtol=1e-4, atol=1e-6)
    assert not moved.any(), (
        f"{name}: a gradient is {found.score[moved][0]} instead of {calm.score[moved][0]} beside tokens that do not "
        f"count, z = {z[inert].tolist()}"
    )


def _measured(function: Callable[..., Any], batch: Batch, knobs: Mapping[str, Any]) -> tuple[str, Measured]:
    name = getattr(function, "__name__", type(function).__name__)
    seen = subject(function, name=name, knobs=knobs)
    if seen.loss is None:
        raise AuditError(f"{name} is a gate and sees no batch; hold it to assert_holds.")
    return name, measure(seen, batch)


def _list(tensor: Tensor) -> list[Any]:
    return tensor.tolist()
