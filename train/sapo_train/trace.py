"""What each pass over a batch saw, token by token: for replay under another gate, and for the samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sapo_train.batch import Batch, Group
from sapo_train.config import check, config
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
    """Token-level log-ratios [E, B, T] of a batch in each epoch, each as it was before the update that used it."""

    def __init__(self, batch: Batch, epochs: int) -> None:
        self.batch = batch
        self.log_ratio = torch.zeros(epochs, *batch.tokens.shape)

    def record(self, epoch: int, rows: Tensor, minibatch: Batch, log_probs: Tensor) -> None:
        """Take in the minibatch of `rows` in `epoch` (from 1)."""
        assert minibatch.old_log_probs is not None
        z = log_ratio(log_probs, minibatch.old_log_probs, minibatch.mask, "token")
        self.log_ratio[epoch - 1, rows] = z.float()

    def furthest(self, row: int, number: int = 3) -> list[tuple[int, float]]:
        """Return the tokens of a completion whose ratio was furthest out in the last epoch: (place, log-ratio)."""
        z = self.log_ratio[-1, row]
        places = z.abs().topk(min(number, int(self.batch.lengths[row]))).indices.tolist()
        return [(place, z[place].item()) for place in places if z[place] != 0]

    def write(
        self, path: Path, step: int, groups: Sequence[Group], completions: int, text_of: Callable[[int], str]
    ) -> None:
        """Write the first completions without padding: N tokens in all, C completions, E epochs.

        tokens int32 [N], counts uint8 [N] (1: the token is in the loss), log_ratio float32 [E, N] in nats at token
        level, offsets int64 [C + 1] (completion c holds the tokens offsets[c] … offsets[c+1] − 1), advantages and
        rewards float32 [C], group int64 [C]. The header's metadata has `format`, `step`, and as JSON lists of length C
        the `ids` of the problems and the `pieces` of the completions: each token's own text, by `text_of`.
        """
        chosen = [(group.prompt.problem.id, c) for group in groups for c in group.completions][:completions]
        lengths = self.batch.lengths[: len(chosen)]
        at = torch.arange(self.batch.tokens.shape[1]) < lengths[:, None]
        first = slice(len(chosen))
        tensors = {
            "tokens": self.batch.tokens[first][at].int(),
            "counts": self.batch.mask[first][at].to(torch.uint8),
            "log_ratio": self.log_ratio[:, first][:, at],
            "offsets": torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
            "advantages": self.batch.advantages[first].float(),
            "rewards": torch.tensor([c.reward for _, c in chosen]),
            "group": self.batch.group[first],
        }
        metadata = {
            "format": FORMAT,
            "step": str(step),
            "ids": json.dumps([name for name, _ in chosen]),
            "pieces": json.dumps([[text_of(token) for token in c.tokens.tolist()] for _, c in chosen]),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.partial")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, scratch, metadata)
        scratch.rename(path)
