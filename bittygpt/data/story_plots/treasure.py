"""Plot: a clue leads to a treasure that is no gold."""

from bittygpt.data.story_cast import MILD_SEASONS, PLACES
from bittygpt.data.story_template import Draw, Plot, beats, table

CLUES = table(
    "clue found_in",
    """
[old/yellow] map | [behind a picture/between the pages of a book/under a loose board]
[rusty/tiny] key | [in the pocket of an old coat/at the bottom of a vase/inside a clock]
[torn/faded] letter | [in a bottle/under a drawer/in the lining of a hat]
drawing of a [tree/tower/hand] | [on the back of a plate/in a dusty trunk/on the attic wall]
[blue/brass] compass | [in a box of buttons/on top of a cupboard/in an old boot]
riddle on a [leaf/scrap] of paper | [inside an egg cup/in a cracked teapot/under the doormat]
strip of [bark/leather] with signs on it | [in a bird's nest/under a stair/behind the stove]
""",
)
HOARDS = table(
    "hoard meaning",
    """
a bag of seeds | "Plant me, and you will be rich," a note said.
a wooden flute | A note said, "Whoever plays this will never be lonely."
an old book of stories | On the first page it said, "For you, who did not give up."
a mirror | Under it was written, "Look, here is the treasure."
hundreds of marbles | "Share these with your friends," said a note.
a picture of two friends | "Gold is heavy, but a friend is light," it said on the back.
a recipe | It was for the best [soup/bread/cake] in the land.
a pair of warm gloves and a bell | "For cold days and for calling your friends," said a note.
a silver coin for each of them | "One to spend and one to give away," said a note.
a tiny lamp | "For the one who is not afraid of the dark," said a note.
""",
)

BEATS = beats("""
{day}, {name} found a {clue} {found_in}.
{day}, when {he} was helping {his} {elder} to clean, {name} found a {clue} {found_in}.
It was a dull day in {season}, until {name} found a {clue} {found_in}.

"What is this?" {he} asked {Elder}. "I have never seen it before. Maybe it leads to a treasure," said {Elder}.
On it were the words: go to {place} and look {spot}.
{His} heart beat faster. Somebody had scratched a few words on it: {place}, {spot}.

?
{He} showed the {clue} to {pal}. "A treasure!" whispered {pal}. "Let us go!"
{name} ran to {pal} with the {clue}. "Will you come with me?" {he} asked.
"Can you keep a secret?" {name} asked {pal}, and took out the {clue}.

?
"Do you think there will be gold?" asked {pal}. "Heaps of it," said {name}.
"We will be rich!" said {pal}. "I will buy a [horse/ship/palace]." "And I will buy two," said {name}.
"If it is gold," said {name}, "half of it is yours."

//

{name} and {pal} walked to {place} with a spade and a bag.
It was a long way to {place}. {name} and {pal} crossed a field full of thistles and waded through a stream.
On the way {name} and {pal} had to run away from a [goat/goose], but at last they came to {place}.

?
They looked to the left and to the right. They dug one hole, then another. Nothing!
At first they found only an old [boot/pan] and a very angry [beetle/ant].
{pal} sat down. "There is nothing here," {f_he} said. "Let us go home."

"We have not looked {spot}," said {name}, and {he} studied the {clue} once more.
{name} turned the {clue} upside down. "Of course! We must look {spot}!"
{name} did not give up. {He} went and looked {spot}.

//

There was something hard. A box! They pulled and pulled until it came out.
And there, under a flat stone, was a little chest.
{pal} dug, and {name} dug, and then the spade went clonk. It was an iron box!

{name} lifted the lid with both {hand}s. It was not gold. It was {hoard}.
The lid creaked. Inside lay no gold and no jewels, only {hoard}.
They opened it and held their breath. They saw {hoard}.

{meaning}

?
{pal} was silent, and then {f_he} began to laugh. "That is better than gold," {f_he} said.
"No gold," said {pal}. "No," said {name}, "but I like it."
At first they were disappointed. But the longer they looked, the better they liked it.

?
They carried everything home and showed it to {Elder}, who [laughed/smiled/clapped].
They told {Elder} all about it that evening. "I found the same box when I was small," {e_he} said, "and I put
  it back."
{Elder} asked, "So, are you rich now?" "Yes," said {name}, and looked at {pal}.

And the {clue}? {name} hid it again {found_in}, for someone else to find.
{name} hung the {clue} over {his} bed, and it always made {him} want to go out and look for more.
<moral> {name} and {pal} kept the {clue} as their greatest secret.

?
<ending>
""")

PLOT = Plot(
    "treasure",
    "clue",
    (
        Draw(MILD_SEASONS),
        Draw(CLUES),
        Draw(PLACES),
        Draw(HOARDS),
    ),
    BEATS,
)
