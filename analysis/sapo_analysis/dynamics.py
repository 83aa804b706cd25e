"""What a gate does to learning where everything can be computed: a tabular softmax policy, thousands of seeds at once.

A problem is a tree of depth T with V branches at each prefix; T = 1 is a bandit. The policy is softmax(theta[prefix]),
a whole sequence o_1..o_T has a reward. A batch step freezes pi_old, draws a group of G sequences from it, and makes
`updates` steps of gradient ascent on the gated objective, whose gradient is written out, not estimated:

    theta += lr * sum over i, t of phi(r_it) A_i (onehot(o_it) - pi_theta(. | prefix_it)) / (G T)

with A_i = (R_i - mean R) / std R in the group. Expected reward and entropy of a policy are exact sums over the tree.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sapo_analysis.evaluate import Array

MAX_LOG_RATIO = 80.0  # exp of it and its square stay finite in float64; only statistics of r are cut there
STD_EPS = 1e-4


class Weights(Protocol):
    """What is asked of a gate; `sapo_gates.torch.TorchGate` gives it."""

    def weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """w(r)."""
        ...

    def score_weight(self, log_ratio: Tensor, advantage: Tensor) -> Tensor:
        """phi(r) = r w(r)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A family of random trees: each seed has its own rewards and its own first policy."""

    name: str
    branches: int  # V, tokens at each prefix
    depth: int  # T, tokens of a sequence
    right: float | None  # share of sequences with reward 1, the others 0; None: rewards uniform in [0, 1]
    lr: float  # per update, on theta

    @property
    def prefixes(self) -> int:
        """Nodes of the tree that have a policy, numbered so that the children of n are V n + 1, ..., V n + V."""
        return sum(self.branches**t for t in range(self.depth))

    def rewards(self, seeds: int, generator: torch.Generator) -> Tensor:
        """[seeds, V^T]; where they are 0 and 1, every seed has at least one right sequence."""
        chance = torch.rand(seeds, self.branches**self.depth, generator=generator, dtype=torch.float64)
        if self.right is None:
            return chance
        return ((chance < self.right) | (chance == chance.amin(-1, keepdim=True))).double()


BANDIT = Problem(name="bandit", branches=16, depth=1, right=None, lr=2.0)
TOKENS = Problem(name="tokens", branches=3, depth=3, right=1 / 9, lr=4.0)
PROBLEMS = (BANDIT, TOKENS)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """What happened under one gate: arrays [steps, seeds], each number taken after the batch step."""

    gate: str
    problem: str
    updates: int  # from one batch
    reward: Array  # expected reward of the policy
    entropy: Array  # nats a token
    effective_update_ratio: Array  # mean of w over the tokens in the batch's last update
    ratio_var: Array  # variance of r over the same tokens


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long, how many, how stale."""

    steps: int = 100
    seeds: int = 1000
    group: int = 8
    updates: int = 16


def simulate(gate: Weights, name: str, problem: Problem, schedule: Schedule) -> Trajectory:
    """Train all seeds under one gate. Every gate meets the same rewards, first policies and random numbers."""
    generator = torch.Generator().manual_seed(0)
    seeds, width = schedule.seeds, problem.branches
    rewards = problem.rewards(seeds, generator)
    theta = torch.randn(seeds, problem.prefixes, width, generator=generator, dtype=torch.float64)
    seen: dict[str, list[Array]] = {"reward": [], "entropy": [], "effective_update_ratio": [], "ratio_var": []}
    for _ in range(schedule.steps):
        old = torch.log_softmax(theta, -1)
        uniform = torch.rand(seeds, schedule.group, problem.depth, generator=generator, dtype=torch.float64)
        at, tokens, leaf = draw(old, uniform, width)
        advantages = group_advantages(rewards.gather(1, leaf))
        z = torch.zeros_like(uniform)
        for _ in range(schedule.updates):
            theta, z = ascend(theta, old, at, tokens, advantages, gate, problem.lr)
        log_policy = torch.log_softmax(theta, -1)
        ratio = z.clamp(max=MAX_LOG_RATIO).exp().flatten(1)
        weight = gate.weight(z.float(), advantages[..., None].float()).double().flatten(1)
        for key, value in {
            "reward": expected_reward(log_policy, rewards, problem),
            "entropy": entropy(log_policy, problem),
            "effective_update_ratio": weight.mean(-1),
            "ratio_var": ratio.var(-1, correction=0),
        }.items():
            seen[key].append(value.numpy())
    arrays = {key: np.array(values) for key, values in seen.items()}
    return Trajectory(gate=name, problem=problem.name, updates=schedule.updates, **arrays)


def draw(log_policy: Tensor, uniform: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sequences by inversion of uniform numbers [S, G, T]: prefixes and tokens [S, G, T], and their leaves [S, G]."""
    cumulative = log_policy.exp().cumsum(-1)
    node = torch.zeros(uniform.shape[:2], dtype=torch.long)
    nodes, tokens = [], []
    for number in uniform.unbind(-1):
        below = cumulative.gather(1, node[..., None].expand(-1, -1, width))
        token = (below < number[..., None]).sum(-1).clamp(max=width - 1)
        nodes.append(node)
        tokens.append(token)
        node = width * node + 1 + token
    return torch.stack(nodes, -1), torch.stack(tokens, -1), node - log_policy.shape[1]


def group_advantages(rewards: Tensor) -> Tensor:
    """(R - mean)/(std + eps) over the last dimension; exactly 0 where all are equal."""
    centred = rewards - rewards.mean(-1, keepdim=True)
    flat = rewards.amax(-1, keepdim=True) == rewards.amin(-1, keepdim=True)
    return torch.where(flat, 0.0, centred / (rewards.std(-1, keepdim=True) + STD_EPS))


def ascend(
    theta: Tensor, old: Tensor, at: Tensor, tokens: Tensor, advantages: Tensor, gate: Weights, lr: float
) -> tuple[Tensor, Tensor]:
    """One update: the new theta, and the log-ratios [S, G, T] it was made with."""
    seeds, prefixes, width = theta.shape
    log_policy = torch.log_softmax(theta, -1)
    flat = at * width + tokens
    z = (log_policy - old).flatten(1).gather(1, flat.flatten(1)).view_as(flat)
    a = advantages[..., None].expand_as(z)
    pull = gate.score_weight(z.float(), a.float()).double() * a / z[0].numel()
    by_token = torch.zeros(seeds, prefixes * width, dtype=torch.float64).scatter_add_(
        1, flat.flatten(1), pull.flatten(1)
    )
    by_token = by_token.view_as(theta)
    gradient = by_token - by_token.sum(-1, keepdim=True) * log_policy.exp()
    return theta + lr * gradient, z


def expected_reward(log_policy: Tensor, rewards: Tensor, problem: Problem) -> Tensor:
    """Sum of pi(sequence) R(sequence), [S]: from the leaves to the root."""
    value, policy = rewards, log_policy.exp()
    for t in reversed(range(problem.depth)):
        value = (level(policy, problem.branches, t) * value.view(len(value), -1, problem.branches)).sum(-1)
    return value.squeeze(-1)


def entropy(log_policy: Tensor, problem: Problem) -> Tensor:
    """Mean over the tokens of a sequence of the policy's entropy at its prefix, in nats, [S]: from the root down."""
    reach, total = (
        torch.ones(len(log_policy), 1, dtype=torch.float64),
        torch.zeros(len(log_policy), dtype=torch.float64),
    )
    for t in range(problem.depth):
        here = level(log_policy, problem.branches, t)
        total += (reach * -(here.exp() * here).sum(-1)).sum(-1)
        reach = (reach[..., None] * here.exp()).flatten(1)
    return total / problem.depth


def level(table: Tensor, width: int, depth: int) -> Tensor:
    """The rows of all prefixes of that length, [S, V^depth, V]."""
    first = sum(width**t for t in range(depth))
    return table[:, first : first + width**depth]
