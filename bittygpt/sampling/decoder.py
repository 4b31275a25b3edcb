"""The model, arranged for generation: one token of each text at a time, with as few and as large steps as possible.

It computes what `bittygpt.core`'s model computes. Weights that multiply the same vector lie side by side, put there
once, transposed so that rows are read as they lie in memory; nothing is kept for a backward pass; and attention looks
at the cache. It holds a copy of the weights; a model that learns on in the meantime needs a new one.

Shapes: N rows (positions of one prompt, or one position of several texts), D d_model, H heads, G key/value heads,
d head dimension, F d_ff, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.core import TransformerBlock, TransformerLM
from bittygpt.core.attention import fused_causal_attention
from bittygpt.core.feed_forward import GatedFeedForward
from bittygpt.core.rmsnorm import rms_norm
from bittygpt.sampling.kv_cache import KeyValueCache
from bittygpt.sampling.row_products import RowProducts, block_of

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Number of the layer, queries (N, H, d), keys and values (N, G, d) -> what they find (N, H d)."""
Product = Callable[[Tensor, Tensor], Tensor]


def _side_by_side(weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Weights (d_out, d_in) -> (d_in, sum of all d_out), as it is read in a product from the left."""
    return torch.cat([weight.detach() for weight in weights]).to(dtype).T.contiguous()


class _Layer:
    """One block's weights."""

    def __init__(self, block: TransformerBlock, dtype: torch.dtype) -> None:
        attention, feed_forward = block.attn, block.ffn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = _side_by_side([layer.weight for layer in projections], dtype)
        self.output = _side_by_side([attention.output_proj.weight], dtype)
        self.is_gated = isinstance(feed_forward, GatedFeedForward)
        up = (feed_forward.w1, feed_forward.w3) if self.is_gated else (feed_forward.w1,)
        self.up = _side_by_side([layer.weight for layer in up], dtype)
        self.down = _side_by_side([feed_forward.w2.weight], dtype)
        self.activation = feed_forward.activation
        self.norm_1, self.norm_2 = block.ln1.weight.detach(), block.ln2.weight.detach()
        self.qk_gains: Tensor | None = None
        if attention.q_norm is not None and attention.k_norm is not None:
            heads, kv_heads, _ = attention.heads
            gains = [attention.q_norm.weight.detach()] * heads + [attention.k_norm.weight.detach()] * kv_heads
            self.qk_gains = torch.stack(gains)  # (H + G, d)

    def feed_forward(self, x_ND: Tensor, product: Product) -> Tensor:
        """x (N, D) -> (N, D)."""
        if not self.is_gated:
            return product(self.activation(product(x_ND, self.up)), self.down)
        gate, up = product(x_ND, self.up).chunk(2, dim=-1)
        return product(self.activation(gate).mul_(up), self.down)


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
        self._embeddings = embeddings
        self._layers = [_Layer(block, self.dtype) for block in model.layers]
        self._final_norm = model.ln_final.weight.detach()
        self._head = _side_by_side([model.output_weight], self.dtype)
        self._cos_sin = model.layers[0].attn.rope.cos_sin
        self._products = RowProducts(max_rows)

    def new_cache(self, rows: int, capacity: int) -> KeyValueCache:
        """Room for so many texts of so many tokens."""
        return KeyValueCache(self.config, rows, capacity, self.dtype, self.device)

    @torch.inference_mode()
    def read(self, ids: Sequence[int], cache: KeyValueCache, row: int) -> None:
        """Put tokens into a row of the cache, all in one pass, in the place of what it held; there may be none."""
        cache.set_length(row, len(ids))
        if not ids:
            return

        def attend(layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
            cache.write_prompt(layer, row, k_TGd, v_TGd)
            q_1HTd, k_1GTd, v_1GTd = (x.transpose(0, 1)[None] for x in (q_THd, k_TGd, v_TGd))
            return fused_causal_attention(q_1HTd, k_1GTd, v_1GTd)[0].transpose(0, 1).flatten(1)

        self._forward(torch.tensor(ids, device=self.device), self._cos_sin[: len(ids)], attend, torch.matmul)

    @torch.inference_mode()
    def step(self, ids: Sequence[int], cache: KeyValueCache) -> Tensor:
        """One new token for each row in use -> scores (B, V) float32 for the one after. Rows do not mind each other."""
        count, block = len(ids), block_of(self.device)
        padding = -count % block
        positions_N = F.pad(cache.begin_step(), (0, padding))

        def attend(layer: int, q_NHd: Tensor, k_NGd: Tensor, v_NGd: Tensor) -> Tensor:
            seen = cache.append(layer, k_NGd[:count], v_NGd[:count])
            found_BH1d = F.scaled_dot_product_attention(
                q_NHd[:count, :, None],
                seen.keys_BGSd,
                seen.values_BGSd,
                attn_mask=seen.mask_B11S,
                enable_gqa=q_NHd.shape[1] != k_NGd.shape[1],
            )
            return F.pad(found_BH1d.flatten(1), (0, 0, 0, padding))

        padded = torch.tensor([*ids, *[0] * padding], device=self.device)
        hidden_ND = self._forward(padded, self._cos_sin[positions_N], attend, self._products)
        return self._products(hidden_ND, self._head)[:count].float()

    def _forward(self, ids_N: Tensor, cos_sin: Tensor, attend: Attend, product: Product) -> Tensor:
        """ids (N,), and cosine and sine of their positions' angles (N, d/2, 2) -> what the last layer says (N, D)."""
        heads = self.config.num_heads
        head_dim = self.config.d_model // heads
        kv_heads = self.config.num_kv_heads or heads
        factors_N1c = torch.view_as_complex(cos_sin)[:, None]
        with torch.autocast(self.device.type, enabled=False):  # every dtype is chosen here
            x_ND = self._embeddings[ids_N]
            for number, layer in enumerate(self._layers):
                qkv = product(self._norm(x_ND, layer.norm_1), layer.qkv).unflatten(-1, (-1, head_dim))
                qk, v = qkv.split((heads + kv_heads, kv_heads), dim=1)
                if layer.qk_gains is not None:
                    qk = rms_norm(qk, layer.qk_gains, self.config.norm_eps)
                q, k = _turn(qk, factors_N1c).split((heads, kv_heads), dim=1)
                x_ND += product(attend(number, q, k, v), layer.output)
                x_ND += layer.feed_forward(self._norm(x_ND, layer.norm_2), product)
            return self._norm(x_ND, self._final_norm)

    def _norm(self, x_ND: Tensor, gain_D: Tensor) -> Tensor:
        return rms_norm(x_ND, gain_D, self.config.norm_eps).to(self.dtype)


def _turn(x_NHd: Tensor, factors_N1c: Tensor) -> Tensor:
    """RoPE: neighbouring features as complex numbers, times cos + i sin of their position's angle."""
    pairs = torch.view_as_complex(x_NHd.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * factors_N1c).flatten(-2).to(x_NHd.dtype)
