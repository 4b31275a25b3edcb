"""The model, arranged for generation: one token of each text at a time, with as few and as large steps as possible.

It computes what `bittygpt.core`'s model computes. Weights that multiply the same vector lie side by side, put there
once, transposed so that rows are read as they lie in memory; nothing is kept for a backward pass; and attention looks
at the cache. It holds a copy of the weights; a model that learns on in the meantime needs a new one.

Shapes: N rows (positions of one prompt, or one position of several texts), D d_model, H heads, G key/value heads,
d head dimension, F d_ff, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.core import Embedding, Linear, RMSNorm, TransformerBlock, TransformerLM
from bittygpt.core.activations import Activation
from bittygpt.core.attention import fused_causal_attention
from bittygpt.core.feed_forward import GatedFeedForward
from bittygpt.core.rmsnorm import rms_norm
from bittygpt.sampling.kv_cache import KeyValueCache
from bittygpt.sampling.row_products import RowProducts, block_of

Product = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (N, D), a weight (D, F), and where their product goes (N, F), which is given back."""


def _side_by_side(
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


class _Layer:
    """One block's weights."""

    def __init__(self, block: TransformerBlock, dtype: torch.dtype) -> None:
        attention = block.attn
        feed_forward: Any = block.ffn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = _side_by_side(projections, dtype, block.ln1)
        self.output = _side_by_side([attention.output_proj], dtype)
        self.is_gated = isinstance(feed_forward, GatedFeedForward)
        up = (feed_forward.w1, feed_forward.w3) if self.is_gated else (feed_forward.w1,)
        self.up = _side_by_side(up, dtype, block.ln2)
        self.down = _side_by_side([feed_forward.w2], dtype)
        self.activation: Activation = feed_forward.activation
        self.qk_gains: Tensor | None = None
        if attention.q_norm is not None and attention.k_norm is not None:
            heads, kv_heads, _ = attention.heads
            gains = [attention.q_norm.weight.detach()] * heads + [attention.k_norm.weight.detach()] * kv_heads
            self.qk_gains = torch.stack(gains)  # (H + G, d)


class _Room:
    """Where the numbers of N rows go on their way through a layer, and the views of it: made once, used by all layers.

    A view takes as long to make as a small text's numbers to compute.
    """

    def __init__(self, decoder: "Decoder", rows: int, texts: int) -> None:
        config, head_dim, dtype = decoder.config, decoder.head_dim, decoder.dtype
        heads, kv_heads, layer = config.num_heads, decoder.kv_heads, decoder.layers[0]

        def room(width: int) -> Tensor:
            return torch.zeros(rows, width, dtype=dtype, device=decoder.device)

        self.texts = texts
        self.qkv, self.found = room(layer.qkv.shape[1]), room(config.d_model)
        self.up, self.out = room(layer.up.shape[1]), room(config.d_model)
        self.qkv_NHd = self.qkv.unflatten(-1, (-1, head_dim))
        self.turned_NHd = self.qkv_NHd[:, : heads + kv_heads]
        self.q_BHd, self.kv_BGd = self.qkv_NHd[:texts].split((heads, 2 * kv_heads), dim=1)
        self.found_BHd = self.found.unflatten(-1, (-1, head_dim))[:texts]
        self.gate_and_up = self.up.chunk(2, dim=-1)


class Decoder:
    """Reads prompts into a cache, and advances the texts in it by one token each.

    It computes in the autocast dtype where autocast is on, as the model would, else in that of the weights.

    Args:
        max_rows: the most texts at once.
    """

    def __init__(self, model: TransformerLM, max_rows: int) -> None:
        self.config, self.max_rows = model.config, max_rows
        embeddings = model.token_embeddings.weight.detach()
        self.device = embeddings.device
        kind = self.device.type
        self.dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else embeddings.dtype
        self.kv_heads = model.config.num_kv_heads or model.config.num_heads
        self.head_dim = model.config.d_model // model.config.num_heads
        self._embeddings = embeddings
        blocks = [cast(TransformerBlock, block) for block in model.layers]
        self.layers = [_Layer(block, self.dtype) for block in blocks]
        assert blocks[0].attn.rope is not None
        self._cos_sin = blocks[0].attn.rope.cos_sin
        self._head = _side_by_side([model.lm_head or model.token_embeddings], self.dtype, model.ln_final)
        self._root_of_D_eps = torch.tensor(math.sqrt(model.config.d_model * model.config.norm_eps)).to(
            self.device
        )
        self._room: _Room | None = None
        self._products = RowProducts(max_rows, self.device)

    def new_cache(self, rows: int, capacity: int) -> KeyValueCache:
        """Room for so many texts of so many tokens."""
        return KeyValueCache(self.config, rows, capacity, self.dtype, self.device)

    @torch.inference_mode()
    def read(self, ids: Sequence[int], cache: KeyValueCache, row: int) -> None:
        """Put tokens into a row of the cache, all in one pass, in the place of what it held; there may be none."""
        cache.set_length(row, len(ids))
        if not ids:
            return

        room = _Room(self, len(ids), len(ids))
        q_1HTd, k_1GTd, v_1GTd = (x.transpose(0, 1)[None] for x in (room.q_BHd, *room.kv_BGd.chunk(2, dim=1)))

        def attend(layer: int) -> None:
            cache.write_prompt(layer, row, room.kv_BGd)
            found_1HTd = fused_causal_attention(q_1HTd, k_1GTd, v_1GTd)
            room.found_BHd.copy_(found_1HTd[0].transpose(0, 1))

        def product(x_TD: Tensor, weight_DF: Tensor, out_TF: Tensor) -> Tensor:
            return torch.mm(x_TD, weight_DF, out=out_TF)

        self._forward(torch.tensor(ids, device=self.device), self._cos_sin[: len(ids)], room, attend, product)

    @torch.inference_mode()
    def step(self, ids: Sequence[int], cache: KeyValueCache) -> Tensor:
        """One new token for each row in use -> scores (B, V) float32 for the one after. Rows do not mind each other."""
        count, padding = len(ids), -len(ids) % block_of(self.device)
        if self._room is None or self._room.texts != count:
            self._room = _Room(self, count + padding, count)
        room = self._room
        positions_N = F.pad(cache.begin_step(), (0, padding))
        q_BH1d, found_BH1d = room.q_BHd[:, :, None], room.found_BHd[:, :, None]

        def attend(layer: int) -> None:
            keys_BGSd, values_BGSd, mask_B11S = cache.append(layer, room.kv_BGd)
            grouped = self.kv_heads != self.config.num_heads
            found_BH1d.copy_(
                F.scaled_dot_product_attention(
                    q_BH1d, keys_BGSd, values_BGSd, attn_mask=mask_B11S, enable_gqa=grouped
                )
            )

        ids_N = torch.tensor([*ids, *[0] * padding], device=self.device)
        hidden_ND = self._forward(ids_N, self._cos_sin[positions_N], room, attend, self._products)
        logits_NV = hidden_ND.new_empty(count + padding, self._head.shape[1])
        return self._products(hidden_ND, self._head, logits_NV)[:count].float()

    def _forward(
        self, ids_N: Tensor, cos_sin: Tensor, room: _Room, attend: Callable[[int], None], product: Product
    ) -> Tensor:
        """What the last layer says (N, D), but for the final norm's gain.

        Args:
            ids_N: tokens (N,).
            cos_sin: of the angles of their positions (N, d/2, 2).
            attend: puts into `room.found` what the queries in `room` find in a layer.
        """
        factors_N1c = torch.view_as_complex(cos_sin)[:, None]
        with torch.autocast(self.device.type, enabled=False):  # every dtype is chosen here
            x_ND = self._embeddings[ids_N]
            for number, layer in enumerate(self.layers):
                product(self._shortened(x_ND), layer.qkv, room.qkv)
                if layer.qk_gains is not None:
                    room.turned_NHd.copy_(rms_norm(room.turned_NHd, layer.qk_gains, self.config.norm_eps))
                _turn_in_place(room.turned_NHd, factors_N1c)
                attend(number)
                x_ND += product(room.found, layer.output, room.out)
                up = product(self._shortened(x_ND), layer.up, room.up)
                if layer.is_gated:
                    gate, up = room.gate_and_up
                    up = layer.activation(gate).mul_(up)
                else:
                    up = layer.activation(up)
                x_ND += product(up, layer.down, room.out)
            return self._shortened(x_ND)

    def _shortened(self, x_ND: Tensor) -> Tensor:
        """x / sqrt(|x|² + D eps), RMSNorm but for what is in the weights: a step has so many that each pass counts."""
        x32_ND = x_ND.float()
        length_N1 = torch.linalg.vector_norm(x32_ND, dim=-1, keepdim=True)
        return (x32_ND / length_N1.hypot_(self._root_of_D_eps)).to(self.dtype)


def _turn_in_place(x_NHd: Tensor, factors_N1c: Tensor) -> None:
    """RoPE: neighbouring features as complex numbers, times cos + i sin of their position's angle."""
    x32_NHd = x_NHd.float()  # the same memory, if it is float32
    torch.view_as_complex(x32_NHd.unflatten(-1, (-1, 2))).mul_(factors_N1c)
    if x32_NHd is not x_NHd:
        x_NHd.copy_(x32_NHd)
