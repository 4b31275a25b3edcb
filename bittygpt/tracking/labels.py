"""Names beside the ends of lines: each as near to its own line as the others leave room for."""

from collections.abc import Sequence


def spread_labels(places: Sequence[float], height: float) -> list[float]:
    """Where labels stand that should stand at ascending `places` (0 to 1), each `height` above the one below.

    They are moved as little as possible in the sum of squares: those that touch form a block around the mean of what
    its labels want (isotonic regression by pooling adjacent violators, Ayer et al. 1955).
    """
    blocks: list[list[float]] = []  # what each label of a block wants, less the room of the labels below it
    for number, place in enumerate(places):
        blocks.append([place - number * height])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    highest = max(0.0, 1.0 - (len(places) - 1) * height)
    bases = [min(max(0.0, _mean(block)), highest) for block in blocks for _ in block]
    return [base + number * height for number, base in enumerate(bases)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
