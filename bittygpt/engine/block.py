"""The block on a CPU in float32: each half in one function, where all of it is as it was proved.

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
from bittygpt.engine.attention import ATTEND, LAYER, causal_attention, heads_agree
from bittygpt.engine.block_halves import AddAttention, NormAndSwiGLU, QueriesKeysValues
from bittygpt.engine.dispatch import is_intact, is_plain, runs_eagerly, weight_of
from bittygpt.engine.feed_forward import SWIGLU
from bittygpt.engine.formulas import Proof
from bittygpt.engine.products import LINEAR
from bittygpt.engine.rmsnorm import RMS_NORM, is_number
from bittygpt.engine.rotary import ROTARY, can_rotate

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
        if first is None:
            x_BTD = x_BTD + self.attn(self.ln1(x_BTD))
        else:
            *operands, output_weight = first
            x_BTD, q_BHTd, k_BGTd, v_BGTd = QueriesKeysValues.apply(x_BTD, *operands)
            attended_BHTd = causal_attention(q_BHTd, k_BGTd, v_BGTd)
            x_BTD = AddAttention.apply(x_BTD, q_BHTd, k_BGTd, v_BGTd, attended_BHTd, output_weight)
        if second is None:
            return x_BTD + self.ffn(self.ln2(x_BTD))
        result: Tensor = NormAndSwiGLU.apply(x_BTD, *second)
        return result


def attention_operands(block: TransformerBlock, x_BTD: Tensor) -> tuple[Any, ...] | None:
    """What `QueriesKeysValues` takes beside x, and the output projection's weight.

    None unless norm, projections, RoPE, attention and the sum are those that were proved, with plain float32 weights.
    """
    parts: Any = block._modules  # attributes take ten times as long
    norm, attention = parts.get("ln1"), parts.get("attn")
    if not (ATTENTION_HALF.holds() and is_intact(norm, RMSNorm) and is_intact(attention, MultiHeadAttention)):
        return None
    inner, sizes = attention._modules, attention.__dict__
    layers = [inner.get(name) for name in ("q_proj", "k_proj", "v_proj", "output_proj")]
    head_norms, rope = [inner.get(name) for name in ("q_norm", "k_norm")], inner.get("rope")
    if not (
        all(is_intact(layer, Linear) for layer in layers)
        # no function in a part's place
        and all(sizes.get(name) is None for name in ("q_norm", "k_norm", "rope"))
        and all(each is None or is_intact(each, RMSNorm) for each in head_norms)
        and all(
            each is None or (is_number(each.eps) and each.eps == norm.eps) for each in (norm, *head_norms)
        )
        and (head_norms[0] is None) == (head_norms[1] is None)
        and (rope is None or can_rotate(rope, x_BTD.shape[1], sizes.get("head_dim", 0)))
    ):
        return None
    weights = float32_weights(x_BTD, norm, *layers, *filter(None, head_norms))
    if weights is None or not heads_agree(sizes, *weights[1:4]):
        return None
    gain, wq, wk, wv, output, *head_gains = weights
    if output.shape != (len(gain), len(wq)) or any(g.shape != (sizes["head_dim"],) for g in head_gains):
        return None  # the formula may spread out what is smaller
    cos_sin = None if rope is None else rope.cos_sin[: x_BTD.shape[1]]
    return gain, wq, wk, wv, *(head_gains or (None, None)), cos_sin, sizes["head_dim"], norm.eps, output


def feed_forward_operands(block: TransformerBlock, x_BTD: Tensor) -> tuple[Any, ...] | None:
    """What `NormAndSwiGLU` takes beside x; None unless norm, SwiGLU and the sum are those that were proved."""
    parts: Any = block._modules
    norm, ffn = parts.get("ln2"), parts.get("ffn")
    if not (FEED_FORWARD_HALF.holds() and is_intact(norm, RMSNorm) and is_intact(ffn, SwiGLU)):
        return None
    layers = [ffn._modules.get(name) for name in ("w1", "w3", "w2")]
    if not (ffn.__dict__.get("activation") is silu and all(is_intact(layer, Linear) for layer in layers)):
        return None
    weights = float32_weights(x_BTD, norm, *layers) if is_number(norm.eps) else None
    if weights is None:
        return None
    gain, w1, w3, w2 = weights
    if w1.shape != w3.shape or w2.shape != (len(gain), len(w1)):
        return None
    return *weights, norm.eps


def float32_weights(x_BTD: Tensor, norm: object, *parts: object) -> list[Tensor] | None:
    """A norm's gain and the weights of other parts; None unless they and x are plain, in main memory, in float32."""
    weights = [weight_of(part) for part in (norm, *parts)]
    found = [w for w in weights if w is not None and w.dtype is torch.float32 and w.is_cpu]
    suits = is_plain(x_BTD) and x_BTD.dtype is torch.float32 and len(found) == len(weights)
    return found if suits and found[0].shape == x_BTD.shape[-1:] else None
