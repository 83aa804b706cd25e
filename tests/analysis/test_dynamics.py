"""The small exact problems: their sums and gradients against plain ones, and what is said of trajectories."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sapo_analysis.cli import main
from sapo_analysis.dynamics import (
    BANDIT,
    PROBLEMS,
    TOKENS,
    Problem,
    Schedule,
    ascend,
    draw,
    entropy,
    expected_reward,
    group_advantages,
    simulate,
)
from sapo_analysis.study import Condition, conditions, findings, paired
from sapo_gates import certify, load_gate
from sapo_gates.torch import surrogate

SMALL = Schedule(steps=12, seeds=100, group=8, updates=8)


def policy(problem: Problem, seeds: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(seeds, problem.prefixes, problem.branches, generator=generator, dtype=torch.float64)
    return torch.log_softmax(theta, -1)


def sequences(problem: Problem) -> list[tuple[tuple[int, ...], list[tuple[int, int]]]]:
    """Every sequence with the (prefix, token) pairs on its way."""
    found = []
    for tokens in itertools.product(range(problem.branches), repeat=problem.depth):
        node, way = 0, []
        for token in tokens:
            way.append((node, token))
            node = problem.branches * node + 1 + token
        found.append((tokens, way))
    return found


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_reward_and_entropy_are_sums_over_every_sequence(problem: Problem) -> None:
    log_policy = policy(problem)
    rewards = problem.rewards(3, torch.Generator().manual_seed(2))
    reward = sum(
        torch.stack([log_policy[:, n, o] for n, o in way]).sum(0).exp() * rewards[:, leaf]
        for leaf, (_, way) in enumerate(sequences(problem))
    )
    # by the chain rule: the entropy of the whole sequence over its length
    whole = torch.stack([torch.stack([log_policy[:, n, o] for n, o in way]).sum(0) for _, way in sequences(problem)])
    torch.testing.assert_close(expected_reward(log_policy, rewards, problem), reward)
    torch.testing.assert_close(entropy(log_policy, problem), -(whole.exp() * whole).sum(0) / problem.depth)


def test_sequences_are_drawn_as_often_as_the_policy_says() -> None:
    log_policy = policy(TOKENS, seeds=1)
    uniform = torch.rand(1, 200_000, TOKENS.depth, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    at, tokens, leaf = draw(log_policy, uniform, TOKENS.branches)
    every = sequences(TOKENS)
    true = np.array([sum(log_policy[0, n, o] for n, o in way) for _, way in every])
    counts = np.bincount(leaf[0].numpy(), minlength=len(every))
    expected = np.exp(true) * leaf.numel()
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())
    way = every[int(leaf[0, 0])][1]
    assert list(zip(at[0, 0].tolist(), tokens[0, 0].tolist(), strict=True)) == way


@pytest.mark.parametrize("name", ["sigmoid", "arctan", "hard-clip"])
def test_an_update_is_the_gradient_of_the_gated_objective(name: str) -> None:
    gate = surrogate(certify(name), allow_uncertified=True)
    generator = torch.Generator().manual_seed(4)
    old = policy(TOKENS)
    theta = (old + 0.1 * torch.randn(old.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    at, tokens, leaf = draw(old, torch.rand(3, 8, TOKENS.depth, generator=generator, dtype=torch.float64), 3)
    advantages = group_advantages(TOKENS.rewards(3, generator).gather(1, leaf))
    assert advantages.any()
    log_policy = torch.log_softmax(theta, -1)
    row = torch.arange(3)[:, None, None]
    z = log_policy[row, at, tokens] - old[row, at, tokens]
    gate(z, advantages[..., None].expand_as(z)).mean((1, 2)).sum().backward()
    assert theta.grad is not None
    moved, log_ratios = ascend(theta.detach(), old, at, tokens, advantages, gate, 0.5)
    torch.testing.assert_close(log_ratios, z.detach())
    # phi is computed for float32 inputs
    torch.testing.assert_close(moved, (theta + 0.5 * theta.grad).detach(), rtol=1e-5, atol=1e-7)


def test_the_same_seeds_meet_the_same_problems_under_every_gate() -> None:
    gates = [surrogate(certify(name), allow_uncertified=True) for name in ("sigmoid", "hard-clip")]
    on_policy = [simulate(gate, "any", BANDIT, replace(SMALL, updates=1)) for gate in gates]
    np.testing.assert_array_equal(on_policy[0].reward, on_policy[1].reward)
    assert (on_policy[0].effective_update_ratio == 1).all()
    off_policy = [simulate(gate, "any", BANDIT, SMALL) for gate in gates]
    assert (off_policy[0].reward != off_policy[1].reward).any()
    np.testing.assert_array_equal(off_policy[0].reward, simulate(gates[0], "any", BANDIT, SMALL).reward)


def test_a_group_without_spread_teaches_nothing() -> None:
    assert not group_advantages(torch.tensor([[0.1] * 8, [1.0] * 8], dtype=torch.float64)).any()


def test_a_narrower_gate_keeps_more_entropy_off_policy() -> None:
    done = [
        (condition, simulate(surrogate(certify(condition.gate)), condition.name, BANDIT, SMALL))
        for condition in conditions([load_gate("sigmoid")], ["1", "40"])
    ]
    (finding,) = findings(done)
    assert finding.verdict == "holds"
    assert finding.interval[0] > 0


@pytest.mark.parametrize(("shift", "verdict"), [(1, "holds"), (-1, "does not hold"), (0, "cannot be told")])
def test_a_statement_holds_only_where_its_interval_is_above_zero(shift: int, verdict: str) -> None:
    noise = np.random.default_rng(0).normal(size=400)
    assert paired("bandit", "x", noise - noise.mean() + shift).verdict == verdict


def test_a_gate_without_tau_is_one_condition() -> None:
    names = [condition.name for condition in conditions([load_gate("arctan"), load_gate("hard-clip")], ["1", "10"])]
    assert names == ["arctan, τ = 1", "arctan, τ = 10", "hard-clip"]
    assert isinstance(conditions([load_gate("erf")], ["2"])[0], Condition)


def test_the_command_says_what_it_found_and_writes_figure_and_data(tmp_path: Path, capsys) -> None:
    output = tmp_path / "dynamics.png"
    command = ["dynamics", "arctan", "--tau", "2", "--tau", "9", "--seeds", "40", "--steps", "3", "--json"]
    assert main([*command, "-o", str(output)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {finding["problem"] for finding in said["findings"]} == {"bandit", "tokens"}
    assert {finding["verdict"] for finding in said["findings"]} <= {"holds", "does not hold", "cannot be told"}
    assert [Path(path).name for path in said["written"]] == ["dynamics.png", "dynamics.csv"]
    assert all(Path(path).stat().st_size for path in said["written"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seeds", "1", "-oa.png"], "--seeds 1 must be at least 2"),
        (["--steps", "0", "-oa.png"], "--steps 0 must be at least 1"),
        (["--tau", "-1", "-oa.png"], "outside the domain (0, oo)"),
        (["-oa.gif"], "none of .png, .svg, .pdf"),
    ],
)
def test_a_mistake_gets_one_line(arguments, says, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["dynamics", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
