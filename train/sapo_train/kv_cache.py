"""Keys and values of what was read, in buffers with room to grow.

transformers' own `DynamicLayer` copies all keys and values at every token, which for long completions costs as much as
the matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

ROOM = 64  # tokens; a buffer that is full is copied into one that has so many more


def growing_cache(config: Any) -> DynamicCache:
    """Return an empty cache for a model; layers with a sliding window, which stay short, are left as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class GrowingLayer(DynamicLayer):
    """Keys and values [B, heads, T, D] of one layer: the first T columns of buffers that are wider."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:  # shapes [B, heads, new, D]
        """Take in the keys and values of new tokens; return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers = (key_states[:, :, :0], value_states[:, :, :0])
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self.buffers[0].shape[-2]:
            self.buffers = (_widened(self.buffers[0], start, end + ROOM), _widened(self.buffers[1], start, end + ROOM))
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = new
        self._show(end)
        return self.keys, self.values  # type: ignore[return-value]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Put these rows in the places of the first; of rows that are no more than before, only those that move are
        copied."""
        if len(beam_idx) > len(self.buffers[0]):
            self.buffers = (self.buffers[0][beam_idx], self.buffers[1][beam_idx])
        else:
            moves = (beam_idx != torch.arange(len(beam_idx), device=beam_idx.device)).nonzero().flatten()
            for buffer in self.buffers:
                buffer[moves] = buffer[beam_idx[moves]]
            self.buffers = (self.buffers[0][: len(beam_idx)], self.buffers[1][: len(beam_idx)])
        self._show(self.get_seq_length())

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self.buffers)


def _widened(buffer: Tensor, used: int, width: int) -> Tensor:
    wider = buffer.new_zeros(*buffer.shape[:2], width, buffer.shape[-1])
    wider[:, :, :used] = buffer[:, :, :used]
    return wider
