"""Texts on stdout: one as it comes, several with a line between them, or as lines of JSON; the speed on stderr."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bittygpt.commands.sample.novelty import NoveltyMeter
from bittygpt.commands.sample.prompts import read_prompt_list
from bittygpt.core import TransformerLM
from bittygpt.errors import UsageError
from bittygpt.sampling.batch import Batch
from bittygpt.sampling.completion import Completion
from bittygpt.sampling.decoding.choose_decoder import AnyDecoder, decoder_for
from bittygpt.sampling.decoding.kv_cache import common_capacity
from bittygpt.sampling.options import SamplingOptions
from bittygpt.sampling.texts import Show, complete, rows_that_fit
from bittygpt.terminal.console import log, result_while_read
from bittygpt.terminal.preparation import PreparationProgress
from bittygpt.tokenizer.tokenizer import StreamingDecoder, Tokenizer

BETWEEN_SAMPLES = "\n\n---\n"
RESULT_FIELDS = frozenset({"text", "tokens", "logprobs", "finish_reason", "seed", "index", "novelty"})


@dataclass(frozen=True)
class Sampler:
    """A model with the settings of its texts."""

    model: TransformerLM
    tokenizer: Tokenizer
    options: SamplingOptions
    stop: tuple[str, ...]
    num_samples: int
    as_json: bool
    meter: NoveltyMeter | None = None

    def new_completion(self) -> Completion:
        """An empty text."""
        return Completion(StreamingDecoder(self.tokenizer), self.stop, self.tokenizer.end_of_text_id)

    def batch(
        self,
        longest_prompt: int,
        num_texts: int,
        on_notice: Callable[[str], None],
        decoder: AnyDecoder | None = None,
    ) -> Batch:
        """Room for texts to be generated; `num_texts` in all, of which as many at once as fit."""
        capacity = common_capacity(self.model.config, [longest_prompt], self.options.max_tokens)
        if decoder is None:
            weight = self.model.token_embeddings.weight
            rows = rows_that_fit(self.model.config, capacity, num_texts, weight.dtype, weight.device)
            decoder = decoder_for(self.model, rows, log)
        return Batch(decoder, self.options, self.tokenizer.end_of_text_id, capacity, on_notice)

    def record(self, prompt: dict[str, Any], completion: Completion, index: int) -> dict[str, Any]:
        """A text as an object of JSON; tokens and log-probabilities only with --json."""
        details = {"tokens": completion.token_ids, "logprobs": completion.logprobs} if self.as_json else {}
        end = {"finish_reason": completion.finish_reason, "seed": self.options.seed, "index": index}
        novelty = {"novelty": self.meter.fields(completion.token_ids)} if self.meter else {}
        return {**prompt, "text": completion.text, **details, **end, **novelty}

    def say_novelty(self, completions: Sequence[Completion]) -> None:
        """How much of finished texts is copied, a line each, if that was asked for."""
        if self.meter is not None:
            for completion in completions:
                log(self.meter.line(completion.token_ids))


class Speed:
    """Tokens per second, said at the end."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.num_tokens = 0

    def count(self, completions: Sequence[Completion]) -> None:
        """Count the tokens of finished texts."""
        self.num_tokens += sum(len(completion.token_ids) for completion in completions)

    def __str__(self) -> str:
        elapsed = time.perf_counter() - self._started
        return f"{self.num_tokens:,} tokens in {elapsed:.2f} s, {self.num_tokens / elapsed:,.0f} tokens/s"


def write_texts(sampler: Sampler, prompt: str) -> None:
    """Continue one prompt.

    One sample is printed as it comes: the prompt, the text, a newline. Several are printed when all are done, each with
    the prompt, with a blank line and a line `---` between two of them. With --json, each is one line: prompt, text
    (without the prompt), tokens, logprobs (under the model's own distribution: no filters, temperature 1),
    finish_reason ("eos", "stop" or "length"), seed and index.
    """
    streams = sampler.num_samples == 1 and not sampler.as_json
    notices: list[str] = []  # said at the end, so as not to break into a story on the same terminal
    speed = Speed()
    ids = sampler.tokenizer.encode(prompt)
    batch = sampler.batch(len(ids), sampler.num_samples, notices.append)
    if streams:
        write(prompt)
    with nullcontext(write) if streams else _counted(sampler) as show:
        (completions,) = complete(batch, [ids], sampler.num_samples, sampler.new_completion, show)
    speed.count(completions)
    if sampler.as_json:
        for index, completion in enumerate(completions):
            result_while_read(json.dumps(sampler.record({"prompt": prompt}, completion, index)))
    elif streams:
        result_while_read("")
    else:
        result_while_read(BETWEEN_SAMPLES.join(prompt + completion.text for completion in completions))
    sampler.say_novelty(completions)
    for notice in notices:
        log(notice)
    log(str(speed))


@contextmanager
def _counted(sampler: Sampler) -> Iterator[Show]:
    """Shows progress instead of the tokens."""
    total, done = sampler.num_samples * sampler.options.max_tokens, 0
    with PreparationProgress() as progress:

        def show(_text: str) -> None:
            nonlocal done
            done += 1
            progress("generating", done, total)

        yield show


def write_many(sampler: Sampler, path: Path) -> None:
    """Continue each prompt of a .jsonl file; a line of JSON each, in the order of the prompts.

    A result has the fields of its prompt's line, and text, finish_reason, seed and index; with --json also tokens and
    logprobs. The file is read twice: first to the end, so that a fault in it is known before anything is generated.
    """
    number, longest = 0, 0
    for record in read_prompt_list(path, RESULT_FIELDS):
        number, longest = number + 1, max(longest, len(record["prompt"].encode()))
    records: deque[dict[str, Any]] = deque()

    def prompts() -> Iterator[Sequence[int]]:
        for record in read_prompt_list(path, RESULT_FIELDS):
            records.append(record)
            yield sampler.tokenizer.encode(record["prompt"])

    if not number:
        raise UsageError(f'--prompt-file {path} holds no prompt; write {{"prompt": "..."}} on each line')
    notices: list[str] = []
    speed, done = Speed(), 0
    batch = sampler.batch(
        longest, number * sampler.num_samples, notices.append
    )  # a token has a byte at least
    with PreparationProgress() as progress:
        for completions in complete(batch, prompts(), sampler.num_samples, sampler.new_completion):
            speed.count(completions)
            record = records.popleft()
            for index, completion in enumerate(completions):
                result_while_read(json.dumps(sampler.record(record, completion, index)))
            done += 1
            progress("prompts", done, number)
    for notice in notices:
        log(notice)
    log(f"{number:,} prompts: {speed}")


def write(text: str) -> None:
    """Print text as it comes."""
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
