"""On a CUDA device: the Triton kernels against the formulas, in eager and in compiled code, at sizes of real use.

`pytest tests/engine/kernels` on such a machine runs its tests of small shapes on the device, too.
"""

import pytest
import torch
import torch.nn.functional as F

from bittygpt.core import ModelConfig, RotaryEmbedding, TransformerLM, cross_entropy
from bittygpt.engine import kernels
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from bittygpt.engine.layers.loss import (
    chunked_linear_cross_entropy,
    chunked_token_losses,
    linear_cross_entropy,
)
from bittygpt.engine.optimizers import FusedAdam, FusedAdamW

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
IGNORED = -100


def test_the_kernels_are_in_use():
    """Else the rest of this file would compare the formulas with themselves. A warning, an error here, says why not."""
    assert kernels.work_on(torch.zeros(1, device="cuda"))


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-8)], ids=["fp32", "bf16"]
)
@pytest.mark.parametrize("vocab_size", [2, 1000, 50257, 50304, 262144])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_losses_and_gradients_equal_torchs(vocab_size, dtype, rounding, scale):
    from bittygpt.engine.kernels.cross_entropy import losses_and_gradients_

    logits = (torch.randn(33, vocab_size, device="cuda") * scale).to(dtype)
    targets = torch.randint(0, vocab_size, (33,), device="cuda")
    targets[0], targets[1], targets[2] = vocab_size - 1, 0, IGNORED
    exact = logits.double().requires_grad_()
    expected = F.cross_entropy(exact, targets, ignore_index=IGNORED, reduction="none")
    expected.sum().backward()
    losses = losses_and_gradients_(logits, targets, IGNORED, True)
    torch.testing.assert_close(losses, expected.detach().float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits.float(), exact.grad.float(), atol=1e-6, rtol=rounding)
    assert not logits[2].any()


def test_rows_beyond_two_to_the_31_logits_are_right():
    from bittygpt.engine.kernels.cross_entropy import losses_and_gradients_

    vocab_size = 1 << 16
    num_rows = (1 << 15) + 8
    if torch.cuda.mem_get_info()[0] < 3 * 2 * num_rows * vocab_size:
        pytest.skip("the device has too little memory free")
    logits = torch.zeros(num_rows, vocab_size, dtype=torch.bfloat16, device="cuda")
    logits[-1] = torch.randn(vocab_size, device="cuda")
    last = logits[-1].float()
    targets = torch.arange(num_rows, device="cuda") % vocab_size
    losses = losses_and_gradients_(logits, targets, IGNORED, True)
    torch.testing.assert_close(losses[-1], F.cross_entropy(last, targets[-1]))
    expected = last.softmax(dim=0)
    expected[targets[-1]] -= 1
    torch.testing.assert_close(logits[-1].float(), expected, atol=1e-6, rtol=2**-8)
    torch.testing.assert_close(losses[0].item(), 16 * torch.tensor(2.0).log().item(), rtol=1e-5, atol=0)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, when it compiles
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_without_logits_equals_its_formula(precision, compiled):
    hidden = torch.randn(700, 64, device="cuda", requires_grad=True)
    weight = torch.randn(50257, 64, device="cuda", requires_grad=True)
    targets = torch.randint(0, 50257, (700,), device="cuda")
    targets[::7] = IGNORED
    torch.compiler.reset()

    def evaluate(loss_of):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(hidden, weight, targets)
        return loss, *torch.autograd.grad(loss, [hidden, weight])

    expected = evaluate(linear_cross_entropy)
    with torch.no_grad():
        expected_each = cross_entropy(hidden @ weight.T, targets, reduction="none")
    compute = torch.compile(chunked_linear_cross_entropy) if compiled else chunked_linear_cross_entropy
    found = evaluate(compute)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-3 if precision == "bf16" else 1e-5, atol=0)
    for gradient, theirs in zip(found[1:], expected[1:], strict=True):
        assert F.cosine_similarity(gradient.flatten(), theirs.flatten(), dim=0) > 0.999
        assert gradient.norm().item() == pytest.approx(theirs.norm().item(), rel=1e-2)
    torch.testing.assert_close(
        chunked_token_losses(hidden, weight, targets), expected_each, atol=1e-4, rtol=1e-4
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("qk_norm", [False, True])  # with it, RoPE is no kernel's
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_model_with_targets_has_the_gradients_of_its_formulas(compiled, qk_norm):
    model = TransformerLM(ModelConfig(1000, 128, 256, 2, 4, num_kv_heads=2, qk_norm=qk_norm)).cuda()
    ids, targets = (torch.randint(0, 1000, (4, 128), device="cuda") for _ in range(2))
    parameters = list(model.parameters())
    torch.compiler.reset()
    expected_loss = model(ids, targets_BT=targets)
    expected = torch.autograd.grad(expected_loss, parameters)
    prepare_for_compile(accelerate(model))
    loss = (torch.compile(model) if compiled else model)(ids, targets_BT=targets)
    found = torch.autograd.grad(loss, parameters)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    for gradient, theirs in zip(found, expected, strict=True):
        assert F.cosine_similarity(gradient.flatten(), theirs.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("num_heads", "num_kv_heads", "head_dim"), [(12, 12, 64), (8, 2, 128), (6, 3, 48)])
def test_queries_and_keys_are_rotated_and_rotated_back(num_heads, num_kv_heads, head_dim, dtype):
    from bittygpt.engine.kernels.rope import rotate, rotate_back

    cos_sin = RotaryEmbedding(head_dim, 1024).cos_sin.cuda()
    width = (num_heads + 2 * num_kv_heads) * head_dim
    projected = torch.randn(3, 1024, width, device="cuda").to(dtype)
    exact = projected.double().unflatten(-1, (-1, head_dim)).requires_grad_()
    pairs = torch.view_as_complex(exact[:, :, : num_heads + num_kv_heads].unflatten(-1, (-1, 2)))
    rotated = torch.view_as_real(pairs * torch.view_as_complex(cos_sin.double())[:, None]).flatten(-2)
    q, k = rotate(projected, cos_sin, num_heads, num_kv_heads)
    rounding = {"atol": 1e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-6, "rtol": 2**-8}
    torch.testing.assert_close(torch.cat((q, k), dim=2).double(), rotated.detach(), **rounding)

    grads = [torch.randn_like(x) for x in (q, k, k)]
    (expected,) = torch.autograd.grad(
        (rotated * torch.cat(grads[:2], dim=2)).sum() + (exact[:, :, -num_kv_heads:] * grads[2]).sum(), exact
    )
    found = rotate_back(*(g.transpose(1, 2).contiguous().transpose(1, 2) for g in grads), cos_sin)
    torch.testing.assert_close(found.double(), expected.flatten(-2), **rounding)


@pytest.mark.parametrize(("ours", "oracle"), [(FusedAdam, torch.optim.Adam), (FusedAdamW, torch.optim.AdamW)])
@pytest.mark.parametrize("shape", [(512, 512), (1 << 18,), (3, 123457), (7,)])
def test_adam_equals_torchs(ours, oracle, shape, monkeypatch):
    from bittygpt.engine.kernels import adam

    calls, update = [], adam.adam_
    monkeypatch.setattr(adam, "adam_", lambda *a, **k: calls.append(1) or update(*a, **k))
    p = torch.randn(shape, device="cuda", requires_grad=True)
    q = p.detach().clone().requires_grad_()
    settings = {"lr": 0.1, "weight_decay": 0.1}
    mine, theirs = ours([p], **settings), oracle([q], **settings)
    for step in range(5):
        p.grad = torch.randn(shape, device="cuda") * 10.0 ** (step - 2)
        q.grad = p.grad.clone()
        mine.step()
        theirs.step()
    assert len(calls) == 5
    torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)
    for key in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(mine.state[p][key], theirs.state[q][key], atol=1e-6, rtol=1e-5)


def test_on_the_second_device_too():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device alone")
    hidden = torch.randn(8, 16, device="cuda:1", requires_grad=True)
    weight, targets = torch.randn(100, 16, device="cuda:1"), torch.arange(8, device="cuda:1")
    expected = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(chunked_linear_cross_entropy(hidden, weight, targets), expected)
