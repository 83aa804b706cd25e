"""Writes docs/gallery, a page for every family and one of them all: `make docs`.

The curves are the formula's, the verdicts the prover's, the numbers the datasheet's; nothing is typed.
"""

import html
import os
from collections.abc import Sequence
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sapo_analysis.curves import gate_curves, signs_figure
from sapo_analysis.style import figure_of, house_style
from sapo_gates import FAMILIES, Certificate, Gate, certify, load_gate
from sapo_gates.certificate import Requirement
from sapo_gates.datasheet import Entry, datasheet
from sapo_gates.requirements import ADMISSIBLE, TRUST_REGION
from sapo_gates.verdict import SIGNS, Sign

GALLERY = Path(__file__).parent / "gallery"
CONDITION = {"positive": "A > 0", "negative": "A ≤ 0"}
MARKS = {"proved": "✓", "refuted": "✗", "undecided": "?"}
SPECIAL = str.maketrans({character: f"&#{ord(character)};" for character in "|*_[]`"})

HEAD = f"""# All families

The weight w of every named gate at its trained parameters, hard clipping in grey behind it: left where A > 0, right
where A ≤ 0. A ✓ is a proof for every r > 0 and every parameter in its domain: of the {len(ADMISSIBLE)} requirements of
`admissible`, or of the {len(TRUST_REGION)} of `trust-region` ([requirements](../requirements.md)). What is named beside
a ✗ is refuted; the family's page has the counterexample.

This page and those it leads to are written by `docs/make_gallery.py`.

"""


def plain(text: str) -> str:
    """The text, with nothing in it that Markdown would read."""
    return html.escape(text, quote=False).translate(SPECIAL)


def code(text: str) -> str:
    """The text as code, fit for the cell of a table."""
    return f"<code>{plain(text)}</code>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def heading(gate: Gate, sign: Sign) -> str:
    """The sign of A, and the parameters that the numbers are for."""
    values = [f"{p.name} = {p.value_for(sign)}" for p in gate.parameters_for(sign)]
    return ", ".join([CONDITION[sign], *values])


def entries(certificate: Certificate, sign: Sign) -> list[Requirement]:
    """The answers for one sign of A."""
    return [entry for entry in certificate.requirements if entry.sign == sign]


def verdicts(certificate: Certificate) -> str:
    """Every requirement for both signs, and each counterexample."""
    rows = [
        [f"[{both[0].id}](../requirements.md#{both[0].id})", *(f"{MARKS[e.verdict]} {e.verdict}" for e in both)]
        for both in zip(*(entries(certificate, sign) for sign in SIGNS), strict=True)
    ]
    scopes = [plain(f"{CONDITION[sign]}, {entries(certificate, sign)[0].scope}") for sign in SIGNS]
    open_ends = [
        f"- {CONDITION[entry.sign]}, {entry.id}: {plain(entry.says)}; {found(entry)}.\n"
        for entry in certificate.requirements
        if entry.verdict != "proved"
    ]
    return "\n".join([table(["", *scopes], rows), "".join(open_ends)])


def found(entry: Requirement) -> str:
    """Where a requirement fails, as the certificate has it."""
    witness = entry.witness
    if witness is None:
        return entry.verdict
    at = [f"r = {', '.join(witness.r)}", *(f"{name} = {value}" for name, value in witness.parameters.items())]
    enclosed = ", ".join(f"[{low}, {high}]" for low, high in witness.enclosure)
    return plain(f"a {witness.kind} at {', '.join(at)}") + (f", enclosed in {plain(enclosed)}" if enclosed else "")


def number(entry: Entry) -> str:
    """An entry of the datasheet: its enclosure, closed form and words, as far as it has them."""
    bounds = "" if entry["enclosure"] is None else plain("[{}, {}]".format(*entry["enclosure"]))
    closed = "" if entry["closed_form"] is None else code(entry["closed_form"])
    return "; ".join(part for part in (bounds, closed, plain(entry.get("says") or "")) if part)


def sheet(gate: Gate) -> str:
    """The datasheet of both signs side by side."""
    positive, negative = datasheet(gate).values()
    rows = [[name.replace("_", " "), number(entry), number(negative[name])] for name, entry in positive.items()]
    return table(["", *(plain(heading(gate, sign)) for sign in SIGNS)], rows)


def page(certificate: Certificate) -> str:
    """One family."""
    gate = certificate.gate
    parts = [
        f"# {gate.name}",
        f"{plain(gate.says)}. Source: {plain(gate.source)}.",
        f"![{gate.name}: value, weight and score weight over the ratio]({gate.name}.svg)",
        f"## Declaration\n\n```toml\n{gate.text}```",
        f"## Verdicts\n\n{verdicts(certificate)}",
        f"`sapo-gates certify {gate.name} --profile trust-region` proves it again.",
        "## Datasheet",
        f"Each number is enclosed with proof ([what they are](../concepts.md#the-datasheet)).\n\n{sheet(gate)}",
    ]
    return "\n\n".join(parts)


def answer(certificate: Certificate, sign: Sign) -> str:
    """The verdicts on one sign in a line."""
    answers = entries(certificate, sign)
    short = [entry for entry in answers if entry.verdict != "proved"]
    if not short:
        return "✓ trust-region"
    basic = {module.ID for module in ADMISSIBLE}
    holds = not any(entry.id in basic for entry in short)
    missing = [f"{MARKS[entry.verdict]} {entry.id}" for entry in short]
    return "<br>".join(["✓ admissible"] * holds + missing)


def index(certificates: Sequence[Certificate]) -> str:
    """All families in reading order."""
    rows = []
    for certificate in certificates:
        gate = certificate.gate
        says = f"[{gate.name}]({gate.name}.md)<br>{plain(gate.says)}"
        picture = f"![weight of {gate.name}]({gate.name}-small.png)"
        rows.append([says, picture, *(answer(certificate, sign) for sign in SIGNS), plain(gate.source)])
    return HEAD + table(["gate", "w over r", *CONDITION.values(), "source"], rows)


def picture(gate: Gate, baseline: Gate) -> Figure:
    """Value, weight and score weight."""
    return figure_of(signs_figure([gate], baseline=baseline))


def small_picture(gate: Gate, baseline: Gate) -> Figure:
    """The weight alone, for each sign of A."""
    with house_style():
        figure, panels = plt.subplots(1, len(SIGNS), figsize=(2.4, 0.9))
        for sign, axes in zip(SIGNS, panels, strict=True):
            gate_curves([gate], "weight", "ratio", sign, baseline=baseline, ax=axes)
            axes.set(xlabel="", ylabel="", xticks=[1], yticks=[0, 1], ylim=(-0.5, 1.6))
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture and let go of it."""
    with house_style():
        figure.savefig(path, dpi=160)
    plt.close(figure)


def write(folder: Path, gates: Sequence[Gate] = FAMILIES) -> None:
    """The pages and pictures of the gates, into the folder."""
    folder.mkdir(exist_ok=True)
    baseline = load_gate("hard-clip")
    certificates = [certify(gate, "trust-region") for gate in gates]
    for certificate in certificates:
        gate = certificate.gate
        save(picture(gate, baseline), folder / f"{gate.name}.svg")
        save(small_picture(gate, baseline), folder / f"{gate.name}-small.png")
        (folder / f"{gate.name}.md").write_text(page(certificate), encoding="utf-8")
    (folder / "index.md").write_text(index(certificates), encoding="utf-8")


if __name__ == "__main__":
    write(GALLERY)
