"""One self-contained HTML page about runs: what was proved of the gate, what it looks like, what the training did."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from sapo_analysis.arms import Arm, arms_of, differences, flat
from sapo_analysis.between import LAST, cautions, metric_differences
from sapo_analysis.curves import BRANCH, gate_curves, label
from sapo_analysis.errors import RunError
from sapo_analysis.runs import Run, as_trained, certificate_of, load_run, read_certificate
from sapo_analysis.style import COLOURS, inline_svg
from sapo_analysis.training import SAYS, accuracy_over_steps, metric_over_steps
from sapo_gates import Gate, load_gate
from sapo_gates.certificate import Certificate
from sapo_gates.gate import Kind
from sapo_gates.verdict import SIGNS

MARKS = {"proved": "✓ proved", "refuted": "✗ refuted", "undecided": "? undecided", "certified": "✓ certified"}
QUANTITIES: tuple[tuple[Kind, str], ...] = (("weight", "Gradient weight w"), ("score", "Score weight r w"))
IN_WORDS = {"positive": "A > 0", "negative": "A ≤ 0", "both": "both"}


def write_report(folders: Sequence[Path], output: Path, *, certificates: Path | None = None, command: str = "") -> Path:
    """Write the page about these runs and return where it is.

    certificates: a folder of certificates to show beside those of the runs.

    Raises:
        RunError: a folder is no run, a certificate cannot be read, or the page cannot be written.
    """
    runs = [load_run(folder) for folder in folders]
    own = [certificate_of(run) for run in runs]
    shown = _once([*own, *(read_certificate(path) for path in _in_folder(certificates))])
    title = "Run report: " + (", ".join(run.name for run in runs) if len(runs) < 4 else f"{len(runs)} runs")
    sections = [
        f"<h1>{_text(title)}</h1>",
        _outcomes(runs, own),
        _verdicts(shown),
        _curves(runs, own, shown),
        _training(runs),
        _held_out(runs),
        _between(runs, own),
        *(_samples(run) for run in runs),
        _configuration(runs),
        _papers(runs, shown, command),
    ]
    page = PAGE.format(
        title=_text(title),
        style=Path(__file__).with_name("report.css").read_text(encoding="utf-8"),
        body="\n".join(sections),
    )
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror or error}; choose a folder that exists.") from None
    return output


STYLE = Path(__file__).with_name("report.css")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="sapo-analysis">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """head and cells are HTML already; `numbers` are the columns set flush right."""
    lines = ["<tr>" + "".join(f'<th scope="col">{cell}</th>' for cell in head) + "</tr>"]
    for row in rows:
        cells = (f'<td class="number">{c}</td>' if k in numbers else f"<td>{c}</td>" for k, c in enumerate(row))
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _mark(verdict: str) -> str:
    return f'<span class="{_text(verdict)}">{_text(MARKS.get(verdict, verdict))}</span>'


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _in_folder(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give one that holds certificates.")
    return sorted(folder.glob("*.json"))


def _once(certificates: Sequence[Certificate | None]) -> list[Certificate]:
    """Each gate's certificate once, in the order given."""
    return list({c.gate.digest: c for c in reversed(certificates) if c is not None}.values())[::-1]


def _outcomes(runs: Sequence[Run], own: Sequence[Certificate | None]) -> str:
    """What came of one run in a row of tiles, of several in a table."""
    facts = [_facts(run, certificate) for run, certificate in zip(runs, own, strict=True)]
    going = [run.name for run in runs if run.summary is None]
    ended = ""
    if going:
        which = "This run" if len(runs) == 1 else ", ".join(going)
        ended = f'<p class="undecided">{_text(which)}: has not ended; here is what is written so far.</p>'
    if len(runs) == 1:
        tiles = (f'<div class="fact"><b>{_text(said)}</b><span>{_text(name)}</span></div>' for name, said in facts[0])
        return f'{ended}<div class="facts">{"".join(tiles)}</div>'
    head = list(dict.fromkeys(name for one in facts for name, _ in one))
    rows = [
        [f"<b>{_text(run.name)}</b>", *(_text(dict(one).get(name, "")) for name in head)]
        for run, one in zip(runs, facts, strict=True)
    ]
    return f'{ended}<div class="outcomes">{_table(["run", *map(_text, head)], rows)}</div>'


def _facts(run: Run, certificate: Certificate | None) -> list[tuple[str, str]]:
    """The run's outcome, each as a name and what is said."""
    summary = run.summary or {}
    unbroken = str.maketrans({" ": "\N{NO-BREAK SPACE}"})
    facts = [("gate", label(as_trained(certificate.gate, run)).translate(unbroken))] if certificate else []
    facts += [("verdict, role", f"{summary['verdict']}, {run.role}")] if summary else []
    if held := summary.get("held_out"):
        low, high = held["difference_interval"]
        facts.append(("held-out accuracy", f"{_share(held['before'])} → {_share(held['after'])}"))
        gain = f"{100 * held['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        facts.append((f"gain, 95 %, {held['problems']} problems", gain))
    for epoch in summary.get("epochs", [])[1:]:
        facts.append((f"EUR in epoch {epoch['epoch']}", f"{epoch['effective_update_ratio']:.3f}"))
    if "training_seconds" in summary:
        facts.append((f"training, {summary['updates']} updates", f"{summary['training_seconds'] / 60:.1f} min"))
    return facts


def _verdicts(certificates: Sequence[Certificate]) -> str:
    if not certificates:
        return "<h2>Proofs</h2><p>No certificate was found beside the runs.</p>"
    ids = list(dict.fromkeys(requirement.id for c in certificates for requirement in c.requirements))
    matrix = [
        [f"<b>{_text(c.gate.name)}</b>", _mark(c.verdict), *(_both_signs(c, requirement) for requirement in ids)]
        for c in certificates
    ]
    every = [(_text(c.gate.name), requirement) for c in certificates for requirement in c.requirements]
    full = [
        [gate, _text(r.id), IN_WORDS[r.sign], _mark(r.verdict), _text(r.scope), _text(r.method), _witness(r)]
        for gate, r in every
    ]
    refuted = "".join(
        f"<li><b>{gate}</b>, {_text(r.id)}, {IN_WORDS[r.sign]}: {_witness(r)}</li>"
        for gate, r in every
        if r.verdict == "refuted"
    )
    return (
        "<h2>What is proved of the gates</h2>"
        + _table(["gate", "verdict", *map(_text, ids)], matrix)
        + (f"<h3>Refuted: where, and why</h3><ul>{refuted}</ul>" if refuted else "")
        + "<details><summary>Every requirement, with scope and method</summary>"
        + _table(["gate", "requirement", "sign", "verdict", "scope", "method", "witness"], full)
        + "</details>"
    )


def _both_signs(certificate: Certificate, requirement: str) -> str:
    """One mark where both signs have the same verdict, else one for each."""
    verdicts = {r.sign: r.verdict for r in certificate.requirements if r.id == requirement}
    if len(set(verdicts.values())) == 1:
        return _mark(next(iter(verdicts.values())))
    return "<br>".join(f"{_mark(verdict)} {IN_WORDS[sign]}" for sign, verdict in verdicts.items())


def _witness(requirement: Any) -> str:
    witness = requirement.witness
    if witness is None:
        return ""
    at = ", ".join([f"r = {' and '.join(witness.r)}", *(f"{k} = {v}" for k, v in witness.parameters.items())])
    return f"at {_text(at)}: {_text(witness.why)}"


def _drawn(axes: Axes, says: str) -> str:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return f"<figure>{inline_svg(figure, says)}</figure>"


def _key(names: Sequence[str], *, grey: str = "") -> str:
    styles = ("solid", "dashed", "dotted", "dashed")
    lines = [f"border-color:var(--c{k % len(COLOURS)});border-top-style:{styles[k % 4]}" for k in range(len(names))]
    items = [f'<li><i style="{line}"></i>{_text(name)}</li>' for line, name in zip(lines, names, strict=True)]
    items += [f'<li><i style="border-color:var(--pale)"></i>{_text(grey)}</li>'] if grey else []
    return f'<ul class="key">{"".join(items)}</ul>'


def _curves(runs: Sequence[Run], own: Sequence[Certificate | None], certificates: Sequence[Certificate]) -> str:
    """w and phi at the values the runs train with; certificates that no run uses at their gates' own trained values."""
    gates: dict[str, Gate] = {}
    for run, certificate in zip(runs, own, strict=True):
        if certificate is not None:
            gates.setdefault(certificate.gate.name, as_trained(certificate.gate, run))
    for certificate in certificates:
        if certificate.verdict == "certified":
            gates.setdefault(certificate.gate.name, certificate.gate)
    if not gates:
        return ""
    baseline = None if "hard-clip" in gates else load_gate("hard-clip")
    panels = []
    for sign in SIGNS:
        for quantity, says in QUANTITIES:
            for axis in ("ratio", "log-ratio"):
                axes = gate_curves(list(gates.values()), quantity, axis, sign, baseline=baseline)
                axes.set_title(BRANCH[sign], loc="left")
                panels.append(_drawn(axes, f"{says} over the {axis}, {IN_WORDS[sign]}, for {', '.join(gates)}"))
    return (
        "<h2>The gates</h2><p>Gradient weight w = df/dr, and score weight φ = r w, which multiplies A∇log π. "
        "Dots mark where w has fallen to ½. Where two temperatures are given, they are those for A &gt; 0 / A ≤ 0.</p>"
        + _key([label(gate) for gate in gates.values()], grey="hard clip, ε = 0.2" if baseline else "")
        + f'<div class="figures gates">{"".join(panels)}</div>'
    )


def _training(runs: Sequence[Run]) -> str:
    arms = arms_of([run for run in runs if run.metrics])
    if not arms:
        return "<h2>Training</h2><p>No update has been written yet.</p>"
    drawn = [run for arm in arms for run in arm.runs]
    panels = []
    if any(run.evaluations for run in drawn):
        panels.append(_drawn(accuracy_over_steps(arms), "Held-out accuracy over batch steps"))
    for key, says in SAYS.items():
        if any(key in row for run in drawn for row in (*run.metrics, *run.timings)):
            panels.append(_drawn(metric_over_steps(arms, key), f"{says} over batch steps"))
    seeds = " Lines are means over seeds, bands reach from the least to the most." if len(arms) < len(drawn) else ""
    return (
        "<h2>Training</h2><p>The last epoch's update of each batch: in the first every ratio is 1 and no gate acts."
        f"{seeds}</p>"
        + (_key([arm.name for arm in arms]) if len(arms) > 1 else "")
        + f'<div class="figures">{"".join(panels)}</div>'
    )


def _held_out(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        if held := (run.summary or {}).get("held_out"):
            cells = [_text(run.name), str(held["problems"])]
            for when in ("before", "after"):
                low, high = held[f"{when}_interval"]
                cells.append(f"{_share(held[when])} [{100 * low:.1f}, {100 * high:.1f}]")
            low, high = held["difference_interval"]
            said = "rises" if low > 0 else "falls" if high < 0 else "cannot be told from no change"
            cells += [f"{100 * held['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]", said]
            rows.append(cells)
    if not rows:
        return ""
    head = ["run", "problems", "before", "after", "paired difference", "accuracy"]
    note = "In brackets 95 % intervals: of an accuracy Wilson's, of the paired difference by bootstrap over problems."
    return f'<h2>Held-out accuracy</h2>{_table(head, rows, (1, 2, 3, 4))}<p class="soft">{note}</p>'


def _between(runs: Sequence[Run], own: Sequence[Certificate | None]) -> str:
    """What keeps a difference between arms from being the gates'; then paired differences, and which can be told."""
    arms = arms_of(runs)
    trained = {id(run): as_trained(c.gate, run) for run, c in zip(runs, own, strict=True) if c is not None}
    gates = {arm.name: trained[id(arm.runs[0])] for arm in arms if id(arm.runs[0]) in trained}
    warned = "".join(f"<li>{_text(caution)}</li>" for caution in cautions(arms, gates))
    tables = _accuracies(arms) + _metrics(arms)
    if not warned and not tables:
        return ""
    return "<h2>Between runs</h2>" + (f'<ul class="cautions">{warned}</ul>' if warned else "") + tables


def _accuracies(arms: Sequence[Arm]) -> str:
    rows = [
        [
            f"{_text(found.first)} against {_text(found.second)}",
            str(found.step),
            f"{found.seeds} × {found.problems}",
            f"{100 * found.mean:+.1f} points",
            _points(found.over_problems),
            UNKNOWN if found.over_seeds is None else _points(found.over_seeds),
            _said(found.verdict),
        ]
        for found in differences(arms)
    ]
    if not rows:
        return ""
    head = ["accuracy", "after step", "seeds × problems", "difference", "for other problems", "for other seeds", ""]
    note = (
        "Paired by seed and problem. In brackets intervals that hold all at once with 95 % (Bonferroni): over problems "
        "by bootstrap, over seeds by Student's t. A difference counts as one only where both exclude 0; one seed alone "
        "never shows one."
    )
    return _table(head, rows, (1, 2, 3, 4, 5)) + f'<p class="soft">{note}</p>'


def _metrics(arms: Sequence[Arm]) -> str:
    rows = [
        [
            _text(SAYS[found.key].replace("$", "").replace(r"\mathrm{Var}_t(\log r)", "Var(log r)")),
            f"{_text(found.first)} against {_text(found.second)}",
            str(found.seeds),
            " / ".join(f"{mean:.4g}" for mean in found.means),
            f"{found.difference:+.3g}",
            UNKNOWN if found.interval is None else "[{:+.3g}, {:+.3g}]".format(*found.interval),
            _said(found.verdict),
        ]
        for found in metric_differences(arms)
    ]
    if not rows:
        return ""
    head = ["metric", "arms", "seeds", "means", "difference", "for other seeds", ""]
    note = (
        f"Of each seed the mean over the last {LAST:.0%} of the batch steps that both arms have. In brackets intervals "
        "by Student's t over seeds that hold all at once with 95 % (Bonferroni)."
    )
    return _table(head, rows, (2, 3, 4, 5)) + f'<p class="soft">{note}</p>'


UNKNOWN = "not known"


def _said(verdict: str) -> str:
    return verdict if verdict.startswith("cannot") else f"<b>the first is {verdict}</b>"


def _points(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"


def _samples(run: Run, count: int = 6) -> str:
    """The first completions of the first and of the last batch step; not chosen by what they say."""
    if not run.samples:
        return ""
    parts = [f"<h2>Sample completions of {_text(run.name)}</h2>"]
    for step in dict.fromkeys((min(run.samples), max(run.samples))):
        chosen = run.samples[step][:: max(1, len(run.samples[step]) // count)][:count]
        rows = [
            [
                _text(row["question"]),
                f"<code>{_text(_shown(row['completion']))}</code>",
                _text(row.get("answer", "")),
                f"{row['reward']:g}",
                f"{row['advantage']:+.2f}" if row.get("advantage") is not None else "",
            ]
            for row in chosen
        ]
        parts.append(f"<h3>Batch step {step}</h3>")
        parts.append(_table(["question", "completion", "answer", "reward", "advantage"], rows, (3, 4)))
    return "".join(parts)


def _shown(completion: str, limit: int = 400) -> str:
    """The text with what cannot be shown escaped, and long ones cut."""
    clean = "".join(c if c.isprintable() or c in "\n\t" else "\N{MIDDLE DOT}" for c in completion)
    return clean if len(clean) <= limit else clean[:limit] + f" … ({len(clean)} characters)"


def _configuration(runs: Sequence[Run]) -> str:
    """Every run's settings, and before them those in which the runs differ."""
    parts = ["<h2>Configuration</h2>"]
    if len(runs) > 1:
        settings_of = [flat(run.config) for run in runs]
        keys = dict.fromkeys(key for settings in settings_of for key in settings)
        rows = [[_text(key), *(_text(settings.get(key, "—")) for settings in settings_of)] for key in keys]
        differing = [row for row in rows if len(set(row[1:])) > 1]
        head = ["differs", *(_text(run.name) for run in runs)]
        parts.append(_table(head, differing) if differing else "<p>The settings of the runs are the same.</p>")
    for run in runs:
        parts.append(f"<details><summary>{_text(run.name)}</summary><pre>{_text(run.config_text)}</pre></details>")
    return "".join(parts)


def _papers(runs: Sequence[Run], certificates: Sequence[Certificate], command: str) -> str:
    rows = [
        [_text(c.gate.name), _mark(c.verdict), _text(c.profile), f"<code>{_text(c.digest)}</code>"]
        for c in certificates
    ]
    roles = "".join(f"<li>{_text(run.name)}: the gate trains as <b>{_text(run.role)}</b></li>" for run in runs)
    made = f'<p class="soft">Made by <code>{_text(command)}</code></p>' if command else ""
    table = _table(["gate", "verdict", "profile", "digest"], rows) if rows else ""
    return f"<h2>Certificates</h2>{table}<ul>{roles}</ul>{made}"
