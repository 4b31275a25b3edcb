"""From a block to its documents: separators, lines of JSON, broken records; and each document's hash."""

import hashlib
import json
from dataclasses import dataclass

from bittygpt.errors import BadRecordError
from bittygpt.text.pieces import Block
from bittygpt.tokenizer.pretokenization import well_formed


@dataclass(frozen=True)
class ReadOptions:
    """How documents are cut from files: `data.separator`, `data.text_key`, `data.on_bad_record`."""

    separator: str
    text_key: str
    skip_bad_records: bool


def documents_of(block: Block, options: ReadOptions) -> tuple[list[str], int]:
    """The documents of a block in order, the empty ones left out, and how many broken records were skipped.

    Nothing is stripped: what is between two separators is the document. Lone surrogates become U+FFFD.

    Raises:
        BadRecordError: a record is not UTF-8, no JSON object, or lacks `data.text_key`; with the file, and the byte
            offset, the line or the row. With `data.on_bad_record: skip` such records are counted instead.
    """
    read = {"txt": _from_txt, "jsonl": _from_jsonl, "texts": _from_texts}[block.kind]
    records = read(block, options)
    texts = [text for text in records if text]
    return texts, sum(text is None for text in records)


def _from_txt(block: Block, options: ReadOptions) -> list[str | None]:
    content = block.content
    assert isinstance(content, bytes)
    try:
        return [*content.decode().split(options.separator)]
    except UnicodeDecodeError as error:
        if not options.skip_bad_records:
            raise not_utf8(block.name, block.begin.offset + error.start, error.reason) from None
    return [_decoded_or_none(raw) for raw in content.split(options.separator.encode())]


def not_utf8(name: str, offset: int, reason: str) -> BadRecordError:
    """The error of a .txt file with a byte that is not UTF-8."""
    return BadRecordError(
        f"{name}: byte {offset} is not UTF-8 ({reason})",
        "convert the file, or set data.on_bad_record: skip to leave such documents out",
    )


def _decoded_or_none(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _from_jsonl(block: Block, options: ReadOptions) -> list[str | None]:
    content = block.content
    assert isinstance(content, bytes)
    records: list[str | None] = []
    for number, line in enumerate(content.split(b"\n"), block.begin.line):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[options.text_key]
            if not isinstance(text, str):
                raise TypeError
            records.append(well_formed(text))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            if not options.skip_bad_records:
                raise BadRecordError(
                    f"{block.name}:{number}: not a JSON object with a text under {options.text_key!r}",
                    "set data.text_key, mend the line, or set data.on_bad_record: skip to leave such lines out",
                ) from None
            records.append(None)
    return records


def _from_texts(block: Block, options: ReadOptions) -> list[str | None]:
    texts = block.content
    assert isinstance(texts, list)
    if None in texts and not options.skip_bad_records:
        row = block.begin.offset + texts.index(None)
        raise BadRecordError(
            f"{block.name}: row {row} has no text under {options.text_key!r}",
            "mend it, or set data.on_bad_record: skip to leave such rows out",
        )
    return texts


DIGEST_BITS = 64


def new_digest() -> "hashlib.blake2b":
    """A hash to update with a document's UTF-8, piece by piece."""
    return hashlib.blake2b(digest_size=DIGEST_BITS // 8, person=b"bittygpt-val")


def digest_of(text: str) -> int:
    """64 bits that tell a document from others: it decides the split, and finds the same document again."""
    digest = new_digest()
    digest.update(text.encode())
    return int.from_bytes(digest.digest(), "little")


def is_validation(digest: int, fraction: float) -> bool:
    """Whether the document of a digest belongs to the validation split, which is to have this share of all.

    A document's own hash decides, so it stays where it is when others come or go or are put in another order.
    """
    return digest < int(fraction * 2**DIGEST_BITS)
