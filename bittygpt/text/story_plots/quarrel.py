"""Plot: two friends quarrel about a thing and make up."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

QUARRELED_OVER = table(
    "thing look used",
    """
swing | [old/rope/wooden] | pushed each other, higher and higher
wagon | [red/little/green] | pulled each other around the yard
hammock | [striped/blue/big] | lay in it side by side
kite | [red/yellow/dragon] | flew it together, one at the string and one at the tail
""",
)

BEATS = beats("""
{name} had a good friend [called/named] {friend}. Together they had a {look} {thing}.
{name}'s best friend was {friend}, and what they both loved best was a {look} {thing}.
{name} and {friend} did everything together. They even shared a {look} {thing}.

{day}, they both wanted the {thing} at the same time. {weather}
But {day}, there was a quarrel about the {thing}.
Then, {day}, they could not agree who should have the {thing} first.

?
"[It is my turn/I had it first]!" said {name}. "No, it is mine!" said {friend}.
"You always have it!" shouted {friend}. "That is not true!" {name} shouted back.
"Me first!" cried {name}. "Me first!" cried {friend}. They sounded just like two [crows/parrots/geese].

They pulled and pushed until {friend} fell [down/into a puddle]. "You are not my friend anymore!" said
  {friend}.
"Then play alone!" said {name}, and each of them went home.
{friend} stamped one foot and walked away. {name} stayed behind with the {thing}.

//

At first {name} was glad to have the {thing} to {himself}. But it was no fun alone.
Now {name} had the {thing}, but nobody to [laugh/talk/play] with. It was very quiet.
{name} looked at the {thing} and did not feel like playing at all. {He} <sad>.
The {thing} just stood there. All at once it was the dullest thing in the world.

?
"What is the matter, {dear}?" asked {Elder}. {name} told {e_him} everything.
{Elder} saw {his} long face. "Where is {friend} today?" {e_he} asked. {name} told {e_him} about the quarrel.

"The first one to say sorry is the braver one," said {Elder}.
"What is worth more," asked {Elder}, "a {thing} or a friend?"
"A quarrel is like a knot," said {Elder}. "You cannot pull it open. You must be gentle with it."
"It takes two to quarrel," said {Elder}, "but only one to end it."
{name} did not know what to do. "Go and say sorry," said {Elder}. "Somebody has to begin."

//

So {name} ran to find {friend}, and halfway there {he} met {friend}, who was coming to find {him}.
{name} <thought>. Then {he} [went/walked] to {friend}'s door and knocked.
The next morning {name} waited by {friend}'s [gate/door], and {his} heart was beating fast.

"I am sorry," they both said at the same time, and then they had to laugh.
"I am sorry that I shouted," said {name}. "You may have the {thing} first." "No, you first!" said {friend}.
"I am sorry," said {name}. "I don't want the {thing} without you." "I am sorry too," said {friend}.

?
They went back to the {thing} and {used}.
After that they fetched the {look} {thing} and {used}.
And what did they do with the {thing}? They {used}.

{name} and {friend} never quarreled about the {thing} again. Well, almost never.
<moral> {name} and {friend} took turns with the {thing}, and if they forgot, one of them said, "You first!"
The {thing} was fun again, and {name} knew why: it takes a friend to play.

?
<ending>
""")

PLOT = Plot(
    "quarrel",
    "thing",
    (
        MILD_SEASONS,
        QUARRELED_OVER,
    ),
    BEATS,
)
