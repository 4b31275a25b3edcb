"""`bittygpt tokenize`: text -> tokens on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bittygpt.config import load_config
from bittygpt.data.preparation.prepare import prepare_tokens
from bittygpt.data.preparation.report import describe_report
from bittygpt.data.prepared import PreparedTokens
from bittygpt.terminal.console import log, result
from bittygpt.terminal.preparation import PreparationProgress


def tokenize(config_path: Path, overrides: Sequence[str], *, as_json: bool) -> None:
    """Make the tokens of a config, or say that they are there."""
    config = load_config(config_path, overrides)
    with PreparationProgress() as progress:
        tokens, made = prepare_tokens(config, progress)
    if as_json:
        result(json.dumps({"dir": str(tokens.folder), "made": made, **tokens.manifest}))
        return
    if not made:
        log(f"{tokens.folder} already holds these tokens")
    for line in describe(tokens):
        result(line)


def describe(tokens: PreparedTokens) -> list[str]:
    """A few lines that say what the tokens are."""
    splits: dict[str, dict[str, Any]] = tokens.manifest["splits"]
    lines = [f"{tokens.folder}: {tokens.tokenizer.vocab_size:,} entries in the vocabulary"]
    for name, split in splits.items():
        per_token = split["bytes"] / max(1, split["tokens"] - split["documents"])
        lines.append(
            f"{name}: {split['tokens']:,} tokens of {split['documents']:,} document{'s' * (split['documents'] != 1)}, "
            f"{split['bytes']:,} bytes, "
            f"{per_token:.2f} bytes per token"
            if split["tokens"]
            else f"{name}: nothing"
        )
    if skipped := tokens.manifest.get("skipped_records"):
        lines.append(f"{skipped:,} broken records were left out")
    if report := tokens.manifest.get("report"):
        lines += describe_report(report, splits)
    return lines
