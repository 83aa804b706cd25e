import math
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from sapo_gates import FAMILIES, Gate, load_gate
from sapo_gates.errors import ExportError, NotCertified, ParameterValueError, UnknownParameter
from sapo_gates.gatefile import parse_gate
from sapo_gates.torch import forms, runtime, surrogate, wide
from sapo_gates.torch.numerics import ulps

SMOOTH = FAMILIES[:6]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = [0.0, 1e-30, 1e-3, 0.2, 20.0, 40.0, 88.7, 89.0, 104.0, 709.7, 709.8, 1e4, math.inf]
KILLERS = [sign * size for size in SIZES for sign in (1, -1)]


@dataclass(frozen=True)
class Certified:
    """What `surrogate` reads of a certificate."""

    gate: Gate
    verdict: str = "certified"
    requirements: tuple = ()
    profile: str = "admissible"
    digest: str = "sha256:" + "0" * 64


@cache
def exported(gate: str | Gate):
    return surrogate(Certified(load_gate(gate)))  # type: ignore[arg-type]


def exported_at(gate: str | Gate, **values):
    return surrogate(Certified(load_gate(gate)), **values)  # type: ignore[arg-type]


def declared(body: str, tau: str = "") -> Gate:
    return parse_gate(f'[gate]\nname = "mine"\n{body}\n{tau}')


LOG_SECH = declared(
    'weight = "sech(tau*z/2)^2"', '[parameters.tau]\ndomain = "(0, oo)"\npositive = 10\nnegative = 12\n'
)


def gradient(gate, z, advantage, mask=None):
    z = z.clone().requires_grad_()
    (result,) = torch.autograd.grad(gate(z, advantage, mask).sum(), z)
    return result


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", SMOOTH, ids=lambda gate: gate.name)
def test_value_and_gradient_are_finite_at_every_killer(family, dtype):
    gate = exported(family)
    z = torch.tensor(KILLERS, dtype=torch.float64).to(dtype)
    for a in (1.0, -1.0):
        advantage = torch.full_like(z, a)
        assert torch.isfinite(gate(z, advantage)).all()
        assert torch.isfinite(gradient(gate, z, advantage)).all()


@pytest.mark.parametrize("family", SMOOTH, ids=lambda gate: gate.name)
def test_nothing_reaches_a_token_without_advantage_or_mask_and_nan_stays_nan_elsewhere(family):
    gate = exported(family)
    z = torch.tensor([math.nan, math.inf, -math.inf, 1e4, 0.1] * 3)
    advantage = torch.tensor([0.0] * 5 + [1.0] * 5 + [-1.0] * 5)
    mask = torch.tensor([1] * 5 + [0] * 5 + [1] * 5)
    value, grad = gate(z, advantage, mask), gradient(gate, z, advantage, mask)
    assert (value[:10] == 0).all()
    assert (grad[:10] == 0).all()
    assert torch.isnan(value[10])
    assert torch.isnan(grad[10])
    assert not torch.isnan(grad[11:]).any()


def test_a_masked_token_is_untouched_by_a_nan_advantage_and_an_unmasked_one_is_not():
    gate = exported("arctan")
    z, advantage = torch.zeros(2), torch.full((2,), math.nan)
    value = gate(z, advantage, torch.tensor([False, True]))
    assert value[0] == 0
    assert torch.isnan(value[1])


def test_the_four_families_agree_with_their_printed_formulas():
    x = torch.linspace(-0.6, 0.8, 29, dtype=torch.float64)
    z, one, t = torch.log1p(x), torch.ones(29), 10.0
    printed = {
        "sigmoid": (4 / t * torch.sigmoid(t * x), 1 / torch.cosh(t * x / 2) ** 2),
        "erf": (1 + math.sqrt(math.pi / 2) / t * torch.erf(t * x / math.sqrt(2)), torch.exp(-((t * x) ** 2) / 2)),
        "arctan": (1 + torch.atan(t * x) / t, 1 / (1 + (t * x) ** 2)),
        "softsign": (1 + x / torch.sqrt(1 + (t * x) ** 2), (1 + (t * x) ** 2) ** -1.5),
    }
    for name, (value, weight) in printed.items():
        gate = exported(name)
        torch.testing.assert_close(gate.value(z, one), value, rtol=1e-13, atol=0)
        torch.testing.assert_close(gate.weight(z, one), weight, rtol=1e-12, atol=0)
        torch.testing.assert_close(gate.score_weight(z, one), (1 + x) * weight, rtol=1e-12, atol=0)


@pytest.mark.parametrize("family", SMOOTH, ids=lambda gate: gate.name)
def test_gradient_is_the_score_weight_times_the_advantage_of_its_sign(family):
    gate = exported(family)
    z = torch.linspace(-2, 2, 41)
    for a in (1.5, -0.25):
        advantage = torch.full_like(z, a)
        expected = gate.score_weight(z.double(), advantage) * a
        torch.testing.assert_close(gradient(gate, z, advantage).double(), expected, rtol=1e-7, atol=1e-45)


@pytest.mark.parametrize("name", ["sigmoid", "erf", "arctan", "softsign"])
def test_what_is_computed_quickly_when_compiled_keeps_two_ulp(name):
    form = exported(name).plain_forms["positive", "token"]
    assert form.quick is not None
    sizes = torch.cat([torch.linspace(0, 1, 50_000), torch.logspace(-8, 2.5, 50_000), torch.tensor([torch.inf])])
    z = torch.cat([sizes, -sizes]).double()
    for sign in (torch.tensor(True), torch.tensor(False)):
        for mine, exact in zip(runtime.plain(form, z, sign, True), runtime.plain(form, z, sign), strict=True):
            assert ulps(mine.float(), exact, torch.zeros_like(exact)).max() <= 2


def test_quick_functions_are_as_exact_as_the_export_takes_them_to_be():
    u = torch.cat([torch.linspace(-20, 20, 200_001), torch.linspace(-2, 2, 200_001), torch.logspace(-20, 20, 200_001)])
    u, off = u.double(), lambda mine, true: (mine - true).abs().max()
    power, arc, bell = torch.exp(u.clamp(-300, 300)), torch.atan(u), wide.coarse_exp(-u * u)
    assert off(wide.quick_exp(u.clamp(-300, 300)) / power, 1) <= 2.0**-33
    assert off(wide.coarse_exp(u.clamp(-300, 300)) / power, 1) <= forms.COARSE_EXP_OFF
    assert off((wide.coarse_atan(u) / arc)[arc != 0], 1) <= forms.COARSE_ATAN_OFF
    assert off(wide.coarse_erf(u, bell), torch.erf(u)) <= forms.COARSE_ERF_OFF


@pytest.mark.parametrize(("tau", "is_coarse"), [(10, True), (1, False)])
def test_coarse_functions_are_taken_only_at_temperatures_at_which_they_are_right(tau, is_coarse):
    form = exported_at("arctan", positive={"tau": tau}, negative={"tau": tau}).plain_forms["positive", "token"]
    assert (form.quick is not form.function) == is_coarse
    assert forms._good_enough(form, torch.float32, ("positive",))


def every_number(dtype: torch.dtype) -> torch.Tensor:
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    return every[~every.isnan()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("name", ["sigmoid", "erf", "arctan", "softsign"])
def test_machine_code_keeps_two_ulp_for_float32_and_one_at_every_number_of_sixteen_bits(name):
    gate, one = exported(name), torch.ones(())
    sizes = torch.cat([torch.linspace(0, 1, 200_000), torch.logspace(-8, 2.5, 200_000), torch.tensor([torch.inf])])
    torch._dynamo.reset()
    compiled = torch.compile(gate, fullgraph=True)
    for z in (torch.cat([sizes, -sizes]), every_number(torch.bfloat16), every_number(torch.float16)):
        at = z.clone().requires_grad_()
        exact = runtime.plain(gate.plain_forms["positive", "token"], z.double(), torch.tensor(True))
        value = compiled(at, one)
        (score,) = torch.autograd.grad(value.sum(), at)
        for mine, true in zip((value.detach(), score), exact, strict=True):
            assert ulps(mine, true, torch.zeros_like(true)).max() <= (2 if z.dtype == torch.float32 else 1)


def test_a_quick_form_that_is_off_by_more_than_an_ulp_is_not_taken():
    form = exported("erf").plain_forms["positive", "token"]
    quick = form.quick
    assert quick is not None
    assert forms._good_enough(form, torch.float32, ("positive",))
    worse = replace(form, quick=lambda *given: [(1 + 2.0**-22) * one for one in quick(*given)])
    assert not forms._good_enough(worse, torch.float32, ("positive",))


def test_float32_inside_that_is_off_by_a_quarter_of_an_ulp_at_one_number_is_not_taken():
    form = exported("arctan").plain_forms["positive", "token"]
    assert form.single_for == (torch.bfloat16, torch.float16)
    at = {"z": -0.21, "x": math.expm1(-0.21), "r": math.exp(-0.21)}[form.needs[0]]

    def worse(k, u, *given):
        here = (u - at).abs() < 2.0**-9 if u.dtype == torch.float32 else u > math.inf
        return [torch.where(here, one * (1 + 2.0**-10), one) for one in form.function(k, u, *given)]

    for dtype in form.single_for:
        assert not forms._good_enough(replace(form, function=worse), dtype, ("positive",))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it traces
def test_more_gates_compile_in_one_process_once_the_limit_that_the_docstring_names_is_raised():
    z, advantage, usual = torch.linspace(-1, 1, 8), torch.tensor(1.0), torch._dynamo.config.recompile_limit
    gates = [exported_at("log-linear") for _ in range(usual + 1)]
    assert "torch._dynamo.config.recompile_limit" in str(type(gates[0]).__doc__)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=usual + 1):
        for gate in gates:
            assert torch.equal(torch.compile(gate, backend="eager", fullgraph=True)(z, advantage), gate(z, advantage))


def test_no_gradient_reaches_the_advantage():
    z, advantage = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    exported("erf")(z, advantage).sum().backward()
    assert advantage.grad is None


def test_a_zero_advantage_takes_the_negative_branch():
    gate = exported("hard-clip")
    z = torch.tensor([-1.0])
    assert gate.value(z, torch.zeros(1)) == gate.value(z, -torch.ones(1)) == torch.tensor([0.8])


def test_each_sign_of_the_advantage_has_its_own_temperature():
    gate = exported_at("arctan", positive={"tau": 1}, negative={"tau": 2})
    z = torch.tensor([math.log(2.0)] * 2, dtype=torch.float64)
    torch.testing.assert_close(
        gate.weight(z, torch.tensor([1.0, -1.0])), torch.tensor([1 / 2, 1 / 5], dtype=torch.float64)
    )


def test_a_power_law_tail_keeps_its_relative_accuracy_in_float32():
    gate = exported("arctan")
    score = gate.score_weight(torch.tensor([40.0, 100.0]), torch.ones(2))
    true = torch.tensor([math.exp(-40) / 100, math.exp(-100) / 100])
    torch.testing.assert_close(score, true, rtol=1e-6, atol=2e-45)
    assert gate.score_weight(torch.tensor([600.0], dtype=torch.float64), torch.ones(1)) == pytest.approx(
        math.exp(-600) / 100, rel=1e-13
    )


def test_one_advantage_per_row_or_per_token_and_nothing_else():
    gate = exported("arctan")
    z, rows = torch.linspace(-1, 1, 9).reshape(3, 3), torch.tensor([1.0, -1.0, 2.0])
    assert torch.equal(gate(z, rows), gate(z, rows[:, None].expand(3, 3)))
    assert torch.equal(gate(z, torch.tensor(1.0)), gate(z, torch.ones(3, 3)))
    assert torch.equal(gate(z, rows, torch.tensor([1, 0, 1]))[1], torch.zeros(3))
    for shape in ([2], [4, 3], [1, 3, 3]):
        with pytest.raises(ValueError, match="advantage of shape"):
            gate(z, torch.ones(shape))
    with pytest.raises(ValueError, match="mask of shape"):
        gate(z, rows, torch.ones(4))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_result_has_the_shape_and_dtype_of_the_log_ratio(dtype):
    z = torch.zeros(2, 3, dtype=dtype)
    result = exported("arctan")(z, torch.ones(2, dtype=torch.float64))
    assert (result.shape, result.dtype) == (z.shape, dtype)


def test_a_large_batch_is_the_same_as_its_rows():
    gate = exported("arctan")
    generator = torch.Generator().manual_seed(0)
    z, advantage = torch.randn(401, 1000, generator=generator), torch.randn(401, generator=generator)
    mask = torch.rand(401, 1000, generator=generator) < 0.9
    by_row = torch.stack([gate(*row) for row in zip(z, advantage, mask, strict=True)])
    assert torch.equal(gate(z, advantage, mask), by_row)
    slopes = torch.stack([gradient(gate, *row) for row in zip(z, advantage, mask, strict=True)])
    assert torch.equal(gradient(gate, z, advantage, mask), slopes)


def test_an_empty_batch_is_an_empty_result():
    assert exported("arctan")(torch.zeros(0, 5), torch.zeros(0)).shape == (0, 5)


def test_a_gate_without_closed_value_has_the_integral_of_its_weight():
    gate, arctan = exported(LOG_SECH), exported(declared('weight = "sech(log(r))^2/(1 + r^4)"'))
    z, one = torch.tensor([0.0, 0.1, 1e4, math.inf, -math.inf]), torch.ones(5)
    r = math.exp(0.1)
    assert gradient(gate, z, one)[1].item() == pytest.approx(r / math.cosh(0.5) ** 2, rel=1e-6)
    value = gate(z, one)
    assert value[0] == 1
    assert value[2] == value[3]
    rise = torch.trapezoid(gate.score_weight(torch.linspace(0, 3, 3001), torch.tensor(1.0)), dx=1e-3)
    torch.testing.assert_close(value[2], 1 + rise, rtol=1e-6, atol=0)
    assert torch.isfinite(arctan(z, one)).all()


def test_a_value_that_would_be_infinite_everywhere_is_refused():
    with pytest.raises(ExportError, match="the gate has no value: phi cannot be integrated"):
        exported(declared('weight = "1/(r - 2)^2 + exp(-(r - 1)^4)"'))


@pytest.mark.parametrize(
    ("weight", "at", "there"),
    [
        ("exp(-(r - 1)^2)*sin(r - 1)/(r - 1)", 0.0, 1.0),
        ("exp(-z^2)*sin(z - 1/2)/(z - 1/2)", 0.5, math.exp(-0.25)),
        ("(r^2 - 1)/(r - 1)*exp(-r)", 0.0, 2 * math.exp(-1)),
    ],
)
def test_a_removable_singularity_is_filled_by_its_limit_wherever_it_is(weight, at, there):
    gate = exported(declared(f'weight = "{weight}"'))
    for dtype in DTYPES:
        z = torch.tensor([at, at + 0.125], dtype=dtype)
        assert gate.weight(z, torch.ones(2))[0].item() == pytest.approx(there, rel=torch.finfo(dtype).eps)
        assert gate.weight(z, torch.ones(2)).isfinite().all()
        assert gradient(gate, z, torch.ones(2))[0].item() == pytest.approx(
            math.exp(at) * there, rel=torch.finfo(dtype).eps
        )


def test_a_value_that_no_table_can_hold_is_refused():
    with pytest.raises(ExportError, match="turns too often"):
        exported(declared('weight = "sin(r^2)/r^2"'))


def test_a_function_torch_does_not_have_is_named():
    with pytest.raises(ExportError, match="no torch function for LambertW"):
        exported(declared('weight = "LambertW(r)"'))


def test_values_outside_the_certified_domain_are_refused():
    with pytest.raises(ParameterValueError, match="tau=0 is outside"):
        exported_at("arctan", positive={"tau": 0})
    with pytest.raises(UnknownParameter, match="'tua'"):
        exported_at("arctan", negative={"tua": 1})


WITNESS = SimpleNamespace(r=("2",), why="w = 4 > 1")
REFUTED = SimpleNamespace(id="unit-peak", verdict="refuted", witness=WITNESS)
UNDECIDED = SimpleNamespace(id="monotone-decay", verdict="undecided", witness=None)


@pytest.mark.parametrize(
    ("verdict", "requirements", "says"),
    [
        ("refuted", (UNDECIDED, REFUTED), r"unit-peak is refuted at r = 2 \(w = 4 > 1\)\. Pass allow_uncertified=True"),
        ("undecided", (UNDECIDED,), "monotone-decay is undecided"),
    ],
)
def test_an_uncertified_gate_is_refused_or_marked(verdict, requirements, says):
    certificate = Certified(declared('value = "r^2"'), verdict=verdict, requirements=requirements)
    with pytest.raises(NotCertified, match="cannot export gate 'mine': " + says):
        surrogate(certificate)  # type: ignore[arg-type]
    gate = surrogate(certificate, allow_uncertified=True)  # type: ignore[arg-type]
    assert not gate.certified
    assert "certified=False" in repr(gate)
