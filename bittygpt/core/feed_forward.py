"""The feed-forward layer: what a position does with what attention has brought it.

It can be read as a memory of key-value pairs (Geva et al. 2021): each of the F rows of w1 is a key that answers to
some pattern in x, and the matching column of w2 is what is written back when it does.

Shapes: D d_model, F d_ff.
"""

from torch import Tensor, nn

from bittygpt.core.activations import Activation, gelu, relu, relu2, silu
from bittygpt.core.linear import Linear

# `model.activation`: with a gate, and without. A new one is a function in activations.py, and a line here.
GATED: dict[str, Activation] = {"swiglu": silu, "geglu": gelu, "reglu": relu}
PLAIN: dict[str, Activation] = {"gelu": gelu, "relu": relu, "relu2": relu2}


def default_d_ff(d_model: int, activation: str = "swiglu") -> int:
    """4 d_model for a plain layer; for a gated one 8/3 d_model, to the nearest multiple of 64 (of two, the greater).

    Its three matrices then hold about as many numbers as the two of the plain layer (Shazeer 2020).
    """
    return 4 * d_model if activation in PLAIN else max(64, (d_model + 12) // 24 * 64)


class GatedFeedForward(nn.Module):
    """w2 (activation(w1 x) * w3 x): one projection opens and closes the other (Shazeer 2020, equation 6)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation) -> None:
        super().__init__()
        self.w1 = Linear(d_model, d_ff)
        self.w2 = Linear(d_ff, d_model)
        self.w3 = Linear(d_model, d_ff)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.w2(self.activation(self.w1(x)) * self.w3(x))


class SwiGLU(GatedFeedForward):
    """The gated feed-forward layer with SiLU as its gate: that of Llama and Qwen."""

    def __init__(self, d_model: int, d_ff: int | None = None) -> None:
        super().__init__(d_model, default_d_ff(d_model) if d_ff is None else d_ff, GATED["swiglu"])


class FeedForward(nn.Module):
    """w2 activation(w1 x): the feed-forward layer without a gate (Vaswani et al. 2017, equation 2)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation) -> None:
        super().__init__()
        self.w1 = Linear(d_model, d_ff)
        self.w2 = Linear(d_ff, d_model)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.w2(self.activation(self.w1(x)))


def make_feed_forward(d_model: int, d_ff: int, activation: str) -> nn.Module:
    """The layer for `model.activation`. Raises ValueError for a name that is in neither table."""
    if activation == "swiglu":
        return SwiGLU(d_model, d_ff)
    if activation in GATED:
        return GatedFeedForward(d_model, d_ff, GATED[activation])
    if activation in PLAIN:
        return FeedForward(d_model, d_ff, PLAIN[activation])
    raise ValueError(f"activation {activation!r} is none of {', '.join([*GATED, *PLAIN])}")
