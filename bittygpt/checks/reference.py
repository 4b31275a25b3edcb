"""The same model built of PyTorch's own parts, with the same weights: the oracle for ours.

Shapes: B batch, T positions, D d_model, H heads, G key/value heads, d head dimension, V vocabulary.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.core import ModelConfig
from bittygpt.core.feed_forward import GATED, PLAIN

Weights = Mapping[str, Tensor]


def rotate(x: Tensor, positions_T: Tensor, theta: float) -> Tensor:
    """RoPE as RoFormer's equation 13 has it: pair i as a complex number times exp(i · m · theta^(-2i/d)), in float64.

    x (..., T, d) at positions (T,).
    """
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    pair = torch.arange(0, x.shape[-1], 2, dtype=torch.float64, device=x.device)
    angles = positions_T.double()[:, None] * theta ** (-pair / x.shape[-1])
    rotated = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(rotated).flatten(-2).to(x.dtype)


def attention(
    x_BTD: Tensor,
    weights: Weights,
    config: ModelConfig,
    rope: Callable[[Tensor], Tensor] | None = None,
    normalize: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Multi-head causal self-attention: project, normalise if `qk_norm`, rotate, attend, project.

    Args:
        rope, normalize: RoPE, and RMSNorm with a gain, where they are to be others than PyTorch's.
    """
    head_dim = config.d_model // config.num_heads
    q, k, v = (
        F.linear(x_BTD, weights[f"{name}.weight"]).unflatten(-1, (-1, head_dim)).transpose(1, 2)
        for name in ("q_proj", "k_proj", "v_proj")
    )  # (B, H or G, T, d)
    if config.qk_norm:
        normalize = normalize or (lambda x, gain: F.rms_norm(x, (head_dim,), gain, config.norm_eps))
        q, k = normalize(q, weights["q_norm.weight"]), normalize(k, weights["k_norm.weight"])
    positions = torch.arange(x_BTD.shape[1], device=x_BTD.device)
    rope = rope or (lambda x: rotate(x, positions, config.rope_theta))
    q, k = rope(q), rope(k)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return F.linear(mixed.transpose(1, 2).flatten(2), weights["output_proj.weight"])


def feed_forward(x: Tensor, weights: Weights, activation: str) -> Tensor:
    """w2 (activation(w1 x) * w3 x), or w2 activation(w1 x) where there is no w3.

    The activation is ours, so that there may be any, and its mistakes are not held against the layer.
    """
    hidden = (GATED | PLAIN)[activation](F.linear(x, weights["w1.weight"]))
    if "w3.weight" in weights:
        hidden = hidden * F.linear(x, weights["w3.weight"])
    return F.linear(hidden, weights["w2.weight"])


def norm(x: Tensor, weights: Weights, name: str, config: ModelConfig) -> Tensor:
    """RMSNorm with the gain of that name."""
    return F.rms_norm(x, (config.d_model,), weights[f"{name}.weight"], config.norm_eps)


def model(ids_BT: Tensor, weights: Weights, config: ModelConfig) -> Tensor:
    """ids (B, T) -> logits (B, T, V)."""
    x = F.embedding(ids_BT, weights["token_embeddings.weight"])
    for number in range(config.num_layers):
        layer = part(weights, f"layers.{number}.")
        x = x + attention(norm(x, layer, "ln1", config), part(layer, "attn."), config)
        x = x + feed_forward(norm(x, layer, "ln2", config), part(layer, "ffn."), config.activation)
    head = "token_embeddings.weight" if config.tie_embeddings else "lm_head.weight"
    return F.linear(norm(x, weights, "ln_final", config), weights[head])


def part(weights: Weights, prefix: str) -> Weights:
    """The weights whose names begin so, under what follows."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
