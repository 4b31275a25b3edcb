"""What is recorded when, and what happens where it fails. That a replay computes the same is tested in tests/gpu."""

from contextlib import contextmanager

import pytest
import torch

from bittygpt.core import SGD, AdamW, ModelConfig, Muon, TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.training import recording
from bittygpt.training.devices import Device
from bittygpt.training.distributed import Ranks
from bittygpt.training.recording import TRIALS, Recordings
from bittygpt.training.step import compute_gradients, forward_and_backward, update_weights

CPU = Device(torch.device("cpu"), "fp32")


class Passes:
    """Stands in for recorded passes: computes them, and notes that it was asked."""

    pool = None

    def __init__(self, model, device, _micro):
        self.model, self.device = model, device
        self.calls = 0

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


class Update(recording.RecordedUpdate):
    """Computes what is recorded."""

    def _record(self, pool):
        super()._record(pool)
        self.graph.update = self._update


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(recording, "RecordedPasses", Passes)
    monkeypatch.setattr(recording, "RecordedUpdate", Update)
    monkeypatch.setattr(recording, "recording", record_nothing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda data, **_: tensor(data))
    monkeypatch.setattr(AdamW, "can_be_recorded", lambda *_: True)
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


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_steps_with_numbers_from_a_tensor_equal_the_others(kind):
    model, optimizers = a_run(kind)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=2)
    take_steps(model, optimizers, recordings)
    assert recordings._passes.calls == 4 * 2  # the last micro-batch has one sequence, and no recording
    assert recordings._update.graph.calls == 3  # the first step makes the moments
    theirs, their_optimizers = a_run(kind)
    take_steps(theirs, their_optimizers)
    for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
    states = [[s.get("step") for o in os for s in o.state.values()] for os in (optimizers, their_optimizers)]
    assert states[0] == states[1]


@pytest.mark.usefixtures("stand_ins")
def test_an_optimizer_that_cannot_be_recorded_steps_as_ever():
    model, optimizers = a_run(SGD)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    take_steps(model, optimizers, recordings, micro_batch_size=5)
    assert recordings._passes.calls == 4
    assert recordings._update.graph is None


@pytest.mark.usefixtures("stand_ins")
def test_what_is_forgotten_is_recorded_anew():
    model, optimizers = a_run(AdamW)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    assert not recordings.forget()
    take_steps(model, optimizers, recordings, micro_batch_size=5)
    before = recordings._passes, recordings._update
    assert recordings.forget()
    take_steps(model, optimizers, recordings, micro_batch_size=5)
    assert recordings._passes is not before[0]
    assert recordings._update is not before[1]
    assert recordings._update.graph.calls == 3


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("what", ["RecordedPasses", "recording"])
def test_where_it_fails_all_is_computed_without_it(what, monkeypatch):
    trials = []

    def fail(*_):
        trials.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(recording, what, fail)
    model, optimizers = a_run(AdamW)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=2)
    with pytest.warns(UserWarning, match="steps are not recorded: operation not permitted"):
        take_steps(model, optimizers, recordings, count=8)
    assert len(trials) == TRIALS
    assert recordings.has_failed
    theirs, their_optimizers = a_run(AdamW)
    take_steps(theirs, their_optimizers, count=8)
    for p, q in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.usefixtures("stand_ins")
def test_a_lack_of_memory_ends_the_trials(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr(recording, "RecordedPasses", fail)
    model, optimizers = a_run(AdamW)
    recordings = Recordings(model, CPU, optimizers, micro_batch_size=5)
    with pytest.warns(UserWarning, match="not recorded: CUDA out of memory"):
        take_steps(model, optimizers, recordings, count=1, micro_batch_size=5)
    assert recordings.has_failed
