"""The packed learner against the model's own logits, and the sampler against the learner."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    FalconH1Config,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteMoeHybridConfig,
    Lfm2Config,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    Qwen2Config,
    Qwen3NextConfig,
)

from sapo_train.advantages import AdvantageConfig, assign_advantages
from sapo_train.batch import Batch
from sapo_train.config import build as build_config
from sapo_train.config import load_recipe, merge
from sapo_train.data import DataConfig, load_problems
from sapo_train.engine import Decoding
from sapo_train.engines import EngineConfig, build_engine, refuse_disagreement
from sapo_train.errors import EngineError
from sapo_train.learn import with_log_probs
from sapo_train.local_engine import LocalEngine
from sapo_train.models import byte_tokenizer
from sapo_train.pack import Pack
from sapo_train.policy import AGREEMENT, Policy, build_policy, choose_path, probe
from sapo_train.rollout import SamplingConfig, sample
from sapo_train.run import RunConfig
from sapo_train.world import World

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
    "llama": LlamaConfig(**SHAPE),
    "gemma2-window-and-soft-cap": Gemma2Config(**SHAPE, sliding_window=8, final_logit_softcapping=3.0),
    "gemma3-window": Gemma3TextConfig(**SHAPE, sliding_window=8, layer_types=["sliding_attention", "full_attention"]),
    "granite-divided-logits": GraniteConfig(**SHAPE, logits_scaling=7.0),
    "cohere-scaled-logits": CohereConfig(**SHAPE, logit_scale=0.0625),
}
SHAPE_BY_HEADS = {key: value for key, value in SHAPE.items() if key != "head_dim"}
RECURRENT = {
    "lfm2-convolutions-and-attention": Lfm2Config(
        **SHAPE, layer_types=["conv", "full_attention"], block_multiple_of=8, block_auto_adjust_ff_dim=False
    ),
    "qwen3-next-linear-attention-and-experts": Qwen3NextConfig(
        **SHAPE,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    "granite-hybrid-states-and-attention": GraniteMoeHybridConfig(
        **SHAPE_BY_HEADS,
        layer_types=["mamba", "attention"],
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
        num_local_experts=0,
        shared_intermediate_size=48,
    ),
    "falcon-h1-both-in-one-layer": FalconH1Config(
        **SHAPE, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8, mamba_d_ssm=64
    ),
    "mamba2-states-alone": Mamba2Config(
        vocab_size=258,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        num_heads=4,
        head_dim=16,
        n_groups=1,
        pad_token_id=0,
        eos_token_id=2,
    ),
    "mamba": MambaConfig(vocab_size=258, hidden_size=32, num_hidden_layers=2, state_size=4, pad_token_id=0),
}


def build(config) -> Policy:
    torch.manual_seed(0)
    return Policy(AutoModelForCausalLM.from_config(config).float().eval(), byte_tokenizer())


def sampled(policy: Policy, prompts=3, **options) -> Batch:
    problems = load_problems(DataConfig(), policy.tokenizer)
    config = SamplingConfig(prompts=prompts, group_size=4, max_tokens=13, **options)
    return assign_advantages(sample(LocalEngine(policy), problems.draw(0, 0, prompts), config, 0, 0), AdvantageConfig())


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


@pytest.mark.parametrize("name", [name for name in [*CONFIGS, *RECURRENT] if name != "mamba"])
def test_windows_states_and_convolutions_sample_what_the_learner_says(name):
    """Prompts of different length, and rows that leave the batch."""
    policy = build((CONFIGS | RECURRENT)[name])
    policy.model.generation_config.eos_token_id = list(range(0, 258, 8))
    choose_path(policy)
    batch = sampled(policy)
    assert len({len(prompt) for prompt in batch.prompts}) > 1
    assert len(set(batch.lengths.tolist())) > 1
    torch.testing.assert_close(policy(batch)[0].detach(), batch.sampler_log_probs, rtol=0, atol=2e-5)
    refuse_disagreement(LocalEngine(policy), policy, Decoding(max_tokens=8, temperature=1.0), AGREEMENT)


@pytest.mark.parametrize("name", [name for name in [*CONFIGS, *RECURRENT] if name != "mamba"])
def test_a_few_at_a_time_models_of_every_kind_sample_what_they_sample_all_at_once(name):
    """Rows join a cache of keys and values; windows and states, which count from where they began, take batches."""
    policy = build((CONFIGS | RECURRENT)[name])
    policy.model.generation_config.eos_token_id = list(range(0, 258, 8))
    asked = [prompt.tokens for prompt in load_problems(DataConfig(), policy.tokenizer).train[0][:8]]
    streams = [(1, k, i) for k in range(8) for i in range(2)]
    decoding, engine = Decoding(max_tokens=12, temperature=1.0), LocalEngine(policy)
    together = engine.generate(asked, samples=2, decoding=decoding, streams=streams)
    made = dict(engine.stream(asked, samples=2, decoding=decoding, streams=streams, together=6))
    assert [s.text for k in range(8) for s in made[k]] == [s.text for s in together]


def test_a_model_that_samples_otherwise_than_it_learns_is_refused_in_one_line():
    """Mamba's first version computes padding as if it were a prompt."""
    policy = build(RECURRENT["mamba"])
    choose_path(policy)
    with pytest.raises(EngineError, match=r"^LocalEngine does not sample from the policy .* differ by 0\.\d+ nats"):
        build_engine(EngineConfig(), policy, Decoding(max_tokens=8, temperature=1.0))


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


@pytest.mark.parametrize("name", CONFIGS)
def test_windows_caps_and_scales_reach_the_gradient_too(name):
    """A prompt beyond the window; the head's logits are computed again in the backward pass."""
    policy = build(CONFIGS[name])
    batch = replace(probe(policy), advantages=torch.tensor([1.0, -2.0, 0.5, 3.0]))
    results = []
    for path in ("shared", "rows", "logits"):
        policy.path = path
        policy.model.zero_grad()
        log_probs, entropy = policy(batch)
        (log_probs * batch.advantages[:, None]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])
        results.append((log_probs.detach(), entropy, gradient / gradient.norm()))
    for result in results[:2]:
        for got, plain in zip(result, results[2], strict=True):
            torch.testing.assert_close(got, plain, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_model_takes_the_path_of_rows(name):
    policy = build(RECURRENT[name])
    choose_path(policy)
    assert policy.errors is not None
    assert policy.errors["shared"] > AGREEMENT
    assert policy.path == "rows"
    batch = probe(policy)
    torch.testing.assert_close(policy(batch)[0], with_plain_path(policy, batch)[0], rtol=1e-4, atol=1e-5)


def test_a_head_that_cannot_be_taken_apart_is_left_to_the_model(policy):
    """A model that changes its logits in a way the trainer does not know."""
    forward = policy.model.forward

    def unusual(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = out.logits.tanh()
        return out

    policy.model.forward = unusual
    choose_path(policy)
    assert policy.path == "logits"
    assert policy.errors is not None
    assert min(policy.errors.values()) > AGREEMENT


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


def test_truncated_completions_can_be_left_out_of_the_loss(policy):
    problems = load_problems(DataConfig(), policy.tokenizer)
    groups = sample(
        LocalEngine(policy), problems.draw(0, 0, 1), SamplingConfig(prompts=1, group_size=4, max_tokens=2), 0, 0
    )
    batch = assign_advantages(groups, AdvantageConfig(mask_truncated=True))
    assert torch.equal(batch.mask.any(-1), torch.tensor([not c.truncated for c in groups[0].completions]))
    assert torch.equal(policy(batch)[0] != 0, torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None])


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"update": {"minibatches": 2}}, True),
        ({"objective": {"entropy_share": 0.5}}, True),
        ({"policy": {"lora": {"rank": 2, "dropout": 0.1}}}, True),
        ({"policy": {"lora": {"rank": 2}}}, False),
    ],
    ids=["one minibatch", "two minibatches", "entropy selects", "dropout", "adapter"],
)
def test_an_old_pass_is_paid_for_only_where_the_first_pass_cannot_be_the_old_policy(settings, needed):
    run = build_config(RunConfig, merge(load_recipe("smoke.yaml"), settings))
    policy = build_policy(run.policy, 1.0, 0)
    batch = with_log_probs(policy, sampled(policy), run, World())
    assert (batch.old_log_probs is not None) == needed
    if needed:
        assert batch.old_log_probs is not None
        torch.testing.assert_close(batch.old_log_probs, policy(batch)[0].detach(), rtol=1e-5, atol=1e-5)
