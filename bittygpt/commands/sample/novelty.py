"""`bittygpt sample --novelty`: how much of a generated text is copied from the training data."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bittygpt.config import RunConfig
from bittygpt.data.analysis.novelty import Novelty, measure_novelty
from bittygpt.data.prepared import PreparedTokens, read_manifest
from bittygpt.errors import UsageError
from bittygpt.training.checkpoints.checkpoint import read_state

SHOWN_CHARACTERS = 200
SAMPLES_KEPT = 1024


class NoveltyMeter:
    """Measures the samples of a checkpoint against the tokens that it was trained on."""

    def __init__(self, config: RunConfig, checkpoint: Path) -> None:
        """
        Raises:
            UsageError: the tokens are not in the run's data.dir, or are others now.
        """
        folder = Path(config.data.dir).expanduser()
        manifest = read_manifest(folder)
        if manifest is None:
            raise UsageError(
                f"--novelty compares with the training tokens, and there are none in {folder}; call it where the run "
                "was trained, or make them again with `bittygpt tokenize`"
            )
        prepared = PreparedTokens(folder, manifest)
        if read_state(checkpoint).get("data_hash", prepared.hash()) != prepared.hash():
            raise UsageError(
                f"--novelty compares with the training tokens, and {folder} holds others than {checkpoint} was "
                "trained on; make them again with `bittygpt tokenize`"
            )
        self.tokenizer, self.training_tokens = prepared.tokenizer, prepared.split("train")
        # with --json a sample has a record and a line; to measure it reads all training tokens
        self._measured = lru_cache(SAMPLES_KEPT)(self._measure)

    def fields(self, token_ids: Sequence[int]) -> dict[str, Any]:
        """What a sample's JSON record says of its generated tokens."""
        novelty, text = self._measured(tuple(token_ids))
        return {
            "longest_copied_tokens": novelty.longest,
            "longest_copied_text": text,
            "seen_8grams": novelty.seen,
        }

    def line(self, token_ids: Sequence[int]) -> str:
        """The same for a person."""
        novelty, text = self._measured(tuple(token_ids))
        shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
        copied = f"{novelty.longest} of {len(token_ids)} tokens in a row"
        if novelty.seen is None:  # too short for an 8-gram
            return f"novelty: {copied} are in the training data: {shown!r}"
        return f"novelty: {novelty.seen:.0%} of the 8-grams are in the training data, and {copied}: {shown!r}"

    def _measure(self, token_ids: tuple[int, ...]) -> tuple[Novelty, str]:
        novelty = measure_novelty(list(token_ids), self.training_tokens)
        copied = token_ids[novelty.first : novelty.first + novelty.longest]
        return novelty, self.tokenizer.decode(list(copied))
