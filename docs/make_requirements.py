"""Writes docs/requirements.md and its pictures: `.venv/bin/python docs/make_requirements.py`.

The sentences are the docstrings of sapo_gates/requirements; the counterexamples are what the prover finds.
"""

import inspect
import re
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
from matplotlib.figure import Figure

from sapo_gates import Gate, certify, load_gate
from sapo_gates.certificate import Requirement
from sapo_gates.gatefile import parse_gate
from sapo_gates.plot import METADATA, PANEL, STYLE, panel
from sapo_gates.requirements import ADMISSIBLE, TRUST_REGION, stated
from sapo_gates.verdict import Sign

HERE = Path(__file__).parent
PARTS = ("Says", "Why", "Proof", "Fails", "Source")
CONDITION = {"positive": "A > 0", "negative": "A ≤ 0"}

OWN = {
    "parabola": 'value = "r**2/2"\n',
    "bump": 'weight = "sech(tau*(r - 1)/2)**2 + exp(-(r - 37)**2)/1000000"\n',
    "sigmoid-unscaled": 'value = "sigmoid(tau*(r - 1))"\n',
}
TAU = '[parameters.tau]\ndomain = "(0, oo)"\npositive = 10\nnegative = 12\n'

FAILING: dict[str, tuple[str, Sign]] = {
    "continuously-differentiable": ("hard-clip", "positive"),
    "unit-peak": ("parabola", "positive"),
    "monotone-decay": ("bump", "positive"),
    "vanishing-score": ("leaky-ppo", "positive"),
    "nonnegative-weight": ("ppo-rb", "positive"),
    "bounded-value": ("hard-clip", "negative"),
    "bounded-score": ("hard-clip", "negative"),
    "first-order-agreement": ("sigmoid-unscaled", "positive"),
}
"""For each requirement a gate that its `Fails` names, and a sign of A."""

HEAD = f"""# What a gate is held to

Profile `admissible` is the first {len(ADMISSIBLE)}, the conditions of arXiv:2602.19345v2, section 4; profile
`trust-region` is all {len(TRUST_REGION)}. Each is answered for every r > 0, for every value of the parameters in their
domains, and for each sign of the advantage A: *proved*, *refuted* with an exact counterexample, or *undecided*, which
is never a pass. f(r) is the gate, w = f′ its weight, φ = r·w its score weight. A picture shows a gate that fails, and
in orange the counterexample that `certify` finds.

What the prover promises, sentence by sentence with the test that shows it: [specification](prover-specification.md).
This page is written by `docs/make_requirements.py`.
"""


def text_of(name: str) -> str:
    """The gate file of one of our own gates."""
    return f'[gate]\nname = "{name}"\n{OWN[name]}' + (TAU if "tau" in OWN[name] else "")


def gate_of(name: str) -> Gate:
    """A family, or one of our own."""
    return parse_gate(text_of(name)) if name in OWN else load_gate(name)


def parts_of(module: ModuleType) -> tuple[str, dict[str, str]]:
    """The first sentence of a requirement's docstring without its id, and its parts by name, each on one line."""
    title, _, body = inspect.cleandoc(module.__doc__ or "").partition("\n")
    split = re.split(rf"^({'|'.join(PARTS)}): ", body, flags=re.MULTILINE)
    return title.removeprefix(f"{module.ID}: "), {
        name: " ".join(text.split()) for name, text in zip(split[1::2], split[2::2], strict=True)
    }


def refuted(module: ModuleType) -> tuple[Gate, Requirement]:
    """The gate that fails it, and how."""
    name, sign = FAILING[module.ID]
    gate = gate_of(name)
    found = next(e for e in certify(gate, "trust-region").requirements if (e.id, e.sign) == (module.ID, sign))
    assert found.verdict == "refuted", f"{module.ID} is {found.verdict} for {name}"
    return gate, found


def picture(gate: Gate, entry: Requirement) -> Figure:
    """The counterexample."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.3 * PANEL[0], 1.1 * PANEL[1]), layout="constrained")
        panel(figure.subplots(), gate, entry.sign, [entry])
    return figure


def section(module: ModuleType, entry: Requirement) -> str:
    """One requirement."""
    says, parts = parts_of(module)
    name, _ = FAILING[module.ID]
    witness = entry.witness
    assert witness is not None
    at = "".join(f", {parameter} = {value}" for parameter, value in witness.parameters.items())
    command = f"`sapo-gates certify {name}{'.toml' if name in OWN else ''} --profile trust-region`"
    lines = [f"## {module.ID}", "", f"{says[0].upper()}{says[1:]}", ""]
    lines += [f"- **{part}:** {parts[part]}" for part in PARTS]
    lines += ["", f"![{name}: {entry.says}](requirements/{module.ID}.svg)", ""]
    lines += [f"{command} finds, where {CONDITION[entry.sign]}: {entry.says}, a `{witness.kind}` at"]
    lines += [f"r = {', '.join(witness.r)}{at}; enclosed in {', '.join(f'[{a}, {b}]' for a, b in witness.enclosure)}."]
    if name in OWN:
        lines += ["", "```toml", text_of(name).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def own_requirements() -> str:
    """What `--require` takes, as the module says it."""
    forms = (line[4:] for line in (stated.__doc__ or "").splitlines() if line.startswith("    "))
    lines = [
        "## Requirements of your own",
        "",
        "`sapo-gates certify GATE --require 'half_width <= 0.2'` takes, as often",
    ]
    lines += ["as you like:", "", "```", *forms, "```"]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """The page and its pictures, into the folder."""
    (folder / "requirements").mkdir(exist_ok=True)
    sections = []
    for module in TRUST_REGION:
        gate, entry = refuted(module)
        sections.append(section(module, entry))
        with mpl.rc_context(STYLE):
            path = folder / "requirements" / f"{module.ID}.svg"
            picture(gate, entry).savefig(path, metadata=METADATA[".svg"])
    page = "\n".join([HEAD, *sections, own_requirements()])
    (folder / "requirements.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write(HERE)
