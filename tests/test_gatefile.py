"""Gate files: what is read, and that everything else is one line that says what to mend."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapo_gates import FAMILIES, Gate, load_gate
from sapo_gates.errors import GateTextError, ParameterValueError, SapoGatesError, UnknownGate
from sapo_gates.gatefile import MAX_BYTES, parse_gate

GOOD = """[gate]
name = "mine"
value = "1 + atan(tau*(r - 1))/tau"
source = "here"
[parameters.tau]
domain = "(0, oo)"
positive = 10
negative = 12.5
"""


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_gate_file_declares_a_gate() -> None:
    gate = parse_gate(GOOD)
    (tau,) = gate.parameters
    assert (gate.name, gate.kind, gate.source) == ("mine", "value", "here")
    assert (str(tau.domain), str(tau.positive), str(tau.negative)) == ("(0, oo)", "10", "25/2")


@pytest.mark.parametrize("kind", ["value", "weight", "score"])
def test_a_pair_declares_a_formula_for_each_sign(kind: str) -> None:
    gate = parse_gate(f'[gate]\nname = "pair"\n{kind}_pos = "r"\n{kind}_neg = "r^2"\n')
    assert gate.kind == kind
    assert [str(gate.declared(sign)) for sign in ("positive", "negative")] == ["r", "r**2"]


def test_one_trained_value_serves_both_signs_and_rationals_stand_in_quotes() -> None:
    (tau,) = parse_gate(replaced("positive = 10\nnegative = 12.5", 'positive = "1/3"')).parameters
    assert str(tau.positive) == str(tau.negative) == "1/3"


def test_a_parameter_may_go_unused_and_none_is_fine() -> None:
    assert parse_gate(replaced("tau*(r - 1))/tau", "r - 1)")).parameters
    assert not parse_gate('[gate]\nname = "r"\nvalue = "r"\n').parameters


BAD = {
    "an empty file": ("", "no \\[gate\\] table"),
    "no TOML": ("gate = ", "not a TOML file"),
    "an unknown table": (GOOD + "[extra]\n", "unknown key 'extra'"),
    "an unknown key": (replaced("source", "sorce"), "Did you mean 'source'"),
    "an unknown key of a parameter": (replaced("domain", "domian"), "Did you mean 'domain'"),
    "an unknown name": (replaced("tau*(r", "tua*(r"), "Did you mean 'tau'"),
    "an unknown function": (replaced("atan", "artan"), "Did you mean 'atan'"),
    "no declaration": (replaced("value", "says"), "exactly one"),
    "two declarations": (GOOD.replace("source", "weight"), "exactly one"),
    "half a pair": (replaced("value", "value_pos"), "pair"),
    "no name": (replaced('name = "mine"', ""), "name"),
    "an empty formula": (replaced("1 + atan(tau*(r - 1))/tau", ""), "value"),
    "an import": (replaced("atan", "__import__"), "unknown function '__import__'"),
    "a number for a formula": (replaced('"1 + atan(tau*(r - 1))/tau"', "3"), "is not a text"),
    "a list for a name": (replaced('"mine"', "[1]"), "is not a text"),
    "a date for a domain": (replaced('"(0, oo)"', "1979-05-27"), "is not a text"),
    "a text for a table": ('gate = "x"', "not a table"),
    "a list for parameters": ('parameters = [1]\n[gate]\nname = "g"\nvalue = "r"', "not a table"),
    "a boolean for a number": (replaced("= 10\n", "= true\n"), "is not a number"),
    "a table for a number": (replaced("= 10\n", "= {a = 1}\n"), "is not a number"),
    "nan for a number": (replaced("= 10\n", "= nan\n"), "no number"),
    "inf for a number": (replaced("= 10\n", "= inf\n"), "no number"),
    "1/0 for a number": (replaced("= 10\n", '= "1/0"\n'), "no number"),
    "a number of 5,000 digits": (replaced("= 10\n", f"= {'9' * 5000}\n"), "not a TOML file"),
    "a value outside the domain": (replaced("= 10\n", "= -1\n"), "outside its domain"),
    "no trained value": (replaced("positive = 10\nnegative = 12.5", ""), "no trained value"),
    "no domain": (replaced('domain = "(0, oo)"', ""), "no domain"),
    "no interval": (replaced("(0, oo)", "0 to 1"), "no interval"),
    "an interval up to 1/0": (replaced("(0, oo)", "(0, 1/0)"), "no interval"),
    "a reserved name": (replaced("[parameters.tau]", "[parameters.r]"), "taken or not a name"),
    "a tower of powers": (replaced("atan(", "9^9^9^9*("), "too large"),
    "3,000 nested brackets": (replaced("atan(", "(" * 3000), "are read|nested"),
    "nested tables": ("a = " + "[" * 5000, "not a TOML file"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_bad_gate_file_is_one_line_that_says_what_is_wrong(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises((GateTextError, ParameterValueError), match=says) as refused:
        load_gate(path)
    assert time.process_time() - began < 2
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) < 900


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text(GOOD + "# " + "x" * MAX_BYTES, encoding="utf-8")
    with pytest.raises(GateTextError, match="at most"):
        load_gate(path)


def test_a_binary_file_a_missing_one_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    (tmp_path / "folder.toml").mkdir()
    for name in ("binary.toml", "missing.toml", "folder.toml"):
        with pytest.raises(GateTextError, match="cannot read"):
            load_gate(tmp_path / name)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_gate_file_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 8)))
        text = text[:at] + data.draw(st.text(max_size=4)) + text[until:]
    try:
        gate = parse_gate(text)
    except SapoGatesError:
        return
    assert parse_gate(gate.text).digest == gate.digest


@pytest.mark.parametrize("gate", FAMILIES, ids=lambda gate: gate.name)
def test_a_family_is_loaded_by_its_name(gate: Gate) -> None:
    assert load_gate(gate.name) is gate
    assert load_gate(gate) is gate


def test_a_gate_is_loaded_from_a_module() -> None:
    assert load_gate("sapo_gates.families.smooth:ARCTAN").name == "arctan"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sigmiod", "Did you mean 'sigmoid'"),
        ("no.such.module:GATE", "cannot take gate"),
        ("sapo_gates.families.smooth:NONE", "cannot take gate"),
        ("sapo_gates.families.smooth:tau", "not a Gate"),
        (":", "cannot take gate"),
        ("", "no gate"),
        ("\x00", "no gate"),
        ("a/../b", "no gate"),
    ],
    ids=repr,
)
def test_an_unknown_gate_is_refused_and_the_nearest_offered(name: str, says: str) -> None:
    with pytest.raises(UnknownGate, match=says):
        load_gate(name)
