"""A model as a Hugging Face folder, in the Llama layout, or with QK-norm in the Qwen3 layout: see `layouts`.

The files are written by hand: `save_pretrained` of transformers 5 writes what transformers 4 reads wrongly.
"""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import UsageError
from bittygpt.layouts.huggingface import HIDDEN_ACTIVATIONS, renamed_weights

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def check_layout(config: ModelConfig) -> None:
    """Raise UsageError for a model that no Hugging Face layout describes."""
    if config.activation not in HIDDEN_ACTIVATIONS:
        raise UsageError(
            f"--format hf: neither Llama's nor Qwen3's layout has a feed-forward layer without a gate, as "
            f"model.activation: {config.activation} is; models with {', '.join(HIDDEN_ACTIVATIONS)} can be exported"
        )


def rounded(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of a weight in `dtype`, on the CPU.

    Raises:
        UsageError: it is too large for `dtype` (float16 ends at 65504).
    """
    copied = tensor.to("cpu", dtype, copy=True).contiguous()
    if tensor.isfinite().all() and not copied.isfinite().all():
        raise UsageError(
            f"--dtype: {name} goes up to {tensor.abs().max().item():.4g}, too large for "
            f"{str(dtype).removeprefix('torch.')}; take bfloat16 or float32"
        )
    return copied


def huggingface_weights(model: TransformerLM, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's weights by their Hugging Face names. With tied embeddings there is no `lm_head.weight`.

    Raises:
        UsageError: a weight is too large for `dtype`.
    """
    return {new: rounded(name, tensor, dtype) for name, new, tensor in renamed_weights(model)}


def config_files(
    config: ModelConfig, end_of_text_id: int, dtype: str, sample: dict[str, Any]
) -> dict[str, Any]:
    """`config.json` and `generation_config.json` by file name; `sample` is the config's `sample:` section.

    Every value is written out, also those with a default: the defaults differ between layouts and versions.
    """
    qk_norm = config.qk_norm
    tokens = {"bos_token_id": end_of_text_id, "eos_token_id": end_of_text_id}
    values: dict[str, Any] = {
        "architectures": ["Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM"],
        "model_type": "qwen3" if qk_norm else "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.feed_forward_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads or config.num_heads,
        "head_dim": config.d_model // config.num_heads,
        "hidden_act": HIDDEN_ACTIVATIONS[config.activation],
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,  # for transformers 4; version 5 reads the next line
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": config.tie_embeddings,
        "use_cache": True,
        "torch_dtype": dtype,
        **tokens,
    }
    values |= {"use_sliding_window": False, "sliding_window": None} if qk_norm else {"mlp_bias": False}
    greedy = sample["temperature"] == 0
    choice = {
        key: sample[key] for key in ("temperature", "top_k", "top_p", "min_p") if sample[key] is not None
    }
    generation = {
        **tokens,
        "pad_token_id": end_of_text_id,  # not in config.json: there it would stop the embedding's gradient
        "do_sample": not greedy,
        "max_new_tokens": sample["max_tokens"],
        "repetition_penalty": sample["repetition_penalty"],
        **({} if greedy else {"top_k": 0, **choice}),  # without a top_k transformers takes 50
    }
    return {"config.json": values, "generation_config.json": generation}
