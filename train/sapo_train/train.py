"""The trainer: prompts → completions → rewards → advantages → epochs × minibatches of gated updates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sapo_train import checkpoint as checkpoints
from sapo_train.advantages import assign_advantages, spread
from sapo_train.batch import Batch, Group, UpdateConfig, minibatch_rows
from sapo_train.certified import CertifiedGate, take_gate
from sapo_train.checkpoint import Place
from sapo_train.data import Problems, load_problems
from sapo_train.errors import NonFinite
from sapo_train.evaluate import evaluate
from sapo_train.files import write_json
from sapo_train.objective import RatioLevel, Reduction, TorchGate, count, diagnostics, log_ratio, reduce
from sapo_train.optim import Optimizer, build_optimizer
from sapo_train.policy import Policy, build_policy
from sapo_train.progress import Progress, Stopped
from sapo_train.rewards.score import build_reward
from sapo_train.rollout import sample
from sapo_train.run import RunConfig
from sapo_train.summary import summarize
from sapo_train.view import View
from sapo_train.world import connect


def train(run: RunConfig, folder: Path) -> dict[str, Any]:
    """Train from the run directory's last checkpoint, or from the start; return the summary that is also written there.

    Raises:
        TrainError: bad input, or a run that cannot go on; one line.
        Stopped: SIGTERM came; the state is saved.
    """
    world = connect(run.launch)
    certified = take_gate(run.objective, run.allow_uncertified, folder / "certificate.json")
    start = checkpoints.latest(folder / "checkpoints")
    place = checkpoints.verify(start) if start else Place()
    policy = build_policy(
        run.policy if start is None else replace(run.policy, model=str(start)), run.sampling.temperature, run.seed
    )
    optimizer = build_optimizer(policy.model, run.optim, run.updates, run.update.max_grad_norm)
    if start:
        checkpoints.verify_certificate(start, certified.certificate)
        checkpoints.load_optimizer(start, optimizer, place.updates)
    problems, reward = load_problems(run.data, policy.tokenizer), build_reward(run.reward)
    objective = Objective(certified.gate, run.objective.reduction, run.objective.ratio_level, run.sampling.max_tokens)

    with View(run.steps) as view:
        progress = Progress(folder, run, certified, place, view)
        for line in opening(run, certified, policy, problems):
            view.say(line)
        with progress.running():
            hold_out(progress, policy, optimizer, problems)
            for step in progress.steps(run.steps):
                prompts = problems.draw(run.seed, progress.place.position, run.sampling.prompts)
                with progress.phase("sampling"):
                    groups = sample(policy, prompts, run.sampling, run.seed, progress.place.position)
                with progress.phase("rewards"):
                    groups = reward.score(groups)
                batch = assign_advantages(groups, run.advantage)
                with progress.phase("old_log_probs"):
                    batch = with_old_log_probs(policy, batch, run.update)
                for epoch, rows in passes(batch, run, step):
                    minibatch = batch.rows(rows)
                    denominator = world.sum(objective.count(minibatch))
                    with progress.phase("learning"):
                        done = [
                            objective.backward(policy, microbatch, denominator)
                            for microbatch in minibatch.split(run.update.microbatch)
                        ]
                    learned = Learned.join(done)
                    with progress.phase("optimizer"):
                        grad_norm = optimizer.clip()
                        refuse_non_finite(learned, grad_norm, minibatch, step, progress)
                        lr = optimizer.step()
                    if batch.old_log_probs is None:  # the first pass of a batch of one minibatch is the old policy
                        batch = replace(batch, old_log_probs=learned.log_probs)
                        minibatch = batch
                    metrics = update_metrics(groups, minibatch, learned, objective)
                    progress.log_update({"step": step, "epoch": epoch, **metrics, "grad_norm": grad_norm, "lr": lr})
                progress.finish_step(step, groups, batch, policy, optimizer)
                hold_out(progress, policy, optimizer, problems)
        summary = summarize(progress)
        write_json(folder / "summary.json", summary)
    return summary


def with_old_log_probs(policy: Policy, batch: Batch, config: UpdateConfig) -> Batch:
    """Add the log-probs of the policy that sampled, unless the first pass, being of one minibatch, will supply them."""
    if config.minibatches == 1:
        return batch
    with torch.no_grad():
        parts = [policy(microbatch)[0] for microbatch in batch.split(config.microbatch)]
    return replace(batch, old_log_probs=torch.cat(parts))


def passes(batch: Batch, run: RunConfig, step: int) -> Iterator[tuple[int, Tensor]]:
    """Go through the batch `epochs` times, minibatch by minibatch: (epoch from 1, rows)."""
    for epoch in range(1, run.update.epochs + 1):
        for rows in minibatch_rows(batch, run.update.minibatches, run.seed, step, epoch):
            yield epoch, rows


@dataclass(frozen=True)
class Learned:
    """What a forward and backward leaves behind, detached."""

    loss: Tensor  # []
    log_probs: Tensor  # [B, T]
    entropy: Tensor  # [B, T]

    @staticmethod
    def join(parts: Sequence[Learned]) -> Learned:
        """Put microbatches together again."""
        return Learned(
            torch.stack([part.loss for part in parts]).sum(),
            torch.cat([part.log_probs for part in parts]),
            torch.cat([part.entropy for part in parts]),
        )


@dataclass(frozen=True)
class Objective:
    """The certified gate, at its ratio level, under its reduction."""

    gate: TorchGate
    reduction: Reduction
    ratio_level: RatioLevel
    max_length: int

    def count(self, minibatch: Batch) -> float:
        """The minibatch-global denominator."""
        return count(minibatch.mask, self.reduction, self.max_length)

    def backward(self, policy: Policy, microbatch: Batch, denominator: float) -> Learned:
        """Add the microbatch's share of the gradient, which is exactly 0 where no advantage is other than 0."""
        teaches = bool(microbatch.advantages.any())
        with torch.set_grad_enabled(teaches):
            log_probs, entropy = policy(microbatch)
        old = log_probs.detach() if microbatch.old_log_probs is None else microbatch.old_log_probs
        z = log_ratio(log_probs, old, microbatch.mask, self.ratio_level)
        terms = self.gate(z, microbatch.token_advantages(), microbatch.mask)
        loss = -reduce(terms, microbatch.mask, self.reduction) / max(denominator, 1)
        if teaches:
            loss.backward()
        return Learned(loss.detach(), log_probs.detach(), entropy)


def refuse_non_finite(learned: Learned, grad_norm: float, minibatch: Batch, step: int, progress: Progress) -> None:
    """Stop before the optimizer step if the loss or the gradient is not finite.

    Raises:
        NonFinite: naming step and the first bad sample; the batch is kept in the run directory.
    """
    loss = learned.loss.item()
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    bad = ~torch.isfinite(learned.log_probs).all(-1)
    row = int(bad.nonzero()[0]) if bad.any() else None
    reason = {"step": step, "rank": 0, "sample": row, "loss": str(loss), "grad_norm": str(grad_norm)}
    kept = progress.write_failure(step, minibatch, reason)
    raise NonFinite(
        f"the loss is {loss} and the gradient norm {grad_norm} at step {step}, rank 0, first bad sample {row}; "
        f"no update was made, the batch is in {kept}."
    )


@torch.no_grad()
def update_metrics(groups: Sequence[Group], minibatch: Batch, learned: Learned, objective: Objective) -> dict[str, Any]:
    """Everything an update says of itself except gradient norm and learning rate, over the whole minibatch."""
    assert minibatch.old_log_probs is not None
    mask = minibatch.mask
    z = log_ratio(learned.log_probs, minibatch.old_log_probs, mask, objective.ratio_level)
    completions = [completion for group in groups for completion in group.completions]
    rewards = torch.tensor([completion.reward for completion in completions], dtype=torch.double)
    lengths = torch.tensor([len(completion.tokens) for completion in completions], dtype=torch.double)
    gap = minibatch.old_log_probs - minibatch.sampler_log_probs
    names = sorted({name for completion in completions for name, _ in completion.parts})
    values = {name: [dict(c.parts)[name] for c in completions if name in dict(c.parts)] for name in names}
    groups_spread = spread(list(groups))
    return {
        "loss": learned.loss.item(),
        "reward_mean": rewards.mean().item(),
        "reward_std": rewards.std(correction=0).item(),
        **{f"reward_{name}": sum(column) / len(column) for name, column in values.items()},
        "advantage_std": minibatch.advantages.std(correction=0).item(),
        "groups": groups_spread.groups,
        "groups_without_spread": groups_spread.without,
        "completion_length_mean": lengths.mean().item(),
        "completion_length_max": lengths.max().item(),
        "truncated": sum(completion.truncated for completion in completions) / len(completions),
        "entropy": (learned.entropy * mask).sum().item() / max(1, int(mask.sum())),
        "sampler_gap_max": (gap * mask).abs().max().item(),
        "kl_sampler_old_k3": ((gap.expm1() - gap) * mask).sum().item() / max(1, int(mask.sum())),
        **diagnostics(z, minibatch.token_advantages(), mask, objective.gate, minibatch.group),
    }


def hold_out(progress: Progress, policy: Policy, optimizer: Optimizer, problems: Problems) -> None:
    """Evaluate on the held-out problems if it is time to: before, after, and every so many steps; once each."""
    run, step = progress.run, progress.place.step
    due = step in (0, run.steps) or (run.evaluation.every and step % run.evaluation.every == 0)
    if due and problems.held_out and progress.evaluation(step) is None:
        tell, answer = progress.evaluating, run.reward.answer
        try:
            results = evaluate(policy, problems.held_out, run.evaluation, answer, run.seed, tell)
        except Stopped:  # the evaluation is made anew on resume; the steps before it must not be
            progress.save(policy, optimizer)
            raise
        progress.log_evaluation(results)


def opening(run: RunConfig, certified: CertifiedGate, policy: Policy, problems: Problems) -> Iterator[str]:
    """Say what is about to happen, and what to beware of."""
    yield (
        f"gate {run.objective.gate}: {certified.verdict}, trains as {certified.role}; "
        f"{len(problems.train)} training and {len(problems.held_out)} held-out problems, {problems.dropped} too long"
    )
    if policy.packed:
        yield f"prompts are shared: packed and plain log-probs agree to {policy.packed_error:.1e} nats"
    elif policy.packed_error is not None:
        yield f"the plain path is taken: log-probs with shared prompts differ by {policy.packed_error:.1e} nats"
    if certified.role != "certified":
        yield f"warning: the gate is {certified.verdict}, trains as {certified.role}, and every checkpoint says so"
    if run.inert_gate:
        yield "warning: inert gate: with update.epochs × update.minibatches = 1 every ratio is 1, and no gate ever acts"
