"""The whole way once: declare, prove, certify, look, train. Writes demo-out/; `make demo` runs it.

`--quick` trains on a few batches only and checks that everything runs, not that anything is learnt.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "agg"}

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sapo_gates import certify, load_gate
from sapo_gates.certificate import Certificate, load_certificate
from sapo_gates.errors import SapoGatesError
from sapo_gates.recheck import recheck

TRAINED = "arctan"
PAPER = ("sigmoid", "erf", "arctan", "softsign")
FOUR = ("continuously-differentiable", "unit-peak", "monotone-decay", "vanishing-score")
OUT = Path("demo-out")
CERTIFICATES, FIGURES, RUN, REPORT = OUT / "certificates", OUT / "figures", OUT / "run", OUT / "report.html"
QUICK = ("steps=3", "data.train.0.held_out=16", "sampling.prompts=2", "sampling.group_size=4")
console = Console(highlight=False)


class DemoFailed(Exception):
    """Something that should hold did not; one line."""


def main() -> int:
    """Run the five steps; exit code 0, or 1 with one line about what did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on a few batches only")
    quick = parser.parse_args().quick
    _clean()
    try:
        certificates = _step("1  Prove, for every tau > 0 and both signs of the advantage A", prove, own_view=True)
        _step("2  Write the certificates; an independent checker proves them again", lambda: check(certificates))
        _step("3  Draw the gates, at equal temperature and at equal half-width", draw)
        _step("4  Train SmolLM2-135M-Instruct to add, with the arctan gate", lambda: train(quick), own_view=True)
        _step("5  Report", report)
    except DemoFailed as failure:
        console.print(f"demo failed: {failure}", style="bold red", markup=False)
        return 1
    return 0


def _clean() -> None:
    """Take away what an earlier call wrote; nothing else in the folder is touched."""
    for folder in (CERTIFICATES, FIGURES, RUN):
        shutil.rmtree(folder, ignore_errors=True)
    REPORT.unlink(missing_ok=True)
    for folder in (CERTIFICATES, FIGURES):
        folder.mkdir(parents=True)


def _step(title: str, work: Callable[[], Any], *, own_view: bool = False) -> Any:
    """Do one step under its title; steps without a live view of their own get a spinner."""
    console.print(f"\n[bold]{title}[/bold]")
    start = time.perf_counter()
    with nullcontext() if own_view else console.status("working"):
        result = work()
    console.print(f"[dim]{time.perf_counter() - start:.1f} s[/dim]")
    return result


def _found(text: str) -> None:
    console.print(f"→ {text}", style="green", markup=False, soft_wrap=True)


def prove() -> list[Certificate]:
    """Certify the paper's four families and softsign-abs; see hard clipping refuted."""
    certificates: list[Certificate] = []
    table = Table(box=None, pad_edge=False)
    for column in ("gate", "verdict", *FOUR):
        table.add_column(column.replace("-", "-\n"))
    with Live(table, console=console):
        for name in (*PAPER, "softsign-abs", "hard-clip"):
            certificate = certify(name, profile="admissible")
            certificates.append(certificate)
            table.add_row(name, certificate.verdict, *(_verdicts(certificate, requirement) for requirement in FOUR))
    if not console.is_terminal:
        console.print()  # a live view ends its line on terminals alone
    *admissible, hard_clip = certificates
    for certificate in admissible:
        scopes = {requirement.scope for requirement in certificate.requirements}
        _expect(certificate.verdict == "certified", f"{certificate.gate.name} is {certificate.verdict}, not certified")
        _expect(scopes == {"for all tau in (0, oo)"}, f"{certificate.gate.name} is proved only {' and '.join(scopes)}")
    _expect(hard_clip.verdict == "refuted", f"hard-clip is {hard_clip.verdict}, not refuted")
    _found(f"{', '.join(c.gate.name for c in admissible)}: certified for all tau in (0, oo)")
    for requirement in hard_clip.requirements:
        if (witness := requirement.witness) is not None:
            at = ", ".join([f"r = {' and '.join(witness.r)}", *(f"{k} = {v}" for k, v in witness.parameters.items())])
            sign = "A > 0" if requirement.sign == "positive" else "A <= 0"
            _found(f"hard-clip, {sign}: {requirement.id} is refuted at {at}: {witness.why}")
    return certificates


def _verdicts(certificate: Certificate, requirement: str) -> str:
    verdicts = {r.sign: r.verdict for r in certificate.requirements if r.id == requirement}
    same = len(set(verdicts.values())) == 1
    return verdicts["positive"] if same else f"{verdicts['positive']} / {verdicts['negative']}"


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


def check(certificates: list[Certificate]) -> None:
    """Save every certificate, read it back, and evaluate its proofs again; sample the function that is trained with."""
    for certificate in certificates:
        path = CERTIFICATES / f"{certificate.gate.name}.json"
        kept = _sampled(certificate) if certificate.gate.name == TRAINED else certificate
        kept.save(path)
        try:
            recheck(path)
        except SapoGatesError as error:
            raise DemoFailed(f"recheck of {path}: {error}") from error
        _expect(load_certificate(path) == kept, f"{path} does not give its certificate back")
        console.print(f"{path}  {path.stat().st_size:,} bytes, {kept.digest[:19]}…, holds", soft_wrap=True)
    _found(f"all {len(certificates)} certificates hold, proofs and refutations alike")


def _sampled(certificate: Certificate) -> Certificate:
    """The certificate with samples of the exported torch function beside the proofs; they are no proofs."""
    from sapo_gates.torch import numerics, surrogate

    evidence = numerics.check(surrogate(certificate))
    _expect(all(entry["holds"] for entry in evidence), f"the torch function of {TRAINED} leaves its error bound")
    points, worst = sum(entry["examples"] for entry in evidence), max(entry["worst_ulp"] for entry in evidence)
    _found(f"the torch function of {TRAINED}, sampled at {points:,} points in 4 dtypes: at most {worst:.2f} ulp off")
    return certificate.with_numerics(evidence)


def draw() -> None:
    """Two figures for a paper: w and phi over r and log r, hard clipping behind; PNG, SVG, PDF and their data."""
    from sapo_analysis.curves import at_equal_half_width, at_equal_temperature, paper_figure
    from sapo_analysis.evaluate import half_widths
    from sapo_analysis.style import save

    gates, hard_clip = [load_gate(name) for name in PAPER], load_gate("hard-clip")
    equal_tau, equal_width = at_equal_temperature(gates, 10), at_equal_half_width(gates, "0.1")
    for name, drawn, title in (
        ("equal-temperature", equal_tau, "equal temperature, τ = 10; dots mark the half-width"),
        ("equal-half-width", equal_width, "equal half-width, h = 0.1"),
    ):
        panels = paper_figure(drawn, baseline=hard_clip, title=title)
        figure = panels[0].get_figure(root=True)
        assert figure is not None
        for path in save(figure, [FIGURES / f"{name}.{ending}" for ending in ("png", "svg", "pdf")], "make demo"):
            console.print(str(path), soft_wrap=True)
    widths = ", ".join(f"{gate.name} {half_widths(gate, 'positive')[1]:.3f}" for gate in equal_tau)
    _found(f"at tau = 10 the half-widths differ: {widths}")
    _found(f"equal half-width 0.1 needs {'; '.join(gate.name for gate in equal_width)}")


def train(quick: bool) -> None:
    """Train from the certificate that step 2 wrote; say what the gate did and what was learnt."""
    from sapo_train.config import build, load_recipe, merge, parse_flags
    from sapo_train.errors import Stopped, TrainError
    from sapo_train.run import RunConfig
    from sapo_train.run_folder import begin
    from sapo_train.summary import say
    from sapo_train.train import train as run_training

    flags = [f"--objective.gate={CERTIFICATES}/{TRAINED}.json", *(f"--{flag}" for flag in QUICK if quick)]
    try:
        run = build(RunConfig, merge(load_recipe("demo.yaml"), parse_flags(RunConfig, flags)))
        begin(RUN, run)
        summary = run_training(run, RUN)
    except TrainError as error:
        raise DemoFailed(f"training: {error}") from error
    except Stopped as stopped:
        raise DemoFailed(f"stopped; `sapo-train resume {RUN}` goes on from there") from stopped
    for line in say(summary):
        _found(line)
    _expect(summary["role"] == "certified", f"the gate trained as {summary['role']}, not as certified")
    if not quick:  # a few batches may hold no group whose rewards differ, and then nothing moves
        acting = summary["epochs"][1]["effective_update_ratio"]
        _expect(acting < 0.999, f"the gate never acted: EUR of the second epoch is {acting:.4f}")
        _learnt(summary["held_out"])


def _learnt(held: dict[str, Any]) -> None:
    low, rise = held["difference_interval"][0], held["difference"]
    _expect(
        low > 0, f"nothing was learnt: the paired interval of the accuracy's rise begins at {100 * low:+.1f} points"
    )
    reached = 0.15 <= held["before"] <= 0.6 and rise >= 0.2 and low > 0.1
    verdict = "reached" if reached else "NOT reached"
    _found(f"wanted: a start between 15 % and 60 %, a rise of 20 points or more, its interval above 10: {verdict}")


def report() -> None:
    """One self-contained page."""
    from sapo_analysis.report import write_report

    write_report([RUN], REPORT, certificates=CERTIFICATES, command="make demo")
    _found(f"open {REPORT} in a browser; {REPORT.stat().st_size / 1e6:.1f} MB, nothing is fetched")


if __name__ == "__main__":
    sys.exit(main())
