"""Shards: what is written in pieces is read back as one ring, and a damaged folder is said to be one."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bittygpt.data import shards
from bittygpt.data.batches import TrainingBatches, evaluation_batches
from bittygpt.data.shards import ShardWriter, TokenSplit
from bittygpt.errors import DataError
from bittygpt.files import sha256_of


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_TOKENS", 10)


def write(folder, pieces):
    writer = ShardWriter(folder, "train", np.dtype(np.uint16))
    for piece in pieces:
        writer.write(np.array(piece, dtype=np.int64))
    writer.close()
    return writer.shards


@pytest.mark.parametrize("sizes", [[3], [10], [25], [4, 4, 4], [9, 1, 10, 11], [0, 7, 0]])
def test_pieces_come_back_as_one_ring(tmp_path, sizes):
    total = sum(sizes)
    pieces = np.split(np.arange(total), np.cumsum(sizes)[:-1])
    written = write(tmp_path, pieces)
    assert [shard["tokens"] for shard in written[:-1]] == [10] * (len(written) - 1)
    split = TokenSplit(tmp_path, written)
    assert split.num_tokens == total
    for start in (0, total // 2, total - 1, 3 * total + 1):
        for length in (1, total, 2 * total + 3):
            assert split.read(start, length).tolist() == [(start + i) % total for i in range(length)]


def test_a_token_is_found_wherever_it_stands(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 4, 47)
    split = TokenSplit(tmp_path, write(tmp_path, np.split(tokens, [5, 20])))
    assert split.positions_of(0).tolist() == [i for i, token in enumerate(tokens) if token == 0]
    assert split.positions_of(9).tolist() == []


def test_a_shard_is_a_plain_numpy_file(tmp_path):
    write(tmp_path, [[1, 2, 65535]])
    array = np.load(tmp_path / "train-00000.npy", mmap_mode="r")
    assert array.dtype == np.uint16
    assert array.tolist() == [1, 2, 65535]
    assert [path.name for path in tmp_path.iterdir()] == ["train-00000.npy"]


@pytest.mark.parametrize("by_documents", [False, True])
def test_an_id_beyond_the_vocabulary_is_refused_where_a_batch_is_made(tmp_path, by_documents):
    written = write(tmp_path, [[1, 0] * 20, [7, 0]])
    end = 0 if by_documents else None
    for vocab_size, is_damaged in ((8, False), (None, False), (7, True)):
        split = TokenSplit(tmp_path, written, vocab_size)
        for batches in (
            lambda split=split: TrainingBatches(split, 4, 40, 0, document_end=end).batch(1),
            lambda split=split: list(evaluation_batches(split, 4, 40, None, document_end=end)),
        ):
            said = r"hold the id 7, and the vocabulary ends at 6; delete .* and run the same command again"
            with pytest.raises(DataError, match=said) if is_damaged else nullcontext():
                batches()


def test_missing_cut_and_foreign_shards_are_named(tmp_path):
    written = write(tmp_path, [range(15)])
    second = tmp_path / "train-00001.npy"
    second.write_bytes(second.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"train-00001\.npy is damaged"):
        TokenSplit(tmp_path, written)
    np.save(second, np.zeros(4, dtype=np.uint16))
    with pytest.raises(DataError, match="holds 4 tokens and should hold 5"):
        TokenSplit(tmp_path, written)
    second.unlink()
    with pytest.raises(DataError, match=r"train-00001\.npy is missing"):
        TokenSplit(tmp_path, written)


def test_a_shard_is_byte_for_byte_what_numpy_saves(tmp_path):
    for shard in write(tmp_path, [range(14)]):
        path = tmp_path / shard["file"]
        np.save(tmp_path / "numpy.npy", np.load(path))
        assert path.read_bytes() == (tmp_path / "numpy.npy").read_bytes()
        assert shard["sha256"] == sha256_of(path)


@pytest.mark.parametrize("saved", [0, 3, 10, 14, 20, 25])
@pytest.mark.parametrize("reached", [0, 4, 13, 28])
@pytest.mark.parametrize("is_closed", [False, True])
def test_a_writer_goes_on_behind_what_an_earlier_one_left(tmp_path, saved, reached, is_closed):
    """The journal counted `saved` tokens, `reached` more were written, and then the process died."""
    tokens, dtype = np.arange(28), np.dtype(np.uint16)
    (tmp_path / "whole").mkdir()
    expected = write(tmp_path / "whole", [tokens])
    killed = ShardWriter(tmp_path, "train", dtype)
    killed.write(tokens[: min(28, saved + reached)])
    if is_closed and saved + reached >= 28:
        killed.close()
    else:
        killed.sync()
        killed.release()
    again = ShardWriter(tmp_path, "train", dtype, saved, killed.shards[:1])
    for token in tokens[saved:]:
        again.write(np.array([token]))
    again.close()
    assert again.shards == expected
    for shard in expected:
        assert (tmp_path / shard["file"]).read_bytes() == (tmp_path / "whole" / shard["file"]).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_finished_shards_are_not_touched_again(tmp_path):
    killed = ShardWriter(tmp_path, "train", np.dtype(np.uint16))
    killed.write(np.arange(25))
    killed.sync()
    killed.release()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("train-*")}
    again = ShardWriter(tmp_path, "train", np.dtype(np.uint16), 5)
    again.write(np.arange(5, 28))
    again.close()
    assert len(before) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_tokens_that_were_counted_but_are_gone_are_named(tmp_path):
    killed = ShardWriter(tmp_path, "train", np.dtype(np.uint16))
    killed.write(np.arange(7))
    killed.release()
    (tmp_path / ".train-00000.npy.part").unlink()
    with pytest.raises(DataError, match=r"\.train-00000\.npy\.part is missing or cut short"):
        ShardWriter(tmp_path, "train", np.dtype(np.uint16), 7)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 20), st.integers(0, 59))
def test_single_tokens_in_any_order(tokens, size, shift):
    split = TokenSplit.__new__(TokenSplit)
    array = np.asarray(tokens, np.uint16)
    split._arrays = [array[first : first + size] for first in range(0, len(array), size)]
    split._ends = np.cumsum([len(piece) for piece in split._arrays])
    wanted = np.roll(np.arange(len(array))[::-1], shift)
    assert split.at(wanted).tolist() == array[wanted].tolist()
