"""A training step recorded once and then replayed: a GPU is told of it in a few calls instead of hundreds.

To launch a kernel takes the CPU 5 to 50 µs, and the kernels of a small model are done sooner than that, so the GPU
waits. A CUDA graph holds the launches, with every address they read and write; to replay it is one call. So whatever
changes from step to step is written into tensors that stay where they are: tokens, the number of targets, and the
optimizers' numbers. Between gradients and update the host looks at loss and norm, as ever.

On one GPU alone: the exchange between ranks is not recorded.
"""

import gc
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from bittygpt.core.optimizer import Optimizer
from bittygpt.data.batches import Batch
from bittygpt.training.devices import Device
from bittygpt.training.memory import is_out_of_memory
from bittygpt.training.prefetch import PINNING
from bittygpt.training.step import micro_batch_loss

TRIALS = 3
Pool = Any  # PyTorch's handle of a pool of memory


class RecordedPasses:
    """Forward and backward pass of a micro-batch of one size: once as the first of a step, once as one that follows.

    The first sets the gradients, the others add to them. The gradients are always the same tensors.
    """

    def __init__(self, model: nn.Module, device: Device, micro: Batch) -> None:
        self.model, self.device = model, device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.micro = Batch(micro.ids.to(device.torch_device), micro.targets.to(device.torch_device))
        self.num_valid = torch.ones((), device=device.torch_device)
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}  # by whether there are gradients already
        self.losses: dict[bool, Tensor] = {}
        self._warm_up()
        self._record(adds=False)
        self.gradients = [cast(Tensor, p.grad) for p in self.parameters]

    @property
    def pool(self) -> Pool:
        """The memory of what is recorded. Another recording may use it, too, where nothing is held any more."""
        return self.graphs[False].pool()

    def __call__(self, micro: Batch, num_valid: int) -> Tensor:
        """As `forward_and_backward`. The loss that it returns is overwritten by the next pass."""
        adds = self.parameters[0].grad is not None
        if adds not in self.graphs:
            self._record(adds)
        self.micro.ids.copy_(micro.ids, non_blocking=True)
        self.micro.targets.copy_(micro.targets, non_blocking=True)
        self.num_valid.fill_(num_valid)
        self.graphs[adds].replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.losses[adds]

    def are_in_place(self) -> bool:
        """Whether the parameters' gradients are the recorded ones."""
        return all(p.grad is g for p, g in zip(self.parameters, self.gradients, strict=True))

    def _passes(self) -> Tensor:
        loss = micro_batch_loss(self.model, self.micro, self.device) / self.num_valid
        loss.backward()
        return loss.detach()

    def _warm_up(self) -> None:
        """Once before: what compiles, or makes something that is kept, must not be recorded."""
        here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            self._passes()
        here.wait_stream(beside)
        for parameter in self.parameters:
            parameter.grad = None

    def _record(self, adds: bool) -> None:
        graph = torch.cuda.CUDAGraph()
        with recording(graph, self.pool if self.graphs else None):
            self.losses[adds] = self._passes()
        self.graphs[adds] = graph


class RecordedUpdate:
    """One update of all weights, by gradients that always lie where they lie now.

    The first one is computed: the optimizers then make their moments, and the device loads the kernels. The second one
    is recorded, and replayed from then on.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = optimizers
        self.parts = [(optimizer, ws, group) for optimizer in optimizers for ws, group in optimizer.parts()]
        # a row for each, of 16 bytes: a kernel is compiled anew for numbers that begin anywhere else
        self.numbers = torch.zeros(len(self.parts), 4, device=self.parts[0][1][0].device)
        self.can_be_recorded = all(each.can_be_recorded(weights) for each, weights, _ in self.parts)
        self.is_warm = False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.lasting: list[object] = []

    def __call__(self, pool: Pool) -> None:
        """The next step. `pool`: memory that recorded passes have let go of."""
        if self.is_warm and self.graph is None:
            self._record(pool)
        rows = [optimizer.next_numbers(weights, group) for optimizer, weights, group in self.parts]
        numbers = torch.tensor([row + [0.0] * (4 - len(row)) for row in rows], pin_memory=True)
        self.numbers.copy_(numbers, non_blocking=True)
        if self.graph is None:
            self._update()
            self.is_warm = True
        else:
            self.graph.replay()

    def _record(self, pool: Pool) -> None:
        graph = torch.cuda.CUDAGraph()
        with recording(graph, pool):
            self._update()
        self.graph = graph
        self.lasting = [optimizer.lasting() for optimizer in self.optimizers]

    @torch.no_grad()
    def _update(self) -> None:
        for (optimizer, weights, group), row in zip(self.parts, self.numbers, strict=True):
            optimizer.update(weights, group, row[: optimizer.num_numbers])


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, pool: Pool | None) -> Iterator[None]:
    """Within it, what this thread would launch is recorded instead. Nobody else may take or give back memory then."""
    collects = gc.isenabled()
    with PINNING:
        gc.disable()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                yield
        finally:
            if collects:
                gc.enable()


class Recordings:
    """The passes and the update of a run, each recorded when it comes for the first or second time.

    Where that fails again and again, a warning says why, and everything is computed as without it.
    """

    def __init__(
        self,
        model: nn.Module,
        device: Device,
        optimizers: Sequence[torch.optim.Optimizer],
        micro_batch_size: int,
    ) -> None:
        self.model, self.device, self.micro_batch_size = model, device, micro_batch_size
        self.optimizers = optimizers
        self.failures = 0
        self._passes: RecordedPasses | None = None
        self._update: RecordedUpdate | None = None

    def forget(self) -> bool:
        """Record anew, as weights, gradients or moments may lie elsewhere now. False: nothing was recorded."""
        had_any = self._passes is not None
        self._passes = self._update = None
        if had_any:
            torch.cuda.empty_cache()
        return had_any

    @property
    def has_failed(self) -> bool:
        """Whether it is given up."""
        return self.failures >= TRIALS

    def passes(self, micro: Batch, num_valid: int) -> Tensor | None:
        """As `forward_and_backward`; None: nothing was done, as a micro-batch of this size is not recorded."""
        if self.has_failed or len(micro.ids) != self.micro_batch_size:
            return None
        if self._passes is None and any(p.grad is not None for p in self.model.parameters()):
            return None  # in the midst of a step: to record drops the gradients so far
        try:
            if self._passes is None:
                self._passes = RecordedPasses(self.model, self.device, micro)
            return self._passes(micro, num_valid)
        except RuntimeError as error:
            self._give_up(error)
            return None

    def update(self) -> bool:
        """Move the weights by the gradients; False: nothing was done."""
        if self.has_failed or self._passes is None or not self._passes.are_in_place():
            return False
        if self._update is None:
            self._update = RecordedUpdate([each for each in self.optimizers if isinstance(each, Optimizer)])
        if not self._update.can_be_recorded:
            return False
        try:
            self._update(self._passes.pool)
        except RuntimeError as error:
            self._give_up(error)
            return False
        return True

    def _give_up(self, error: RuntimeError) -> None:
        if self._passes is None:  # what stands there was recorded, not computed
            self.model.zero_grad(set_to_none=True)
        self.forget()
        self.failures = TRIALS if is_out_of_memory(error) else self.failures + 1
        if self.has_failed:
            warnings.warn(f"steps are not recorded: {error}", stacklevel=2)
