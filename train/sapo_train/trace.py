"""What each pass over a batch saw, token by token: for replay under another gate, and for the samples.

The file format `sapo-ratios/1` is safetensors: C completions without padding, N tokens in all, E epochs.

tokens          int32 [N]
offsets         int64 [C + 1], completion c holds the tokens offsets[c] … offsets[c + 1] − 1
counts          uint8 [N], 1 where the token is in the loss
log_ratio       float32 [E, N], log π_new/π_old of the token in nats before each epoch's update
advantages      float32 [C]
rewards         float32 [C]
group           int64 [C], the completion's prompt in the batch

The header's metadata has `format`, `step`, and as JSON lists of length C the `ids` of the problems and the `pieces` of
the completions: each token's own text.

A run keeps the first completions of a batch in ratios/step-N.safetensors. The minibatch whose loss or gradient was not
finite it keeps in failures/step-N.safetensors, up to and with the failed epoch, where `log_ratio` may be NaN or
infinite; beyond the above this file has

rows            int64 [C], the completion's place in the batch
log_probs       float32 [N] in nats, of the failed pass; as are
old_log_probs, sampler_log_probs, and, where there is a KL term, reference_log_probs
prompt_tokens   int32 [M], and prompt_offsets int64 [P + 1]: the prompts of the batch, of which `group` names one

and in the metadata `failure`, a JSON object of: epoch; rank, the process; row, the first bad completion's place in
the batch, and id, its problem, both null where only the gradient is not finite; loss and grad_norm, as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sapo_train.batch import Batch, Group
from sapo_train.config import check, config
from sapo_train.files import replacing
from sapo_train.objective import log_ratio

FORMAT = "sapo-ratios/1"


@config
class RatioConfig:
    """Log-ratios kept for `sapo-analysis replay`, in ratios/step-N.safetensors."""

    every: int = 10
    """Batch steps from one file to the next, >= 0; 0: none."""
    completions: int = 16
    """The first so many completions of the batch, >= 1; the order of problems is random."""

    def __post_init__(self) -> None:
        check(self.every >= 0, f"ratios.every={self.every} must be at least 0.")
        check(self.completions >= 1, f"ratios.completions={self.completions} must be at least 1.")


class Trace:
    """The passes over a batch: token-level log-ratios [E, B, T], each as it was before the update that used it."""

    def __init__(
        self, step: int, groups: Sequence[Group], batch: Batch, epochs: int, text_of: Callable[[int], str]
    ) -> None:
        """Begin with no pass; `text_of` gives the text of a token."""
        self.step, self.batch, self.text_of = step, batch, text_of
        self.completions = [(group.prompt.problem, c) for group in groups for c in group.completions]
        self.log_ratio = torch.zeros(epochs, *batch.tokens.shape)

    def record(self, epoch: int, rows: Tensor, minibatch: Batch, log_probs: Tensor) -> None:
        """Take in a pass over the minibatch of `rows` in `epoch` (from 1)."""
        assert minibatch.old_log_probs is not None
        z = log_ratio(log_probs, minibatch.old_log_probs, minibatch.mask, "token")
        self.log_ratio[epoch - 1, rows] = z.float()
        self.epoch, self.rows, self.minibatch, self.log_probs = epoch, rows, minibatch, log_probs

    def furthest(self, row: int, number: int = 3) -> list[tuple[int, float]]:
        """Return the tokens of a completion whose ratio was furthest out in the last epoch: (place, log-ratio)."""
        z = self.log_ratio[-1, row]
        places = z.abs().topk(min(number, int(self.batch.lengths[row]))).indices.tolist()
        return [(place, z[place].item()) for place in places if z[place] != 0]

    def write(self, path: Path, completions: int) -> None:
        """Keep all epochs of the first completions."""
        rows = torch.arange(min(completions, len(self.batch)))
        self._write(path, rows, len(self.log_ratio), {}, {})

    def write_failure(self, path: Path, failure: dict[str, Any]) -> None:
        """Keep the minibatch of the pass recorded last."""
        minibatch, at = self.minibatch, _within(self.minibatch)
        named = {
            "log_probs": self.log_probs,
            "old_log_probs": minibatch.old_log_probs,
            "sampler_log_probs": minibatch.sampler_log_probs,
            "reference_log_probs": minibatch.reference_log_probs,
        }
        more = {name: values[at].float() for name, values in named.items() if values is not None}
        more["rows"] = self.rows
        more["prompt_tokens"] = torch.cat(self.batch.prompts).int()
        more["prompt_offsets"] = _offsets(torch.tensor([len(prompt) for prompt in self.batch.prompts]))
        self._write(path, self.rows, self.epoch, more, {"failure": json.dumps({"epoch": self.epoch, **failure})})

    def _write(self, path: Path, rows: Tensor, epochs: int, more: dict[str, Tensor], about: dict[str, str]) -> None:
        batch, chosen = self.batch.rows(rows), [self.completions[row] for row in rows.tolist()]
        at = _within(batch)
        tensors = {
            "tokens": batch.tokens[at].int(),
            "counts": batch.mask[at].to(torch.uint8),
            "log_ratio": self.log_ratio[:epochs, rows][:, at],
            "offsets": _offsets(batch.lengths),
            "advantages": batch.advantages.float(),
            "rewards": torch.tensor([c.reward for _, c in chosen]),
            "group": batch.group,
        }
        metadata = {
            "format": FORMAT,
            "step": str(self.step),
            "ids": json.dumps([problem.id for problem, _ in chosen]),
            "pieces": json.dumps([[self.text_of(token) for token in c.tokens.tolist()] for _, c in chosen]),
        }
        with replacing(path) as scratch:
            save_file({k: v.contiguous() for k, v in (tensors | more).items()}, scratch, metadata | about)


def _within(batch: Batch) -> Tensor:
    """Where [B, T] there is a token, counted or not."""
    return torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]


def _offsets(lengths: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
