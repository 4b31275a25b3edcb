"""Plot: a treat tastes of nothing until it is shared."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

TREATS = table(
    "treat look",
    """
loaf of bread | [warm/sweet/fresh]
melon | [big/green/ripe]
honey cake | [golden/sticky/warm]
pumpkin pie | [round/warm/fresh]
""",
)
HUNGRY = table(
    "beggar scrap",
    """
a thin sparrow | half of its last crumb to a [fly/wren/beetle]
an old man | half of his last crust to a stray dog
a small mouse | its only grain of wheat to its brother
an old woman | half of her dry bread to the birds
""",
)

BEATS = beats("""
{day}, {his} {elder} gave {name} a {look} {treat}. {weather}
{day}, {name} bought a {look} {treat} with {his} own money. {weather}
{day}, {name} won a {look} {treat} at the fair.

?
"This is all mine," {name} said, and {he} looked for a quiet place to eat it.
What a smell! {name} wanted to eat it all by {himself}.
{name} carried the {treat} home as if it were made of gold.

On the way {he} met {pal}. "Oh, a {treat}!" said {pal}. "I am so hungry. May I have a little?"
<soon> {pal} came by and looked at the {treat} with big eyes. "May I have some?" asked {pal}.
At the corner stood {pal}, whose stomach growled loudly. "Will you share your {treat} with me?" asked
  {pal}.

"No," said {name}. "It is mine. There is not enough for two."
{name} hid the {treat} behind {his} back. "What {treat}?" {he} said.
"I am sorry," said {name}, but {he} was not really sorry. "It is too small to share."

{pal} said nothing and walked away.
"Never mind," said {pal} softly, and went on.
{pal} looked at the ground. "All right," {f_he} said.

//

{name} sat down under a tree and began to eat. But strangely, it did not taste so good.
{name} hid behind a wall and took a bite. Something was missing, but {he} did not know what.
{name} sat down all alone. {He} kept thinking of {pal}'s sad face.

<soon> {he} saw {beggar} giving {scrap}.
Not far away there was {beggar}, giving {scrap}. {name} watched with {his} mouth full.
And then {he} saw something that {he} never forgot: {beggar} gave {scrap}.

?
"So little, and still enough for two," thought {name}. {He} looked at {his} big {treat} and turned red.
{name} stopped chewing. {He} felt ashamed.
"And I have a whole {treat}!" {name} said to {himself}.

//

{He} jumped up and ran after {pal}. "Wait!" {he} called. "I am sorry. Let us share the {treat}!"
{name} ran all the way to {pal}'s house. "Half of this {treat} is yours," {he} said, quite out of breath.
{He} took the {treat} and went to look for {pal}. "I was greedy," {he} said. "Please eat with me."

?
{pal} smiled. "<thanks>," {f_he} said. "I have a little [lemonade/apple juice], and half of it is yours."
"Really?" asked {pal}. "Really," said {name}, and gave {f_him} the bigger half.
{pal} was not angry anymore, and they sat down side by side.

?
And how good it tasted now! And some of it they gave to {beggar}, too.
They ate, talked, and laughed until there was nothing left but crumbs, and those they gave to the birds.
Now {name} knew what had been missing. The {treat} tasted twice as good.

?
<homeward>

"Half a {treat} with a friend is more than a whole one without," {name} often said after that.
<moral>, whenever {name} had a {treat} or anything else that was good, {he} cut it in two.

?
<ending>
""")

PLOT = Plot(
    "sharing",
    "treat",
    (
        MILD_SEASONS,
        TREATS,
        HUNGRY,
    ),
    BEATS,
)
