"""Plot: one thing is swapped for another until the wished-for thing is reached."""

from bittygpt.data.story_cast import MILD_SEASONS
from bittygpt.data.story_template import Draw, Plot, beats, table

GOALS = table(
    "goal why",
    """
[silver/golden/wooden] flute | play songs for {his} {elder}
[red/yellow] sled | slide down the long hill
[shiny/brass] trumpet | wake up the whole street
[fat/beautiful] pumpkin | make soup for {his} {elder}
[little/white] lamb | have a friend
[tiny/green] fir tree | plant it by the door
[rocking/carved] chair | give it to {his} {elder}
""",
)
SWAPS = table(
    "item need",
    """
ball of string | to tie up my roses
jar of honey | for my sore throat
basket of eggs | to bake a cake
broom | to sweep my dusty floor
lantern | to light my dark cellar
bucket | because my roof is dripping
ladder | to pick my cherries
pair of mittens | because my fingers are so cold
cowbell | because my goat keeps running away
candle | to read my book at night
""",
)
TRADERS = table(
    "trader at",
    """
sailor | by the water
peddler | on the road
shepherd | in a field
washerwoman | by the stream
student | on a bench
mayor | in front of the town hall
fiddler | at the corner
old woman | at her window
old man | in his yard
soldier | at the gate
cook | behind the inn
young mother | on her doorstep
knight | under a tree
fisherman | on a bridge
grandmother of six | at the well
traveler | at the crossroads
""",
)

BEATS = beats("""
More than anything {name} wanted a {goal}, to {why}. But all {he} had was a {item1}.
Every night {name} dreamed of a {goal}. {He} wanted to {why}. But {he} had only a {item1}.
{name} wished for a {goal}, to {why}. But {his} {elder} had no money. "Take this {item1}," {Elder} said.
{name} wanted to {why}. But for that {he} needed a {goal}, and {he} had nothing but a {item1}.

So, {day}, {name} set out.
{day}, {name} set out to try {his} luck.
{day}, {he} took the {item1} and set out.

//

First {he} met {n_intro} at the gate. "A {item1}!" said {n_intro}. "I need one {need1}. Take my {item2} for
  it."
"Oh, a {item1}!" called {n_intro} from the window. "I need one {need1}. I will give you a {item2}."
"A {item1}? I need one {need1}!" said {n_intro}. "May I have it for this {item2}?"

?
{name} agreed and walked on.
"Why not?" said {name}.
They shook {hand}s.
"A {item2} is as good as a {item1}," said {name}.

{at1} stood a {trader1}. "I need a {item2} {need2}," said the {trader1}. "All I have is this {item3}."
Next, {at1}, {he} met a {trader1}. "If only I had a {item2}! I need one {need2}. Take my {item3} for it."
Then {he} saw a {trader1} {at1}. "Will you take my {item3} for that {item2}? I need it {need2}."

//

?
"Take it," said {name}, and [went on/walked away] with the {item3}.
So {name} gave away the {item2} and got the {item3}.
"Here you are," said {name}, and so the {item2} became a {item3}.
"I still have no {goal}," {name} thought, but {he} took the {item3}.

It was getting late when {he} came to a {trader2} {at2}. "A {item3}!" cried the {trader2}. "I need one
  {need3}!"
Last of all {he} met a {trader2} {at2}. "May I have your {item3}?" asked the {trader2}. "I need it {need3}."
And {at2} a {trader2} stopped {him}. "Is that a {item3}? I need one {need3}!"

"I have nothing to give you but this {goal}."
"Would you like this {goal} for it?"
"Take what you like from my cart." And on the cart, among the pots, {name} saw a {goal}.

//

{name} <glad>. The {goal} was {hers}!
"That is just what I have been dreaming of!" <said_gladly>.
{name} could not speak for joy.

So a {item1} had become a {goal}, and four people were happy.
"All that for a {item1}!" laughed {Elder} when {name} showed {e_him} the {goal}.
Now at last {name} could {why}, and the {goal} was never far from {his} side.
The very next day {name} used the {goal} to {why}.

?
<ending>
""")

PLOT = Plot(
    "swapped things",
    "goal",
    (
        Draw(MILD_SEASONS),
        Draw(GOALS),
        Draw(SWAPS, "1"),
        Draw(SWAPS, "2"),
        Draw(SWAPS, "3"),
        Draw(TRADERS, "1"),
        Draw(TRADERS, "2"),
    ),
    BEATS,
)
