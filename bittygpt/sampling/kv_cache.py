"""The key/value cache: what attention has worked out for earlier positions, kept instead of worked out again.

A new token's keys and values depend on no later token, so each is computed once: a step over T earlier positions
costs one position's matrix products instead of T (Shazeer 2019, incremental decoding).

Shapes: B samples, G key/value heads, T new positions, S positions so far, d head dimension.
"""

import torch
from torch import Tensor

from bittygpt.core import TransformerLM


class LayerCache:
    """Keys and values of one layer, written in place into room for `capacity` positions.

    The room is taken at the first `append`, whose shape, device and dtypes it has (under autocast those are not the
    weights' own). Heads stay grouped, so that grouped-query attention saves the memory that it promises.

    Attributes:
        length: positions held so far.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._keys_BGSd: Tensor | None = None
        self._values_BGSd: Tensor | None = None

    def append(self, k_BGTd: Tensor, v_BGTd: Tensor) -> tuple[Tensor, Tensor]:
        """New keys and values (B, G, T, d) -> all so far (B, G, S, d), as views that the next `clear` invalidates.

        Raises:
            ValueError: more positions than the capacity.
        """
        end = self.length + k_BGTd.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} positions in a cache of {self.capacity}")
        if self._keys_BGSd is None or self._values_BGSd is None:
            self._keys_BGSd, self._values_BGSd = self._room_for(k_BGTd), self._room_for(v_BGTd)
        self._keys_BGSd[:, :, self.length : end] = k_BGTd
        self._values_BGSd[:, :, self.length : end] = v_BGTd
        self.length = end
        return self._keys_BGSd[:, :, :end], self._values_BGSd[:, :, :end]

    def _room_for(self, x_BGTd: Tensor) -> Tensor:
        batch, heads, _, head_dim = x_BGTd.shape
        return torch.empty(batch, heads, self.capacity, head_dim, dtype=x_BGTd.dtype, device=x_BGTd.device)

    def repeat(self, num_samples: int) -> None:
        """Turn the one row that is held (B = 1) into `num_samples` equal ones, which then go their own ways."""
        assert self._keys_BGSd is not None, "nothing to repeat before the first append"
        assert self._values_BGSd is not None
        self._keys_BGSd = self._keys_BGSd.repeat(num_samples, 1, 1, 1)
        self._values_BGSd = self._values_BGSd.repeat(num_samples, 1, 1, 1)

    def clear(self) -> None:
        """Hold nothing any more, and keep the room."""
        self.length = 0


def caches_for(model: TransformerLM, capacity: int) -> list[LayerCache]:
    """An empty cache for each layer of the model, in their order."""
    return [LayerCache(capacity) for _ in model.layers]
