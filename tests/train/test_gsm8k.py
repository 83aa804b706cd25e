"""GSM8K as a whole, from the folder beside the checkout, with the model of the wheel.

Twelve of its rows are in this repository, for the ordinary tests.
"""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from sapo_train.cli import main
from sapo_train.files import read_jsonl
from sapo_train.measures import wilson

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [pytest.mark.slow, pytest.mark.data]


def test_a_run_on_the_whole_of_gsm8k_reads_every_row_and_mixes_it_with_another_source(tmp_path, capsys):
    train = f"[{{source: {SHARED / 'gsm8k_train.jsonl'}, weight: 3}}, {{source: arithmetic, held_out: 200}}]"
    flags = [
        f"--data.train={train}",
        f"--data.evaluate=[{{source: {SHARED / 'gsm8k_test.jsonl'}}}]",
        "--data.max_prompt=600",
        "--sampling.prompts=8",
        "--evaluation.limit=2",
        "--steps=2",
    ]
    assert main(["run", "smoke.yaml", "--out", str(tmp_path / "run"), *flags]) == 0
    found = re.search(r"(\d+) training and (\d+) held-out problems, (\d+) too long", capsys.readouterr().out)
    assert found is not None
    assert sum(map(int, found.groups())) == 7473 + 1319 + 625
    ids = {row["id"] for step in (1, 2) for row in read_jsonl(tmp_path / "run" / "samples" / f"step-{step}.jsonl")}
    assert 10 <= sum(id.startswith("gsm8k-train-") for id in ids) <= 14  # three quarters of 16, give or take two


def test_verdicts_on_answers_of_smollm2_are_those_of_comparing_the_last_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    problems = f"--problems=gsm8k={SHARED / 'gsm8k_test.jsonl'}"
    flags = ["--evaluation.limit=16", "--evaluation.temperature=0", "--evaluation.max_tokens=128"]
    out = tmp_path / "out"
    assert main(["evaluate", "smollm2-135m-instruct", problems, "-o", str(out), "--json", *flags]) == 0
    (summary,) = json.loads(capsys.readouterr().out)
    rows = read_jsonl(out / "smollm2-135m-instruct.gsm8k.jsonl")
    assert len(rows) == 16
    for row in rows:
        numbers = re.findall(r"(?:(?<!\w)-)?\d[\d,]*(?:\.\d+)?", row["completions"][0])
        same = bool(numbers) and Decimal(numbers[-1].replace(",", "")) == Decimal(row["answer"].replace(",", ""))
        assert row["right"] == [float(same)], row
    right = sum(row["right"][0] for row in rows)
    accuracy = summary["measures"]["accuracy"]
    assert accuracy["value"] == pytest.approx(right / 16)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(wilson(int(right), 16))
