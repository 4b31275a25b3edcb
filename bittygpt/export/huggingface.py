"""A model in Hugging Face's Llama layout, or with QK-norm in the Qwen3 layout.

The arithmetic is the same; the names differ, and so does the order of RoPE's features. bittygpt turns neighbouring
pairs (x0, x1), (x2, x3), …; these layouts turn (x0, x_d/2), (x1, x_d/2+1), …. Sorting the rows of the query and key
projections (and QK-norm's gains) the same way turns one into the other, since attention's products do not mind the
order of features.

The files are written by hand: `save_pretrained` of transformers 5 writes what transformers 4 reads wrongly.
Shapes: D d_model, H heads, d head dimension.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import UsageError

HIDDEN_ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu"}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
BLOCK_NAMES = {
    "ln1": "input_layernorm",
    "ln2": "post_attention_layernorm",
    "attn.q_proj": "self_attn.q_proj",
    "attn.k_proj": "self_attn.k_proj",
    "attn.v_proj": "self_attn.v_proj",
    "attn.output_proj": "self_attn.o_proj",
    "attn.q_norm": "self_attn.q_norm",
    "attn.k_norm": "self_attn.k_norm",
    "ffn.w1": "mlp.gate_proj",
    "ffn.w2": "mlp.down_proj",
    "ffn.w3": "mlp.up_proj",
}
OUTER_NAMES = {"token_embeddings": "model.embed_tokens", "ln_final": "model.norm", "lm_head": "lm_head"}
ROTATED = ("attn.q_proj", "attn.k_proj", "attn.q_norm", "attn.k_norm")


def check_layout(config: ModelConfig) -> None:
    """Raise UsageError for a model that no Hugging Face layout describes."""
    if config.activation not in HIDDEN_ACTIVATIONS:
        raise UsageError(
            f"--format hf: neither Llama's nor Qwen3's layout has a feed-forward layer without a gate, as "
            f"model.activation: {config.activation} is; models with {', '.join(HIDDEN_ACTIVATIONS)} can be exported"
        )


def halves_first(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of neighbouring pairs -> rows of two halves, head by head: 0 1 2 3 4 5 6 7 -> 0 2 4 6 1 3 5 7."""
    heads = weight.unflatten(0, (-1, head_dim // 2, 2))
    return heads.transpose(1, 2).reshape(weight.shape)


def renamed_weights(
    model: TransformerLM, block: str, block_names: dict[str, str], outer_names: dict[str, str], halves: bool
) -> Iterator[tuple[str, str, Tensor]]:
    """Every weight of the model: its name, the one that a layout has for it, and its numbers.

    `block` stands before a layer's number. With `halves`, the layout's RoPE turns halves: see the top of this file.
    """
    head_dim = model.config.d_model // model.config.num_heads
    for name, tensor in model.state_dict().items():
        part = name.removesuffix(".weight")
        if part.startswith("layers."):
            _, layer, inner = part.split(".", 2)
            if halves and inner in ROTATED:
                tensor = halves_first(tensor, head_dim)
            part = f"{block}.{layer}.{block_names[inner]}"
        else:
            part = outer_names[part]
        yield name, f"{part}.weight", tensor.detach()


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
    named = renamed_weights(model, "model.layers", BLOCK_NAMES, OUTER_NAMES, halves=True)
    return {new: rounded(name, tensor, dtype) for name, new, tensor in named}


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
