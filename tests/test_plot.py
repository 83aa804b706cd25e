"""Pictures of certificates: what is drawn where, and what a user's mistake gets."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sapo_gates import Gate, certify
from sapo_gates.certificate import Certificate
from sapo_gates.cli import main
from sapo_gates.gatefile import parse_gate
from sapo_gates.plot import draw, save

NEEDLE = parse_gate("""[gate]
name = "needle"
weight = "sech(5*(r - 1))**2 + exp(-((r - 37)/1e-6)**2)/1e6"
""")


def marked(figure: Figure, kind: str) -> list[tuple[Axes, set[float]]]:
    """Each panel with a witness of the kind, and the ratios it is drawn at."""
    found = []
    for axes in figure.get_axes():
        lines = [line for line in axes.get_lines() if line.get_gid() == f"witness-{kind}"]
        if lines:
            found.append((axes, {float(x) for line in lines for x in line.get_xdata()}))  # type: ignore[union-attr]
    return found


def ratios(certificate: Certificate, kind: str) -> set[float]:
    """The ratios of all witnesses of the kind."""
    witnesses = [entry.witness for entry in certificate.requirements]
    return {float(Fraction(text)) for w in witnesses if w is not None and w.kind == kind for text in w.r}


@pytest.mark.parametrize(
    ("gate", "kind"),
    [("hard-clip", "jump"), ("hard-clip", "tail"), (NEEDLE, "pair"), ("spo", "point")],
)
def test_a_witness_is_drawn_at_its_ratios(gate: str | Gate, kind: str) -> None:
    certificate = certify(gate)
    panels = marked(draw(certificate), kind)
    assert panels
    assert ratios(certificate, kind) <= {x for _, xs in panels for x in xs}
    for axes, xs in panels:
        low, high = axes.get_xlim()
        assert low < min(xs)
        assert max(xs) <= high
        assert low < 1 < high


def test_a_bound_of_phi_next_to_zero_is_drawn_up_to_its_ratio() -> None:
    panels = marked(draw(certify("aspo", "trust-region")), "tail")
    assert {1 / 4, 3.0} <= {max(xs) if min(xs) < 1 else min(xs) for _, xs in panels}


def test_a_jump_is_drawn_from_limit_to_limit() -> None:
    (axes, _), *_ = marked(draw(certify("hard-clip")), "jump")
    heights = [line.get_ydata() for line in axes.get_lines() if line.get_marker() == "o"]
    assert [list(ys) for ys in heights] == [[1, 0]]  # type: ignore[arg-type]


def test_a_needle_gets_a_close_up_that_shows_it() -> None:
    (axes, _), *_ = marked(draw(certify(NEEDLE)), "pair")
    (inset,) = axes.child_axes
    curve = inset.get_lines()[0]
    assert max(curve.get_ydata()) > 0.9e-6  # type: ignore[arg-type]


def test_a_certified_gate_has_a_panel_for_each_sign_and_no_witness() -> None:
    figure = draw(certify("arctan"))
    assert [axes.get_title() for axes in figure.get_axes()] == ["drawn at tau = 10", "drawn at tau = 12"]
    assert not [line for axes in figure.get_axes() for line in axes.get_lines() if line.get_gid()]


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_certificate_gives_the_same_bytes(ending: str, tmp_path: Path) -> None:
    certificate = certify("hard-clip")
    for name in ("a", "b"):
        save(certificate, tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_the_command_says_in_the_picture_what_it_says_in_words(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "hard-clip.svg"
    assert main(["certify", "hard-clip", "--plot", str(path)]) == 1
    drawn = path.read_text(encoding="utf-8")
    says = "w jumps: from 1.00000 to 0 at r = 6/5"
    assert says in capsys.readouterr().out
    assert says in drawn
    assert 'id="witness-jump"' in drawn
    assert "✓ proved: unit-peak, monotone-decay, vanishing-score" in drawn


@pytest.mark.parametrize(
    ("path", "says"),
    [("a.gif", "'.gif' is none of .png, .svg, .pdf"), ("missing/a.png", "choose a folder that exists")],
)
def test_a_file_that_cannot_be_drawn_gets_one_line(path, says, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["certify", "arctan", "--plot", path]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_without_matplotlib_one_line_names_the_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from sapo_gates.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "certify", "arctan"]
    done = subprocess.run([*command, "--plot", str(tmp_path / "a.png")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "sapo-gates[analysis]" in done.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
