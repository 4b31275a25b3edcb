"""The parts of the model, each against PyTorch's own or against its formula written another way."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.checks import reference
from bittygpt.checks.finding import Finding, Named, check, function_of, module_equals, same, worst_of
from bittygpt.checks.subject import CONTEXT, Subject
from bittygpt.core import Embedding, Linear, MultiHeadAttention, RMSNorm, RotaryEmbedding, TransformerBlock
from bittygpt.core.attention import scaled_dot_product_attention
from bittygpt.core.feed_forward import make_feed_forward

FAR = 100_000  # a position at which an angle in float32 would be off by some thousandths of a radian


def rope_of(subject: Subject, positions: int = CONTEXT) -> RotaryEmbedding:
    """RoPE as the config has it."""
    shape = subject.shape
    rope = RotaryEmbedding(shape.d_model // shape.num_heads, positions, shape.rope_theta)
    return rope.to(subject.device.torch_device)


@check("Linear equals torch's", look_in="core/linear.py")
def linear_equals_torch(subject: Subject) -> Finding:
    """y = W x, without a bias."""
    layer = Linear(subject.shape.d_model, 24).to(subject.device.torch_device)
    x = subject.normal(3, 5, subject.shape.d_model)
    return module_equals(layer, lambda n: F.linear(n["x"], n["weight"]), x=x)


@check("Embedding equals torch's", look_in="core/embedding.py")
def embedding_equals_torch(subject: Subject) -> Finding:
    """A row for each id; the gradient of a row is the sum over all its uses."""
    table = Embedding(30, 16).to(subject.device.torch_device)
    ids = subject.ids(3, 40, below=30)
    return module_equals(table, lambda n: F.embedding(ids, n["weight"]), arguments=(ids,))


@check("RMSNorm equals torch's, tiny vectors, too", look_in="core/rmsnorm.py")
def rmsnorm_equals_torch(subject: Subject) -> Finding:
    """Without eps, a vector of almost nothing is blown up to full length, and one of nothing becomes NaN."""
    width, eps = subject.shape.d_model, subject.shape.norm_eps
    module = RMSNorm(width, eps).to(subject.device.torch_device)
    torch.nn.init.normal_(module.weight, 1, 0.3)
    x = 2 * subject.normal(7, width) + 1  # not around zero: RMSNorm subtracts no mean
    tiny = eps**0.5 * subject.normal(7, width)
    tiny[0] = 0
    return worst_of(
        module_equals(module, lambda n: F.rms_norm(n["x"], (width,), n["weight"], eps), x=vectors)
        for vectors in (x, tiny)
    )


@check("RoPE rotates pairs by pos theta^(-2i/d)", look_in="core/rope.py")
def rope_equals_complex_rotation(subject: Subject) -> Finding:
    """Against a product of complex numbers in float64; the gradient is rotated back."""
    rope, theta = rope_of(subject), subject.shape.rope_theta
    x = subject.normal(2, 3, CONTEXT, rope.head_dim)
    positions = torch.arange(CONTEXT, device=x.device)
    near = module_equals(rope, lambda n: reference.rotate(n["x"], positions, theta), x=x)
    later = module_equals(
        rope,
        lambda n: reference.rotate(n["x"], positions[5:9], theta),
        arguments=(positions[5:9],),
        x=x[:, :, :4],
    )
    return worst_of([near, later])


@check("RoPE leaves position 0 as it is", look_in="core/rope.py")
def rope_at_position_0(subject: Subject) -> Finding:
    """Its angle is zero; a table that begins at position 1 rotates there already."""
    rope = rope_of(subject)
    return module_equals(rope, lambda n: n["x"], x=subject.normal(2, 3, 1, rope.head_dim))


@check("RoPE depends on distance alone, far out too", look_in="core/rope.py")
def rope_depends_on_distance(subject: Subject) -> Finding:
    """Scores between queries and keys, all of them moved along by 1, by the context length, and very far."""
    context = subject.config.model.context_length
    rope = rope_of(subject, FAR + CONTEXT)
    q, k = subject.normal(2, 1, 1, CONTEXT, rope.head_dim)
    here = torch.arange(CONTEXT, device=q.device)

    def scores(n: Named, shift: int = 0) -> Tensor:
        return rope(n["q"], here + shift) @ rope(n["k"], here + shift).transpose(-2, -1)

    shifts = sorted({1, min(context, FAR), FAR})
    return worst_of(same(lambda n, by=by: scores(n, by), scores, {"q": q, "k": k}) for by in shifts)  # type: ignore[misc]


@check("attention's formula equals torch's", look_in="core/attention.py")
def attention_formula(subject: Subject) -> Finding:
    """softmax(Q Kᵀ / sqrt(d)) V with a mask; without the root, softmax saturates as heads grow wide."""
    q, k, v = (2 * subject.normal(2, 4, 9, 16) for _ in range(3))
    mask = torch.ones(9, 9, dtype=torch.bool, device=q.device).tril()
    return same(
        lambda n: scaled_dot_product_attention(n["q"], n["k"], n["v"], mask),
        lambda n: F.scaled_dot_product_attention(n["q"], n["k"], n["v"], mask),
        {"q": q, "k": k, "v": v},
    )


@check("the attention layer equals torch's parts", look_in="core/attention.py")
def attention_layer(subject: Subject) -> Finding:
    """Projections, norms of queries and keys, RoPE on both, heads that share keys: as the config has them.

    RoPE and RMSNorm themselves are ours, so that their mistakes are not held against attention.
    """
    shape, rope = subject.shape, rope_of(subject)
    layer = MultiHeadAttention(
        shape.d_model, shape.num_heads, shape.num_kv_heads, rope, shape.qk_norm, shape.norm_eps
    ).to(subject.device.torch_device)
    norm = RMSNorm(rope.head_dim, shape.norm_eps)
    for name, weight in layer.named_parameters():
        torch.nn.init.normal_(weight, 1, 0.3) if "norm" in name else weight.data.mul_(2)
    x = subject.normal(2, CONTEXT, shape.d_model)

    def normalize(vectors: Tensor, gain: Tensor) -> Tensor:
        return function_of(norm, ["x"])({"x": vectors, "weight": gain})

    return module_equals(layer, lambda n: reference.attention(n["x"], n, shape, rope, normalize), x=x)


@check("the feed-forward layer equals torch's parts", look_in="core/feed_forward.py")
def feed_forward_layer(subject: Subject) -> Finding:
    """The gate goes through the activation, the other projection does not."""
    shape = subject.shape
    layer = make_feed_forward(shape.d_model, shape.feed_forward_width, shape.activation)
    x = 2 * subject.normal(2, 9, shape.d_model)
    return module_equals(
        layer.to(x.device), lambda n: reference.feed_forward(n["x"], n, shape.activation), x=x
    )


@check("a block adds its two parts to what comes in", look_in="core/transformer.py")
def block_is_two_residual_sums(subject: Subject) -> Finding:
    """x + attention(norm(x)), then x + feed_forward(norm(x)), with the block's own attention and feed-forward."""
    shape = subject.shape
    block = TransformerBlock(shape, rope_of(subject)).to(subject.device.torch_device)
    for norm in (block.ln1, block.ln2):
        torch.nn.init.normal_(norm.weight, 1, 0.3)

    def part(name: str, x: Tensor, n: Named) -> Tensor:
        return function_of(getattr(block, name), ["x"])({**reference.part(n, f"{name}."), "x": x})

    def theirs(n: Named) -> Tensor:
        middle = n["x"] + part("attn", reference.norm(n["x"], n, "ln1", shape), n)
        return middle + part("ffn", reference.norm(middle, n, "ln2", shape), n)

    return module_equals(block, theirs, x=subject.normal(2, CONTEXT, shape.d_model))
