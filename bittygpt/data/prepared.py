"""Tokens that lie ready in `data.dir`, and the manifest that says what they were made of."""

import hashlib
import json
from pathlib import Path
from typing import Any

from bittygpt.data.shards import TokenSplit
from bittygpt.errors import DataError
from bittygpt.text.sources import Progress, Source
from bittygpt.tokenizer.tokenizer import Tokenizer

MANIFEST = "manifest.json"
VOCABULARY = "vocab.json"
ON_BAD_RECORD = "data.on_bad_record"  # without such records it changes nothing


class PreparedTokens:
    """The contents of `data.dir`: tokenizer, manifest, and the splits as `TokenSplit`s."""

    def __init__(self, folder: Path, manifest: dict[str, Any], tokenizer: Tokenizer | None = None) -> None:
        """
        Args:
            tokenizer: that of vocab.json, where it is at hand.

        Raises:
            DataError: vocab.json is missing or damaged, or is not the vocabulary of the manifest.
        """
        self.folder, self.manifest = folder, manifest
        description = manifest["tokenizer"]
        self.tokenizer = tokenizer or self._load_tokenizer(description)
        if self.tokenizer.hash() != description["hash"]:
            raise DataError(
                f"{folder / VOCABULARY} is not the vocabulary that the tokens beside it were made with; "
                f"delete {folder} and run `bittygpt tokenize` again"
            )

    def _load_tokenizer(self, description: dict[str, Any]) -> Tokenizer:
        path = self.folder / VOCABULARY
        try:
            return Tokenizer.load(path, description["special_tokens"], description["encoding"])
        except DataError as error:
            fault = str(error).rpartition("; ")[0]  # the remedy there is for a vocabulary of the user's own
            raise DataError(f"{fault}; delete {self.folder} and run the same command again") from error

    def split(self, name: str) -> TokenSplit:
        """The tokens of "train" or "val"."""
        return TokenSplit(self.folder, self.manifest["splits"][name]["shards"], self.tokenizer.vocab_size)

    def hash(self) -> str:
        """What the tokens are, in 64 hexadecimal digits: equal for equal tokens, wherever they lie."""
        parts = [self.manifest["tokenizer"]["hash"]]
        parts += [
            f"{name}:{shard['sha256']}"
            for name, split in self.manifest["splits"].items()
            for shard in split["shards"]
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def describe_source(
    source: Source, split: str, known: dict[str, Any] | None, on_progress: Progress
) -> dict[str, Any]:
    """A source's entry in the manifest; its hash is read anew only when size or time of change differ."""
    stamp = source.stamp()
    for entry in (known or {}).get("sources", []):
        if source.path and entry["name"] == source.name and all(entry[key] == stamp[key] for key in stamp):
            return {**entry, "for": split}
    sha256 = source.hash(lambda done: on_progress(f"checking {source.name}", done, source.size()))
    return {"name": source.name, "for": split, **stamp, "sha256": sha256}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of finished tokens, None where there are none."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if manifest["format"] == 1:
            return dict(manifest)
    except (ValueError, KeyError, TypeError):
        pass
    raise DataError(
        f"{path} is damaged or of another version; delete {folder} and run `bittygpt tokenize` again"
    )


def require_same_inputs(
    folder: Path, known: dict[str, Any], settings: dict[str, Any], sources: list[dict[str, Any]], what: str
) -> None:
    """Raise DataError when the tokens (`what` they are: finished or not) were made from other sources or settings."""
    before = known["settings"]
    changes = [
        f"{key} was {before.get(key)!r} and is {value!r}"
        for key, value in settings.items()
        if before.get(key) != value and not (key == ON_BAD_RECORD and not known.get("skipped_records"))
    ]
    changes += _source_changes(known["sources"], sources)
    if changes:
        raise DataError(
            f"{folder} holds {what} of other text or settings: {'; '.join(changes[:5])}"
            f"{' …' if len(changes) > 5 else ''}; set data.dir to another folder, or delete this one"
        )


def _source_changes(known: list[dict[str, Any]], sources: list[dict[str, Any]]) -> list[str]:
    """What the text is decides, not where it lies."""
    before, now = ([(entry["for"], entry["sha256"]) for entry in entries] for entries in (known, sources))
    if before == now:
        return []
    names_before, names_now = ({(e["for"], e["name"]) for e in entries} for entries in (known, sources))
    changes = [
        f"{e['name']} has changed"
        if (e["for"], e["name"]) in names_before
        else f"{e['name']} is new in data.{e['for']}"
        for e in sources
        if (e["for"], e["sha256"]) not in before
    ]
    changes += [
        f"{e['name']} is gone from data.{e['for']}"
        for e in known
        if (e["for"], e["sha256"]) not in now and (e["for"], e["name"]) not in names_now
    ]
    return changes or ["the sources are others, or come in another order"]
