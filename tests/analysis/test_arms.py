"""Runs compared: what is one arm, and when a difference between two is called one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib import pyplot as plt

from sapo_analysis.arms import arms_of, differences, student, student_quantile
from sapo_analysis.between import cautions, metric_differences
from sapo_analysis.report import write_report
from sapo_analysis.runs import Run, load_run
from sapo_analysis.training import SAYS, metric_over_steps
from sapo_gates import load_gate

PROBLEMS = 100


def write(folder: Path, gate: str, seed: int, shares: list[float]) -> Run:
    """A run that answers each problem with such a share of right answers."""
    (folder / "evaluations").mkdir(parents=True)
    config = {"name": "sums", "steps": 2, "seed": seed, "objective": {"gate": gate}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rows = [{"id": f"p{k}", "right": [share]} for k, share in enumerate(shares)]
    lines(folder / "evaluations" / "step-2.jsonl", rows)
    lines(folder / "evaluations.jsonl", [
        {"step": 2, "accuracy": sum(shares) / len(shares), "low": 0, "high": 1, "problems": len(shares)}
    ])  # fmt: skip
    updates = [{"step": k, "update": k, "epoch": 1, "reward_mean": 0.1 * seed + 0.2 * k} for k in (1, 2)]
    lines(folder / "metrics.jsonl", updates)
    return load_run(folder)


def lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def answers(right: float, seed: int) -> list[float]:
    """Problem by problem right or wrong, `right` of them in the mean."""
    return (np.random.default_rng(seed).random(PROBLEMS) < right).astype(float).tolist()


def study(tmp_path: Path, arctan: float, erf: float, seeds: int) -> list[Run]:
    return [
        write(tmp_path / f"{gate}-{seed}", gate, seed, answers(right, 10 * seed + (gate == "erf")))
        for gate, right in (("arctan", arctan), ("erf", erf))
        for seed in range(seeds)
    ]


def test_runs_that_differ_in_their_seed_alone_are_one_arm(tmp_path: Path) -> None:
    arms = arms_of(study(tmp_path, 0.5, 0.5, 3))
    assert [(arm.name, len(arm.runs)) for arm in arms] == [("gate arctan", 3), ("gate erf", 3)]


def test_a_large_difference_over_several_seeds_is_called_one(tmp_path: Path) -> None:
    (found,) = differences(arms_of(study(tmp_path, 0.9, 0.2, 4)))
    assert (found.seeds, found.problems, found.verdict) == (4, PROBLEMS, "higher")
    assert found.over_seeds is not None
    assert found.over_seeds[0] > 0
    (turned,) = differences(arms_of(study(tmp_path / "turned", 0.2, 0.9, 4)))
    assert turned.verdict == "lower"


def test_one_seed_never_shows_a_difference(tmp_path: Path) -> None:
    (found,) = differences(arms_of(study(tmp_path, 1.0, 0.0, 1)))
    assert found.mean == 1
    assert found.over_seeds is None
    assert found.verdict == "cannot be told apart"


def test_seeds_that_disagree_show_no_difference_however_many_the_problems(tmp_path: Path) -> None:
    runs = [
        write(tmp_path / f"{gate}-{seed}", gate, seed, [float(seed % 2 == (gate == "erf"))] * PROBLEMS)
        for gate in ("arctan", "erf")
        for seed in range(3)
    ]
    (found,) = differences(arms_of(runs))
    assert found.over_problems[0] > 0  # arctan is right for seeds 0 and 2, in every problem
    assert found.verdict == "cannot be told apart"


def test_equal_arms_are_called_different_about_as_rarely_as_said(tmp_path: Path) -> None:
    told = 0
    for trial in range(40):
        runs = [
            write(tmp_path / f"{trial}-{gate}-{seed}", gate, seed, answers(0.5, 1000 * trial + 10 * seed + at))
            for at, gate in enumerate(("arctan", "erf"))
            for seed in range(3)
        ]
        (found,) = differences(arms_of(runs))
        told += found.verdict != "cannot be told apart"
    assert told <= 5  # 5 % of 40 are 2; more than 5 has a chance of 1.4 %, and the examples are always the same


@pytest.mark.parametrize(("freedom", "level", "t"), [(1, 0.05, 12.7062), (2, 0.05, 4.30265), (9, 0.01, 3.24984)])
def test_students_quantiles_are_those_of_the_tables(freedom: int, level: float, t: float) -> None:
    assert student_quantile(freedom, level) == pytest.approx(t, rel=1e-5)


def test_seeds_that_agree_to_the_digit_say_nothing_of_the_next() -> None:
    assert student(np.array([0.01, 0.01]), 0.05) is None
    assert student(np.array([0.0, 0.0]), 0.05) == (0, 0)


def test_of_many_equal_arms_hardly_ever_any_is_called_different(tmp_path: Path) -> None:
    """Ten pairs of five arms, and nine metrics of each: with intervals of 95 % each, half of the pages would."""
    told = {"accuracy": 0, "metrics": 0}
    for trial in range(25):
        random = np.random.default_rng(trial)
        runs = [
            write(tmp_path / f"{trial}-{gate}-{seed}", gate, seed, answers(0.5, 1000 * trial + 10 * seed + at))
            for at, gate in enumerate(("arctan", "erf", "sigmoid", "softsign", "tanh"))
            for seed in range(3)
        ]
        updates = [{"step": 1, "update": 1, "epoch": 1} | dict.fromkeys(SAYS, 0.0) for _ in runs]
        runs = [
            replace(run, metrics=({**row, **{key: random.normal() for key in row if key in SAYS}},))
            for run, row in zip(runs, updates, strict=True)
        ]
        arms = arms_of(runs)
        told["accuracy"] += any(found.verdict != "cannot be told apart" for found in differences(arms))
        told["metrics"] += any(found.verdict != "cannot be told apart" for found in metric_differences(arms))
    assert max(told.values()) <= 4  # 5 % of 25 are 1.25; more than 4 has a chance of 0.7 %, the examples are the same


def test_a_metric_that_differs_for_every_seed_is_told(tmp_path: Path) -> None:
    runs = study(tmp_path, 0.5, 0.5, 4)
    moved = [
        replace(run, metrics=tuple({**row, "reward_mean": row["reward_mean"] + 5 + 0.01 * k} for row in run.metrics))
        if "erf" in run.folder.name
        else run
        for k, run in enumerate(runs)
    ]
    (found,) = metric_differences(arms_of(moved))
    assert (found.key, found.seeds, found.verdict) == ("reward_mean", 4, "lower")
    assert found.difference == pytest.approx(-5.055)


def test_arms_are_compared_after_the_last_step_that_both_evaluated(tmp_path: Path) -> None:
    one = [write(tmp_path / f"a{seed}", "arctan", seed, answers(0.5, seed)) for seed in (0, 1)]
    other = [write(tmp_path / f"b{seed}", "erf", seed, answers(0.5, seed)) for seed in (0, 1)]
    for run in other:  # has gone on, and become right everywhere
        lines(run.folder / "evaluations" / "step-9.jsonl", [{"id": f"p{k}", "right": [1]} for k in range(PROBLEMS)])
        rows = [*run.evaluations, {"step": 9, "accuracy": 1, "low": 0, "high": 1, "problems": PROBLEMS}]
        lines(run.folder / "evaluations.jsonl", rows)
    (found,) = differences(arms_of([*one, *(load_run(run.folder) for run in other)]))
    assert (found.step, found.mean) == (2, 0)


def test_what_keeps_a_difference_from_being_the_gates_is_told(tmp_path: Path) -> None:
    runs = [write(tmp_path / gate, gate, 0, answers(0.5, 0)) for gate in ("arctan", "erf")]
    runs = [replace(run, config=run.config | {"optim": {"lr": k}}) for k, run in enumerate(runs)]
    runs[0] = replace(runs[0], summary={"inert_gate": True})
    gates = {run.name: load_gate(name) for run, name in zip(runs, ("arctan", "erf"), strict=True)}
    inert, other, widths, few = cautions(arms_of(runs), gates)
    assert inert.startswith(f"In {runs[0].name} no gate ever acts")
    assert "optim.lr" in other
    assert "0.118" in widths
    assert few.startswith("One seed each")
    assert cautions(arms_of(study(tmp_path / "fair", 0.5, 0.5, 2)), {}) == []


def test_arms_without_common_seeds_or_problems_are_not_compared(tmp_path: Path) -> None:
    one = write(tmp_path / "a", "arctan", 0, answers(0.5, 0))
    other = write(tmp_path / "b", "erf", 1, answers(0.5, 0))
    assert differences(arms_of([one, other])) == []


def test_the_band_is_the_range_of_the_seeds(tmp_path: Path) -> None:
    axes = metric_over_steps(arms_of(study(tmp_path, 0.5, 0.5, 3)), "reward_mean")
    line = axes.get_lines()[0]
    assert np.asarray(line.get_ydata(), float) == pytest.approx([0.3, 0.5])
    band = axes.collections[0].get_datalim(axes.transData)
    assert (band.ymin, band.ymax) == (pytest.approx(0.2), pytest.approx(0.6))
    plt.close("all")


def test_the_page_says_whether_arms_can_be_told_apart(tmp_path: Path) -> None:
    study(tmp_path, 0.5, 0.52, 2)
    page = write_report(sorted(tmp_path.iterdir()), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "gate arctan against gate erf" in page
    assert "cannot be told apart" in page
    assert "bands reach from the least to the most" in page
