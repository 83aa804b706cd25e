"""`policy_loss` against ten lines of torch, its invariances, and what it refuses."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sapo_gates import certify
from sapo_gates.torch import surrogate
from sapo_train import policy_loss
from sapo_train.errors import ShapeError
from sapo_train.metrics import diagnostics
from sapo_train.objective import count, k3, log_ratio, reduce

REDUCTIONS = ("seq-mean-token-mean", "token-mean", "seq-mean-token-sum-norm")
LEVELS = ("token", "sequence", "sequence-sum")


def example(batch=5, length=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(batch, length, generator=generator) * 3
    new = (old + 0.2 * torch.randn(batch, length, generator=generator)).requires_grad_()
    advantages = torch.randn(batch, generator=generator)
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    return new, old, advantages, torch.arange(length) < lengths[:, None]


def by_hand(new, old, advantages, mask, gate, reduction, level, max_length):
    """The objective as one would write it on paper, completion by completion."""
    total, tokens = torch.zeros(()), 0
    for n, o, a, m in zip(new, old, advantages, mask, strict=True):
        z = (n - o)[m]
        if level == "sequence":
            z = z.mean().expand_as(z)
        if level == "sequence-sum":
            z = z.sum().expand_as(z)
        f = gate(z, a.expand_as(z))
        total = total + (f.mean() if reduction == "seq-mean-token-mean" else f.sum())
        tokens += len(z)
    by = {"seq-mean-token-mean": len(new), "token-mean": tokens, "seq-mean-token-sum-norm": len(new) * max_length}
    return -total / by[reduction]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_loss_and_gradient_are_those_written_by_hand(gate, reduction, level):
    new, old, advantages, mask = example()
    loss, _ = policy_loss(new, old, advantages, mask, gate=gate, reduction=reduction, ratio_level=level, max_length=9)
    expected = by_hand(new, old, advantages, mask, gate, reduction, level, 9)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, new)[0], torch.autograd.grad(expected, new)[0])


def test_on_policy_the_gradient_is_that_of_reinforce(gate):
    new, _, advantages, mask = example()
    loss, metrics = policy_loss(new, new.detach(), advantages, mask, gate=gate)
    gradient = torch.autograd.grad(loss, new)[0]
    expected = -advantages[:, None] * mask / mask.sum(-1, keepdim=True) / len(new)
    torch.testing.assert_close(gradient, expected)
    assert metrics["effective_update_ratio"] == 1


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_microbatches_in_any_order_with_any_padding_give_the_same_loss_and_gradient(gate, reduction):
    new, old, advantages, mask = example(batch=6)
    options = {"gate": gate, "reduction": reduction, "max_length": 9}
    whole, _ = policy_loss(new, old, advantages, mask, **options)
    expected = torch.autograd.grad(whole, new)[0]
    denominator = count(mask, reduction, 9)
    total, gradient = 0.0, torch.zeros_like(new)
    for rows in ([4, 0], [2], [5, 3, 1]):
        wide = [torch.nn.functional.pad(x[rows], (0, 3)) for x in (new, old, mask)]
        part, _ = policy_loss(wide[0], wide[1], advantages[rows], wide[2], denominator=denominator, **options)
        total += part.item()
        gradient += torch.autograd.grad(part, new)[0]
    assert total == pytest.approx(whole.item(), rel=1e-5)
    torch.testing.assert_close(gradient, expected)


def test_microbatch_means_without_the_global_denominator_would_differ(gate):
    new, old, advantages, mask = example(batch=6)
    whole, _ = policy_loss(new, old, advantages, mask, gate=gate, reduction="token-mean")
    parts = [
        policy_loss(new[r], old[r], advantages[r], mask[r], gate=gate, reduction="token-mean")[0].item()
        for r in ([0, 1, 2], [3, 4, 5])
    ]
    assert sum(parts) / 2 != pytest.approx(whole.item(), rel=1e-3)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_what_is_masked_poisons_nothing(gate, reduction, level):
    new, old, advantages, mask = example()
    options = {"gate": gate, "reduction": reduction, "ratio_level": level, "max_length": 9}
    clean, _ = policy_loss(new, old, advantages, mask, **options)
    expected = torch.autograd.grad(clean, new)[0]
    dirty_new = torch.where(mask, new.detach(), torch.nan).requires_grad_()
    dirty_old = torch.where(mask, old, -torch.inf)
    dirty_advantages = torch.where(mask, advantages[:, None], torch.nan)
    loss, metrics = policy_loss(dirty_new, dirty_old, dirty_advantages, mask, **options)
    assert torch.equal(loss, clean)
    assert torch.equal(torch.autograd.grad(loss, dirty_new)[0], expected)
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_nan_that_counts_stays_visible(gate):
    new, old, advantages, mask = example()
    poisoned = new.detach().clone()
    poisoned[0, 0] = torch.nan
    assert policy_loss(poisoned, old, advantages, mask, gate=gate)[0].isnan()


def test_a_completion_that_is_masked_whole_counts_nowhere(gate):
    new, old, advantages, mask = example()
    mask[2] = False
    kept = [0, 1, 3, 4]
    for reduction in REDUCTIONS:
        options = {"gate": gate, "reduction": reduction, "max_length": 9}
        with_it, metrics = policy_loss(new, old, advantages, mask, **options)
        without, expected = policy_loss(new[kept], old[kept], advantages[kept], mask[kept], **options)
        torch.testing.assert_close(with_it, without)
        assert metrics == pytest.approx(expected)


def test_nothing_that_counts_gives_loss_zero_and_gradient_zero(gate):
    new, old, advantages, mask = example()
    loss, metrics = policy_loss(new, old, advantages, torch.zeros_like(mask), gate=gate)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, new)[0].any()
    assert metrics["tokens"] == 0


def test_doubles_stay_doubles_and_bfloat16_is_widened(gate):
    new, old, advantages, mask = example()
    exact, _ = policy_loss(new.double(), old.double(), advantages.double(), mask, gate=gate)
    assert exact.dtype == torch.float64
    rough, _ = policy_loss(new.bfloat16(), old.bfloat16(), advantages, mask, gate=gate)
    assert rough.dtype == torch.float32


def test_old_log_probs_and_advantages_carry_no_gradient(gate):
    new, old, advantages, mask = example()
    old.requires_grad_()
    advantages.requires_grad_()
    loss, _ = policy_loss(new, old, advantages, mask, gate=gate)
    assert torch.autograd.grad(loss, [new, old, advantages], allow_unused=True)[1:] == (None, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"log_probs": torch.zeros(3)}, "log_probs has shape (3,)"),
        ({"old_log_probs": torch.zeros(2, 4)}, "old_log_probs has shape (2, 4)"),
        ({"mask": torch.ones(2, 1)}, "mask has shape (2, 1)"),
        ({"advantages": torch.zeros(3)}, "advantages has shape (3,)"),
        ({"advantages": torch.zeros(2, 1)}, "advantages has shape (2, 1)"),
        ({"mask": torch.full((2, 3), 0.5)}, "mask must be bool"),
        ({"reduction": "mean"}, "reduction='mean' must be one of"),
        ({"ratio_level": "word"}, "ratio_level='word' must be one of"),
        ({"reduction": "seq-mean-token-sum-norm"}, "needs max_length"),
    ],
)
def test_what_does_not_fit_together_is_one_clear_sentence(gate, change, says):
    arguments = {
        "log_probs": torch.zeros(2, 3),
        "old_log_probs": torch.zeros(2, 3),
        "advantages": torch.zeros(2),
        "mask": torch.ones(2, 3),
    }
    arguments |= change
    tensors = [arguments.pop(name) for name in ("log_probs", "old_log_probs", "advantages", "mask")]
    with pytest.raises(ShapeError, match=r"^[^\n]+$") as error:
        policy_loss(*tensors, gate=gate, **arguments)
    assert says in str(error.value)


def test_metrics_are_their_definitions(gate):
    new, old, advantages, mask = example(batch=4)
    group = torch.tensor([0, 0, 1, 1])
    wide = advantages[:, None].expand_as(old)
    z = log_ratio(new.detach(), old, mask, "token")
    metrics = diagnostics(z, wide, mask, gate, group)
    w = gate.weight(z, wide).double()
    r = z[mask].double().exp()
    by_prompt = [w[group == g][mask[group == g]].mean().item() for g in (0, 1)]
    assert metrics["effective_update_ratio"] == pytest.approx(sum(by_prompt) / 2)
    for sign, part in (("positive", wide > 0), ("negative", wide < 0)):
        assert metrics[f"effective_update_ratio_{sign}"] == pytest.approx(w[mask & part].mean().item())
    assert metrics["ratio_mean"] == pytest.approx(r.mean().item())
    assert metrics["ratio_var"] == pytest.approx(r.var(correction=0).item())
    assert (metrics["ratio_min"], metrics["ratio_max"]) == pytest.approx((r.min().item(), r.max().item()))
    assert metrics["log_ratio_var"] == pytest.approx(z[mask].var(correction=0).item())
    per_sequence = [row[m].var(correction=0).item() for row, m in zip(z, mask, strict=True)]
    assert metrics["log_ratio_var_per_sequence"] == pytest.approx(sum(per_sequence) / 4)
    assert metrics["kl_old_new_k3"] == pytest.approx((r - 1 - r.log()).mean().item())
    assert metrics["effective_sample_size"] == pytest.approx((r.sum() ** 2 / (len(r) * (r**2).sum())).item())
    phi = gate.score_weight(z, wide)[mask].double()
    for share in (5, 50, 95):
        assert metrics[f"score_weight_q{share:02}"] == pytest.approx(phi.quantile(share / 100).item())
    for name in ("mean", "min", "max"):
        assert metrics[f"log_ratio_{name}"] == pytest.approx(getattr(z[mask], name)().item())
    assert metrics["beyond_half_width"] == pytest.approx((w[mask] < 0.5).double().mean().item())
    gaps = [
        gate.weight(row[m].mean(), a).item() - gate.weight(row[m], a.expand_as(row[m])).mean().item()
        for row, a, m in zip(z.double(), advantages, mask, strict=True)
    ]
    assert metrics["weight_gap"] == pytest.approx(sum(map(abs, gaps)) / 4, abs=1e-7)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_kl_and_correction_are_those_written_by_hand(gate, reduction):
    new, old, advantages, mask = example()
    sampler, reference = old - 0.3 * torch.rand_like(old), old + 0.5 * torch.rand_like(old)
    options = {"gate": gate, "reduction": reduction, "max_length": 9}
    loss, _ = policy_loss(
        new, old, advantages, mask, sampler_log_probs=sampler, correction="token",
        reference_log_probs=reference, kl_weight=0.3, kl_ratio_correction=True, **options
    )  # fmt: skip
    total = torch.zeros(())
    for n, o, s, p, a, m in zip(new, old, sampler, reference, advantages, mask, strict=True):
        n, o, s, p = n[m], o[m], s[m], p[m]
        terms = (o - s).exp().clamp(max=2) * gate(n - o, a.expand_as(n))
        terms = terms - 0.3 * (n - o).exp() * ((p - n).exp() - 1 - (p - n))
        total = total + (terms.mean() if reduction == "seq-mean-token-mean" else terms.sum())
    expected = -total / count(mask, reduction, 9)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, new)[0], torch.autograd.grad(expected, new)[0])


def test_the_correction_of_a_sequence_is_the_capped_product_of_its_tokens(gate):
    old, mask = torch.zeros(2, 3), torch.tensor([[True, True, False], [True, True, True]])
    sampler = torch.tensor([[0.1, 0.2, 9.0], [-1.0, -1.0, 0.0]])
    plain = [policy_loss(old[[k]], old[[k]], torch.ones(1), mask[[k]], gate=gate)[0] for k in (0, 1)]
    options = {"gate": gate, "sampler_log_probs": sampler, "correction": "sequence"}
    loss, _ = policy_loss(old, old, torch.ones(2), mask, **options)
    torch.testing.assert_close(loss, (math.exp(-0.3) * plain[0] + 2 * plain[1]) / 2)


@pytest.mark.parametrize("ratio_correction", [False, True])
@pytest.mark.parametrize("d", [-math.inf, -1e30, -300.0, -1.0, 0.0, 1e-4, 19.9, 20.1, 89.0, 1e30, math.inf])
def test_kl_and_its_gradient_are_finite_for_every_log_ratio(gate, d, ratio_correction):
    new = torch.tensor([[-d if math.isinf(d) else 0.0]], requires_grad=True)
    reference = torch.tensor([[0.0 if math.isinf(d) else d]])
    options = {"reference_log_probs": reference, "kl_weight": 1.0, "kl_ratio_correction": ratio_correction}
    loss, _ = policy_loss(new, torch.zeros(1, 1), torch.zeros(1), torch.ones(1, 1), gate=gate, **options)
    assert loss.isfinite()
    assert loss >= 0
    assert torch.autograd.grad(loss, new)[0].isfinite().all()


def test_k3_is_its_formula_up_to_the_knee_and_convex_beyond():
    d = torch.linspace(-30, 19.99, 400, dtype=torch.double)
    torch.testing.assert_close(k3(d), d.exp() - 1 - d)
    far = torch.linspace(19, 60, 400, dtype=torch.double)
    assert (k3(far).diff().diff() >= -1e-6 * k3(far)[2:]).all()


def test_the_gradient_of_k3_with_the_ratio_correction_is_that_of_the_kl_itself(gate):
    """Over all tokens of a small vocabulary, weighted by the old policy: exactly d KL(new‖reference)."""
    generator = torch.Generator().manual_seed(0)
    logits, old, reference = torch.randn(3, 6, generator=generator, dtype=torch.double)
    logits.requires_grad_()
    log_p, log_q, log_o = (x.log_softmax(-1) for x in (logits, reference, old))
    exact = (log_p.exp() * (log_p - log_q)).sum()
    r = (log_p - log_o).exp()
    corrected = (log_o.exp() * r * k3(log_q - log_p)).sum()
    gradients = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (exact, corrected)]
    torch.testing.assert_close(*gradients)
    options = {"reference_log_probs": log_q[None], "kl_weight": 1.0, "kl_ratio_correction": True}
    ones = torch.ones(1, 6)
    loss, _ = policy_loss(log_p[None], log_o[None], torch.zeros(1), ones, gate=gate, **options)
    torch.testing.assert_close(loss, (r * k3(log_q - log_p)).mean())


@pytest.mark.parametrize("missing", ["sampler", "reference"])
def test_log_probs_that_a_term_needs_are_asked_for(gate, missing):
    new, old, advantages, mask = example()
    options: dict[str, Any] = {"correction": "token"} if missing == "sampler" else {"kl_weight": 0.1}
    with pytest.raises(ShapeError, match=f"^{missing}_log_probs is None"):
        policy_loss(new, old, advantages, mask, gate=gate, **options)


def test_the_gap_between_gating_tokens_and_gating_their_mean_is_below_its_bound():
    from sapo_gates.datasheet import log_curvature

    certificate = certify("sigmoid")
    gate = surrogate(certificate, positive={"tau": 1}, negative={"tau": 1})
    bounds = log_curvature(certificate.gate, {"tau": 1}, {"tau": 1})
    for scale in (0.01, 0.1, 1.0):
        z = math.log(2.2) + scale * torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
        mask = torch.ones(7, 50, dtype=torch.bool)
        metrics = diagnostics(z, torch.ones(7, 50), mask, gate, log_curvature=bounds)
        assert 0 < metrics["weight_gap"] <= metrics["weight_gap_bound"]


def test_the_papers_constant_would_not_bound_the_gap():
    """tau**2/2 is sup|g''| of another gate: at tau = 1, z = log 2.2 ± 0.1 the gap is above tau**2/4 · Var."""
    gate = surrogate(certify("sigmoid"), positive={"tau": 1}, negative={"tau": 1})
    z = math.log(2.2) + torch.tensor([[0.1, -0.1]], dtype=torch.double)
    metrics = diagnostics(z, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), gate)
    assert metrics["weight_gap"] == pytest.approx(0.005297, abs=1e-6)
    assert metrics["weight_gap"] > 1 / 4 * metrics["log_ratio_var_per_sequence"]


def test_clip_fraction_counts_the_kill_side_alone(hard_clip):
    z = torch.tensor([[1.0, -1.0, 0.0, 1.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    up = diagnostics(z, torch.ones(1, 4), mask, hard_clip)
    down = diagnostics(z, -torch.ones(1, 4), mask, hard_clip)
    assert (up["clip_fraction"], down["clip_fraction"]) == (0.5, 0.25)
    assert up["effective_update_ratio"] == 1 - up["clip_fraction"]


def test_metrics_stay_finite_where_ratios_are_extreme(gate):
    z = torch.tensor([[80.0, -80.0, 0.0]])
    metrics = diagnostics(z, torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool), gate)
    assert all(math.isfinite(value) for value in metrics.values())


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_loss_of_one_everywhere_reduces_to_one_unless_nothing_counts(rows):
    mask = torch.tensor(rows)
    for reduction in ("seq-mean-token-mean", "token-mean"):
        mean = reduce(torch.ones(mask.shape), mask, reduction) / max(count(mask, reduction), 1)
        assert mean.item() == pytest.approx(float(mask.any()))
