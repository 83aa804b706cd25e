"""The explorer page: what it says is what Python says, and it needs nothing else. Driven in a real Chromium."""

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from safetensors.torch import load_file

from sapo_analysis.cli import main
from sapo_analysis.evaluate import evaluate, half_widths
from sapo_analysis.explorer import write_explorer
from sapo_gates import FAMILIES, Gate, load_gate
from sapo_gates.calibrate import LogRatios, calibrate
from sapo_gates.gate import Kind
from sapo_gates.gatefile import parse_gate
from sapo_gates.verdict import SIGNS, Sign
from sapo_train.cli import main as trainer

ARCTAN = "1 + atan(tau*(r - 1))/tau"
QUANTITIES: tuple[Kind, ...] = ("weight", "score", "value")
UNKNOWN_TO_THE_PAGE = '[gate]\nname = "bessel-like"\nweight = "gamma(r)"\n'


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about three gates."""
    return write_explorer(["sigmoid", "arctan", "hard-clip"], tmp_path_factory.mktemp("pages") / "few.html")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about every family."""
    path = tmp_path_factory.mktemp("pages") / "whole.html"
    assert main(["explore", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; Playwright brings none of its own."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail(
            "no chromium on this machine; `make test-browser` as root installs it, or: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Opened:
    """A page in the browser, with everything it complained about or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def drawn(self) -> None:
        """Wait until the page has drawn what was changed."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def curve(self, gate: str, quantity: str, sign: str) -> tuple[np.ndarray, np.ndarray]:
        """What the panel shows of a gate: x and y."""
        self.drawn()
        x, y = self.page.evaluate(
            "([plot, name]) => { const t = document.getElementById(plot).data.find(t => t.name === name); "
            "return [[...t.x], [...t.y]]; }",
            [f"{quantity}-{sign}", gate],
        )
        return np.array(x), np.array(y)

    def number(self, what: str) -> float:
        """A cell of the table of numbers, unrounded."""
        self.drawn()
        return float(str(self.page.get_attribute(f'[data-number="{what}"]', "data-exact")))


@pytest.fixture
def look(browser: Browser) -> Iterator[Any]:
    """Opens pages; afterwards none may have complained, and none asked for anything but itself."""
    opened: list[Opened] = []

    def open_page(path: Path, **options: Any) -> Opened:
        context = browser.new_context(**options)
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.complaints.append(f"{message.type}: {message.text}"))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.goto(path.as_uri())
        one.drawn()
        opened.append(one)
        return one

    yield open_page
    for one in opened:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:", "blob:"))] == []
        one.page.context.close()


def test_the_page_names_no_other_machine_and_keeps_the_browser_from_asking_one(few: Path) -> None:
    text = few.read_text(encoding="utf-8")
    own = text.replace(re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0], "")  # but for the plotting library
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!["']?data:)""", own)
    assert "://" not in own
    assert "default-src 'none'" in own


def test_two_gates_of_one_name_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "arctan", "arctan", "-o", str(tmp_path / "e.html")]) == 2
    assert capsys.readouterr().err == (
        "FigureError: two gates are called 'arctan', the second is arctan; rename one.\n"
    )


def test_a_folder_that_does_not_exist_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "arctan", "-o", str(tmp_path / "none" / "e.html")]) == 2
    assert "choose a folder that exists" in capsys.readouterr().err


@pytest.mark.browser
def test_every_family_is_computed_as_python_computes_it(look: Any, whole: Path) -> None:
    opened: Opened = look(whole)
    z = np.sort(np.append(np.linspace(-3.03, 3.07, 25), np.linspace(-0.31, 0.33, 24)))
    found = opened.page.evaluate(
        """z => Object.fromEntries(PAGE.gates.map(gate => [gate.name, Object.fromEntries(
            ["positive", "negative"].map(sign => {
              const names = gate.parameters.map(p => p.name);
              const numbers = Object.fromEntries(gate.parameters.map(p => [p.name, p[sign]]));
              const formula = GateLanguage.parse(gate.formulas[sign], names);
              const branch = new GateCurve.Branch(gate.kind, formula, numbers);
              return [sign, {weight: z.map(x => branch.weight(x)), score: z.map(x => branch.score(x)),
                             value: branch.values(z), halves: GateCurve.halfWidths(branch)}];
            }))]))""",
        z.tolist(),
    )
    assert list(found) == [gate.name for gate in FAMILIES]
    for gate in FAMILIES:
        for sign in SIGNS:
            numbers = found[gate.name][sign]
            assert _halves(numbers["halves"]) == pytest.approx(_halves(half_widths(gate, sign)), rel=1e-6)
            for quantity in QUANTITIES:
                exact = _values(gate, sign, z) if quantity == "value" else evaluate(gate, sign, quantity, np.exp(z))
                assert numbers[quantity] == pytest.approx(exact, rel=1e-6, abs=1e-6), (gate.name, sign, quantity)


def _halves(found: Any) -> list[float]:
    return [-1.0 if h is None else h for h in found]


def _values(gate: Gate, sign: Sign, z: np.ndarray) -> np.ndarray:
    """Python integrates between neighbours: with the corners of the families among them, none is stepped over."""
    halved = [1 - 1 / 10, 1 + 1 / 10, 1 - 1 / 12, 1 + 1 / 12, *(1 + s * a / t for s in (-1, 1) for a, t in SCAD)]
    corners = [1 / 3, 3, 5, 0.8, 1.2, 1.28, 0.75, 1.25, *halved]
    return evaluate(gate, sign, "value", np.append(np.exp(z), corners))[: len(z)]


SCAD = ((3.7, 10), (3.7, 12))


@pytest.mark.browser
def test_moved_by_keyboard_or_as_a_number_a_slider_draws_the_gate_at_that_temperature(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    opened.page.focus("#slider-tau-positive")
    for _ in range(7):
        opened.page.keyboard.press("ArrowRight")
    opened.page.fill("#slider-tau-negative-number", "3.25")
    moved = float(opened.page.input_value("#slider-tau-positive-number"))
    assert moved > 10
    for gate in (load_gate("sigmoid"), load_gate("arctan")):
        bound = gate.bind(positive={"tau": str(moved)}, negative={"tau": "3.25"})
        for sign in SIGNS:
            for quantity in QUANTITIES:
                ratio, drawn = opened.curve(gate.name, quantity, sign)
                assert drawn == pytest.approx(evaluate(bound, sign, quantity, ratio), rel=1e-6, abs=1e-6)
            assert opened.number(f"{gate.name} {sign} right") == pytest.approx(half_widths(bound, sign)[1], rel=1e-6)


@pytest.mark.browser
def test_a_number_outside_the_domain_is_told_and_moves_no_curve(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    before = opened.curve("arctan", "weight", "positive")[1]
    opened.page.fill("#slider-tau-positive-number", "-1")
    assert "must lie in (0, oo)" in opened.page.inner_text("#sliders")
    assert opened.curve("arctan", "weight", "positive")[1].tolist() == before.tolist()


@pytest.mark.browser
def test_a_removable_singularity_is_filled_by_its_limit(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    opened.page.check("input[name=kind][value=weight]")
    opened.page.fill("#formula", "tanh(tau*(r - 1))/(tau*(r - 1))")
    ratio, drawn = opened.curve("typed here", "weight", "positive")
    assert 1.0 in ratio
    u = 10 * (ratio - 1)
    assert drawn == pytest.approx(np.divide(np.tanh(u), u, out=np.ones_like(u), where=u != 0), abs=1e-6)


@pytest.mark.browser
def test_over_the_log_ratio_the_same_curve_is_drawn(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    opened.page.check("input[value=log-ratio]")
    z, drawn = opened.curve("arctan", "score", "negative")
    assert z[0] == -z[-1] < 0
    assert drawn == pytest.approx(evaluate(load_gate("arctan"), "negative", "score", np.exp(z)), rel=1e-9, abs=1e-12)


@pytest.mark.browser
@pytest.mark.parametrize("kind", QUANTITIES)
def test_a_typed_formula_is_the_built_in_of_that_formula_and_says_that_nothing_was_proved(
    look: Any, few: Path, kind: Kind
) -> None:
    weight = "1/(1 + (tau*(r - 1))^2)"
    opened: Opened = look(few)
    opened.page.check(f"input[name=kind][value={kind}]")
    opened.page.fill("#formula", {"value": ARCTAN, "weight": weight, "score": f"r*{weight}"}[kind])
    for sign in SIGNS:
        for quantity in QUANTITIES:
            _, typed = opened.curve("typed here", quantity, sign)
            _, built_in = opened.curve("arctan", quantity, sign)
            assert typed == pytest.approx(built_in, rel=1e-9, abs=1e-9)
    assert "not certified" in opened.page.inner_text("#verdicts")
    assert "sapo-gates certify typed.toml" in opened.page.inner_text("#uncertified")
    gate = parse_gate(str(opened.page.text_content("#gate-file")))
    assert (gate.kind, gate.name) == (kind, "typed")
    assert [str(gate.parameter("tau").value_for(sign)) for sign in SIGNS] == ["10", "12"]


BROKEN = {
    "1 + atan(tua*(r - 1))/tau": "unknown name 'tua'.*Did you mean 'tau'",
    "1 + atn(tau*(r - 1))/tau": "unknown function 'atn'.*Did you mean 'atan'",
    "1 + atan(tau*(r - 1)": "the end is not expected there",
    "r < 1": "a condition stands where a number belongs",
    "Piecewise((r, r < 1), (1, r > 1))": "ends with .value, True.",
    "gamma(r)": "sapo-analysis curves typed.toml",
    "log(r - 2)": "no number at r = 1",
    "constructor": "unknown name 'constructor'",
    "": "^$",
}


@pytest.mark.browser
def test_a_broken_formula_is_told_and_breaks_nothing(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    before = opened.curve("arctan", "weight", "positive")[1]
    for formula, says in BROKEN.items():
        opened.page.fill("#formula", ARCTAN)
        opened.drawn()
        assert "typed here" in opened.page.inner_text("#key")
        opened.page.fill("#formula", formula)
        assert re.search(says, opened.page.inner_text("#formula-says")), formula
        assert opened.curve("arctan", "weight", "positive")[1].tolist() == before.tolist()
        assert "typed here" not in opened.page.inner_text("#key")
        assert (opened.page.get_attribute("#formula", "aria-invalid") == "true") == bool(formula)


@pytest.mark.browser
def test_a_log_normal_gives_the_effective_update_ratio_that_is_proved(look: Any, few: Path) -> None:
    """Calibrate encloses the tau at which arctan has that EUR; hard clipping's is a normal distribution's share."""
    opened: Opened = look(few)
    opened.page.fill("#slider-spread-number", "0.2")
    eur = opened.number("arctan positive eur")
    found = calibrate(load_gate("arctan"), "positive", eur=f"{eur:.12f}", log_ratios=LogRatios.normal(0, "0.2"))
    assert (float(found.lower) + float(found.upper)) / 2 == pytest.approx(10, rel=1e-6)
    below = 0.5 * math.erfc(-math.log(1.2) / 0.2 / math.sqrt(2))
    assert opened.number("hard-clip positive eur") == pytest.approx(below, abs=1e-7)


@pytest.mark.browser
@pytest.mark.parametrize("shape", ["histogram", "list", "lines"])
def test_a_dropped_file_gives_the_means_that_python_computes(look: Any, few: Path, tmp_path: Path, shape: str) -> None:
    z = np.random.default_rng(0).normal(0.01, 0.15, 500)
    counts, edges = np.histogram(z, bins=40)
    path = tmp_path / "ratios.json"
    if shape == "histogram":
        path.write_text(json.dumps({"edges": edges.tolist(), "counts": counts.tolist()}))
        z, shares = (edges[1:] + edges[:-1]) / 2, counts / counts.sum()
    else:
        shares = np.full(len(z), 1 / len(z))
        rows = [json.dumps({"log_ratio": part.tolist()}) for part in np.split(z, 5)]
        path.write_text(json.dumps(z.tolist()) if shape == "list" else "\n".join(rows) + "\n")
    opened: Opened = look(few)
    opened.page.set_input_files("#file", path)
    opened.page.get_by_text("ratios.json:").wait_for()
    for sign in SIGNS:
        gate = load_gate("arctan")
        w, phi = (evaluate(gate, sign, quantity, np.exp(z)) for quantity in ("weight", "score"))
        assert opened.number(f"arctan {sign} eur") == pytest.approx((shares * w).sum(), rel=1e-9)
        pulled = (shares * phi).sum() ** 2 / (shares * phi**2).sum()
        assert opened.number(f"arctan {sign} ess") == pytest.approx(pulled, rel=1e-9)


DROP = """([name, content]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
    document.querySelector("#drop label").dispatchEvent(event);
    if (kind === "dragover") window.over = [event.defaultPrevented, document.getElementById("drop").className];
  }
}"""


def drop(opened: Opened, path: Path, content: bytes | None = None) -> str:
    """Drag a file over the page and let it go; what the page says of it."""
    encoded = base64.b64encode(path.read_bytes() if content is None else content).decode()
    opened.page.evaluate(DROP, [path.name, encoded])
    opened.page.get_by_text(f"{path.name}:").wait_for()
    assert opened.page.evaluate("window.over") == [True, "over"]  # the page takes it, and shows that it does
    assert opened.page.get_attribute("#drop", "class") == ""
    return opened.page.inner_text("#ratios-say")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the trainer that kept its log-ratios."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert trainer(["run", "smoke.yaml", "--steps=2", "--ratios.every=1", "--out", str(folder)]) == 0
    return folder


@pytest.mark.browser
def test_the_metrics_of_a_real_run_are_dropped_on_the_page(look: Any, few: Path, run: Path) -> None:
    opened: Opened = look(few)
    assert "metrics of 2 updates of the last epoch" in drop(opened, run / "metrics.jsonl")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["epoch"] == 2]
    mean = np.mean([row["log_ratio_mean"] for row in last])
    std = np.mean([row["log_ratio_var"] + row["log_ratio_mean"] ** 2 for row in last]) - mean**2
    u, weights = np.polynomial.hermite_e.hermegauss(180)
    w = evaluate(load_gate("sigmoid"), "positive", "weight", np.exp(mean + std**0.5 * u))
    eur = opened.number("sigmoid positive eur")
    assert eur == pytest.approx(float((weights * w).sum() / weights.sum()), rel=1e-5)
    opened.page.click("#normal")
    assert opened.number("sigmoid positive eur") != eur


@pytest.mark.browser
def test_the_log_ratios_that_a_real_run_kept_are_dropped_on_the_page(look: Any, few: Path, run: Path) -> None:
    opened: Opened = look(few)
    path = run / "ratios" / "step-2.safetensors"
    says = drop(opened, path)
    kept = load_file(path)
    z = kept["log_ratio"][-1][kept["counts"].bool()].double().numpy()
    assert f"{len(z)} log-ratios" in says
    exact = evaluate(load_gate("arctan"), "negative", "weight", np.exp(z)).mean()
    assert opened.number("arctan negative eur") == pytest.approx(exact, rel=1e-9)
    for name, content in {"cut": path.read_bytes()[:-9], "empty": b"", "noise": b"\x7f" * 99}.items():
        assert re.fullmatch(
            rf"{name}\.safetensors: .*replay --histogram.*", drop(opened, Path(f"{name}.safetensors"), content)
        )
        assert opened.number("arctan negative eur") == pytest.approx(exact, rel=1e-9)


@pytest.mark.browser
def test_a_file_of_fifty_megabytes_is_taken(look: Any, few: Path, tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(0, 0.2, 2_700_000)
    path = tmp_path / "ratios.json"
    path.write_text(json.dumps(z.round(16).tolist()))
    assert path.stat().st_size > 50e6
    opened: Opened = look(few)
    opened.page.set_input_files("#file", path)
    opened.page.get_by_text("2700000 log-ratios, in 20000 groups of neighbours").wait_for()
    exact = (1 / (1 + (10 * np.expm1(z)) ** 2)).mean()
    assert opened.number("arctan positive eur") == pytest.approx(exact, rel=1e-6)


@pytest.mark.browser
def test_at_equal_half_width_every_gate_has_the_tau_that_calibrate_proves(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    assert "go from 0.1 to 0.2: what differs here may be the width" in opened.page.inner_text("#unequal")
    opened.page.check("input[name=at][value=width]")
    opened.page.fill("#slider-width-number", "0.2")
    for name in ("sigmoid", "arctan"):
        for sign in SIGNS:
            tau = calibrate(load_gate(name), sign, half_width="0.2")
            bound = load_gate(name).bind(tau=(tau.lower + tau.upper) / 2)
            ratio, drawn = opened.curve(name, "weight", sign)
            assert drawn == pytest.approx(evaluate(bound, sign, "weight", ratio), rel=1e-6, abs=1e-6)
            assert opened.number(f"{name} {sign} right") == pytest.approx(0.2, rel=1e-9)
    assert opened.page.inner_text("#key").split("\n")[:2] == ["sigmoid, τ = 8.814", "arctan, τ = 5"]
    assert opened.page.inner_text("#unequal") == ""
    assert opened.page.locator("#slider-tau-positive").count() == 0
    opened.page.get_by_label("Show where vanishing-score of hard-clip fails, A ≤ 0").click()
    assert opened.page.is_checked("input[name=at][value=parameters]")
    assert opened.page.locator("#slider-tau-positive").count() == 1


@pytest.mark.browser
def test_metrics_of_a_run_are_taken_as_a_normal_of_its_last_epoch(look: Any, few: Path, tmp_path: Path) -> None:
    rows = [{"step": 1, "epoch": e, "log_ratio_mean": 0.0, "log_ratio_var": v} for e, v in ((1, 0.0), (2, 0.04))]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened: Opened = look(few)
    opened.page.fill("#slider-spread-number", "0.2")
    eur = opened.number("sigmoid negative eur")
    opened.page.fill("#slider-spread-number", "0.5")
    opened.page.set_input_files("#file", path)
    opened.page.get_by_text("1 updates of the last epoch").wait_for()
    assert opened.number("sigmoid negative eur") == pytest.approx(eur, rel=1e-12)


@pytest.mark.browser
def test_a_file_without_log_ratios_is_told_and_changes_nothing(look: Any, few: Path, tmp_path: Path) -> None:
    opened: Opened = look(few)
    before = opened.number("arctan positive eur")
    for name, text in {
        "text": "no json",
        "null": "[1, null]",
        "edges": '{"edges": [0, 1], "counts": [1, 2]}',
        "loss": '{"loss": 1}',
        "empty": "[]",
    }.items():
        (tmp_path / f"{name}.json").write_text(text)
        opened.page.set_input_files("#file", tmp_path / f"{name}.json")
        opened.page.get_by_text(re.compile(f"^{name}.json: .*replay --histogram")).wait_for()
        assert opened.number("arctan positive eur") == before


@pytest.mark.browser
def test_a_counterexample_is_marked_on_the_curve_and_shown_on_demand(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    mark = "hard-clip, continuously-differentiable"
    x, y = opened.curve(mark, "weight", "positive")
    assert x.tolist() == [1.2, 1.2]
    assert y.tolist() == [1, 0]
    opened.page.fill("#slider-epsilon-both-number", "0.5")
    opened.drawn()
    names = "() => document.getElementById('weight-positive').data.map(trace => trace.name)"
    assert mark not in opened.page.evaluate(names)  # the proof is about epsilon = 1/5, and the curve has moved
    opened.page.get_by_label("Show where continuously-differentiable of hard-clip fails, A > 0").click()
    assert opened.page.input_value("#slider-epsilon-both-number") == "0.2"
    assert opened.curve(mark, "weight", "positive")[0].tolist() == [1.2, 1.2]


SHOW_EVERY_COUNTEREXAMPLE = """async () => {
  const drawn = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const unseen = [];
  let shown = 0;
  for (const box of document.querySelectorAll('#gates input:checked')) box.click();
  for (const gate of PAGE.gates.filter(gate => gate.verdict === 'refuted')) {
    const box = document.getElementById('gate-' + gate.name);
    box.click();
    for (const {id, sign, witness} of gate.requirements.filter(one => one.witness)) {
      const says = `Show where ${id} of ${gate.name} fails, ${sign === 'positive' ? 'A > 0' : 'A ≤ 0'}`;
      document.querySelector(`button[aria-label="${says}"]`).click();
      await drawn();
      const found = ['weight', 'score', 'value'].flatMap(quantity => {
        const plot = document.getElementById(`${quantity}-${sign}`);
        const [x, y] = [plot.layout.xaxis.range, plot.layout.yaxis.range];
        return plot.data.filter(t => t.name === `${gate.name}, ${id}`).map(
          t => t.x.every((at, i) => at >= x[0] && at <= x[1] && t.y[i] >= y[0] && t.y[i] <= y[1]));
      });
      shown++;
      if (found.length !== 1 || !found[0]) unseen.push(says);
    }
    box.click();
  }
  return [shown, unseen];
}"""


@pytest.mark.browser
def test_every_counterexample_to_a_family_is_marked_once_and_in_view(look: Any, whole: Path) -> None:
    shown, unseen = look(whole).page.evaluate(SHOW_EVERY_COUNTEREXAMPLE)
    assert unseen == []
    assert shown > 40


@pytest.mark.browser
def test_a_gate_that_the_page_cannot_compute_is_named_with_the_command_that_draws_it(look: Any, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text(UNKNOWN_TO_THE_PAGE)
    opened: Opened = look(write_explorer([str(tmp_path / "odd.toml"), "arctan"], tmp_path / "odd.html"))
    assert f"sapo-analysis curves {tmp_path / 'odd.toml'}" in opened.page.inner_text("#gates")
    assert opened.page.inner_text("#key").strip() == "arctan"


@pytest.mark.browser
def test_what_the_page_would_ask_of_another_machine_is_refused_and_seen(look: Any, few: Path) -> None:
    """The two checks above would notice: a planted request is blocked by the page's policy, and complained about."""
    opened: Opened = look(few)
    opened.page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 'refused')")
    opened.page.wait_for_timeout(100)
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)
    opened.complaints.clear()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_width_in_either_scheme(look: Any, few: Path, width: int, scheme: str) -> None:
    opened: Opened = look(few, viewport={"width": width, "height": 844}, color_scheme=scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    red = int(opened.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]"))
    assert (red < 128) == (scheme == "dark")


@pytest.mark.browser
def test_every_control_has_a_name_and_is_reached_by_the_tab_key(look: Any, few: Path) -> None:
    opened: Opened = look(few)
    unnamed = opened.page.evaluate(
        "[...document.querySelectorAll('input, button')].filter(c => !c.getAttribute('aria-label') && "
        "!c.labels?.length && !c.textContent).map(c => c.outerHTML)"
    )
    assert unnamed == []
    reached = set()
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        reached.add(opened.page.evaluate("document.activeElement.id"))
    assert {"gate-arctan", "formula", "slider-tau-positive", "slider-reach", "slider-spread", "file"} <= reached
    assert opened.page.locator(".plot[role=img][aria-label*='sigmoid halves at']").count() == 6
