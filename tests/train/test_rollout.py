"""The local engine: what is sampled is what the policy says, and nothing else decides it."""

import math
from dataclasses import replace

import pytest
import torch

from sapo_train.data import DataConfig, load_problems
from sapo_train.engine import Decoding
from sapo_train.errors import ConfigError
from sapo_train.local_engine import LocalEngine, choose, truncate
from sapo_train.policy import Policy
from sapo_train.rollout import SamplingConfig, sample

DECODING = Decoding(max_tokens=12, temperature=1.0)


def prompts(policy: Policy, number: int) -> list[torch.Tensor]:
    return [prompt.tokens for prompt in load_problems(DataConfig(), policy.tokenizer).train[0][:number]]


def streams(prompts: int, samples: int) -> list[tuple[int, int, int]]:
    return [(5, k, i) for k in range(prompts) for i in range(samples)]


def groups(policy: Policy, **options):
    config = replace(SamplingConfig(prompts=3, group_size=4, max_tokens=13), **options)
    problems = load_problems(DataConfig(), policy.tokenizer)
    return sample(LocalEngine(policy), problems.draw(0, 0, config.prompts), config, 0, 0)


def test_what_is_sampled_does_not_depend_on_what_else_is_in_the_batch(policy):
    asked, engine = prompts(policy, 3), LocalEngine(policy)
    together = engine.generate(asked, samples=2, decoding=DECODING, streams=streams(3, 2))
    alone = [
        s
        for k in (2, 0, 1)
        for s in engine.generate([asked[k]], samples=2, decoding=DECODING, streams=streams(3, 2)[2 * k : 2 * k + 2])
    ]
    for a, b in zip([together[i] for i in (4, 5, 0, 1, 2, 3)], alone, strict=True):
        assert torch.equal(a.tokens, b.tokens)
        torch.testing.assert_close(a.log_probs, b.log_probs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decoding", [DECODING, replace(DECODING, top_k=9, top_p=0.7)], ids=["all", "truncated"])
def test_equal_logits_give_the_same_token_to_the_bit_in_any_company(decoding):
    generator = torch.Generator().manual_seed(0)
    logits, uniform = torch.randn(40, 1000, generator=generator), torch.rand(40, generator=generator).double()
    whole = choose(logits, decoding, uniform)
    order = torch.randperm(40, generator=generator)
    for rows in (order, *order.split(1), *order.split(7)):
        for part, of_whole in zip(choose(logits[rows], decoding, uniform[rows]), whole, strict=True):
            assert torch.equal(part, of_whole[rows])


def test_a_longer_limit_continues_the_same_completion(policy):
    short, long = (
        LocalEngine(policy).generate(
            prompts(policy, 1), samples=2, decoding=replace(DECODING, max_tokens=n), streams=streams(1, 2)
        )
        for n in (5, 9)
    )
    assert all(torch.equal(a.tokens, b.tokens[: len(a.tokens)]) for a, b in zip(short, long, strict=True))


def test_every_completion_has_a_random_stream_of_its_own(policy):
    drawn = {
        tuple(
            LocalEngine(policy)
            .generate(prompts(policy, 1), samples=1, decoding=DECODING, streams=[stream])[0]
            .tokens.tolist()
        )
        for stream in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    }
    assert len(drawn) == 4


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (8, 1.0), (0, 0.5), (30, 0.8)])
def test_sampling_follows_the_distribution_that_truncation_leaves(top_k, top_p):
    n, logits = 20_000, 2 * torch.randn(60, generator=torch.Generator().manual_seed(0))
    decoding = replace(DECODING, top_k=top_k, top_p=top_p)
    uniform = (torch.arange(n).double() + 0.5) / n  # every quantile: what is counted is exact up to 1/n a token
    token, before, after = choose(logits.expand(n, -1), decoding, uniform)
    expected = reference(logits.softmax(-1), top_k, top_p)
    seen = torch.bincount(token, minlength=60) / n
    torch.testing.assert_close(seen, expected.float(), rtol=0, atol=2 / n)
    torch.testing.assert_close(before, logits.log_softmax(-1)[token])
    torch.testing.assert_close(after.exp().double(), expected[token], rtol=1e-5, atol=1e-6)


def reference(p: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Top-k, then top-p, as they are described: keep the likeliest, one by one."""
    ranked = sorted(range(len(p)), key=lambda i: -float(p[i]))[: top_k or None]
    total, kept, mass = sum(float(p[i]) for i in ranked), [], 0.0
    for i in ranked:
        if mass >= top_p:
            break
        kept.append(i)
        mass += float(p[i]) / total
    q = torch.zeros(len(p), dtype=torch.double)
    q[kept] = p[kept].double()
    return q / q.sum()


def test_a_tiny_top_p_and_top_1_leave_the_likeliest_token_and_equals_go_to_the_smaller_id():
    log_p = torch.tensor([[0.1, 0.4, 0.4, 0.1]]).log()
    for cut in (truncate(log_p, 0, 1e-9), truncate(log_p, 1, 1.0)):
        assert cut.tolist() == [[-math.inf, 0.0, -math.inf, -math.inf]]


@pytest.mark.parametrize("u", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_choose_tokens_that_have_probability(u):
    logits = torch.tensor([[-math.inf, 1.0, 2.0, -math.inf, -200.0]])
    token, before, _ = choose(logits, DECODING, torch.tensor([u], dtype=torch.double))
    assert int(token) in (1, 2)
    assert before > -math.inf


def test_ratios_use_the_log_probs_before_truncation_and_the_mass_that_is_kept_is_told(policy):
    whole, cut = groups(policy), groups(policy, top_k=20)
    assert all(c.kept == 1 for group in whole for c in group.completions)
    for group in cut:
        for c in group.completions:
            assert 0 < c.kept < 1
            tokens = torch.cat([group.prompt.tokens, c.tokens])
            log_p = policy.model(tokens[None]).logits[0, len(group.prompt.tokens) - 1 : -1].log_softmax(-1)
            torch.testing.assert_close(c.log_probs, log_p.gather(-1, c.tokens[:, None])[:, 0], rtol=0, atol=2e-5)
            assert (log_p.argsort(-1, descending=True)[:, :20] == c.tokens[:, None]).any(-1).all()


def test_every_end_token_ends_a_completion_and_an_end_token_used_as_pad_is_kept(policy):
    assert policy.pad_token in policy.end_tokens
    policy.model.generation_config.eos_token_id = list(range(0, 200))
    assert policy.end_tokens == {*range(200), policy.tokenizer.eos_token_id}
    drawn = [c for group in groups(policy) for c in group.completions]
    assert any(len(c.tokens) < 13 for c in drawn)
    for c in drawn:
        ends = [int(t) in policy.end_tokens for t in c.tokens]
        assert not any(ends[:-1])
        assert c.truncated != ends[-1]


def test_a_stop_token_ends_a_completion(policy):
    free = [c for group in groups(policy) for c in group.completions]
    token = int(free[0].tokens[3])
    for before, after in zip(
        free, (c for g in groups(policy, stop_tokens=(token,)) for c in g.completions), strict=True
    ):
        at = before.tokens.tolist().index(token) + 1 if token in before.tokens else len(before.tokens)
        assert torch.equal(after.tokens, before.tokens[:at])
        assert after.truncated == (before.truncated and token not in before.tokens)


def test_a_stop_string_ends_a_completion_with_the_token_that_completes_it(policy):
    free = [c for group in groups(policy, max_tokens=20) for c in group.completions]
    stop = next(c.text[4:6] for c in free if c.text[4:6].isascii() and len(c.text) > 6)
    stopped = [c for g in groups(policy, max_tokens=20, stop=(stop, "never said")) for c in g.completions]
    assert any(stop in c.text for c in free)
    for before, after in zip(free, stopped, strict=True):
        assert torch.equal(after.tokens, before.tokens[: len(after.tokens)])
        if stop in before.text:
            assert after.text.endswith(stop)
            assert not after.truncated
            assert stop not in after.text[:-1]
        else:
            assert after.text == before.text


def test_a_stop_token_that_the_model_does_not_have_is_refused(policy):
    with pytest.raises(ConfigError, match=r"stop_tokens has 999; the model's tokens go from 0 to 257"):
        groups(policy, stop_tokens=(999,))


def test_a_stop_string_that_no_text_shows_is_refused_with_the_cure(policy):
    token = policy.tokenizer.convert_tokens_to_ids("<|start|>")
    with pytest.raises(ConfigError, match=rf"without special tokens such as '<\|start\|>'; .*stop_tokens=\[{token}\]"):
        groups(policy, stop=("no", "<|start|>user"))
    groups(policy, stop_tokens=(token,))


def test_generation_config_does_not_change_sampling(policy):
    before = groups(policy)
    for name, value in {"temperature": 0.01, "top_k": 1, "top_p": 0.1, "repetition_penalty": 5.0}.items():
        setattr(policy.model.generation_config, name, value)
    for a, b in zip(before, groups(policy), strict=True):
        assert [c.tokens.tolist() for c in a.completions] == [c.tokens.tolist() for c in b.completions]


def test_the_limit_flags_truncation(policy):
    for completion in groups(policy, prompts=1, max_tokens=2)[0].completions:
        assert completion.truncated == (int(completion.tokens[-1]) not in policy.end_tokens)


def test_a_long_completion_holds_up_no_other_and_all_are_what_they_are_alone(policy, monkeypatch):
    asked, limit = prompts(policy, 40), 60
    # One token in ten ends a completion: most are short, a few of every batch are long.
    decoding = replace(DECODING, max_tokens=limit, stop_tokens=tuple(range(26)))
    engine, passes = LocalEngine(policy), []
    plain = LocalEngine._last_logits
    monkeypatch.setattr(LocalEngine, "_last_logits", lambda *words: passes.append(len(words[1])) or plain(*words))
    together = engine.generate(asked, samples=2, decoding=decoding, streams=streams(40, 2))
    lengths = [len(sampled.tokens) for sampled in together]
    batches = [max(lengths[k : k + 16]) for k in range(0, 80, 16)]  # the passes of one batch after the other
    passes.clear()
    made = dict(engine.stream(asked, samples=2, decoding=decoding, streams=streams(40, 2), together=16))
    assert sorted(made) == list(range(40))
    assert [s.text for k in range(40) for s in made[k]] == [s.text for s in together]
    for one, same in zip((s for k in range(40) for s in made[k]), together, strict=True):
        assert torch.equal(one.tokens, same.tokens)
        assert one.ended == same.ended
        torch.testing.assert_close(one.log_probs, same.log_probs, rtol=0, atol=1e-5)
    assert max(passes) <= 16
    assert len(passes) < 0.7 * sum(batches)
