"""`bittygpt sample`: checkpoint -> text."""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bittygpt.commands.device_flag import device_of_flag
from bittygpt.commands.novelty import NoveltyMeter
from bittygpt.config import load_config, overlay_sample
from bittygpt.core import TransformerLM
from bittygpt.data.tokenizer import StreamingDecoder, Tokenizer
from bittygpt.errors import UsageError
from bittygpt.sampling.completion import Completion
from bittygpt.sampling.generate import SamplingOptions, generate
from bittygpt.terminal.console import result, talk
from bittygpt.training.checkpoint import find_checkpoint, load_checkpoint

BETWEEN_SAMPLES = "\n\n---\n"
SILENCE = 1.0  # seconds of waiting for a pipe before saying so

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "max_tokens": ("1 or more", lambda value: value >= 1),
    "temperature": ("0 (greedy) or more", lambda value: 0 <= value < math.inf),
    "top_k": ("1 or more", lambda value: value >= 1),
    "top_p": ("above 0, at most 1", lambda value: 0 < value <= 1),
    "min_p": ("0 to 1", lambda value: 0 <= value <= 1),
    "repetition_penalty": ("above 0", lambda value: 0 < value < math.inf),
    "num_samples": ("1 or more", lambda value: value >= 1),
    "seed": ("0 to 2^63 - 1", lambda value: 0 <= value < 2**63),
}


def sample(
    ckpt: str,
    *,
    config: Path | None,
    prompt: str | None,
    prompt_file: Path | None,
    max_tokens: int | None,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float | None,
    num_samples: int | None,
    stop: list[str],
    seed: int | None,
    ignore_eos: bool,
    as_json: bool,
    device: str,
    novelty: bool = False,
) -> None:
    """Print texts that the model of a checkpoint writes; what is None is as the checkpoint's `sample:` section says.

    One sample is printed as it comes: the prompt, the text, a newline. Several are generated as one batch and
    printed when all are done, each with the prompt, with a blank line and a line `---` between two of them. With
    `as_json`, each sample is one line of JSON, see `_record`.

    Raises:
        UsageError: a flag is out of range, or the prompt cannot be read.
        ConfigError: `config` has faults.
        CheckpointError: no good checkpoint is at `ckpt`.
    """
    flags = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "num_samples": num_samples,
        "seed": seed,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    check_flags(given, stop)
    given_prompt = read_prompt(prompt, prompt_file)
    target = device_of_flag(device)
    folder = find_checkpoint(ckpt, talk)
    run_config = load_config(folder / "config.yaml")
    if config is not None:
        run_config = overlay_sample(run_config, config)
    text = run_config.sample.prompt if given_prompt is None else given_prompt
    meter = NoveltyMeter(run_config, folder) if novelty else None
    model, tokenizer = load_checkpoint(folder, target.torch_device)
    settings = {**run_config.sample.model_dump(exclude={"prompt"}), **given}
    num_samples = settings.pop("num_samples")
    options = SamplingOptions(**settings, ignore_eos=ignore_eos)
    try:
        with target.autocast():
            _run(model, tokenizer, text, options, num_samples, stop, as_json, meter)
    except BrokenPipeError:  # the reader (head, less) has seen enough; Typer would make an exit code 1 of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_flags(given: Mapping[str, float], stop: Sequence[str]) -> None:
    """Raises UsageError, with a line for each flag that is out of range."""
    faults = [
        f"--{name.replace('_', '-')} {given[name]} is out of range; give {text}"
        for name, (text, is_within) in _RANGES.items()
        if name in given and not is_within(given[name])
    ]
    if "" in stop:
        faults.append("--stop needs a text of at least one character")
    if faults:
        raise UsageError("\n".join(faults))


def read_prompt(prompt: str | None, prompt_file: Path | None) -> str | None:
    """The prompt of --prompt, else of --prompt-file, else of a pipe that has text; None when there is none.

    The newline that ends the last line of a file or pipe is no part of the prompt (`echo Once | bittygpt sample`).

    Raises:
        UsageError: both are given, or the file cannot be read or is no UTF-8.
    """
    if prompt is not None:
        if prompt_file is not None:
            raise UsageError("--prompt and --prompt-file both say what to go on from; keep one of them")
        return _without_surrogates(prompt)
    if prompt_file is not None and str(prompt_file) != "-":
        try:
            return _decode_prompt(prompt_file.read_bytes(), f"--prompt-file {prompt_file}")
        except OSError as error:
            raise UsageError(f"--prompt-file {prompt_file} cannot be read: {error.strerror}") from None
    if prompt_file is None and (sys.stdin is None or sys.stdin.closed or sys.stdin.isatty()):
        return None
    hint = threading.Timer(
        SILENCE, talk, ["reading the prompt from the standard input; --prompt TEXT goes without it"]
    )
    hint.start()
    try:
        piped = _decode_prompt(sys.stdin.buffer.read(), "the standard input")
    finally:
        hint.cancel()
    return piped if piped or prompt_file is not None else None


def _decode_prompt(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 (byte {error.start + 1}); convert it first") from None


def _without_surrogates(text: str) -> str:
    """An argument's bytes that are no UTF-8 come as lone surrogates, which cannot be printed: U+FFFD instead."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _run(
    model: TransformerLM,
    tokenizer: Tokenizer,
    prompt: str,
    options: SamplingOptions,
    num_samples: int,
    stop: Sequence[str],
    as_json: bool,
    meter: NoveltyMeter | None,
) -> None:
    end = tokenizer.end_of_text_id
    completions = [Completion(StreamingDecoder(tokenizer), stop, end) for _ in range(num_samples)]
    show = _write if num_samples == 1 and not as_json else _keep
    notices: list[str] = []  # said at the end, so as not to break into a story on the same terminal
    started = time.perf_counter()
    show(prompt)
    for step in generate(model, tokenizer.encode(prompt), options, end, num_samples, notices.append):
        for completion, token in zip(completions, step, strict=True):
            if token is not None:
                show(completion.push(token))
        if all(completion.finish_reason for completion in completions):
            break
    for completion in completions:
        show(completion.finish("length"))
    elapsed = time.perf_counter() - started
    if as_json:
        for index, completion in enumerate(completions):
            novelty = {"novelty": meter.fields(completion.token_ids)} if meter else {}
            result(json.dumps(_record(prompt, completion, options.seed, index) | novelty))
    elif num_samples == 1:
        result("")
    else:
        result(BETWEEN_SAMPLES.join(prompt + completion.text for completion in completions))
    for notice in notices:
        talk(notice)
    if meter:
        for completion in completions:
            talk(meter.line(completion.token_ids))
    num_tokens = sum(len(completion.token_ids) for completion in completions)
    talk(f"{num_tokens:,} tokens in {elapsed:.2f} s, {num_tokens / elapsed:,.0f} tokens/s")


def _record(prompt: str, completion: Completion, seed: int, index: int) -> dict[str, Any]:
    """`text` is without the prompt; `logprobs` are those of the model's own distribution: no filters, temperature 1."""
    return {
        "prompt": prompt,
        "text": completion.text,
        "tokens": completion.token_ids,
        "logprobs": completion.logprobs,
        "finish_reason": completion.finish_reason,
        "seed": seed,
        "index": index,
    }


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _keep(_text: str) -> None:
    pass
