"""Whatever text reaches `sapo-gates`: one line, exit 2, at once, within bounded memory, and nothing of it is run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sapo_gates import certify
from sapo_gates.certificate import FORMAT

GUARDED = Path(__file__).parent / "helpers" / "guarded.py"
SECONDS = 2.0  # of processor time
BAD_INPUT = 2


def results(commands: list[list[str]], folder: Path) -> list[dict[str, Any]]:
    """What each command did, in one guarded process."""
    done = subprocess.run(
        [sys.executable, str(GUARDED)],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def refused(result: dict[str, Any]) -> bool:
    """One line on stderr and no other effect."""
    return (
        result["code"] == BAD_INPUT
        and len(result["err"]) == 1
        and len(result["err"][0]) < 2000
        and result["out"] == ""
        and result["seconds"] < SECONDS
        and result["acts"] == []
    )


FORMULAS = {
    "an import": "__import__('os').system('touch executed')",
    "an import by name": "__import__",
    "an attribute": "r.__class__.__mro__",
    "a lambda": "(lambda: 1)()",
    "a comprehension": "[x for x in (1,)]",
    "an f-string": "f'{r}'",
    "exec": "exec('1')",
    "a sympy name": "sympify('1')",
    "a walrus": "(r := 1)",
    "a statement": "import os",
    "a tower of powers": "9**9**9**9**9",
    "a tower of powers of r": "r**9**9**9",
    "a tower of factorials": "gamma(gamma(gamma(99)))",
    "a giant power of a root": "sqrt(2)**1e300",
    "a giant exponential": "exp(exp(exp(9)))*r",
    "a giant hyperbolic function": "cosh(1e30)",
    "a giant sine": "sin(10**400)",
    "a product of giants": "10**999*10**999*r",
    "a giant number": "9" * 100_000,
    "a giant exponent": "1e" + "9" * 1000,
    "a tiny number": "1e-" + "9" * 1000,
    "nested brackets": "(" * 9000 + "r" + ")" * 9000,
    "brackets that never close": "(" * 9000,
    "nested functions": "tanh(" * 500 + "r" + ")" * 500,
    "nested signs": "-" * 9000 + "r",
    "nested pieces": "Piecewise((" * 100 + "r" + ", r < 1), (1, True))" * 100,
    "a bomb of products": "*".join(f"(r + {k} + z)" for k in range(500)),
    "a bomb of powers": "((r + z + 1)**1000)**1000",
    "a bomb of corners": "Max(" + ", ".join(f"Abs(r - {k})" for k in range(30)) + ")",
    "a million characters": "r + " * 250_000 + "r",
    "digits of another script": "٣*r",
    "a letter that looks like r": "г",
    "a right-to-left override": "r\u202e + 1",
    "a zero-width space": "r\u200b + 1",
    "an emoji": "🚪(r)",
    "an accent": "é*r",
    "not a number": "nan*r",
    "infinity": "oo*r",
    "an imaginary unit": "I*r",
    "division by zero": "r/(r - r)",
    "a string": "'r'",
    "a comment": "r # + 1",
    "a semicolon": "r; r",
    "an index": "r[0]",
    "a dictionary": "{r: 1}",
    "an assignment": "r = 1",
    "a format": "%s % r",
    "nothing": "",
    "blanks": "  \t ",
}  # fmt: skip


def gate_file(formula: str, kind: str = "weight") -> str:
    return f'[gate]\nname = "hostile"\n{kind} = {json.dumps(formula, ensure_ascii=False)}\n'


GOOD = gate_file("1/(1 + (tau*(r - 1))^2)") + '[parameters.tau]\ndomain = "(0, oo)"\npositive = 1\nnegative = 2\n'

FILES: dict[str, str | bytes] = {
    **{f"{name}, as a formula": gate_file(formula) for name, formula in FORMULAS.items()},
    "a NUL in a formula": gate_file("r\x00"),
    "a NUL byte": b'[gate]\nname = "x"\nweight = "r\x00"\n',
    "half a character": b'[gate]\nname = "\xe2\x82"\n',
    "a surrogate": b'[gate]\nname = "\xed\xa0\x80"\nweight = "r"\n',
    "every byte": bytes(range(256)) * 50,
    "a byte order mark of UTF-16": GOOD.encode("utf-16"),
    "nested arrays": "a = " + "[" * 5000,
    "nested inline tables": "a = " + "{b = " * 3000,
    "a long dotted key": ".".join("a" * 3000) + " = 1",
    "a key again": GOOD + "[gate]\nname = 'x'\n",
    "a giant integer": GOOD.replace("positive = 1", "positive = " + "9" * 50_000),
    "a giant float": GOOD.replace("positive = 1", "positive = 1e999999999"),
    "a domain of towers": GOOD.replace("(0, oo)", "(0, 9**9**9**9)"),
    "a domain that runs code": GOOD.replace("(0, oo)", "(0, __import__('os'))"),
    "a domain of digits": GOOD.replace("(0, oo)", "(0, " + "9" * 99_999 + ")"),
    "a parameter that is no name": GOOD.replace("parameters.tau", "parameters.'os.system'"),
    "a parameter named like a function": GOOD.replace("tau", "exp"),
    "a parameter with a long name": GOOD.replace("tau", "t" * 100_000),
    "a thousand parameters": GOOD + "".join(f"[parameters.p{k}]\n" for k in range(1000)),
    "a megabyte of comment": GOOD + "# " + "x" * 2**20,
}

CERTIFICATES: dict[str, str | bytes] = {
    "nothing": "",
    "a list": "[]",
    "a number": "1e999",
    "nested lists": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "a NUL": "\x00",
    "every byte": bytes(range(256)),
    "another format": '{"format": "pickle"}',
    "nothing but the format": json.dumps({"format": FORMAT}),
    "not a number": f'{{"format": "{FORMAT}", "gate": NaN}}',
    "a giant integer": f'{{"format": "{FORMAT}", "precision": {"9" * 100_000}}}',
    "keys twice": f'{{"format": "{FORMAT}", "gate": 1, "gate": 2}}',
    "a gate that runs code": json.dumps({"format": FORMAT, "gate": {"text": gate_file(FORMULAS["an import"])}}),
    "a gate that explodes": json.dumps({"format": FORMAT, "gate": {"text": gate_file("9**9**9**9")}}),
    "a lone surrogate": json.dumps({"format": FORMAT, "gate": {"text": "\ud800"}}),
}

WORDS: dict[str, Callable[[str], list[str]]] = {
    "a gate": lambda text: ["certify", text],
    "a gate of a module": lambda text: ["show", f"{text}:x"],
    "a name in a module": lambda text: ["show", f"sapo_gates:{text}"],
    "a value": lambda text: ["certify", "arctan", "--set", f"tau={text}"],
    "an assignment": lambda text: ["datasheet", "arctan", "--set", text],
    "a requirement": lambda text: ["certify", "arctan", "--require", text],
    "a bound": lambda text: ["certify", "arctan", "--require", f"half_width <= {text}"],
    "a profile": lambda text: ["certify", "arctan", "--profile", text],
    "a budget": lambda text: ["certify", "arctan", "--budget", text],
    "a half-width": lambda text: ["calibrate", "arctan", "--half-width", text],
    "a spread": lambda text: ["calibrate", "arctan", "--eur", "0.9", "--log-ratio-std", text],
    "an export": lambda text: ["export", "arctan", "--to", text],
}
SHORT = {
    "an import": FORMULAS["an import"], "a tower": "9**9**9**9", "a power": "9^9^9^9", "many digits": "9" * 100_000,
    "a giant": "1e999999999", "not a number": "nan", "infinity": "oo", "blank": " ", "a surrogate": "\udcff",
    "an emoji": "🚪", "a path up": "../" * 100, "an attribute": "tau.__class__", "brackets": "(" * 9000,
    "a lambda": "lambda:1", "digits of another script": "٣",
}  # fmt: skip


def test_no_hostile_gate_file_does_more_than_end_in_one_line(tmp_path: Path) -> None:
    commands = []
    for number, content in enumerate(FILES.values()):
        path = tmp_path / f"{number}.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        commands.append(["certify", path.name, "--budget", "1s"])
    found = dict(zip(FILES, results(commands, tmp_path), strict=True))
    assert {name: result for name, result in found.items() if not refused(result)} == {}
    assert not (tmp_path / "executed").exists()


def test_no_hostile_certificate_does_more_than_end_in_one_line(tmp_path: Path) -> None:
    commands = []
    for number, content in enumerate(CERTIFICATES.values()):
        path = tmp_path / f"{number}.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        commands += [["recheck", path.name], ["export", path.name]]
    names = [f"{name}, {program}" for name in CERTIFICATES for program in ("recheck", "export")]
    found = dict(zip(names, results(commands, tmp_path), strict=True))
    assert {name: result for name, result in found.items() if not refused(result)} == {}


def test_no_hostile_word_on_the_command_line_does_more_than_end_in_one_line(tmp_path: Path) -> None:
    commands = {f"{what} of {where}": put(text) for where, put in WORDS.items() for what, text in SHORT.items()}
    found = dict(zip(commands, results(list(commands.values()), tmp_path), strict=True))
    assert {name: result for name, result in found.items() if not refused(result)} == {}
    assert not (tmp_path / "executed").exists()


COSTLY = {
    "a long sum": "+".join(f"1/(1 + {k}*(r - 1)^2)" for k in range(1, 60)),
    "a tower of exponentials": "exp(-exp(exp(exp(r))))",
    "nested tanh": "tanh(" * 40 + "r" + ")" * 40,
    "a large power": "1/(1 + (r - 1)^2)^999",
    "a large power of many terms": "1/(1 + r + r^2 + r^3 + r^4 + z)^500",
    "many roots": "+".join(f"sqrt(r + {k})" for k in range(1, 40)),
    "many corners": "+".join(f"Abs(r - {k})" for k in range(1, 20)),
    "a fast oscillation": "sin(10^4*r)*sin(9999*r)/r",
    "nested special functions": "lowergamma(3, erf(LambertW(gamma(r))))",
    "a pole of high order": "1/(r - 2)^998",
    "a step between large numbers": "Piecewise((1, r < 153/8), (9/10, True))*(1 - exp(-(119*r/8 - 14)^2))/(r - 1)^2",
}


def test_no_formula_makes_a_proof_outlast_its_budget(tmp_path: Path) -> None:
    for number, formula in enumerate(COSTLY.values()):
        (tmp_path / f"{number}.toml").write_text(gate_file(formula), encoding="utf-8")
    commands = [["certify", f"{number}.toml", "--budget", "1s"] for number in range(len(COSTLY))]
    found = dict(zip(COSTLY, results(commands, tmp_path), strict=True))
    assert {name: (one["code"], one["seconds"]) for name, one in found.items() if one["code"] not in (0, 1, 3)} == {}
    assert {name: one["seconds"] for name, one in found.items() if one["seconds"] > 6} == {}


WHOLE = json.dumps(certify("arctan").to_json())


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        until = draw(st.integers(at, min(len(text), at + 8)))
        put = draw(
            st.sampled_from(["", "(", ")", "9" * 20, "**", "oo", "nan", '"', "{", "]", "\x00", "é", "__import__"])
        )
        text = text[:at] + put + text[until:]
    return text


@pytest.mark.parametrize(("good", "program", "ending"), [(GOOD, "show", "toml"), (WHOLE, "recheck", "json")])
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_ends_in_one_line(
    good: str, program: str, ending: str, tmp_path: Path, data: st.DataObject
) -> None:
    texts = data.draw(st.lists(damaged(good), min_size=40, max_size=40))
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.{ending}").write_text(text, encoding="utf-8")
    found = results([[program, f"{number}.{ending}"] for number in range(len(texts))], tmp_path)
    for text, result in zip(texts, found, strict=True):
        assert result["code"] == 0 or (result["code"] in (1, 2) and len(result["err"]) == 1), (text, result)
        assert result["seconds"] < SECONDS, (text, result)
        assert result["acts"] == [], (text, result)
