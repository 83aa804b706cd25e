"""Writes docs/audits.md, what `sapo-gates audit` finds about losses of public trainers: `make audit-peers`.

python docs/make_audits.py find trl|verl|here FILE    audit a trainer's losses, or this package's, into a JSON file
python docs/make_audits.py write FILE ...             one page from those files
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from sapo_gates import certify, load_gate
from sapo_gates.torch import surrogate
from sapo_gates.torch.audit import audit
from sapo_gates.torch.audit.shapes import imported

HERE = Path(__file__).parent
MARKS = {"holds": "✓", "fails": "✗", "not-applicable": "–"}


class Loss(NamedTuple):
    """One loss to audit: what it claims to be, and how it is called."""

    environment: str
    title: str
    packages: tuple[str, ...]
    dotted: str
    against: str
    positive: dict[str, str]
    negative: dict[str, str]
    knobs: dict[str, Any]


_SAPO = ("sigmoid", {"tau": "1"}, {"tau": "1.05"})
_TRL = {"loss_type": "sapo", "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05}
_VERL = "verl.trainer.ppo.core_algos:compute_policy_loss_"
_CLIP = {"clip_ratio_low": 0.2, "clip_ratio_high": 0.2}
LOSSES = (
    Loss(
        "trl", "TRL `sapo`", ("trl", "transformers"), "trl.trainer.grpo_trainer:GRPOTrainer._compute_loss", *_SAPO, _TRL
    ),
    Loss("trl", "Liger `sapo`", ("liger_kernel",), "liger_kernel.chunked_loss:LigerFusedLinearGRPOLoss", *_SAPO, _TRL),
    Loss("verl", "verl `sapo`", ("verl",), f"{_VERL}sapo", *_SAPO, {"tau_pos": 1.0, "tau_neg": 1.05}),
    Loss("verl", "verl `gspo`", ("verl",), f"{_VERL}gspo", "hard-clip", {}, {}, _CLIP),
    Loss("verl", "verl `vanilla`", ("verl",), f"{_VERL}vanilla", "dual-clip", {}, {}, {**_CLIP, "clip_ratio_c": 3.0}),
)
OURS = ("ours", "ours in TRL", "ours in verl")
"""For comparison, the certified sigmoid gate: in sapo_train.policy_loss, and in the adapters for TRL and verl."""

ROWS = {
    "unit-weight": ("weight 1 on policy", ("unit-weight",)),
    "advantage": ("sign and size of A used", ("advantage-sign", "advantage-size")),
    "gradient": ("gradient is the value's", ("gradient-of-value",)),
    "matches-float64": ("the named gate's gradient, float64", ("matches-*-float64",)),
    "matches-float32": ("… float32", ("matches-*-float32",)),
    "matches-bfloat16": ("… bfloat16", ("matches-*-bfloat16",)),
    "matches-float16": ("… float16", ("matches-*-float16",)),
    "mask-safe": ("a masked token is inert", ("mask-safe",)),
    "zero-advantage-safe": ("a token with A = 0 is inert", ("zero-advantage-safe",)),
    "finite-float64": ("finite at large log-ratios, float64", ("finite-float64",)),
    "finite-float32": ("… float32", ("finite-float32",)),
    "finite-bfloat16": ("… bfloat16", ("finite-bfloat16",)),
    "finite-float16": ("… float16", ("finite-float16",)),
    "reduction": ("a reduction known by name", ("reduction",)),
    "microbatch": ("invariant to the split into microbatches", ("microbatch-invariant",)),
    "padding": ("invariant to padding", ("padding-invariant",)),
    "order": ("invariant to order", ("order-invariant",)),
    "knobs": ("every knob moves it", ("knob-alive*",)),
    "temperatures": ("τ ≤ 0 refused", ("temperature-refused*",)),
    "temperature-digits": ("τ keeps its digits beside bfloat16", ("temperature-kept*",)),
    "clip-metrics": ("clip metrics tell something", ("clip-metric-alive",)),
}


def find(where: str) -> Iterator[dict[str, Any]]:
    """The audits of the losses of one environment's trainers."""
    for loss in LOSSES:
        if loss.environment != where:
            continue
        against = load_gate(loss.against)
        if loss.positive:
            against = against.bind(positive=loss.positive, negative=loss.negative)
        found = audit(imported(loss.dotted), name=loss.dotted.rpartition(":")[2], against=against, knobs=loss.knobs)
        versions = {package: version(package.replace("_", "-")) for package in (*loss.packages, "torch")}
        yield {"title": loss.title, "versions": versions, "command": _command(loss), **found.to_json()}


def find_ours(where: str) -> dict[str, Any]:
    """The audit of the certified gate in this package's own loss, or in its adapter for a trainer."""
    name, positive, negative = _SAPO
    gate = surrogate(certify(name), positive=positive, negative=negative)
    function: Any
    knobs: dict[str, Any]
    match where:
        case "trl":
            from sapo_gates.adapters.trl import GateTrainer

            title, function, knobs = "ours in TRL", GateTrainer, {"gate": gate, "loss_type": "sapo"}
        case "verl":
            from sapo_gates.adapters.verl import policy_loss

            title, function, knobs = "ours in verl", policy_loss(gate), {}
        case _:
            from sapo_train import policy_loss

            title, function, knobs = "ours", policy_loss, {"gate": gate}
    against = load_gate(name).bind(positive=positive, negative=negative)
    return {"title": title, **audit(function, against=against, knobs=knobs, prove=False).to_json()}


def _command(loss: Loss) -> str:
    settings = [f"--set {sign}.{k}={v}" for sign in ("positive", "negative") for k, v in getattr(loss, sign).items()]
    knobs = [f"--knob {name}={value}" for name, value in loss.knobs.items()]
    return " ".join([f"sapo-gates audit {loss.dotted} --against {loss.against}", *settings, *knobs])


def page(audits: list[dict[str, Any]]) -> str:
    """The page."""
    order = [*(loss.title for loss in LOSSES), *OURS]
    audits = sorted(audits, key=lambda one: order.index(one["title"]))
    peers = [one for one in audits if one["title"] not in OURS]
    versions = {package: number for one in peers for package, number in one["versions"].items()}
    lines = [
        "# What public trainers' losses do",
        "",
        "Written by `make audit-peers`, which installs the trainers into environments of their own and runs",
        "`sapo-gates audit` on each loss: nothing here is typed by hand. "
        f"Versions: {', '.join(f'{p} {v}' for p, v in sorted(versions.items()))}; CPU.",
        "",
        "Each property is one of the ways in which losses go wrong: ✓ holds at every input tried, ✗ fails (at the",
        "log-ratio z nearest to 0 that shows it, where it is one), – says nothing about this loss. A failure is a fact",
        "about the function as it is called, not a judgement of the training it is part of: a log-ratio of 89 is rare,",
        "and a NaN may be kept out by what comes before. The last columns are the certified sigmoid gate in",
        "`sapo_train.policy_loss` and in this package's adapters.",
        "",
        "| property | " + " | ".join(one["title"] for one in audits) + " |",
        "| --- |" + " :-: |" * len(audits),
    ]
    for title, ids in ROWS.values():
        lines.append(f"| {title} | " + " | ".join(_cell(one, ids) for one in audits) + " |")
    for one in peers:
        lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _matching(one: dict[str, Any], ids: tuple[str, ...]) -> list[dict[str, Any]]:
    return [p for p in one["properties"] if any(fnmatchcase(p["id"], id) for id in ids)]


def _cell(one: dict[str, Any], ids: tuple[str, ...]) -> str:
    found = _matching(one, ids)
    verdicts = {p["verdict"] for p in found}
    at = [p["input"]["z"] for p in found if p["verdict"] == "fails" and {"z", "dtype"} <= p["input"].keys()]
    if at:
        return f"✗ z = {float(at[0]):.3g}"
    return MARKS[next((v for v in ("fails", "holds") if v in verdicts), "not-applicable")]


def _section(one: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{package} {number}" for package, number in one["versions"].items())
    lines = [f"## {one['title']}", "", f"{versions}; ratio per {one['level']}.", "", "```", one["command"], "```", ""]
    reduction = next(p for p in one["properties"] if p["id"] == "reduction")
    lines += [f"- Reduction: {reduction['says']}."]
    for p in one["properties"]:
        if p["verdict"] == "fails":
            at = ", ".join(f"{k} = {v:g}" if isinstance(v, float) else f"{k} = {v}" for k, v in p["input"].items())
            lines.append(f"- ✗ `{p['id']}`: {p['says']}{f' (at {at})' if at else ''}.")
    trace = one["trace"]
    if "formula" not in trace:
        return [*lines, f"- No formula was read: {trace['untraced']}"]
    lines.append(
        f"- Formula read from its graph and handed to the prover: {trace['verdict']} for `{trace['profile']}`."
    )
    for sign, condition in (("positive", "A > 0"), ("negative", "A ≤ 0")):
        lines.append(f"  - {condition}: {trace['kind']} `{trace['formula'][sign]}`")
        for requirement in trace["requirements"]:
            if requirement["sign"] == sign and requirement["verdict"] != "proved":
                lines.append(f"    - {requirement['verdict']}: `{requirement['id']}`, {requirement['says']}")
    return lines


def main(arguments: list[str]) -> None:
    """`find` or `write`."""
    match arguments:
        case ["find", ("trl" | "verl" | "here") as where, file]:
            with contextlib.redirect_stderr(io.StringIO()):  # trainers greet with deprecations
                found = [*find(where), find_ours(where)]
            Path(file).write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
        case ["write", *files]:
            audits = [one for file in files for one in json.loads(Path(file).read_text(encoding="utf-8"))]
            (HERE / "audits.md").write_text(page(audits), encoding="utf-8")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
