"""Prompts in, texts out: many at once, handed on in the order of the prompts."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from bittygpt.core import ModelConfig
from bittygpt.sampling.batch import Batch, Sample
from bittygpt.sampling.completion import Completion
from bittygpt.sampling.decoding.kv_cache import bytes_per_row

MOST_ROWS = {"cpu": 32}  # where more no longer make it faster
MOST_ROWS_ELSEWHERE = 128
CACHE_BYTES = 1 << 30
LOGITS_COPIES = 8  # of float32, at most, that choosing a token holds

Show = Callable[[str], None]


def rows_that_fit(
    config: ModelConfig, capacity: int, wanted: int, dtype: torch.dtype, device: torch.device
) -> int:
    """How many of `wanted` texts are generated at once: as many as help, in bounded memory; at least one."""
    per_row = bytes_per_row(config, capacity, dtype) + LOGITS_COPIES * 4 * config.vocab_size
    free = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CACHE_BYTES
    return max(1, min(wanted, MOST_ROWS.get(device.type, MOST_ROWS_ELSEWHERE), free // per_row))


def complete(
    batch: Batch,
    prompts: Iterable[Sequence[int]],
    num_samples: int,
    new_completion: Callable[[], Completion],
    show: Show | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    first_index: int = 0,
) -> Iterator[list[Completion]]:
    """Yields for each prompt, in their order, its `num_samples` texts when all of them are done.

    Prompts are taken as rows of the batch become free, so there may be any number of them.

    Args:
        show: is given each piece of text as soon as it is known; for a single text.
        is_stopped: asked after each token; once it says yes, texts end as they are, with no reason.
        first_index: that of each prompt's first text, for the seed.

    Raises:
        CheckpointError: the model's scores are not finite.
    """
    in_order: deque[list[Completion]] = deque()
    of_sample: dict[Sample, Completion] = {}

    def samples() -> Iterator[Sample]:
        for ids in prompts:
            group = [Sample(ids, first_index + index) for index in range(num_samples)]
            in_order.append([new_completion() for _ in group])
            of_sample.update(zip(group, in_order[-1], strict=True))
            yield from group

    for step in batch.run(samples()):
        stopped = is_stopped()
        for sample, token in step:
            completion = of_sample[sample]
            shown = completion.push(token)
            if stopped or completion.is_finished:
                sample.ended = True
            if sample.ended:
                shown += completion.finish(None if stopped else "length")
                del of_sample[sample]
            if show is not None:
                show(shown)
        while in_order and all(completion.is_finished for completion in in_order[0]):
            yield in_order.popleft()
