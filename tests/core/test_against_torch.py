"""Whatever tensors the public parts of core may be given, values and gradients are those of PyTorch's own."""

import copy
import inspect

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import nn

import bittygpt.core as core
from bittygpt.core import (
    SGD,
    Adam,
    AdamW,
    Embedding,
    Linear,
    RMSNorm,
    RotaryEmbedding,
    clip_grad_norm,
    cross_entropy,
    entropy,
    kl_divergence,
    scaled_dot_product_attention,
)

FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2**-6, torch.float16: 2**-9}
TESTED_HERE = {
    "softmax",
    "log_softmax",
    "silu",
    "gelu",
    "relu",
    "relu2",
    "rms_norm",
    "RMSNorm",
    "Linear",
    "Embedding",
}
TESTED_HERE |= {"RotaryEmbedding", "scaled_dot_product_attention", "cross_entropy", "IGNORE_INDEX", "entropy"}
TESTED_HERE |= {"kl_divergence", "clip_grad_norm", "SGD", "Adam", "AdamW"}
ELSEWHERE = {"ModelConfig", "MultiHeadAttention", "TransformerBlock", "TransformerLM", "FeedForward", "Muon"}
ELSEWHERE |= {
    "GatedFeedForward",
    "SwiGLU",
    "Optimizer",
    "constant_schedule",
    "cosine_decay",
    "cosine_schedule",
}
ELSEWHERE |= {"wsd_decay", "wsd_schedule"}
few = settings(max_examples=40, derandomize=True)  # a run that fails, fails again


def test_every_public_part_has_an_oracle():
    public = {name for name, value in vars(core).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert public == TESTED_HERE | ELSEWHERE


@st.composite
def tensors(draw, ndim=(0, 4), dtypes=FLOATS, last=None, empty=True, shape=None):
    """Of any shape, size, precision, and way of lying in memory."""
    if shape is None:
        shape = draw(st.lists(st.integers(0 if empty else 1, 5), min_size=ndim[0], max_size=ndim[1]))
        shape = [*shape[:-1], last] if last is not None else shape
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    dtype = draw(st.sampled_from(dtypes))
    layout = draw(st.sampled_from(["dense", "reversed", "offset", "strided", "expanded"]))
    x = (scale * torch.randn(tuple(shape), generator=generator, dtype=torch.float64)).to(dtype)
    if layout == "reversed":
        dims = list(range(x.ndim))[::-1]
        x = x.permute(dims).contiguous().permute(dims)
    elif layout == "offset":
        x = torch.cat((x.new_zeros(3), x.flatten()))[3:].view(x.shape)
    elif layout == "strided" and x.ndim:
        x = x.repeat_interleave(3, dim=-1)[..., ::3]
    elif layout == "expanded" and x.ndim and x.shape[0]:
        x = x[:1].expand(x.shape)
    return x


def exact(x):
    """The same numbers in float64, or whatever else it is."""
    return x.detach().double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x


def wants_gradient(x):
    return isinstance(x, torch.Tensor) and x.requires_grad


def compare(ours, oracle, *inputs, rounding=None):
    """Ours in the inputs' precision, the oracle in float64: the values, and the gradients of a weighted sum."""
    mine = [
        x.detach().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for x in inputs
    ]
    theirs = [
        exact(x).requires_grad_() if isinstance(m, torch.Tensor) and m.requires_grad else x
        for m, x in zip(mine, inputs, strict=True)
    ]
    found, expected = ours(*mine), oracle(*theirs)
    dtypes = [x.dtype for x in mine if isinstance(x, torch.Tensor) and x.is_floating_point()]
    rounding = max(ROUNDING[dtype] for dtype in dtypes) if rounding is None else rounding
    assert found.shape == expected.shape
    near(found, expected, rounding)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outcomes = [
        torch.autograd.grad(
            y, [x for x in xs if isinstance(x, torch.Tensor) and x.requires_grad], direction.to(y.dtype)
        )
        for y, xs in ((found, mine), (expected, theirs))
    ]
    for gradient, right in zip(*outcomes, strict=True):
        near(gradient, right, 4 * rounding)
    return found


def near(found, expected, rounding):
    if not expected.numel():
        assert found.shape == expected.shape
        return
    scale = max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(found.detach().double(), expected.detach(), rtol=0, atol=rounding * scale)


ELEMENTWISE = {
    "silu": F.silu,
    "gelu": F.gelu,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x) ** 2,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@few
@given(data=st.data())
def test_activations(name, data):
    x = data.draw(tensors())
    assert compare(getattr(core, name), ELEMENTWISE[name], x).dtype == x.dtype


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@few
@given(data=st.data())
def test_softmax(name, data):
    x = data.draw(tensors(ndim=(1, 4)))
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    ours, oracle = getattr(core, name), getattr(torch, name)
    assert compare(lambda x: ours(x, dim), lambda x: oracle(x, dim), x).dtype == x.dtype


@few
@given(data=st.data())
def test_rms_norm(data):
    width = data.draw(st.integers(1, 6))
    x = data.draw(tensors(ndim=(1, 4), last=width))
    gain = data.draw(tensors(shape=(width,)))
    gain = gain / gain.abs().amax().clamp(min=1)  # of large ones that cancel, bfloat16 keeps no digit
    eps = data.draw(st.sampled_from([1e-5, 1e-2, 1.0]))
    result = compare(
        lambda x, gain: core.rms_norm(x, gain, eps),
        lambda x, gain: F.rms_norm(x, (width,), gain, eps),
        x,
        gain,
    )
    assert result.dtype == x.dtype
    module = RMSNorm(width, eps)
    module.weight.data = gain.contiguous()
    assert torch.equal(module(x), result)


@few
@given(data=st.data())
def test_linear(data):
    d_in, d_out = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    dtype = data.draw(st.sampled_from(FLOATS[:3]))
    x, weight = (
        data.draw(tensors(ndim=(1, 4), dtypes=[dtype], last=d_in)),
        data.draw(tensors(dtypes=[dtype], shape=(d_out, d_in))),
    )
    layer = Linear(d_in, d_out)

    def ours(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    compare(ours, F.linear, x, weight, rounding=4 * ROUNDING[dtype])


@few
@given(data=st.data())
def test_embedding(data):
    rows, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
    ids = torch.randint(
        0, rows, shape, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    )
    ids = ids.permute(list(range(ids.ndim))[::-1]) if data.draw(st.booleans()) else ids
    table = Embedding(rows, width)
    compare(
        lambda w: torch.func.functional_call(table, {"weight": w}, (ids,)),
        lambda w: F.embedding(ids, w),
        data.draw(tensors(shape=(rows, width))),
    )


@few
@given(data=st.data())
def test_rope(data):
    head_dim, length = 2 * data.draw(st.integers(1, 4)), data.draw(st.integers(0, 6))
    lead = data.draw(st.lists(st.integers(0, 3), max_size=3))
    positions = data.draw(st.none() | st.lists(st.integers(0, 8), min_size=length, max_size=length))
    positions = positions if positions is None else torch.tensor(positions, dtype=torch.int64)
    rope = RotaryEmbedding(head_dim, 9, data.draw(st.sampled_from([100.0, 10_000.0])))

    def oracle(x):
        at = torch.arange(length) if positions is None else positions
        angles = torch.outer(at.double(), rope.theta ** (-torch.arange(0, head_dim, 2).double() / head_dim))
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).clone(memory_format=torch.contiguous_format))
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    x = data.draw(tensors(shape=(*lead, length, head_dim)))
    result = compare(lambda x: rope(x, positions), oracle, x, rounding=max(2e-6, ROUNDING[x.dtype]))
    assert result.dtype == x.dtype


@few
@given(data=st.data())
def test_attention(data):
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    queries, keys, width, values = (data.draw(st.integers(1, 5)) for _ in range(4))
    dtype = [data.draw(st.sampled_from(FLOATS[:3]))]
    q = data.draw(tensors(shape=(*lead, queries, width), dtypes=dtype)).clamp(-3, 3)
    k = data.draw(tensors(shape=(*lead, keys, width), dtypes=dtype)).clamp(-3, 3)
    v = data.draw(tensors(shape=(*lead, keys, values), dtypes=dtype)).clamp(-3, 3)
    mask = (
        torch.rand(queries, keys, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
        < 0.5
    )
    mask[:, 0] = True
    mask = mask if data.draw(st.booleans()) else None
    compare(
        lambda *qkv: scaled_dot_product_attention(*qkv, mask),
        lambda *qkv: F.scaled_dot_product_attention(*qkv, mask),
        q,
        k,
        v,
        rounding=8 * ROUNDING[dtype[0]],
    )


@few
@given(data=st.data())
def test_cross_entropy(data):
    vocabulary = data.draw(st.integers(1, 6))
    logits = data.draw(tensors(ndim=(1, 4), last=vocabulary))
    reduction = data.draw(st.sampled_from(["mean", "sum", "none"]))
    ignored = data.draw(st.sampled_from([-100, -1, 0, 2]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    targets = torch.randint(0, vocabulary, logits.shape[:-1], generator=generator)
    targets = torch.where(torch.rand(targets.shape, generator=generator) < 0.3, ignored, targets)

    def oracle(logits):
        flat, ids = logits.reshape(-1, vocabulary), targets.flatten()
        each = F.cross_entropy(flat, ids, ignore_index=ignored, reduction="none").view(targets.shape)
        if reduction == "none":
            return each
        return each.sum() / max(1, (ids != ignored).sum().item()) if reduction == "mean" else each.sum()

    result = compare(lambda x: cross_entropy(x, targets, ignored, reduction), oracle, logits)
    assert result.dtype == torch.promote_types(logits.dtype, torch.float32)


@few
@given(data=st.data())
def test_entropy_and_divergence(data):
    vocabulary = data.draw(st.integers(1, 6))
    p = data.draw(tensors(ndim=(1, 4), last=vocabulary))
    q = data.draw(tensors(shape=p.shape))
    compare(
        entropy, lambda x: torch.distributions.Categorical(logits=x).entropy() if x.numel() else x.sum(-1), p
    )

    def oracle(p, q):
        return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="none", log_target=True).sum(-1)

    compare(kl_divergence, oracle, p, q)


@few
@given(data=st.data())
def test_clipping(data):
    dtypes = data.draw(st.sampled_from([[torch.float32], [torch.float64], [torch.bfloat16]]))
    grads = data.draw(st.lists(tensors(dtypes=dtypes), min_size=1, max_size=4))
    max_norm = data.draw(st.sampled_from([0.1, 1.0, 100.0]))
    one = len(grads) == 1 and data.draw(st.booleans())
    norms, results = [], []
    for clip, convert in ((clip_grad_norm, lambda x: x), (nn.utils.clip_grad_norm_, exact)):
        weights = [convert(g).clone().requires_grad_() for g in grads]
        for weight, g in zip(weights, grads, strict=True):
            weight.grad = convert(g).clone()
        norms.append(
            clip(weights[0] if one else iter(weights) if clip is clip_grad_norm else weights, max_norm)
        )
        results.append([weight.grad for weight in weights])
    near(norms[0], norms[1], 1e-5)
    assert norms[0].dtype == torch.promote_types(dtypes[0], torch.float32)
    for mine, theirs in zip(*results, strict=True):
        near(mine, theirs, ROUNDING[dtypes[0]])


@few
@given(data=st.data())
def test_optimizers(data):
    kind = data.draw(st.sampled_from([SGD, Adam, AdamW]))
    chosen = {
        "lr": data.draw(st.sampled_from([0.0, 1e-3, 0.3])),
        "weight_decay": data.draw(st.sampled_from([0.0, 0.2])),
    }
    if kind is SGD:
        chosen["momentum"] = data.draw(st.sampled_from([0.0, 0.5, 0.95]))
    else:
        chosen["betas"] = data.draw(st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)]))
        chosen["eps"] = data.draw(st.sampled_from([1e-8, 1e-2]))
    starts = data.draw(st.lists(tensors(dtypes=[torch.float64], empty=False), min_size=1, max_size=3))
    mine, theirs = ([s.detach().clone().requires_grad_() for s in starts] for _ in range(2))
    ours, oracle = kind(mine, **chosen), getattr(torch.optim, kind.__name__)(theirs, **chosen)
    for step in range(4):
        for pair in zip(mine, theirs, strict=True):
            g = torch.randn(pair[0].shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            for p in pair:
                p.grad = None if g.numel() % 3 == step else copy.deepcopy(g)
        ours.step()
        oracle.step()
    for p, q in zip(mine, theirs, strict=True):
        near(p, q.detach(), 1e-9)
