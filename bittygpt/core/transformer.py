"""The model: embed, then L times attend and think, then say which token comes next.

Shapes: B batch, T positions, D d_model, V vocabulary, L layers.
"""

from torch import Tensor, nn

from bittygpt.core.attention import MultiHeadAttention
from bittygpt.core.cross_entropy import Reduction, check_targets, cross_entropy
from bittygpt.core.embedding import Embedding
from bittygpt.core.feed_forward import make_feed_forward
from bittygpt.core.linear import Linear
from bittygpt.core.model_config import ModelConfig
from bittygpt.core.rmsnorm import RMSNorm
from bittygpt.core.rope import RotaryEmbedding


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), norms before each part (Xiong et al. 2020)."""

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
        for block in self.layers:
            x_BTD = block(x_BTD)
        return self.ln_final(x_BTD)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """(..., D) -> a score for each token (..., V)."""
        return hidden_BTD @ self.output_weight.T if self.lm_head is None else self.lm_head(hidden_BTD)

    @property
    def output_weight(self) -> Tensor:
        """(V, D), a row for each token that may come next."""
        return self.token_embeddings.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self, ids_BT: Tensor, targets_BT: Tensor | None = None, reduction: Reduction = "sum"
    ) -> Tensor:
        """ids (B, T) int64 -> logits (B, T, V): row t scores the token after position t, and has seen 0..t alone.

        With targets: the loss in nats, float32, as `cross_entropy` makes it. Raises ValueError for too large a T.
        """
        if ids_BT.shape[1] > self.config.context_length:
            raise ValueError(f"{ids_BT.shape[1]} tokens in a context of {self.config.context_length}")
        if targets_BT is None:
            return self.logits(self.hidden_states(ids_BT))
        check_targets(ids_BT.shape, targets_BT, ids_BT.device, reduction)
        return self.loss(self.hidden_states(ids_BT), targets_BT, reduction)

    def loss(self, hidden_BTD: Tensor, targets_BT: Tensor, reduction: Reduction) -> Tensor:
        """How surprised the model is by the targets, after what it has made of the positions before them."""
        return cross_entropy(self.logits(hidden_BTD), targets_BT, reduction=reduction)

    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters())

    def flops_per_token(self) -> int:
        """Floating-point operations for one token of training, as Chowdhery et al. 2022 (appendix B) count them.

        6 for every weight of a matrix (a multiplication and an addition, once forward, twice backward; a looked-up
        embedding costs none) and 12 · L · D · T for scores and their use, the mask not taken off.
        """
        config = self.config
        matrices = sum(p.numel() for p in self.layers.parameters() if p.ndim == 2)
        scores = 12 * config.num_layers * config.d_model * config.context_length
        return 6 * (matrices + config.vocab_size * config.d_model) + scores
