"""Adam's kernel against torch.optim: parameters and state after some steps, over blocks that are not full."""

import pytest
import torch

from bittygpt.engine.optimizers import FusedAdam as Adam
from bittygpt.engine.optimizers import FusedAdamW as AdamW
from bittygpt.engine.optimizers import adam

pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 alone")
from bittygpt.engine.kernels import adam as kernels

# Where there is a GPU Triton is not interpreted, and the same tests run there.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(1,), (8, 2), (7, 11), (3, 5, 5)]


@pytest.fixture(autouse=True)
def updated(monkeypatch):
    """The kernel is chosen as on a GPU, blocks are small; the shapes that it has updated are listed."""
    shapes, update = [], kernels.adam_

    def adam_(table, weights, *rest):
        shapes.extend(tuple(weight.shape) for weight in weights)
        update(table, weights, *rest)

    monkeypatch.setattr(kernels, "adam_", adam_)
    monkeypatch.setattr(kernels, "BLOCK", 16)
    monkeypatch.setattr(adam, "work_on", lambda _: True)
    return shapes


def test_nothing_beyond_the_last_weight_is_written():
    memory = torch.ones(8, 64, device=DEVICE)
    tensors = [tuple(memory[first : first + 4, 4:41]) for first in (0, 4)]
    numbers = torch.tensor([1.0, 1.0, 0.03], device=DEVICE)
    kernels.adam_(kernels.Table(tensors), [tensors[0][0], tensors[1][0]], numbers, (0.9, 0.999), 1e-8, 0.0)
    assert (memory[:, :4] == 1).all()
    assert (memory[:, 41:] == 1).all()
    assert all((weight != 1).all() for weight, *_ in tensors)


def gradient(p, step):
    grad = torch.randn(p.shape, device=DEVICE) * 10.0 ** (step - 2)
    grad.view(-1)[0] = 0.0
    return grad.to(p.dtype)


def steps(ours, oracle, mine, theirs, count=4):
    for step in range(count):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = gradient(p, step)
            q.grad = p.grad.to(q.dtype)
        for optimizer in (ours, oracle):
            for group in optimizer.param_groups:
                group["lr"] *= 0.9  # another number at every step
            optimizer.step()


@pytest.mark.parametrize(("ours", "oracle"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.999), 1e-8), ((0.8, 0.95), 1e-3)])
def test_parameters_and_state_equal_torchs(ours, oracle, decay, betas, eps, updated):
    mine, theirs = ([], [])
    for shape in SHAPES:
        mine.append(torch.randn(shape, device=DEVICE, requires_grad=True))
        theirs.append(mine[-1].detach().clone().requires_grad_())
    settings = {"lr": 0.1, "weight_decay": decay, "betas": betas, "eps": eps}
    ours, oracle = ours(mine, **settings), oracle(theirs, **settings)
    steps(ours, oracle, mine, theirs)
    assert updated == SHAPES * 4
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)
        for key in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(ours.state[p][key], oracle.state[q][key], atol=1e-6, rtol=1e-5)


def test_weights_in_bfloat16_move_by_float32_means(updated):
    p = torch.randn(40, device=DEVICE).bfloat16().requires_grad_()
    q = p.detach().float().requires_grad_()
    ours, oracle = (kind([x], lr=1.0) for kind, x in ((AdamW, p), (torch.optim.AdamW, q)))
    steps(ours, oracle, [p], [q], count=1)
    assert updated == [(40,)]
    torch.testing.assert_close(
        p.float(), q, atol=0, rtol=2**-7
    )  # the interpreter cuts off where a GPU rounds
    torch.testing.assert_close(ours.state[p]["exp_avg"], oracle.state[q]["exp_avg"])


def test_a_graph_that_needs_the_weights_of_before_is_not_run():
    p = torch.ones(20, device=DEVICE, requires_grad=True)
    loss = p.square().sum()
    p.grad = torch.ones_like(p)
    AdamW([p]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class LikeDTensor(torch.Tensor):
    """A tensor of another kind."""


@pytest.mark.parametrize(
    "why",
    ["not aligned", "not contiguous", "gradient not contiguous", "float64", "a subclass", "no kernel"],
)
def test_what_the_kernel_does_not_suit_is_updated_on_lists(why, updated, monkeypatch):
    p = torch.randn(4, 6, device=DEVICE, requires_grad=True)
    if why == "not contiguous":
        p = torch.randn(6, 4, device=DEVICE).T.requires_grad_()
    elif why == "float64":
        p = p.detach().double().requires_grad_()
    elif why == "a subclass":
        p = p.detach().as_subclass(LikeDTensor).requires_grad_()
    elif why == "not aligned":
        p = torch.randn(25, device=DEVICE)[1:].view(4, 6).requires_grad_()
    elif why == "no kernel":
        monkeypatch.setattr(adam, "work_on", lambda _: False)
    before = p.detach().clone()
    p.grad = torch.ones(6, 4, device=DEVICE).T if why == "gradient not contiguous" else torch.ones_like(p)
    AdamW([p], lr=0.5, weight_decay=0.0).step()
    assert updated == []
    torch.testing.assert_close(p.detach(), before - 0.5)
