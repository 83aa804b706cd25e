"""What holds for every family, refuted ones included, and for gates declared by weight or score weight alone."""

import math
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from functorch.compile import min_cut_rematerialization_partition
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func

from sapo_gates import FAMILIES, Gate
from sapo_gates.gatefile import parse_gate
from sapo_gates.torch import TorchGate, runtime, surrogate
from sapo_gates.torch.numerics import check, check_every, ulps

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = [0.0, 1e-30, 1e-3, 0.2, 1.0, 5.0, 20.0, 40.0, 88.7, 89.0, 104.0, 709.7, 709.8, 1e4, math.inf]
KILLERS = torch.tensor([sign * size for size in SIZES for sign in (1, -1)], dtype=torch.float64)
OWN = {
    "weight-only": 'weight = "(1 + tau^2*(r - 1)^2)^(-5/4)*sech(r - 1)"',
    "score-only": 'score_pos = "r*exp(-(tau*log(r))^4)"\nscore_neg = "r*exp(1 - cosh(tau*log(r)))"',
}
TAU = '[parameters.tau]\ndomain = "(0, oo)"\npositive = 10\nnegative = "25/2"\n'
EVERY = [*FAMILIES, *(parse_gate(f'[gate]\nname = "{name}"\n{body}\n{TAU}') for name, body in OWN.items())]
TYPICAL = [g for g in EVERY if g.name in ("sigmoid", "softsign", "log-sech", "scad", "hard-clip", "vespo", *OWN)]

every_family = pytest.mark.parametrize("family", EVERY, ids=lambda gate: gate.name)
typical = pytest.mark.parametrize("family", TYPICAL, ids=lambda gate: gate.name)
any_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@cache
def exported(family: Gate) -> TorchGate:
    """With nothing proved about it, as a refuted family is."""
    nothing = SimpleNamespace(gate=family, verdict="refuted", requirements=(), profile="admissible", digest="sha256:0")
    return surrogate(nothing, allow_uncertified=True)  # type: ignore[arg-type]


def value_and_gradient(function, z, advantage):
    z = z.clone().requires_grad_()
    value = function(z, advantage)
    (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope


def gradient(function, z, advantage):
    return value_and_gradient(function, z, advantage)[1]


@every_family
def test_value_and_gradient_are_infinite_only_where_the_true_ones_are(family):
    gate, both = exported(family), torch.tensor([1.0, -1.0])
    narrow = [KILLERS.to(dtype).expand(2, -1) for dtype in DTYPES]
    true = torch.cat(narrow, dim=1).double()  # in one go: 100 bits are dear
    value, slope = (part.split(len(KILLERS), dim=1) for part in value_and_gradient(gate.value, true, both))
    for z, exact, score in zip(narrow, value, slope, strict=True):
        assert not (exact.isnan() | score.isnan()).any()
        assert torch.equal(gate(z, both).isfinite(), exact.to(z.dtype).isfinite())
        assert torch.equal(gradient(gate, z, both).isfinite(), score.to(z.dtype).isfinite())


@every_family
def test_a_nan_stays_one_but_where_nothing_counts(family):
    gate = exported(family)
    for dtype in DTYPES:
        z = torch.tensor([math.nan, math.inf, -math.inf, 1e4] * 3, dtype=torch.float64).to(dtype)
        advantage, mask = torch.tensor([0.0] * 4 + [2.0] * 4 + [-3.0] * 4), torch.tensor([1] * 4 + [0] * 4 + [1] * 4)
        for upstream in (1.0, math.nan):
            leaf = z.clone().requires_grad_()
            value = gate(leaf, advantage, mask)
            value.backward(torch.full_like(z, upstream))
            assert leaf.grad is not None
            assert (value[:8] == 0).all()
            assert (leaf.grad[:8] == 0).all()
            assert value[8].isnan()
            assert leaf.grad[8].isnan()


@every_family
def test_a_tail_is_not_rounded_away_while_float32_can_hold_it(family):
    gate, z = exported(family), torch.tensor([40.0, -40.0, 80.0, -80.0]).expand(2, -1)
    both = torch.tensor([1.0, -1.0])
    true = gate.score_weight(z.double(), both).float()  # in one go: 100 bits are dear
    for score in (gate.score_weight(z, both), gradient(gate.value, z, both)):
        torch.testing.assert_close(score, true, rtol=2.0**-23, atol=0)


@every_family
def test_sixteen_bits_are_as_right_in_float32_as_in_float64_at_every_number(family):
    gate, signs = exported(family), {"positive": torch.tensor(True), "negative": torch.tensor(False)}
    for (sign, _), form in gate.plain_forms.items():
        for dtype in form.single_for:
            z = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
            z = z[~z.isnan()]
            exact = runtime.plain(form, z.double(), signs[sign])
            for mine, true in zip(runtime.plain(form, z.float(), signs[sign]), exact, strict=True):
                assert ulps(mine.to(dtype), true, torch.zeros_like(true)).max() <= 0.75


def test_what_float32_cannot_do_is_left_to_float64():
    narrow = {
        (family.name, *key): form.single_for for family in EVERY for key, form in exported(family).plain_forms.items()
    }
    assert narrow["arctan", "positive", "token"] == (torch.bfloat16, torch.float16)  # a power-law tail, up to e^-90
    assert narrow["arctan", "positive", "slope"] == ()  # which vanishes


@typical
def test_it_runs_without_looking_at_a_number_as_on_any_other_device(family):
    gate, z = exported(family), torch.empty(4, 8, device="meta", requires_grad=True)
    advantage, mask = torch.empty(4, device="meta"), torch.empty(4, 8, device="meta")
    (slope,) = torch.autograd.grad(gate(z, advantage, mask).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), z)
    assert second.shape == slope.shape == z.shape
    assert gate.weight(z, advantage).device.type == "meta"


def test_neither_do_a_hundred_bits():
    gate, z = exported(next(family for family in TYPICAL if family.name == "scad")), torch.empty(4, 8, device="meta")
    assert gate.score_weight(z.double(), torch.empty(4, device="meta")).device.type == "meta"


@every_family
def test_the_same_input_gives_the_same_bits(family):
    gate, z = exported(family), torch.linspace(-4, 4, 36_000).reshape(4, 9_000)  # more than a block
    advantage = torch.tensor([1.0, -1.0, 0.5, 0.0])
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(gate(z, advantage), gate(z, advantage))
        assert torch.equal(gradient(gate, z, advantage), gradient(gate, z, advantage))
    finally:
        torch.use_deterministic_algorithms(False)


@every_family
@any_dtype
def test_it_runs_under_vmap_and_functional_grad(family, dtype):
    gate, z = exported(family), torch.linspace(-1, 1, 6, dtype=torch.float64).to(dtype)
    advantages = torch.tensor([1.0, -1.0, 0.0])
    expected = gate(z.expand(3, -1), advantages)
    assert torch.equal(torch.func.vmap(lambda a: gate(z, a))(advantages), expected)
    assert torch.equal(torch.func.vmap(lambda x: gate(x, advantages[1]))(z), expected[1])
    slopes = torch.func.vmap(torch.func.grad(lambda x: gate(x, advantages[1])))(z)
    assert torch.equal(slopes, gradient(gate, z, advantages[1]))


@every_family
def test_autocast_changes_nothing(family):
    gate, z, advantage = exported(family), torch.linspace(-1, 1, 8), torch.tensor(-1.0)
    expected = gate(z, advantage), gradient(gate, z, advantage)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gate(z, advantage), expected[0])
        assert torch.equal(gradient(gate, z, advantage), expected[1])


@every_family
def test_first_and_second_derivatives_agree_with_differences_beside_corners(family):
    gate = exported(family)
    z = torch.tensor([-0.31, -0.06, 0.04, 0.17], dtype=torch.float64, requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 2.0, -0.5])
    for checked in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert checked(lambda z: gate(z, advantage), (z,), fast_mode=True, check_undefined_grad=False)


def test_a_second_derivative_counts_where_the_first_is_zero_and_a_third_is_refused():
    gate = exported(parse_gate('[gate]\nname = "turning"\nvalue = "(log(r) - 1)^2"'))
    z = torch.ones(1, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(gate(z, torch.ones(1)), z, create_graph=True)
    (second,) = torch.autograd.grad(first, z, create_graph=True)
    assert (first.item(), second.item()) == (0.0, 2.0)
    with pytest.raises(NotImplementedError, match="third"):
        torch.autograd.grad(second, z)


def compiles(families: list[Gate], dtype: torch.dtype, backend: str) -> None:
    """All in one graph without a break, to the same numbers but for the functions that are then polynomials."""
    gates, z = [exported(family) for family in families], torch.linspace(-3, 3, 64, dtype=torch.float64).to(dtype)
    advantage, mask = torch.tensor([1.0, -1.0, 0.0, 2.0] * 2), torch.arange(64).reshape(8, 8) % 5
    each = lambda zs, a: torch.stack([gate(z, a, mask) for gate, z in zip(gates, zs, strict=True)])  # noqa: E731
    zs = z.reshape(8, 8).expand(len(gates), 8, 8).contiguous()
    torch._dynamo.reset()
    compiled = torch.compile(each, fullgraph=True, backend=backend)
    tolerance = (1 if dtype == torch.float64 else 2) * torch.finfo(dtype).eps
    results = value_and_gradient(compiled, zs, advantage), value_and_gradient(each, zs, advantage)
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=0)


quietly = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it traces and compiles


@quietly
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str)
def test_every_family_compiles_without_a_graph_break_to_the_same_numbers(dtype):
    compiles(EVERY, dtype, "aot_eager")


@quietly
@pytest.mark.slow
@typical
def test_it_compiles_to_machine_code(family):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        compiles([family], dtype, "inductor")


@quietly
def test_a_compiled_backward_pass_reads_the_score_weight_and_computes_nothing_again():
    kernels: list[torch.fx.GraphModule] = []

    def kept(graph, inputs):
        kernels.append(graph)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=kept, bw_compiler=kept, partition_fn=min_cut_rematerialization_partition)
    gate, z = exported(EVERY[0]), torch.linspace(-1, 1, 64).reshape(8, 8)
    torch._dynamo.reset()
    gradient(torch.compile(gate, backend=backend), z, torch.ones(8))
    forward, backward = ([str(node.target) for node in kernel.graph.nodes] for kernel in kernels)
    assert any("shift" in target for target in forward)  # of the exponential
    assert not any("shift" in target for target in backward)


@pytest.mark.slow
@every_family
def test_it_is_right_to_an_ulp_in_every_dtype(family):
    assert all(entry["holds"] for entry in check(exported(family), examples=2))


def test_a_tabulated_value_that_vanishes_keeps_a_small_error_there_and_not_every_digit():
    gate = exported(parse_gate('[gate]\nname = "table"\nweight = "Piecewise((1, r <= 6/5), (sech(r^2), True))"'))
    z = torch.linspace(-120, 0, 2001, dtype=torch.float64)
    for dtype, rounding in ((torch.float64, 1e-15), (torch.float32, 2.0**-24)):
        at = z.to(dtype)
        ratio = at.double().exp()
        error = (gate.value(at, torch.tensor(1.0)).double() - ratio).abs()
        assert (error <= rounding * ratio + 1e-20).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", [gate for gate in TYPICAL if gate in FAMILIES], ids=lambda gate: gate.name)
def test_it_is_right_at_every_number_of_sixteen_bits(family, dtype):
    evidence = check_every(exported(family), dtype)
    assert all(entry["holds"] for entry in evidence)
    assert all(entry["kind"] == "exhaustive" and entry["examples"] > 60_000 for entry in evidence)
