"""Plot: a seed is planted and waited for."""

from bittygpt.text.story_cast import WARM_SEASONS
from bittygpt.text.story_template import Plot, beats, table

PLANTS = table(
    "plant seed grown used",
    """
sunflower | a striped seed | taller than the [door/fence/roof] | the seeds fed the birds all winter
pumpkin | a flat white seed | as big as a [wheel/barrel/pig] | there was soup for the whole street
apple tree | a brown seed | as high as {his} chin, and then as high as the wall | its first apples went to
  all the neighbors
beanstalk | a spotted bean | so long that it climbed up to the window | there were beans for everyone
""",
)

BEATS = beats("""
{day}, {name} found {seed} on the path. {weather}
{day}, {n_intro} gave {name} {seed}. "Plant it," said {n_intro}, "and wait."
{day}, a bird dropped {seed} right in front of {name}'s feet.
For {his} birthday {name} got only {seed} from {his} {elder}. "It is more than it seems," said {Elder}.

"What will it be?" {he} asked. "A {plant}," said {Elder}, "if you take good care of it."
"That will be a {plant} one day," {Elder} told {him}.
{name} wanted to have a {plant} of {his} own more than anything.

{name} dug a hole, put it in, and gave it some water.
{He} planted it in the [best/sunniest] corner and put a little fence around it.
{He} found a [sunny/quiet] place for it, made a hole with one {hand}, and covered it with earth.

The next day {he} ran out to look, but there was nothing to see. "Grow!" {he} ordered. Nothing happened.
{He} sat beside it and waited the whole day for the {plant}. Nothing came up.
Every morning {he} asked, "Is my {plant} awake?" But the ground was bare.

?
{pal} laughed at {him}. "That is just a heap of dirt," said {pal}. "Dig it up and see!"
"Nothing will come of it," said {pal}. "Come and play instead."
{name} wanted to dig it up again to see what was wrong. "Wait," said {Elder}. "It is working in secret."

//

But {name} did not give up. {He} watered it every day, and sometimes {he} sang to it.
{name} pulled the weeds, chased away the snails, and carried water from the well.
"Good things take time, {dear}," said {Elder}. So {name} watered the bare ground and waited.

Then, one morning, there was a tiny green tip!
And after [two/three] weeks something green looked out of the ground, as small as a mouse's ear.
One day after the rain there were two little leaves. {name} <glad>.

?
When a storm came, {name} ran out and held [a board/an umbrella/{his} coat] over it.
One night it grew very cold, and {name} put [a pot/straw/an old hat] over it to keep it warm.
A hungry snail came by. "Not this one," said {name}, and carried the snail to the other side of the wall.

//

The {plant} grew and grew. In the end it was {grown}.
Week after week the {plant} grew, until it was {grown}.
And what a {plant} it became! It was {grown}.

?
"So it was not just dirt!" said {pal}. {name} only smiled.
{pal} came to see it and was amazed. "How did you do that?" "I waited," said {name}.
People stopped at the fence and said, "What a {plant}!"

?
In the end {used}.
{name} did not keep it to {himself}, and so {used}.

Next to the {plant}, {name} put a new seed into the ground. "Sleep well," {he} whispered. "I can wait."
"The {plant} did the growing," {name} said, "but I did the waiting."
<moral> {name} knew that a {plant} needs water, sun, and somebody who believes in it.

?
<ending>
""")

PLOT = Plot(
    "seed",
    "plant",
    (
        WARM_SEASONS,
        PLANTS,
    ),
    BEATS,
)
