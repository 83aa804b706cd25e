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


def can_join(cache: DynamicCache) -> bool:
    """Can more rows be put into the cache? Not beside windows and states, which count from where they began."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)


def join(cache: DynamicCache, other: DynamicCache, width: int) -> None:
    """Put the rows of another cache below those of `cache`: the last `width` columns of both, ends at one column."""
    for layer, more in zip(cache.layers, other.layers, strict=True):
        assert isinstance(layer, GrowingLayer)
        assert isinstance(more, GrowingLayer)
        layer.join(more, width)


def ending_at(columns: Tensor, width: int) -> Tensor:
    """Return the last `width` of the columns [B, heads, T, D], zeros before them where there are fewer."""
    missing = width - columns.shape[-2]
    return columns[:, :, -missing:] if missing <= 0 else torch.nn.functional.pad(columns, (0, 0, missing, 0))


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

    def join(self, other: GrowingLayer, width: int) -> None:
        """Take in the rows of another layer; see `join`."""
        pairs = ((self.keys, other.keys), (self.values, other.values))
        both = [torch.cat([ending_at(x, width) for x in pair if x is not None]) for pair in pairs]
        self.buffers = (_widened(both[0], width, width + ROOM), _widened(both[1], width, width + ROOM))
        self._show(width)

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self.buffers)


def _widened(buffer: Tensor, used: int, width: int) -> Tensor:
    wider = buffer.new_zeros(*buffer.shape[:2], width, buffer.shape[-1])
    wider[:, :, :used] = buffer[:, :, :used]
    return wider
