"""The kernel of the loss against PyTorch's cross-entropy and autograd, and inside the loss without logits."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from bittygpt.engine.layers import loss as chunked_loss
from bittygpt.engine.layers.loss import chunked_linear_cross_entropy, chunked_token_losses

pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 alone")
from bittygpt.engine.kernels import cross_entropy as kernels
from bittygpt.engine.kernels.cross_entropy import as_operation, losses_and_gradients_

# Where there is a GPU Triton is not interpreted, and the same tests run there.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
IGNORED = -100


@pytest.fixture(autouse=True)
def _rows_of_several_blocks(monkeypatch):
    monkeypatch.setattr(kernels, "LARGEST_BLOCK", 16)


def targets_for(num_rows, vocab_size):
    targets = torch.randint(0, vocab_size, (num_rows,), device=DEVICE)
    targets[0], targets[-1] = vocab_size - 1, 0
    targets[num_rows // 2] = IGNORED
    return targets


def oracle(logits, targets):
    """Losses and gradients in float32, by PyTorch."""
    logits = logits.detach().float().requires_grad_()
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
    (gradients,) = torch.autograd.grad(losses.sum(), logits)
    return losses.detach(), gradients


@pytest.mark.parametrize(
    ("dtype", "rounding"),  # Triton's interpreter cuts a number off where a GPU rounds it
    [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)],
    ids=["fp32", "bf16"],
)
@pytest.mark.parametrize("vocab_size", [1, 16, 37, 64])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_losses_and_gradients_equal_torchs(vocab_size, dtype, rounding, scale):
    memory = torch.zeros(5 * vocab_size + 16, dtype=dtype, device=DEVICE)
    logits, beyond = memory[:-16].view(5, vocab_size), memory[-16:]
    logits.copy_(torch.randn(5, vocab_size) * scale)
    targets = targets_for(5, vocab_size)
    expected_losses, expected_gradients = oracle(logits, targets)
    losses = losses_and_gradients_(logits, targets, IGNORED, True)
    torch.testing.assert_close(losses, expected_losses)
    torch.testing.assert_close(logits.float(), expected_gradients, atol=1e-6, rtol=rounding)
    assert not logits[2].any()
    assert not beyond.any()


def test_pytorch_knows_what_is_written():
    """Or the compiler would take the logits for what they were before."""
    arguments = (torch.randn(5, 37, device=DEVICE), targets_for(5, 37), IGNORED, True)
    torch.library.opcheck(as_operation, arguments, test_utils=("test_schema", "test_faketensor"))


def test_without_gradients_the_logits_stay():
    logits, targets = torch.randn(5, 37, device=DEVICE), targets_for(5, 37)
    before = logits.clone()
    losses = losses_and_gradients_(logits, targets, IGNORED, False)
    torch.testing.assert_close(losses, oracle(before, targets)[0])
    assert torch.equal(logits, before)


def test_logits_that_are_not_contiguous_are_written_over_too():
    logits, targets = torch.randn(37, 5, device=DEVICE).T, targets_for(5, 37)
    _, expected = oracle(logits, targets)
    losses_and_gradients_(logits, targets, IGNORED, True)
    torch.testing.assert_close(logits, expected)


def test_rows_that_are_all_ignored_are_zero():
    logits = torch.full((3, 37), 1e4, device=DEVICE)
    losses = losses_and_gradients_(logits, torch.full((3,), IGNORED, device=DEVICE), IGNORED, True)
    assert not losses.any()
    assert not logits.any()


def test_a_logit_of_minus_infinity_has_no_share_and_nan_is_not_hidden():
    logits = torch.randn(2, 37, device=DEVICE)
    logits[0, :16] = -torch.inf  # the first block has nothing else
    logits[1, 20] = torch.nan
    targets = torch.tensor([20, 3], device=DEVICE)
    expected_losses, expected_gradients = oracle(logits[:1], targets[:1])
    losses = losses_and_gradients_(logits, targets, IGNORED, True)
    torch.testing.assert_close(losses[:1], expected_losses)
    torch.testing.assert_close(logits[:1], expected_gradients)
    assert losses[1].isnan()
    assert logits[1].isnan().all()


@pytest.mark.parametrize("target", [-1, 37, 1 << 40])
def test_a_target_outside_the_vocabulary_is_no_number(target):
    targets = torch.tensor([3, target], device=DEVICE)
    losses = losses_and_gradients_(torch.randn(2, 37, device=DEVICE), targets, IGNORED, True)
    assert losses.isnan().tolist() == [False, True]


@pytest.fixture
def programs(monkeypatch):
    """The kernel is chosen as on a GPU, tokens come in chunks of five; the grids of the launches are listed."""
    grids, kernel = [], kernels.loss_kernel

    class Listed:
        def __getitem__(self, grid):
            grids.append(grid)
            return kernel[grid]

    monkeypatch.setattr(chunked_loss, "work_on", lambda _: True)
    monkeypatch.setattr(chunked_loss, "tokens_at_once", lambda *_: 5)
    monkeypatch.setattr(kernels, "loss_kernel", Listed())
    return grids


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # PyTorch's own, compiling
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_the_loss_without_logits_computes_with_it(compiled, programs):
    hidden = torch.randn(12, 8, device=DEVICE, requires_grad=True)
    weight = torch.randn(37, 8, device=DEVICE, requires_grad=True)
    targets = targets_for(12, 37)
    expected = F.cross_entropy(F.linear(hidden, weight), targets, ignore_index=IGNORED, reduction="none")
    expected_gradients = torch.autograd.grad(expected.sum(), [hidden, weight])

    torch.compiler.reset()
    wrap = partial(torch.compile, backend="aot_eager", fullgraph=True) if compiled else lambda f: f
    loss = wrap(chunked_linear_cross_entropy)(hidden, weight, targets)
    gradients = torch.autograd.grad(loss, [hidden, weight])
    losses = wrap(chunked_token_losses)(hidden, weight, targets)

    torch.testing.assert_close(loss, expected.sum())
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses, expected.detach())
    assert programs == [(5,), (5,), (2,)] * 2
