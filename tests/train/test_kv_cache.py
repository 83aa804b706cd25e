"""Keys and values in buffers that grow: the same, to the bit, as those of transformers' own cache."""

import pytest
import torch
from transformers.cache_utils import DynamicLayer

from sapo_train.kv_cache import ROOM, GrowingLayer
from sapo_train.local_engine import _staying


@pytest.mark.parametrize("seed", range(5))
def test_a_growing_layer_holds_what_a_dynamic_one_holds(seed):
    random = torch.Generator().manual_seed(seed)
    layers = (DynamicLayer(), GrowingLayer())

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=random))

    def read(rows: int, tokens: int) -> None:
        new = [torch.randn(rows, 2, tokens, 3, generator=random) for _ in range(2)]
        for one, other in zip(*(layer.update(*new) for layer in layers), strict=True):
            assert torch.equal(one, other)

    rows, repeats = number(1, 4), number(1, 4)
    read(rows, number(1, 2 * ROOM))
    for layer in layers:
        layer.reorder_cache(torch.arange(rows).repeat_interleave(repeats))  # type: ignore[arg-type]
    rows *= repeats
    for _ in range(2 * ROOM):
        read(rows, 1)
        if rows > 1 and number(0, 8) == 0:
            stays = _staying(torch.arange(rows) == number(0, rows))
            rows = len(stays)
            for layer in layers:
                layer.reorder_cache(stays)  # type: ignore[arg-type]
    assert layers[0].get_seq_length() == layers[1].get_seq_length() > 2 * ROOM


def test_rows_that_go_on_take_the_places_of_those_that_stop():
    stops = torch.tensor([True, False, False, True, False, True, False])
    assert _staying(stops).tolist() == [4, 1, 2, 6]
    assert _staying(torch.tensor([False, True, True])).tolist() == [0]
