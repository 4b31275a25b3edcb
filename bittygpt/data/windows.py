"""Where the windows of a split begin: the stretches of T tokens that the model is trained on and evaluated on.

Either the split is cut every T tokens, wherever that falls, or a window begins where a document begins; both ways
every token is the target of one window. The first wastes nothing. The second lets every document be read from its
beginning: what is said there (a hero's name) can be learned to be kept from the first steps on, where after a blind
cut it often cannot be known.
"""

from bisect import bisect_right

import numpy as np


class StreamWindows:
    """A cut every T tokens; the last window may be shorter."""

    def __init__(self, num_targets: int, context_length: int) -> None:
        self.num_targets, self.context_length = num_targets, context_length
        self.count = -(-num_targets // context_length)

    def spans(self, numbers: np.ndarray, phase: int | None) -> tuple[np.ndarray, np.ndarray]:
        """(N,) windows -> position of each one's first input (N,), and how many targets follow it, up to T (N,).

        Args:
            phase: a number by which the cut differs from epoch to epoch: it moves every cut by so many tokens along
                the ring. None: the plain cut, for evaluation.
        """
        starts = numbers * self.context_length
        return (phase or 0) + starts, np.minimum(self.context_length, self.num_targets - starts)


class DocumentWindows:
    """As many whole documents as fit into T tokens, in the order of the split; a longer one is cut every T tokens.

    The first input is the `<|endoftext|>` before the first document, so that beginnings are learned, too. What is
    left of the T positions after the last document has no targets. The cut is the same in every epoch, but with an
    odd phase every other window, with an even one the others, are begun with the document itself, whose first token
    then is no target: people give prompts without an `<|endoftext|>` before them, and so must the model have seen
    them.

    Args:
        ends: positions of `<|endoftext|>` in the split, ascending, the split's last token among them.
    """

    def __init__(self, ends: np.ndarray, context_length: int) -> None:
        borders = ends.tolist()
        starts = [-1]  # on the ring: the last token, which is the end of the last document
        while starts[-1] < borders[-1]:
            last_that_fits = bisect_right(borders, starts[-1] + context_length) - 1
            whole = last_that_fits >= 0 and borders[last_that_fits] > starts[-1]
            starts.append(borders[last_that_fits] if whole else starts[-1] + context_length)
        self.starts, self.lengths = np.array(starts[:-1]), np.diff(starts)
        self.at_document = np.isin(self.starts, [-1, *borders])
        self.count = len(self.starts)

    def spans(self, numbers: np.ndarray, phase: int | None) -> tuple[np.ndarray, np.ndarray]:
        """As `StreamWindows.spans`; of the phase only its being odd or even counts."""
        starts, lengths = self.starts[numbers], self.lengths[numbers]
        if phase is None:
            return starts, lengths
        without_end = self.at_document[numbers] & ((numbers + phase) % 2 == 1)
        return starts + without_end, lengths - without_end
