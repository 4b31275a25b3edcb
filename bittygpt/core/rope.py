"""Rotary position embedding: a vector is rotated by an angle that grows with its position.

Su et al. 2021 (RoFormer), section 3.2.2. The features are taken in neighbouring pairs (x0, x1), (x2, x3), …; pair i
is rotated by the angle position · theta^(-2i/d). A product of a rotated query with a rotated key then depends on the
distance between their positions, and on nothing else of them.

Shapes: B batch, H heads, T positions, d head dimension (even).
"""

import torch
from torch import Tensor, nn

from bittygpt.core.activations import upcast


def apply_rotary(x_BHTd: Tensor, cos_sin: Tensor) -> Tensor:
    """Each pair of x (..., T, d) rotated by the angle whose cosine and sine are given (T, d/2, 2)."""
    cos, sin = cos_sin.unbind(-1)
    even, odd = upcast(x_BHTd[..., 0::2]), upcast(x_BHTd[..., 1::2])
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.flatten(-2).to(x_BHTd.dtype)


class RotaryEmbedding(nn.Module):
    """A table of cosines and sines for positions 0..max_positions-1, and the rotation itself.

    The angles are worked out in float64 and only their cosine and sine are kept, in float32: at position 100,000 a
    float32 angle would already be off by some thousandths of a radian. The table is no buffer: it holds nothing
    learned, so no checkpoint has it, and a model that is cast to another dtype leaves it as exact as it is.

    Raises:
        ValueError: an odd head dimension.
    """

    def __init__(self, head_dim: int, max_positions: int, theta: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"RoPE rotates pairs of features: head_dim must be even, and is {head_dim}")
        self.head_dim, self.max_positions, self.theta = head_dim, max_positions, theta
        self.cos_sin = self.table()

    def table(self) -> Tensor:
        """(max_positions, d/2, 2) float32: cosine and sine of position · theta^(-2i/d)."""
        pair = torch.arange(0, self.head_dim, 2, dtype=torch.float64)
        positions = torch.arange(self.max_positions, dtype=torch.float64)
        angles = torch.outer(positions, self.theta ** (-pair / self.head_dim))
        return torch.stack((angles.cos(), angles.sin()), dim=-1).float()

    def angles(self, x_BHTd: Tensor, positions_T: Tensor | None = None) -> Tensor:
        """The rows of the table (T, d/2, 2) for the positions of x, where x is.

        Raises:
            ValueError: vectors of another width, or more positions than the table has.
        """
        num_positions, head_dim = x_BHTd.shape[-2:]
        if head_dim != self.head_dim or (positions_T is None and num_positions > self.max_positions):
            table = f"{self.max_positions} positions of head_dim {self.head_dim}"
            raise ValueError(f"RoPE with {table} cannot rotate vectors {tuple(x_BHTd.shape)}")
        cos_sin = self.cos_sin
        if cos_sin.device != x_BHTd.device:
            with torch.inference_mode(False):  # what is made in that mode could not be used in training
                cos_sin = self.table().to(x_BHTd.device)
            if type(cos_sin) is Tensor:  # and not one that stands for numbers that are never computed
                self.cos_sin = cos_sin
        return cos_sin[:num_positions] if positions_T is None else cos_sin[positions_T]

    def forward(self, x_BHTd: Tensor, positions_T: Tensor | None = None) -> Tensor:
        """Rotate the vectors x (B, H, T, d) by their positions (T,) int64, which are 0..T-1 by default."""
        return apply_rotary(x_BHTd, self.angles(x_BHTd, positions_T))
