"""Tiny language models of `mlx_lm`, built through its own model classes, with weights that depend on names only."""

from __future__ import annotations

import importlib
import zlib
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

VOCABULARY = 96

# Sizes under the names that the families use; each takes what it knows.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "original_max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "use_bias": False,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "n_group": 1,
    "topk_group": 1,
    "routed_scaling_factor": 1.0,
    "partial_rotary_factor": 0.5,
    "state_size": 8,
    "conv_kernel": 4,
    "use_conv_bias": True,
    "time_step_rank": 8,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 2,
    "sliding_window": 8,
    "sliding_window_pattern": 2,
    "kv_lora_rank": 16,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "use_qk_norm": True,
}

_ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]

# Family: what it wants beside, or instead of, the sizes above.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 2.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        "tie_word_embeddings": True,
        "head_dim": 32,
    },
    "qwen2": {},
    "qwen2_moe": {},
    "qwen3": {"tie_word_embeddings": True},
    "qwen3_moe": {},
    "qwen3_next": {},
    "gemma": {"num_key_value_heads": 1},
    "gemma2": {"query_pre_attn_scalar": 16},
    "gemma3_text": {"query_pre_attn_scalar": 16},
    "mixtral": {},
    "phi": {"num_key_value_heads": 4},
    "phi3": {"num_key_value_heads": 4, "partial_rotary_factor": 1.0},
    "phimoe": {
        "rope_scaling": {
            "type": "longrope",
            "long_factor": [1.0] * 8,
            "short_factor": [1.0] * 8,
            "long_mscale": 1.2,
            "short_mscale": 1.1,
        }
    },
    "mamba": {"intermediate_size": 128},
    "mamba2": {
        "num_heads": 8,
        "head_dim": 16,
        "n_groups": 1,
        "intermediate_size": 128,
        "ssm_state_size": 16,
        "time_step_limit": [0.001, 0.1],
    },
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "rope_scaling": {
            "type": "yarn",
            "factor": 4.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 32,
            "beta_slow": 1,
        },
    },
    "gpt_oss": {"layer_types": _ALTERNATING},
    "gpt2": {"n_ctx": 128, "n_embd": 64, "n_head": 4, "n_layer": 4, "n_positions": 128},
    "cohere2": {},
    "olmo2": {},
    "rwkv7": {"a_low_rank_dim": 8, "v_low_rank_dim": 8, "gate_low_rank_dim": 8, "decay_low_rank_dim": 8},
    "recurrent_gemma": {
        "conv1d_width": 4,
        "logits_soft_cap": 30.0,
        "attention_window_size": 8,
        "block_types": ["recurrent", "recurrent", "attention"],
        "num_key_value_heads": 1,
    },
    "jamba": {
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "expert_layer_offset": 1,
        "expert_layer_period": 2,
        "mamba_d_conv": 4,
        "mamba_d_state": 8,
        "mamba_expand": 2,
    },
    "plamo2": {"hidden_size_per_head": 16, "attention_window_size": 64, "mamba_d_state": 8, "mamba_num_heads": 4},
    "llama4_text": {"intermediate_size_mlp": 96, "no_rope_layers": [1, 0, 1, 0]},
    "lfm2": {
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 64,
        "block_multiple_of": 32,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
        "full_attn_idxs": [1, 3],
    },
    "olmoe": {},
    "minicpm3": {
        "dim_model_base": 32,
        "scale_depth": 1.4,
        "scale_emb": 2.0,
        "num_key_value_heads": 4,
        "rope_scaling": {
            "type": "longrope",
            "long_factor": [1.0] * 4,
            "short_factor": [1.0] * 4,
            "original_max_position_embeddings": 512,
        },
    },
    "kimi_linear": {
        "linear_attn_config": {
            "num_heads": 2,
            "head_dim": 32,
            "short_conv_kernel_size": 4,
            "kda_layers": [1, 3],
            "full_attn_layers": [2, 4],
        },
        "model_max_length": 512,
        "num_experts_per_token": 2,
        "num_shared_experts": 1,
        "num_key_value_heads": 4,
    },
    "nemotron_h": {
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "mamba_proj_bias": False,
        "ssm_state_size": 16,
        "n_groups": 1,
        "hybrid_override_pattern": "M*M-",
    },
}


def family(name: str) -> tuple[type[nn.Module], Any]:
    """The model class of a family and its arguments for a tiny model."""
    module = importlib.import_module(f"mlx_lm.models.{name}")
    config = {**SIZES, **FAMILIES[name], "model_type": name}
    return module.Model, module.ModelArgs.from_dict(config)


def build(name: str) -> nn.Module:
    model_class, args = family(name)
    model = model_class(args)
    fill(model)
    model.eval()
    return model


def fill(model: nn.Module) -> None:
    """Overwrite all floating parameters with numbers that depend on their name and shape: vectors near one,
    so that norms are alive, and matrices that keep the size of what they multiply.
    """
    weights = []
    for name, value in tree_flatten(model.parameters()):
        if not mx.issubdtype(value.dtype, mx.floating):
            continue
        random = np.random.default_rng(zlib.crc32(name.encode()))
        if value.ndim < 2:
            new = 1.0 + 0.1 * random.standard_normal(value.shape)
        else:
            new = random.standard_normal(value.shape) * value.shape[-1] ** -0.5
        weights.append((name, mx.array(new.astype(np.float32)).astype(value.dtype)))
    model.load_weights(weights, strict=False)
    mx.eval(model.parameters())
