"""Plot: small gifts in secret make a grumpy neighbor smile."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

KINDNESSES = table(
    "gift sign",
    """
bunch of daisies | put them in a glass by the window
jar of berry jam | ate two slices of bread with it
warm bun | closed {n_his} eyes at the first bite
pair of knitted socks | put them on at once
""",
)

BEATS = beats("""
Near {him} lived {n_intro} who was always grumpy. {n_He} never said good morning.
Not far away lived {n_intro} and nobody had ever seen {n_him} smile.
Everyone was afraid of {n_intro} because {n_he} was so grumpy.

?
"Go away!" {n_he} shouted whenever someone came too near.
If a ball rolled into the yard, {n_intro} [kept it/growled like a bear].
"Too loud, too wild, too early," {n_he} grumbled all day long.

"Why is {neighbor} so cross?" {name} asked {his} {elder}. "Maybe {n_he} is lonely," said {Elder}.
{pal} said, "Let us never go there again." But {name} was sorry for {n_intro}.
"Maybe {n_he} has forgotten how to smile," {name} said to {pal}. "I will help {n_him} remember."

//

{day}, {name} left a {gift} in front of {neighbor}'s door, knocked, and ran away.
{day}, {name} put a {gift} on {neighbor}'s doorstep and hid behind the [hedge/wall].
So, {day}, {he} crept up to the house, set down a {gift}, rang the bell, and hid.

{n_intro} opened the door. "Who is there?" {n_he} growled. Then {n_he} saw the {gift}.
The door opened. {n_intro} looked left and right, and then down. "Hm," was all {n_he} said.
{n_intro} came out, frowning. {n_He} picked up the {gift} and stood still for a long time.

?
Through the window {name} saw how {n_intro} {sign}.
Then {n_he} went back inside. {name} looked through the window: {n_intro} {sign}.

?
The next week {name} did it again, and the week after that.
{name} did the same thing on the next day, and the next, and the next.

//

One morning {n_intro} was waiting behind the door. "So it is you!" {n_he} said. {name} turned pale.
But one day the door opened too soon. "Caught you!" cried {n_intro}. {name} could not move.

?
"Nobody has given me anything for [ten/twenty/seven] years," said {n_intro}, and {n_his} voice shook a
  little.
"Why do you do this?" asked {n_intro}. "I wanted to see you smile," said {name}.
"Are you angry?" asked {name}. "Angry?" said {n_intro}. "I thought that everyone had forgotten me."

Then the corners of {n_his} mouth went up, first the left one and then the right one.
And slowly, like a rusty gate, {n_intro} began to smile.
{n_intro} tried to frown, but it did not work anymore. {n_He} laughed out loud.

?
{n_He} asked {name} to come in, and they had tea and talked about [the old days/the weather/the sea].
"Come in," {n_he} said. "I have a kettle on, and I know a good story."

?
<homeward>

<moral> {n_intro} was the first to say good morning, and all because of a {gift}.
<moral> {n_intro} smiled at everyone. It had taken only a {gift} and a little patience, thought {name}.
And every year, on that same day, {name} found a {gift} in front of {his} own door.

?
<ending>
""")

PLOT = Plot(
    "grumpy neighbor",
    "gift",
    (
        MILD_SEASONS,
        KINDNESSES,
    ),
    BEATS,
)
