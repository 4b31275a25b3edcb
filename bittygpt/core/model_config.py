"""The shape of a model, in numbers."""

from dataclasses import dataclass

from bittygpt.core.feed_forward import default_d_ff


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
