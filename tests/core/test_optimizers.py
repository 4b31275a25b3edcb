"""SGD, Adam, AdamW and Muon against torch.optim: parameters and state after some steps, over a grid."""

import copy
import io
import itertools
import math

import pytest
import torch

from bittygpt.core import SGD, Adam, AdamW, Muon
from bittygpt.core.muon import orthogonalize
from bittygpt.engine.optimizers import fused


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


BAD = [{"lr": -1.0}, {"lr": math.nan}, {"lr": math.inf}, {"weight_decay": -0.1}, {"weight_decay": math.nan}]
BAD_ADAM = [{"eps": -1e-8}, {"betas": (-0.1, 0.9)}, {"betas": (0.9, 1.0)}, {"betas": (math.nan, 0.9)}]
BAD_MOMENTUM = [{"momentum": -0.1}, {"momentum": 1.0}, {"momentum": math.nan}]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(kind, wrong) for kind in (SGD, Adam, AdamW, Muon) for wrong in BAD]
    + [(kind, wrong) for kind in (Adam, AdamW) for wrong in BAD_ADAM]
    + [(kind, wrong) for kind in (SGD, Muon) for wrong in BAD_MOMENTUM],
)
@pytest.mark.parametrize("form", [lambda kind: kind, fused])
def test_settings_out_of_range_are_refused(kind, wrong, form):
    p = torch.zeros(2, 2, requires_grad=True)
    with pytest.raises(ValueError, match="must be 0 or more"):
        form(kind)([p], **wrong)
    optimizer = form(kind)([p])
    with pytest.raises(ValueError, match="must be 0 or more"):
        optimizer.add_param_group({"params": [torch.zeros(2, 2, requires_grad=True)], **wrong})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("form", [lambda kind: kind, fused])
def test_muon_refuses_a_vector_that_is_added_later(form):
    optimizer = form(Muon)([torch.zeros(2, 2, requires_grad=True)])
    vector = torch.zeros(3, requires_grad=True)
    for params in (vector, [vector], iter([torch.zeros(2, 2), vector])):
        with pytest.raises(ValueError, match="orthogonalises matrices"):
            optimizer.add_param_group({"params": params})
    optimizer.add_param_group({"params": iter([torch.zeros(3, 3, requires_grad=True)])})
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]


KINDS = {
    "sgd": (SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "sgd with momentum": (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    "adam": (Adam, {"lr": 0.1, "weight_decay": 0.1}),
    "adamw": (AdamW, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    "muon": (Muon, {"lr": 0.1, "momentum": 0.8}),
}


def weights_of(*dtypes, shapes=((4, 6), (6, 4), (3, 3), (3, 3))):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(shape, generator=generator).to(dtype).requires_grad_()
        for shape, dtype in zip(shapes, itertools.cycle(dtypes), strict=False)
    ]


def take_steps(weights, optimizer, count=4, first=0):
    for step in range(first, first + count):
        generator = torch.Generator().manual_seed(step)
        for number, p in enumerate(weights):
            g = 10.0 ** (step - 2) * torch.randn(p.shape, generator=generator)
            p.grad = None if (step, number) == (1, 2) else g.to(p.dtype)  # one of them misses a step
        optimizer.step()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", [lambda kind: kind, fused])
def test_state_is_precise_and_goes_round(name, dtype, form):
    kind, settings = KINDS[name]
    precise = torch.promote_types(dtype, torch.float32)
    weights = weights_of(dtype)
    optimizer = form(kind)(weights, **settings)
    take_steps(weights, optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    copies = [p.detach().clone().requires_grad_() for p in weights]
    other = form(kind)(copies, lr=7.0)
    other.load_state_dict(torch.load(file))
    for p, q in zip(weights, copies, strict=True):
        tensors = {key: x for key, x in other.state[q].items() if isinstance(x, torch.Tensor)}
        assert tensors or name == "sgd"
        for key, value in tensors.items():
            assert value.dtype == precise
            assert torch.equal(value, optimizer.state[p][key])
            assert value.data_ptr() != optimizer.state[p][key].data_ptr()
    take_steps(weights, optimizer, first=4)
    take_steps(copies, other, first=4)
    for p, q in zip(weights, copies, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.usefixtures("with_and_without_c")
@pytest.mark.parametrize(
    "dtypes",
    [[torch.float32], [torch.bfloat16], [torch.float64], [torch.float32, torch.bfloat16, torch.float64]],
)
def test_the_fused_ones_take_the_same_steps(name, dtypes):
    kind, settings = KINDS[name]
    runs = []
    for form in (fused(kind), kind):
        weights = weights_of(*dtypes)
        optimizer = form(weights[:2], **settings)
        take_steps(weights[:2], optimizer, 2)
        optimizer.add_param_group({"params": weights[2:], "lr": 0.05, "weight_decay": 0.0})
        take_steps(weights, optimizer, 3, first=2)
        again = form([{"params": weights[:2]}, {"params": weights[2:]}])
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        take_steps(weights, again, 3, first=5)
        runs.append((weights, again))
    (mine, fast), (theirs, formula) = runs
    for p, q in zip(mine, theirs, strict=True):
        rounding = 2**-6 if p.dtype == torch.bfloat16 else 2e-5
        torch.testing.assert_close(p, q, rtol=rounding, atol=rounding)
        assert fast.state[p].keys() == formula.state[q].keys()
        for key, value in formula.state[q].items():
            found = torch.as_tensor(fast.state[p][key])
            assert found.dtype == torch.as_tensor(value).dtype
            assert (found - value).double().norm() <= 1e-2 * torch.as_tensor(value).double().norm()


@pytest.mark.parametrize("name", KINDS)
def test_a_formula_that_is_replaced_moves_the_weights(name, monkeypatch):
    kind, settings = KINDS[name]
    weights = weights_of(torch.float32)
    optimizer = fused(kind)(weights, **settings)
    owner = next(c for c in kind.__mro__ if "update" in vars(c))
    monkeypatch.setattr(owner, "update", lambda _, w, *__: w.fill_(5.0))
    take_steps(weights, optimizer, 1)
    assert all(p.eq(5).all() for p in weights)


def test_a_step_is_noticed_by_a_graph_that_needs_the_old_weights():
    for form in (AdamW, fused(AdamW)):
        p = torch.ones(3, requires_grad=True)
        loss = p.square().sum()
        p.grad = torch.ones(3)
        form([p]).step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_closure_is_called_once_and_its_loss_is_given_back():
    for form in (AdamW, fused(AdamW)):
        p, calls = torch.ones(3, requires_grad=True), []
        optimizer = form([p])

        def closure(p=p, calls=calls):
            calls.append(torch.is_grad_enabled())
            loss = p.sum()
            loss.backward()
            return loss

        assert optimizer.step(closure).item() == 3
        assert calls == [True]


def test_a_copy_of_an_optimizer_moves_its_own_weights():
    for form in (AdamW, fused(AdamW)):
        weights = weights_of(torch.float32)
        optimizer = form(weights)
        take_steps(weights, optimizer, 1)
        both = copy.deepcopy((weights, optimizer))
        before = [p.detach().clone() for p in weights]
        take_steps(*both, 1, first=1)
        assert all(torch.equal(p, q) for p, q in zip(weights, before, strict=True))
        assert not torch.equal(both[0][0], before[0])


@pytest.mark.parametrize("name", [name for name in KINDS if name != "muon"])  # whose scale there is another
def test_a_state_of_torchs_own_is_taken_up(name):
    """As where a run of another program is gone on with: its count is a tensor, and its moments are the weight's."""
    kind, settings = KINDS[name]
    for form in (kind, fused(kind)):
        mine, theirs = weights_of(torch.float32), weights_of(torch.float32)
        oracle = getattr(torch.optim, kind.__name__)(theirs, **settings)
        take_steps(theirs, oracle)
        with torch.no_grad():
            for p, q in zip(mine, theirs, strict=True):
                p.copy_(q)
        optimizer = form(mine, **settings)
        optimizer.load_state_dict(oracle.state_dict())
        take_steps(mine, optimizer, first=4)
        take_steps(theirs, oracle, first=4)
        for p, q in zip(mine, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)
