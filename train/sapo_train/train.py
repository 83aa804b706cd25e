"""The trainer: prompts → completions → rewards → advantages → epochs × minibatches of gated updates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sapo_train import checkpoint as checkpoints
from sapo_train.advantages import assign_advantages
from sapo_train.certified import CertifiedGate, build_objective, take_gate
from sapo_train.checkpoint import Place
from sapo_train.config import plain
from sapo_train.data import Problems, load_problems, verify_problems
from sapo_train.engine import Engine
from sapo_train.engines import build_engine
from sapo_train.errors import Stopped
from sapo_train.evaluate import Evaluation
from sapo_train.files import write_json
from sapo_train.learn import Learned, forward_backward, passes, seed_dropout, with_log_probs
from sapo_train.metrics import batch_metrics, update_metrics
from sapo_train.non_finite import refuse_non_finite
from sapo_train.optim import Optimizer, build_optimizer
from sapo_train.policy import Policy, build_policy
from sapo_train.progress import Progress
from sapo_train.rewards.score import build_reward
from sapo_train.rollouts import roll_out
from sapo_train.run import RunConfig
from sapo_train.summary import summarize
from sapo_train.trace import Trace
from sapo_train.tracking import require, track
from sapo_train.view import View
from sapo_train.world import World, connect


def train(run: RunConfig, folder: Path) -> dict[str, Any]:
    """Train from the run directory's last checkpoint, or from the start; return the summary that is also written there.

    Of many processes that torchrun started the first returns it, and the others nothing.

    Raises:
        TrainError: bad input, or a run that cannot go on; one line.
        Stopped: SIGTERM came.
    """
    require(run.tracking)
    reward = build_reward(run.reward)
    world = connect(run.launch, run.groups_per_minibatch)
    certified = take_gate(run.objective, run.allow_uncertified, folder / "certificate.json", world)
    start = checkpoints.latest(folder / "checkpoints")
    place = checkpoints.verify(start) if start else Place()
    policy = build_policy(
        run.policy,
        run.sampling.temperature,
        run.seed,
        start=start,
        with_reference=run.objective.kl_weight > 0,
        device=world.device,
    )
    optimizer = build_optimizer(policy.model, run.optim, run.updates, run.update.max_grad_norm)
    if start:
        checkpoints.verify_run(start, run)
        checkpoints.verify_certificate(start, certified.certificate)
        checkpoints.load_optimizer(start, optimizer, place.updates)
    problems = load_problems(run.data, policy.tokenizer, policy.vocabulary, reward.reads_rows)
    if world.writes:
        verify_problems(problems, folder / "problems.json")
    objective = build_objective(run.objective, certified, run.sampling.max_tokens)

    tracker = track(run.tracking, run.name, plain(run), folder) if world.writes else None
    engine = build_engine(run.engine, policy, run.sampling.decoding, folder / f"vllm-{world.rank}.log")
    with closing(engine), View(run.steps, shown=world.writes) as view:
        progress = Progress(folder, run, certified, place, view, world, tracker)
        for line in opening(run, certified, policy, problems, world):
            view.say(line)
        with progress.running():
            hold_out(progress, engine, policy, optimizer, problems)
            for step in progress.steps(run.steps):
                rollouts = roll_out(engine, problems, reward, run, world, progress.place.position, progress.phase)
                batch = assign_advantages(rollouts.groups, run.advantage)
                with progress.phase("old_log_probs"):  # skipped where the first pass will supply them
                    batch = with_log_probs(policy, batch, run, world)
                trace = Trace(step, rollouts.groups, batch, run.update.epochs, policy.text_of)
                of_batch = batch_metrics(rollouts.groups, rollouts.drawn)
                for epoch, rows in passes(batch, run, step):
                    minibatch = batch.rows(rows)
                    denominator = objective.count(minibatch.mask)  # one for every microbatch and process
                    with progress.phase("learning"):
                        seed_dropout(run.seed, optimizer.updates, world)
                        done = [
                            forward_backward(policy, objective, microbatch, denominator)
                            for microbatch in minibatch.share(world.rank, world.size).split(run.update.microbatch)
                        ]
                        world.sum_gradients(policy.model.parameters())
                    learned = Learned.join(world.gather(Learned.join(done)))
                    if batch.old_log_probs is None:  # the first pass of a batch of one minibatch is the old policy
                        batch = minibatch = replace(batch, old_log_probs=learned.log_probs)
                    trace.record(epoch, rows, minibatch, learned.log_probs)
                    with progress.phase("optimizer"):
                        grad_norm = optimizer.clip()
                        refuse_non_finite(learned.loss, grad_norm, objective, trace, progress)
                        lr = optimizer.step()
                    of_update = update_metrics(
                        minibatch, learned.log_probs, learned.entropy, objective, certified.log_curvature
                    )
                    progress.log_update(
                        {"step": step, "epoch": epoch, "loss": learned.loss}
                        | {**of_batch, **of_update, "grad_norm": grad_norm, "lr": lr}
                    )
                with progress.phase("weights"):
                    engine.update_weights(policy)
                progress.finish_step(rollouts.drawn, trace, policy, optimizer)
                hold_out(progress, engine, policy, optimizer, problems)
        if progress.records is None:
            return {}
        summary = summarize(run, certified, progress.records)
        write_json(folder / "summary.json", summary)
        return summary


def hold_out(progress: Progress, engine: Engine, policy: Policy, optimizer: Optimizer, problems: Problems) -> None:
    """Evaluate on the held-out problems if it is time to: before, after, and every so many steps; once each."""
    run, step = progress.run, progress.place.step
    due = step in (0, run.steps) or (run.evaluation.every and step % run.evaluation.every == 0)
    if due and problems.held_out and progress.records and progress.records.evaluated(step) is None:
        evaluation = Evaluation(run.evaluation, run.sampling, run.reward.answer, run.seed)
        try:
            results = list(evaluation.results(engine, problems.held_out, progress.evaluating))
        except Stopped:  # the evaluation is made anew on resume; the steps before it must not be
            progress.save(policy, optimizer)
            raise
        progress.finish_evaluation(results, policy, optimizer)


def opening(
    run: RunConfig, certified: CertifiedGate, policy: Policy, problems: Problems, world: World
) -> Iterator[str]:
    """Say what is about to happen, and what to beware of."""
    number = sum(map(len, problems.train))
    yield (
        f"gate {run.objective.gate}: {certified.verdict}, trains as {certified.role}; "
        f"{number} training and {len(problems.held_out)} held-out problems, {problems.dropped} too long"
    )
    errors = policy.errors or {}
    if policy.path == "shared":
        yield f"prompts are shared: packed and plain log-probs agree to {errors['shared']:.1e} nats"
    elif "shared" in errors:
        how = {"rows": "through the LM head in chunks", "logits": "through the model's own logits"}[policy.path]
        differ = f"log-probs with shared prompts differ by {errors['shared']:.1e} nats"
        yield f"the plain path is taken, row by row {how}: {differ}"
    if run.engine.kind == "vllm":
        yield "a vLLM server samples, with the weights it was given; what it says is in vllm-0.log"
    if world.size > 1:
        yield f"{world.size} processes share the prompts of each batch"
    if certified.role != "certified":
        yield f"warning: the gate is {certified.verdict}, trains as {certified.role}, and every checkpoint says so"
    if run.inert_gate:
        yield "warning: inert gate: with update.epochs × update.minibatches = 1 every ratio is 1, and no gate ever acts"
    elif run.update.epochs > 1 and run.update.minibatches == 1:
        yield "the gate acts from the second epoch of each batch on: in the first every ratio is 1"
