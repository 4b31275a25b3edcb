"""From a prompt to its continuations, token by token: the simplest way in."""

from collections.abc import Callable, Iterator, Sequence

from bittygpt.core import TransformerLM
from bittygpt.sampling.batch import Batch, Sample
from bittygpt.sampling.decoding.choose_decoder import decoder_for
from bittygpt.sampling.decoding.kv_cache import common_capacity
from bittygpt.sampling.options import NewToken, SamplingOptions

__all__ = ["NewToken", "SamplingOptions", "generate"]


def _say_nothing(_message: str) -> None:
    pass


def generate(
    model: TransformerLM,
    prompt_ids: Sequence[int],
    options: SamplingOptions,
    end_of_text_id: int,
    num_samples: int = 1,
    on_notice: Callable[[str], None] = _say_nothing,
) -> Iterator[list[NewToken | None]]:
    """Continue a prompt `num_samples` times at once; yields, for each step, the new token of each sample.

    An empty prompt starts from `<|endoftext|>`, which is what stood before each document in training; it is no part
    of what is yielded. A sample ends with `<|endoftext|>`, which is yielded, or after `max_tokens`; None stands in
    the place of a sample that has ended before. All samples share one reading of the prompt. Sample i draws from a
    generator of its own, and its scores do not depend on the others (`row_products`), so it is the same whatever
    their number is.

    A prompt that is longer than the model's context loses its beginning; when the context is full, its last half is
    read anew and the text goes on from there. `on_notice` is told of both, each once, and why there is no cache, if so.

    The weights are those of the moment when the first token is asked for.

    Args:
        prompt_ids: at least none.
        end_of_text_id: the id of `<|endoftext|>`.

    Raises:
        CheckpointError: the model's scores are not finite.
    """
    prompt_ids = list(prompt_ids)
    samples = [Sample(prompt_ids, index) for index in range(num_samples)]
    capacity = common_capacity(model.config, [len(prompt_ids)], options.max_tokens)
    batch = Batch(decoder_for(model, num_samples, on_notice), options, end_of_text_id, capacity, on_notice)
    for step in batch.run(samples):
        tokens = dict(step)
        yield [tokens.get(sample) for sample in samples]
