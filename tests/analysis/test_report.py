"""The report: one page that says what a run's files say, and needs nothing else."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from sapo_analysis.cli import main
from sapo_analysis.report import write_report
from sapo_analysis.runs import load_run
from sapo_analysis.training import SAYS
from sapo_gates import certify
from sapo_train.cli import main as trainer

UPDATE = {
    "reward_mean": 0.5,
    "entropy": 0.9,
    "effective_update_ratio": 1.0,
    "ratio_var": 0.0,
    "log_ratio_var_per_sequence": 0.0,
    "kl_old_new_k3": 0.0,
    "grad_norm": 1.5,
    "completion_length_mean": 12.0,
}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("arctan", "hard-clip"):
        certify(name).save(folder / f"{name}.json")
    return folder


@pytest.fixture
def run(tmp_path: Path, certificates: Path) -> Path:
    return write_run(tmp_path / "sums", certificates)


def write_run(folder: Path, certificates: Path) -> Path:
    """A run of three batch steps and two epochs, as the trainer writes one."""
    for name in ("samples", "evaluations"):
        (folder / name).mkdir(parents=True)
    config = {
        "name": "sums",
        "steps": 3,
        "objective": {"gate": "arctan", "positive": {"tau": 5.0}, "negative": {"tau": 7.0}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copy(certificates / "arctan.json", folder / "certificate.json")
    updates = [
        UPDATE
        | {
            "step": step,
            "update": 2 * step + epoch - 2,
            "epoch": epoch,
            "effective_update_ratio": 1 - 0.1 * (epoch - 1),
        }
        for step in (1, 2, 3)
        for epoch in (1, 2)
    ]
    _lines(folder / "metrics.jsonl", updates)
    _lines(folder / "timings.jsonl", [{"step": step, "seconds": 2.0} for step in (1, 2, 3)])
    shares = [(0, 0.4, 0.33, 0.47), (3, 0.75, 0.69, 0.8)]
    _lines(
        folder / "evaluations.jsonl",
        [{"step": s, "accuracy": a, "low": low, "high": high, "problems": 200} for s, a, low, high in shares],
    )
    for step in (1, 3):
        sample = {"step": step, "question": "What is 1+1?", "answer": "2", "reward": 1.0, "advantage": 0.5}
        _lines(
            folder / "samples" / f"step-{step}.jsonl", [sample | {"completion": f"<b>two</b>{chr(27)} at {step}"}] * 4
        )
    held = {
        "problems": 200,
        "before": 0.4,
        "before_interval": [0.33, 0.47],
        "after": 0.75,
        "after_interval": [0.69, 0.8],
    }
    held |= {"difference": 0.35, "difference_interval": [0.27, 0.43]}
    epochs = [{"epoch": 1, "effective_update_ratio": 1.0}, {"epoch": 2, "effective_update_ratio": 0.9}]
    summary = {"verdict": "certified", "role": "certified", "updates": 6, "training_seconds": 6.0, "epochs": epochs}
    (folder / "summary.json").write_text(json.dumps(summary | {"held_out": held}), encoding="utf-8")
    return folder


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class Page(HTMLParser):
    """Collects what a browser would fetch, what it would run, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs) -> None:
        self.scripts += tag == "script"
        self.fetched += [
            f"{tag} {k}={v}" for k, v in attrs if k in ("src", "href", "xlink:href") and not str(v).startswith("#")
        ]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Page:
    run = write_run(tmp_path_factory.mktemp("page") / "sums", certificates)
    output = write_report([run], run / "report.html", certificates=certificates, command="sapo-analysis report sums")
    return Page(output.read_text(encoding="utf-8"))


def test_the_page_fetches_nothing_and_runs_nothing(page: Page) -> None:
    assert (page.fetched, page.scripts) == ([], 0)


def test_every_element_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_page_says_what_the_files_say(page: Page) -> None:
    for said in (
        "40.0 % → 75.0 %",
        "+35.0 points [+27.0, +43.0]",
        "rises",
        "0.900",
        "arctan, τ = 5 / 7",
        "certified, certified",
        "Made by sapo-analysis report sums",
    ):
        assert said in page.text


def test_a_refuted_gate_is_shown_with_its_witness(page: Page, certificates: Path) -> None:
    content = json.loads((certificates / "hard-clip.json").read_text(encoding="utf-8"))
    refuted = [r for r in content["requirements"] if r["verdict"] == "refuted"]
    assert refuted
    for requirement in refuted:
        assert " ".join(requirement["witness"]["why"].split()) in page.text


def test_samples_are_text_and_never_markup(page: Page) -> None:
    assert "<b>two</b>· at 3" in page.text


def test_a_run_that_the_trainer_wrote_is_reported(tmp_path: Path) -> None:
    assert trainer(["run", "smoke.yaml", "--steps=2", "--out", str(tmp_path / "run")]) == 0
    assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 0
    run, page = load_run(tmp_path / "run"), Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    for said in (
        "Held-out accuracy",
        "Sample completions",
        "EUR in epoch 2",
        "arctan, τ = 10 / 12",
        "certified, certified",
    ):
        assert said in page.text
    assert (page.fetched, page.open) == ([], [])
    assert set(SAYS) <= set(run.metrics[0]) | set(run.timings[0])
    assert len(run.last_epoch("effective_update_ratio")[0]) == 2


@pytest.mark.parametrize(
    ("interval", "said"), [([0.01, 0.2], "rises"), ([-0.2, -0.01], "falls"), ([-0.01, 0.2], "cannot be told")]
)
def test_a_difference_is_called_real_only_where_its_interval_leaves_out_zero(run: Path, interval, said) -> None:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    summary["held_out"]["difference_interval"] = interval
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert said in Page(write_report([run], run / "r.html").read_text(encoding="utf-8")).text


def test_two_runs_share_a_page_and_their_configurations_are_compared(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    (other / "config.yaml").write_text(yaml.safe_dump(config | {"steps": 9}), encoding="utf-8")
    text = Page(write_report([run, other], tmp_path / "both.html").read_text(encoding="utf-8")).text
    assert "differs sums sums (other) steps 3 9" in text
    assert "objective.gate arctan" not in text


def test_a_run_that_has_only_begun_is_reported_as_far_as_it_went(run: Path) -> None:
    for name in ("metrics.jsonl", "evaluations.jsonl", "summary.json", "certificate.json"):
        (run / name).unlink()
    shutil.rmtree(run / "samples")
    text = Page(write_report([run], run / "r.html").read_text(encoding="utf-8")).text
    assert "has not ended" in text
    assert "No update has been written yet" in text


def test_a_line_that_a_kill_cut_short_is_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "upd')
    assert len(load_run(run).metrics) == 6


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("config.yaml", "a: [", "config.yaml is not YAML"),
        ("config.yaml", "just words", "not a run's settings"),
        ("metrics.jsonl", "{}\n", "metrics.jsonl, line 1: no 'step'"),
        ("metrics.jsonl", "words\n", "metrics.jsonl, line 1: not JSON"),
        ("summary.json", "[1]", "summary.json holds list, not an object"),
        ("certificate.json", "{}", "certificate.json"),
    ],
)
def test_a_damaged_file_is_named_in_one_line_with_exit_code_2(run: Path, name, text, says, capsys) -> None:
    (run / name).write_text(text, encoding="utf-8")
    assert main(["report", str(run), "-o", str(run / "r.html")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (run / "r.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "nowhere", "-o", "r.html"], "nowhere is not a run directory"),
        (["report", "sums", "--certificates", "nowhere", "-o", "r.html"], "nowhere is not a folder"),
        (["report", "sums", "-o", "nowhere/r.html"], "cannot write nowhere"),
    ],
)
def test_a_folder_that_is_none_is_named_in_one_line(run: Path, arguments, says, capsys, monkeypatch) -> None:
    monkeypatch.chdir(run.parent)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
