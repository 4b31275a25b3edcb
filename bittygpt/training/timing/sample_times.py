"""When the model in training is to write a text. Who takes the reports makes it: this room knows no sampling."""

from collections.abc import Iterator

from bittygpt.training.events import SampleDueReport
from bittygpt.training.timing.throughput import ThroughputMeter


def due_samples(
    step: int, is_last: bool, every: int | None, meter: ThroughputMeter
) -> Iterator[SampleDueReport]:
    """A report every `every` steps and after the last; None: never. What its taker does counts for no rate.

    It comes before the checkpoint of the same step, so that a run resumed there has the text in its log.
    """
    if every is not None and (is_last or step % every == 0):
        yield SampleDueReport(step)
        meter.restart(step)
