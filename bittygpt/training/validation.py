"""When a run is validated, and on what."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from bittygpt.data.batches import evaluation_batches
from bittygpt.data.shards import TokenSplit
from bittygpt.training.engine import Engine
from bittygpt.training.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from bittygpt.config import RunConfig

MOST_TOKENS = 8192  # that one pass evaluates: logits of more would fill a small memory


def evaluation_batch_size(micro_batch_size: int, context_length: int) -> int:
    """Sequences of one pass: without gradients twice as many fit."""
    return max(1, min(2 * micro_batch_size, MOST_TOKENS // context_length))


class Validation:
    """The validation split of a run. `ignored` and `document_end` are those of its training batches."""

    def __init__(
        self,
        config: "RunConfig",
        tokens: TokenSplit,
        token_bytes: torch.Tensor,
        ignored: tuple[int, ...],
        document_end: int | None,
    ) -> None:
        self.train, self.context_length = config.train, config.model.context_length
        self.tokens, self.token_bytes = tokens, token_bytes
        self.ignored, self.document_end = ignored, document_end

    def is_due(self, step: int) -> bool:
        """Whether the state after a step is validated: every `train.eval_every` steps and after the last."""
        due = step % self.train.eval_every == 0 or step == self.train.max_steps
        return step > 0 and due and self.tokens.num_tokens > 1

    def run(self, engine: Engine, stop_asked: Callable[[], bool] = lambda: False) -> Evaluation | None:
        """Loss and bits per byte over the split, or over `train.eval_tokens` of it; None: a stop was asked for."""
        size = evaluation_batch_size(engine.micro_batch_size, self.context_length)
        batches = evaluation_batches(
            self.tokens,
            self.context_length,
            size,
            self.train.eval_tokens,
            self.ignored,
            self.document_end,
        )
        return evaluate(engine.model, batches, self.token_bytes, engine.device, engine.ranks, stop_asked)
