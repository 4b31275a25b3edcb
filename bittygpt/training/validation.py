"""When a run is validated, and on what."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch

from bittygpt.config import RunConfig
from bittygpt.data.batches import Batch, evaluation_batches
from bittygpt.data.shards import TokenSplit
from bittygpt.training.evaluation import Evaluation, evaluate
from bittygpt.training.executor import Executor

MOST_TOKENS = 8192  # that one pass evaluates: activations of more would fill a small memory


def evaluation_batch_size(micro_batch_size: int, context_length: int) -> int:
    """Sequences of one pass: without gradients twice as many fit."""
    return max(1, min(2 * micro_batch_size, MOST_TOKENS // context_length))


class Validation:
    """The validation split of a run. `ignored` and `document_end` are those of its training batches."""

    def __init__(
        self,
        config: RunConfig,
        tokens: TokenSplit,
        token_bytes: torch.Tensor,
        ignored: tuple[int, ...],
        document_end: int | None,
    ) -> None:
        self.train, self.context_length = config.train, config.model.context_length
        self.tokens, self.token_bytes = tokens, token_bytes
        self.ignored, self.document_end = ignored, document_end
        self.is_left_out = False

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to validate on, and time for it."""
        return self.tokens.num_tokens > 1 and not self.is_left_out

    def is_due(self, step: int, is_last: bool) -> bool:
        """Whether the state after a step is validated: every `train.eval_every` steps and after the last."""
        return step > 0 and self.is_wanted and (is_last or step % self.train.eval_every == 0)

    def run(self, executor: Executor, stop_asked: Callable[[], bool] = lambda: False) -> Evaluation | None:
        """Loss and bits per byte over the split, or over `train.eval_tokens` of it; None: a stop was asked for."""
        return self._evaluate(executor, self._batches(executor), stop_asked)

    def expected_seconds(self, executor: Executor, clock: Callable[[], float]) -> float:
        """How long `run` will take, by the second of two batches on each rank: the first finds everything cold."""
        batches, seconds, tokens = self._batches(executor), 0.0, 0
        for _ in range(2):
            since = clock()
            if some := list(islice(batches, executor.ranks.world_size)):
                result = self._evaluate(executor, some)
                assert result is not None
                seconds, tokens = clock() - since, result.num_tokens
        return seconds / max(1, tokens) * min(self.train.eval_tokens or math.inf, self.tokens.num_tokens)

    def _batches(self, executor: Executor) -> Iterator[Batch]:
        size, length = (
            evaluation_batch_size(executor.micro_batch_size, self.context_length),
            self.context_length,
        )
        limit = self.train.eval_tokens
        return evaluation_batches(self.tokens, length, size, limit, self.ignored, self.document_end)

    def _evaluate(
        self, executor: Executor, batches: Iterable[Batch], stop_asked: Callable[[], bool] = lambda: False
    ) -> Evaluation | None:
        return evaluate(
            executor.model,
            batches,
            self.token_bytes,
            executor.device,
            executor.ranks,
            stop_asked,
            make_room=executor.forget_graphs,
        )
