"""Windows: every token the target of one window, and documents whole where they are asked to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bittygpt.data.windows import DocumentWindows, StreamWindows


def targets(windows, num_tokens, phase=None):
    """The targets of each window, as positions on the ring."""
    starts, lengths = windows.spans(np.arange(windows.count), phase)
    return [
        ((start + 1 + np.arange(length)) % num_tokens).tolist()
        for start, length in zip(starts, lengths, strict=True)
    ]


@settings(max_examples=200)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40), context=st.integers(1, 20))
def test_every_token_is_the_target_of_one_window_and_documents_that_fit_are_whole(sizes, context):
    ends = np.cumsum(sizes) - 1
    windows = targets(DocumentWindows(ends, context), sum(sizes))
    assert [position for window in windows for position in window] == list(range(sum(sizes)))
    assert all(1 <= len(window) <= context for window in windows)
    for size, end in zip(sizes, ends, strict=True):
        document = set(range(end - size + 1, end + 1))
        if size <= context:
            assert any(document <= set(window) for window in windows)


def test_as_many_documents_as_fit_share_a_window():
    ends = np.cumsum([3, 4, 1, 8, 2, 21, 2]) - 1
    lengths = [len(window) for window in targets(DocumentWindows(ends, 8), 41)]
    assert lengths == [3 + 4 + 1, 8, 2, 8, 8, 5 + 2]


def test_the_first_input_is_the_end_before_the_document():
    ends = np.array([3, 9])
    starts, _ = DocumentWindows(ends, 7).spans(np.arange(2), None)
    assert (starts % 10).tolist() == [9, 3]


@pytest.mark.parametrize("phase", [0, 1, 7, 8])
def test_in_training_every_other_window_begins_with_the_document_itself(phase):
    ends = np.array([3, 9, 15, 40])
    plain, trained = (targets(DocumentWindows(ends, 7), 41, p) for p in (None, phase))
    cut = {number for number in range(len(plain)) if plain[number] != trained[number]}
    at_document = {0, 1, 2, 3}  # and 4, 5, 6 go on with the last document
    assert len(plain) == 7
    assert cut == {number for number in at_document if (number + phase) % 2}
    assert all(trained[number] == plain[number][1:] for number in cut)


@pytest.mark.parametrize("phase", [None, 0, 5])
def test_a_stream_is_cut_every_t_tokens_from_the_phase_on(phase):
    windows = targets(StreamWindows(10, 4), 10, phase)
    assert [len(window) for window in windows] == [4, 4, 2]
    assert sorted(position for window in windows for position in window) == list(range(10))
    assert windows[0][0] == (phase or 0) + 1
