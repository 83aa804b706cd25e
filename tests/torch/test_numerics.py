import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sapo_gates import certify
from sapo_gates.gatefile import parse_gate
from sapo_gates.torch import TorchGate, numerics, surrogate
from sapo_gates.torch.numerics import Checked, check, check_every, ulps
from sapo_gates.torch.runtime import PARTS, Plain
from sapo_gates.verdict import Sign

PAPER = ["sigmoid", "erf", "arctan", "softsign"]
FAST = (torch.float32, torch.bfloat16, torch.float16)


def exported(name: str) -> TorchGate:
    return surrogate(certify(name))


@pytest.mark.parametrize("name", PAPER)
def test_exported_families_hold_in_every_dtype(name):
    evidence = check(exported(name), examples=4)
    assert len(evidence) == 2 * 3 * 4  # signs, quantities, dtypes
    assert all(entry["holds"] and entry["kind"] == "sampled" for entry in evidence)


USERS = {
    "by weight, two parameters": 'weight = "(1 + tau^2*(r - 1)^2/nu)^(-2)"',
    "by score": 'score_pos = "r^2*exp(3*(1 - r))"\nscore_neg = "r^3*exp(2*(1 - r))"',
    "in log r": 'weight = "exp(-tau^2*z^2/2)"',
    "in pieces": 'score_pos = "Piecewise((3, r <= 1/3), (1/r, r <= 1.28), (0, True))"\nscore_neg = "Min(r, 3)"',
    "compact": 'weight = "Piecewise(((1 - (tau*(r - 1))^2)^2, Abs(tau*(r - 1)) < 1), (0, True))"',
    "cancelling as written": 'weight = "4*exp(-tau*(r - 1))/(1 + exp(-tau*(r - 1)))^2"',
    "slow tail": 'score = "Min(r^(1/100), r^(-1/100))"',
    "high power": 'value = "1 + (r - 1)/(1 + (r - 1)^8)^(1/8)"',
    "special function": 'value = "1 + lowergamma(1/3, (r - 1)^2)"',
}
PARAMETERS = '[parameters.tau]\ndomain = "(0, oo)"\npositive = 10\nnegative = 12\n'
PARAMETERS += '[parameters.nu]\ndomain = "(0, oo)"\npositive = 3\nnegative = "7/3"\n'


@pytest.mark.parametrize("declaration", USERS.values(), ids=USERS.keys())
def test_gates_of_any_shape_hold_in_float32_and_float64(declaration, uncertified):
    declared = parse_gate(f'[gate]\nname = "mine"\n{declaration}\n{PARAMETERS}')
    gate = surrogate(uncertified(declared), allow_uncertified=True)
    failed = [entry for entry in check(gate, (torch.float32, torch.float64), examples=2) if not entry["holds"]]
    assert not failed


def naive_sigmoid(z, x, r, right):
    ratio = torch.exp(z)  # overflows, and inf * 0 is no number
    return ratio * torch.sigmoid(10 * (ratio - 1)) * (1 - torch.sigmoid(10 * (ratio - 1))) * 4


def planted(gate: TorchGate, key: tuple[Sign, Checked], change: Callable) -> TorchGate:
    """The gate with one quantity of one sign replaced, where it is computed together with another."""
    sign, quantity = key
    part = "weight" if quantity == "weight" else "token"
    right, place = gate.plain_forms[sign, part], PARTS[part].index(quantity)

    def wrong(k, z, x, r):
        numbers = {"z": z, "x": x, "r": r}
        mine = [constants[sign == "negative"] for constants in right.constants]
        results = list(right.function(k, *(numbers[name] for name in right.needs), *mine))
        results[place] = change(z, x, r, results[place])
        return tuple(results)

    form = Plain(wrong, ("z", "x", "r"), 350.0, ())
    return replace(gate, plain_forms={**gate.plain_forms, (sign, part): form})


FAULTS = {
    "4/tau missing from the weight": (
        ("positive", "score"),
        lambda z, x, r, right: r / torch.cosh(5 * x) ** 2 * 10 / 4,
    ),
    "the value used as the weight": (("positive", "score"), lambda z, x, r, right: r * 0.4 * torch.sigmoid(10 * x)),
    "exp of an unclamped log-ratio": (("positive", "score"), naive_sigmoid),
    "the other sign's temperature": (("negative", "value"), lambda z, x, r, right: torch.sigmoid(10 * x) * 4 / 10),
    "exp(z) - 1 for expm1": (
        ("positive", "value"),
        lambda z, x, r, right: 1e-8 * torch.floor((torch.exp(z) - 1) * 1e8),
    ),
    "a weight that is no derivative": (("negative", "weight"), lambda z, x, r, right: torch.exp(-6 * x.abs())),
    "a constant wrong in the seventh digit": (("positive", "value"), lambda z, x, r, right: right * (1 + 4e-7)),
    "a tail cut off": (("negative", "score"), lambda z, x, r, right: torch.where(z < -30, 0.0, right)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_was_planted(fault):
    key, change = FAULTS[fault]
    wrong = planted(exported("sigmoid"), key, change)
    failed = {(entry["sign"], entry["quantity"]) for entry in check(wrong, FAST, examples=4) if not entry["holds"]}
    assert failed == {key}


def test_three_ulp_at_a_single_number_are_found_by_trying_every_number(monkeypatch):
    monkeypatch.setattr(numerics, "SIGNS", ("positive",))  # the others take a minute more
    monkeypatch.setattr(numerics, "CHECKED", ("score",))
    at = torch.tensor(-0.21, dtype=torch.bfloat16).item()
    change = lambda z, x, r, right: torch.where(z == at, right * (1 + 3 * 2**-8), right)  # noqa: E731
    wrong = planted(exported("sigmoid"), ("positive", "score"), change)
    failed = [entry for entry in check_every(wrong, torch.bfloat16) if not entry["holds"]]
    assert [(entry["sign"], entry["quantity"], entry["worst_input"]) for entry in failed] == [
        ("positive", "score", repr(at))
    ]


def test_a_nan_and_a_lost_tail_are_infinitely_and_many_ulp_wrong():
    true = torch.tensor([1.0, 1e-40, 2.0], dtype=torch.float64)
    error = ulps(torch.tensor([math.nan, 0.0, 2.0]), true, torch.zeros(3, dtype=torch.float64))
    assert error[0] == math.inf
    assert error[1] > 1000
    assert error[2] == 0


def test_one_ulp_is_one_ulp_in_every_dtype():
    for dtype, bits in ((torch.float64, 53), (torch.float32, 24), (torch.bfloat16, 8), (torch.float16, 11)):
        neighbour = torch.tensor([1 + 2.0 ** (1 - bits)], dtype=dtype)
        assert ulps(neighbour, torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)) == 1


def test_overflow_is_right_only_where_the_true_value_overflows():
    true = torch.tensor([1e39, 1e38, -1e39], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(ulps(torch.tensor([math.inf, 1e38, -math.inf]), true, zero) <= 1, torch.tensor([True] * 3))
    assert torch.equal(ulps(torch.tensor([3e38, math.inf, math.inf]), true, zero), torch.full((3,), math.inf).double())


def test_the_same_check_finds_the_same_worst_inputs():
    gate = exported("arctan")
    assert check(gate, (torch.float32,), examples=3) == check(gate, (torch.float32,), examples=3)
