"""On a CUDA device: bf16, compiled and fused forms against the float32 formula on the CPU. `make test-gpu` runs it.

Needs pytest, torch and the rooms core, engine and training; no other package.
"""

import copy

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM, cross_entropy
from bittygpt.data.batches import Batch
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from bittygpt.engine.cuda_graphs import CudaGraphs
from bittygpt.engine.optimizers import FusedAdamW as AdamW
from bittygpt.engine.optimizers import FusedMuon as Muon
from bittygpt.training.devices.device import choose_device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.step import compute_gradients, micro_batch_loss, update_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # PyTorch's own, of itself, when it compiles
    pytest.mark.filterwarnings("ignore:.*does not have a deterministic|.*TensorFloat32"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]
CONFIG = ModelConfig(1000, 128, 256, 2, 4, num_kv_heads=2, qk_norm=True)


def train_step(model, optimizers, batch, micro_batch_size, device):
    settings = {"grad_clip": 1.0, "micro_batch_size": micro_batch_size, "device": device, "ranks": Ranks()}
    result = compute_gradients(model, batch, **settings)
    update_weights(optimizers, 3e-3)
    return result


def optimizers_of(model, kind, **settings):
    """One of that kind for the matrices of the layers, and AdamW for the rest."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("layers.")]
    chosen = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [kind(inner, lr=3e-3, **settings), AdamW(rest, lr=3e-3)]


def a_fast_copy(model):
    """Ready to be compiled, too."""
    fast = accelerate(copy.deepcopy(model))
    prepare_for_compile(fast)
    fast.zero_grad()
    return fast.cuda()


def graphs_of(model, device, optimizers, micro_batch_size=2):
    """As the executor has them."""

    def loss(ids, targets):
        return micro_batch_loss(model, Batch(ids, targets), device)

    return CudaGraphs(model, loss, optimizers, micro_batch_size)


def a_batch():
    return Batch(torch.randint(0, 1000, (4, 128)), torch.randint(0, 1000, (4, 128)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_loss_and_gradients_equal_the_cpus(precision, compiled):
    model, batch = TransformerLM(CONFIG), a_batch()
    expected = cross_entropy(model(batch.ids), batch.targets)
    expected.backward()
    fast = a_fast_copy(model)
    device = choose_device("cuda", precision)
    with device.autocast():
        logits = (torch.compile(fast) if compiled else fast)(batch.ids.cuda())
    loss = cross_entropy(logits, batch.targets.cuda())
    loss.backward()
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    for (name, p), q in zip(model.named_parameters(), fast.parameters(), strict=True):
        similarity = torch.nn.functional.cosine_similarity(p.grad.flatten(), q.grad.cpu().flatten(), dim=0)
        assert similarity > 1 - tolerance, name


@pytest.mark.parametrize("optimizer", [AdamW, Muon])
def test_a_batch_is_learned(optimizer):
    device = choose_device("cuda", "auto")
    model = a_fast_copy(TransformerLM(CONFIG))
    optimizers = optimizers_of(model, optimizer, weight_decay=0.0)
    batch = a_batch()
    losses = [train_step(model, optimizers, batch, 2, device).loss for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


def test_master_weights_and_moments_stay_float32():
    device = choose_device("cuda", "bf16")
    model = a_fast_copy(TransformerLM(CONFIG))
    optimizer = AdamW(model.parameters())
    train_step(model, [optimizer], a_batch(), 4, device)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {s[key].dtype for s in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")} == {
        torch.float32
    }


def steps_of(model, optimizers, batches, device, graphs=None, after=0):
    """Losses and norms of a step for each batch, of two micro-batches each."""
    settings = {"grad_clip": 1.0, "micro_batch_size": 2, "device": device, "ranks": Ranks()}
    passes, update = ({}, {})
    if graphs is not None:
        passes, update = {"captured": graphs.passes}, {"captured": graphs.update}
    results = []
    for number, batch in enumerate(batches, after):
        results.append(compute_gradients(model, batch, **settings, **passes))
        update_weights(optimizers, 3e-3 / (1 + number), **update)
    return results


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", [AdamW, Muon])
def test_captured_steps_equal_steps_that_are_not(optimizer, precision, compiled):
    device = choose_device("cuda", precision)
    start = a_fast_copy(TransformerLM(CONFIG))
    batches = [a_batch() for _ in range(6)]
    batches[3].targets[:] = -100  # in the middle, so that the number of targets changes
    batches[3].targets[0, :5] = 7

    def run(is_captured):
        torch.compiler.reset()
        model = copy.deepcopy(start)
        optimizers = optimizers_of(model, optimizer, weight_decay=0.1)
        trained = torch.compile(model) if compiled else model
        graphs = graphs_of(trained, device, optimizers) if is_captured else None
        results = steps_of(trained, optimizers, batches, device, graphs)
        if graphs is not None:
            assert not graphs.has_ended
            assert graphs.captured_update.graph is not None
        return model, optimizers, results

    (mine, my_optimizers, found), (theirs, their_optimizers, expected) = run(True), run(False)
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    for one, other in zip(found, expected, strict=True):
        assert (one.loss, one.grad_norm) == pytest.approx((other.loss, other.grad_norm), rel=tolerance)
    for p, q, before in zip(mine.parameters(), theirs.parameters(), start.parameters(), strict=True):
        # of the way gone, as Adam takes a step of full length even along a gradient that is nothing but rounding
        assert (p - q).norm() < 5 * tolerance * (q - before).norm()
    steps = [
        [state.get("step") for o in optimizers for state in o.state.values()]
        for optimizers in (my_optimizers, their_optimizers)
    ]
    assert steps[0] == steps[1]


def test_what_was_restored_is_captured_anew():
    device = choose_device("cuda", "bf16")
    model = a_fast_copy(TransformerLM(CONFIG))
    optimizers = [AdamW(model.parameters(), lr=3e-3)]
    graphs = graphs_of(model, device, optimizers)
    batches = [a_batch() for _ in range(4)]
    steps_of(model, optimizers, batches, device, graphs)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizers[0].state_dict())
    expected = steps_of(model, optimizers, batches, device, graphs)
    model.load_state_dict(weights)
    optimizers[0].load_state_dict(state)
    graphs.forget()
    found = steps_of(model, optimizers, batches, device, graphs)
    for one, other in zip(found, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-2)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("optimizer", [AdamW, Muon])
def test_a_resumed_run_is_the_run_that_was_not_stopped(optimizer, compiled):
    """Bit for bit, though its first step is computed where the other's was replayed."""
    torch.compiler.reset()
    device = choose_device("cuda", "bf16")
    batches = [a_batch() for _ in range(7)]

    def a_run(start):
        model = copy.deepcopy(start)
        optimizers = optimizers_of(model, optimizer)
        trained = torch.compile(model) if compiled else model
        return model, trained, optimizers, graphs_of(trained, device, optimizers)

    start = a_fast_copy(TransformerLM(CONFIG))
    model, trained, optimizers, graphs = a_run(start)
    whole = steps_of(trained, optimizers, batches, device, graphs)
    stopped, trained, its_optimizers, its_graphs = a_run(start)
    first = steps_of(trained, its_optimizers, batches[:4], device, its_graphs)
    resumed, trained, new_optimizers, new_graphs = a_run(stopped)
    for new, old in zip(new_optimizers, its_optimizers, strict=True):
        new.load_state_dict(copy.deepcopy(old.state_dict()))
    rest = steps_of(trained, new_optimizers, batches[4:], device, new_graphs, after=4)
    assert [(r.loss, r.grad_norm) for r in whole] == [(r.loss, r.grad_norm) for r in first + rest]
    for p, q in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
