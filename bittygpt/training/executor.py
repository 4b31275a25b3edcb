"""Model and optimizers on their devices: gradients of a batch, with as much of it at once as fits, and updates."""

import torch
from torch import Tensor, nn

from bittygpt.config import RunConfig
from bittygpt.core import TransformerLM
from bittygpt.data.batches import Batch
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from bittygpt.engine.cuda_graphs import CudaGraphs
from bittygpt.errors import OutOfMemoryError
from bittygpt.training.devices.compiling import compiling_pays
from bittygpt.training.devices.device import Device
from bittygpt.training.devices.memory import (
    estimate_memory,
    fits_in_memory,
    largest_that_fits,
    micro_batch_sizes,
    next_smaller,
    num_trainable,
    out_of_memory,
    usable_memory,
)
from bittygpt.training.distributed.parallel import no_sync, shard_model, wrap_in_ddp
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.optimizers import build_optimizers, moments_per_weight
from bittygpt.training.step import (
    NO_BROADCAST,
    Broadcast,
    StepResult,
    compute_gradients,
    micro_batch_loss,
    update_weights,
)


class Executor:
    """Runs the model. `model` is the unwrapped one: its parameter names are those of the checkpoints."""

    def __init__(self, config: RunConfig, model: TransformerLM, device: Device, ranks: Ranks) -> None:
        train = config.train
        self.model, self.device, self.ranks = accelerate(model), device, ranks
        self.grad_clip = config.optim.grad_clip
        self.moments = moments_per_weight(config.optim)
        self.shards = ranks.world_size if self._is_to_be_sharded(train.parallel) else 1
        self.sequences = train.batch_size // ranks.world_size
        self.is_auto = train.micro_batch_size == "auto"
        self.sizes = (
            micro_batch_sizes(model, self.sequences, self.moments, device, self.shards)
            if self.is_auto
            else [min(self.sequences, int(train.micro_batch_size))]
        )
        self.micro_batch_size = self.sizes[0]
        self.compile_it = (
            compiling_pays(
                model,
                device,
                train.max_steps,
                self.sequences,
                self.micro_batch_size,
                train.time_budget,
                captured=ranks.world_size == 1,
            )
            if train.compile == "auto"
            else train.compile
        )
        if self.shards > 1:
            prepare_for_compile(model)  # before its weights are shared out
            shard_model(model, ranks, device, self.compile_it)
        else:
            model.to(device.torch_device)
            # where its weights are: RoPE's table follows them before anything is compiled
            prepare_for_compile(model)
        self.optimizers = build_optimizers(model, config.optim, device.precision)
        self._trained: nn.Module = model
        self._graphs = self._new_graphs()

    def _is_to_be_sharded(self, parallel: str) -> bool:
        if self.ranks.world_size == 1 or parallel != "auto":
            return self.ranks.world_size > 1 and parallel == "fsdp"
        one = estimate_memory(self.model, 1, self.moments, self.device)
        return one.total > usable_memory(self.device)

    def fix_micro_batch_size(self, micro_batch_size: int) -> None:
        """Use the size of the checkpoint, unless the config fixes one: another size would round differently."""
        if self.is_auto:
            self.sizes, self.micro_batch_size = [micro_batch_size], micro_batch_size

    def start(self, batch: Batch) -> None:
        """Make ready for training: compile, join the ranks' models, and find the micro-batch that fits, by trials."""
        self.model.train()
        whole_graph = self.compile_it and self.shards == 1  # a sharded model's layers are compiled one by one
        model: nn.Module = torch.compile(self.model) if whole_graph else self.model  # type: ignore[assignment]
        self._trained = wrap_in_ddp(model, self.ranks)
        if self.ranks.world_size > 1 and self.shards == 1:
            self._warm_up_ddp_buckets(batch)
        if self.device.refuses_memory and self.shards == 1:  # ranks that share a model cannot try alone
            self.micro_batch_size = largest_that_fits(
                self.sizes,
                lambda size: self._try(batch, size),
                lambda fits: self.ranks.all_agree(fits, self.device.torch_device),
            )
        self._graphs = self._new_graphs()

    def _new_graphs(self) -> CudaGraphs:
        """The CUDA graphs of the steps from now on; nothing is captured on a CPU or with several ranks."""

        def loss(ids: Tensor, targets: Tensor) -> Tensor:
            return micro_batch_loss(self._trained, Batch(ids, targets), self.device)

        graphs = CudaGraphs(self._trained, loss, self.optimizers, self.micro_batch_size)
        if not self.device.is_cuda or self.ranks.world_size > 1:
            graphs.end()
        return graphs

    def forget_graphs(self) -> bool:
        """Between two steps: capture anew, as the optimizers' state was replaced, or memory is needed.

        False: there are none.
        """
        self.model.zero_grad(set_to_none=True)  # gradients hold captured memory
        return self._graphs.forget()

    def _warm_up_ddp_buckets(self, batch: Batch) -> None:
        """Run one pass and drop its gradients.

        DDP rebuilds its buckets after the first exchange and sums in another order from then on. Without this pass,
        the first step after a resume would round differently from the same step of a run that was not stopped.
        """
        micro = batch.rows(*self.ranks.rows(len(batch.ids))).rows(0, 1)
        micro_batch_loss(self._trained, micro, self.device).backward()
        self.model.zero_grad(set_to_none=True)

    def _try(self, batch: Batch, size: int) -> None:
        """Passes forward and backward as in a step, with the room taken that the optimizer will want."""
        moments = torch.empty(self.moments * num_trainable(self.model), device=self.device.torch_device)
        own = batch.rows(*self.ranks.rows(len(batch.ids)))
        with no_sync(self._trained, local=True):
            # Twice, if a step has several: beside the second lie the gradients of the first.
            for first in range(0, min(2 * size, self.sequences), size):
                micro_batch_loss(self._trained, own.rows(first, first + size), self.device).backward()
        del moments
        self.model.zero_grad(set_to_none=True)

    def gradients(self, batch: Batch, stop_asked: bool, broadcast: Broadcast = NO_BROADCAST) -> StepResult:
        """Gradients of a step; the weights stay as they are.

        Where memory runs out and `train.micro_batch_size` is auto, all is done again with micro-batches of half the
        size. With several ranks it is not: the others would wait for this one.

        Raises:
            OutOfMemoryError: it does not fit.
        """
        results: list[StepResult] = []

        def attempt() -> None:
            results.append(
                compute_gradients(
                    self._trained,
                    batch,
                    grad_clip=self.grad_clip,
                    micro_batch_size=self.micro_batch_size,
                    device=self.device,
                    ranks=self.ranks,
                    stop_asked=stop_asked,
                    broadcast=broadcast,
                    captured=self._graphs.passes,
                )
            )

        while not fits_in_memory(attempt):
            self.model.zero_grad(set_to_none=True)
            if self._graphs.end():
                continue  # which leaves more memory
            smaller = next_smaller(self.micro_batch_size, self.sequences)
            if smaller is None or not self.is_auto or self.ranks.world_size > 1:
                raise self.out_of_memory()
            self.micro_batch_size = smaller
            self._graphs = self._new_graphs()
        return results[0]

    def update(self, lr: float) -> None:
        """Move the weights by the gradients."""
        update_weights(self.optimizers, lr, self._graphs.update)

    def out_of_memory(self) -> OutOfMemoryError:
        """The error that says where the memory went."""
        return out_of_memory(self.model, self.micro_batch_size, self.moments, self.device, self.shards)
