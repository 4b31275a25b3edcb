"""The run's own validation text is taken where it lies, and otherwise the reason is said."""

import numpy as np
import pytest

from bittygpt.errors import DataError
from bittygpt.export import validation_text
from bittygpt.export.validation_text import ValidationText, read_validation_text
from bittygpt.files import write_json
from bittygpt.tokenizer.tokenizer import Tokenizer

SPECIAL = ["<|endoftext|>"]
TOKENIZER = Tokenizer([b"<|endoftext|>", *(bytes([value]) for value in range(256))], SPECIAL)


def prepare(folder, text="héllo", tokenizer=TOKENIZER):
    ids = np.array([*tokenizer.encode(text), 0] * bool(text), dtype=np.uint16)
    np.save(folder / "val-00000.npy", ids)
    shards = [{"file": "val-00000.npy", "tokens": len(ids), "sha256": ""}]
    description = {"special_tokens": SPECIAL, "encoding": "bpe", "hash": tokenizer.hash()}
    splits = {"train": {"shards": []}, "val": {"shards": shards if text else []}}
    write_json(folder / "manifest.json", {"format": 1, "tokenizer": description, "splits": splits})


def test_the_beginning_of_the_split_as_tokens_and_text(tmp_path, monkeypatch):
    prepare(tmp_path)
    found = read_validation_text(tmp_path, TOKENIZER)
    assert (found.text, found.ids) == ("héllo<|endoftext|>", [*TOKENIZER.encode("héllo"), 0])
    monkeypatch.setattr(validation_text, "MOST_TOKENS", 1)
    assert read_validation_text(tmp_path, TOKENIZER).text == "h"


def test_windows_are_as_far_apart_as_can_be():
    found = ValidationText(list(range(10)), "")
    assert found.windows(4).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert found.windows(20).tolist() == [list(range(10))]


def test_what_is_not_there_or_of_others_is_named(tmp_path):
    with pytest.raises(DataError, match="there are no tokens in"):
        read_validation_text(tmp_path / "nowhere", TOKENIZER)
    prepare(tmp_path, "")
    with pytest.raises(DataError, match="holds none"):
        read_validation_text(tmp_path, TOKENIZER)
    prepare(tmp_path)
    other = Tokenizer([*TOKENIZER.vocabulary, b"th"], SPECIAL)
    with pytest.raises(DataError, match="are of another vocabulary"):
        read_validation_text(tmp_path, other)
    (tmp_path / "val-00000.npy").unlink()
    with pytest.raises(DataError, match="is missing"):
        read_validation_text(tmp_path, TOKENIZER)
