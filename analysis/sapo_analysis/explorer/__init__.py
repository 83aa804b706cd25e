"""The explorer: one self-contained HTML page on which gates are picked, typed, moved and looked at.

The page computes curves itself, from each gate's own text; what was proved is put into it when it is written.
"""

import json
import math
import shlex
import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from sapo_analysis.errors import FigureError
from sapo_analysis.style import write_text
from sapo_gates import FAMILIES, Gate, Parameter, certify, load_gate
from sapo_gates.certificate import Certificate, Requirement
from sapo_gates.families import clipping, compact, log_ratio, scores, smooth
from sapo_gates.verdict import SIGNS

FOLDER = Path(__file__).parent
SCRIPTS = ("language.js", "curve.js", "ratios.js", "controls.js", "picture.js", "page.js")
PROFILE = "admissible"
GROUPS = {
    "smooth in r": smooth,
    "smooth in log r": log_ratio,
    "compact support": compact,
    "clipping": clipping,
    "by score weight": scores,
}
FIRST = ("sigmoid", "erf", "arctan", "softsign", "hard-clip")
"""Picked when the page opens without gates named: the paper's four, and what they replace."""


def write_explorer(names: Sequence[str], output: Path, *, command: str = "") -> Path:
    """Certify the gates, write the page about them, and return where it is.

    names: families, gate files or pkg.module:NAME, all of them picked when the page opens; none: every family.

    Raises:
        FigureError: two gates share a name, plotly is not installed, or the page cannot be written.
        SapoGatesError: a gate cannot be read.
    """
    plotly = plotly_script()
    gates = [(name, load_gate(name)) for name in names] or [(family.name, family) for family in FAMILIES]
    seen: set[str] = set()
    for given, gate in gates:
        if gate.name in seen:
            raise FigureError(f"two gates are called {gate.name!r}, the second is {given}; rename one.")
        seen.add(gate.name)
    data = {
        "profile": PROFILE,
        "picked": [gate.name for _, gate in gates] if names else list(FIRST),
        "gates": [described(given, gate, certify(gate, PROFILE)) for given, gate in gates],
    }
    data["requirements"] = list(dict.fromkeys(one["id"] for gate in data["gates"] for one in gate["requirements"]))
    page = Template(_text("page.html")).substitute(
        style=(FOLDER.parent / "report.css").read_text(encoding="utf-8") + _text("page.css"),
        command=command.replace("&", "&amp;").replace("<", "&lt;"),
        versions=", ".join(f"{name} {version(name)}" for name in ("sapo-gates", "sympy", "python-flint")),
        plotly=_script(plotly),
        data=json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        scripts=_script("\n".join(_text(name) for name in SCRIPTS)),
    )
    write_text(output, page)
    return output


def plotly_script() -> str:
    """The plotting library that travels inside the page.

    Raises:
        FigureError: it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise FigureError(
            f"the page draws with plotly, which is not installed ({error}); install 'sapo-gates[analysis]'."
        ) from None
    return get_plotlyjs()


def described(given: str, gate: Gate, certificate: Certificate) -> dict[str, Any]:
    """A gate as the page reads it: its formulas as text, its parameters in floats, what was proved."""
    table = tomllib.loads(gate.text)["gate"]
    both = table.get(gate.kind)
    return {
        "name": gate.name,
        "says": gate.says,
        "group": next((group for group, module in GROUPS.items() if gate in vars(module).values()), "yours"),
        "draw": f"sapo-analysis curves {shlex.quote(given)} -o gate.png",
        "kind": gate.kind,
        "formulas": {sign: both or table[f"{gate.kind}_{sign[:3]}"] for sign in SIGNS},
        "parameters": [_parameter(parameter) for parameter in gate.parameters],
        "verdict": certificate.verdict,
        "scope": certificate.requirements[0].scope,
        "requirements": [_requirement(one) for one in certificate.requirements],
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    ends = {"lower": float(parameter.domain.lower), "upper": float(parameter.domain.upper)}
    return {
        "name": parameter.name,
        "says": parameter.says,
        "domain": str(parameter.domain),
        **{name: end if math.isfinite(end) else None for name, end in ends.items()},
        **{sign: float(parameter.value_for(sign)) for sign in SIGNS},
    }


def _requirement(one: Requirement) -> dict[str, Any]:
    witness = one.witness and {
        "kind": one.witness.kind,
        "r": one.witness.r,
        "parameters": one.witness.parameters,
        "enclosure": one.witness.enclosure,
        "why": one.witness.why,
    }
    return {"id": one.id, "sign": one.sign, "verdict": one.verdict, "witness": witness}


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _script(text: str) -> str:
    """The script with what would end its element spelled otherwise; a script's strings read the same."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
