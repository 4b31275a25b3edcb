"""Every fast path against its formula, values and gradients: shapes, precisions, layouts, threads, C or none."""

import pytest
import torch

from bittygpt.core import (
    Embedding,
    GatedFeedForward,
    MultiHeadAttention,
    RMSNorm,
    RotaryEmbedding,
    SwiGLU,
    TransformerBlock,
    cross_entropy,
    gelu,
)
from bittygpt.core import clip_grad_norm as formula_of_clipping
from bittygpt.core.attention import causal_mask, scaled_dot_product_attention
from bittygpt.core.feed_forward import GATED, PLAIN
from bittygpt.core.rope import apply_rotary
from bittygpt.engine.layers.attention import fused_causal_attention
from bittygpt.engine.layers.block import attention_operands
from bittygpt.engine.layers.loss import chunked_linear_cross_entropy
from bittygpt.engine.layers.rotary import SplitAndRotate, rotate_as_complex, rotate_by_swapping, rotate_heads
from bittygpt.engine.optimizers.grad_clip import clip_grad_norm
from tests.engine.pairs import (
    VOCABULARY,
    a_batch,
    a_model,
    assert_same,
    fast_copy,
    of_model,
    value_and_gradients,
    with_gains,
)

D, HEADS, LENGTH = 24, 4, 7
pytestmark = pytest.mark.usefixtures("with_and_without_c")


def block(kv_heads=2, qk_norm=False, activation="swiglu", rope=True):
    model = a_model(num_layers=1)
    config = model.config
    changes = {"d_model": D, "num_heads": HEADS, "num_kv_heads": kv_heads, "qk_norm": qk_norm, "d_ff": 40}
    config = type(config)(**{**vars(config), **changes, "activation": activation})
    return with_gains(TransformerBlock(config, RotaryEmbedding(D // HEADS, 9) if rope else None))


MODULES = {
    "norm": lambda: with_gains(RMSNorm(D)),
    "SwiGLU": lambda: SwiGLU(D, 40),
    "GeGLU": lambda: GatedFeedForward(D, 40, gelu),
    "attention": lambda: MultiHeadAttention(D, HEADS, 2, RotaryEmbedding(D // HEADS, 9)),
    "attention with norms": lambda: with_gains(
        MultiHeadAttention(D, HEADS, 1, RotaryEmbedding(D // HEADS, 9), True)
    ),
    "attention without RoPE": lambda: MultiHeadAttention(D, HEADS, HEADS),
    "block": block,
    "block with norms": lambda: block(1, True),
}

# of a tensor of shape (B, T, D): the same numbers, lying differently
LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "columns first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "an odd offset": lambda x: torch.cat((torch.zeros(3), x.flatten()))[3:].view(x.shape),
    "every second": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
    "odd strides": lambda x: torch.cat((x, torch.zeros(*x.shape[:-1], 5)), dim=-1)[..., : x.shape[-1]],
}


def of(module, x):
    return value_and_gradients(module, [x], list(module.parameters()))


def compare(module, x):
    assert_same(of(fast_copy(module), x), of(module, x))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, layout):
    x = LAYOUTS[layout](torch.randn(3, LENGTH, D)).detach().requires_grad_()
    compare(MODULES[name](), x)


@pytest.mark.parametrize("name", MODULES)
def test_expanded_and_repeated_rows(name):
    module, row = MODULES[name](), torch.randn(1, 1, D, requires_grad=True)
    fast = fast_copy(module)
    for shape in ((3, LENGTH, D), (1, LENGTH, D), (3, 1, D)):
        found, expected = (
            value_and_gradients(lambda x, m=m, s=shape: m(x.expand(s)), [row], list(m.parameters()))
            for m in (fast, module)
        )
        assert_same(
            found, expected, atol=1e-4
        )  # of keys that are all alike no query has a gradient but rounding


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("layout", ["transposed", "expanded", "every second", "broadcast"])
def test_gradients_that_do_not_lie_dense(name, layout):
    module, x = MODULES[name](), torch.randn(3, LENGTH, D, requires_grad=True)
    shape = module(x).shape
    if layout == "expanded":
        direction = torch.randn(1, 1, 1).expand(shape)
    elif layout == "broadcast":
        direction = torch.randn(shape[-1]).expand(shape)
    else:
        direction = LAYOUTS[layout](torch.randn(shape))
    outcomes = []
    for each in (fast_copy(module), module):
        outcomes.append(torch.autograd.grad(each(x), [x, *each.parameters()], direction))
    assert_same(*outcomes)


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_blocks_of_every_kind(rope, kv_heads, qk_norm):
    x = torch.randn(3, LENGTH, D, requires_grad=True)
    module = block(kv_heads, qk_norm, rope=rope)
    assert attention_operands(fast_copy(module), x) is not None
    compare(module, x)


def test_a_block_with_so_many_tokens_that_two_threads_share_them():
    torch.set_num_threads(2)
    compare(block(1, True), torch.randn(200, LENGTH, D, requires_grad=True))


@pytest.mark.parametrize("activation", [*GATED, *PLAIN])
@pytest.mark.parametrize("tied", [False, True])
def test_models_of_every_activation(activation, tied):
    model = a_model(activation=activation, tie_embeddings=tied)
    assert_same(of_model(fast_copy(model), *a_batch()), of_model(model, *a_batch()))
    assert_same(of_model(fast_copy(model), a_batch()[0]), of_model(model, a_batch()[0]))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("precision", ["autocast", "bfloat16", "float64", "float64 x", "float64 weights"])
def test_precisions(name, precision):
    module, x = MODULES[name](), torch.randn(3, LENGTH, D)
    if precision == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            found, expected = (of(m, x.clone().requires_grad_()) for m in (fast_copy(module), module))
        rounding = 0.02
    elif precision == "bfloat16":
        module, x = module.bfloat16(), x.bfloat16()
        found, expected = (of(m, x.clone().requires_grad_()) for m in (fast_copy(module), module))
        rounding = 0.03
    elif precision == "float64":
        module, x = module.double(), x.double()
        found, expected = (of(m, x.clone().requires_grad_()) for m in (fast_copy(module), module))
        rounding = 1e-6  # RoPE's table is float32
    else:
        module, x = (module.double(), x) if precision == "float64 weights" else (module, x.double())
        outcomes = []
        for each in (fast_copy(module), module):
            try:
                outcomes.append(of(each, x.clone().requires_grad_()))
            except RuntimeError as error:  # float and double are not multiplied
                outcomes.append(str(error))
        found, expected = outcomes
        if isinstance(expected, str):
            assert "same dtype" in expected
            assert found == expected
            return
        rounding = 1e-6
    assert_same(found, expected, rounding)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("shape", [(0, LENGTH, D), (3, 0, D), (0, 0, D), (1, 1, D)])
def test_empty_inputs(name, shape):
    compare(MODULES[name](), torch.randn(shape).requires_grad_())


@pytest.mark.parametrize("name", ["norm", "SwiGLU", "GeGLU"])
@pytest.mark.parametrize("shape", [(D,), (5, D), (2, 3, 4, D), (1, D), (0, D), (2, 3, 1, 2, D)])
def test_other_numbers_of_dimensions(name, shape):
    compare(MODULES[name](), torch.randn(shape).requires_grad_())


@pytest.mark.parametrize("shape", [(0, 8), (2, 0)])
def test_a_model_of_no_tokens(shape):
    model, ids = a_model(), torch.zeros(shape, dtype=torch.int64)
    for reduction in ("sum", "mean", "none"):
        found, expected = (of_model(m, ids, ids, reduction) for m in (fast_copy(model), model))
        assert_same(found, expected)


@pytest.mark.parametrize("name", ["block", "block with norms", "attention", "SwiGLU", "GeGLU"])
def test_frozen_weights_get_no_gradient_and_the_others_theirs(name):
    source = MODULES[name]()
    names = [n for n, _ in source.named_parameters()]
    for chosen in (*([n] for n in names), names, names[::2]):
        for wants_x in (True, False):
            outcomes = []
            for module in (fast_copy(source), source):
                for n, p in module.named_parameters():
                    p.requires_grad_(n not in chosen)
                    p.grad = None
                x = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(2)).requires_grad_(wants_x)
                y = module(x)
                if y.requires_grad:
                    y.square().sum().backward()
                outcomes.append([y, x.grad, *(p.grad for p in module.parameters())])
            assert_same(*outcomes)


@pytest.mark.parametrize("name", MODULES)
def test_what_comes_in_stays_as_it_is(name):
    module, x = fast_copy(MODULES[name]()), torch.randn(3, LENGTH, D, requires_grad=True)
    before = x.detach().clone()
    y = module(x)
    direction = torch.randn_like(y)
    kept = direction.clone()
    first = torch.autograd.grad(y, [x, *module.parameters()], direction, retain_graph=True)
    second = torch.autograd.grad(y, [x, *module.parameters()], direction)
    assert torch.equal(x, before)
    assert torch.equal(direction, kept)
    assert_same(first, second, 0, 0)


ROTATIONS = {"as complex": rotate_as_complex, "by swapping": rotate_by_swapping}


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotations(rotation, layout, dtype):
    rope = RotaryEmbedding(8, 9)
    x = (
        LAYOUTS[layout](torch.randn(6, LENGTH, 8)).view(2, 3, LENGTH, 8)
        if layout != "transposed"
        else (torch.randn(2, LENGTH, 3, 8).transpose(1, 2))
    )
    x = x.to(dtype).detach().requires_grad_()
    cos_sin = rope.angles(x)
    found, expected = (
        value_and_gradients(lambda x, f=f: f(x, cos_sin), [x]) for f in (ROTATIONS[rotation], apply_rotary)
    )
    rounding = 1e-5 if dtype == torch.float32 else 2**-7
    assert_same(found, expected, rounding, rounding)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 1, 1, 2), (20, 65, 3, 10)])
def test_heads_are_rotated_and_back(back, in_place, threads, shape):
    torch.set_num_threads(threads)
    x, cos_sin = torch.randn(shape), RotaryEmbedding(shape[-1], 70).cos_sin[: shape[1]]
    angles = torch.stack((cos_sin[..., 0], -cos_sin[..., 1]), -1) if back else cos_sin
    expected = apply_rotary(x.transpose(1, 2), angles).transpose(1, 2)
    found = rotate_heads(x, cos_sin, back, out=x if in_place else None)
    assert (found is x) == in_place
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", [lambda rope: rope, lambda rope: fast_copy(rope)])
def test_rope_alone_on_vectors_that_lie_oddly(form):
    rope = form(RotaryEmbedding(4, 8))
    memory = torch.randn(2 * 3 * 5 * 4 + 1)
    for x in (
        memory[1:].view(2, 3, 5, 4),
        torch.randn(2, 3, 5, 7)[..., 1:5],
        torch.randn(4, 5, 3, 2).permute(3, 2, 1, 0),
        torch.randn(2, 3, 5, 8)[..., ::2],
        torch.randn(4).expand(2, 3, 5, 4),
    ):
        leaf = x.detach().requires_grad_()
        rope(leaf).sum().backward()
        dense = x.contiguous().detach().requires_grad_()
        rope(dense).sum().backward()
        torch.testing.assert_close(leaf.grad, dense.grad)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1), (6, 3)])
@pytest.mark.parametrize("lengths", [(1, 1), (6, 6), (1, 6), (2, 6), (5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_attention_by_the_kernel(heads, lengths, dtype):
    (num_heads, kv_heads), (queries, keys) = heads, lengths
    q = torch.randn(2, num_heads, queries, 8, dtype=dtype, requires_grad=True)
    k, v = (torch.randn(2, kv_heads, keys, 8, dtype=dtype, requires_grad=True) for _ in range(2))

    def formula(q, k, v):
        k, v = (x.repeat_interleave(num_heads // kv_heads, dim=1) for x in (k, v))
        return scaled_dot_product_attention(q, k, v, causal_mask(queries, keys))

    found, expected = (value_and_gradients(f, [q, k, v]) for f in (fused_causal_attention, formula))
    assert_same(found, expected, 0.03 if dtype == torch.bfloat16 else 1e-5)


def test_attention_without_gradients_makes_no_function_of_it():
    q, k, v = torch.randn(3, 1, 2, 5, 4)
    assert fused_causal_attention(q, k, v).grad_fn is None


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)])
def test_split_and_rotate_has_a_formula(heads):
    """What a GPU computes is tested elsewhere: here the formula that stands for it."""
    num_heads, kv_heads = heads
    projected = torch.randn(2, 5, (num_heads + 2 * kv_heads) * 6)
    cos_sin = RotaryEmbedding(6, 5).cos_sin
    q, k, v = SplitAndRotate.formula(projected, cos_sin, num_heads, kv_heads)
    parts = projected.unflatten(-1, (-1, 6)).split((num_heads, kv_heads, kv_heads), dim=2)
    for found, part in zip((q, k), parts, strict=False):
        torch.testing.assert_close(found, apply_rotary(part.transpose(1, 2), cos_sin).transpose(1, 2))
    assert torch.equal(v, parts[2])


@pytest.mark.parametrize("layout", ["dense", "transposed", "columns first", "an odd offset", "every second"])
@pytest.mark.parametrize("weight_layout", ["dense", "transposed", "every second"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_loss_of_any_layout(layout, weight_layout, threads):
    torch.set_num_threads(threads)
    hidden = LAYOUTS[layout](torch.randn(3, LENGTH, D)).detach().requires_grad_()
    weight = torch.randn(VOCABULARY, D)
    if weight_layout == "transposed":
        weight = weight.T.contiguous().T
    elif weight_layout == "every second":
        weight = weight.repeat_interleave(2, -1)[..., ::2]
    weight = weight.detach().requires_grad_()
    targets = torch.randint(0, VOCABULARY, (LENGTH, 3)).T
    targets[1, 2] = -100

    def formula(hidden, weight, targets):
        return cross_entropy(hidden @ weight.T, targets, reduction="sum")

    found, expected = (
        value_and_gradients(f, [hidden, weight, targets]) for f in (chunked_linear_cross_entropy, formula)
    )
    assert_same(found, expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e9])
@pytest.mark.parametrize(
    "kind", ["several", "one", "bfloat16", "float64", "mixed", "not dense", "empty", "expanded"]
)
def test_clipping_beside_a_norm_in_float64(threads, max_norm, kind):
    torch.set_num_threads(threads)
    grads = [torch.randn(200, 301), torch.randn(5), torch.randn(7, 1, 3)]
    grads = {
        "several": lambda: grads,
        "one": lambda: grads[:1],
        "bfloat16": lambda: [g.bfloat16() for g in grads],
        "float64": lambda: [g.double() for g in grads],
        "mixed": lambda: [grads[0].bfloat16(), grads[1], grads[2].double()],
        "not dense": lambda: [grads[0].T, grads[1], grads[0][:, ::2]],
        "empty": lambda: [*grads, torch.zeros(0, 3)],
        "expanded": lambda: [grads[0], grads[1][:1].clone()],
    }[kind]()
    exact = torch.cat([g.double().flatten() for g in grads]).norm()
    factor = min(1.0, max_norm / (exact.item() + 1e-6)) if max_norm else 1.0
    for clip in (clip_grad_norm, formula_of_clipping):
        weights = [torch.zeros_like(g).requires_grad_() for g in grads]
        for weight, g in zip(weights, grads, strict=True):
            weight.grad = g.clone()
        norm = clip(iter(weights) if kind != "one" else weights[0], max_norm)
        assert norm.item() == pytest.approx(exact.item(), rel=1e-5)
        assert norm.dtype == (torch.float64 if kind in ("float64", "mixed") else torch.float32)
        for weight, g in zip(weights, grads, strict=True):
            rounding = 2**-7 if g.dtype == torch.bfloat16 else 1e-5
            torch.testing.assert_close(weight.grad.double(), g.double() * factor, rtol=rounding, atol=1e-8)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_clipping_where_a_gradient_is_not_finite(bad):
    outcomes = []
    for clip in (clip_grad_norm, formula_of_clipping):
        weights = [torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)]
        weights[0].grad, weights[1].grad = torch.tensor([1.0, bad, 2.0]), torch.ones(2)
        norm = clip(weights, 1.0)
        outcomes.append([norm, *(p.grad for p in weights)])
    for mine, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(mine, theirs, equal_nan=True)


def test_a_run_with_two_threads_is_that_with_one_but_for_rounding():
    model, batch = a_model(), a_batch()
    outcomes = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        outcomes.append(of_model(fast_copy(model), *batch))
    assert_same(*outcomes)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,)])
def test_an_embedding_on_a_cpu_is_the_formula(shape):
    table, ids = Embedding(7, 4), torch.randint(0, 7, shape)
    found, expected = (
        value_and_gradients(lambda *_, m=m: m(ids), [m.weight]) for m in (fast_copy(table), table)
    )
    assert_same(found, expected)
