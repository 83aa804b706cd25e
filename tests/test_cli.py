"""The command line: exit codes, one line for a user's mistake, JSON that a program can read."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sapo_gates.cli import main
from sapo_gates.families import FAMILIES
from sapo_gates.gate import Gate
from sapo_gates.gatefile import parse_gate

CERTIFIED, REFUTED, BAD_INPUT, UNDECIDED = 0, 1, 2, 3


def outcome(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(str(stopped.code))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_names_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(["list"], capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [gate.name for gate in FAMILIES]
    _, out, _ = outcome(["list", "--json"], capsys)
    assert [entry["name"] for entry in json.loads(out)] == [gate.name for gate in FAMILIES]


@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_show_prints_a_gate_file_that_declares_the_gate(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(["show", gate.name], capsys)
    assert code == 0
    assert parse_gate(out) == gate


def test_certify_exits_with_0_where_everything_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(["certify", "arctan", "--profile", "trust-region"], capsys)
    assert (code, err) == (CERTIFIED, "")
    assert "CERTIFIED" in out
    assert out.count("✓") == 16


def test_certify_exits_with_1_where_something_is_refuted_and_shows_the_witness(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = outcome(["certify", "hard-clip"], capsys)
    assert code == REFUTED
    assert "witness (jump): r = 6/5; epsilon = 1/5" in out


def test_certify_exits_with_3_where_nothing_is_refuted_but_something_undecided(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "slow.toml"
    path.write_text('[gate]\nname = "slow"\nweight = "1/(1 + LambertW((r - 1)^2))"\n', encoding="utf-8")
    code, out, _ = outcome(["certify", str(path), "--budget", "1s"], capsys)
    assert code == UNDECIDED
    assert "UNDECIDED" in out
    assert "?" in out


def test_certify_prints_one_json_object_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(["certify", "hard-clip", "--json"], capsys)
    report = json.loads(out)
    assert code == REFUTED
    assert (report["gate"], report["profile"], report["verdict"]) == ("hard-clip", "admissible", "refuted")
    assert report["digest"].startswith("sha256:")
    for entry in report["requirements"]:
        assert {"id", "sign", "verdict", "scope", "method", "witness"} <= set(entry)
        assert entry["sign"] in ("positive", "negative")
        assert entry["verdict"] in ("proved", "refuted", "undecided")
        if entry["witness"] is not None:
            assert {"kind", "r", "parameters", "enclosure", "why"} <= set(entry["witness"])
            assert entry["witness"]["kind"] in ("point", "pair", "jump", "tail")


def test_a_certificate_that_was_written_holds_when_checked_again_and_fails_when_edited(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "cert.json"
    assert outcome(["certify", "arctan", "-o", str(path)], capsys)[0] == CERTIFIED
    code, out, _ = outcome(["recheck", str(path), "--json"], capsys)
    assert code == 0
    assert json.loads(out)["holds"] is True
    path.write_text(path.read_text(encoding="utf-8").replace("(0, oo)", "(0, 99)"), encoding="utf-8")
    code, _, err = outcome(["recheck", str(path)], capsys)
    assert code in (REFUTED, BAD_INPUT)
    assert len(err.splitlines()) == 1


def test_set_fixes_a_parameter_for_both_signs_or_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(["show", "arctan", "--set", "tau=1/3"], capsys)
    assert parse_gate(out).parameters == ()
    _, out, _ = outcome(["show", "arctan", "--set", "positive.tau=5"], capsys)
    gate = parse_gate(out)
    assert gate.parameters_for("positive") == ()
    assert len(gate.parameters_for("negative")) == 1


def test_a_datasheet_is_printed_as_table_and_as_json_at_the_values_that_are_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["datasheet", "hard-clip", "--set", "epsilon=1/4", "--set", "negative.epsilon=1/8"]
    code, out, _ = outcome(words, capsys)
    assert code == 0
    assert "A > 0, epsilon = 1/4" in out
    assert "A <= 0, epsilon = 1/8" in out
    code, out, _ = outcome([*words, "--json"], capsys)
    sheets = json.loads(out)["datasheet"]
    assert code == 0
    assert sheets["positive"]["half_width_right"]["at"] == {"epsilon": "1/4"}
    low, high = map(float, sheets["negative"]["half_width_left"]["enclosure"])
    assert low <= 1 / 8 <= high


def test_calibrated_temperatures_are_printed_with_their_proof(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(["calibrate", "arctan", "erf", "--half-width", "0.1", "--json"], capsys)
    arctan, erf = json.loads(out)
    assert code == 0
    assert (arctan["gate"], arctan["parameter"], erf["gate"]) == ("arctan", "tau", "erf")
    low, high = map(float, arctan["enclosure"])
    assert low <= 10 <= high
    code, out, _ = outcome(["calibrate", "arctan", "--curvature", "-200"], capsys)
    assert code == 0
    assert "tau in [9.99999999999, 10.0000000001]" in out
    assert "no other tau meets it, proved" in out


MISTAKES = {
    "an unknown gate": (["certify", "sigmiod"], "Did you mean 'sigmoid'"),
    "an unknown parameter": (["certify", "sigmoid", "--set", "tua=1"], "Did you mean 'tau'"),
    "a value outside the domain": (["certify", "sigmoid", "--set", "tau=-1"], "outside the domain"),
    "1/0": (["certify", "sigmoid", "--set", "tau=1/0"], "no number"),
    "a huge number": (["certify", "sigmoid", "--set", "tau=1e999999999"], "no number"),
    "no assignment": (["certify", "sigmoid", "--set", "tau"], "no assignment"),
    "an unknown sign": (["certify", "sigmoid", "--set", "pos.tau=1"], "no assignment"),
    "an unknown profile": (["certify", "sigmoid", "--profile", "admisible"], "Did you mean 'admissible'"),
    "no time": (["certify", "sigmoid", "--budget", "soon"], "no time"),
    "no budget": (["certify", "sigmoid", "--budget", "0s"], "positive"),
    "a folder that does not exist": (["certify", "sigmoid", "-o", "/no/such/folder/cert.json"], "cannot write"),
    "a missing certificate": (["recheck", "missing.json"], "missing.json"),
    "an unknown command": (["certifi", "sigmoid"], "invalid choice"),
    "no command": ([], "required"),
    "an unknown option": (["certify", "sigmoid", "--fast"], "unrecognized"),
    "a missing file": (["show", "missing.toml"], "cannot read"),
}


@pytest.mark.parametrize(("arguments", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_on_stderr_and_exit_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(arguments, capsys)
    assert (code, out) == (BAD_INPUT, "")
    assert says in err
    assert len(err.splitlines()) == 1


def file_of(formula: str) -> str:
    return f'[gate]\nname = "bad"\nvalue = "{formula}"\n'


BAD_FILES: dict[str, bytes] = {
    "an unknown name": file_of("tua*r").encode(),
    "an unknown key": (file_of("r") + 'sorce = "x"\n').encode(),
    "an empty file": b"",
    "an import": file_of("__import__('os').system('touch executed')").encode(),
    "a tower of powers": file_of("9**9**9**9**9").encode(),
    "3,000 nested brackets": file_of("(" * 3000 + "r" + ")" * 3000).encode(),
    "a 10 MB expression": file_of("r + " * 2_500_000 + "r").encode(),
    "a number for a formula": b'[gate]\nname = "bad"\nvalue = 3\n',
    "a binary file": bytes(range(256)) * 40,
    "half a character": b'[gate]\nname = "\xe2\x82"\n',
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_gate_file_gets_one_line_and_exit_2_and_runs_nothing(
    content: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    began = time.process_time()
    code, out, err = outcome(["certify", str(path)], capsys)
    assert time.process_time() - began < 2
    assert (code, out) == (BAD_INPUT, "")
    assert len(err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.toml"]


def test_the_program_itself_ends_without_traceback_when_its_reader_goes_away() -> None:
    shown = subprocess.run(
        f"{sys.executable} -m sapo_gates.cli list | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(FAMILIES[0].name)
    assert shown.stderr == ""


def test_a_gate_beside_the_caller_is_found_and_hides_nothing(tmp_path: Path) -> None:
    """The program that pip installs does not look in the folder it is called from by itself."""
    (tmp_path / "my_gates.py").write_text("import torch\n\ndef smooth(ratio):\n    return 1 + torch.tanh(ratio - 1)\n")
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')\n")
    program = "import sys; sys.path.remove(''); from sapo_gates.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "certify", "my_gates:smooth"]
    shown = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "CERTIFIED" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["certfy", "arctan"], "certify"),
        (["list", "--jsn"], "--json"),
        (["calibrate", "erf", "--halfwidth", "1"], "--half-width"),
        (["certify", "arctan", "--prof", "admissible"], "--profile"),
    ],
)
def test_a_mistyped_command_or_option_is_one_line_that_offers_the_nearest(
    arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.endswith(f"Did you mean {nearest!r}?\n")


def test_a_certificate_as_json_carries_the_half_widths_of_both_signs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "arctan", "--json"]) == 0
    sheets = json.loads(capsys.readouterr().out)["datasheet"]
    assert sheets["positive"]["half_width_right"]["closed_form"] == "1/tau"
    assert sheets["negative"]["half_width_right"]["at"] == {"tau": 12}
    low, high = map(float, sheets["positive"]["half_width_right"]["enclosure"])
    assert low <= 0.1 <= high


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--log-ratio-mean", "0"], "--log-ratio-mean needs --log-ratio-std"),
        (["--histogram", "h.json", "--log-ratio-std", "1"], "two distributions"),
    ],
)
def test_a_distribution_given_in_part_or_twice_is_refused_in_one_line(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "arctan", "--eur", "0.9", *options]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["-o", "--plot"])
def test_a_folder_that_does_not_exist_is_told_before_anything_is_proved(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("sapo_gates.commands.certify.certify")
    assert main(["certify", "sigmoid", option, "/no/such/folder/out.png"]) == 2
    assert "no folder /no/such/folder" in capsys.readouterr().err
