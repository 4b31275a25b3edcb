"""The KV cache: keys and values of earlier positions, kept instead of computed again.

A new token's keys and values depend on no later token, so each is computed once: a step over S earlier positions
costs one position's matrix products instead of S (Shazeer 2019, incremental decoding).

Shapes: B rows in use, G key/value heads, T positions, S positions looked at, d head dimension.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bittygpt.core import ModelConfig

SPAN_UNIT = 64  # positions: attention looks at a multiple of it, so that its sums have few different lengths


class KeyValueCache:
    """Keys and values of all layers for a number of rows, each as far as it is. Everything is written in place.

    All room is taken at the beginning, and heads stay grouped, so that grouped-query attention saves the memory that
    it promises. Rows 0 to B - 1 are in use; those behind are free. A row's positions begin at 0.

    Attributes:
        lengths: positions held in each row that is in use.
    """

    def __init__(
        self, config: ModelConfig, rows: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.capacity = -(-capacity // SPAN_UNIT) * SPAN_UNIT
        self.lengths: list[int] = []
        # of this step: where it writes, and what it may look at
        self._places: tuple[Tensor | slice, slice, Tensor | int]
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._seen_shape = (0, 0)  # rows and positions
        heads, head_dim = config.num_kv_heads or config.num_heads, config.d_model // config.num_heads
        # zeros, as what is masked is multiplied by 0, and must not be infinite
        self._layers = [
            torch.zeros((rows, 2 * heads, self.capacity, head_dim), dtype=dtype, device=device)
            for _ in range(config.num_layers)
        ]  # the heads of keys, then those of values
        self._mask_R11S = torch.full((rows, 1, 1, self.capacity), -math.inf, dtype=dtype, device=device)

    def set_length(self, row: int, length: int) -> None:
        """Take a row into use, the next free one or one that is in use, and let it hold its first positions."""
        self.lengths[row : row + 1] = [length]
        self._mask_R11S[row] = -math.inf
        self._mask_R11S[row, ..., :length] = 0

    def write_prompt(self, layer: int, row: int, kv_TGd: Tensor) -> None:
        """Put the heads of keys and those of values (T, 2 G, d) of positions 0 to T - 1 into a row."""
        self._layers[layer][row, :, : len(kv_TGd)] = kv_TGd.transpose(0, 1)

    def copy(self, source: int, target: int, length: int) -> None:
        """Let one row hold what the first positions of another hold."""
        for heads_RGSd in self._layers:
            heads_RGSd[target, :, :length] = heads_RGSd[source, :, :length]
        self.set_length(target, length)

    def remove(self, row: int) -> None:
        """Free a row; the last one takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            self.copy(last, row, self.lengths[last])
        self.lengths.pop()

    def begin_step(self) -> list[int]:
        """Make every row in use one position longer; gives these positions, for `append` to fill."""
        positions, count = self.lengths, len(self.lengths)
        if positions.count(positions[0]) == count:
            self._places = slice(count), slice(None), positions[0]  # the faster way to say it
        else:
            device = self._mask_R11S.device
            rows_B, positions_B = torch.tensor([list(range(count)), positions], device=device)
            self._places = rows_B, slice(None), positions_B
        self._mask_R11S.squeeze(1)[self._places] = 0
        self.lengths = [length + 1 for length in positions]
        self._look_at(count, -(-max(self.lengths) // SPAN_UNIT) * SPAN_UNIT)
        return positions

    def _look_at(self, count: int, span: int) -> None:
        """Make the views of so many rows and positions, if they are not those of the step before."""
        if self._seen_shape != (count, span):
            mask_B11S = self._mask_R11S[:count, ..., :span]
            views = (heads_RGSd[:count, :, :span].chunk(2, dim=1) for heads_RGSd in self._layers)
            self._seen = [(keys_BGSd, values_BGSd, mask_B11S) for keys_BGSd, values_BGSd in views]
            self._seen_shape = count, span

    def append(self, layer: int, kv_BGd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Fill the positions of this step in one layer, with the heads of keys and those of values (B, 2 G, d).

        Returns:
            What the step may look at, as views: keys and values (B, G, S, d), and what is added to scores (B, 1, 1, S).
        """
        self._layers[layer][self._places] = kv_BGd
        return self._seen[layer]


def bytes_per_row(config: ModelConfig, capacity: int, dtype: torch.dtype) -> int:
    """The memory that a row of such a cache takes."""
    heads, head_dim = config.num_kv_heads or config.num_heads, config.d_model // config.num_heads
    return 2 * config.num_layers * heads * head_dim * capacity * dtype.itemsize


def common_capacity(config: ModelConfig, prompt_lengths: Sequence[int], max_tokens: int) -> int:
    """Positions that rows need for prompts of these lengths and what follows them."""
    return min(config.context_length, max(prompt_lengths, default=1) + max_tokens)
