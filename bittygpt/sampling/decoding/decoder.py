"""The model arranged for generation with a KV cache: one token of each text at a time.

It computes what a model of `bittygpt.core` computes, if `choose_decoder.py` says so. Weights that multiply the same
vector lie side by side, put there once, transposed so that rows are read as they lie in memory; nothing is kept for a
backward pass; and attention looks at the cache. It holds a copy of the weights; a model that learns on needs a new one.

Shapes: N rows (positions of one prompt, or one position of several texts), D d_model, H heads, G key/value heads,
d head dimension, F d_ff, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.core import TransformerBlock, TransformerLM
from bittygpt.core.rmsnorm import rms_norm
from bittygpt.engine.layers.attention import fused_causal_attention
from bittygpt.sampling.decoding.decoder_parts import Buffers, Layer, side_by_side
from bittygpt.sampling.decoding.kv_cache import KeyValueCache
from bittygpt.sampling.decoding.row_products import RowProducts, block_of, whole_columns

Product = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (N, D), a weight (D, F), and where their product goes (N, F), which is given back."""


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
        self._embeddings = embeddings
        blocks = [cast(TransformerBlock, block) for block in model.layers]
        self.layers = [Layer(block, self.dtype) for block in blocks]
        assert blocks[0].attn.rope is not None
        self._cos_sin = blocks[0].attn.rope.cos_sin.to(self.device)
        head = side_by_side([model.lm_head or model.token_embeddings], self.dtype, model.ln_final)
        self._head = whole_columns(head)
        self._root_of_D_eps = torch.tensor(math.sqrt(model.config.d_model * model.config.norm_eps)).to(
            self.device
        )
        self._buffers: Buffers | None = None
        self._products = RowProducts(max_rows, self.device)

    def new_cache(self, rows: int, capacity: int) -> KeyValueCache:
        """Buffers for so many texts of so many tokens."""
        return KeyValueCache(self.config, rows, capacity, self.dtype, self.device)

    @torch.inference_mode()
    def read(self, ids: Sequence[int], cache: KeyValueCache, row: int) -> None:
        """Put tokens into a row of the cache, all in one pass, in the place of what it held; there may be none."""
        cache.set_length(row, len(ids))
        if not ids:
            return

        buffers = Buffers(self.config, self.layers[0], len(ids), len(ids))
        q_1HTd, k_1GTd, v_1GTd = (
            x.transpose(0, 1)[None] for x in (buffers.q_BHd, *buffers.kv_BGd.chunk(2, dim=1))
        )

        def attend(layer: int) -> None:
            cache.write_prompt(layer, row, buffers.kv_BGd)
            found_1HTd = fused_causal_attention(q_1HTd, k_1GTd, v_1GTd)
            buffers.found_BHd.copy_(found_1HTd[0].transpose(0, 1))

        def product(x_TD: Tensor, weight_DF: Tensor, out_TF: Tensor) -> Tensor:
            return torch.mm(x_TD, weight_DF, out=out_TF)

        self._forward(
            torch.tensor(ids, device=self.device), self._cos_sin[: len(ids)], buffers, attend, product
        )

    @torch.inference_mode()
    def step(self, ids: Sequence[int], cache: KeyValueCache) -> Tensor:
        """One new token for each row in use -> logits (B, V) float32 for the next. Rows do not affect each other."""
        count, padding = len(ids), -len(ids) % block_of(self.device)
        if self._buffers is None or self._buffers.texts != count:
            self._buffers = Buffers(self.config, self.layers[0], count + padding, count)
        buffers = self._buffers
        positions = cache.begin_step()
        q_BH1d, found_BH1d = buffers.q_BHd[:, :, None], buffers.found_BHd[:, :, None]

        def attend(layer: int) -> None:
            keys_BGSd, values_BGSd, mask_B11S = cache.append(layer, buffers.kv_BGd)
            grouped = self.kv_heads != self.config.num_heads
            found_BH1d.copy_(
                F.scaled_dot_product_attention(
                    q_BH1d, keys_BGSd, values_BGSd, attn_mask=mask_B11S, enable_gqa=grouped
                )
            )

        ids_and_positions = torch.tensor(
            [[*ids, *[0] * padding], [*positions, *[0] * padding]], device=self.device
        )
        ids_N, positions_N = ids_and_positions
        hidden_ND = self._forward(ids_N, self._cos_sin[positions_N], buffers, attend, self._products)
        logits_NV = hidden_ND.new_empty(count + padding, self._head.shape[1])
        return self._products(hidden_ND, self._head, logits_NV)[:count, : self.config.vocab_size].float()

    def _forward(
        self,
        ids_N: Tensor,
        cos_sin: Tensor,
        buffers: Buffers,
        attend: Callable[[int], None],
        product: Product,
    ) -> Tensor:
        """The output of the last layer (N, D), without the final norm's gain.

        Args:
            ids_N: tokens (N,).
            cos_sin: of the angles of their positions (N, d/2, 2).
            attend: puts into `buffers.found` what the queries in `buffers` find in a layer.
        """
        factors_N1c = torch.view_as_complex(cos_sin)[:, None]
        with torch.autocast(self.device.type, enabled=False):  # every dtype is chosen here
            x_ND = self._embeddings[ids_N]
            for number, layer in enumerate(self.layers):
                product(self._normalized(x_ND), layer.qkv, buffers.qkv)
                self._rotate(buffers, layer.qk_gains, factors_N1c)
                attend(number)
                x_ND += product(buffers.found, layer.output, buffers.out)
                up = product(self._normalized(x_ND), layer.up, buffers.up)
                if layer.is_gated:
                    gate, up = buffers.gate_and_up
                    up = layer.activation(gate).mul_(up)
                else:
                    up = layer.activation(up)
                x_ND += product(up, layer.down, buffers.out)
            return self._normalized(x_ND)

    def _rotate(self, buffers: Buffers, qk_gains: Tensor | None, factors_N1c: Tensor) -> None:
        """QK-norm, and RoPE: neighbouring features as complex numbers, times cos + i sin of their position's angle."""
        if qk_gains is not None:
            buffers.rotated_NHd.copy_(rms_norm(buffers.rotated_NHd, qk_gains, self.config.norm_eps))
        if self.dtype == torch.float32:
            buffers.pairs_NHc.mul_(factors_N1c)
        else:
            buffers.rotated32_NHd.copy_(buffers.rotated_NHd)
            buffers.pairs_NHc.mul_(factors_N1c)
            buffers.rotated_NHd.copy_(buffers.rotated32_NHd)

    def _normalized(self, x_ND: Tensor) -> Tensor:
        """x / sqrt(|x|² + D eps), RMSNorm but for what is in the weights: a step has so many that each pass counts."""
        x32_ND = x_ND if x_ND.dtype == torch.float32 else x_ND.float()  # not even to ask for nothing is free
        length_N1 = torch.linalg.vector_norm(x32_ND, dim=-1, keepdim=True)
        short_ND = x32_ND / length_N1.hypot_(self._root_of_D_eps)
        return short_ND if short_ND.dtype == self.dtype else short_ND.to(self.dtype)
