"""A training step recorded once and then replayed: a GPU is told of it in a few calls instead of hundreds.

To launch a kernel takes the CPU 5 to 50 µs, and the kernels of a small model are done sooner than that, so the GPU
waits. A CUDA graph holds the launches, with every address they read and write; to replay it is one call. So whatever
changes from step to step is written into tensors that stay where they are: tokens, the number of targets, and the
optimizers' numbers. Between gradients and update the host looks at loss and norm, as ever.

On one GPU alone: the exchange between ranks is not recorded.
"""

import warnings
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bittygpt.core.optimizer import Optimizer
from bittygpt.data.batches import Batch
from bittygpt.training.cuda_graph import Pool, recording
from bittygpt.training.devices import Device
from bittygpt.training.step import micro_batch_loss

RECORDED = 2  # the step that is; the one before is computed, those after are replayed


class RecordedPasses:
    """Forward and backward pass of a micro-batch of one size: once as the first of a step, once as one that follows.

    The first sets the gradients, the others add to them. The gradients are always the same tensors.
    """

    def __init__(self, model: nn.Module, device: Device, micro: Batch, pool: Pool) -> None:
        self.model, self.device, self.pool = model, device, pool
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.micro = Batch(micro.ids.to(device.torch_device), micro.targets.to(device.torch_device))
        self.num_valid = torch.ones((), device=device.torch_device)
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}  # by whether there are gradients already
        self.losses: dict[bool, Tensor] = {}
        self._record(adds=False)
        self.gradients = [cast(Tensor, p.grad) for p in self.parameters]
        # nothing has been computed: the first pass is not to add to what lies there
        for parameter in self.parameters:
            parameter.grad = None

    def fit(self, micro: Batch) -> bool:
        """Whether a micro-batch has the size of the recorded ones, and follows on them, if on any."""
        untouched = all(p.grad is None for p in self.parameters)
        return micro.ids.shape == self.micro.ids.shape and (untouched or self.are_in_place())

    def prepare(self) -> None:
        """Record what the next call will replay."""
        adds = self.parameters[0].grad is not None
        if adds not in self.graphs:
            self._record(adds)

    def __call__(self, micro: Batch, num_valid: int) -> Tensor:
        """As `forward_and_backward`. The loss that it returns is overwritten by the next pass."""
        adds = self.parameters[0].grad is not None
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

    def _record(self, adds: bool) -> None:
        graph = torch.cuda.CUDAGraph()
        with recording(graph, self.pool):
            loss = micro_batch_loss(self.model, self.micro, self.device) / self.num_valid
            loss.backward()
            self.losses[adds] = loss.detach()
        self.graphs[adds] = graph


class RecordedUpdate:
    """One update of all weights, by gradients that lie where they lay when it was recorded."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = optimizers
        self.parts = [(optimizer, ws, group) for optimizer in optimizers for ws, group in optimizer.parts()]
        # a row for each, of 16 bytes: a kernel is compiled anew for numbers that begin anywhere else
        self.numbers = torch.zeros(len(self.parts), 4, device=self.parts[0][1][0].device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.lasting: list[object] = []

    def can_be_recorded(self) -> bool:
        """Whether the optimizers say so; with moments where there were none, and a look at where the gradients lie."""
        return all(each.can_be_recorded(weights) for each, weights, _ in self.parts)

    def record(self, pool: Pool) -> None:
        """`pool`: memory that recorded passes have let go of."""
        graph = torch.cuda.CUDAGraph()
        with recording(graph, pool):
            self._update()
        self.graph = graph
        self.lasting = [optimizer.lasting() for optimizer in self.optimizers]

    def __call__(self) -> None:
        """The next step: replayed, or computed in just the same way."""
        rows = [optimizer.next_numbers(weights, group) for optimizer, weights, group in self.parts]
        numbers = torch.tensor([row + [0.0] * (4 - len(row)) for row in rows], pin_memory=True)
        self.numbers.copy_(numbers, non_blocking=True)
        if self.graph is None:
            self._update()
        else:
            self.graph.replay()

    @torch.no_grad()
    def _update(self) -> None:
        for (optimizer, weights, group), row in zip(self.parts, self.numbers, strict=True):
            optimizer.update(weights, group, row[: optimizer.num_numbers])


class Recordings:
    """The passes and the update of a run: computed in the first step, in which a device loads what it needs, recorded
    in the second, and replayed from then on.

    Where that fails, a warning says why, and all is computed as without it; as also where memory runs short.
    """

    def __init__(
        self,
        model: nn.Module,
        device: Device,
        optimizers: Sequence[torch.optim.Optimizer],
        micro_batch_size: int,
    ) -> None:
        self.model, self.device, self.micro_batch_size = model, device, micro_batch_size
        self.optimizers = [each for each in optimizers if isinstance(each, Optimizer)]
        self.has_ended = len(self.optimizers) < len(optimizers)
        self.recorded_passes: RecordedPasses | None = None
        self.recorded_update: RecordedUpdate | None = None
        self._is_warm = False  # a step has been computed
        self._pool: Pool = None

    def forget(self) -> bool:
        """Record anew, as weights, gradients or moments may lie elsewhere now. False: nothing was recorded."""
        had_any = self.recorded_passes is not None
        self.recorded_passes = self.recorded_update = self._pool = None
        self._is_warm = False
        if had_any:
            torch.cuda.empty_cache()
        return had_any

    def end(self) -> bool:
        """Record nothing any more. False: nothing was recorded."""
        self.has_ended = True
        return self.forget()

    def passes(self, micro: Batch, num_valid: int) -> Tensor | None:
        """As `forward_and_backward`; None: nothing was done, as this micro-batch is not recorded."""
        if self.has_ended or not self._is_warm or len(micro.ids) != self.micro_batch_size:
            return None
        if self.recorded_passes is None and any(p.grad is not None for p in self.model.parameters()):
            return None  # in the midst of a step
        try:
            if self.recorded_passes is None:
                self._pool = torch.cuda.graph_pool_handle()
                self.recorded_passes = RecordedPasses(self.model, self.device, micro, self._pool)
            if not self.recorded_passes.fit(micro):
                return None
            self.recorded_passes.prepare()
        except Exception as error:
            if self.recorded_passes is None:  # what stands there was recorded, not computed
                self.model.zero_grad(set_to_none=True)
            self._give_up(error)
            return None
        return self.recorded_passes(micro, num_valid)

    def update(self) -> bool:
        """Move the weights by the gradients; False: nothing was done."""
        if self.has_ended:
            return False
        self._is_warm = True
        if self.recorded_update is None:
            self.recorded_update = RecordedUpdate(self.optimizers)
        if self.recorded_update.graph is None and not self.recorded_update.can_be_recorded():
            return False
        passes = self.recorded_passes
        if passes is not None and not passes.are_in_place():
            return False
        if passes is not None and self.recorded_update.graph is None:
            try:
                self.recorded_update.record(self._pool)
            except Exception as error:
                self._give_up(error)
                return False
        self.recorded_update()
        return True

    def _give_up(self, error: BaseException) -> None:
        self.end()
        while error.__context__ is not None:  # that of the end of a recording hides why it failed
            error = error.__context__
        warnings.warn(f"steps are not recorded: {type(error).__name__}: {error}", stacklevel=2)
