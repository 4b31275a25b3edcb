"""The transformer block on a CPU in float32: each half is one autograd function.

Shapes: B batch, T positions, D d_model.
"""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core.activations import silu
from bittygpt.core.attention import MultiHeadAttention
from bittygpt.core.feed_forward import SwiGLU
from bittygpt.core.linear import Linear
from bittygpt.core.rmsnorm import RMSNorm
from bittygpt.core.transformer import TransformerBlock
from bittygpt.engine.dispatch import is_intact, is_plain, runs_eagerly, weight_of
from bittygpt.engine.formulas import Proof
from bittygpt.engine.layers.attention import ATTEND, LAYER, heads_agree
from bittygpt.engine.layers.block_halves import NormAndAttention, NormAndSwiGLU
from bittygpt.engine.layers.feed_forward import SWIGLU
from bittygpt.engine.layers.products import LINEAR
from bittygpt.engine.layers.rmsnorm import RMS_NORM, is_number
from bittygpt.engine.layers.rotary import ROTARY, can_rotate

BLOCK = ("transformer.py:TransformerBlock", "transformer.py:TransformerBlock.forward")
ATTENTION_HALF = Proof(*BLOCK, *RMS_NORM, *LINEAR, *LAYER, *ATTEND, *ROTARY)
FEED_FORWARD_HALF = Proof(*BLOCK, *RMS_NORM, *SWIGLU.names)


class FusedTransformerBlock(TransformerBlock):
    """The block by its two halves, of which each steps aside for itself."""

    formula = TransformerBlock

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        if not (runs_eagerly() and x_BTD.is_cpu and x_BTD.ndim == 3 and x_BTD.numel()):
            return super().forward(x_BTD)
        first, second = attention_operands(self, x_BTD), feed_forward_operands(self, x_BTD)
        if first is None and second is None:  # with one of them, the sums are those that were proved
            return super().forward(x_BTD)
        x_BTD = x_BTD + self.attn(self.ln1(x_BTD)) if first is None else NormAndAttention.apply(x_BTD, *first)
        return x_BTD + self.ffn(self.ln2(x_BTD)) if second is None else NormAndSwiGLU.apply(x_BTD, *second)


def attention_operands(block: TransformerBlock, x_BTD: Tensor) -> tuple[Any, ...] | None:
    """What `NormAndAttention` takes beside x.

    None unless norm, projections, RoPE, attention and the sum are those that were proved, with plain float32 weights.
    """
    parts: Any = block._modules  # attributes take ten times as long
    norm, attention = parts.get("ln1"), parts.get("attn")
    if not (ATTENTION_HALF.holds() and is_intact(attention, MultiHeadAttention)):
        return None
    inner, sizes = attention._modules, attention.__dict__
    head_norms = [each for name in ("q_norm", "k_norm") if (each := inner.get(name)) is not None]
    layers = [inner.get(name) for name in ("q_proj", "k_proj", "v_proj", "output_proj")]
    weights, rope = float32_weights(x_BTD, [norm, *head_norms], layers), inner.get("rope")
    if (
        weights is None
        or len(head_norms) == 1
        # a function in a part's place
        or any([sizes.get(name) is not None for name in ("q_norm", "k_norm", "rope")])
        or not (rope is None or can_rotate(rope, x_BTD.shape[1], sizes.get("head_dim", 0)))
    ):
        return None
    gain, *head_gains, wq, wk, wv, output = weights
    if (
        not heads_agree(sizes, wq, wk, wv)
        or output.shape != (len(gain), len(wq))
        or any([g.shape != (sizes["head_dim"],) for g in head_gains])
    ):
        return None  # the formula may spread out what is smaller
    cos_sin = None if rope is None else rope.cos_sin[: x_BTD.shape[1]]
    return gain, wq, wk, wv, output, *(head_gains or (None, None)), cos_sin, sizes["head_dim"], norm.eps


def feed_forward_operands(block: TransformerBlock, x_BTD: Tensor) -> tuple[Any, ...] | None:
    """What `NormAndSwiGLU` takes beside x; None unless norm, SwiGLU and the sum are those that were proved."""
    parts: Any = block._modules
    norm, ffn = parts.get("ln2"), parts.get("ffn")
    if not (FEED_FORWARD_HALF.holds() and is_intact(ffn, SwiGLU) and ffn.__dict__.get("activation") is silu):
        return None
    weights = float32_weights(x_BTD, [norm], [ffn._modules.get(name) for name in ("w1", "w3", "w2")])
    if weights is None:
        return None
    gain, w1, w3, w2 = weights
    if w1.shape != w3.shape or w2.shape != (len(gain), len(w1)):
        return None
    return *weights, norm.eps


def float32_weights(x_BTD: Tensor, norms: list[Any], layers: list[Any]) -> list[Tensor] | None:
    """The gains of norms, of which the first is x's, and the weights of layers.

    None unless they and x are plain, in main memory, in float32, and the norms have one number as their epsilon.
    """
    found = [weight_of(norm, RMSNorm) for norm in norms] + [weight_of(layer, Linear) for layer in layers]
    weights = [w for w in found if w is not None and w.dtype is torch.float32 and w.is_cpu]
    if len(weights) < len(found) or weights[0].shape != x_BTD.shape[-1:]:
        return None
    if any([not is_number(norm.eps) or norm.eps != norms[0].eps for norm in norms]):
        return None
    return weights if x_BTD.dtype is torch.float32 and is_plain(x_BTD) else None
