"""Gives a model its fast paths, in one call. README.md says which formula each replaces, and where that is tested."""

from typing import TypeVar

from torch import nn

from bittygpt.core.attention import MultiHeadAttention
from bittygpt.core.embedding import Embedding
from bittygpt.core.feed_forward import GatedFeedForward, SwiGLU
from bittygpt.core.rmsnorm import RMSNorm
from bittygpt.core.transformer import TransformerBlock, TransformerLM
from bittygpt.engine.formulas import by_file, changed
from bittygpt.engine.layers.attention import FusedMultiHeadAttention
from bittygpt.engine.layers.block import FusedTransformerBlock
from bittygpt.engine.layers.embedding import FusedEmbedding
from bittygpt.engine.layers.feed_forward import FusedGatedFeedForward, FusedSwiGLU
from bittygpt.engine.layers.language_model import FusedTransformerLM
from bittygpt.engine.layers.rmsnorm import FusedRMSNorm

FAST_PATHS: dict[type[nn.Module], type[nn.Module]] = {
    Embedding: FusedEmbedding,
    RMSNorm: FusedRMSNorm,
    MultiHeadAttention: FusedMultiHeadAttention,
    GatedFeedForward: FusedGatedFeedForward,
    SwiGLU: FusedSwiGLU,
    TransformerBlock: FusedTransformerBlock,
    TransformerLM: FusedTransformerLM,
}
M = TypeVar("M", bound=nn.Module)


def accelerate(model: M) -> M:
    """Give every part of a model, and itself, its fast path. The same object is returned.

    A part is of its own class still (`isinstance`), with the same weights under the same names. A subclass that is
    not core's own is left as it is.
    """
    for module in model.modules():
        if type(module) in FAST_PATHS:
            module.__class__ = FAST_PATHS[type(module)]
    return model


def prepare_for_compile(model: nn.Module) -> None:
    """Choose each part's way before a model is compiled or exported: a compiler looks at no hooks or sources."""
    for module in model.modules():
        if isinstance(
            module, FusedEmbedding | FusedMultiHeadAttention | FusedGatedFeedForward | FusedTransformerLM
        ):
            module.prepare_for_compile()


def notes_on_changes() -> list[str]:
    """A line for each edited file of core for which a fast path stands in."""
    words = "core/{} was changed: {}; it computes as edited, and fast paths for what stood there before step aside"
    return by_file(changed(), words)
