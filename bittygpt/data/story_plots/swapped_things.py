"""Plot: one thing is swapped for another until the wished-for thing is reached."""

from bittygpt.data.story_template import Draw, Plot, beats, table

GOALS = table(
    "goal why",
    """
[silver/golden/wooden] flute | play songs for {his} {elder}
[red/yellow] sled | slide down the long hill
[warm/soft] blanket | keep {his} {elder} warm
[little/green] boat | row on the river
[blue/big] kite | see it fly above the trees
[small/red] drum | march in the parade
[shiny/brass] trumpet | wake up the whole street
[tall/striped] hat | look like a magician
[brass/long] telescope | look at the moon
[fat/beautiful] pumpkin | make soup for {his} {elder}
[little/white] lamb | have a friend
[thick/new] storybook | read about dragons
[tiny/green] fir tree | plant it by the door
[rocking/carved] chair | give it to {his} {elder}
[painted/wooden] rocking horse | ride to faraway lands
[round/golden] bell | hang it above the door
""",
)
SWAPS = table(
    "item need",
    """
ball of string | to tie up my roses
jar of honey | for my sore throat
basket of eggs | to bake a cake
blanket | to keep my baby warm
broom | to sweep my dusty floor
lantern | to light my dark cellar
bucket | because my roof is dripping
ladder | to pick my cherries
bag of nuts | because I am so hungry
wooden spoon | to stir my soup
sack of flour | to bake my bread
pair of mittens | because my fingers are so cold
cowbell | because my goat keeps running away
pot of paint | to paint my gray fence
candle | to read my book at night
hammer | to mend my gate
pillow | because my bed is so hard
bar of soap | to wash my muddy dog
basket of plums | to cook some jam
needle and thread | to sew my torn sleeve
box of chalk | to draw a picture for my sister
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
{He} wanted a {goal} more than anything, for {he} wished to {why}.
More than anything in the world {name} wanted a {goal}. {He} wanted to {why}.
Every night {name} dreamed of a {goal}. With it {he} could {why}.

But {he} had no money, only a {item1}.
{He} looked in {his} box and found no money there, just a {item1}.
{His} {elder} had no money to give {him}. "But you may have this {item1}," {Elder} said.

{day}, {name} took the {item1} and set out. {weather}
So, {day}, {he} put the {item1} under {his} arm and went out to try {his} luck.
"Well," said {name} {day}, "I will see how far I get with that."

//

First {he} met {n_intro} at the gate. "A {item1}!" said {neighbor}. "I need one {need1}. Take my {item2} for
  it."
Soon {he} met {n_intro} who called, "Please give me that {item1}! I need it {need1}. I will give you a
  {item2}."

{name} agreed. "A {item2} is as good as a {item1}," {he} said, and walked on.
They shook {hand}s, and {name} walked on with the {item2}.
"Why not?" said {name}. Now {he} had a {item2}.

{at1} there was a {trader1}. "I have looked all day for a {item2}," said the {trader1}, "{need2}.
  All I have is this {item3}."
Next, {at1}, {he} met a {trader1}. "Oh, if only I had a {item2} {need2}!" said the {trader1}. "I would give
  my {item3} for it."

//

"You need it more than I do," said {name}, and took the {item3}.
{name} gave away the {item2} and got the {item3}. "I still have no {goal}," {he} thought, "but I made
  somebody happy."
"Here you are," said {name}, and so the {item2} became a {item3}.

It was getting late when {he} saw a {trader2} {at2}. The {trader2} stared. "Is that a {item3}? I need one
  {need3}!"
Last of all {he} came to a {trader2} {at2}. "Will you sell me your {item3}?" asked the {trader2}. "I need it
  {need3}."

"What do you want for it? I have nothing but this old {goal}."
"I have no money either," the {trader2} went on, "but would you like this {goal}?"
"Take anything you like," said the {trader2}, and on the shelf, among the pots, {name} saw a {goal}.

//

{name} <glad>. The {goal} was {his}!
"That is just what I have been dreaming of!" <said_gladly>, and {he} took the {goal} in {his} {hand}s.
{name} could not speak for joy. {He} gave away the {item3} and ran home with the {goal}.

So a {item1} had become a {goal}, and four people were happy.
"All that for a {item1}!" laughed {Elder} when {he} showed {e_him} the {goal}.
Now at last {name} could {why}, and the {goal} was never far from {his} side.
And the very next day {name} used the {goal} to {why}.

<ending>
""")

PLOT = Plot(
    "swapped things",
    "goal",
    (
        Draw(GOALS),
        Draw(SWAPS, "1"),
        Draw(SWAPS, "2"),
        Draw(SWAPS, "3"),
        Draw(TRADERS, "1"),
        Draw(TRADERS, "2"),
    ),
    BEATS,
)
