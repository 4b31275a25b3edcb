"""The facts of one story of `stories.py`: who, where, when and what, drawn once and kept in named slots."""

import random
import re
from collections.abc import Sequence
from typing import TypeVar

from bittygpt.text.builtin.template import Plot, Row, phrases, tables

T = TypeVar("T")
Slots = dict[str, str]

FRIEND, NEIGHBOR = "\1", "\2"
"""Marks that `{pal}` and `{n_intro}` leave: a name that is to be introduced where it is first used."""

MOTIFS = ("none", "garment", "food", "charm", "habit")

_PHRASE = re.compile(r"<(\w+)>")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_PRONOUN_SLOTS = ("he", "him", "his", "hers", "himself", "He", "His")
_PRONOUNS = {
    "he": ("he", "him", "his", "his", "himself", "He", "His"),
    "she": ("she", "her", "her", "hers", "herself", "She", "Her"),
}


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """One of `options`. `Random.choice` would not do: what it draws may change from one Python to the next."""
    return options[int(rng.random() * len(options))]


def pick_other(rng: random.Random, options: Sequence[T], *taken: T) -> T:
    """One of `options` that is none of `taken`."""
    while True:
        option = pick(rng, options)
        if option not in taken:
            return option


def draw_slots(plot: Plot, rng: random.Random) -> Slots:
    """All facts of one story: the cast, the rows of the plot's tables, and the day it happens on."""
    slots: Slots = {"hour": pick(rng, ("morning", "afternoon"))}
    slots |= _row(pick(rng, tables()["SEASONS"]), slots, rng)
    is_animal = rng.random() < 0.4
    _draw_people(slots, is_animal, rng)
    slots |= _row(pick(rng, tables()["HELPERS"]), slots, rng)
    for table in plot.tables:
        slots |= _row(pick(rng, table), slots, rng)
    skies = next(row["sky"] for row in tables()["SEASONS"] if row["season"] == slots["season"])
    slots["sky"] = "quiet" if slots["hour"] == "evening" else expand(skies, slots, rng)
    slots["weekday"] = expand("[Monday/Tuesday/Wednesday/Thursday/Friday/Saturday/Sunday]", slots, rng)
    slots |= _row(pick(rng, tables()["DAYS"]), slots, rng)
    slots["weather"] = expand(pick(rng, phrases()[f"weather {slots['season']}"]), slots, rng)
    return slots


def _row(row: Row, slots: Slots, rng: random.Random) -> Slots:
    return {column: expand(cell, slots, rng) for column, cell in row.items()}


def _pronouns(sex: str, prefix: str = "") -> Slots:
    return {prefix + slot: form for slot, form in zip(_PRONOUN_SLOTS, _PRONOUNS[sex], strict=True)}


def _draw_people(slots: Slots, is_animal: bool, rng: random.Random) -> None:
    people = _row(pick(rng, tables()["ANIMALS" if is_animal else "CHILDREN"]), slots, rng)
    slots |= people | {"n_intro": NEIGHBOR, "neighbor_intro": f"{people['neighbor']}, the {people['job']},"}
    for sex, prefix in (("sex", ""), ("f_sex", "f_"), ("n_sex", "n_"), ("e_sex", "e_")):
        slots |= _pronouns(people[sex], prefix)
    kin, friend, friend_kin = people["kin"], people["friend"], people["f_kid"]
    kid = pick(rng, ("little ", "young ") if is_animal else ("", "little ")) + kin
    traits = phrases()["traits"][0].split()
    trait = pick(rng, traits)
    slots |= {"kid": kid, "kin_plural": {"fox": "foxes", "mouse": "mice"}.get(kin, kin + "s")}
    slots |= {"pal": FRIEND, "hand": "paw" if is_animal else "hand"}
    slots["friend_intro"] = f"{friend} the {friend_kin}" if is_animal else f"{slots['his']} friend {friend}"
    slots |= {"trait": trait, "trait2": pick_other(rng, traits, trait)}
    slots |= _row(pick(rng, tables()["ANIMAL_HOMES" if is_animal else "CHILD_HOMES"]), slots, rng)
    slots["motif"] = pick(rng, MOTIFS)
    slots |= _row(tables()["BELONGINGS"][0], slots, rng)
    for taste in ("food", "habit"):
        slots[taste] = expand(pick(rng, phrases()[taste]), slots, rng)


def expand(text: str, slots: Slots, rng: random.Random) -> str:
    """`text` with its phrases and choices drawn and its slots filled."""
    if "<" in text:
        text = _PHRASE.sub(lambda match: _phrase(match[1], slots["motif"], rng), text)
    while "[" in text:
        text = _CHOICE.sub(lambda match: pick(rng, match[1].split("/")), text)
    return text.format_map(slots) if "{" in text else text


def _phrase(name: str, motif: str, rng: random.Random) -> str:
    own = f"{name} {motif}"
    return pick(rng, phrases()[own if own in phrases() and rng.random() < 0.6 else name])
