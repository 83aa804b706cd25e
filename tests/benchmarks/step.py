"""What a batch step of the trainer costs: SmolLM2-135M, 4 prompts × 8 completions of up to 64 tokens, two updates.

    python tests/benchmarks/step.py [--steps 3] [--dotted.flags]

Prints one JSON object: seconds of the median step, in all and by phase, tokens, peak memory of the whole process.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from sapo_train.config import build, load_recipe, merge, parse_flags
from sapo_train.files import read_jsonl
from sapo_train.progress import begin
from sapo_train.run import RunConfig
from sapo_train.train import train

WORK = ["--steps=3", "--data.train.0.held_out=0", "--sampling.max_tokens=64"]


def main(flags: list[str]) -> None:
    """Run a few steps without evaluation and print the median of each timing."""
    run = build(RunConfig, merge(merge(load_recipe("demo.yaml"), parse_flags(WORK)), parse_flags(flags)))
    with tempfile.TemporaryDirectory() as folder:
        begin(Path(folder), run)
        train(run, Path(folder))
        rows = read_jsonl(Path(folder) / "timings.jsonl")
    median = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0] if key != "step"}
    print(json.dumps({"steps": len(rows), "threads": run.launch.threads, **median}))


if __name__ == "__main__":
    main(sys.argv[1:])
