"""What is captured when, and what happens where it fails. That a replay computes the same is tested in tests/gpu."""

from contextlib import contextmanager

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.engine import cuda_graphs
from bittygpt.engine.cuda_graphs import CapturedPasses, CapturedUpdate, CudaGraphs
from bittygpt.engine.optimizers import FusedAdamW as AdamW
from bittygpt.engine.optimizers import FusedMuon as Muon
from bittygpt.engine.optimizers import FusedSGD


class Passes:
    """Stands in for captured passes: computes them, and notes that it was asked."""

    def __init__(self, _model, loss, _micro, _pool):
        self.loss, self.calls = loss, 0

    def prepare(self):
        pass

    def fit(self, _ids):
        return True

    def __call__(self, ids, targets, num_valid):
        self.calls += 1
        return forward_and_backward(self.loss, ids, targets, num_valid)

    def are_in_place(self):
        return True


class Graph:
    """Stands in for a CUDA graph of an update."""

    def __init__(self):
        self.update, self.calls = None, 0

    def replay(self):
        self.calls += 1
        self.update()


@contextmanager
def capture_nothing(_graph, _pool):
    """Stands in for a capture, during which nothing is computed."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (AdamW, Muon):
            patch.setattr(kind, "update_list", lambda *_: None)
        yield


class Update(CapturedUpdate):
    """Computes what is captured."""

    def capture(self, pool):
        super().capture(pool)
        self.graph.update = self._update


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch):
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda data, pin_memory=None, **k: tensor(data, **k))  # noqa: ARG005
    monkeypatch.setattr(cuda_graphs, "CapturedPasses", Passes)
    monkeypatch.setattr(cuda_graphs, "CapturedUpdate", Update)
    monkeypatch.setattr(cuda_graphs, "capture", capture_nothing)
    monkeypatch.setattr(AdamW, "can_be_captured", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def a_run(kind):
    torch.manual_seed(0)
    model = TransformerLM(ModelConfig(11, 8, 16, 1, 2))
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("layers.")]
    chosen = set(map(id, inner))
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return model, [kind(inner, lr=0.1), AdamW(rest, lr=0.1)]


def loss_of(model):
    return lambda ids, targets: model(ids, targets_BT=targets)


def forward_and_backward(loss, ids, targets, num_valid):
    mean = loss(ids, targets) / num_valid
    mean.backward()
    return mean.detach()


def take_steps(model, optimizers, graphs=None, count=4, micro_batch_size=2):
    ids, targets = torch.randint(0, 11, (2, 5, 8), generator=torch.Generator().manual_seed(1))
    for number in range(count):
        model.zero_grad()
        for micro in zip(ids.split(micro_batch_size), targets.split(micro_batch_size), strict=True):
            if graphs is None or graphs.passes(*micro, targets.numel()) is None:
                forward_and_backward(loss_of(model), *micro, targets.numel())
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + number)
        if graphs is None or not graphs.update():
            for optimizer in optimizers:
                optimizer.step()


def assert_steps_were(model, optimizers, kind, **steps):
    """The run's weights and counts are those of one that captures nothing."""
    theirs, their_optimizers = a_run(kind)
    take_steps(theirs, their_optimizers, **steps)
    for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
    states = [[s.get("step") for o in os for s in o.state.values()] for os in (optimizers, their_optimizers)]
    assert states[0] == states[1]


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_the_second_step_is_captured_and_all_are_what_they_were(kind):
    model, optimizers = a_run(kind)
    graphs = CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=2)
    take_steps(model, optimizers, graphs)
    assert graphs.captured_passes.calls == 3 * 2  # the last micro-batch has one sequence, and no graph
    assert graphs.captured_update.graph.calls == 3
    assert_steps_were(model, optimizers, kind)


def test_an_optimizer_that_cannot_be_captured_steps_as_ever():
    model, optimizers = a_run(FusedSGD)
    graphs = CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=5)
    take_steps(model, optimizers, graphs, micro_batch_size=5)
    assert graphs.captured_passes.calls == 3
    assert graphs.captured_update.graph is None
    assert_steps_were(model, optimizers, FusedSGD, micro_batch_size=5)


def test_nothing_is_captured_beside_an_optimizer_of_another_kind():
    model, optimizers = a_run(AdamW)
    optimizers[1] = torch.optim.AdamW(optimizers[1].param_groups[0]["params"])
    assert CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=5).has_ended


def test_what_is_forgotten_is_captured_anew():
    model, optimizers = a_run(AdamW)
    graphs = CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=5)
    assert not graphs.forget()
    take_steps(model, optimizers, graphs, micro_batch_size=5)
    before = graphs.captured_passes, graphs.captured_update
    assert graphs.forget()
    take_steps(model, optimizers, graphs, micro_batch_size=5)
    assert graphs.captured_passes is not before[0]
    assert graphs.captured_update is not before[1]
    assert graphs.captured_update.graph.calls == 3


def test_what_has_ended_is_computed():
    model, optimizers = a_run(Muon)
    graphs = CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=5)
    take_steps(model, optimizers, graphs, micro_batch_size=5, count=2)
    assert graphs.end()
    assert not graphs.end()
    assert graphs.passes(*torch.zeros(2, 5, 8, dtype=torch.int64), 1) is None
    assert not graphs.update()


@pytest.mark.parametrize("what", ["CapturedPasses", "capture", "prepare"])
def test_where_it_fails_all_is_computed_without_it(what, monkeypatch):
    trials = []

    def fail(*_):
        trials.append(1)
        try:
            raise RuntimeError("operation not permitted when stream is capturing")
        finally:
            raise RuntimeError("previous error during capture")

    if what == "prepare":
        monkeypatch.setattr(Passes, "prepare", fail)
    else:
        monkeypatch.setattr(cuda_graphs, what, fail)
    model, optimizers = a_run(AdamW)
    graphs = CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=2)
    with pytest.warns(
        UserWarning, match="are not captured in a CUDA graph: RuntimeError: operation not permitted"
    ):
        take_steps(model, optimizers, graphs)
    assert len(trials) == 1
    assert graphs.has_ended
    assert_steps_were(model, optimizers, AdamW)


def test_an_update_that_fails_is_not_made_twice(monkeypatch):
    """Once it was: its error was taken for one of the capture, and the optimizers stepped besides."""

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    model, optimizers = a_run(AdamW)
    monkeypatch.setattr(AdamW, "update_list", fail)
    graphs = CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=5)
    with pytest.raises(torch.OutOfMemoryError):
        take_steps(model, optimizers, graphs, micro_batch_size=5)
    assert {state["step"] for state in optimizers[0].state.values()} == {1}


def test_the_first_pass_of_a_step_sets_the_gradients_also_right_after_it_was_captured(monkeypatch):
    """What a capture leaves as gradients has never been computed: nothing may be added to it."""
    monkeypatch.setattr(Graph, "replay", lambda _: None)
    model, _ = a_run(AdamW)
    micro = tuple(torch.randint(0, 11, (2, 2, 8)))
    passes = CapturedPasses(model, loss_of(model), micro, None)
    for _ in range(2):
        assert passes.fit(micro[0])
        passes.prepare()
        passes(*micro, 3)
        assert set(passes.graphs) == {False}
        for p in model.parameters():
            p.grad = None
    passes(*micro, 3)
    passes.prepare()
    assert set(passes.graphs) == {False, True}
    assert not passes.fit(micro[0][:1])


def test_an_optimizer_whose_formula_was_changed_is_not_captured(monkeypatch):
    model, optimizers = a_run(Muon)
    monkeypatch.setattr(Muon.proof, "is_as_proved", False)
    assert CudaGraphs(model, loss_of(model), optimizers, micro_batch_size=5).has_ended
