"""Hugging Face's Llama layout, and with QK-norm the Qwen3 layout: what each weight is called there, and its order.

The arithmetic is the same; the names differ, and so does the order of RoPE's features. bittygpt rotates neighbouring
pairs (x0, x1), (x2, x3), …; these layouts rotate (x0, x_d/2), (x1, x_d/2+1), …. Sorting the rows of the query and key
projections (and QK-norm's gains) the same way turns one into the other, since attention's products do not mind the
order of features.

Shapes: D d_model, H heads, d head dimension.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from bittygpt.core import TransformerLM

HIDDEN_ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu"}
BLOCK = "model.layers"
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


def halves_first(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of neighbouring pairs -> rows of two halves, head by head: 0 1 2 3 4 5 6 7 -> 0 2 4 6 1 3 5 7."""
    heads = weight.unflatten(0, (-1, head_dim // 2, 2))
    return heads.transpose(1, 2).reshape(weight.shape)


def pairs_first(weight: Tensor, head_dim: int) -> Tensor:
    """The way back: rows of two halves -> rows of neighbouring pairs, 0 2 4 6 1 3 5 7 -> 0 1 2 3 4 5 6 7."""
    heads = weight.unflatten(0, (-1, 2, head_dim // 2))
    return heads.transpose(1, 2).reshape(weight.shape)


def is_rotated(name: str) -> bool:
    """Whether RoPE, which has another order of features there, sees what this weight of ours makes."""
    return name.removesuffix(".weight").endswith(ROTATED)


def layout_name(
    name: str,
    block: str = BLOCK,
    block_names: Mapping[str, str] = BLOCK_NAMES,
    outer_names: Mapping[str, str] = OUTER_NAMES,
) -> str:
    """What a layout calls the weight that is called `name` here; `block` stands before a layer's number."""
    part = name.removesuffix(".weight")
    if part.startswith("layers."):
        _, layer, inner = part.split(".", 2)
        return f"{block}.{layer}.{block_names[inner]}.weight"
    return f"{outer_names[part]}.weight"


def renamed_weights(
    model: TransformerLM,
    block: str = BLOCK,
    block_names: Mapping[str, str] = BLOCK_NAMES,
    outer_names: Mapping[str, str] = OUTER_NAMES,
    halves: bool = True,
) -> Iterator[tuple[str, str, Tensor]]:
    """Every weight of the model: its name, the one that a layout has for it, and its numbers.

    With `halves`, the layout's RoPE rotates halves: see the top of this file.
    """
    head_dim = model.config.d_model // model.config.num_heads
    for name, tensor in model.state_dict().items():
        if halves and is_rotated(name):
            tensor = halves_first(tensor, head_dim)
        yield name, layout_name(name, block, block_names, outer_names), tensor.detach()
