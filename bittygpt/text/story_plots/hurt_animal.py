"""Plot: a hurt animal is cared for, set free, and comes back."""

from bittygpt.text.story_cast import PLACES, WARM_SEASONS
from bittygpt.text.story_template import Plot, beats, table

PATIENTS = table(
    "patient hurt care farewell",
    """
swallow | a broken wing | fed it flies and kept its wing in a splint | flew three times around the house
fawn | a cut leg | washed the cut and brought it clover | touched {his} cheek with its nose and sprang away
gosling | a thorn in its foot | bathed its foot and shook up its nest of straw | joined the wild geese in the
  sky
tortoise | a crack in its shell | rubbed oil on the crack and brought it lettuce | walked off, slowly, as
  tortoises do
""",
)
RETURNS = table(
    "comeback",
    """
[brought {him} a shiny stone/laid a blue feather at {his} feet]
woke {him} when smoke came from the kitchen, just in time
led {him} home one night in a thick fog
brought its little ones along to show them to {him}
""",
)

BEATS = beats("""
{day}, {name} went to {place}. {weather} There {he} heard a soft sound.
{day}, {name} was on {his} way to {place} when something moved in front of {him}. {weather}
{day}, {name} was playing near {place}. {weather} Then {he} stopped, for {he} had seen something.

{spot} sat a small {patient} with {hurt}.
It was a {patient}! It lay {spot} and could not get away, for it had {hurt}.
A {patient} was lying {spot}. It had {hurt}.

?
"You poor thing," said {name}. "Don't be afraid of me."
"Who did that to you?" {he} asked. The {patient} only looked at {him} with its dark eyes.
{name} <thought>. {He} could not just leave the {patient} there.

?
{pal} said, "Leave it. You cannot help it." But {name} shook {his} head.
"It will not live," said {pal}. "It will," said {name}.
Very gently {he} went down on {his} knees. The {patient} trembled, but it let {him} come near.

//

{He} wrapped it in {his} [jacket/shirt/scarf] and took it home.
{name} carried it home, step by step, so as not to hurt it.
{name} ran to get {his} {elder}, and together they brought the {patient} home.

"It will need time," said {Elder}. Every day {name} {care}.
Day after day {name} {care}, and {Elder} showed {him} how.
{name} {care}. At night {he} got up to see if it was still breathing.

?
At first the {patient} would not eat. But on the third day it opened its eyes wide.
{name} told it stories, and the {patient} seemed to listen.
Slowly the {patient} grew stronger. It even began to play with {his} {hand}s.

//

One morning {Elder} said, "It is well again. It wants to be free." {name} swallowed hard.
When [two/three/four] weeks had passed, the {patient} looked out of the window all day. {name} understood.
Then the {patient} was well. "May I keep it?" asked {name}. "What would it say to that?" asked {Elder}.

{name} took it back to {place}. The {patient} {farewell}.
They went out together. "Goodbye," whispered {name}. The {patient} {farewell}.
{name} opened the door wide. The {patient} looked back once and {farewell}.

?
{name} was sad and happy at the same time.
{He} waved until {he} could not see it anymore, and {name} wiped {his} eyes.
"You did well, {dear}," said {Elder}. "To love something also means to let it go."

But that was not the end. One day the {patient} came back to {name} and {comeback}.
Did the {patient} forget {name}? Oh no. The next {season} it {comeback}.
And would you believe it? A year later the same {patient} {comeback}, and {name} knew it at once.

?
<ending>
""")

PLOT = Plot(
    "hurt animal",
    "patient",
    (
        WARM_SEASONS,
        PATIENTS,
        PLACES,
        RETURNS,
    ),
    BEATS,
)
