"""Losses of public trainers, called as the trainers call them, without their models.

Nothing of these packages is imported here: what an adapter needs it finds beside the function it is given.
"""

import inspect
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from sapo_gates.errors import AuditError
from sapo_gates.torch.audit.subject import Batch, Knobs, Subject

Loss = tuple[Tensor, Mapping[str, Any]]
VERL_REDUCTIONS = ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")


def _beside(function: Any, name: str, shown: str, *others: str) -> Any:
    """A name of the module that defines the function, or its class's bases; or of others, where they are loaded.

    Raises:
        AuditError: none of them has such a name.
    """
    found = [kind.__module__ for kind in getattr(function, "__mro__", (function,))]
    modules = [sys.modules[module] for module in (*found, *others) if module in sys.modules]
    for module in modules:
        if hasattr(module, name):
            return getattr(module, name)
    raise AuditError(f"{shown}: {found[0]} has no {name}, which its callers use; is it of another version?")


def _built(maker: Callable[..., Any], shown: str, **settings: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the trainer's own
            return maker(**settings)
    except (TypeError, ValueError, AttributeError) as error:
        text = " ".join(str(error).split())[:200]
        raise AuditError(f"{shown} refuses its configuration: {text}; change --knob.") from error


def verl(name: str, function: Callable[..., Any], given: Knobs) -> Subject:
    """A loss registered with verl: knobs are fields of its ActorConfig, and loss_agg_mode.

    The global counts of the minibatch are in the configuration, as verl's workers put them there.
    """
    config_class = _beside(inspect.unwrap(function), "ActorConfig", name, "verl.workers.config")
    settings = {"loss_agg_mode": "token-mean", **given}

    def loss(part: Batch, whole: Batch, knobs: Knobs) -> Loss:
        fields = {key: value for key, value in knobs.items() if key != "loss_agg_mode"}
        config = config_class(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **fields)
        config.global_batch_info.update(
            dp_size=1, batch_num_tokens=whole.mask.sum(), global_batch_size=len(whole.advantages)
        )
        return function(
            old_log_prob=part.old_log_probs,
            log_prob=part.log_probs,
            advantages=part.advantages[:, None].expand_as(part.log_probs),
            response_mask=part.mask.to(part.log_probs.dtype),
            loss_agg_mode=knobs["loss_agg_mode"],
            config=config,
        )

    return Subject(name=name, shape="verl", loss=loss, knobs=settings, choices={"loss_agg_mode": VERL_REDUCTIONS})


def trl(name: str, function: Callable[..., Any], given: Knobs) -> Subject:
    """TRL's `GRPOTrainer._compute_loss`, or a class derived from GRPOTrainer; log-probabilities stand in for the model.

    Knobs are fields of GRPOConfig, or attributes that the class announces.

    The trainer is made without its constructor, which would load a model. Two microbatches make one accumulation step.
    """
    trainer_class: Any = function
    if not inspect.isclass(function):
        trainer_class = getattr(sys.modules[function.__module__], function.__qualname__.partition(".")[0])
    config_class = _beside(trainer_class, "GRPOConfig", name)
    announced = {attribute for kind in trainer_class.__mro__ for attribute in inspect.get_annotations(kind)}
    quiet = {"output_dir": "unused", "report_to": "none", "use_cpu": True, "bf16": False, "beta": 0.0}

    def trainer(knobs: Knobs) -> Any:
        attributes = {key: value for key, value in knobs.items() if key in announced}
        config = config_class(**quiet | {key: value for key, value in knobs.items() if key not in announced})
        made = object.__new__(trainer_class)
        vars(made).update({key: value for key, value in vars(config).items() if not key.startswith("_")})
        vars(made).update(
            **attributes,
            args=config,
            model=SimpleNamespace(training=True),
            epsilon_low=config.epsilon,
            epsilon_high=config.epsilon if config.epsilon_high is None else config.epsilon_high,
            aux_loss_enabled=False,
            _entropy_bonus_enabled=config.entropy_coef != 0.0 or config.use_adaptive_entropy,
            _metrics={"train": defaultdict(list)},
            accelerator=SimpleNamespace(
                num_processes=1,
                gather=lambda tensor: tensor,
                gather_for_metrics=lambda tensor: tensor,
                reduce=lambda tensor, reduction: tensor,
            ),
        )
        return made

    _built(trainer, name, knobs=given)

    def loss(part: Batch, whole: Batch, knobs: Knobs) -> Loss:
        made = trainer(knobs)
        made.current_gradient_accumulation_steps = made.args.steps_per_generation = len(whole.advantages) // len(
            part.advantages
        )
        entropies = torch.zeros_like(part.log_probs.detach())
        made._get_per_token_logps_and_entropies = lambda *_, **__: (part.log_probs, entropies, None)
        ids = torch.zeros_like(part.mask, dtype=torch.long)
        inputs = {
            "prompt_ids": ids[:, :1],
            "prompt_mask": torch.ones_like(ids[:, :1]),
            "completion_ids": ids,
            "completion_mask": part.mask.long(),
            "advantages": part.advantages,
            "old_per_token_logps": part.old_log_probs,
            "num_items_in_batch": whole.mask.sum(),
        }
        return made._compute_loss(made.model, inputs), made._metrics["train"]

    return Subject(name=name, shape="trl", loss=loss, knobs=dict(given))


def liger(name: str, function: Callable[..., Any], given: Knobs) -> Subject:
    """Liger's chunked GRPO loss: knobs are its constructor's.

    It computes log-probabilities itself, so a vocabulary of two tokens and one hidden number are chosen that give those
    wanted: logits (h, 0) give the first token log sigma(h), and h = log p - log(1 - p) gives log p.
    """
    quiet = {"compiled": False, "use_ref_model": False, "beta": 0.0}
    _built(function, name, **{**quiet, **given})

    def loss(part: Batch, whole: Batch, knobs: Knobs) -> Loss:
        module = function(**{**quiet, **knobs})
        p, dtype = part.log_probs.double(), part.log_probs.dtype
        hidden = (p - torch.log(-torch.expm1(p))).to(dtype)[..., None]
        found, _ = module(
            hidden,
            torch.tensor([[1.0], [0.0]], dtype=dtype),
            torch.zeros_like(part.mask, dtype=torch.long),
            part.mask.to(dtype),
            part.advantages,
            old_per_token_logps=part.old_log_probs,
            num_items_in_batch=whole.mask.sum(),
        )
        share = len(part.advantages) / len(whole.advantages) if module.loss_type in ("grpo", "sapo") else 1.0
        return found * share, {}

    return Subject(name=name, shape="liger", loss=loss, knobs=dict(given))
