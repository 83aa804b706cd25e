"""What a batch step costs here and in TRL: SmolLM2-135M in float32, 4 prompts × 8 completions of up to 64 tokens, two
updates of the whole batch, entropy included.

    python tests/benchmarks/step.py [--rounds 3] [--steps 3]        # both, turn by turn, each in a process of its own
    python tests/benchmarks/step.py --write                         # and docs/benchmarks/step.md
    python tests/benchmarks/step.py --only ours [--dotted.flags]    # ours alone, by phase

TRL runs with 8 and with 32 completions in one forward, ours with the demo's 16; TRL's loss is its own `sapo`. Prints a
JSON object: of each the median over rounds of the median step in seconds and of the peak memory of the process, and
ours / TRL's. The prompts and the reward are the same; what is sampled is not, so tokens are told too.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "step.md"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

CONTENDERS = ("ours", "trl-8", "trl-32")
THREADS = 2
REWARD = "sapo_train.rewards.text:digit_share"
WORK = ["--data.train.0.held_out=0", "--sampling.max_tokens=64", f"--launch.threads={THREADS}", "--ratios.every=0"]
WORK += [f"--reward.weights={{'{REWARD}': 1.0}}"]


def ours(steps: int, flags: list[str]) -> dict[str, float]:
    """Run a few steps without evaluation; the median of each timing."""
    from sapo_train.config import build, load_recipe, merge, parse_flags
    from sapo_train.files import read_jsonl
    from sapo_train.run import RunConfig
    from sapo_train.run_folder import begin
    from sapo_train.train import train

    run = build(RunConfig, merge(load_recipe("demo.yaml"), parse_flags(RunConfig, [*WORK, f"--steps={steps}", *flags])))
    with tempfile.TemporaryDirectory() as folder:
        begin(Path(folder), run)
        train(run, Path(folder))
        rows = read_jsonl(Path(folder) / "timings.jsonl")
    return {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0] if key != "step"}


def trl(steps: int, microbatch: int) -> dict[str, float]:
    """Run the same number of steps in TRL; the same keys as far as it tells them."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    from sapo_train.models import WHEELS, from_wheel
    from sapo_train.rewards.text import digit_share
    from sapo_train.sources import ArithmeticConfig, arithmetic

    torch.set_num_threads(THREADS)
    seconds: list[float] = []
    tokens: list[int] = []

    def reward(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)))
        return digit_share([turns[0]["content"] for turns in completions], [""] * len(completions))

    class Clock(TrainerCallback):
        """Times two updates, which share one batch."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % 2 == 0:
                self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % 2 == 0:
                seconds.append(time.perf_counter() - self.start)

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=microbatch,
            gradient_accumulation_steps=32 // microbatch,
            num_generations=8,
            max_completion_length=64,
            num_iterations=2,
            max_steps=2 * steps,
            beta=0.0,
            loss_type="sapo",
            learning_rate=1e-5,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        problems = arithmetic(ArithmeticConfig(largest=25))
        rows = [{"prompt": [{"role": "user", "content": problem.question}]} for problem in problems]
        trainer = GRPOTrainer(
            model=str(from_wheel(WHEELS["smollm2-135m-instruct"])),
            reward_funcs=reward,  # type: ignore[arg-type]
            args=settings,
            train_dataset=Dataset.from_list(rows),
            callbacks=[Clock()],
        )
        trainer.train()
    return {"seconds": round(statistics.median(seconds), 3), "tokens": statistics.median(tokens)}


def measured(who: str, steps: int, flags: list[str]) -> dict[str, float]:
    """Measure in this process, and the process."""
    found = ours(steps, flags) if who == "ours" else trl(steps, int(who.removeprefix("trl-")))
    return found | {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def compared(rounds: int, steps: int) -> dict[str, Any]:
    """Measure all turn by turn, each in a new process."""
    seen: dict[str, list[dict[str, float]]] = {who: [] for who in CONTENDERS}
    for _ in range(rounds):
        for who, results in seen.items():
            command = [sys.executable, __file__, "--only", who, "--steps", str(steps)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    keys = ("seconds", "tokens", "peak_memory_bytes")
    medians = {who: {k: statistics.median(r[k] for r in results) for k in keys} for who, results in seen.items()}
    ratios = {
        f"ours / {who}": {k: round(medians["ours"][k] / medians[who][k], 3) for k in keys} for who in CONTENDERS[1:]
    }
    return {"rounds": rounds, "steps": steps, "threads": THREADS, **medians, **ratios}


def page(found: dict[str, Any]) -> Iterator[str]:
    """Write what was measured as a page."""
    from importlib.metadata import version

    named = {"ours": "ours", "trl-8": "TRL, 8 completions a forward", "trl-32": "TRL, 32 completions a forward"}
    yield from ("# A step of the trainer", "")
    told = f"""SmolLM2-135M-Instruct in float32: 4 prompts × 8 completions of up to 64 tokens, rewards, two updates of
    the whole batch, entropy included. Medians of {found["rounds"]} rounds by `python tests/benchmarks/step.py --write`:
    in turns, {found["steps"]} steps each in a process of its own, on a 2-core {platform.machine()} cloud machine
    without GPU, {found["threads"]} threads; torch {version("torch")}, TRL {version("trl")}, transformers
    {version("transformers")}. TRL trains its own `sapo` loss; what is sampled differs, so the tokens are told."""
    yield textwrap.fill(" ".join(told.split()), 120)
    yield from (
        "",
        "| | seconds a step | × TRL | tokens a step | peak memory GB | × TRL |",
        "|---|---|---|---|---|---|",
    )
    best = {key: found["trl-8"][key] for key in ("seconds", "peak_memory_bytes")}
    for who in CONTENDERS:
        row = found[who]
        seconds, memory = row["seconds"], row["peak_memory_bytes"]
        yield (
            f"| {named[who]} | {seconds:.1f} | {seconds / best['seconds']:.2f} | {row['tokens']:.0f} | "
            f"{memory / 1e9:.1f} | {memory / best['peak_memory_bytes']:.2f} |"
        )


def main() -> None:
    """Read the command line and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", choices=CONTENDERS)
    parser.add_argument("--write", action="store_true", help=f"also write {PAGE.relative_to(PAGE.parents[2])}")
    arguments, flags = parser.parse_known_args()
    if arguments.only:
        print(json.dumps(measured(arguments.only, arguments.steps, flags)))
    else:
        found = compared(arguments.rounds, arguments.steps)
        print(json.dumps(found))
        if arguments.write:
            PAGE.write_text("\n".join(page(found)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
