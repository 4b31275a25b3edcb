"""Which decoder a model takes: the one with a cache computes by the weights alone what it was proved to compute.

It was proved (tests/sampling/decoding/test_decoder.py) against the formulas named here. Activations it calls, and
RoPE's table it takes from the model, so those may be others.

Shapes: B batch, T positions, F d_ff.
"""

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from bittygpt.core import (
    Embedding,
    FeedForward,
    GatedFeedForward,
    Linear,
    MultiHeadAttention,
    RMSNorm,
    RotaryEmbedding,
    SwiGLU,
    TransformerBlock,
    TransformerLM,
)
from bittygpt.core.activations import Activation
from bittygpt.engine.dispatch import are_plain, is_intact, runs_eagerly
from bittygpt.engine.formulas import Proof, by_file
from bittygpt.engine.layers.attention import ATTEND, LAYER, heads_agree
from bittygpt.engine.layers.block import BLOCK
from bittygpt.engine.layers.feed_forward import GATED
from bittygpt.engine.layers.products import LINEAR
from bittygpt.engine.layers.rmsnorm import RMS_NORM
from bittygpt.engine.layers.rotary import ROTARY, can_rotate
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
KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "output_proj", "w1", "w2", "w3", "lm_head"), (Linear,)),
    **dict.fromkeys(("ln1", "ln2", "ln_final", "q_norm", "k_norm"), (RMSNorm,)),
    "token_embeddings": (Embedding,),
    "attn": (MultiHeadAttention,),
    "rope": (RotaryEmbedding,),
    "ffn": (SwiGLU, GatedFeedForward, FeedForward),
    "layers": (nn.ModuleList,),
    "": (TransformerLM,),
}
AnyDecoder = Decoder | FormulaDecoder


def decoder_for(model: TransformerLM, max_rows: int, say: Callable[[str], None]) -> AnyDecoder:
    """The decoder with a cache, or where that would not be the model, the model itself; `say` is told why."""
    if reason := next(reasons_against_cache(model), None):
        say(f"{reason}; texts are computed by the model itself, without a cache, which takes longer")
        return FormulaDecoder(model, max_rows)
    return Decoder(model, max_rows)


def reasons_against_cache(model: TransformerLM) -> Iterator[str]:
    """What of a model the decoder with a cache was not proved for; each is asked only where those before it are no."""
    if edited := by_file(PROOF.edited, "core/{} was changed: {}"):
        yield "; ".join(edited)
    if not PROOF.holds():
        yield "a formula of core was replaced in the running program"
    if not runs_eagerly():
        yield "all modules have a hook, or a mode of PyTorch's watches"
    for name, part in model.named_modules():
        if not is_as_in_core(name, part):
            yield f"{name or 'the model'} has a hook, or is not as in core"
    weights, blocks = list(model.parameters()), [cast(TransformerBlock, block) for block in model.layers]
    dtypes = {weight.dtype for weight in weights}
    if not are_plain(*weights) or len(dtypes) > 1 or torch.float64 in dtypes:
        yield "the weights are not on one device and of one dtype, or are float64"
    if not 0 < len(blocks) <= model.config.num_layers or not all(
        suits_config(x, blocks[0], model) for x in blocks
    ):
        yield "a part has another size or epsilon than the config says"
    if not all(is_by_row(cast(SwiGLU, block.ffn).activation, weights[0]) for block in blocks):
        yield "the activation mixes positions"


def is_as_in_core(name: str, part: nn.Module) -> bool:
    """Whether a part is what core puts in that place, with one weight or none of its own."""
    last = name.rpartition(".")[2]
    kinds = (TransformerBlock,) if last.isdigit() else KINDS.get(last, ())
    own = [*part._parameters, *part._buffers]
    return any(is_intact(part, kind) for kind in kinds) and own in ([], ["weight"])


def suits_config(block: TransformerBlock, first: TransformerBlock, model: TransformerLM) -> bool:
    """Whether heads and epsilons are those that the decoder takes from the config, and the rest is as in the first."""
    config, attention = model.config, block.attn
    heads = config.num_heads, config.num_kv_heads or config.num_heads, config.d_model // config.num_heads
    norms = (block.ln1, block.ln2, attention.q_norm, attention.k_norm, model.ln_final)
    return (
        (attention.num_heads, attention.num_kv_heads, attention.head_dim) == heads
        and heads_agree(
            vars(attention), *(p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj))
        )
        and attention.rope is first.attn.rope
        and can_rotate(attention.rope, config.context_length, heads[2])
        and [p.shape for p in block.parameters()] == [p.shape for p in first.parameters()]
        and (attention.q_norm is None) == (attention.k_norm is None)
        and {norm.eps for norm in norms if norm is not None} == {config.norm_eps}
    )


def is_by_row(activation: Activation, like: Tensor) -> bool:
    """Whether an activation, which may be anyone's, takes each position for itself and keeps the dtype."""
    x_BTF = torch.linspace(-3, 3, 24, dtype=like.dtype, device=like.device).view(2, 3, 4)
    try:
        first, *others = activation(x_BTF)[1, 2], activation(x_BTF[1])[2], activation(x_BTF[1, 2:])[0]
        return first.dtype == like.dtype and all(torch.allclose(first, other) for other in others)
    except Exception:  # it takes no such shape
        return False
