"""One step of each trainer's own loss on given log-probs. Loaded by path, also where sapo_gates cannot be imported."""

# verl has an environment of its own; trl exports lazily
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import sys
import tempfile
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """A loss of some completions, and its gradient in their log-probs."""

    loss: Tensor
    gradient: Tensor

    def same_as(self, other: "Step") -> bool:
        """To the bit."""
        return torch.equal(self.loss, other.loss) and torch.equal(self.gradient, other.gradient)

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.loss)) and bool(torch.isfinite(self.gradient).all())


@dataclass(frozen=True)
class Batch:
    """log_probs - old_log_probs is the log-ratio. All [B, T], advantages [B]."""

    log_probs: Tensor
    old_log_probs: Tensor
    advantages: Tensor
    mask: Tensor


def ordinary(dtype: torch.dtype = torch.float32) -> Batch:
    """Log-ratios of a few tenths, completions of several lengths, advantages of both signs and 0."""
    random = torch.Generator().manual_seed(0)
    z = 0.3 * torch.randn(6, 7, generator=random)
    old = -2 * torch.rand(6, 7, generator=random)
    mask = (torch.arange(7) < torch.tensor([7, 5, 1, 6, 3, 7])[:, None]).long()
    return Batch((old + z).to(dtype), old.to(dtype), torch.tensor([1.3, -0.7, 0.0, 0.4, -1.6, 2.0]).to(dtype), mask)


KILLERS = {
    "15": 15.0,
    "1e4": 1e4,
    "-1e4": -1e4,
    "inf": torch.inf,
    "-inf": -torch.inf,
    "1e4 where A = 0": 1e4,
    "masked NaN": torch.nan,
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def killers(dtype: torch.dtype, kind: str) -> Batch:
    """Ordinary tokens with one kind of what breaks implementations among them; z = log_probs here.

    e^15 is infinite in float16 alone, and below the bound to which some clamp.
    """
    z = torch.tensor([[0.1, -0.2, 0.0, 0.3]] * 3, dtype=dtype)
    mask = torch.ones(3, 4, dtype=torch.long)
    match kind:
        case "1e4 where A = 0":
            z[2, 1] = KILLERS[kind]
        case "masked NaN":
            z[0, 1], mask[0, 1] = KILLERS[kind], 0
        case _:
            z[0, 1] = z[1, 2] = KILLERS[kind]
    return Batch(z, torch.zeros_like(z), torch.tensor([1.0, -1.0, 0.0], dtype=dtype), mask)


def every_batch() -> dict[str, Batch]:
    """The ordinary batch and those with killers, in every dtype."""
    found = {f"ordinary {dtype}": ordinary(dtype) for dtype in DTYPES}
    return found | {f"{kind} {dtype}": killers(dtype, kind) for kind in KILLERS for dtype in DTYPES}


def trl_ingredients() -> dict[str, Any]:
    """A tiny random model, and what else TRL trains with; nothing is downloaded."""
    from datasets import Dataset

    from sapo_train.models import tiny_model

    model, tokenizer = tiny_model()
    prompts = Dataset.from_dict({"prompt": ["hello", "tell me", "what", "why"] * 2})
    return {"model": model, "tokenizer": tokenizer, "prompts": prompts, "reward": letters}


def letters(completions: list[str], **_: Any) -> list[float]:
    """A reward that a random model gets some of."""
    return [float(sum(map(str.isalpha, text))) for text in completions]


def trl_trainer(kind: type, **options: Any) -> Any:
    """A trainer of a tiny random model, on the CPU; options that GRPOConfig does not have are the trainer's own."""
    from trl import GRPOConfig

    config = {
        "output_dir": tempfile.gettempdir(), "use_cpu": True, "bf16": False, "report_to": [], "save_strategy": "no",
        "disable_tqdm": True, "loss_type": "sapo", "per_device_train_batch_size": 4, "num_generations": 4,
        "max_completion_length": 8, "num_iterations": 2, "optim": "sgd", "lr_scheduler_type": "constant",
    }  # fmt: skip
    known = {name: options.pop(name) for name in list(options) if name in GRPOConfig.__dataclass_fields__}
    ingredients = trl_ingredients()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL uses names that transformers has deprecated
        return kind(
            model=ingredients["model"],
            reward_funcs=ingredients["reward"],
            args=GRPOConfig(**config | known),
            train_dataset=ingredients["prompts"],
            processing_class=ingredients["tokenizer"],
            **options,
        )


def trl_step(trainer: Any, batch: Batch, **inputs: Tensor) -> Step:
    """TRL's `_compute_loss`, with the log-probs it would have got from its model."""
    leaf = batch.log_probs.clone().requires_grad_()
    entropies = torch.linspace(0, 1, leaf.numel()).reshape(leaf.shape)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, entropies, None)
    trainer.model.eval()
    loss = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": torch.zeros_like(batch.mask[:, :1]), "prompt_mask": torch.ones_like(batch.mask[:, :1]),
            "completion_ids": torch.zeros_like(batch.mask), "completion_mask": batch.mask,
            "advantages": batch.advantages, "old_per_token_logps": batch.old_log_probs,
            "num_items_in_batch": batch.mask.sum(), **inputs,
        },
    )  # fmt: skip
    loss.backward()
    return Step(loss.detach(), leaf.grad if leaf.grad is not None else torch.zeros_like(leaf))


def verl_step(loss_mode: str, batch: Batch, aggregation: str = "seq-mean-token-mean", **options: Any) -> Step:
    """verl's policy loss of that name, called as its workers call it, with what is known of the global batch."""
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    weights, known = options.pop("rollout_is_weights", None), options.pop("global_batch_info", {})
    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **options)
    config.global_batch_info.update({"dp_size": 1, "batch_num_tokens": None, "global_batch_size": None} | known)
    leaf = batch.log_probs.clone().requires_grad_()
    loss, _ = get_policy_loss_fn(loss_mode)(
        old_log_prob=batch.old_log_probs,
        log_prob=leaf,
        advantages=batch.advantages[:, None].expand(leaf.shape),
        response_mask=batch.mask.bool(),
        loss_agg_mode=aggregation,
        config=config,
        rollout_is_weights=weights,
    )
    loss.backward()
    return Step(loss.detach(), leaf.grad if leaf.grad is not None else torch.zeros_like(leaf))


@dataclass
class LossInputs:
    """What prime-rl documents that a custom loss is given: one sequence, all [T]."""

    trainer_logprobs: Tensor
    inference_logprobs: Tensor
    ref_logprobs: Tensor | None
    advantages: Tensor
    loss_mask: Tensor
    loss_weights: Tensor | None


@dataclass
class LossOutputs:
    """What prime-rl documents that it returns."""

    loss: Tensor
    metrics: dict[str, Tensor]


def install_prime_rl_contract() -> None:
    """prime-rl itself does not install here; its documented contract stands in its place."""
    module = ModuleType("prime_rl.trainer.rl.loss")
    vars(module).update(LossInputs=LossInputs, LossOutputs=LossOutputs)
    for name in ("prime_rl", "prime_rl.trainer", "prime_rl.trainer.rl"):
        sys.modules[name] = ModuleType(name)
    sys.modules[module.__name__] = module


def prime_rl_step(loss: Any, batch: Batch, weights: Tensor | None = None, **arguments: Any) -> Step:
    """A custom loss over a batch: summed over sequences, divided by the tokens that count, as prime-rl documents."""
    leaf = batch.log_probs.clone().requires_grad_()
    losses = []
    for i in range(len(leaf)):
        advantages, mask = batch.advantages[i].expand(leaf.shape[1]), batch.mask[i].bool()
        weight = None if weights is None else weights[i]
        inputs = LossInputs(leaf[i], batch.old_log_probs[i], None, advantages, mask, weight)
        losses.append(loss(inputs, **arguments).loss)
    total = torch.stack(losses).sum() / batch.mask.sum()
    total.backward()
    return Step(total.detach(), leaf.grad if leaf.grad is not None else torch.zeros_like(leaf))


def gate_step(gate: Any, batch: Batch) -> Step:
    """The gate alone: mean over tokens, then over completions."""
    leaf = batch.log_probs.clone().requires_grad_()
    terms = gate(leaf - batch.old_log_probs, batch.advantages, batch.mask)
    loss = -(terms.sum(-1) / batch.mask.sum(-1).clamp(min=1)).mean()
    loss.backward()
    return Step(loss.detach(), leaf.grad if leaf.grad is not None else torch.zeros_like(leaf))
