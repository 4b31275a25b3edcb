"""Plot: the hero gives up a prize to help someone."""

from bittygpt.text.story_template import Plot, beats, table

RACES = table(
    "race season course",
    """
running race | {season} | around the pond and back
sack race | {season} | across the village green
sled race | winter | down the long hill
boat race | summer | down the stream
""",
)
PRIZES = table(
    "prize",
    """
[golden/silver] cup
[huge/round] cheese
[blue/golden] ribbon
[cherry/chocolate] cake
""",
)
IN_TROUBLE = table(
    "victim plight rescue",
    """
a baby duck | had lost its mother | carried it to the pond, where its mother was waiting
{neighbor}, | had dropped a basket of potatoes | picked up every single potato
a [little/tiny] lamb | was caught in a thorn bush | bent the thorns away, one by one
a beetle | was lying on its back | turned it over with a blade of grass
""",
)

BEATS = beats("""
Every {season} there was a {race} {course}. The winner got a {prize}.
Everyone was talking about the great {race}. The prize was a {prize}!
{name} had trained for weeks, for soon there would be a {race} {course}, and the prize was a {prize}.

?
{name} wanted to win the {prize} more than anything.
"I am going to win that {prize}," {name} told {his} {elder}.
All night {name} dreamed of the {prize}.

?
"I am the fastest," {pal} [boasted/said]. "You will only see my back!"
But {pal} laughed at {him}. "You? You are far too slow!"
{pal} wanted to win too. "Don't be sad when I beat you," said {pal}.

{day}, they all lined up. {weather} "[Ready, steady, go/One, two, three, go]!"
{day}, the {race} began. {name} [got off to a good start/was soon in front].
{day}, a bell rang, and off they went! {name} was right behind {pal}.

//

Halfway there {name} heard someone cry. It was {victim} who {plight}.
Then, at the side of the course, {name} saw {victim} who {plight}.
{name} was in the lead when {he} saw {victim} who {plight}.

?
{pal} had [seen it too/passed by already] and did not stop.
{name} looked at the finish and then back again. {He} could still win!
"Keep going!" someone shouted. But {name} could not.

"A {prize} can wait," {name} thought. {He} stopped and {rescue}.
"Don't be afraid, I will help you," said {name}. {He} {rescue}.
{name} turned around. {He} {rescue}.

//

When {he} came to the finish, {he} was the very last. {pal} had already won.
By then all the others were far ahead, and {name} came in last. {pal} had won the {prize}.

?
"What took you so long?" asked {pal}. {name} told {f_him} about it.
"I told you so," {pal} began. But then {f_he} heard why {name} was late.
Someone who had seen it all told the crowd. It grew very quiet, and then everyone began to clap.

{pal} turned red. "You should have this {prize}," {f_he} said. "I was only fast. You were good."
{pal} looked at the {prize} for a long time. "Let us share it," {f_he} said. "You are the real winner."
"I wish I had stopped too," said {pal}, and {f_he} put the {prize} into {name}'s {hand}s.

{name} and {pal} carried the {prize} home together.
So in the end the {prize} belonged to both of them, and {name} <glad>.
{name} came last in the {race}, but everyone remembered {him}, and not just because of the {prize}.

?
<ending>
""")

PLOT = Plot(
    "race",
    "prize",
    (
        RACES,
        PRIZES,
        IN_TROUBLE,
    ),
    BEATS,
)
