"""No gate without a certificate: what is refused, and what a run says of a gate that is not certified."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from runs import assert_same_run, run

from sapo_gates import certify, load_certificate
from sapo_train.files import read_jsonl


def test_a_forged_certificate_is_found_out_by_the_recheck(tmp_path, capsys):
    content = certify("hard-clip").to_json()
    for entry in content["requirements"]:
        entry |= {"verdict": "proved", "witness": None}
    content["verdict"] = "certified"
    claims = {key: content[key] for key in content if key not in ("digest", "numerics")}
    text = json.dumps(claims, sort_keys=True, separators=(",", ":"))
    content["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "forged.json").write_text(json.dumps(content))
    assert load_certificate(tmp_path / "forged.json").verdict == "certified"  # nothing shows on its face
    flags = ["--objective.positive=null", "--objective.negative=null"]
    assert run(tmp_path / "run", f"--objective.gate={tmp_path / 'forged.json'}", *flags) == 2
    error = capsys.readouterr().err
    assert "continuously-differentiable" in error
    assert error.count("\n") == 1


def test_a_run_takes_a_certificate_file_as_its_gate(straight, tmp_path):
    certify("arctan").save(tmp_path / "arctan.json")
    assert run(tmp_path / "given", f"--objective.gate={tmp_path / 'arctan.json'}") == 0
    assert_same_run(straight, tmp_path / "given")


def test_a_refuted_family_that_ships_trains_as_baseline_and_says_so(tmp_path, capsys):
    folder = tmp_path / "baseline"
    flags = ["--objective.gate=hard-clip", "--objective.positive=null", "--objective.negative=null"]
    assert run(folder, *flags) == 0
    assert "refuted, trains as baseline" in capsys.readouterr().out
    assert json.loads((folder / "summary.json").read_text())["role"] == "baseline"
    assert json.loads((folder / "checkpoints" / "step-4" / "state.json").read_text())["role"] == "baseline"
    assert json.loads((folder / "certificate.json").read_text())["verdict"] == "refuted"
    assert any(row["clip_fraction"] > 0 for row in read_jsonl(folder / "metrics.jsonl"))


@pytest.fixture
def square(tmp_path) -> Path:
    path = tmp_path / "square.toml"
    path.write_text('[gate]\nname = "square"\nvalue = "r**2"\nsource = "a test"\n')
    return path


def test_another_uncertified_gate_is_refused(tmp_path, square, capsys):
    flags = [f"--objective.gate={square}", "--objective.positive=null", "--objective.negative=null"]
    assert run(tmp_path / "refused", *flags) == 2
    error = capsys.readouterr().err
    assert "refuted" in error
    assert "--allow-uncertified" in error
    assert error.count("\n") == 1


def test_parameters_of_the_recipe_that_a_gate_of_ones_own_does_not_have_are_shown_with_the_cure(
    tmp_path, square, capsys
):
    flags = [f"--objective.gate={square}", "--allow-uncertified"]
    assert run(tmp_path / "refused", *flags, "--objective.negative=null") == 2
    error = capsys.readouterr().err
    assert "has no parameter 'tau'" in error
    assert "The run has objective.positive={'tau': 10.0} and objective.negative=None, perhaps by its recipe" in error
    assert error.count("\n") == 1


def test_with_permission_it_trains_and_every_file_says_so(tmp_path, square):
    folder = tmp_path / "allowed"
    flags = [f"--objective.gate={square}", "--objective.positive=null", "--objective.negative=null"]
    assert run(folder, "--allow-uncertified", *flags) == 0
    assert yaml.safe_load((folder / "config.yaml").read_text())["allow_uncertified"] is True
    assert json.loads((folder / "summary.json").read_text())["role"] == "uncertified"
    assert json.loads((folder / "checkpoints" / "step-4" / "state.json").read_text())["role"] == "uncertified"
