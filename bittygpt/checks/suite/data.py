"""Windows, targets, ignored tokens, and the way from text to tokens and back."""

from pathlib import Path

import numpy as np
import torch

from bittygpt.checks.finding import Finding, NotChecked, check, counted
from bittygpt.checks.subject import Subject
from bittygpt.core import IGNORE_INDEX
from bittygpt.data.batches import Batch, TrainingBatches, evaluation_batches
from bittygpt.data.shards import TokenSplit

LONGEST, WINDOWS = 64, 21  # tokens of a window here, at most, and about how many windows there are
SOME_TOKENS = 1 << 20  # of the run's own that are looked at
TEXT = "Once upon a time,\n\n\tthere was a naïve 狐 — “ok?” 🦊 \x00 it's 3.14159  <|endoftext|> the end.\r\n"


class Ring(TokenSplit):
    """Tokens that are their own positions, so that every mistake shows, in documents of all lengths."""

    def __init__(self, num_tokens: int, context_length: int) -> None:
        super().__init__(Path(), [])
        self.num_tokens = num_tokens
        lengths = np.arange(1, num_tokens) % (context_length + 3) + 1  # some longer than a window
        ends = np.cumsum(lengths) - 1
        self.ends = np.append(ends[ends < num_tokens - 1], num_tokens - 1)

    def read(self, start: int, length: int) -> np.ndarray:
        """`length` positions from `start` on, around the ring."""
        return (start + np.arange(length)) % self.num_tokens

    def positions_of(self, token: int) -> np.ndarray:  # noqa: ARG002
        """Where documents end."""
        return self.ends


def ring_of(subject: Subject) -> tuple[Ring, int, int | None]:
    """A ring, the length of a window, and the token at which documents end, if windows are to begin with them."""
    context = min(LONGEST, subject.config.model.context_length)
    ring = Ring(WINDOWS * context + context // 2 + 1, context)
    return ring, context, 0 if subject.config.data.windows == "documents" else None


def epoch_of(subject: Subject, number: int = 0, ignore: tuple[int, ...] = ()) -> tuple[Ring, list[Batch]]:
    """Every batch of an epoch over a ring, each of one window, cut as the config says."""
    ring, context, end = ring_of(subject)
    batches = TrainingBatches(ring, context, 1, subject.config.run.seed, ignore, document_end=end)
    count = batches.windows_per_epoch
    return ring, [batches.batch(number * count + step) for step in range(1, count + 1)]


def valid_targets(batches: list[Batch]) -> torch.Tensor:
    """All targets that count, (N,)."""
    targets = torch.cat([batch.targets.flatten() for batch in batches])
    return targets[targets != IGNORE_INDEX]


@check("a target is the token after its input", look_in="data/batches.py", always=True)
def targets_are_shifted_by_one(subject: Subject) -> Finding:
    """Not the input itself, which would be learned at once and teach nothing; and not the one after the next."""
    ring, batches = epoch_of(subject)
    ids = torch.cat([batch.ids.flatten() for batch in batches])
    targets = torch.cat([batch.targets.flatten() for batch in batches])
    valid = targets != IGNORE_INDEX
    wrong = valid & (targets != (ids + 1) % ring.num_tokens)
    if not valid.any():
        return Finding("there are no targets at all", 1, 0)
    return counted(int(wrong.sum()), int(valid.sum()), "targets")


@check("every token is trained on once in an epoch", look_in="data/windows.py", always=True)
def windows_cover_everything_once(subject: Subject) -> Finding:
    """In two epochs; where windows begin with documents, a document's own first token may be left out."""
    wrong = total = 0
    for number in (0, 1):
        ring, batches = epoch_of(subject, number)
        counts = torch.bincount(valid_targets(batches), minlength=ring.num_tokens)
        may_be_left_out = torch.zeros(ring.num_tokens, dtype=torch.bool)
        if subject.config.data.windows == "documents":
            may_be_left_out[torch.from_numpy((ring.ends + 1) % ring.num_tokens)] = True
        wrong += int(((counts != 1) & ~(may_be_left_out & (counts == 0))).sum())
        total += ring.num_tokens
    return counted(wrong, total, "tokens")


@check("every token is validated on once", look_in="data/batches.py", always=True)
def evaluation_covers_everything_once(subject: Subject) -> Finding:
    """But for the first one where windows are cut anywhere, as nothing stands before it."""
    ring, context, end = ring_of(subject)
    batches = list(evaluation_batches(ring, context, 4, None, document_end=end))
    counts = torch.bincount(valid_targets(batches), minlength=ring.num_tokens)
    right = torch.ones(ring.num_tokens, dtype=torch.int64)
    if end is None:
        right[0] = 0
    return counted(int((counts != right).sum()), ring.num_tokens, "tokens")


@check("a batch follows from seed and step alone", look_in="data/batches.py", always=True)
def batches_are_pure(subject: Subject) -> Finding:
    """Else a resumed run would read other text than the one that was never stopped."""
    _, first = epoch_of(subject)
    _, again = epoch_of(subject)
    _, second = epoch_of(subject, 1)
    wrong = sum(a.hash() != b.hash() for a, b in zip(first, again, strict=True))
    if [batch.hash() for batch in first] == [batch.hash() for batch in second]:
        return Finding("the second epoch repeats the first, batch for batch", 1, 0)
    return counted(wrong, len(first), "batches")


@check("ignored tokens are read and are no targets", look_in="data/batches.py", always=True)
def ignored_tokens(subject: Subject) -> Finding:
    """train.ignore_tokens: padding, say. All other targets stay what they are."""
    ignored = tuple(range(0, 40, 3))
    (_, plain), (_, batches) = epoch_of(subject), epoch_of(subject, ignore=ignored)
    wrong = total = 0
    for before, after in zip(plain, batches, strict=True):
        is_ignored = torch.isin(before.targets, torch.tensor(ignored))
        right = before.targets.masked_fill(is_ignored, IGNORE_INDEX)
        wrong += int((after.targets != right).sum() + (after.ids != before.ids).sum())
        total += right.numel()
    return counted(wrong, total, "positions")


@check("text comes back from its tokens", look_in="tokenizer/tokenizer.py", always=True)
def text_comes_back(subject: Subject) -> Finding:
    """Every byte of it; `<|endoftext|>` inside a document is plain text, or a document could end another one."""
    tokenizer = subject.tokenizer
    ids = tokenizer.encode(TEXT)
    special = set(ids) & set(tokenizer.special_ids.values())
    back = tokenizer.decode(ids)
    wrong = sum(a != b for a, b in zip(TEXT, back, strict=False)) + abs(len(TEXT) - len(back)) + len(special)
    return counted(wrong, len(TEXT), "characters")


@check("data.dir's tokens fit their vocabulary", look_in="data/preparation/prepare.py", always=True)
def own_tokens_fit(subject: Subject) -> Finding:
    """No id beyond the vocabulary's last, and an `<|endoftext|>` after the last document."""
    if subject.tokens is None:
        raise NotChecked("there are no tokens yet")
    split, tokenizer = subject.tokens.split("train"), subject.tokens.tokenizer
    count = min(SOME_TOKENS, split.num_tokens)
    ids = split.read(split.num_tokens - count, count)
    wrong = int(((ids < 0) | (ids >= tokenizer.vocab_size)).sum()) + int(ids[-1] != tokenizer.end_of_text_id)
    return counted(wrong, count, "tokens")
