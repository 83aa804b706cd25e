"""A run's checkpoint as a plain transformers folder: adapters merged, the certificate and a model card beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import SafetensorError

from sapo_train import checkpoint as checkpoints
from sapo_train.errors import CheckpointError, SaveError
from sapo_train.lora import merged
from sapo_train.models import quiet
from sapo_train.policy import build_policy
from sapo_train.run import RunConfig


def export(run: RunConfig, folder: Path, out: Path, step: int | None = None) -> Path:
    """Write the newest checkpoint of the run in `folder`, or that of `step`, to `out`; return the checkpoint.

    Weights are float32, in which an adapter is added too: in bfloat16 most of a small one would round away.

    Raises:
        CheckpointError: there is no such checkpoint, or it is not what was saved.
        SaveError: `out` exists, or cannot be written.
    """
    newest = checkpoints.latest(folder / "checkpoints")
    chosen = newest if step is None else folder / "checkpoints" / f"step-{step}"
    if chosen is None or not chosen.is_dir():
        have = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
        raise CheckpointError(f"{folder} has no checkpoint{'' if step is None else f' of step {step}'}; it has {have}.")
    if out.exists():
        raise SaveError(f"{out} exists; give a folder that does not.")
    checkpoints.verify(chosen)
    policy = build_policy(run.policy, run.sampling.temperature, run.seed, start=chosen)
    whole = policy.model.float()
    model = merged(policy.adapter) if policy.adapter else whole
    scratch = out.with_name(f".{out.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # of an export that was killed
    try:
        with quiet():
            model.save_pretrained(scratch)
            policy.tokenizer.save_pretrained(scratch)
        for name in ("certificate.json", "README.md"):
            shutil.copyfile(chosen / name, scratch / name)
        scratch.rename(out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise SaveError(f"cannot write {out}: {error}.") from None
    return chosen
