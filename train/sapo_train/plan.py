"""What a run will take, before it is begun: batch arithmetic, memory of each process, work and time of a step.

Estimates, from the shape of the model alone: nothing is loaded. Lengths are taken at their limits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sapo_train.errors import ModelError
from sapo_train.known_models import known_models
from sapo_train.models import TINY, WHEELS, from_wheel, quiet, tiny_model
from sapo_train.run import RunConfig

FLOAT32 = 4  # bytes
ADAM = 2 * FLOAT32  # bytes of the two moments of a trained number
GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """What of a model decides memory and work."""

    parameters: int
    active: int  # parameters that a token meets: of a mixture of experts, those of the experts that are chosen
    layers: int
    hidden: int
    inner: int  # width of the feed-forward layers that a token meets
    keys: int  # numbers that a layer keeps of a token for attention
    vocabulary: int


@dataclass(frozen=True)
class Plan:
    """Memory in bytes and work in floating-point operations, at most."""

    trained: int
    memory: dict[str, int]
    sampling: float
    learning: float
    weights_read: int  # bytes that one token of every completion needs from memory


def shape_of(config: Any) -> Shape:
    """Read the shape off a transformers configuration; the model is built on the meta device, without memory."""
    text = config.get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(text)
    parameters = sum(p.numel() for p in model.parameters())
    experts, chosen = (getattr(text, name, None) for name in ("num_experts", "num_experts_per_tok"))
    inner, idle = text.intermediate_size, 0
    if experts and chosen:
        in_experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
        inner, idle = chosen * text.moe_intermediate_size, in_experts * (experts - chosen) // experts
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    keys = 2 * head * (getattr(text, "num_key_value_heads", None) or text.num_attention_heads)
    return Shape(parameters, parameters - idle, text.num_hidden_layers, text.hidden_size, inner, keys, text.vocab_size)


def load_shape(name: str) -> Shape:
    """Return the shape of a model by its name.

    Raises:
        ModelError: its configuration cannot be read here.
    """
    if name == TINY:
        return shape_of(tiny_model()[0].config)
    if config := known_models().get(name):
        return shape_of(config)
    try:
        with quiet():
            return shape_of(AutoConfig.from_pretrained(str(from_wheel(WHEELS[name])) if name in WHEELS else name))
    except (OSError, ValueError, AttributeError) as error:
        says = " ".join(str(error).split())[:200]
        raise ModelError(f"no estimate: the configuration of policy.model={name!r} cannot be read ({says}).") from None


def estimate(run: RunConfig, shape: Shape, processes: int = 1) -> Plan:
    """Estimate what each of `processes` needs.

    Memory: weights, gradients and moments as they are kept; keys and values of all completions of the process at their
    limit; of each token of a microbatch, per layer, 8 rows of the hidden width and 3 of the feed-forward width, or
    only one row where the rest is computed again.
    """
    rank, compute = run.policy.lora.rank, 2 if run.policy.dtype == "bfloat16" else FLOAT32
    trained = 2 * rank * 7 * shape.hidden * shape.layers if rank else shape.parameters
    groups = -(-run.sampling.prompts // processes)
    completions = groups * run.sampling.group_size
    rows = min(run.update.microbatch or completions, completions)
    prompts = -(-rows // run.sampling.group_size)
    tokens = prompts * run.data.max_prompt + rows * run.sampling.max_tokens
    layer = tokens * compute * (8 * shape.hidden + 3 * shape.inner)
    kept = layer + shape.layers * tokens * compute * shape.hidden
    context = run.data.max_prompt + run.sampling.max_tokens
    memory = {
        "weights": shape.parameters * (compute if rank else FLOAT32),
        "weights to compute with": 0 if rank or compute == FLOAT32 else shape.parameters * compute,
        "gradients": trained * FLOAT32,
        "optimizer": trained * ADAM,
        "reference": shape.parameters * compute if run.objective.kl_weight > 0 and not rank else 0,
        "activations": kept if run.policy.gradient_checkpointing else shape.layers * layer,
        "attention mask": tokens**2 * compute,
        "logits": 3 * min(run.policy.chunk, rows * run.sampling.max_tokens) * shape.vocabulary * FLOAT32,
    }
    # Sampling and learning take turns: the larger of the two counts.
    cache = completions * context * shape.layers * shape.keys * compute
    if cache > sum(memory[name] for name in ("gradients", "activations", "attention mask", "logits")):
        memory |= {"gradients": 0, "activations": 0, "attention mask": 0, "logits": 0, "keys and values": cache}
    seen = groups * run.data.max_prompt + completions * run.sampling.max_tokens
    old = run.update.minibatches > 1 or run.policy.lora.dropout > 0 or run.objective.entropy_share < 1
    passes = run.update.epochs * (4 if run.policy.gradient_checkpointing else 3) + old + (run.objective.kl_weight > 0)
    sampling = 2.0 * shape.active * seen
    return Plan(trained, memory, sampling, passes * sampling, shape.active * compute * run.sampling.max_tokens)


def say(run: RunConfig, plan: Plan, shape: Shape, processes: int) -> Iterator[str]:
    """Say the estimate in lines."""
    samples = run.sampling.prompts * run.sampling.group_size
    yield (
        f"a batch step: {run.sampling.prompts} prompts × {run.sampling.group_size} = {samples} completions of at most "
        f"{run.sampling.max_tokens} tokens, {run.update.epochs} epochs × {run.update.minibatches} minibatches = "
        f"{run.updates // run.steps} updates; {run.steps} steps, {run.updates} updates"
    )
    yield f"model: {shape.parameters:,} parameters, {shape.active:,} of them met by a token, {plan.trained:,} trained"
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in plan.memory.items() if size)
    yield f"memory of each of {processes} processes, at most about {sum(plan.memory.values()) / GIB:.1f} GiB: {parts}"
    rate, bandwidth = throughput(getattr(torch, run.policy.dtype))
    sampling, learning = max(plan.sampling / rate, plan.weights_read / bandwidth), plan.learning / rate
    yield (
        f"work of a step at the longest: sampling {plan.sampling:.2e}, learning {plan.learning:.2e} floating-point "
        f"operations; at this machine's {rate / 1e9:.0f} GFLOP/s and {bandwidth / GIB:.0f} GiB/s, measured now, "
        f"{sampling + learning:.3g} s ({sampling:.3g} + {learning:.3g})"
    )


def throughput(dtype: torch.dtype) -> tuple[float, float]:
    """Measure operations per second of a matrix product, and bytes per second read from memory, on this machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    square = torch.ones(1024, 1024, dtype=dtype, device=device)
    long = torch.ones(2**25, dtype=torch.uint8, device=device)
    product = _fastest(lambda: (square @ square)[0, 0].item())
    read = _fastest(lambda: long.view(torch.int64).sum().item())
    return 2 * 1024**3 / product, long.numel() / read


def _fastest(work: Any, times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
