"""The block's twin on a CPU: from the norm to RoPE, and with SwiGLU its whole second half, backward by hand.

What a block computes, and why, stands in `transformer.py`. Left to autograd it keeps, copies and adds more than it
need: here the weights lie where they are, a sum is part of the product before it, the two gradients that meet at x
become one in the norm's own last step, and RoPE turns what the product has just written in place.

Under autocast products are in its precision; norms, RoPE, attention and the residual sum stay float32.

Shapes: B batch, T positions, N = B·T, D d_model, H heads, G key/value heads, d head dimension, F d_ff.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bittygpt.core.feed_forward import SwiGLU, silu_gate, silu_gate_gradients
from bittygpt.core.linear import product_dtype
from bittygpt.core.rmsnorm import norm_gradients, normalized
from bittygpt.core.rope import turn_heads
from bittygpt.core.twins import use_twin

if TYPE_CHECKING:
    from bittygpt.core.transformer import TransformerBlock


def use_block_twin(x_BTD: Tensor) -> bool:
    """Whether these twins are to compute; a GPU has a compiler for it, or the twins of the single parts."""
    return use_twin() and x_BTD.is_cpu and x_BTD.dtype == torch.float32


def attention_half(block: "TransformerBlock", x_BTD: Tensor) -> Tensor:
    """x + attention(norm(x)): (B, T, D) -> the same."""
    attention = block.attn
    norms = (attention.q_norm, attention.k_norm)
    x_BTD, q_BHTd, k_BGTd, v_BGTd = QueriesKeysValuesTwin.apply(
        x_BTD,
        block.ln1.weight,
        *(layer.weight for layer in (attention.q_proj, attention.k_proj, attention.v_proj)),
        *(None if norm is None else norm.weight for norm in norms),
        None if attention.rope is None else attention.rope.turns(x_BTD.shape[1], attention.heads[0]),
        attention.head_dim,
        block.ln1.eps,
    )
    attended_BTD = attention.attend(q_BHTd, k_BGTd, v_BGTd)
    return add_product(x_BTD, attended_BTD, attention.output_proj.weight)


def feed_forward_half(block: "TransformerBlock", x_BTD: Tensor) -> Tensor:
    """x + feed_forward(norm(x)): (B, T, D) -> the same."""
    if not isinstance(block.ffn, SwiGLU):
        return x_BTD + block.ffn(block.ln2(x_BTD))
    weights = (layer.weight for layer in (block.ffn.w1, block.ffn.w3, block.ffn.w2))
    result: Tensor = SwiGLUTwin.apply(x_BTD, block.ln2.weight, *weights, block.ln2.eps)
    return result


def in_precision(dtype: torch.dtype, *weights: Tensor) -> list[Tensor]:
    """The weights in that precision. `to` alone would take its time to find out that nothing is to be done."""
    return [w if w.dtype == dtype else w.to(dtype) for w in weights]


def add_product(x_BTD: Tensor, y_BTD: Tensor, weight: Tensor) -> Tensor:
    """x + y Wᵀ; in one go where all are of one precision. Autocast would round x, too."""
    if product_dtype(x_BTD) != x_BTD.dtype:
        return x_BTD + y_BTD @ weight.T
    return torch.addmm(x_BTD.flatten(0, 1), y_BTD.flatten(0, 1), weight.T).view_as(x_BTD)


def weight_gradient(wanted: bool, dy_NF: Tensor, x_ND: Tensor) -> Tensor | None:
    """Of the product y = x Wᵀ: dW = dyᵀ x, if anyone wants it (fine-tuning may not)."""
    return dy_NF.T @ x_ND if wanted else None


class QueriesKeysValuesTwin(torch.autograd.Function):
    """x -> x, q (B, H, T, d), k and v (B, G, T, d): norm, three products, norms of q and k, RoPE.

    x is handed through, so that the gradient of the residual sum comes here and is added where it costs nothing.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_BTD: Tensor,
        gain_D: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        q_gain_d: Tensor | None,
        k_gain_d: Tensor | None,
        turns: Tensor | None,
        head_dim: int,
        eps: float,
    ) -> tuple[Tensor, ...]:
        dtype = product_dtype(x_BTD)
        weights = in_precision(dtype, wq, wk, wv)
        x_ND = x_BTD.flatten(0, 1)
        h_ND, inverse_rms = normalized(x_ND, gain_D, eps, dtype)
        heads: list[Tensor] = []
        head_norms: list[Tensor | None] = []
        for weight, gain_d in zip(weights, (q_gain_d, k_gain_d, None), strict=True):
            head = (h_ND @ weight.T).float().view(*x_BTD.shape[:2], -1, head_dim)
            if gain_d is not None:
                head_norms.append(head)
                head, head_inverse_rms = normalized(head, gain_d, eps, head.dtype)
                head_norms.append(head_inverse_rms)
            heads.append(head)
        ctx.turns = turns  # not among what is saved for the backward pass: one table serves all layers
        if turns is not None:
            for head in heads[:2]:
                turn_heads(head, turns, out=head)
        ctx.save_for_backward(x_ND, inverse_rms, gain_D, h_ND, *weights, q_gain_d, k_gain_d, *head_norms)
        return x_BTD, *(head.transpose(1, 2) for head in heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, inverse_rms, gain_D, h_ND, wq, wk, wv, q_gain_d, k_gain_d, *head_norms = ctx.saved_tensors
        dx_BTD, *dheads = grads
        head_gains: list[Tensor | None] = []
        dprojected: list[Tensor] = []
        for dhead_BHTd, gain_d in zip(dheads, (q_gain_d, k_gain_d, None), strict=True):
            dhead = dhead_BHTd.transpose(1, 2).contiguous()  # (B, T, H, d), as it mostly lies already
            if ctx.turns is not None and len(dprojected) < 2:  # not the values
                dhead = turn_heads(dhead, ctx.turns, back=True)
            if gain_d is not None:
                dhead, dgain_d = norm_gradients(dhead, head_norms.pop(0), head_norms.pop(0), gain_d)
                head_gains.append(dgain_d)
            else:
                head_gains.append(None)
            dprojected.append(dhead.view(h_ND.shape[0], -1).to(h_ND.dtype))
        dq, dk, dv = dprojected
        dh_ND = (dq @ wq).addmm_(dk, wk).addmm_(dv, wv)
        dx_ND, dgain_D = norm_gradients(dh_ND, x_ND, inverse_rms, gain_D, beside=dx_BTD.reshape(x_ND.shape))
        wanted = ctx.needs_input_grad[2:5]
        dweights = (weight_gradient(*each, h_ND) for each in zip(wanted, dprojected, strict=True))
        return dx_ND.view(dx_BTD.shape), dgain_D, *dweights, *head_gains[:2], None, None, None


class SwiGLUTwin(torch.autograd.Function):
    """x + w2 (silu(w1 n) * w3 n) with n = norm(x)."""

    @staticmethod
    def forward(
        ctx: Any, x_BTD: Tensor, gain_D: Tensor, w1: Tensor, w3: Tensor, w2: Tensor, eps: float
    ) -> Tensor:
        dtype = product_dtype(x_BTD)
        w1, w3, w2 = in_precision(dtype, w1, w3, w2)
        x_ND = x_BTD.flatten(0, 1)
        h_ND, inverse_rms = normalized(x_ND, gain_D, eps, dtype)
        gate_NF, up_NF = h_ND @ w1.T, h_ND @ w3.T
        y_NF = silu_gate(gate_NF, up_NF)
        ctx.save_for_backward(x_ND, inverse_rms, gain_D, h_ND, w1, w3, w2, gate_NF, up_NF, y_NF)
        if dtype != x_BTD.dtype:
            return x_BTD + (y_NF @ w2.T).view_as(x_BTD)
        result = torch.empty_like(x_BTD)  # a tensor of its own: FSDP2 warns of a view as a layer's result
        torch.addmm(x_ND, y_NF, w2.T, out=result.flatten(0, 1))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, inverse_rms, gain_D, h_ND, w1, w3, w2, gate_NF, up_NF, y_NF = ctx.saved_tensors
        dresult_ND = grads[0].reshape(x_ND.shape)
        dproduct_ND = dresult_ND.to(h_ND.dtype)
        dgate_NF, dup_NF = silu_gate_gradients(dproduct_ND @ w2, gate_NF, up_NF)
        dh_ND = (dgate_NF @ w1).addmm_(dup_NF, w3)
        dx_ND, dgain_D = norm_gradients(dh_ND, x_ND, inverse_rms, gain_D, beside=dresult_ND)
        w1_wanted, w3_wanted, w2_wanted = ctx.needs_input_grad[2:5]
        return (
            dx_ND.view(grads[0].shape),
            dgain_D,
            weight_gradient(w1_wanted, dgate_NF, h_ND),
            weight_gradient(w3_wanted, dup_NF, h_ND),
            weight_gradient(w2_wanted, dproduct_ND, y_NF),
            None,
        )
