"""The two halves of a block as functions, each with its norm, its products and its backward pass by hand.

Left to autograd a block keeps, copies and adds more than it need: here the weights lie where they are, a sum is part of
the product before it, the two gradients that meet at x become one in the norm's own last step, and RoPE rotates what
the product has just written in place.

Under autocast products are in its precision; norms, RoPE, attention and the residual sum stay float32.

Shapes: B batch, T positions, N = B·T, D d_model, H heads, G key/value heads, d head dimension, F d_ff.
"""

from typing import Any

import torch
from torch import Tensor

from bittygpt.core.activations import silu
from bittygpt.core.rmsnorm import rms_norm
from bittygpt.core.rope import apply_rotary
from bittygpt.engine.dispatch import product_dtype
from bittygpt.engine.function import FusedFunction
from bittygpt.engine.layers.attention import attention_formula
from bittygpt.engine.layers.feed_forward import silu_gate, silu_gate_gradients
from bittygpt.engine.layers.products import in_precision, weight_gradient
from bittygpt.engine.layers.rmsnorm import norm_gradients, normalized
from bittygpt.engine.layers.rotary import rotate_heads

# PyTorch's fused attention and its backward pass (Dao et al. 2022), which `F.scaled_dot_product_attention` takes, too
FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class NormAndAttention(FusedFunction):
    """x + output projection of attention(norm(x)): with norms of q and k, and RoPE."""

    @staticmethod
    def formula(
        x_BTD: Tensor,
        gain_D: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        wo: Tensor,
        q_gain_d: Tensor | None,
        k_gain_d: Tensor | None,
        cos_sin: Tensor | None,
        head_dim: int,
        eps: float,
    ) -> Tensor:
        h_BTD = rms_norm(x_BTD, gain_D, eps)
        heads = []
        for weight, gain_d, is_rotated in ((wq, q_gain_d, True), (wk, k_gain_d, True), (wv, None, False)):
            head = (h_BTD @ weight.T).unflatten(-1, (-1, head_dim))
            head = (head if gain_d is None else rms_norm(head, gain_d, eps)).transpose(1, 2)
            heads.append(apply_rotary(head, cos_sin) if is_rotated and cos_sin is not None else head)
        return x_BTD + attention_formula(*heads).transpose(1, 2).flatten(2) @ wo.T

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        x_BTD, gain_D, *weights, q_gain_d, k_gain_d, cos_sin, head_dim, eps = inputs
        dtype = product_dtype(x_BTD)
        wq, wk, wv, wo = in_precision(dtype, *weights)
        x_ND = x_BTD.flatten(0, 1)
        h_ND, inverse_rms = normalized(x_ND, gain_D, eps, dtype)
        heads: list[Tensor] = []
        head_norms: list[Tensor | None] = []
        for weight, gain_d in ((wq, q_gain_d), (wk, k_gain_d), (wv, None)):
            head = (h_ND @ weight.T).float().view(*x_BTD.shape[:2], -1, head_dim)
            if gain_d is not None:
                head_norms.append(head)
                head, head_inverse_rms = normalized(head, gain_d, eps, head.dtype)
                head_norms.append(head_inverse_rms)
            heads.append(head)
        if cos_sin is not None:
            for head in heads[:2]:
                rotate_heads(head, cos_sin, out=head)
        q, k, v = (head.transpose(1, 2) for head in heads)
        attended, logsumexp = FLASH(q, *shared(q, k, v), is_causal=True)
        y_ND = attended.transpose(1, 2).flatten(2).flatten(0, 1).to(dtype)
        rest = wq, wk, wv, wo, q, k, v, attended, logsumexp, y_ND
        FusedFunction.save(ctx, inputs, inverse_rms, h_ND, *rest, *head_norms)
        return added(x_BTD, y_ND, wo)

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, (inverse_rms, h_ND, *rest) = FusedFunction.saved(ctx)
        wq, wk, wv, wo, q, k, v, attended, logsumexp, y_ND, *head_norms = rest
        x_BTD, gain_D, *_, q_gain_d, k_gain_d, cos_sin, head_dim, _ = inputs
        x_ND, batch_and_length = x_BTD.flatten(0, 1), x_BTD.shape[:2]
        dresult_ND = grads[0].reshape(x_ND.shape)
        dproduct_ND = dresult_ND.to(h_ND.dtype)
        dy = (dproduct_ND @ wo).float().view(*batch_and_length, -1, head_dim).transpose(1, 2)
        dheads = FLASH_BACKWARD(dy, q, *shared(q, k, v), attended, logsumexp, 0.0, True)
        head_gains: list[Tensor | None] = []
        dprojected: list[Tensor] = []
        for dhead_BHTd, head, gain_d in zip(dheads, (q, k, v), (q_gain_d, k_gain_d, None), strict=True):
            if dhead_BHTd.shape != head.shape:
                dhead_BHTd = dhead_BHTd.unflatten(1, (head.shape[1], -1)).sum(2)
            dhead = dhead_BHTd.transpose(1, 2).contiguous()  # (B, T, H, d), as it mostly lies already
            if cos_sin is not None and len(dprojected) < 2:  # not the values
                dhead = rotate_heads(dhead, cos_sin, back=True)
            if gain_d is not None:
                dhead, dgain_d = norm_gradients(dhead, head_norms.pop(0), head_norms.pop(0), gain_d)
                head_gains.append(dgain_d)
            else:
                head_gains.append(None)
            dprojected.append(dhead.view(h_ND.shape[0], -1).to(h_ND.dtype))
        dq, dk, dv = dprojected
        dh_ND = (dq @ wq).addmm_(dk, wk).addmm_(dv, wv)
        dx_ND, dgain_D = norm_gradients(dh_ND, x_ND, inverse_rms, gain_D, beside=dresult_ND)
        *wanted, output_wanted = ctx.needs_input_grad[2:6]
        dweights = [weight_gradient(*each, h_ND) for each in zip(wanted, dprojected, strict=True)]
        dweights.append(weight_gradient(output_wanted, dproduct_ND, y_ND))
        return dx_ND.view(x_BTD.shape), dgain_D, *dweights, *head_gains[:2], None, None, None


def shared(q_BHTd: Tensor, *keys_or_values_BGTd: Tensor) -> list[Tensor]:
    """Keys and values with a head for each of the queries' (the kernel knows no groups)."""
    heads = q_BHTd.shape[1]
    return [
        x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)
        for x in keys_or_values_BGTd
    ]


def added(x_BTD: Tensor, y_ND: Tensor, weight: Tensor) -> Tensor:
    """x + y Wᵀ (B, T, D), in one product where all are of one precision."""
    if y_ND.dtype != x_BTD.dtype:
        return x_BTD + (y_ND @ weight.T).view_as(x_BTD)
    # a tensor of its own: FSDP2 warns of a view as a layer's result. Dense, or `flatten` would give a copy of it
    result = torch.empty_like(x_BTD, memory_format=torch.contiguous_format)
    torch.addmm(x_BTD.flatten(0, 1), y_ND, weight.T, out=result.flatten(0, 1))
    return result


class NormAndSwiGLU(FusedFunction):
    """x + w2 (silu(w1 n) * w3 n) with n = norm(x)."""

    @staticmethod
    def formula(x_BTD: Tensor, gain_D: Tensor, w1: Tensor, w3: Tensor, w2: Tensor, eps: float) -> Tensor:
        h_BTD = rms_norm(x_BTD, gain_D, eps)
        return x_BTD + (silu(h_BTD @ w1.T) * (h_BTD @ w3.T)) @ w2.T

    @staticmethod
    def forward(
        ctx: Any, x_BTD: Tensor, gain_D: Tensor, w1: Tensor, w3: Tensor, w2: Tensor, eps: float
    ) -> Tensor:
        inputs, dtype = (x_BTD, gain_D, w1, w3, w2, eps), product_dtype(x_BTD)
        w1, w3, w2 = in_precision(dtype, w1, w3, w2)
        x_ND = x_BTD.flatten(0, 1)
        h_ND, inverse_rms = normalized(x_ND, gain_D, eps, dtype)
        gate_NF, up_NF = h_ND @ w1.T, h_ND @ w3.T
        y_NF = silu_gate(gate_NF, up_NF)
        FusedFunction.save(ctx, inputs, inverse_rms, h_ND, w1, w3, w2, gate_NF, up_NF, y_NF)
        return added(x_BTD, y_NF, w2)

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x_BTD, gain_D, *_), intermediates = FusedFunction.saved(ctx)
        inverse_rms, h_ND, w1, w3, w2, gate_NF, up_NF, y_NF = intermediates
        x_ND = x_BTD.flatten(0, 1)
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
