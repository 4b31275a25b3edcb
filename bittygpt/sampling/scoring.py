"""The loss of a text of any length, in nats per token.

A text longer than the context is read in windows of T tokens, each T/2 further on, of which the second half alone is
counted (of the first window all): but for the first T/2 tokens of the text, each has seen at least T/2 before it.
Windows side by side would be read in half the time, but count tokens that have seen nothing, and so a higher loss.

Shapes: B windows, T context length, N tokens.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from bittygpt.core import IGNORE_INDEX, TransformerLM

TOKENS_AT_ONCE = 4096
Ids = npt.NDArray[np.int64]


@dataclass
class Score:
    """What has been counted so far: the summed loss of `num_tokens` tokens, which stand for `num_bytes` of text."""

    nats: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.num_tokens

    @property
    def bits_per_byte(self) -> float:
        """The same surprise per byte of text, comparable between tokenizers."""
        return self.nats / math.log(2) / self.num_bytes


@torch.inference_mode()
def score(
    model: TransformerLM,
    pieces: Iterable[npt.NDArray[np.integer]],
    token_bytes: npt.NDArray[np.integer],
    first: int,
    ignored: Collection[int] = (),
) -> Iterator[Score]:
    """Yields the score of all that has been read, after each batch of windows. Memory holds about a piece.

    Args:
        pieces: the text's tokens (N,) each, in order.
        token_bytes: (V,), how many bytes of text each token stands for.
        first: a token before them, from which the first is foreseen: `<|endoftext|>`.
        ignored: tokens that are read, but not counted.
    """
    device = model.token_embeddings.weight.device
    context = model.config.context_length
    source = windows(pieces, first, context)
    so_far = Score()
    while batch := list(islice(source, max(1, TOKENS_AT_ONCE // context))):
        shape = (len(batch), max(len(ids) for ids, _ in batch))
        ids_BT, targets_BT = np.zeros(shape, np.int64), np.full(shape, IGNORE_INDEX, np.int64)
        for row, (ids, targets) in enumerate(batch):
            ids_BT[row, : len(ids)], targets_BT[row, : len(ids)] = ids, targets
        targets_BT[np.isin(targets_BT, list(ignored))] = IGNORE_INDEX
        losses_BT = model(
            torch.from_numpy(ids_BT).to(device),
            targets_BT=torch.from_numpy(targets_BT).to(device),
            reduction="none",
        )
        so_far.nats += losses_BT.double().sum().item()
        counted = targets_BT[targets_BT != IGNORE_INDEX]
        so_far.num_tokens += len(counted)
        so_far.num_bytes += int(token_bytes[counted].sum())
        yield so_far


def windows(pieces: Iterable[npt.NDArray[np.integer]], first: int, context: int) -> Iterator[tuple[Ids, Ids]]:
    """Windows of a text: tokens to read, at most `context`, and what follows each; IGNORE_INDEX where it was counted.

    Every token of the text is counted in one window.
    """
    stride = max(1, context // 2)
    held = np.array([first], np.int64)
    uncounted = 1  # the place in `held` of the first token that no window has counted
    for piece in pieces:
        held = np.concatenate((held, piece.astype(np.int64)))
        while len(held) > context:
            yield _window(held[: context + 1], uncounted)
            held, uncounted = held[stride:], context + 1 - stride
    if len(held) > uncounted:
        yield _window(held, uncounted)


def _window(held: Ids, uncounted: int) -> tuple[Ids, Ids]:
    targets = held[1:].copy()
    targets[: uncounted - 1] = IGNORE_INDEX
    return held[:-1], targets
