"""Plot: a promise is forgotten and made good."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

PROMISES = table(
    "wards duty result repair",
    """
hens | feed the hens of {neighbor} | the hungry hens had flown over the fence | ran after them with a bucket
  of corn
tomatoes | water the tomatoes of {neighbor} | the tomatoes hung their heads | carried water, can after can,
  until dark
rabbits | close the hutch of {neighbor}'s rabbits | the rabbits were hopping all over the lettuce | caught
  them, one by one, with a carrot
sheep | watch the sheep of {neighbor} | the sheep had wandered off into the hills | climbed up and called
  them back, one by one
""",
)

BEATS = beats("""
"Will you {duty} today?" asked {his} {elder}. "I promise," said {name}.
{n_intro} had to go away for a day. "I promise to help you," said {name}. All {he} had to do was to {duty}.
{day}, {name} promised to {duty}. It was not hard, and {he} was proud to be asked.
"Can I count on you?" asked {n_intro}. "Of course," said {name}. {He} was to {duty}.

But then {pal} came by with a new [kite/ball/boat]. "Come and play!" said {pal}.
On the way {he} met {pal} who was [flying a kite/building a dam/climbing trees]. "Come with me!" said
  {pal}.
But it was such a fine day! {weather} And there was {pal} with a [wagon/rope/drum].

?
"Just for a minute," said {name}. But one minute became an hour, and the hour became a whole afternoon.
{name} forgot everything and played until {his} shadow was long.
"I can do it later," {name} thought. They played and played, and {he} forgot all about {his} promise.

//

When the sun was going down, {he} suddenly remembered the {wards}.
All at once {name} stood still. "The {wards}!" {he} cried.
"What about your promise?" asked {Elder} at supper. {name} dropped {his} spoon.

{He} ran as fast as {he} could, but it was too late: {result}.
{He} raced down the road. But oh dear, {result}.
When {he} got there, {his} heart sank, for {result}.

?
{name} <sad>. "It is all my fault," {he} said.
First {he} wanted to hide. But hiding would not help the {wards}.
"I could say that it was not me," {name} thought. But that would be a second wrong on top of the first.

{He} rolled up {his} sleeves and {repair}.
{name} did not wait for anyone to tell {him}. {He} {repair}.
"A promise is a promise, even if it is late," said {name}, and {he} {repair}.

?
{pal} came to help, and together they got it done.
It was hard work, and {he} was wet and tired and hungry, but {he} did not stop.
{pal} said, "It was my fault, too," and helped.

//

{name} told {n_intro} the truth. "I forgot the {wards}, and I am sorry."
When {n_intro} came, {name} said, "I was playing, and I broke my promise."

{n_intro} frowned, but then {n_he} smiled. "You told me the truth, and you worked hard. I trust you."
"I was going to be angry," said {n_intro}, "but look at your muddy {hand}s! You have paid for it."
"Anyone can forget," said {n_intro}. "Not everyone makes it good."

"May I take care of the {wards} again?" asked {name}. "Tomorrow," said {n_intro}, "at [six/seven/eight]
  o'clock."
The next day {name} came back to the {wards} an hour early, just to be sure.
<moral> {name} tied a knot in {his} handkerchief whenever {he} promised something, and the {wards} were never
  forgotten.
<moral> {name} first did what {he} had promised and then played, and the {wards} were well cared for.

?
<ending>
""")

PLOT = Plot(
    "promise",
    "wards",
    (
        MILD_SEASONS,
        PROMISES,
    ),
    BEATS,
)
