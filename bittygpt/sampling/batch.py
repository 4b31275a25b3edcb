"""Many texts at once: each has a row of the cache; when one ends, the next takes its row.

Shapes: B rows in use, V vocabulary.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bittygpt.sampling.choice import choose, generator_for
from bittygpt.sampling.decoding.choose_decoder import AnyDecoder
from bittygpt.sampling.options import NewToken, SamplingOptions


@dataclass(eq=False)
class Sample:
    """One text in the making.

    Attributes:
        prompt_ids: samples with the same object share its reading.
        index: which of the samples with this prompt, for the seed.
        ended: set when nothing more follows; whoever wants no more may set it, too.
    """

    prompt_ids: Sequence[int]
    index: int = 0
    ended: bool = False
    num_tokens: int = 0


@dataclass
class _Row:
    """A sample in its row of the cache, which holds all of `window` but the last."""

    sample: Sample
    generator: torch.Generator
    window: list[int]
    has_slid: bool = False


@dataclass
class Batch:
    """Samples in step. `Batch(...).run(samples)` does it all.

    When a row's context is full, its last half is read anew, at positions from 0 on. Moving on by one token at a time
    would mean to read the whole context for each token, as every position changes; this way it is half a context each
    half context, at the price of a model that now and then sees only half of what it could.

    Args:
        capacity: how many tokens a row has room for; `kv_cache.common_capacity`.
        on_notice: told, each once, of a prompt that is longer than the context, and of the first context that is full.
    """

    decoder: AnyDecoder
    options: SamplingOptions
    end_of_text_id: int
    capacity: int
    on_notice: Callable[[str], None]
    _rows: list[_Row] = field(default_factory=list)
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._limit = self.decoder.config.context_length
        self._cache: Any = self.decoder.new_cache(self.decoder.max_rows, self.capacity)
        self._seen_RV: Tensor | None = None
        if self.options.repetition_penalty != 1:
            shape = (self.decoder.max_rows, self.decoder.config.vocab_size)
            self._seen_RV = torch.zeros(shape, dtype=torch.bool, device=self.decoder.device)

    def run(self, samples: Iterable[Sample]) -> Iterator[list[tuple[Sample, NewToken]]]:
        """Yields, for each step, the samples in it with their new tokens; they start in order, as rows become free.

        A sample ends with `<|endoftext|>`, which is yielded, or after `max_tokens`, or when its `ended` is set.

        Raises:
            CheckpointError: the model's scores are not finite.
        """
        waiting = iter(samples)
        while True:
            while len(self._rows) < self.decoder.max_rows and (sample := next(waiting, None)) is not None:
                self._admit(sample)
            if not self._rows:
                return
            yield self._step()
            self._remove_finished()
            for row in range(len(self._rows)):
                self._slide_if_full(row)

    def _admit(self, sample: Sample) -> None:
        """Give a sample a row. The last token of the prompt is left for the first step."""
        ids = sample.prompt_ids or [self.end_of_text_id]
        if len(ids) > self._limit:
            self._say(
                f"the prompt has {len(ids)} tokens and the context {self._limit}: using its last ones",
                "prompt",
            )
        window, place = list(ids[-self._limit :]), len(self._rows)
        with torch.inference_mode():
            if self._seen_RV is not None:
                self._seen_RV[place] = False
                self._seen_RV[place, list(sample.prompt_ids)] = True
            for other, row in enumerate(self._rows):
                if row.sample.prompt_ids is sample.prompt_ids and not row.has_slid:
                    self._cache.copy(other, place, len(window) - 1)
                    break
            else:
                self.decoder.read(window[:-1], self._cache, place)
        self._rows.append(_Row(sample, generator_for(self.options.seed, sample.index), window))

    @torch.inference_mode()
    def _step(self) -> list[tuple[Sample, NewToken]]:
        """One more token for each row; its text then ends with it, and the cache lacks it alone."""
        logits_BV = self.decoder.step([row.window[-1] for row in self._rows], self._cache)
        scores_BV = logits_BV
        if self.options.ignore_eos:
            scores_BV = logits_BV.clone()
            scores_BV[:, self.end_of_text_id] = -math.inf
        seen_BV = None if self._seen_RV is None else self._seen_RV[: len(self._rows)]
        chosen_B1 = choose(scores_BV, seen_BV, self.options, [row.generator for row in self._rows])[:, None]
        chosen_B1 = chosen_B1.to(self.decoder.device)
        if seen_BV is not None:
            seen_BV.scatter_(-1, chosen_B1, True)
        logprobs_B1 = torch.log_softmax(logits_BV, dim=-1).gather(-1, chosen_B1)
        pairs = zip(chosen_B1[:, 0].tolist(), logprobs_B1[:, 0].tolist(), strict=True)
        new = [(row.sample, NewToken(*pair)) for row, pair in zip(self._rows, pairs, strict=True)]
        for row, (sample, token) in zip(self._rows, new, strict=True):
            row.window.append(token.token_id)
            sample.num_tokens += 1
            if token.token_id == self.end_of_text_id or sample.num_tokens == self.options.max_tokens:
                sample.ended = True
        return new

    def _remove_finished(self) -> None:
        with torch.inference_mode():
            for place in reversed(range(len(self._rows))):
                if self._rows[place].sample.ended:
                    self._cache.remove(place)
                    if self._seen_RV is not None:
                        self._seen_RV[place] = self._seen_RV[len(self._rows) - 1]
                    self._rows[place] = self._rows[-1]
                    self._rows.pop()

    def _slide_if_full(self, place: int) -> None:
        row = self._rows[place]
        if len(row.window) <= self._limit:
            return
        kept = max(1, self._limit // 2)
        self._say(f"the context of {self._limit} tokens is full: going on from the last {kept}", "full")
        row.window, row.has_slid = row.window[-kept:], True
        self.decoder.read(row.window[:-1], self._cache, place)

    def _say(self, message: str, kind: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self.on_notice(message)
