"""A sample in progress: tokens become text that can be shown, and a stop string ends it."""

from collections.abc import Sequence
from typing import Literal, Protocol

from bittygpt.sampling.options import NewToken

FinishReason = Literal["eos", "stop", "length"]


class TextDecoder(Protocol):
    """Turns ids into text one by one, and keeps back half characters: `StreamingDecoder`."""

    def push(self, token_id: int) -> str:
        """The text that is complete with this id."""

    def flush(self) -> str:
        """What remains at the end."""


class StopScanner:
    """Lets text through up to the first stop string, and keeps back what may yet become one.

    Attributes:
        found: whether a stop string has occurred; nothing is let through after it.
    """

    def __init__(self, stop_strings: Sequence[str]) -> None:
        self._stop_strings = tuple(stop_strings)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Takes the next piece of text; gives what can no longer be a part of a stop string."""
        if self.found:
            return ""
        text = self._held + text
        places = [place for stop in self._stop_strings if (place := text.find(stop)) >= 0]
        if places:
            self.found, self._held = True, ""
            return text[: min(places)]
        shown = len(text) - self._length_to_hold(text)
        self._held = text[shown:]
        return text[:shown]

    def _length_to_hold(self, text: str) -> int:
        """The length of the longest end of `text` that is the beginning of a stop string."""
        longest = min(len(text), max((len(stop) - 1 for stop in self._stop_strings), default=0))
        for length in range(longest, 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop_strings):
                return length
        return 0

    def flush(self) -> str:
        """What was kept back; at the end of a text it is no stop string any more."""
        held, self._held = self._held, ""
        return held


class Completion:
    """The text of one sample, and how it came about.

    Attributes:
        text: without the prompt, `<|endoftext|>`, and the stop string and what follows it.
        token_ids: all tokens but `<|endoftext|>`; where a stop string ended the text, those of the string too.
        logprobs: of each of `token_ids`, under the model's own distribution.
        is_finished: whether it takes no more.
        finish_reason: None while it goes on, or where someone has broken it off; else "eos", "stop" or "length" (of
            `max_tokens`).
    """

    def __init__(self, decoder: TextDecoder, stop_strings: Sequence[str], end_of_text_id: int) -> None:
        self._decoder = decoder
        self._scanner = StopScanner(stop_strings)
        self._end_of_text_id = end_of_text_id
        self.text = ""
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.is_finished = False
        self.finish_reason: FinishReason | None = None

    def push(self, token: NewToken) -> str:
        """Takes the next token; gives the text that can be shown now. A finished sample takes no more."""
        if self.is_finished:
            return ""
        if token.token_id == self._end_of_text_id:
            return self.finish("eos")
        self.token_ids.append(token.token_id)
        self.logprobs.append(token.logprob)
        return self._show(self._decoder.push(token.token_id))

    def finish(self, reason: FinishReason | None) -> str:
        """Ends the text, if nothing has ended it yet; gives what had been kept back of it."""
        if self.is_finished:
            return ""
        shown = self._show(self._decoder.flush())
        if not self.is_finished:
            self.is_finished, self.finish_reason = True, reason
            held = self._scanner.flush()
            self.text += held
            shown += held
        return shown

    def _show(self, text: str) -> str:
        shown = self._scanner.push(text)
        self.text += shown
        if self._scanner.found:
            self.is_finished, self.finish_reason = True, "stop"
        return shown
