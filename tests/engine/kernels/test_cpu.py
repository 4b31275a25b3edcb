"""The kernels of cpu.c against PyTorch in float64, over sizes that fill no vector and such that take all threads."""

import pytest
import torch
import torch.nn.functional as F

from bittygpt.engine.kernels import cpu
from bittygpt.engine.kernels.cpu import without_c
from bittygpt.engine.layers.feed_forward import silu_gate, silu_gate_gradients
from bittygpt.engine.layers.rmsnorm import norm_gradients, normalized
from bittygpt.engine.optimizers.grad_clip import clip_grad_norm

pytestmark = pytest.mark.skipif(not cpu.work_in(torch.float32), reason="there is no C compiler")
PRECISIONS = [torch.float32, torch.bfloat16]
# one, less than a vector, some vectors and a rest; so many that two threads share them
SIZES = [(1, 1), (3, 7), (5, 33), (700, 129)]
TOLERANCE = {torch.float32: {"rtol": 2e-5, "atol": 2e-5}, torch.bfloat16: {"rtol": 2**-8, "atol": 1e-4}}


@pytest.fixture(params=[1, 2], autouse=True)
def _threads(request):
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(1)


def gradients_of(function, inputs, direction):
    """In float64, by autograd."""
    leaves = [x.double().requires_grad_() for x in inputs]
    return torch.autograd.grad((function(*leaves) * direction.double()).sum(), leaves)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("has_beside", [False, True])
def test_rms_norm_and_its_gradients(precision, size, has_beside):
    x, dy, beside = (scale * torch.randn(size) for scale in (3, 1, 1))
    gain, dy = torch.randn(size[1]), dy.to(precision)
    assert cpu.rms_norm(x, gain, 1e-3, precision) is not None
    y, inverse_rms = normalized(x, gain, 1e-3, precision)
    assert y.dtype == precision
    expected = F.rms_norm(x.double(), size[1:], gain.double(), 1e-3)
    torch.testing.assert_close(y.double(), expected, **TOLERANCE[precision])
    dx, dgain = norm_gradients(dy, x, inverse_rms, gain, beside if has_beside else None)
    right = gradients_of(lambda x, gain: F.rms_norm(x, size[1:], gain, 1e-3), (x, gain), dy)
    torch.testing.assert_close(dx.double() - has_beside * beside, right[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dgain.double(), right[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
def test_swiglu_and_its_gradients(precision, size):
    gate, up, dy = (torch.randn(size).to(precision) for _ in range(3))
    gate.view(-1)[0] = -200.0  # e^200 is no float
    assert cpu.swiglu(gate, up) is not None
    torch.testing.assert_close(
        silu_gate(gate, up).double(), F.silu(gate.double()) * up.double(), **TOLERANCE[precision]
    )
    right = gradients_of(lambda gate, up: F.silu(gate) * up, (gate, up), dy)
    for mine, expected in zip(silu_gate_gradients(dy, gate, up), right, strict=True):
        torch.testing.assert_close(mine.double(), expected, **TOLERANCE[precision])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sigmoid_over_all_that_a_gate_may_be(precision):
    gate = torch.linspace(-95, 95, 100_001).to(precision)
    silu = silu_gate(gate, torch.ones_like(gate))
    torch.testing.assert_close(
        silu.double(), F.silu(gate.double()), rtol=TOLERANCE[precision]["rtol"], atol=1e-34
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [(1, 2), (3, 7), (4, 65), (30, 2048)])
@pytest.mark.parametrize("gradients", [False, True])
def test_losses_and_gradients(precision, size, gradients):
    logits = (30 * torch.randn(size)).to(precision)
    targets = torch.randint(0, size[1], size[:1])
    targets[-1] = -7 if size[0] > 1 else targets[-1]
    leaf = logits.double().requires_grad_()
    right = F.cross_entropy(leaf, targets, ignore_index=-7, reduction="none")
    (slope,) = torch.autograd.grad(right.sum(), leaf)
    losses = cpu.losses_and_gradients_(logits, targets, -7, gradients)
    torch.testing.assert_close(losses.double(), right.detach(), rtol=1e-5, atol=1e-5)
    if gradients:
        torch.testing.assert_close(logits.double(), slope, **TOLERANCE[precision])


@pytest.mark.parametrize("target", [-1, 5, 2**40])
def test_a_target_of_no_token_is_an_error(target):
    with pytest.raises(IndexError, match=f"target {target} is none of the 5 tokens"):
        cpu.losses_and_gradients_(torch.zeros(3, 5), torch.tensor([0, target, 1]), -100, True)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("place", ["x", "gain", "gate", "up", "logits", "gradient"])
def test_a_nan_comes_out_as_one(precision, place):
    """Else no run that diverges would be noticed."""
    x = torch.ones(2, 40)
    wrong = x.clone()
    wrong[1, 17] = torch.nan
    if place in ("x", "gain"):
        y, inverse_rms = normalized(*((wrong, x[0]) if place == "x" else (x, wrong[1])), 1e-5, precision)
        found = [y, *norm_gradients(x.to(precision), wrong, inverse_rms, x[0])]
    elif place in ("gate", "up"):
        pair = [each.to(precision) for each in ((wrong, x) if place == "gate" else (x, wrong))]
        found = [silu_gate(*pair), silu_gate_gradients(x.to(precision), *pair)[0]]
    elif place == "logits":
        wrong = wrong.to(precision)
        found = [cpu.losses_and_gradients_(wrong, torch.tensor([3, 3]), -100, True), wrong]
    else:
        weight = torch.zeros(2, 40, requires_grad=True)
        weight.grad = wrong
        found = [clip_grad_norm([weight], 1.0)]
    assert all(each.isnan().any() for each in found)
    assert all(not each[0].isnan().any() for each in found if each.ndim == 2 and place != "gain")


def test_bfloat16_is_rounded_as_by_pytorch():
    up = torch.randn(10_000, dtype=torch.float32)
    up[:4] = torch.tensor([3.4e38, -3.4e38, torch.inf, 1e-40])
    gain = up.clone()
    with without_c():
        inverse_rms = normalized(torch.ones(1, 10_000), gain, 0.0, torch.float32)[1]
    assert inverse_rms.item() == 1.0
    y, _ = normalized(torch.ones(1, 10_000), gain, 0.0, torch.bfloat16)
    assert torch.equal(y[0], gain.bfloat16())


def test_rows_that_do_not_lie_dense_are_read_right():
    x, dy = torch.randn(6, 2, 9).transpose(0, 1), torch.randn(9, 12).T.reshape(6, 2, 9).transpose(0, 1)
    gain = torch.randn(9)
    with without_c():
        y, inverse_rms = normalized(x, gain, 1e-5, torch.float32)
        right = [y, *norm_gradients(dy, x, inverse_rms, gain, beside=dy)]
    y, inverse_rms = normalized(x, gain, 1e-5, torch.float32)
    found = [y, *norm_gradients(dy, x, inverse_rms, gain, beside=dy)]
    for mine, expected in zip(found, right, strict=True):
        torch.testing.assert_close(mine, expected)


def test_a_run_of_the_same_numbers_gives_the_same():
    x, dy, gain = torch.randn(900, 65), torch.randn(900, 65), torch.randn(65)
    weight = torch.zeros(100_000, requires_grad=True)
    weight.grad = torch.randn(100_000)
    _, inverse_rms = normalized(x, gain, 1e-5, torch.float32)
    first, *others = (
        (*norm_gradients(dy, x, inverse_rms, gain), clip_grad_norm([weight], 0.0)) for _ in range(20)
    )
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


OTHER_KINDS = {
    "float64": lambda x: x.double(),
    "bfloat16": lambda x: x.bfloat16(),
    "meta": lambda x: x.to("meta"),
    "a subclass": lambda x: x.as_subclass(type("LikeDTensor", (torch.Tensor,), {})),
    "not dense": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "negated": torch._neg_view,
    "sparse": lambda x: x.to_sparse(),
    "of another shape": lambda x: x[..., :1],
    "expanded": lambda x: x[..., :1].expand(x.shape),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("place", [0, 1])
def test_tensors_of_other_kinds_and_places_are_left_to_pytorch(kind, place):
    both = [torch.ones(3), torch.ones(3)]
    assert cpu.swiglu(*both) is not None
    assert cpu.clip_(both, 0.0) is not None
    both[place] = OTHER_KINDS[kind](both[place])
    assert cpu.clip_(both, 0.0) is None or kind == "of another shape"
    if (kind, place) != ("bfloat16", 0):
        assert cpu.swiglu(*both) is None


def test_there_is_a_switch():
    x = torch.ones(2, 3)
    with without_c():
        assert cpu.swiglu(x, x) is None
        assert not cpu.work_in(torch.float32)
    assert cpu.swiglu(x, x) is not None
    assert cpu.swiglu(x.half(), x.half()) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: cpu.rms_norm(torch.ones(2, 6), torch.ones(3), 1e-5, torch.float32),
        lambda: cpu.rms_norm_gradients(
            torch.ones(2, 6), torch.ones(2, 6), torch.ones(2, 1), torch.ones(3), None
        ),
        lambda: cpu.rms_norm_gradients(
            torch.ones(1, 6), torch.ones(2, 6), torch.ones(2, 1), torch.ones(6), None
        ),
        lambda: cpu.rms_norm_gradients(
            torch.ones(2, 6), torch.ones(2, 6), torch.ones(2, 1), torch.ones(6), torch.ones(1, 6)
        ),
        lambda: cpu.rotate(torch.ones(1, 5, 2, 4), torch.ones(4, 2, 2), False, torch.ones(1, 5, 2, 4)),
        lambda: cpu.rotate(torch.ones(1, 4, 3, 4), torch.ones(4, 3, 2), False, torch.ones(1, 4, 3, 4)),
        lambda: cpu.swiglu(torch.ones(4), torch.ones(3)),
        lambda: cpu.swiglu_gradients(torch.ones(4), torch.ones(4), torch.ones(3)),
        lambda: cpu.losses_and_gradients_(torch.ones(3, 5), torch.zeros(2, dtype=torch.int64), -100, True),
        lambda: cpu.losses_and_gradients_(torch.ones(3, 5), torch.zeros(3, dtype=torch.int32), -100, True),
        lambda: cpu.adam_(
            [[torch.ones(3)], [torch.ones(3)], [torch.ones(3)], [torch.ones(2)]], 1, 0, (0.9, 0.9), 1, 1
        ),
    ],
)
def test_shapes_that_do_not_go_together_are_not_read_beyond(call):
    assert call() is None


def test_pytorchs_default_type_and_device_change_nothing():
    logits, targets, gain = torch.randn(3, 5), torch.tensor([0, 1, 2]), torch.ones(5)
    right = [
        cpu.losses_and_gradients_(logits.clone(), targets, -100, True),
        *cpu.rms_norm(logits, gain, 1e-5, torch.float32),
    ]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = [
                cpu.losses_and_gradients_(logits.clone(), targets, -100, True),
                *cpu.rms_norm(logits, gain, 1e-5, torch.float32),
            ]
            weight = torch.nn.Parameter(logits)
            weight.grad = logits.clone()
            norm = clip_grad_norm([weight], 1.0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))
    assert norm.dtype == torch.float32
    torch.testing.assert_close(norm, logits.norm())
