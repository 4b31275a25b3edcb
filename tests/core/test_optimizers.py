"""SGD, Adam, AdamW and Muon against torch.optim: parameters and state after some steps, over a grid."""

import itertools

import pytest
import torch

from bittygpt.core import SGD, Adam, AdamW, Muon
from bittygpt.core.muon import orthogonalize


def run_both(ours, oracle, settings, oracle_settings, shapes=((4, 6), (6,)), steps=5):
    """The same quadratic, the same gradients (some zero, some large), the two optimizers side by side."""
    generator = torch.Generator().manual_seed(1)
    starts = [torch.randn(shape, generator=generator) for shape in shapes]
    mine, theirs = ([s.clone().requires_grad_() for s in starts] for _ in range(2))
    optimizers = ours(mine, **settings), oracle(theirs, **oracle_settings)
    for step in range(steps):
        for pair in zip(mine, theirs, strict=True):
            grad = torch.randn(pair[0].shape, generator=generator) * 10.0 ** (step - 2)
            grad.view(-1)[0] = 0.0
            for p in pair:
                p.grad = grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    return mine, theirs, *optimizers


def assert_same(mine, theirs, optimizer, oracle, keys, **tolerance):
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, **tolerance)
        for key in keys:
            torch.testing.assert_close(
                torch.as_tensor(optimizer.state[p][key], dtype=torch.float32),
                oracle.state[q][key],
                **tolerance,
            )


@pytest.mark.parametrize(("ours", "oracle"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
@pytest.mark.parametrize(
    ("lr", "decay", "betas", "eps"),
    list(itertools.product([1e-3, 0.1], [0.0, 0.1], [(0.9, 0.999), (0.8, 0.95)], [1e-8, 1e-3])),
)
def test_adam_and_adamw_equal_torch(ours, oracle, lr, decay, betas, eps):
    settings = {"lr": lr, "weight_decay": decay, "betas": betas, "eps": eps}
    results = run_both(ours, oracle, settings, settings)
    assert_same(*results, keys=["exp_avg", "exp_avg_sq", "step"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_equals_torch(momentum, decay):
    settings = {"lr": 0.01, "momentum": momentum, "weight_decay": decay}
    results = run_both(SGD, torch.optim.SGD, settings, settings)
    assert_same(*results, keys=["momentum_buffer"] if momentum else [])


@pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon, the oracle, came with torch 2.9"
)
@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_muon_equals_torch(shape, decay):
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": decay}
    oracle_settings = settings | {"adjust_lr_fn": "match_rms_adamw"}
    results = run_both(Muon, torch.optim.Muon, settings, oracle_settings, shapes=[shape])
    assert_same(*results, keys=["momentum_buffer"], atol=4e-3, rtol=0)  # torch's own products are bfloat16


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_muon_equals_its_formula_in_float32(shape):
    """Where torch's bfloat16 products hide small mistakes: the scale, and Nesterov's look ahead."""
    p = torch.randn(shape, requires_grad=True)
    expected, momentum = p.detach().clone(), torch.zeros(shape)
    optimizer = Muon([p], lr=0.02, momentum=0.9, weight_decay=0.1)
    for _ in range(4):
        p.grad = torch.randn(shape)
        momentum = 0.9 * momentum + 0.1 * p.grad
        ahead = 0.1 * p.grad + 0.9 * momentum
        expected = (1 - 0.02 * 0.1) * expected - 0.02 * 0.2 * max(shape) ** 0.5 * orthogonalize(ahead)
        optimizer.step()
    torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 8), (5, 30), (30, 5)])
def test_orthogonalize_brings_all_singular_values_near_one(shape, dtype):
    matrix = torch.randn(shape)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(matrix, dtype=dtype)
    assert result.dtype == torch.float32
    assert torch.equal(result, result.bfloat16().float()) is (dtype == torch.bfloat16)  # the products were
    assert torch.linalg.svdvals(result).min() > 0.6
    assert torch.linalg.svdvals(result).max() < 1.3
    assert torch.nn.functional.cosine_similarity(result.flatten(), (u @ vt).flatten(), dim=0) > 0.95


def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match="orthogonalises matrices"):
        Muon([torch.zeros(3, requires_grad=True)])


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW, Muon])
def test_parameters_without_a_gradient_stay(optimizer):
    p = torch.ones(2, 2, requires_grad=True)
    optimizer([p], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(p, torch.ones(2, 2))


@pytest.mark.parametrize(
    "build",
    [
        lambda p: SGD([p], lr=0.1),
        lambda p: Adam([p], lr=0.1),
        lambda p: AdamW([p], lr=0.1),
        lambda p: Muon([p], lr=0.3),
    ],
)
def test_a_quadratic_is_brought_down(build):
    target = torch.randn(4, 4)
    p = torch.zeros(4, 4, requires_grad=True)
    optimizer = build(p)

    def closure():
        optimizer.zero_grad()
        loss = (p - target).square().mean()
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    for _ in range(200):
        last = optimizer.step(closure).item()
    assert last < 0.1 * first
