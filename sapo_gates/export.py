"""A certified gate as one Python file that needs torch, the trainer it is for, and nothing of this package."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sapo_gates.errors import ExportError, did_you_mean
from sapo_gates.gate import Number
from sapo_gates.verdict import SIGNS

if TYPE_CHECKING:
    from sapo_gates.certificate import Certificate


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a file is for: how it is used, what it takes from an adapter, and what binds that to the gate."""

    usage: str
    taken: Mapping[str, tuple[str, ...]]
    """Definitions by the module of this package that has them; all of a module where none is named."""
    binding: str = ""


_GATE = {"errors.py": ("SapoGatesError", "ExportError"), "torch/wide.py": (), "torch/runtime.py": ()}

TARGETS = {
    "python": Target(
        usage="""
    from {module} import gate
    loss = -gate(log_ratio, advantage, mask).sum()      # f(r) A per token, gradient phi(r) A
""",
        taken=_GATE,
    ),
    "trl": Target(
        usage="""
    from {module} import GatedGRPOTrainer
    trainer = GatedGRPOTrainer(model=..., args=GRPOConfig(loss_type="sapo", ...), ...)      # all else as in TRL
""",
        taken={
            **_GATE,
            "errors.py": ("SapoGatesError", "ExportError", "AdapterError"),
            "adapters/trl.py": (
                "REDUCTIONS",
                "TRL_GATES",
                "_TOKEN_LOSS",
                "gated",
                "_assigned",
                "check_options",
                "GateTrainer",
            ),
        },
        binding='''

class GatedGRPOTrainer(GateTrainer):
    """TRL's GRPOTrainer with this gate."""

    gate = gate
''',
    ),
    "verl": Target(
        usage="""
    VERL_USE_EXTERNAL_MODULES={module} python -m verl.trainer.main_ppo \\\\
        actor_rollout_ref.actor.policy_loss.loss_mode={loss_mode} \\\\
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean ...
""",
        taken={**_GATE, "adapters/verl.py": ("PolicyLoss", "policy_loss")},
        binding="\n\ncore_algos.register_policy_loss({loss_mode!r})(policy_loss(gate))\n",
    ),
    "prime-rl": Target(
        usage="""
    [trainer.loss]
    type = "custom"
    import_path = "{module}.loss"       # summed per sequence; prime-rl divides by all tokens: a mean over tokens
""",
        taken={**_GATE, "adapters/prime_rl.py": ("gate_loss",)},
        binding='''

def loss(inputs: "LossInputs") -> "LossOutputs":
    """The loss of one sequence with this gate."""
    return gate_loss(inputs, gate)
''',
    ),
}

_HEADER = '''"""Gate {name} as a torch function of the log-ratio, exported from its certificate.
{usage}
Certificate: {digest} (profile {profile}, verdict {verdict})
A > 0: {positive}; otherwise: {negative}

{text}"""

# ruff: noqa
'''


def export(
    certificate: "Certificate",
    to: str = "python",
    *,
    positive: Mapping[str, Number] | None = None,
    negative: Mapping[str, Number] | None = None,
) -> str:
    """The text of a module whose `gate` computes bit for bit what `surrogate` does with the same parameters.

    Raises:
        ExportError: an unknown target, or a formula that needs a function torch does not have.
        NotCertified: a requirement is refuted or undecided.
        ParameterValueError, UnknownParameter: a value that the certificate does not cover.
    """
    if to not in TARGETS:
        raise ExportError(f"cannot export to {to!r}: targets are {', '.join(TARGETS)}.{did_you_mean(to, TARGETS)}")
    from sapo_gates.torch.surrogate import gate_source, parameter_values

    target, gate = TARGETS[to], certificate.gate
    source = gate_source(certificate, positive=positive, negative=negative)
    numbers = {
        sign: parameter_values(gate, sign, given) for sign, given in zip(SIGNS, (positive, negative), strict=True)
    }
    assignments = [f"{sign}.{name}:{value}" for sign in SIGNS for name, value in numbers[sign].items()]
    loss_mode = "@".join([f"sapo_gates:{gate.name}", *assignments])
    shown = {sign: ", ".join(f"{name} = {value}" for name, value in numbers[sign].items()) for sign in SIGNS}
    header = _HEADER.format(
        name=_inside(gate.name),
        usage=target.usage.format(module=_inside(gate.name.replace("-", "_")), loss_mode=_inside(loss_mode)),
        digest=certificate.digest,
        profile=_inside(certificate.profile),
        verdict=certificate.verdict,
        **{sign: shown[sign] or "no parameters" for sign in SIGNS},
        text=_inside(gate.text),
    )
    sources = {module: (Path(__file__).parent / module).read_text(encoding="utf-8") for module in target.taken}
    parts = [_definitions(sources[module], wanted) for module, wanted in target.taken.items()]
    body = "\n\n\n".join([*parts, source]) + target.binding.format(loss_mode=loss_mode)
    return "\n".join([header, *_imports(sources.values(), body), "", "", body])


def _inside(text: str) -> str:
    """Text as it stands inside a docstring, which it must not end."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _definitions(source: str, wanted: tuple[str, ...]) -> str:
    """The definitions of those names, each with the docstring that may follow it; all that a module defines if none."""
    tree, lines = ast.parse(source), source.splitlines()
    if not wanted:
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        return "\n".join(lines[max(node.end_lineno or 0 for node in imports) :]).strip("\n")
    found = {}
    for node, after in zip(tree.body, [*tree.body[1:], tree.body[0]], strict=True):
        last = after if isinstance(after, ast.Expr) else node
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        found[_name(node)] = "\n".join(lines[first - 1 : last.end_lineno])
    return "\n\n\n".join(found[name] for name in wanted)


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return getattr(node, "name", None)


def _imports(sources: Iterable[str], body: str) -> list[str]:
    """The modules' imports from outside this package, as far as the text uses them."""
    words = set(re.findall(r"\w+", body))
    plain, names = set(), defaultdict(set)
    for node in (node for source in sources for node in ast.parse(source).body):
        if isinstance(node, ast.Import):
            plain |= {f"import {alias.name}" for alias in node.names if alias.name in words}
        elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith("sapo_gates"):
            names[node.module] |= {alias.name for alias in node.names if alias.name in words}
    return sorted(plain) + [
        f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names) if names[module]
    ]
