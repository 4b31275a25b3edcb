"""Plot: a boaster is put to the test."""

from bittygpt.text.story_template import Plot, beats, table

BOASTS = table(
    "claim season test fall save",
    """
jump farther than anyone | [spring/summer] | jump over the brook | landed in the middle, with a great splash
  | reached
  out a long branch
climb higher than the birds can fly | {season} | climb the church tower | got stuck halfway up and could not
  move
  | came up with a ladder
swim better than a fish | summer | swim across the lake | got a cramp and began to sink | came with a boat
ride any horse in the land | {season} | ride the miller's black horse | flew off and landed in a dung heap |
  caught the horse
""",
)

BEATS = beats("""
{name} had one fault: {he} liked to boast.
There was only one thing that people did not like about {name}. {He} boasted from morning to night.
{name} could do many things, and {he} talked about them all the time.

"I can {claim}!" {he} told everybody who would listen.
"Nobody is as good as I am," {he} said every day. "I can {claim}!"
"Did you know that I can {claim}?" {he} asked each person {he} met, and nobody liked to hear it again.

{day}, {pal} had had enough. {weather} "Show us!" said {pal}. "Let us see you {test}."
{day}, {pal} said, "If you are so good, then {test}."
"We would like to see that," said {pal} {day}. "Can you {test}?"

?
"[That is easy/Nothing easier than that]!" said {name}, but {his} voice was a bit too loud.
{name} had never tried to {test}. But now everyone was looking at {him}.
{name} swallowed. "Of course I can," {he} said, "with one {hand}!"

//

{He} took a bow, started, and {fall}.
Everybody came to watch. {name} waved to them, and then {he} {fall}.
{name} shouted, "Look at me!" The next moment {he} {fall}.

?
Some of them laughed. {name} wished {he} were a stone.
"Help!" cried {name}. {He} did not look so great anymore.
It was very quiet. Then a small voice called for help, and it was {name}'s own.

But {pal} did not laugh. {pal} {save}.
{pal} was there at once and {save}.
The only one who came to help was {pal}, who {save}.

//

?
"Are you hurt?" asked {pal}. "Only my pride," said {name}.
"Why did you help me?" asked {name}. "Because you are my friend, even when you boast," said {pal}.
"<thanks>," said {name} in a very small voice. "You never boast, and you are the best of us all."

"I cannot really {claim}," {name} said. "I only wanted you to like me." "We liked you before," said {pal}.
{name} turned red. "It is not true that I can {claim}," {he} said. "Not even a little?" asked {pal}. They
  both laughed.
"I will never say again that I can {claim}," said {name}. "Good," said {pal}. "Then we can start to
  practice."

?
<bedtime>

<moral> {name} boasted less and practiced more.
<moral>, when {name} wanted to boast, {pal} only had to cough, and they both began to laugh.
<moral> {name} liked to talk about {pal}, and how {pal} had helped {him}.

?
<ending>
""")

PLOT = Plot("boasting", "claim", (BOASTS,), BEATS)
