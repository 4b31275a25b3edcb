"""The model: embed, then L times attend and think, then say which token comes next.

Shapes: B batch, T positions, D d_model, V vocabulary, L layers.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bittygpt.core.attention import MultiHeadAttention
from bittygpt.core.block_twin import attention_half, feed_forward_half, use_block_twin
from bittygpt.core.chunked_loss import chunked_linear_cross_entropy, chunked_token_losses
from bittygpt.core.embedding import Embedding
from bittygpt.core.feed_forward import default_d_ff, make_feed_forward
from bittygpt.core.linear import Linear, product_dtype
from bittygpt.core.rmsnorm import RMSNorm
from bittygpt.core.rope import RotaryEmbedding


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model. `num_kv_heads` None: one for each head; `d_ff` None: see `default_d_ff`."""

    vocab_size: int
    context_length: int
    d_model: int
    num_layers: int
    num_heads: int
    num_kv_heads: int | None = None
    d_ff: int | None = None
    activation: str = "swiglu"
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    qk_norm: bool = False

    @property
    def feed_forward_width(self) -> int:
        """`d_ff`, or its default."""
        return default_d_ff(self.d_model, self.activation) if self.d_ff is None else self.d_ff


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    The norm stands before each part, not after (Xiong et al. 2020), so that an unbroken sum runs from the embedding
    to the head and gradients reach every layer.
    """

    def __init__(self, config: ModelConfig, rope: RotaryEmbedding) -> None:
        super().__init__()
        self.ln1 = RMSNorm(config.d_model, config.norm_eps)
        self.attn = MultiHeadAttention(
            config.d_model, config.num_heads, config.num_kv_heads, rope, config.qk_norm, config.norm_eps
        )
        self.ln2 = RMSNorm(config.d_model, config.norm_eps)
        self.ffn = make_feed_forward(config.d_model, config.feed_forward_width, config.activation)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        if use_block_twin(x_BTD):
            return feed_forward_half(self, attention_half(self, x_BTD))
        x_BTD = x_BTD + self.attn(self.ln1(x_BTD))
        return x_BTD + self.ffn(self.ln2(x_BTD))


class TransformerLM(nn.Module):
    """Token ids in, a score for every token that may come next out.

    With `tie_embeddings`, one table embeds the tokens and scores them (Press & Wolf 2017). Its rows then start at
    a length of 1 instead of sqrt(D), or the first logits would be sqrt(D) times too large.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        std = config.d_model**-0.5 if config.tie_embeddings else 1.0
        self.token_embeddings = Embedding(config.vocab_size, config.d_model, std)
        rope = RotaryEmbedding(config.d_model // config.num_heads, config.context_length, config.rope_theta)
        self.layers = nn.ModuleList(TransformerBlock(config, rope) for _ in range(config.num_layers))
        self.ln_final = RMSNorm(config.d_model, config.norm_eps)
        self.lm_head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)

    def hidden_states(self, ids_BT: Tensor) -> Tensor:
        """ids (B, T) int64 -> what the last layer says of every position, normalised (B, T, D)."""
        x_BTD = self.token_embeddings(ids_BT)
        if x_BTD.is_cuda:
            # The sum through all layers in the precision of products, as in llm.c and nanochat: norms and sums, which
            # memory holds up on a GPU, have half as much to read and write.
            x_BTD = x_BTD.to(product_dtype(x_BTD))
        for block in self.layers:
            x_BTD = block(x_BTD)
        return self.ln_final(x_BTD)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """(..., D) -> a score for each token (..., V)."""
        return hidden_BTD @ self.output_weight.T

    @property
    def output_weight(self) -> Tensor:
        """(V, D), a row for each token that may come next."""
        return self.token_embeddings.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self,
        ids_BT: Tensor,
        targets_BT: Tensor | None = None,
        reduction: Literal["sum", "none"] = "sum",
    ) -> Tensor:
        """ids (B, T) int64 -> logits (B, T, V): row t scores the token after position t, and has seen 0..t alone.

        With targets: the loss in nats, float32, summed or, without gradients, of each token (B, T). That is what
        `cross_entropy` makes of the logits, of which only some are ever held.

        Raises:
            ValueError: T is greater than the context length.
        """
        if ids_BT.shape[1] > self.config.context_length:
            raise ValueError(f"{ids_BT.shape[1]} tokens in a context of {self.config.context_length}")
        hidden_BTD = self.hidden_states(ids_BT)
        if targets_BT is None:
            return self.logits(hidden_BTD)
        loss = chunked_linear_cross_entropy if reduction == "sum" else chunked_token_losses
        return loss(hidden_BTD, self.output_weight, targets_BT)

    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def flops_per_token(self) -> int:
        """Floating-point operations of forward and backward for one token of training.

        6 for every weight of a matrix (a multiplication and an addition, once forward, twice backward; a looked-up
        embedding costs none) and 12 · L · D · T for scores and their use, the mask not taken off, as Chowdhery et
        al. 2022 (PaLM, appendix B) and every published MFU count it.
        """
        matrices = sum(p.numel() for p in self.layers.parameters() if p.ndim == 2)
        head = self.config.vocab_size * self.config.d_model
        return (
            6 * (matrices + head)
            + 12 * self.config.num_layers * self.config.d_model * self.config.context_length
        )
