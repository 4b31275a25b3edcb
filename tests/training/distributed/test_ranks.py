"""How the processes of a run find each other, in a store that may hold words of processes that are gone."""

import threading
from datetime import timedelta

import pytest
import torch.distributed as dist

from bittygpt.errors import RankLostError
from bittygpt.training.distributed import ranks as distributed
from bittygpt.training.distributed.ranks import Ranks, _agree_on_prefix, ranks_from_environment


def meet(store, size):
    names = {}
    threads = [
        threading.Thread(target=lambda r=rank: names.update({r: _agree_on_prefix(store, Ranks(r, size))}))
        for rank in reversed(range(size))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(names) == size, "somebody still waits"
    assert len(set(names.values())) == 1
    return names[0]


@pytest.fixture
def store():
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=20))
    return store


@pytest.mark.parametrize("size", [2, 4])
def test_all_learn_the_same_name_and_another_one_each_time(store, size):
    assert len({meet(store, size) for _ in range(3)}) == 3


def test_an_answer_to_a_process_that_is_gone_does_no_harm(store):
    store.set("ask/1", "one that was killed before it was answered")
    late = []
    main = threading.Thread(target=lambda: late.append(_agree_on_prefix(store, Ranks(0, 2))))
    main.start()
    main.join(timeout=0.3)
    assert main.is_alive(), "the dead cannot give thanks"
    name = _agree_on_prefix(store, Ranks(1, 2))
    main.join(timeout=10)
    assert late == [name]


def test_who_does_not_come_is_not_waited_for_for_ever(store, monkeypatch):
    monkeypatch.setattr(distributed, "TIMEOUT", timedelta(seconds=0.1))
    with pytest.raises(RankLostError, match="not all of the 3 ranks"):
        _agree_on_prefix(store, Ranks(0, 3))


def test_the_environment_tells_the_rank(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert ranks_from_environment() == Ranks(0, 1, 0)
    monkeypatch.setenv("RANK", "9")
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks_from_environment() == Ranks(9, 16, 1)
    assert Ranks(9, 16, 1).rows(32) == (18, 20)
