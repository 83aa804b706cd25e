"""The packed learner against the model's own logits, and the sampler against the learner."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, Gemma2Config, Qwen2Config

from sapo_train.advantages import AdvantageConfig, assign_advantages
from sapo_train.batch import Batch
from sapo_train.data import DataConfig, load_problems
from sapo_train.models import byte_tokenizer
from sapo_train.pack import Pack
from sapo_train.policy import AGREEMENT, Policy, choose_path
from sapo_train.rollout import SamplingConfig, generate, sample

SHAPE = {
    "vocab_size": 258,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
CONFIGS = {
    "qwen2": Qwen2Config(**SHAPE),
    "gemma2-window-and-soft-cap": Gemma2Config(**SHAPE, sliding_window=8, final_logit_softcapping=3.0),
}


def build(config) -> Policy:
    torch.manual_seed(0)
    return Policy(AutoModelForCausalLM.from_config(config).float().eval(), byte_tokenizer())


def sampled(policy: Policy, prompts=3, **options) -> Batch:
    problems = load_problems(DataConfig(), policy.tokenizer)
    config = SamplingConfig(prompts=prompts, group_size=4, max_tokens=13, **options)
    return assign_advantages(sample(policy, problems.draw(0, 0, prompts), config, 0, 0), AdvantageConfig())


def with_plain_path(policy: Policy, batch: Batch):
    path, policy.path = policy.path, "logits"
    try:
        return policy(batch)
    finally:
        policy.path = path


def packed_error(policy: Policy) -> float:
    choose_path(policy)
    assert policy.errors is not None
    return policy.errors["shared"]


def test_shared_prompts_give_the_log_probs_entropy_and_gradient_of_plain_rows(policy):
    batch = sampled(policy)
    results = []
    for path in (policy, lambda b: with_plain_path(policy, b)):
        policy.model.zero_grad()
        log_probs, entropy = path(batch)
        (log_probs * batch.advantages[:, None]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in policy.model.parameters()])
        results.append((log_probs.detach(), entropy, gradient))
    for packed, plain in zip(*results, strict=True):
        torch.testing.assert_close(packed, plain, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_sampler_and_learner_agree_at_the_sampling_temperature(policy, temperature):
    policy.temperature = temperature
    batch = sampled(policy, temperature=temperature)
    log_probs, _ = policy(batch)
    torch.testing.assert_close(log_probs.detach(), batch.sampler_log_probs, rtol=0, atol=2e-5)


def test_entropy_is_that_of_the_softmax(policy):
    batch = sampled(policy, prompts=1)
    prompt, tokens = batch.prompts[0], batch.tokens[0, : int(batch.lengths[0])]
    logits = policy.model(torch.cat([prompt, tokens])[None]).logits[0, len(prompt) - 1 : -1]
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(policy(batch)[1][0, : len(tokens)], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_the_chunk_of_the_head_changes_nothing(policy, chunk):
    batch = sampled(policy)
    expected, _ = policy(batch)
    policy.chunk = chunk
    torch.testing.assert_close(policy(batch)[0], expected, rtol=0, atol=1e-6)


def test_no_tensor_of_all_tokens_by_vocabulary_exists(policy):
    batch = sampled(policy)
    policy.chunk = 8
    vocabulary, tokens = policy.model.config.vocab_size, int(batch.lengths.sum())
    head = policy.model.get_output_embeddings().weight.numel()
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for tensor in tree_leaves(out):
                of_logits = isinstance(tensor, torch.Tensor) and tensor.shape[-1:] == (vocabulary,)
                if of_logits and tensor.numel() != head:
                    largest = max(largest, tensor.numel() // vocabulary)
            return out

    with Watch():
        policy(batch)[0].sum().backward()
    assert largest == 8 < tokens


@pytest.mark.parametrize("name", CONFIGS)
def test_prompts_are_shared_in_other_architectures_too(name):
    assert packed_error(build(CONFIGS[name])) < AGREEMENT


def test_one_mask_for_all_layers_of_a_windowed_model_is_caught_by_the_check(monkeypatch):
    policy = build(CONFIGS["gemma2-window-and-soft-cap"])
    sees = Pack.sees
    monkeypatch.setattr(Pack, "sees", lambda self, window=None: sees(self, None))
    assert packed_error(policy) > AGREEMENT


def test_a_head_without_its_soft_cap_is_caught_by_the_check(monkeypatch):
    policy = build(CONFIGS["gemma2-window-and-soft-cap"])
    monkeypatch.setattr("sapo_train.policy.logit_transform", lambda config, logits: logits)
    assert packed_error(policy) > AGREEMENT


def test_a_completion_that_sees_its_neighbour_is_caught_by_the_check(policy, monkeypatch):
    def leaky(pack, window=None):
        return (pack.group[:, None] == pack.group) & (pack.positions[:, None] >= pack.positions)

    monkeypatch.setattr(Pack, "sees", leaky)
    assert packed_error(policy) > AGREEMENT


def test_what_is_sampled_does_not_depend_on_what_else_is_in_the_batch(policy):
    prompts = [p.tokens for p in load_problems(DataConfig(), policy.tokenizer).train[:3]]
    streams = [(5, k, i) for k in range(3) for i in range(2)]
    options = {"samples": 2, "max_tokens": 10, "temperature": 1.0}
    together = generate(policy, prompts, streams=streams, **options)
    alone = [
        s for k in (2, 0, 1) for s in generate(policy, [prompts[k]], streams=streams[2 * k : 2 * k + 2], **options)
    ]
    for a, b in zip([together[i] for i in (4, 5, 0, 1, 2, 3)], alone, strict=True):
        assert torch.equal(a.tokens, b.tokens)
        torch.testing.assert_close(a.log_probs, b.log_probs, rtol=0, atol=1e-5)


def test_every_completion_has_a_random_stream_of_its_own(policy):
    prompt = load_problems(DataConfig(), policy.tokenizer).train[0].tokens
    options = {"samples": 1, "max_tokens": 12, "temperature": 1.0}
    drawn = {
        tuple(generate(policy, [prompt], streams=[stream], **options)[0].tokens.tolist())
        for stream in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    }
    assert len(drawn) == 4


def test_sampling_follows_the_distribution(policy):
    prompt = torch.tensor([5, 6, 7])
    n = 4000
    drawn = generate(policy, [prompt], samples=n, max_tokens=1, temperature=2.0, streams=[(0, 0, i) for i in range(n)])
    p = torch.softmax(policy.model(prompt[None]).logits[0, -1] / 2.0, -1)
    seen = torch.bincount(torch.cat([s.tokens for s in drawn]), minlength=len(p)) / n
    # The total variation of n draws from V outcomes is about sqrt(V / (2 pi n)) = 0.1 here.
    assert (seen - p).abs().sum() / 2 < 0.15
    assert (seen - torch.full_like(p, 1 / len(p))).abs().sum() / 2 > (seen - p).abs().sum() / 2


def test_every_end_token_ends_a_completion_and_an_end_token_used_as_pad_is_kept(policy):
    assert policy.pad_token in policy.end_tokens
    policy.model.generation_config.eos_token_id = list(range(0, 200))
    assert policy.end_tokens == {*range(200), policy.tokenizer.eos_token_id}
    batch = sampled(policy)
    assert (batch.lengths < 13).any()
    for row, n in zip(batch.tokens, batch.lengths, strict=True):
        ends = torch.tensor([int(t) in policy.end_tokens for t in row[:n]])
        assert not ends[:-1].any()
        assert ends[-1] or n == 13
    assert torch.equal(batch.mask.sum(-1), batch.lengths)


def test_generation_config_does_not_change_sampling(policy):
    before = sampled(policy)
    for name, value in {"temperature": 0.01, "top_k": 1, "top_p": 0.1, "repetition_penalty": 5.0}.items():
        setattr(policy.model.generation_config, name, value)
    assert torch.equal(before.tokens, sampled(policy).tokens)


def test_the_limit_flags_truncation(policy):
    problems = load_problems(DataConfig(), policy.tokenizer)
    config = SamplingConfig(prompts=1, group_size=4, max_tokens=2)
    group = sample(policy, problems.draw(0, 0, 1), config, 0, 0)[0]
    for completion in group.completions:
        assert completion.truncated == (int(completion.tokens[-1]) not in policy.end_tokens)


def test_truncated_completions_can_be_left_out_of_the_loss(policy):
    problems = load_problems(DataConfig(), policy.tokenizer)
    groups = sample(policy, problems.draw(0, 0, 1), SamplingConfig(prompts=1, group_size=4, max_tokens=2), 0, 0)
    batch = assign_advantages(groups, AdvantageConfig(mask_truncated=True))
    assert torch.equal(batch.mask.any(-1), torch.tensor([not c.truncated for c in groups[0].completions]))
    assert torch.equal(policy(batch)[0] != 0, torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None])
