"""What autograd keeps of a forward pass for the backward pass: counted, not derived, so that it stays true of the code.

A model of the same shape, one layer deep and then two, goes forward on a few tokens, and what is saved is weighed: the
second layer is the difference. It grows with the tokens in a straight line, as fused attention keeps no score;
where the formula of attention was changed, and keeps them all, whole sequences are weighed.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from bittygpt.core import ModelConfig
from bittygpt.engine.accelerate import accelerate
from bittygpt.engine.layers.attention import SCORES
from bittygpt.engine.uninitialized import uninitialized_model

FEW_TOKENS = 32
LARGE = (
    50_000_000  # weights of a layer, of which a narrower one is weighed: to compute with more takes seconds
)


@dataclass(frozen=True)
class SavedBytes:
    """Bytes of one layer and of what lies around the layers; for each token, and whatever their number (such as
    copies of the weights in another precision or order)."""

    layer_per_token: int
    layer: int
    around_per_token: int
    around: int

    def total(self, num_layers: int, tokens: int) -> int:
        """Of a whole forward pass, but for the loss."""
        around = self.around_per_token * tokens + self.around
        return num_layers * (self.layer_per_token * tokens + self.layer) + around


@lru_cache(maxsize=8)
def saved_bytes(config: ModelConfig, precision: str) -> SavedBytes:
    """Weigh it for a shape and a precision of the products; on a CPU, whatever the device of the run.

    Depth, vocabulary and context length may be any: the loss is not part of it, and the rest does not depend on them.
    """
    length = FEW_TOKENS if SCORES.holds() else config.context_length
    narrower = 1
    while (
        _weights_of_layer(config) // narrower**2 > LARGE
        and config.d_model // config.num_heads % (4 * narrower) == 0
    ):
        narrower *= 2
    small = replace(
        config,
        d_model=config.d_model // narrower,
        d_ff=max(1, config.feed_forward_width // narrower),
        vocab_size=2,
        context_length=length,
        tie_embeddings=True,
    )
    one_few, one_more, two_few, two_more = (
        _weigh(small, depth, sequences, precision) for depth in (1, 2) for sequences in (1, 2)
    )
    per_token = (one_more - one_few) // length, (two_more - two_few) // length
    constant = 2 * one_few - one_more, 2 * two_few - two_more
    layer_per_token, layer = per_token[1] - per_token[0], constant[1] - constant[0]
    around_per_token, around = per_token[0] - layer_per_token, constant[0] - layer
    # what grows with the tokens grows with the width, and copies of the weights with its square
    return SavedBytes(
        layer_per_token * narrower, layer * narrower**2, around_per_token * narrower, around * narrower**2
    )


def _weights_of_layer(config: ModelConfig) -> int:
    return 4 * config.d_model**2 + 3 * config.d_model * config.feed_forward_width


def _weigh(config: ModelConfig, depth: int, sequences: int, precision: str) -> int:
    """Bytes that a forward pass saves, besides the model's own tensors."""
    model = accelerate(uninitialized_model(replace(config, num_layers=depth), "cpu"))
    tables = (x for part in model.modules() for x in vars(part).values() if isinstance(x, Tensor))
    own = {x.untyped_storage()._cdata for x in (*model.parameters(), *model.buffers(), *tables)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ids = torch.zeros(sequences, config.context_length, dtype=torch.int64)
    cast = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved), cast:
        model.hidden_states(ids)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
