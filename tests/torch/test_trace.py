import math

import pytest
import sympy
import torch
from torch import Tensor

from sapo_gates import Gate, Parameter, certify, load_gate
from sapo_gates.errors import TraceError
from sapo_gates.expression import parse_expression
from sapo_gates.functions import r
from sapo_gates.torch.aten import constant


def sapo(ratio: Tensor, tau: float = 10.0) -> Tensor:
    return torch.sigmoid(tau * (ratio - 1)) * 4 / tau


def sapo_from_log_ratio(log_ratio: Tensor) -> Tensor:
    return torch.sigmoid(10 * torch.expm1(log_ratio)) * (4 / 10)


def sapo_clamped(log_ratio: Tensor) -> Tensor:
    return torch.sigmoid(10 * (torch.exp(torch.clamp(log_ratio, -20.0, 20.0)) - 1)) * 4 / 10


def hard_clip(ratio: Tensor, advantages: Tensor, eps: float = 0.2) -> Tensor:
    clipped = torch.clamp(ratio, 1 - eps, 1 + eps)
    return torch.where(advantages > 0, torch.min(ratio, clipped), torch.max(ratio, clipped))


def error_function(log_ratio: Tensor) -> Tensor:
    x = torch.expm1(log_ratio)
    return 1 + math.sqrt(math.pi / 2) / 10 * torch.erf(10 * x / math.sqrt(2))


def cispo(log_ratio: Tensor) -> Tensor:
    return torch.clamp(log_ratio.exp(), max=5.0).detach() * log_ratio


def many_operations(ratio: Tensor) -> Tensor:
    x = ratio - 1
    terms = [
        torch.tanh(x), torch.atan(x), torch.erfc(x), torch.sqrt(1 + x**2), torch.rsqrt(1 + x.square()), x.abs(),
        torch.log1p(ratio), torch.nn.functional.softplus(x), torch.nn.functional.logsigmoid(x), torch.cosh(x / 9),
        torch.reciprocal(ratio), torch.sign(x), torch.maximum(x, -x / 2), torch.relu(x), torch.pow(2.0, x / 50),
        torch.nn.functional.silu(x), torch.where((x > 0.5) & ~(x > 2), x, 0.0), torch.logaddexp(x, 1 - x),
        torch.nn.functional.elu(x), torch.nn.functional.leaky_relu(x), torch.lerp(x, ratio, 0.3), torch.asinh(x),
        torch.special.ndtr(x), torch.nan_to_num(x), torch.exp2(x / 50), x.masked_fill(x < 0, 1.0),
    ]  # fmt: skip
    return sum(terms, ratio)


@pytest.mark.parametrize(
    ("function", "declared"),
    [
        (sapo, "4*sigmoid(10*(r - 1))/10"),
        (sapo_from_log_ratio, "4*sigmoid(10*(r - 1))/10"),
        (error_function, "1 + sqrt(pi/2)/10*erf(10*(r - 1)/sqrt(2))"),
    ],
)
def test_a_torch_function_becomes_the_formula_it_was_written_as(function, declared):
    gate = Gate.from_torch(function)
    assert sympy.simplify(gate.value - parse_expression(declared, {})) == 0
    assert parse_expression(sympy.sstr(gate.value), {}) == gate.value


def test_the_sign_of_the_advantage_chooses_the_formula():
    assert Gate.from_torch(hard_clip).value == (sympy.Min(sympy.Rational(6, 5), r), sympy.Max(sympy.Rational(4, 5), r))


def test_a_detached_weight_is_declared_by_the_score_it_applies():
    gate = Gate.from_torch(cispo)
    assert gate.kind == "score"
    assert [gate.declared("positive").subs(r, at) for at in (3, 7)] == [3, 5]


def test_a_parameter_stays_a_symbol_and_is_proved_for_its_whole_domain():
    tau = Parameter("tau", "(0, oo)", positive=10, negative=12)
    gate = Gate.from_torch(sapo, parameters=(tau,))
    certificate = certify(gate)
    assert certificate.verdict == "certified"
    assert certificate.requirements[0].scope == "for all tau in (0, oo)"


def test_certify_takes_a_torch_function_by_its_dotted_name(tmp_path, monkeypatch):
    (tmp_path / "losses_of_mine.py").write_text(
        "import torch\n\ndef wrong(ratio, tau=2.0):\n    return torch.sigmoid(tau * (ratio - 1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    certificate = certify(load_gate("losses_of_mine:wrong"))
    failed = [entry.id for entry in certificate.requirements if entry.verdict == "refuted"]
    assert failed == ["unit-peak", "unit-peak"]  # tau/4 for 1, at both signs


def test_a_clamp_of_the_log_ratio_is_seen_where_it_cuts_the_gate_off():
    text = str(Gate.from_torch(sapo_clamped).value)
    assert "exp(20)" in text
    assert "exp(-20)" in text


def test_every_operation_gates_use_is_translated_as_torch_computes_it():
    Gate.from_torch(many_operations)  # refuses a formula the function does not compute


def looks_at_numbers(ratio: Tensor) -> Tensor:
    return ratio if ratio.max() > 2 else ratio * 2


def compares_as_a_whole(ratio: Tensor) -> Tensor:
    return ratio if torch.allclose(ratio, torch.ones_like(ratio)) else ratio * 2


def reads_an_item(ratio: Tensor) -> Tensor:
    return ratio * max(ratio.mean().item(), 0.5)


def normalises(ratio: Tensor) -> Tensor:
    return ratio / ratio.mean()


def hides_its_gradient(ratio: Tensor) -> Tensor:
    with torch.no_grad():
        weight = torch.sigmoid(ratio)
    return weight * ratio


def sorts(ratio: Tensor) -> Tensor:
    return torch.sort(ratio).values


def names_nothing(values: Tensor) -> Tensor:
    return values


def breaks(ratio: Tensor) -> Tensor:
    raise RuntimeError("no such kernel")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (looks_at_numbers, "decisions from the numbers"),
        (reads_an_item, "decisions from the numbers"),
        (compares_as_a_whole, "decisions from the numbers"),
        (normalises, "is not what it computes"),
        (hides_its_gradient, "under no_grad"),
        (sorts, "aten.sort"),
        (names_nothing, "name it ratio or log_ratio"),
        (breaks, "no such kernel"),
    ],
)
def test_what_cannot_be_read_is_refused_and_named(function, says):
    with pytest.raises(TraceError, match=says):
        Gate.from_torch(function)


def test_operations_in_place_are_read_in_their_order():
    def in_place(ratio: Tensor) -> Tensor:
        x = ratio - 1
        y = x.clone().mul_(2).add_(x)
        return y.clamp_(max=5.0)

    assert Gate.from_torch(in_place).value == sympy.Min(5, 3 * r - 3)


def test_a_number_may_be_carried_into_a_metric():
    def with_metric(ratio: Tensor) -> tuple[Tensor, dict[str, float]]:
        return ratio * 1, {"mean": ratio.mean().item()}

    assert Gate.from_torch(with_metric).value == r


@pytest.mark.parametrize(
    ("number", "exact"),
    [
        (0.1, "1/10"),
        (1 + 0.28, "32/25"),
        (4 / 1.05, "80/21"),
        (1 / 3, "1/3"),
        (math.pi, "pi"),
        (math.sqrt(math.pi / 2) / 10, "sqrt(2)*sqrt(pi)/20"),
        (1e-8, "1/100000000"),
        (3, "3"),
    ],
)
def test_a_float_is_read_as_the_number_that_was_written(number, exact):
    assert constant(number) == sympy.sympify(exact)
