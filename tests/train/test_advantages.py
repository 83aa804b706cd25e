"""Group advantages, and what a group without spread teaches: nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sapo_train.advantages import group_advantages


def test_grpo_divides_by_the_sample_standard_deviation():
    advantages = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), "grpo", eps=0.0)
    torch.testing.assert_close(advantages, torch.tensor([1.5, -0.5, -0.5, -0.5]))  # std with ddof 1 is exactly 1/2


def test_leave_one_out_compares_with_the_others():
    rewards = torch.tensor([1.0, 2.0, 6.0])
    expected = torch.tensor([1 - 4.0, 2 - 3.5, 6 - 1.5])
    torch.testing.assert_close(group_advantages(rewards, "leave-one-out"), expected)


@pytest.mark.parametrize("kind", ["grpo", "dr-grpo", "leave-one-out"])
@given(value=st.floats(-1e6, 1e6), size=st.integers(2, 17))
def test_a_group_without_spread_has_advantage_exactly_zero(kind, value, size):
    assert not group_advantages(torch.full((size,), value, dtype=torch.double), kind).any()


@pytest.mark.parametrize("kind", ["grpo", "dr-grpo", "leave-one-out"])
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=12))
def test_advantages_sum_to_zero_and_keep_the_order_of_rewards(kind, rewards):
    tensor = torch.tensor(rewards, dtype=torch.double)
    advantages = group_advantages(tensor, kind)
    assert abs(advantages.sum().item()) < 1e-4
    assert (advantages[tensor.argmax()] >= advantages).all()
