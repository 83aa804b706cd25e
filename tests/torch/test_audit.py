"""A right loss holds in every property; the same with one thing wrong at a time breaks those it should."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from sapo_gates import certify, load_gate
from sapo_gates.cli import main
from sapo_gates.errors import AuditError
from sapo_gates.torch import TorchGate, surrogate
from sapo_gates.torch.audit import Audit, audit
from sapo_train import policy_loss


@dataclass(frozen=True)
class Steps:
    """A SAPO loss in steps: log-ratio, ratio, gate, token term, reduction."""

    log_ratio: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    gate: Callable[[Tensor, Tensor], Tensor]
    term: Callable[[Tensor, Tensor, Tensor], Tensor]
    reduce: Callable[[Tensor, Tensor], Tensor]
    temperatures: Callable[[float, float], tuple[float, float]]
    per_token: Callable[[Tensor, float, float], Tensor]

    def loss(self) -> Callable[..., Tensor]:
        def sapo_loss(
            log_probs: Tensor,
            old_log_probs: Tensor,
            advantages: Tensor,
            mask: Tensor,
            tau_pos: float = 10.0,
            tau_neg: float = 12.0,
        ) -> Tensor:
            positive, negative = self.temperatures(tau_pos, tau_neg)
            a = advantages if advantages.dim() == 2 else advantages[:, None].expand_as(log_probs)
            tau = self.per_token(a, positive, negative)
            z = self.log_ratio(log_probs, old_log_probs, a, mask.bool())
            return self.reduce(-self.term(self.gate(z, tau), a, log_probs), mask)

        return sapo_loss


def guarded(log_probs: Tensor, old: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask & (a != 0), log_probs - old, 0.0).clamp(max=7.0)


def plain(log_probs: Tensor, old: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    return log_probs - old


def clamped_at_20(log_probs: Tensor, old: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask & (a != 0), log_probs - old, 0.0).clamp(-20, 20)


def mask_unseen(log_probs: Tensor, old: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    return torch.where(a != 0, log_probs - old, 0.0).clamp(max=7.0)


def sigmoid_gate(z: Tensor, tau: Tensor) -> Tensor:
    return torch.sigmoid(tau * torch.expm1(z)) * 4 / tau


def without_4_over_tau(z: Tensor, tau: Tensor) -> Tensor:
    return torch.sigmoid(tau * torch.expm1(z))


def where_after_exp(z: Tensor, tau: Tensor) -> Tensor:
    value = torch.sigmoid(tau * (torch.exp(z) - 1)) * 4 / tau
    return torch.where(z.abs() < 20, value, 4 / tau)


def value_as_detached_weight(f: Tensor, a: Tensor, log_probs: Tensor) -> Tensor:
    return f.detach() * a * log_probs


def mean_of_means(terms: Tensor, mask: Tensor) -> Tensor:
    terms = torch.where(mask.bool(), terms, 0.0)
    return (terms.sum(1) / mask.sum(1).clamp(min=1)).mean()


def token_mean(terms: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.bool(), terms, 0.0).sum() / mask.sum()


def by_padded_width(terms: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.bool(), terms, 0.0).sum() / terms.numel()


def by_root_of_length(terms: Tensor, mask: Tensor) -> Tensor:
    return (torch.where(mask.bool(), terms, 0.0).sum(1) / mask.sum(1).clamp(min=1).sqrt()).mean()


def first_completion_twice(terms: Tensor, mask: Tensor) -> Tensor:
    per_row = torch.where(mask.bool(), terms, 0.0).sum(1) / mask.sum(1).clamp(min=1)
    return (per_row.sum() + per_row[0] * (len(per_row) > 1)) / (len(per_row) + (len(per_row) > 1))


def mask_ignored(terms: Tensor, mask: Tensor) -> Tensor:
    return terms.mean(1).mean()


def mask_multiplied(terms: Tensor, mask: Tensor) -> Tensor:
    return ((terms * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def checked(positive: float, negative: float) -> tuple[float, float]:
    if positive <= 0 or negative <= 0:
        raise ValueError("temperatures must be > 0")
    return positive, negative


def of_the_sign(a: Tensor, positive: float, negative: float) -> Tensor:
    return torch.where(a > 0, positive, negative)


def rounded_with_the_tensors(a: Tensor, positive: float, negative: float) -> Tensor:
    return torch.where(a > 0, torch.full_like(a, positive), torch.full_like(a, negative))


RIGHT = Steps(guarded, sigmoid_gate, lambda f, a, log_probs: f * a, mean_of_means, checked, of_the_sign)

FLOATS = ("finite-float64", "finite-float32", "finite-bfloat16", "finite-float16")
MATCHES = tuple(f"matches-sigmoid-{dtype}" for dtype in ("float64", "float32", "bfloat16", "float16"))

ZOO: dict[str, tuple[Steps, tuple[str, ...]]] = {
    "4/tau missing": (replace(RIGHT, gate=without_4_over_tau), ("unit-weight", *MATCHES)),
    "the value, detached, as the weight": (
        replace(RIGHT, term=value_as_detached_weight),
        ("unit-weight", "gradient-of-value", *MATCHES),
    ),
    "everything detached": (
        replace(RIGHT, term=lambda f, a, log_probs: f.detach() * a),
        ("unit-weight", "advantage-sign", "advantage-size", "gradient-of-value", *MATCHES, "reduction"),
    ),
    "exp of an unclamped log-ratio": (replace(RIGHT, log_ratio=plain), ("mask-safe", "zero-advantage-safe", *FLOATS)),
    "a where after the exp": (
        replace(RIGHT, log_ratio=plain, gate=where_after_exp),
        ("mask-safe", "zero-advantage-safe", *FLOATS),
    ),
    "a clamp at 20 in float16": (replace(RIGHT, log_ratio=clamped_at_20), ("finite-float16",)),
    "the sign dropped": (
        replace(RIGHT, term=lambda f, a, log_probs: f * a.abs()),
        ("unit-weight", "advantage-sign", *MATCHES),
    ),
    "the advantage dropped": (
        replace(RIGHT, term=lambda f, a, log_probs: f * torch.sign(a)),
        ("advantage-size",),
    ),
    "one temperature for both signs": (
        replace(RIGHT, temperatures=lambda p, n: checked(p, p)),
        (*MATCHES, "knob-alive-tau_neg", "temperature-refused-tau_neg"),
    ),
    "the temperatures swapped": (replace(RIGHT, temperatures=lambda p, n: checked(n, p)), MATCHES),
    "any temperature accepted": (
        replace(RIGHT, temperatures=lambda p, n: (p, n)),
        ("temperature-refused-tau_pos", "temperature-refused-tau_neg"),
    ),
    "a temperature of the tensors' dtype": (
        replace(RIGHT, per_token=rounded_with_the_tensors),
        ("temperature-kept-tau_pos", "temperature-kept-tau_neg"),
    ),
    "a reduction that depends on the split": (replace(RIGHT, reduce=token_mean), ("microbatch-invariant",)),
    "a reduction that depends on padding": (replace(RIGHT, reduce=by_padded_width), ("padding-invariant",)),
    "a reduction of nobody's": (replace(RIGHT, reduce=by_root_of_length), ("reduction",)),
    "an order that matters": (
        replace(RIGHT, reduce=first_completion_twice),
        ("reduction", "microbatch-invariant", "order-invariant"),
    ),
    "the mask ignored": (
        replace(RIGHT, log_ratio=mask_unseen, reduce=mask_ignored),
        ("mask-safe", "padding-invariant"),
    ),
    "the mask multiplied after an unguarded exp": (
        replace(RIGHT, log_ratio=plain, reduce=mask_multiplied),
        ("mask-safe", "zero-advantage-safe", *FLOATS),
    ),
}
"""Each defect, and every property that it breaks."""


SIGMOID = load_gate("sigmoid")


def failed(found: Audit) -> set[str]:
    return {finding.id for finding in found.findings if finding.verdict == "fails"}


@pytest.mark.parametrize("defect", ZOO)
def test_each_defect_breaks_the_properties_it_should_and_no_other(defect):
    steps, broken = ZOO[defect]
    assert failed(audit(steps.loss(), against=SIGMOID, prove=False)) == set(broken)


def test_a_right_loss_holds_and_its_formula_is_proved():
    found = audit(RIGHT.loss(), against=SIGMOID)
    assert found.holds
    assert found.shape == "policy-loss"
    assert found.level == "token"
    assert next(f.says for f in found.findings if f.id == "reduction").startswith("seq-mean-token-mean")
    assert found.certificate is not None
    refuted = {entry.id for entry in found.certificate.requirements if entry.verdict == "refuted"}
    assert refuted == {"continuously-differentiable"}  # the clamp at z = 7: a corner that floats never show


def test_the_implied_gate_is_the_gate():
    found = audit(RIGHT.loss(), prove=False, only=())
    for (r, value, weight, score), tau in zip(found.implied["negative"], [12.0] * 13, strict=True):
        true = 4 / tau * (1 / (1 + math.exp(-tau * (r - 1))) - 0.5)
        assert value == pytest.approx(true, abs=2e-4)
        assert weight == pytest.approx(math.cosh(min(tau * (r - 1) / 2, 300)) ** -2, abs=1e-9)
        assert score == pytest.approx(r * weight)


def test_a_failure_names_the_smallest_log_ratio_that_shows_it():
    found = audit(replace(RIGHT, log_ratio=plain).loss(), prove=False, only=("finite",))
    at = {finding.id: finding.input["z"] for finding in found.findings}
    assert at["finite-float32"] == pytest.approx(88.7228, abs=0.02)  # log of the largest float32
    assert at["finite-float16"] == pytest.approx(11.0898, abs=0.002)
    assert at["finite-float64"] == pytest.approx(709.7827, abs=0.1)


def test_a_loss_that_sees_no_mask_is_shown_with_a_log_ratio_of_zero_and_the_gradient_there():
    def unmasked(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        ratio = (log_probs - old_log_probs).clamp(-20, 20).exp()
        return -(0.4 * torch.sigmoid(10 * (ratio - 1)) * advantages[:, None]).mean()

    found = audit(unmasked, against=SIGMOID, prove=False, only=("inert-tokens",))
    mask_safe = next(finding for finding in found.findings if finding.id == "mask-safe")
    assert mask_safe.input["z"] == 0
    assert "its gradient is 0.5, not 0" in mask_safe.says  # one of two tokens, of weight 1


@pytest.fixture(scope="module")
def ours() -> TorchGate:
    return surrogate(certify("sigmoid"))


CHEAP = ("unit-weight", "inert-tokens", "reduction", "invariance")


def test_our_export_and_our_policy_loss_hold(ours):
    for function, knobs in ((ours, {}), (policy_loss, {"gate": ours})):
        found = audit(function, name="ours", against=SIGMOID, knobs=knobs, only=CHEAP, prove=False)
        assert found.holds, failed(found)


@pytest.mark.slow
def test_our_export_and_our_policy_loss_hold_in_every_property(ours):
    for function, knobs in ((ours, {}), (policy_loss, {"gate": ours})):
        found = audit(function, name="ours", against=SIGMOID, knobs=knobs, prove=False)
        assert found.holds, failed(found)


def gate_of_ratio(ratio: Tensor, tau: float = 10.0) -> Tensor:
    return torch.sigmoid(tau * (ratio - 1)) * 4 / tau


def gate_of_log_ratio(log_ratio: Tensor, advantages: Tensor) -> Tensor:
    tau = torch.where(advantages > 0, 10.0, 12.0).to(log_ratio.dtype)
    return torch.sigmoid(tau * torch.expm1(log_ratio.clamp(max=7.0))) * 4 / tau


def test_a_gate_of_the_ratio_is_audited_where_its_caller_can_form_one():
    found = audit(gate_of_ratio, against=SIGMOID.bind(tau=10))
    assert (found.shape, failed(found)) == ("ratio-gate", {"temperature-refused-tau"})
    assert found.certificate is not None
    assert found.certificate.verdict == "certified"


def test_a_gate_of_the_log_ratio_takes_the_sign_of_the_advantage():
    found = audit(gate_of_log_ratio, against=SIGMOID, prove=False)
    assert (found.shape, failed(found)) == ("log-ratio-gate", set())


def sequence_clip(log_probs, old_log_probs, advantages, mask, eps: float = 0.2):
    counts = mask.sum(-1).clamp(min=1)
    s = (torch.where(mask.bool(), log_probs - old_log_probs, 0.0).sum(-1) / counts).exp()
    a = advantages if advantages.dim() == 1 else advantages[:, 0]
    clipped = torch.minimum(s * a, s.clamp(1 - eps, 1 + eps) * a)
    return -clipped.mean(), {"clip_fraction": 0.0}


def test_a_ratio_of_the_whole_completion_and_a_dead_metric_are_seen():
    found = audit(sequence_clip, against=load_gate("hard-clip"), prove=False, only=("reduction", "clip-metrics"))
    assert found.level == "sequence"
    assert failed(found) == {"clip-metric-alive"}


def per_token(logprobs, old_logprobs, advantages):
    return -torch.exp((logprobs - old_logprobs).clamp(max=8.0)) * advantages


def test_a_loss_per_token_leaves_its_reduction_to_the_caller():
    found = audit(per_token, prove=False, only=("reduction", "unit-weight"))
    assert [finding.verdict for finding in found.findings] == ["not-applicable", "holds"]


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (lambda a, b: a, {}, "has no shape known here"),
        (per_token, {"shape": "policyloss"}, "Did you mean 'policy-loss'"),
        (gate_of_ratio, {"knobs": {"tua": 1}}, "Did you mean 'tau'"),
        (gate_of_ratio, {"shape": "verl"}, "has no ActorConfig"),
        (lambda ratio, eps: ratio, {}, "needs 'eps'"),
        (lambda ratio: ratio @ ratio @ ratio, {"shape": "log-ratio-gate"}, "name another shape"),
        (lambda log_probs, old_log_probs, advantages: log_probs @ advantages, {}, "neither as"),
    ],
)
def test_what_cannot_be_called_is_refused(function, options, says):
    with pytest.raises(AuditError, match=says):
        audit(function, name="mine", prove=False, **options)


def test_the_command_exits_with_the_verdict(tmp_path, monkeypatch, capsys):
    (tmp_path / "losses_under_audit.py").write_text(
        "import torch\n\n\ndef gate(log_ratio):\n"
        "    return torch.sigmoid(10 * torch.expm1(log_ratio.clamp(max=7.0))) * 0.4\n"
        "\n\ndef wrong(log_ratio):\n    return torch.sigmoid(torch.exp(log_ratio))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    against = ["--against", "sigmoid", "--set", "tau=10"]
    assert main(["audit", "losses_under_audit:gate", *against]) == 0
    assert "every property HOLDS" in capsys.readouterr().out
    assert main(["audit", "losses_under_audit:wrong", "--json", *against]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "fails"
    assert report["properties"][0] == {
        "id": "unit-weight",
        "verdict": "fails",
        "says": "an on-policy token has weight 0.196612, not 1",
        "input": {"z": 0.0, "A": 1.0},
    }
    assert report["trace"]["formula"]["positive"] == "sigmoid(r)"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no_such_module:f"], "cannot take 'no_such_module:f'"),
        (["math:no_such"], "write pkg.module:NAME"),
        (["math:sin", "--knob", "tau"], "is no setting"),
        (["math:sin", "--set", "tau=1"], "--against"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, says, capsys):
    assert main(["audit", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
