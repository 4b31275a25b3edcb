"""Shards: what is written in pieces is read back as one ring, and a damaged folder is said to be one."""

import numpy as np
import pytest

from bittygpt.data.shards import ShardWriter, TokenSplit
from bittygpt.errors import DataError


def write(folder, pieces, shard_tokens=10):
    writer = ShardWriter(folder, "train", np.dtype(np.uint16), shard_tokens)
    for piece in pieces:
        writer.write(np.array(piece, dtype=np.int64))
    writer.close()
    return writer.shards


@pytest.mark.parametrize("sizes", [[3], [10], [25], [4, 4, 4], [9, 1, 10, 11], [0, 7, 0]])
def test_pieces_come_back_as_one_ring(tmp_path, sizes):
    total = sum(sizes)
    pieces = np.split(np.arange(total), np.cumsum(sizes)[:-1])
    shards = write(tmp_path, pieces)
    assert [shard["tokens"] for shard in shards[:-1]] == [10] * (len(shards) - 1)
    split = TokenSplit(tmp_path, shards)
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


def test_missing_cut_and_foreign_shards_are_named(tmp_path):
    shards = write(tmp_path, [range(15)])
    second = tmp_path / "train-00001.npy"
    second.write_bytes(second.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"train-00001\.npy is damaged"):
        TokenSplit(tmp_path, shards)
    np.save(second, np.zeros(4, dtype=np.uint16))
    with pytest.raises(DataError, match="holds 4 tokens and should hold 5"):
        TokenSplit(tmp_path, shards)
    second.unlink()
    with pytest.raises(DataError, match=r"train-00001\.npy is missing"):
        TokenSplit(tmp_path, shards)
