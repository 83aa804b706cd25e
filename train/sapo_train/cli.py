"""`sapo-train run | resume | evaluate | plan | export`.

Exits with 0, 1 (the run failed), 2 (bad input, one line on stderr), 130 (Ctrl-C), 143 (stopped, state saved).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sapo_train.errors import (
    CheckpointError,
    ConfigError,
    EngineError,
    NonFinite,
    PeerFailed,
    RewardError,
    SaveError,
    Stopped,
    TrainError,
)

if TYPE_CHECKING:
    from sapo_train.assess import Subject
    from sapo_train.run import RunConfig

OK, FAILED, BAD_INPUT, INTERRUPTED, STOPPED = 0, 1, 2, 130, 143
FAILURES = EngineError | NonFinite | PeerFailed | RewardError | SaveError  # of a run; all others are of its input


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Before torch is loaded: threads that wait by spinning slow a busy machine down many times over.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Rewards and gates of the user's, as `python -m` finds them; last, so that they hide no other module.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    arguments, flags = _parser().parse_known_args(argv)
    try:
        return arguments.command(arguments, flags)
    except ModuleNotFoundError as error:
        print(f"sapo-train: {error.name} is not installed; install 'sapo-gates[train]'.", file=sys.stderr)
        return BAD_INPUT
    except Stopped:
        _tell("stopped at a batch boundary; the state is saved")
        return STOPPED
    except KeyboardInterrupt:
        _tell("interrupted; what was written stays, and 'sapo-train resume' goes on from the last checkpoint")
        return INTERRUPTED
    except TrainError as error:
        _tell(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return FAILED if isinstance(error, FAILURES) else BAD_INPUT
    except BrokenPipeError:  # and nothing more can be printed, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _tell("stopped: nobody reads the output any more")
        return FAILED
    except OSError as error:  # such as a full disk; checkpoints are complete or absent
        _tell(f"the run failed: {error}; 'sapo-train resume' goes on from the last checkpoint")
        return FAILED


def _tell(line: str) -> None:
    """Say how a run ended, once: every process of it ends for the same reason."""
    from sapo_train.world import rank

    if rank() == 0:
        print(line, file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """argparse prints a usage block before its error and guesses at shortened options; ours is one line, and exact."""

    def __init__(self, **options: Any) -> None:
        """As argparse's."""
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit 2."""
        from sapo_train.config import nearest

        unknown = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = nearest(unknown[1], re.findall(r"[\w-]+", unknown[2])) if unknown else ""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see '{self.prog} --help'.{near}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sapo-train", description="Train language models by GRPO with certified gates.")
    commands = parser.add_subparsers(required=True, metavar="run | resume | evaluate | plan | export")
    run = commands.add_parser("run", help="train a recipe", add_help=False)
    run.add_argument("recipe", nargs="?", help="a YAML file, or the name of a shipped recipe: smoke.yaml, demo.yaml")
    run.add_argument("--out", type=Path, help="run directory; default: runs/NAME-TIME")
    run.add_argument("--dry-run", action="store_true", help="print what 'plan' prints, and stop")
    run.add_argument("-h", "--help", action="store_true", dest="help")
    run.set_defaults(command=_run, parser=run)
    resume = commands.add_parser("resume", help="continue a run from its last checkpoint")
    resume.add_argument("folder", type=Path, metavar="RUN_DIR")
    resume.set_defaults(command=_resume)
    plan = commands.add_parser("plan", help="print a resolved recipe with the memory and time that it will take")
    plan.add_argument("recipe", help="a YAML file, or the name of a shipped recipe")
    plan.add_argument("--processes", type=int, default=1, help="of torchrun; default: 1")
    plan.set_defaults(command=_plan)
    test = commands.add_parser("evaluate", help="measure accuracy, pass@k and majority@k of models, and compare them")
    test.add_argument(
        "models",
        nargs="+",
        metavar="RECIPE|RUN_DIR|MODEL",
        help="a recipe's model as it is, a run's last checkpoint or any of them, or a model's folder or name; "
        "the first of several is what the others are compared with",
    )
    test.add_argument(
        "--problems",
        action="append",
        default=[],
        metavar="NAME[=FILE]",
        help="gsm8k, math-500, aime-2024 or aime-2025, from the hub or a file with the same columns; may be given "
        "again; without it: what the recipe or run holds out",
    )
    test.add_argument("-o", "--out", type=Path, help="folder of the results; a call that was cut off goes on from it")
    test.add_argument("--json", action="store_true", help="print the figures as JSON")
    test.set_defaults(command=_evaluate)
    write = commands.add_parser("export", help="write a run's model as a plain transformers folder, adapters merged")
    write.add_argument("folder", type=Path, metavar="RUN_DIR")
    write.add_argument("-o", "--out", type=Path, required=True, help="a folder that does not exist yet")
    write.add_argument("--step", type=int, help="the checkpoint of this step; default: the last")
    write.set_defaults(command=_export)
    return parser


def _run(arguments: argparse.Namespace, flags: list[str]) -> int:
    from sapo_train.run_folder import begin, held
    from sapo_train.train import train

    if arguments.help:
        _help(arguments.parser)
        return OK
    if arguments.recipe is None:
        raise ConfigError(
            "run needs a recipe: a YAML file, or one that ships, as smoke.yaml; 'run --help' lists every field of one."
        )
    run = _resolve(arguments.recipe, flags)
    if arguments.dry_run:
        return _show_plan(run, 1)
    folder = arguments.out or Path("runs") / f"{run.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    with held(folder):
        begin(folder, run)
        summary = train(run, folder)
    return _finish(run, folder, summary)


def _finish(run: RunConfig, folder: Path, summary: dict[str, Any]) -> int:
    """Say how a run ended; of many processes the first does."""
    from sapo_train.report import write_report
    from sapo_train.summary import say

    if summary:
        report = [write_report(folder)] if run.report else []
        print("\n".join([*say(summary), *report, f"run directory: {folder}"]))
    return OK


def _plan(arguments: argparse.Namespace, flags: list[str]) -> int:
    run = _resolve(arguments.recipe, flags)
    if not 1 <= arguments.processes <= run.groups_per_minibatch:
        raise ConfigError(
            f"--processes={arguments.processes} must lie between 1 and {run.groups_per_minibatch}, the groups of a "
            "minibatch."
        )
    return _show_plan(run, arguments.processes)


def _show_plan(run: RunConfig, processes: int) -> int:
    """Print the resolved run as YAML, and the estimates as comments in it."""
    import yaml

    from sapo_train.config import plain
    from sapo_train.plan import estimate, load_shape, say

    print(yaml.safe_dump(plain(run), sort_keys=False, allow_unicode=True), end="", flush=True)
    shape = load_shape(run.policy.model)
    for line in say(run, estimate(run, shape, processes), shape, processes):
        print(f"# {line}")
    return OK


def _resume(arguments: argparse.Namespace, flags: list[str]) -> int:
    from sapo_train.run_folder import held
    from sapo_train.train import train

    if flags:
        raise ConfigError(f"{flags[0]!r} cannot change a run that has begun; start a new one with 'sapo-train run'.")
    run = _stored(arguments.folder)
    with held(arguments.folder):
        summary = train(run, arguments.folder)
    return _finish(run, arguments.folder, summary)


def _evaluate(arguments: argparse.Namespace, flags: list[str]) -> int:
    import json

    from sapo_train.assess import assess, say
    from sapo_train.files import finite
    from sapo_train.run_folder import held
    from sapo_train.view import bar
    from sapo_train.world import connect

    subjects = {name: _subject(name, flags) for name in arguments.models}
    world = connect(next(iter(subjects.values())).run.launch, 1)
    with held(arguments.out) if arguments.out else nullcontext(), bar() as tell:
        summaries = assess(subjects, arguments.problems, arguments.out, world.device, tell)
    print(json.dumps(finite(summaries), indent=1) if arguments.json else "\n".join(map(say, summaries)))
    return OK


def _subject(name: str, flags: Sequence[str]) -> Subject:
    """Find out what a name means: a run directory, one of its checkpoints, a recipe, or else a model."""
    from sapo_train import checkpoint as checkpoints
    from sapo_train.assess import Subject
    from sapo_train.config import build, find_recipe, merge, parse_flags
    from sapo_train.run import RunConfig

    folder = Path(name)
    is_checkpoint = (folder / "state.json").is_file()
    home = folder.parent.parent if is_checkpoint else folder
    if (home / "config.yaml").is_file():
        start = folder if is_checkpoint else checkpoints.latest(folder / "checkpoints")
        if start is None:
            raise CheckpointError(f"{folder} has no checkpoint yet; its recipe's name tests the model as it begins.")
        checkpoints.verify(start)
        return Subject(_resolve(str(home / "config.yaml"), flags), start)
    if find_recipe(name) or folder.suffix in {".yaml", ".yml"}:
        return Subject(_resolve(name, flags))
    model = {"steps": 1, "policy": {"model": name}, "data": {"train": [{"source": "arithmetic"}]}}
    return Subject(build(RunConfig, merge(model, parse_flags(RunConfig, flags))))


def _export(arguments: argparse.Namespace, flags: list[str]) -> int:
    from sapo_train.export import export

    if flags:
        raise ConfigError(f"{flags[0]!r} is no option of export.")
    chosen = export(_stored(arguments.folder), arguments.folder, arguments.out, arguments.step)
    print(f"{arguments.out} holds the model of {chosen}, its certificate and its card")
    return OK


def _resolve(recipe: str, flags: Sequence[str]) -> RunConfig:
    """Defaults, then the recipe, then flags; later wins."""
    from sapo_train.config import build, load_recipe, merge, parse_flags
    from sapo_train.run import RunConfig

    return build(RunConfig, merge(load_recipe(recipe), parse_flags(RunConfig, flags)))


def _stored(folder: Path) -> RunConfig:
    if not (folder / "config.yaml").is_file():
        raise ConfigError(
            f"{folder} is not a run directory: it has no config.yaml; give a folder that 'sapo-train run' made."
        )
    return _resolve(str(folder / "config.yaml"), [])


def _help(parser: argparse.ArgumentParser) -> None:
    from sapo_train.config import describe
    from sapo_train.run import RunConfig

    print(parser.format_help())
    print("every field of a recipe is a flag too, e.g. --optim.lr=1e-5; later wins: defaults, recipe, flags\n")
    for name, default, says in describe(RunConfig):
        print(f"  --{name}  [{default}]\n      {says}")


if __name__ == "__main__":
    sys.exit(main())
