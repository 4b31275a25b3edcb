"""Where prompts come from: an argument, a file, a pipe, or the lines of a .jsonl file."""

import json
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bittygpt.errors import UsageError
from bittygpt.terminal.console import log

SILENCE = 1.0  # seconds of waiting for a pipe before saying so


def read_prompt(prompt: str | None, prompt_file: Path | None) -> str | None:
    """The prompt of --prompt, else of --prompt-file, else of a pipe that has text; None when there is none.

    The newline that ends the last line of a file or pipe is no part of the prompt (`echo Once | bittygpt sample`).

    Raises:
        UsageError: the file cannot be read or is no UTF-8.
    """
    if prompt is not None:
        return _without_surrogates(prompt)
    if prompt_file is not None and str(prompt_file) != "-":
        try:
            return _decode_prompt(prompt_file.read_bytes(), f"--prompt-file {prompt_file}")
        except OSError as error:
            raise UsageError(f"--prompt-file {prompt_file} cannot be read: {error.strerror}") from None
    if prompt_file is None and (sys.stdin is None or sys.stdin.closed or sys.stdin.isatty()):
        return None
    hint = threading.Timer(
        SILENCE, log, ["reading the prompt from the standard input; --prompt TEXT goes without it"]
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


def is_prompt_list(prompt_file: Path) -> bool:
    """Whether a file holds many prompts, a JSON object each line, instead of one."""
    return prompt_file.name.endswith(".jsonl")


def read_prompt_list(path: Path, taken: Collection[str]) -> Iterator[dict[str, Any]]:
    """The objects of a .jsonl file, one at a time, each with a text under "prompt"; empty lines are passed over.

    Args:
        taken: fields that a result has, and a prompt's object must not.

    Raises:
        UsageError: the file cannot be read, or a line is none of these; names the line.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse_line(line, f"--prompt-file {path}, line {number}", taken)
    except OSError as error:
        raise UsageError(f"--prompt-file {path} cannot be read: {error.strerror}") from None


def _parse_line(line: bytes, where: str, taken: Collection[str]) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 (byte {error.start + 1}); convert the file first") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f'{where} is no JSON ({error}); write {{"prompt": "..."}} on each line') from None
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):
        raise UsageError(f'{where} has no text under "prompt"; write {{"prompt": "..."}} on each line')
    if clash := sorted(taken & record.keys()):
        raise UsageError(f"{where} has a field {clash[0]!r}, as the result has; call it something else")
    return {**record, "prompt": _without_surrogates(record["prompt"])}
