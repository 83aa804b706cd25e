"""Dynamic sampling replaces groups without spread; overlong completions are punished or masked; entropy selects."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from sapo_train.advantages import AdvantageConfig, assign_advantages, has_spread, punish_overlong
from sapo_train.config import build, load_recipe, merge
from sapo_train.data import load_problems
from sapo_train.learn import highest
from sapo_train.local_engine import LocalEngine
from sapo_train.rewards.ask import RewardFunction
from sapo_train.rewards.score import Reward
from sapo_train.rollouts import roll_out
from sapo_train.run import RunConfig
from sapo_train.world import World


def settings(**advantage) -> RunConfig:
    over = {"sampling": {"prompts": 4, "group_size": 3, "max_tokens": 6}, "advantage": advantage}
    return build(RunConfig, merge(load_recipe("smoke.yaml"), over))


def drawn(policy, run: RunConfig, function):
    problems = load_problems(run.data, policy.tokenizer, policy.vocabulary)
    reward = Reward({"test": RewardFunction(function)}, {"test": 1.0})
    return roll_out(LocalEngine(policy), problems, reward, run, World(), 0, lambda name: nullcontext())


def spread_for(chosen):
    """Reward the groups whose turn is in `chosen` with a spread, all others with none."""
    turn = -1

    def function(completions, answers):
        nonlocal turn
        rewards = []
        for k in range(len(completions)):
            turn += k % 3 == 0
            rewards.append(float(k % 3) if turn in chosen else 1.0)
        return rewards

    return function


def ids(rollouts):
    return [group.prompt.problem.id for group in rollouts.groups]


def test_groups_without_spread_are_replaced_by_those_of_the_prompts_that_follow(policy):
    once = drawn(policy, settings(max_draws=1), spread_for({0, 2}))
    thrice = drawn(policy, settings(max_draws=3), spread_for({0, 2, 5, 7}))
    assert once.drawn == 4
    assert thrice.drawn == 4 + 2 + 1  # turns 0–3, then 4 and 5 for the two that are missing, then 6 for one
    problems = load_problems(settings().data, policy.tokenizer, policy.vocabulary).draw(0, 0, 7)
    order = [prompt.problem.id for prompt in problems]
    assert ids(once) == order[:4]
    assert set(ids(thrice)) >= {order[0], order[2], order[5]}
    assert sum(map(has_spread, thrice.groups)) == 3


def test_it_stops_as_soon_as_the_batch_is_full(policy):
    rollouts = drawn(policy, settings(max_draws=9), spread_for({0, 1, 2, 5}))
    assert rollouts.drawn == 4 + 1 + 1
    assert len(rollouts.groups) == 4
    assert all(map(has_spread, rollouts.groups))


def test_after_the_last_round_it_trains_on_what_there_is(policy):
    rollouts = drawn(policy, settings(max_draws=3), spread_for(set()))
    assert len(rollouts.groups) == 4
    assert rollouts.drawn == 12
    assert not any(map(has_spread, rollouts.groups))


def test_a_redraw_is_a_new_draw(policy):
    """The same prompt at another place of the order is answered by other random streams."""
    few = {"train": [{"source": "arithmetic", "options": {"largest": 2}}]}
    run = build(RunConfig, merge(load_recipe("smoke.yaml"), {"data": few, "advantage": {"max_draws": 5}}))
    rollouts = drawn(policy, run, spread_for({19}))
    texts = {}
    for group in rollouts.groups:
        texts.setdefault(group.prompt.problem.id, []).append([c.text for c in group.completions])
    for several in texts.values():
        assert len({tuple(t) for t in several}) == len(several)


def test_the_punishment_of_overlong_completions_is_linear_up_to_one_at_the_limit(policy):
    group = drawn(policy, settings(), spread_for(set())).groups[0]
    tokens = torch.zeros(20, dtype=torch.long)
    completions = [replace(group.completions[0], tokens=tokens[:n], reward=1.0) for n in (12, 16, 18, 20)]
    punished = punish_overlong(replace(group, completions=tuple(completions)), buffer=4, max_tokens=20)
    assert [c.reward for c in punished.completions] == [1, 1, 0.5, 0]
    assert [dict(c.parts)["overlong"] for c in punished.completions] == [0, 0, -0.5, -1]


def test_the_standard_deviation_is_the_one_configured(policy):
    groups = drawn(policy, settings(), spread_for({0, 1, 2, 3})).groups
    sample, population = (
        assign_advantages(groups, AdvantageConfig(ddof=ddof, eps=0)).advantages for ddof in (1, 0)
    )  # fmt: skip
    torch.testing.assert_close(population, sample * (3 / 2) ** 0.5)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
def test_the_share_of_tokens_of_highest_entropy_is_taught(share):
    generator = torch.Generator().manual_seed(0)
    entropy = torch.rand(5, 8, generator=generator)
    mask = torch.arange(8) < torch.tensor([3, 8, 1, 5, 7])[:, None]
    chosen = highest(entropy, mask, share)
    assert not (chosen & ~mask).any()
    assert chosen.sum() == max(1, round(share * 24))
    if share < 1:
        assert entropy[chosen].min() > entropy[mask & ~chosen].max()
