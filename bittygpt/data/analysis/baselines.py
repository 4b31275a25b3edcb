"""What simple models make of the validation tokens: the baselines that a GPT's loss is read against.

Uniform knows nothing; a unigram knows how often each token occurs; a bigram and a trigram know it behind the one or
the two tokens before. The three are interpolated as Witten and Bell 1991 have it ("The zero-frequency problem",
method C; Chen and Goodman 1999, section 2.4): in a context h that was seen c(h) times with T(h) different tokens
behind it,

    p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

h' being h without its first token. A context that was never seen leaves everything to the shorter one. `xz` is the
compressor (LZMA), on the text of the validation tokens alone.
"""

import lzma
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bittygpt.data.shards import TokenSplit

MOST_TRAINING_TOKENS = 1 << 21
MOST_VALIDATION_TOKENS = 1 << 18
_RUNS = 8
_XZ_BYTES = 1 << 19

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """`loss` in nats per token; `bits_per_byte` of the same tokens' text, None where they have none."""

    name: str
    loss: float
    bits_per_byte: float | None


def baselines_of(
    train: TokenSplit,
    val: TokenSplit,
    vocabulary: Sequence[bytes],
    end_id: int,
    on_done: Callable[[int], None],
) -> list[Baseline]:
    """What each model loses on the validation tokens, or on the first 262,144 of them.

    Args:
        vocabulary: the bytes of each token; empty for the special ones.
        on_done: called with the number of models that are done.
    """
    targets = val.read(0, min(val.num_tokens, MOST_VALIDATION_TOKENS))
    text = b"".join([vocabulary[token] for token in targets.tolist()])
    with ThreadPoolExecutor(1) as thread:  # beside the counting: lzma lets go of the interpreter
        compressed = thread.submit(_xz_losses, text)
        losses = ngram_losses(_sample(train), targets, len(vocabulary), end_id)
        on_done(len(losses))
        losses |= compressed.result()
        on_done(len(losses))
    return [
        Baseline(name, nats / len(targets), nats / math.log(2) / len(text) if text else None)
        for name, nats in losses.items()
    ]


def _xz_losses(text: bytes) -> dict[str, float]:
    part = text[:_XZ_BYTES]
    return {"xz": 8 * len(lzma.compress(part)) / len(part) * len(text) * math.log(2)} if text else {}


def _sample(train: TokenSplit) -> Ids:
    """All tokens, or eight runs of a quarter of a million each, spread over the split."""
    if train.num_tokens <= MOST_TRAINING_TOKENS:
        return train.read(0, train.num_tokens)
    run, step = MOST_TRAINING_TOKENS // _RUNS, train.num_tokens // _RUNS
    return np.concatenate([train.read(number * step, run) for number in range(_RUNS)])


def ngram_losses(train: Ids, targets: Ids, vocab_size: int, end_id: int) -> dict[str, float]:
    """What each model loses on all targets together, in nats, with the counts of `train`.

    Both streams begin behind the end of a document. Contexts run on over such ends, as the model's do.
    """
    keys = _trigrams(np.concatenate([train, np.full(2, end_id)]), vocab_size)
    keys.sort()
    context = np.concatenate([np.full(2, end_id), targets])
    probability = np.full(len(targets), 1 / vocab_size)
    losses = {"uniform": -np.log(probability).sum()}
    for n, name in ((1, "unigram"), (2, "bigram"), (3, "trigram")):
        probability = _interpolated(keys, context[3 - n :], n, vocab_size, probability)
        losses[name] = -np.log(probability).sum()
    return {name: float(nats) for name, nats in losses.items()}


def _trigrams(tokens: Ids, vocab_size: int) -> Keys:
    """The three tokens that begin at each place as one number to the base V."""
    numbers = tokens.astype(np.uint64)
    keys = numbers[:-2].copy()
    for following in (numbers[1:-1], numbers[2:]):
        keys *= np.uint64(vocab_size)
        keys += following
    return keys


def _interpolated(keys: Keys, stream: Ids, n: int, vocab_size: int, shorter: Floats) -> Floats:
    """p(w | h) of the last token w of each run of n in `stream`, from `shorter`, which is p(w | h').

    In the sorted trigrams, all that begin with the same tokens lie between two places.
    """
    V, one = np.uint64(vocab_size), np.uint64(1)
    num = len(stream) - n + 1
    runs = np.zeros(num, np.uint64)
    for offset in range(n):
        runs = runs * V + stream[offset : offset + num].astype(np.uint64)
    runs, places = np.unique(runs, return_inverse=True)
    width = V ** np.uint64(3 - n)  # trigrams that can begin with one run
    first, after = np.searchsorted(keys, np.stack([runs, runs + one]) * width)
    contexts = np.stack([runs // V, runs // V + one])
    context_first, context_after = np.searchsorted(keys, contexts * (width * V))
    prefixes = keys // width
    is_new = np.ones(len(keys), bool)
    is_new[1:] = prefixes[1:] != prefixes[:-1]
    new_before = np.concatenate([[0], np.cumsum(is_new)])
    types = new_before[context_after] - new_before[context_first]
    together = (after - first)[places]  # c(h w)
    seen = (context_after - context_first)[places]  # c(h)
    types = types[places]  # T(h)
    probability = (together + types * shorter) / np.maximum(seen + types, 1)
    return np.where(seen > 0, probability, shorter)
