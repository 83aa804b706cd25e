"""Shapes of the models that the papers' recipes name, as their config.json has them: a plan needs no hub."""

from __future__ import annotations

from transformers import PretrainedConfig, Qwen2Config, Qwen3MoeConfig


def known_models() -> dict[str, PretrainedConfig]:
    """Return the configuration of each model by its hub id."""
    return {
        "Qwen/Qwen2.5-7B-Instruct": Qwen2Config.from_dict(
            {
                "vocab_size": 152064,
                "hidden_size": 3584,
                "intermediate_size": 18944,
                "num_hidden_layers": 28,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
                "max_position_embeddings": 32768,
                "tie_word_embeddings": False,
            }
        ),
        "Qwen/Qwen3-30B-A3B-Base": Qwen3MoeConfig.from_dict(
            {
                "vocab_size": 151936,
                "hidden_size": 2048,
                "intermediate_size": 6144,
                "moe_intermediate_size": 768,
                "num_hidden_layers": 48,
                "num_attention_heads": 32,
                "num_key_value_heads": 4,
                "head_dim": 128,
                "num_experts": 128,
                "num_experts_per_tok": 8,
                "max_position_embeddings": 32768,
                "tie_word_embeddings": False,
            }
        ),
    }
