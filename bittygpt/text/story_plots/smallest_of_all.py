"""Plot: the one who is too small for everything saves the day."""

from bittygpt.text.story_template import Plot, beats, table

SMALL_DEEDS = table(
    "event season chore mishap deed",
    """
harvest feast | autumn | carry the long tables | the key to the hall fell through a crack in the floor
  | squeezed through the crack and came up with the key
lantern parade | [autumn/winter] | lift the big lanterns | the matches rolled into a narrow pipe
  | crept into the pipe and pushed the matches out
spring fair | spring | pull the heavy carts | the rope of the flag slipped into a tiny hole
  | reached into the hole and pulled out the rope
puppet show | {season} | hold up the heavy curtain | the smallest puppet fell behind the wall
  | slid behind the wall and saved the puppet
""",
)

BEATS = beats("""
{name} was the smallest of all. {He} could not even reach the [shelf/door handle/table].
{name} was so small that {he} needed a box to look out of the window.
Nobody for miles around was as small as {name}.

{day}, everyone was getting ready for the {event}. {weather}
{day}, there was a lot to do, for the {event} was about to begin.
Then came the day of the {event}, and everybody was hard at work. {weather}

"May I help?" asked {name}. But {he} was too small to {chore}.
{name} tried to {chore}, but {he} was not [big/strong] enough.
"I want to {chore} too!" said {name}. "You are too small for that," said {n_intro} and shook {n_his} head.

?
"Go and play," said {pal}. "Come back when you have grown."
{pal} laughed. "Watch out, or someone will step on you!"
{pal} only smiled and said, "Maybe next year."

//

?
{name} <sad>. "If only I were big," {he} said.
{name} sat down in a corner. "I am no use to anyone," <said_sadly>.
"Small is no good for anything," sighed {name}.

Then something bad happened: {mishap}. Without it there could be no {event}!
<soon> there was a shout. Oh dear, {mishap}!
But an hour before the {event}, {mishap}. What now?

?
{pal} tried to help, but {pal} was too big.
The strong ones pulled, the tall ones reached, but it was no use. They were all too big.
"My {hand}s are too big!" said {n_intro}. "So are mine!" said everyone else.

//

"I am not too big!" called {name}.
"Let me try," said a small voice. It was {name}.
Then they all turned around and looked at {name}.

{He} took a deep breath, {deed}. Everybody cheered.
{He} made {himself} as thin as {he} could, {deed}.
And {name}, the smallest of all, {deed}.

?
"Hurrah for {name}!" they shouted. "The {event} is saved!"
"You saved the {event}!" said {pal}. "Sometimes it takes someone small."
{n_intro} lifted {him} high into the air. "Without you there would be no {event}!"

And at the {event} {name} sat [in the best seat/at the head of the table/right in front].
So the {event} could begin, and {name} was allowed to start it.
Nobody at the {event} danced as long as {name}.

?
<homeward>

<moral> nobody told {name} that {he} was too small.
Being small, {name} found, can be a very big thing.
{name} was still small, but {he} felt as tall as a tower.

?
<ending>
""")

PLOT = Plot("smallest of all", "event", (SMALL_DEEDS,), BEATS)
