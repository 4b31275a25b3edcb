"""Chooses a model's decoder: with a KV cache where that was proved for exactly this model, else the model itself.

It was proved (tests/sampling/decoding/test_decoder.py) against the formulas named here. Activations it calls, and
RoPE's table it takes from the model, so those may be others.

Shapes: B batch, T positions, F d_ff.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bittygpt.core import TransformerLM
from bittygpt.core.activations import Activation
from bittygpt.engine.dispatch import are_plain, is_intact, runs_eagerly
from bittygpt.engine.formulas import Proof, by_file
from bittygpt.engine.layers.attention import ATTEND, LAYER
from bittygpt.engine.layers.block import BLOCK
from bittygpt.engine.layers.feed_forward import GATED
from bittygpt.engine.layers.products import LINEAR
from bittygpt.engine.layers.rmsnorm import RMS_NORM
from bittygpt.engine.layers.rotary import ROTARY, can_rotate
from bittygpt.engine.uninitialized import uninitialized_model
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.decoding.formula_decoder import FormulaDecoder

MODEL = (
    "transformer.py:TransformerLM",
    *(
        f"transformer.py:TransformerLM.{name}"
        for name in ("hidden_states", "logits", "output_weight", "forward")
    ),
    *("embedding.py:Embedding", "embedding.py:Embedding.forward", "feed_forward.py:SwiGLU"),
    *("feed_forward.py:FeedForward", "feed_forward.py:FeedForward.forward"),
)
PROOF = Proof(*MODEL, *BLOCK, *LAYER, *ATTEND, *ROTARY, *RMS_NORM, *LINEAR, *GATED)
AnyDecoder = Decoder | FormulaDecoder


def decoder_for(model: TransformerLM, max_rows: int, say: Callable[[str], None]) -> AnyDecoder:
    """The decoder with a KV cache, or the model itself where that would not be exact; `say` gets the reason."""
    if reason := next(reasons_against_cache(model), None):
        say(f"{reason}; texts are computed by the model itself, without a cache, which takes longer")
        return FormulaDecoder(model, max_rows)
    return Decoder(model, max_rows)


def reasons_against_cache(model: TransformerLM) -> Iterator[str]:
    """Why the decoder with a KV cache would not be exact; each reason is sought only if those before it are none."""
    if edited := by_file(PROOF.edited, "core/{} was changed: {}"):
        yield "; ".join(edited)
    if not PROOF.holds():
        yield "a formula of core was replaced in the running program"
    if not runs_eagerly():
        yield "all modules have a hook, or a mode of PyTorch's watches"
    built = dict(uninitialized_model(model.config).named_modules())
    parts = dict(model.named_modules())
    for name in [*parts, *built]:
        if name not in parts or name not in built or not is_as_built(parts[name], built[name]):
            yield f"{name or 'the model'} has a hook, or is not as core builds it"
    weights = list(model.parameters())
    dtypes = {weight.dtype for weight in weights}
    if not are_plain(*weights) or len(dtypes) > 1 or torch.float64 in dtypes:
        yield "the weights are not on one device and of one dtype, or are float64"
    attention: Any = parts["layers.0.attn"]
    if not can_rotate(attention.rope, model.config.context_length, attention.head_dim):
        yield "RoPE has another table"
    for block in model.layers:
        if not is_by_row(block.ffn.activation, weights[0]):  # type: ignore[union-attr, arg-type]
            yield "the activation mixes positions"


def is_as_built(part: nn.Module, built: nn.Module) -> bool:
    """Whether a part is of the class, the numbers and the weights' shapes that core gives it, without a hook."""

    def numbers(module: nn.Module) -> dict[str, object]:
        own = {key: value for key, value in vars(module).items() if key != "training"}
        return {key: value for key, value in own.items() if value is None or isinstance(value, int | float)}

    def shapes(module: nn.Module) -> dict[str, torch.Size]:
        return {key: p.shape for key, p in (module._parameters | module._buffers).items() if p is not None}

    return is_intact(part, type(built)) and numbers(part) == numbers(built) and shapes(part) == shapes(built)


def is_by_row(activation: Activation, like: Tensor) -> bool:
    """Whether an activation, which may be anyone's, takes each position for itself and keeps the dtype."""
    x_BTF = torch.linspace(-3, 3, 24, dtype=like.dtype, device=like.device).view(2, 3, 4)
    try:
        first, *others = activation(x_BTF)[1, 2], activation(x_BTF[1])[2], activation(x_BTF[1, 2:])[0]
        return first.dtype == like.dtype and all(torch.allclose(first, other) for other in others)
    except Exception:  # it takes no such shape
        return False
