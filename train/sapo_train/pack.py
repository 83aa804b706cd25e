"""A microbatch as one padding-free row: each prompt stands once, its completions follow and see it through a mask.

Positions continue from the prompt, so every completion sees what it would see alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sapo_train.batch import Batch


@dataclass(frozen=True)
class Pack:
    """A microbatch as one row of L tokens, and where each of its N completion tokens is predicted."""

    ids: Tensor  # [L] long
    positions: Tensor  # [L] long, those each token would have without the others
    group: Tensor  # [L] long
    owner: Tensor  # [L] long, the completion a token belongs to; -1 for a prompt
    predictor: Tensor  # [N] long, the place whose hidden state predicts the token
    target: Tensor  # [N] long
    row: Tensor  # [N] long, where the token stands in [B, T]
    column: Tensor  # [N] long

    @classmethod
    def of(cls, batch: Batch) -> Pack:
        """Lay out prompts and completions; a completion's last token predicts nothing and is left out."""
        ids, positions, group, owner, predictor, target, row, column = ([] for _ in range(8))
        end, prompt_end, current = 0, 0, None
        for b, (g, n) in enumerate(zip(batch.group.tolist(), batch.lengths.tolist(), strict=True)):
            prompt = batch.prompts[g]
            if g != current:
                ids.append(prompt)
                positions.append(torch.arange(len(prompt)))
                group.append(torch.full((len(prompt),), g))
                owner.append(torch.full((len(prompt),), -1))
                current, end = g, end + len(prompt)
                prompt_end = end - 1
            tokens = batch.tokens[b, :n]
            ids.append(tokens[:-1])
            positions.append(len(prompt) + torch.arange(n - 1))
            group.append(torch.full((n - 1,), g))
            owner.append(torch.full((n - 1,), b))
            predictor.append(torch.cat([torch.tensor([prompt_end]), end + torch.arange(n - 1)]))
            target.append(tokens)
            row.append(torch.full((n,), b))
            column.append(torch.arange(n))
            end += n - 1
        return cls(*(torch.cat(x) for x in (ids, positions, group, owner, predictor, target, row, column)))

    def to(self, device: torch.device) -> Pack:
        """Return the same on a device."""
        return Pack(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def sees(self, window: int | None = None) -> Tensor:
        """Return [L, L] bool: may token i (row) attend to token j (column)? Within `window` positions, if given."""
        same = self.group[:, None] == self.group
        shared = (self.owner == -1) | (self.owner[:, None] == self.owner)
        back = self.positions[:, None] - self.positions
        near = back >= 0 if window is None else (back >= 0) & (back < window)
        return same & shared & near


def attention_masks(config: Any, pack: Pack, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
    """Additive 4-D masks [1, 1, L, L]: one for each attention type the model has."""

    def additive(window: int | None) -> Tensor:
        forbidden = torch.finfo(dtype).min
        return torch.zeros((), dtype=dtype).where(pack.sees(window).cpu(), forbidden).to(pack.ids.device)[None, None]

    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" in kinds:
        return {kind: additive(window if kind == "sliding_attention" else None) for kind in kinds}
    return additive(None)
