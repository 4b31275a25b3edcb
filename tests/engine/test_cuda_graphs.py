"""What is recorded when, and what happens where it fails. That a replay computes the same is tested in tests/gpu."""

from contextlib import contextmanager

import pytest
import torch

from bittygpt.core import SGD, AdamW, ModelConfig, Muon, TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.training import recording
from bittygpt.training.devices import Device
from bittygpt.training.distributed import Ranks
from bittygpt.training.recording import RecordedPasses, RecordedUpdate, Recordings
from bittygpt.training.step import compute_gradients, forward_and_backward, update_weights

CPU = Device(torch.device("cpu"), "fp32")


class Passes:
    """Stands in for recorded passes: computes them, and notes that it was asked."""

    def __init__(self, model, device, _micro, _pool):
        self.model, self.device = model, device
        self.calls = 0

    def prepare(self):
        pass

    def fit(self, _micro):
        return True

    def __call__(self, micro, num_valid):
        self.calls += 1
        return forward_and_backward(self.model, micro, num_valid, self.device, Ranks())

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
def record_nothing(_graph, _pool):
    """Stands in for a recording, during which nothing is computed."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (AdamW, Muon):
            patch.setattr(kind, "update", lambda *_: None)
        yield


class Update(RecordedUpdate):
    """Computes what is recorded."""

    def record(self, pool):
        super().record(pool)
        self.graph.update = self._update


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch):
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda data, pin_memory=None, **k: tensor(data, **k))  # noqa: ARG005
    monkeypatch.setattr(recording, "RecordedPasses", Passes)
    monkeypatch.setattr(recording, "RecordedUpdate", Update)
    monkeypatch.setattr(recording, "recording", record_nothing)
    monkeypatch.setattr(AdamW, "can_be_recorded", lambda *_: True)
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


def take_steps(model, optimizers, recordings=None, count=4, micro_batch_size=2):
    batch = Batch(*torch.randint(0, 11, (2, 5, 8), generator=torch.Generator().manual_seed(1)))
    settings = {"grad_clip": 1.0, "micro_batch_size": micro_batch_size, "device": CPU, "ranks": Ranks()}
    passes, update = ({}, {})
    if recordings is not None:
        passes, update = {"recorded": recordings.passes}, {"recorded": recordings.update}
    for number in range(count):
        compute_gradients(model, batch, **settings, **passes)
        update_weights(optimizers, 0.1 / (1 + number), **update)


def assert_steps_were(model, optimizers, kind, **steps):
    """The run's weights and counts are those of one that records nothing."""
    theirs, their_optimizers = a_run(kind)
    take_steps(theirs, their_optimizers, **steps)
    for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
    states = [[s.get("step") for o in os for s in o.state.values()] for os in (optimizers, their_optimizers)]
    assert states[0] == states[1]


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_the_second_step_is_recorded_and_all_are_what_they_were(kind):
    model, optimizers = a_run(kind)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=2)
    take_steps(model, optimizers, recordings)
    assert (
        recordings.recorded_passes.calls == 3 * 2
    )  # the last micro-batch has one sequence, and no recording
    assert recordings.recorded_update.graph.calls == 3
    assert_steps_were(model, optimizers, kind)


def test_an_optimizer_that_cannot_be_recorded_steps_as_ever():
    model, optimizers = a_run(SGD)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    take_steps(model, optimizers, recordings, micro_batch_size=5)
    assert recordings.recorded_passes.calls == 3
    assert recordings.recorded_update.graph is None
    assert_steps_were(model, optimizers, SGD, micro_batch_size=5)


def test_nothing_is_recorded_beside_an_optimizer_of_another_kind():
    model, optimizers = a_run(AdamW)
    optimizers[1] = torch.optim.AdamW(optimizers[1].param_groups[0]["params"])
    assert Recordings(model, CPU, optimizers, micro_batch_size=5).has_ended


def test_what_is_forgotten_is_recorded_anew():
    model, optimizers = a_run(AdamW)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    assert not recordings.forget()
    take_steps(model, optimizers, recordings, micro_batch_size=5)
    before = recordings.recorded_passes, recordings.recorded_update
    assert recordings.forget()
    take_steps(model, optimizers, recordings, micro_batch_size=5)
    assert recordings.recorded_passes is not before[0]
    assert recordings.recorded_update is not before[1]
    assert recordings.recorded_update.graph.calls == 3


def test_what_has_ended_is_computed():
    model, optimizers = a_run(Muon)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    take_steps(model, optimizers, recordings, micro_batch_size=5, count=2)
    assert recordings.end()
    assert not recordings.end()
    assert recordings.passes(None, 1) is None
    assert not recordings.update()


@pytest.mark.parametrize("what", ["RecordedPasses", "recording", "prepare"])
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
        monkeypatch.setattr(recording, what, fail)
    model, optimizers = a_run(AdamW)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=2)
    with pytest.warns(UserWarning, match="steps are not recorded: RuntimeError: operation not permitted"):
        take_steps(model, optimizers, recordings)
    assert len(trials) == 1
    assert recordings.has_ended
    assert_steps_were(model, optimizers, AdamW)


def test_an_update_that_fails_is_not_made_twice(monkeypatch):
    """Once it was: its error was taken for one of the recording, and the optimizers stepped besides."""

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    model, optimizers = a_run(AdamW)
    monkeypatch.setattr(AdamW, "update", fail)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    with pytest.raises(torch.OutOfMemoryError):
        take_steps(model, optimizers, recordings, micro_batch_size=5)
    assert {state["step"] for state in optimizers[0].state.values()} == {1}


def test_the_first_pass_of_a_step_sets_the_gradients_also_right_after_it_was_recorded(monkeypatch):
    """What a recording leaves as gradients has never been computed: nothing may be added to it."""
    monkeypatch.setattr(Graph, "replay", lambda _: None)
    model, _ = a_run(AdamW)
    micro = Batch(*torch.randint(0, 11, (2, 2, 8)))
    passes = RecordedPasses(model, CPU, micro, None)
    for _ in range(2):
        assert passes.fit(micro)
        passes.prepare()
        passes(micro, 3)
        assert set(passes.graphs) == {False}
        for p in model.parameters():
            p.grad = None
    passes(micro, 3)
    passes.prepare()
    assert set(passes.graphs) == {False, True}
