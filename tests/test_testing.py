import doctest
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from pages import blocks, says_otherwise

import sapo_gates.testing
from sapo_gates import certify
from sapo_gates.errors import AuditError
from sapo_gates.testing import assert_finite, assert_holds, assert_inert, batches, log_ratios
from sapo_gates.torch import surrogate
from sapo_train import policy_loss

GATE = surrogate(certify("sigmoid"))
few = settings(
    max_examples=40,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_what_the_guide_shows_is_what_happens():
    guide = (Path(__file__).parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert not (said := says_otherwise("\n".join(blocks(guide, "python")))), said


def test_what_the_module_shows_is_what_happens():
    result = doctest.testmod(sapo_gates.testing, optionflags=doctest.ELLIPSIS)
    assert result.attempted >= 5
    assert result.failed == 0


@given(batches())
@settings(few, max_examples=15)
def test_our_loss_is_finite_and_what_does_not_count_is_inert(batch):
    assert_finite(policy_loss, batch, gate=GATE)
    assert_inert(policy_loss, batch, gate=GATE)


def unguarded(log_probs, old_log_probs, advantages, mask):
    a = advantages if advantages.dim() == 2 else advantages[:, None]
    ratio = torch.exp(log_probs - old_log_probs)
    return -((torch.sigmoid(ratio - 1) * 4 * a * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def swallows_masked(log_probs, old_log_probs, advantages, mask):
    z = torch.where(mask.bool(), log_probs - old_log_probs, log_probs - old_log_probs.nan_to_num(0.0, 1.0, 1.0))
    return -(z.clamp(-8, 8).mean(1) * (advantages if advantages.dim() == 1 else advantages[:, 0])).mean()


@pytest.mark.parametrize("loss", [unguarded, swallows_masked])
def test_a_planted_defect_is_found_in_random_batches(loss):
    with pytest.raises(AssertionError, match=r"does not count|beside tokens"):
        few(given(batches())(lambda batch: assert_inert(loss, batch)))()


def test_a_gradient_that_is_no_number_is_found():
    with pytest.raises(AssertionError, match=r"loss is|gradient is"):
        few(given(batches())(lambda batch: assert_finite(unguarded, batch)))()


def test_every_property_or_those_named_are_asserted():
    with pytest.raises(AssertionError, match=r"mask-safe.*89|finite-float32"):
        assert_holds(unguarded, against="sigmoid", set={"tau": 1})
    assert_holds(unguarded, "unit-weight", "reduction", "invariance")


def test_a_property_that_does_not_exist_is_refused():
    with pytest.raises(AuditError, match="Did you mean 'finite'"):
        assert_holds(unguarded, "finit")


def test_the_strategy_reaches_the_killers():
    seen: set[float] = set()
    settings(max_examples=500, database=None)(given(log_ratios())(lambda z: seen.add(z)))()
    assert {float("inf"), float("-inf")} <= seen
    assert any(abs(z) > 88 for z in seen)
