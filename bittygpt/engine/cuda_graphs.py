"""A training step captured in CUDA graphs once and then replayed, so that a few calls launch hundreds of kernels.

To launch a kernel takes the CPU 5 to 50 µs, and the kernels of a small model are done sooner than that, so the GPU
waits. A CUDA graph holds the launches, with every address they read and write; to replay it is one call. So whatever
changes from step to step is written into tensors that stay where they are: tokens, the number of targets, and the
optimizers' numbers. Between gradients and update the host looks at loss and norm, as ever.

On one GPU alone: the exchange between ranks is not captured.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bittygpt.engine.capture import Pool, capture
from bittygpt.engine.optimizers import FusedOptimizer

CAPTURED = 2  # the step that is; the one before is computed, those after are replayed
Loss = Callable[[Tensor, Tensor], Tensor]  # of ids and targets (B, T), the summed loss


class CapturedPasses:
    """The captured passes of a micro-batch: one graph for the first of a step, one for those after it.

    The first sets the gradients, the others add to them. The gradients are always the same tensors.
    """

    def __init__(self, model: nn.Module, loss: Loss, micro: tuple[Tensor, Tensor], pool: Pool) -> None:
        self.loss, self.pool = loss, pool
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        device = self.parameters[0].device
        self.ids, self.targets = (x.to(device) for x in micro)
        self.num_valid = torch.ones((), device=device)
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}  # by whether there are gradients already
        self.losses: dict[bool, Tensor] = {}
        self._capture(adds=False)
        self.gradients = [cast(Tensor, p.grad) for p in self.parameters]
        # nothing has been computed: the first pass is not to add to what lies there
        for parameter in self.parameters:
            parameter.grad = None

    def fit(self, ids: Tensor) -> bool:
        """Whether a micro-batch has the size of the captured ones, and follows on them, if on any."""
        untouched = all(p.grad is None for p in self.parameters)
        return ids.shape == self.ids.shape and (untouched or self.are_in_place())

    def prepare(self) -> None:
        """Capture what the next call will replay."""
        adds = self.parameters[0].grad is not None
        if adds not in self.graphs:
            self._capture(adds)

    def __call__(self, ids: Tensor, targets: Tensor, num_valid: int) -> Tensor:
        """Mean loss and gradients of a micro-batch. The loss that it returns is overwritten by the next pass."""
        adds = self.parameters[0].grad is not None
        self.ids.copy_(ids, non_blocking=True)
        self.targets.copy_(targets, non_blocking=True)
        self.num_valid.fill_(num_valid)
        self.graphs[adds].replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.losses[adds]

    def are_in_place(self) -> bool:
        """Whether the parameters' gradients are the captured ones."""
        return all(p.grad is g for p, g in zip(self.parameters, self.gradients, strict=True))

    def _capture(self, adds: bool) -> None:
        graph = torch.cuda.CUDAGraph()
        with capture(graph, self.pool):
            loss = self.loss(self.ids, self.targets) / self.num_valid
            loss.backward()
            self.losses[adds] = loss.detach()
        self.graphs[adds] = graph


class CapturedUpdate:
    """The captured update of all weights."""

    def __init__(self, optimizers: Sequence[FusedOptimizer]) -> None:
        self.optimizers = optimizers
        self.parts = [(optimizer, ws, group) for optimizer in optimizers for ws, group in optimizer.parts()]
        # a row for each, of 16 bytes: a kernel is compiled anew for numbers that begin anywhere else
        self.numbers = torch.zeros(len(self.parts), 4, device=self.parts[0][1][0].device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.tensors_kept: list[object] = []

    def can_be_captured(self) -> bool:
        """Whether the optimizers say so; with moments where there were none, and a look at where the gradients lie."""
        return all(each.can_be_captured(weights) for each, weights, _ in self.parts)

    def capture(self, pool: Pool) -> None:
        """`pool`: memory that captured passes have let go of."""
        graph = torch.cuda.CUDAGraph()
        with capture(graph, pool):
            self._update()
        self.graph = graph
        self.tensors_kept = [optimizer.tensors_kept() for optimizer in self.optimizers]

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
            optimizer.update_list(weights, group, row[: optimizer.num_numbers])


class CudaGraphs:
    """The passes and the update of a run: computed in the first step, in which a device loads what it needs, captured
    in the second, and replayed from then on.

    Where that fails, a warning says why, and all is computed as without it; as also where memory runs short.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, optimizers: Sequence[torch.optim.Optimizer], micro_batch_size: int
    ) -> None:
        self.model, self.loss, self.micro_batch_size = model, loss, micro_batch_size
        self.optimizers = [each for each in optimizers if isinstance(each, FusedOptimizer) and each.holds()]
        self.has_ended = len(self.optimizers) < len(optimizers)
        self.captured_passes: CapturedPasses | None = None
        self.captured_update: CapturedUpdate | None = None
        self._is_warm = False  # a step has been computed
        self._pool: Pool = None

    def forget(self) -> bool:
        """Capture anew, as weights, gradients or moments may lie elsewhere now. False: nothing was captured."""
        had_any = self.captured_passes is not None
        self.captured_passes = self.captured_update = self._pool = None
        self._is_warm = False
        if had_any:
            torch.cuda.empty_cache()
        return had_any

    def end(self) -> bool:
        """Capture nothing any more. False: nothing was captured."""
        self.has_ended = True
        return self.forget()

    def passes(self, ids: Tensor, targets: Tensor, num_valid: int) -> Tensor | None:
        """The mean loss of a micro-batch, and its gradients; None: nothing was done, as it is not captured."""
        if self.has_ended or not self._is_warm or len(ids) != self.micro_batch_size:
            return None
        if self.captured_passes is None and any(p.grad is not None for p in self.model.parameters()):
            return None  # in the midst of a step
        try:
            if self.captured_passes is None:
                self._pool = torch.cuda.graph_pool_handle()
                self.captured_passes = CapturedPasses(self.model, self.loss, (ids, targets), self._pool)
            if not self.captured_passes.fit(ids):
                return None
            self.captured_passes.prepare()
        except Exception as error:
            if self.captured_passes is None:  # what stands there was captured, not computed
                self.model.zero_grad(set_to_none=True)
            self._give_up(error)
            return None
        return self.captured_passes(ids, targets, num_valid)

    def update(self) -> bool:
        """Move the weights by the gradients; False: nothing was done."""
        if self.has_ended:
            return False
        self._is_warm = True
        if self.captured_update is None:
            self.captured_update = CapturedUpdate(self.optimizers)
        if self.captured_update.graph is None and not self.captured_update.can_be_captured():
            return False
        passes = self.captured_passes
        if passes is not None and not passes.are_in_place():
            return False
        if passes is not None and self.captured_update.graph is None:
            try:
                self.captured_update.capture(self._pool)
            except Exception as error:
                self._give_up(error)
                return False
        self.captured_update()
        return True

    def _give_up(self, error: BaseException) -> None:
        self.end()
        while error.__context__ is not None:  # that of the end of a capture hides why it failed
            error = error.__context__
        warnings.warn(
            f"steps are not captured in a CUDA graph: {type(error).__name__}: {error}", stacklevel=2
        )
