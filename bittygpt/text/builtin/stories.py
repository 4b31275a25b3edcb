"""The builtin corpus `builtin:stories`: small tales in plain English, told by a grammar, without end.

A story is drawn in three steps: a cast (who, where, when), a plot with its tables (what is lost, what is wished
for), and for each beat of the plot one of its variants. All that is said of a story's facts is filled in from
one set of slots, so that the name, the pronoun, the red kite and the place of the first lines are those of the
last. The prose stands in `plots.txt` and `phrases.txt`, the people and places in `cast.txt`;
this file only tells it.
"""

import random
import re
from dataclasses import dataclass

from bittygpt.errors import DataError
from bittygpt.text.builtin.slots import FRIEND, NEIGHBOR, Slots, draw_slots, expand, pick
from bittygpt.text.builtin.template import PARAGRAPH_BREAK, Plot, phrases, plots

NUM_STORIES = 24_000
"""Stories of the corpus: about 20 MB."""

MIN_WORDS, MAX_WORDS = 80, 190

_START = "\3"  # stands where a beat begins, and with it a sentence
_SENTENCE_START = re.compile(r'(?:[.!?] "?|\." "?|" "|\x03 *"?)[a-z]')
_AN = re.compile(r"\b([Aa]) (?=[aeiou]|honest|hour)")


@dataclass(frozen=True)
class Tale:
    """A story and what it was told from. `slots[plot.thread]` is named in its first half and in its last third."""

    plot: Plot
    slots: Slots
    text: str


def story(seed: int, index: int) -> str:
    """The text of `tale(seed, index)`: 80 to 190 words of plain ASCII, paragraphs parted by an empty line."""
    return tale(seed, index).text


def tale(seed: int, index: int) -> Tale:
    """One story, a pure function of two integers.

    It is the same on every machine and every Python: it hangs on nothing but `random.Random(int).random()`.

    Raises:
        DataError: seed or index is below 0 or above 2**64 - 1.
    """
    if not (0 <= seed < 1 << 64 and 0 <= index < 1 << 64):
        raise DataError(
            f"builtin:stories counts from 0; there is no seed {seed}, story {index}. Give both from 0 on."
        )
    # A key of always five words: to the generator's seeding, the key 257 and the key 257, 256 are the same.
    rng = random.Random((1 << 128) + (seed << 64) + index)
    plot = pick(rng, plots())
    while True:
        slots = draw_slots(plot, rng)
        text = _fill_in(plot, slots, rng)
        if _holds_together(text, slots["name"], slots[plot.thread]):
            return Tale(plot, slots, text)


def _holds_together(text: str, name: str, thread: str) -> bool:
    """Whether the length is right, the hero is there at both ends, and so is what the story is about."""
    paragraphs = text.split("\n\n")
    return (
        MIN_WORDS <= len(text.split()) <= MAX_WORDS
        and name in paragraphs[0]
        and name in paragraphs[-1]
        and f" {thread}" in text[: len(text) // 2].lower()
        and f" {thread}" in text[-len(text) // 3 :].lower()
    )


def _fill_in(plot: Plot, slots: Slots, rng: random.Random) -> str:
    """The text of a story, its facts given: one variant of each beat, in one to three paragraphs.

    Optional beats are left out, one after another, until the story is about as long as a length drawn for it.
    """
    openings = ("opening", f"opening {slots['motif']}")
    parts = [
        _START + expand(pick(rng, phrases()[name]), slots, rng) for name in openings if name in phrases()
    ]
    optional: list[int] = []
    num_breaks = 0
    for beat in plot.beats:
        if beat is PARAGRAPH_BREAK:
            if num_breaks < 2 and rng.random() < 0.6:
                num_breaks += 1
                parts.append("\n\n")
            continue
        if beat.optional:
            optional.append(len(parts))
        parts.append(_START + expand(pick(rng, beat.variants), slots, rng))
    excess = (
        sum(len(part.split()) for part in parts) - MIN_WORDS - int(rng.random() * (MAX_WORDS - MIN_WORDS))
    )
    while excess > 0 and optional:
        left_out = optional.pop(int(rng.random() * len(optional)))
        excess -= len(parts[left_out].split())
        parts[left_out] = ""
    return _polish(" ".join(parts), slots)


def _polish(text: str, slots: Slots) -> str:
    """Introductions where a name first appears, capitals at the beginning of sentences, `an` before vowels."""
    for mark, who in ((FRIEND, "friend"), (NEIGHBOR, "neighbor")):
        text = text.replace(mark, slots[who + "_intro"], 1).replace(mark, slots[who])
    text = _SENTENCE_START.sub(lambda match: match[0].upper(), re.sub(r",(?=[,.!?])", "", text))
    text = _AN.sub(r"\1n ", text.replace(_START, ""))
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
