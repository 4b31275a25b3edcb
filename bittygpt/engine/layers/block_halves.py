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


class QueriesKeysValues(FusedFunction):
    """x -> x, q (B, H, T, d), k and v (B, G, T, d): norm, three products, norms of q and k, RoPE.

    x is handed through, so that the gradient of the residual sum comes here and is added where it costs nothing.
    """

    @staticmethod
    def formula(
        x_BTD: Tensor,
        gain_D: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        q_gain_d: Tensor | None,
        k_gain_d: Tensor | None,
        cos_sin: Tensor | None,
        head_dim: int,
        eps: float,
    ) -> tuple[Tensor, ...]:
        h_BTD = rms_norm(x_BTD, gain_D, eps)
        heads = []
        for weight, gain_d, is_rotated in ((wq, q_gain_d, True), (wk, k_gain_d, True), (wv, None, False)):
            head = (h_BTD @ weight.T).unflatten(-1, (-1, head_dim))
            head = (head if gain_d is None else rms_norm(head, gain_d, eps)).transpose(1, 2)
            heads.append(apply_rotary(head, cos_sin) if is_rotated and cos_sin is not None else head)
        return x_BTD, *heads

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        x_BTD, gain_D, wq, wk, wv, q_gain_d, k_gain_d, cos_sin, head_dim, eps = inputs
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
        if cos_sin is not None:
            for head in heads[:2]:
                rotate_heads(head, cos_sin, out=head)
        FusedFunction.save(ctx, inputs, inverse_rms, h_ND, *weights, *head_norms)
        return x_BTD, *(head.transpose(1, 2) for head in heads)

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, (inverse_rms, h_ND, wq, wk, wv, *head_norms) = FusedFunction.saved(ctx)
        x_BTD, gain_D, *_, q_gain_d, k_gain_d, cos_sin, _, _ = inputs
        x_ND = x_BTD.flatten(0, 1)
        dx_BTD, *dheads = grads
        head_gains: list[Tensor | None] = []
        dprojected: list[Tensor] = []
        for dhead_BHTd, gain_d in zip(dheads, (q_gain_d, k_gain_d, None), strict=True):
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
        dx_ND, dgain_D = norm_gradients(dh_ND, x_ND, inverse_rms, gain_D, beside=dx_BTD.reshape(x_ND.shape))
        wanted = ctx.needs_input_grad[2:5]
        dweights = (weight_gradient(*each, h_ND) for each in zip(wanted, dprojected, strict=True))
        return dx_ND.view(dx_BTD.shape), dgain_D, *dweights, *head_gains[:2], None, None, None


class AddAttention(FusedFunction):
    """x + output projection of what attention has made of q, k and v: its own kernel's work, `attended` (B, H, T, d).

    The gradient takes that kernel's way back to q, k and v; to be differentiated again, it goes through the formula.
    """

    @staticmethod
    def formula(x_BTD: Tensor, q: Tensor, k: Tensor, v: Tensor, _: None, weight: Tensor) -> Tensor:
        return x_BTD + attention_formula(q, k, v).transpose(1, 2).flatten(2) @ weight.T

    @staticmethod
    def forward(
        ctx: Any, x_BTD: Tensor, q: Tensor, k: Tensor, v: Tensor, attended_BHTd: Tensor, weight: Tensor
    ) -> Tensor:
        inputs, dtype = (x_BTD, q, k, v, None, weight), product_dtype(x_BTD)
        (weight,) = in_precision(dtype, weight)
        y_ND = attended_BHTd.transpose(1, 2).flatten(2).flatten(0, 1).to(dtype)
        FusedFunction.save(ctx, inputs, y_ND, weight)
        if dtype != x_BTD.dtype:
            return x_BTD + (y_ND @ weight.T).view_as(x_BTD)
        return torch.addmm(x_BTD.flatten(0, 1), y_ND, weight.T).view_as(x_BTD)

    @staticmethod
    def gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (_, q_BHTd, *_), (y_ND, weight) = FusedFunction.saved(ctx)
        batch, heads, length, head_dim = q_BHTd.shape
        dproduct_ND = grads[0].reshape(batch * length, -1).to(y_ND.dtype)
        dy = (dproduct_ND @ weight).float().view(batch, length, heads, head_dim).transpose(1, 2)
        dweight = weight_gradient(ctx.needs_input_grad[5], dproduct_ND, y_ND)
        return grads[0], None, None, None, dy, dweight


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
        if dtype != x_BTD.dtype:
            return x_BTD + (y_NF @ w2.T).view_as(x_BTD)
        # a tensor of its own: FSDP2 warns of a view as a layer's result. Dense, or `flatten` would give a copy of it
        result = torch.empty_like(x_BTD, memory_format=torch.contiguous_format)
        torch.addmm(x_ND, y_NF, w2.T, out=result.flatten(0, 1))
        return result

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
