"""The parts of the decoder: a block's weights as they are multiplied, and buffers for the numbers of a step.

Shapes: N rows, B texts among them, D d_model, H heads, G key/value heads, d head dimension.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bittygpt.core import Embedding, Linear, ModelConfig, RMSNorm, TransformerBlock
from bittygpt.core.activations import Activation
from bittygpt.core.feed_forward import GatedFeedForward


def side_by_side(
    layers: Sequence[Linear | Embedding], dtype: torch.dtype, norm: RMSNorm | None = None
) -> Tensor:
    """Weights (d_out, d_in) -> (d_in, sum of all d_out), as it is read in a product from the left.

    A norm before them is
        g x / sqrt(mean(x²) + eps)  =  sqrt(D) g · x / sqrt(|x|² + D eps),
    of which sqrt(D) g, one number for each feature, goes into the weights.
    """
    joined = torch.cat([layer.weight.detach() for layer in layers])
    if norm is not None:
        joined = joined * (math.sqrt(joined.shape[1]) * norm.weight.detach())
    return joined.to(dtype).T.contiguous()


class Layer:
    """One block's weights."""

    def __init__(self, block: TransformerBlock, dtype: torch.dtype) -> None:
        attention = block.attn
        feed_forward: Any = block.ffn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = side_by_side(projections, dtype, block.ln1)
        self.output = side_by_side([attention.output_proj], dtype)
        self.is_gated = isinstance(feed_forward, GatedFeedForward)
        up = (feed_forward.w1, feed_forward.w3) if self.is_gated else (feed_forward.w1,)
        self.up = side_by_side(up, dtype, block.ln2)
        self.down = side_by_side([feed_forward.w2], dtype)
        self.activation: Activation = feed_forward.activation
        self.qk_gains: Tensor | None = None
        if attention.q_norm is not None and attention.k_norm is not None:
            heads, kv_heads = attention.num_heads, attention.num_kv_heads
            gains = [attention.q_norm.weight.detach()] * heads + [attention.k_norm.weight.detach()] * kv_heads
            self.qk_gains = torch.stack(gains)  # (H + G, d)


class Buffers:
    """Buffers for N rows on their way through a layer, and views of them, made once and used by all layers.

    A view takes as long to make as a small text's numbers to compute.
    """

    def __init__(self, config: ModelConfig, layer: Layer, rows: int, texts: int) -> None:
        heads, kv_heads = config.num_heads, config.num_kv_heads or config.num_heads
        head_dim, dtype = config.d_model // heads, layer.qkv.dtype

        def zeros(width: int) -> Tensor:
            return layer.qkv.new_zeros(rows, width)

        self.texts = texts
        self.qkv, self.found = zeros(layer.qkv.shape[1]), zeros(config.d_model)
        self.up, self.out = zeros(layer.up.shape[1]), zeros(config.d_model)
        self.qkv_NHd = self.qkv.unflatten(-1, (-1, head_dim))
        self.rotated_NHd = self.qkv_NHd[:, : heads + kv_heads]
        # float32 is rotated where it lies, all else in a copy
        self.rotated32_NHd = self.rotated_NHd if dtype == torch.float32 else self.rotated_NHd.float()
        self.pairs_NHc = torch.view_as_complex(self.rotated32_NHd.unflatten(-1, (-1, 2)))
        self.q_BHd, self.kv_BGd = self.qkv_NHd[:texts].split((heads, 2 * kv_heads), dim=1)
        self.found_BHd = self.found.unflatten(-1, (-1, head_dim))[:texts]
        self.gate_and_up = self.up.chunk(2, dim=-1)
