"""The groups of a batch: each process samples and scores its share; groups without spread can be replaced (DAPO)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sapo_train.advantages import has_spread, punish_overlong
from sapo_train.batch import Group
from sapo_train.data import Problems, Prompt
from sapo_train.engine import Engine
from sapo_train.rewards.score import Reward
from sapo_train.rollout import sample
from sapo_train.run import RunConfig
from sapo_train.world import World


@dataclass(frozen=True)
class Rollouts:
    """The groups to learn from, and how many were drawn to find them."""

    groups: list[Group]
    drawn: int


def roll_out(
    engine: Engine,
    problems: Problems,
    reward: Reward,
    run: RunConfig,
    world: World,
    position: int,
    phase: Callable[[str], AbstractContextManager[None]],
) -> Rollouts:
    """Sample and score `sampling.prompts` groups, beginning at a data position.

    Groups without spread are replaced by those of further prompts for up to `advantage.max_draws` rounds; what is then
    missing is made up of them, in the order they were drawn.
    """
    wanted, limit, buffer = run.sampling.prompts, run.sampling.max_tokens, run.advantage.overlong_buffer
    drawn: list[Group] = []
    spread: list[int] = []
    for _ in range(run.advantage.max_draws):
        start = position + len(drawn)
        first, prompts = world.share(problems.draw(run.seed, start, wanted - len(spread)))
        mine = functools.partial(_sampled_and_scored, engine, prompts, reward, run, start + first, phase)
        scored = world.together(mine)
        drawn += [punish_overlong(group, buffer, limit) for part in scored for group in part]
        spread = [k for k, group in enumerate(drawn) if has_spread(group)]
        if len(spread) == wanted:
            break
    flat = [k for k in range(len(drawn)) if k not in set(spread)]
    chosen = [drawn[k] for k in sorted([*spread, *flat][:wanted])]
    return Rollouts(reward.scaled(chosen), len(drawn))


def _sampled_and_scored(
    engine: Engine,
    prompts: Sequence[Prompt],
    reward: Reward,
    run: RunConfig,
    position: int,
    phase: Callable[[str], AbstractContextManager[None]],
) -> list[Group]:
    with phase("sampling"):
        groups = sample(engine, prompts, run.sampling, run.seed, position) if prompts else []
    with phase("rewards"):
        return reward.score(groups)
