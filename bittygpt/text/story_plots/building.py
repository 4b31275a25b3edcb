"""Plot: something is built, falls down, and is built better."""

from bittygpt.text.story_template import Plot, beats, table

BUILDINGS = table(
    "building season of first ruin advice second",
    """
[tree house/lookout] | [spring/summer/autumn] | boards | put the boards across two thin branches
  | a branch broke, and it all crashed down | Build on the thickest branches | used the thickest branches and
  twice as many nails
raft | summer | logs | tied the logs together with thread | the thread tore, and the logs floated away
  | Take a rope as thick as your thumb | tied every log with rope, three times around
sand castle | summer | sand | built it right at the edge of the water | a wave came and washed it away
  | Look where the sand is dry | built it higher up, with a deep ditch around it
snow fort | winter | snow | made the walls as thin as paper | the walls fell in at the first push
  | Make the walls thick, and pour water on them | made thick walls and let them freeze overnight
""",
)

BEATS = beats("""
{name} and {pal} wanted to build a {building}.
"Let us build a {building}!" said {name} to {pal}.
All {season} long {name} had wished for a {building}. {pal} wanted one, too.

{day}, they got some {of} and began. {weather}
{day}, they carried {of} to the right place. {weather} "This will be easy," said {pal}.
So, {day}, they went to work. They had {of}, and they had a plan, more or less.

They {first}. "Done!" said {name}. But it was not done at all: {ruin}.
They were in a hurry, so they {first}. An hour later {ruin}.
First they {first}. It looked very fine. But then {ruin}.

?
"That was your fault!" said {pal}. "No, it was yours!" said {name}.
{name} <sad>. "All that work for nothing," {he} said.
"Let us stop," said {pal}. "We are too small to build a {building}."
They looked at what was left. Then they looked at each other.

//

<soon> {n_intro} walked by. "I see what is wrong," said {n_intro}. "{advice}."
"May I say something?" asked {n_intro} who had been watching. "{advice}."
"It is not so bad to fail," said {n_intro}. "My first {building} was no better. {advice}."
{name} asked {n_intro} for help. "I will not do it for you," said {n_intro}, "but I will tell you something.
  {advice}."

?
{name} nodded. "Let us try again, and this time slowly," {he} said.
"{advice}," {name} repeated. "That makes sense!"
They thanked {n_intro} and began again from the beginning.

They {second}. {name} measured, and {pal} held everything tight.
This time they {second}, and they did not hurry.
So they {second}. It took them [two days/three days/a whole week].

//

They pushed it and shook it. It held! "Our {building} is finished!" <said_gladly>.
In the evening the {building} was finished, and {name} <glad>.
Then they stepped back. What a {building} it was!

?
{n_intro} came to see it. "Now that is what I call a {building}," {n_he} said.
Everyone came to look at the {building}, and {name} showed them how it was made.
{Elder} brought [cookies/apples/hot cocoa] to eat, and they drank to the new {building}.

{name} gave the {building} a name: the [Second/Good/Big] [Try/Luck/Dream].
They put a flag on top of it and wrote on it: built by {name} and {pal}, the second time.
"I am glad that the first one broke," said {name}. "This {building} is so much better."
<moral> {name} and {pal} met at the {building} every day.

?
<ending>
""")

PLOT = Plot("building", "building", (BUILDINGS,), BEATS)
