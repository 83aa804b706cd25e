"""A certified gate as one Python file that needs torch and nothing of this package."""

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from sapo_gates import errors
from sapo_gates.errors import ExportError, did_you_mean

if TYPE_CHECKING:
    from sapo_gates.certificate import Certificate

TARGETS = ("python",)

_HEADER = '''"""Gate {name} as a torch function of the log-ratio, exported from its certificate.

    from {module} import gate
    loss = -gate(log_ratio, advantage, mask).sum()      # f(r) A per token, gradient phi(r) A

Certificate: {digest} (profile {profile}, verdict {verdict})
A > 0: {positive}; otherwise: {negative}

{text}"""

# ruff: noqa
'''


def export(certificate: "Certificate", to: str = "python") -> str:
    """The text of a module whose `gate` computes bit for bit what `surrogate(certificate)` computes.

    Raises:
        ExportError: an unknown target, or a formula that needs a function torch does not have.
        NotCertified: a requirement is refuted or undecided.
    """
    if to not in TARGETS:
        raise ExportError(f"cannot export to {to!r}: targets are {', '.join(TARGETS)}.{did_you_mean(to, TARGETS)}")
    from sapo_gates.torch import runtime, wide
    from sapo_gates.torch.surrogate import gate_source

    gate = certificate.gate
    trained = [", ".join(f"{p.name} = {getattr(p, s)}" for p in gate.parameters) for s in ("positive", "negative")]
    header = _HEADER.format(
        name=gate.name, module=gate.name.replace("-", "_"), digest=certificate.digest, profile=certificate.profile,
        verdict=certificate.verdict, positive=trained[0] or "no parameters", negative=trained[1] or "no parameters",
        text=gate.text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'),
    )  # fmt: skip
    imports, bodies = [], []
    for module, wanted in ((errors, {"SapoGatesError", "ExportError"}), (wide, None), (runtime, None)):
        assert module.__file__ is not None
        module_imports, body = _split(Path(module.__file__).read_text(encoding="utf-8"), wanted)
        imports += module_imports if wanted is None else []
        bodies.append(body)
    return "\n".join([header, *sorted(set(imports)), "", "", *bodies, gate_source(certificate)])


def _split(source: str, wanted: set[str] | None) -> tuple[list[str], str]:
    """A module's imports from outside this package, and the rest of it: everything, or the definitions wanted."""
    tree, lines = ast.parse(source), source.splitlines()
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    outside = [ast.unparse(node) for node in imports if "sapo_gates" not in ast.unparse(node)]
    if wanted is not None:
        chosen = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in wanted]
        return outside, "\n\n\n".join(ast.unparse(node) for node in chosen) + "\n\n"
    start = max(node.end_lineno or 0 for node in imports)
    return outside, "\n".join(lines[start:]).strip("\n") + "\n\n"
