"""Hugging Face's `tokenizer.json` as a vocabulary of ours, where it is one: byte-level BPE that splits text as GPT-2.

There, ids are in any order; here, special tokens come first, then the bytes, then merges. So a model that was trained
with the one is trained with the other once its rows are sorted the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bittygpt.errors import DataError
from bittygpt.tokenizer.byte_level import UnderivableError, merges_of, unspell
from bittygpt.tokenizer.pretokenization import GPT_2_PATTERN

PATTERNS = (GPT_2_PATTERN, r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False}
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
# the ways to say that text is split as GPT-2 does
SPLITTERS = (
    [{**BYTE_LEVEL, "use_regex": True}],
    *([{**SPLIT, "pattern": {"Regex": pattern}}, {**BYTE_LEVEL, "use_regex": False}] for pattern in PATTERNS),
)


@dataclass(frozen=True)
class ForeignVocabulary:
    """Tokens in our order, special ones first, and which id each has in the file."""

    tokens: list[bytes]
    special_tokens: list[str]
    ids_there: list[int]


def vocabulary_of(value: Mapping[str, Any], source: Path) -> ForeignVocabulary:
    """What a parsed `tokenizer.json` says.

    Raises:
        DataError: it encodes otherwise than any vocabulary here would; names all reasons.
    """
    try:
        model = value["model"]
        if faults := _faults(value, model):
            raise DataError(f"{source}: no vocab.json gives the same tokens: {'; '.join(faults)}")
        special = {entry["content"]: entry["id"] for entry in value.get("added_tokens") or ()}
        merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
        plain = {unspell(token): i for token, i in model["vocab"].items() if token not in special}
        pairs = [(unspell(left), unspell(right)) for left, right in merges]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{source}: is no tokenizer.json of byte-level BPE ({error!r})") from None
    return _in_our_order(special, plain, pairs, source)


def _faults(value: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    faults = []
    if model.get("type") != "BPE":
        faults.append(f"its model is {model.get('type')} and not BPE")
    for key in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            faults.append(f"its model has {key}")
    if value.get("normalizer") is not None:
        faults.append(f"it changes text first (normalizer {value['normalizer'].get('type')})")
    splitter = value.get("pre_tokenizer") or {}
    parts = (splitter.get("pretokenizers") or []) if splitter.get("type") == "Sequence" else [splitter]
    if [_without_defaults(part) for part in parts] not in SPLITTERS:
        kinds = " and ".join(str(part.get("type")) for part in parts)
        faults.append(f"it does not split text as GPT-2 does (pre_tokenizer {kinds})")
    plain = [entry["content"] for entry in value.get("added_tokens") or () if not entry.get("special")]
    if plain:
        faults.append(f"added_tokens has what is no special token ({plain[0]!r})")
    return faults


def _without_defaults(splitter: Mapping[str, Any]) -> dict[str, Any]:
    """A pre-tokenizer without what changes no token, and with what it leaves unsaid."""
    found = {key: part for key, part in splitter.items() if key != "trim_offsets"}
    return {"use_regex": True, **found} if found.get("type") == "ByteLevel" else found


def _in_our_order(
    special: dict[str, int], plain: dict[bytes, int], merges: list[tuple[bytes, bytes]], source: Path
) -> ForeignVocabulary:
    single = [bytes([byte]) for byte in range(256)]
    merged = [left + right for left, right in merges]
    missing = [token for token in (*single, *merged) if token not in plain]
    if missing or len(plain) != 256 + len(set(merged)):
        extra = set(plain) - {*single, *merged}
        which = f"{missing[0]!r} is missing" if missing else f"{min(extra)!r} comes from no merge"
        raise DataError(f"{source}: its vocabulary is not that of its merges: {which}")
    try:
        derived = merges_of([*single, *merged], 256)
    except UnderivableError as error:
        raise DataError(f"{source}: {error}; no vocab.json gives the same tokens") from None
    if derived != merges:
        raise DataError(f"{source}: a token is merged from other parts than its merges say")
    first = sorted(special, key=lambda token: special[token])
    tokens = [*(token.encode() for token in first), *single, *merged]
    ids_there = [special[token] for token in first] + [plain[token] for token in (*single, *merged)]
    return ForeignVocabulary(tokens, first, ids_there)
