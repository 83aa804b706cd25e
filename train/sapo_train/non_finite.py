"""A loss or gradient that is not finite: no update is made, the sample is named, its minibatch kept for replay."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sapo_train.batch import Batch
from sapo_train.errors import NonFinite
from sapo_train.objective import Objective
from sapo_train.progress import Progress
from sapo_train.trace import Trace


def refuse_non_finite(loss: float, grad_norm: float, objective: Objective, trace: Trace, progress: Progress) -> None:
    """Stop before the optimizer step if the loss, the gradient or a log-prob of the pass recorded last is not finite.

    Raises:
        NonFinite: naming step, rank and the first bad sample; the minibatch is kept in the run directory.
    """
    if math.isfinite(loss) and math.isfinite(grad_norm) and bool(torch.isfinite(trace.log_probs).all()):
        return
    bad = first_bad(trace.minibatch, trace.log_probs, objective)
    if bad is None:  # the gradient overflows in the backward pass, or in the sum of all samples
        rank, row, name, sample = progress.world.rank, None, None, "no single sample"
    else:
        rank, row = trace.minibatch.owner(bad, progress.world.size), int(trace.rows[bad])
        name = trace.completions[row][0].id
        sample = f"sample {row} (problem {name!r})"
    about = {"rank": rank, "row": row, "id": name, "loss": str(loss), "grad_norm": str(grad_norm)}
    kept = progress.folder / "failures" / f"step-{trace.step}.safetensors"
    if progress.records:
        trace.write_failure(kept, about)
    raise NonFinite(
        f"the loss is {loss} and the gradient norm {grad_norm} at step {trace.step}, epoch {trace.epoch}, rank {rank}, "
        f"{sample}; no update was made. The minibatch is in {kept} for 'sapo-analysis replay'; the last checkpoint is "
        "good."
    )


@torch.no_grad()
def first_bad(minibatch: Batch, log_probs: Tensor, objective: Objective) -> int | None:
    """Return the first completion with a log-prob [B, T] or a loss of its own that is not finite."""
    for row in range(len(minibatch)):
        alone = minibatch.rows(torch.tensor([row]))
        loss = objective.loss(alone.inputs(log_probs[row, None]), 1.0)
        if not (torch.isfinite(log_probs[row]).all() and torch.isfinite(loss)):
            return row
    return None
