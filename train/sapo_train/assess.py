"""`sapo-train evaluate`: several models on several sets of problems, with what is needed to go on after a kill.

In the output folder, for each model and set of problems: NAME.jsonl, one problem a line, and NAME.settings.json, which
says what made it; a call goes on from the lines that are there, if its settings are the same. summary.json holds the
figures.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sapo_train.config import plain
from sapo_train.data import Prompt, encoded, load_problems
from sapo_train.engines import EngineConfig, build_engine
from sapo_train.errors import ConfigError, DataError
from sapo_train.evaluate import Evaluation, Result
from sapo_train.files import append_jsonl, read_jsonl, write_json, write_jsonl
from sapo_train.measures import measures, paired_difference
from sapo_train.policy import Policy, build_policy
from sapo_train.run import RunConfig
from sapo_train.sources import SourceConfig, read_problems

BENCHMARKS = {
    "gsm8k": SourceConfig(source="openai/gsm8k", subset="main", split="test", rules=("hashes", "last-number")),
    "math-500": SourceConfig(source="HuggingFaceH4/MATH-500", split="test", question="problem"),
    "aime-2024": SourceConfig(source="HuggingFaceH4/aime_2024", split="train", question="problem"),
    "aime-2025": SourceConfig(source="math-ai/aime25", split="test", question="problem"),
}
HELD_OUT = "held-out"
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Subject:
    """What is tested: a run's model as it began, or as a checkpoint has it."""

    run: RunConfig
    start: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """A model on a set of problems."""

    model: str
    problems: str
    results: tuple[Result, ...]
    dropped: int  # problems whose prompt is over the limit

    def summary(self, evaluation: Evaluation, before: Outcome | None) -> dict[str, Any]:
        """Return the figures, and the difference from another model on the same problems."""
        summary: dict[str, Any] = {
            "model": self.model,
            "problems": self.problems,
            "number": len(self.results),
            "dropped": self.dropped,
            "samples": evaluation.config.samples,
            "temperature": evaluation.config.temperature,
            "top_p": evaluation.config.top_p,
            "max_tokens": evaluation.config.max_tokens,
            "truncated": sum(result.truncated for result in self.results),
            "measures": {m.name: {"value": m.value, "low": m.low, "high": m.high} for m in measures(self.results)},
        }
        if before:
            value, (low, high) = paired_difference(before.results, self.results)
            summary["difference"] = {"from": before.model, "value": value, "low": low, "high": high}
        return summary


def problem_source(name: str) -> SourceConfig:
    """Read NAME, a benchmark from its hub id, or NAME=FILE, a local file with the columns of that benchmark.

    Raises:
        ConfigError: there is no such benchmark.
    """
    name, _, file = name.partition("=")
    if name not in BENCHMARKS:
        raise ConfigError(
            f"no benchmark {name!r}; there are {list(BENCHMARKS)}. Other problems are given as "
            "--data.evaluate='[{source: problems.jsonl, question: question, answer: answer}]'."
        )
    return replace(BENCHMARKS[name], source=file) if file else BENCHMARKS[name]


def assess(
    subjects: Mapping[str, Subject], benchmarks: Sequence[str], out: Path | None, device: str, tell: Tell
) -> list[dict[str, Any]]:
    """Evaluate each model on each set of problems; differences are from the first model.

    Args:
        subjects: for each model's name, where it is and how it is tested.
        benchmarks: as `problem_source` reads them; none: what the run holds out.
        out: folder of the files, or None to keep nothing.
        device: where the models go.
        tell: told the name of what is going on, and how many problems of how many are done.

    Raises:
        TrainError: a model or problems that cannot be used, or files made with other settings.
    """
    summaries: list[dict[str, Any]] = []
    first: dict[str, Outcome] = {}
    for model, subject in subjects.items():
        run = subject.run
        frozen = replace(run.policy, shared_prompt=False, gradient_checkpointing=False)
        policy = build_policy(frozen, run.sampling.temperature, run.seed, start=subject.start, device=device)
        evaluation = Evaluation(run.evaluation, run.sampling, run.reward.answer, run.seed)
        for name, prompts, dropped in _problem_sets(run, benchmarks, policy):
            said = functools.partial(tell, f"{model} on {name}")
            results = _answered(policy, evaluation, prompts, _files(out, model, name), said)
            outcome = Outcome(model, name, tuple(results), dropped)
            before = first.setdefault(name, outcome)
            summaries.append(outcome.summary(evaluation, None if before is outcome else before))
    if out:
        write_json(out / "summary.json", summaries)
    return summaries


def say(summary: Mapping[str, Any]) -> str:
    """Return one summary as a line."""

    def share(figure: Mapping[str, float], sign: str = "") -> str:
        return f"{figure['value']:{sign}.2%} [{figure['low']:{sign}.2%}, {figure['high']:{sign}.2%}]"

    line = f"{summary['model']} on {summary['problems']}: "
    line += ", ".join(f"{name} {share(figure)}" for name, figure in summary["measures"].items())
    if difference := summary.get("difference"):
        line += f", difference from {difference['from']} {share(difference, '+')}"
    return (
        f"{line} (95 %) on {summary['number']} problems × {summary['samples']} samples at temperature "
        f"{summary['temperature']:g}, top-p {summary['top_p']:g}, at most {summary['max_tokens']} tokens; "
        f"{summary['truncated']} truncated, {summary['dropped']} prompts too long"
    )


def _problem_sets(run: RunConfig, benchmarks: Sequence[str], policy: Policy) -> list[tuple[str, list[Prompt], int]]:
    if not benchmarks:
        problems = load_problems(run.data, policy.tokenizer, policy.vocabulary)
        if not problems.held_out:
            raise ConfigError("there are no problems: name a benchmark with --problems, or set data.evaluate.")
        return [(HELD_OUT, list(problems.held_out), problems.dropped)]
    sets = []
    for name in benchmarks:
        problems, _ = read_problems(problem_source(name))
        prompts = list(encoded(problems, policy.tokenizer, run.data.system, policy.vocabulary))
        kept = [prompt for prompt in prompts if len(prompt.tokens) <= run.data.max_prompt]
        if not kept:
            raise DataError(f"no prompt of {name} has at most data.max_prompt={run.data.max_prompt} tokens.")
        sets.append((name.partition("=")[0], kept, len(prompts) - len(kept)))
    return sets


def _answered(
    policy: Policy,
    evaluation: Evaluation,
    prompts: Sequence[Prompt],
    files: tuple[Path, Path] | None,
    tell: Callable[[int, int], None],
) -> list[Result]:
    engine = build_engine(EngineConfig(), policy, evaluation.sampling.decoding)
    if files is None:
        return list(evaluation.results(engine, prompts, tell))
    lines, settings = files
    made_with = _settings(policy, evaluation, prompts)
    if settings.exists():
        _refuse_others(settings, made_with)
    write_json(settings, made_with)
    results = [Result.of(row) for row in read_jsonl(lines)]
    write_jsonl(lines, [asdict(result) for result in results])  # without a last line that a kill cut short
    for result in evaluation.results(engine, prompts, tell, begin=len(results)):
        append_jsonl(lines, asdict(result))
        results.append(result)
    return results


def _files(out: Path | None, model: str, problems: str) -> tuple[Path, Path] | None:
    if out is None:
        return None
    name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', model).strip('-')}.{problems}"
    return out / f"{name}.jsonl", out / f"{name}.settings.json"


def _settings(policy: Policy, evaluation: Evaluation, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Return everything that decides an evaluation, as JSON has it."""
    weights = hashlib.sha256()
    for name, tensor in policy.model.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    asked = hashlib.sha256()
    for prompt in prompts:
        asked.update(prompt.tokens.numpy().tobytes() + (prompt.problem.answer or "").encode())
    decisive = plain(evaluation.config)
    del decisive["batch"], decisive["every"]
    return {
        "weights": weights.hexdigest(),
        "problems": asked.hexdigest(),
        "seed": evaluation.seed,
        "answer": list(evaluation.rules),
        "stop": [*evaluation.sampling.stop, *evaluation.sampling.stop_tokens],
        **{f"evaluation.{key}": value for key, value in decisive.items()},
    }


def _refuse_others(path: Path, made_with: Mapping[str, Any]) -> None:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(there, dict)
    except (OSError, ValueError, AssertionError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); remove it to begin anew.") from None
    for key, value in made_with.items():
        if there.get(key) != value:
            raise ConfigError(
                f"{path} holds an evaluation with {key}={there.get(key)!r}, not {value!r}; give another -o."
            )
