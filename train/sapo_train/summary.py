"""How a run ended, in one object."""

from __future__ import annotations

from typing import Any

from sapo_train.certified import CertifiedGate
from sapo_train.files import read_jsonl
from sapo_train.measures import accuracy, paired_difference
from sapo_train.records import Records
from sapo_train.run import RunConfig


def summarize(run: RunConfig, certified: CertifiedGate, records: Records) -> dict[str, Any]:
    """Held-out accuracy before and after with the paired interval, and what the gate did in each epoch."""
    rows = read_jsonl(records.folder / "metrics.jsonl")
    summary: dict[str, Any] = {
        "name": run.name,
        "seed": run.seed,
        "gate": run.objective.gate,
        "verdict": certified.verdict,
        "role": certified.role,
        "inert_gate": run.inert_gate,
        "steps": run.steps,
        "updates": len(rows),
        "epochs": [_epoch(rows, epoch) for epoch in range(1, run.update.epochs + 1)],
        "training_seconds": sum(row["seconds"] for row in read_jsonl(records.folder / "timings.jsonl")),
        "reward_first": rows[0]["reward_mean"],
        "reward_last": rows[-1]["reward_mean"],
        "best_step": records.best(),
    }
    before, after = records.evaluated(0), records.evaluated(run.steps)
    if before and after:
        difference, interval = paired_difference(before, after)
        summary["held_out"] = {
            "problems": len(before),
            "before": accuracy(before)[0],
            "before_interval": list(accuracy(before)[1]),
            "after": accuracy(after)[0],
            "after_interval": list(accuracy(after)[1]),
            "difference": difference,
            "difference_interval": list(interval),
            "intervals": "95 %; accuracies by Wilson (one sample) or bootstrap, the difference by paired bootstrap",
        }
    return summary


def say(summary: dict[str, Any]) -> list[str]:
    """Return the summary as lines to print."""
    lines = []
    for epoch in summary["epochs"]:
        if "effective_update_ratio" not in epoch:
            lines.append(f"epoch {epoch['epoch']}: no token counted in any of {epoch['updates']} updates")
            continue
        lines.append(
            f"epoch {epoch['epoch']}: EUR {epoch['effective_update_ratio']:.4f} "
            f"(min {epoch['effective_update_ratio_min']:.4f}), Var(z) {epoch['log_ratio_var_per_sequence']:.3g}, "
            f"mean over {epoch['updates']} updates"
        )
    if held := summary.get("held_out"):
        low, high = held["difference_interval"]
        lines.append(
            f"held-out accuracy {held['before']:.1%} → {held['after']:.1%} on {held['problems']} problems: "
            f"{held['difference']:+.1%}, paired 95 % interval [{low:+.1%}, {high:+.1%}]"
        )
    return lines


def _epoch(rows: list[dict[str, Any]], epoch: int) -> dict[str, Any]:
    mine = [row for row in rows if row["epoch"] == epoch]
    ratios = [row["effective_update_ratio"] for row in mine if "effective_update_ratio" in row]
    spreads = [row["log_ratio_var_per_sequence"] for row in mine if "log_ratio_var_per_sequence" in row]
    counted = (
        {  # none where every completion was masked in every update
            "effective_update_ratio": sum(ratios) / len(ratios),
            "effective_update_ratio_min": min(ratios),
            "log_ratio_var_per_sequence": sum(spreads) / len(spreads),
        }
        if ratios
        else {}
    )
    return {"epoch": epoch, "updates": len(mine), **counted}
