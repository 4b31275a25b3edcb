"""`bittygpt sample`: checkpoint -> text."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bittygpt.commands.out_of_memory import of_sampling
from bittygpt.commands.sample.interactive import converse
from bittygpt.commands.sample.novelty import NoveltyMeter
from bittygpt.commands.sample.prompts import is_prompt_list, read_prompt
from bittygpt.commands.sample.score import score_file
from bittygpt.commands.sample.texts import Sampler, write_many, write_texts
from bittygpt.config import RunConfig, load_config, overlay_sample
from bittygpt.errors import ConfigError, UsageError
from bittygpt.sampling.options import SamplingOptions
from bittygpt.terminal.console import forget_reader, log
from bittygpt.training.checkpoints.checkpoint import find_checkpoint, load_checkpoint
from bittygpt.training.devices.device import Device, choose_device
from bittygpt.training.devices.memory import memory_explained

DEVICES = ("auto", "cpu", "cuda", "mps")
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
    interactive: bool,
    score: Path | None,
    as_json: bool,
    device: str,
    novelty: bool = False,
) -> None:
    """Print texts that the model of a checkpoint writes; what is None is as the checkpoint's `sample:` section says.

    `interactive` takes prompts from the keyboard (`converse`), a `prompt_file` that ends with .jsonl holds many
    (`write_many`), and `score` names a text to be read instead of one to be written (`score_file`); else there is one
    prompt (`write_texts`).

    Raises:
        UsageError: a flag is out of range or does not go with another, or the prompt cannot be read.
        ConfigError: `config` has faults.
        CheckpointError: no good checkpoint is at `ckpt`.
        DataError: the text to score cannot be read.
        OutOfMemoryError: says on what the memory went.
    """
    arguments = locals()
    given = {name: value for name, value in arguments.items() if name in _RANGES and value is not None}
    check_flags(given, stop)
    texts = ("prompt", "prompt_file", "stop", "ignore_eos", "novelty")
    check_modes({**given, **{name: arguments[name] for name in texts}}, interactive, score, as_json)
    many = prompt_file if prompt_file is not None and is_prompt_list(prompt_file) else None
    prompt = None if interactive or score or many else read_prompt(prompt, prompt_file)
    target = device_of_flag(device)
    folder, run_config = _read_config(ckpt, config)
    settings = {**run_config.sample.model_dump(), **given}
    config_prompt, count = settings.pop("prompt"), settings.pop("num_samples")
    options = SamplingOptions(**settings, ignore_eos=ignore_eos)
    meter = NoveltyMeter(run_config, folder) if novelty else None
    explained = memory_explained(partial(of_sampling, folder, target, options.max_tokens))
    with explained, target.autocast(), _reader_may_leave():
        model, tokenizer = load_checkpoint(folder, target.torch_device, scored=score is not None)
        sampler = Sampler(model, tokenizer, options, tuple(stop), count, as_json, meter)
        if score is not None:
            score_file(model, tokenizer, score, run_config, as_json)
        elif interactive:
            converse(sampler)
        elif many is not None:
            write_many(sampler, many)
        else:
            write_texts(sampler, config_prompt if prompt is None else prompt)


def _read_config(ckpt: str, config: Path | None) -> tuple[Path, RunConfig]:
    """The checkpoint's folder, and its config with another file's `sample:` section over it."""
    folder = find_checkpoint(ckpt, log)
    run_config = load_config(folder / "config.yaml")
    return folder, run_config if config is None else overlay_sample(run_config, config)


def device_of_flag(name: str) -> Device:
    """The device of `--device`. Raises UsageError where there is none of that name, or it is not there."""
    if name not in DEVICES:
        raise UsageError(f"--device {name} is none of {', '.join(DEVICES)}")
    try:
        return choose_device(name, "auto")
    except ConfigError as error:
        raise UsageError(str(error).replace("train.device:", "--device:")) from None


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Let the reader of stdout leave (head, less) without an error: Typer would exit with code 1."""
    try:
        yield
    except BrokenPipeError:
        forget_reader()


def check_flags(given: Mapping[str, float], stop: Sequence[str]) -> None:
    """Raises UsageError, with a line for each flag that is out of range."""
    faults = [
        f"{_flag(name)} {given[name]} is out of range; give {text}"
        for name, (text, is_within) in _RANGES.items()
        if name in given and not is_within(given[name])
    ]
    if "" in stop:
        faults.append("--stop needs a text of at least one character")
    if faults:
        raise UsageError("\n".join(faults))


def check_modes(given: Mapping[str, object], interactive: bool, score: Path | None, as_json: bool) -> None:
    """Raises UsageError where a flag would be of no use beside --interactive or --score."""
    if interactive and score is not None:
        raise UsageError("--interactive writes texts and --score reads one; keep one of them")
    if given["prompt"] is not None and given["prompt_file"] is not None:
        raise UsageError("--prompt and --prompt-file both say what to go on from; keep one of them")
    useless = [
        name for name, value in given.items() if value is not None and value is not False and value != []
    ]
    if interactive:
        useless = [name for name in useless if name in ("prompt", "prompt_file", "num_samples")]
        useless += ["json"] * as_json
    if useless and (interactive or score is not None):
        mode = "--interactive" if interactive else "--score"
        raise UsageError(f"{_flag(useless[0])} says nothing to {mode}; leave one of them out")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
