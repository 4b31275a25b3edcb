"""Plot: a skill is learned, slowly."""

from bittygpt.text.story_template import Plot, beats, table

SKILLS = table(
    "season learn failed tip did",
    """
{season} | whistle | only air came out | Make your mouth round and blow softly | whistled a
  whole tune
winter | skate on the frozen pond | {he} sat down hard on the ice | Bend your knees and push |
  glided right across the pond
summer | swim | {he} swallowed a lot of water | Stretch out long and kick like a frog | swam all the
  way to the other side
{season} | juggle three apples | the apples rolled all over the floor | Begin with one apple,
  then take two | juggled until the apples were a blur
""",
)

BEATS = beats("""
{name} wanted to learn to {learn}. All {his} friends could do it.
More than anything, {name} wanted to {learn}.
Everyone {name} knew could {learn}. Only {name} could not.
One day {name} saw {pal} {learn}. "I want to do that too!" {he} said.

{day}, {he} tried for the first time. {weather} But {failed}.
{day}, {he} made up {his} mind to begin. {weather} But at the first try {failed}.
So, {day}, {name} went outside to try, but {failed}.

?
{He} tried again, and again {failed}.
{He} tried ten times, and ten times {failed}.
The second time was no better: {failed}.

?
"Ha ha!" laughed {pal}. "You will never learn to {learn}."
"It is too hard for me," <said_sadly>. "I give up."
{name} <sad>. "I will never be able to {learn}," {he} said.

//

<soon> {n_intro} who had seen everything, stopped. "Who says that?" asked {n_intro}. "{tip}."
{His} {elder} sat down beside {him}. "It took me a whole year to learn that," said {Elder}. "{tip}."
"Nobody falls from the sky as a master, {dear}," said {Elder}. "{tip}."
"May I tell you a trick?" asked {n_intro} from over the fence. "{tip}."

?
"{tip}," {name} said to {himself}, and tried once more. It was a little better.
{name} tried it like that. It was not good yet, but it was not so bad.
This time it nearly worked, and {name} <glad>.

//

{He} practiced every day, [before breakfast/after school/in sun and rain], for [two weeks/a whole month/many
  days].
Day after day {he} practiced. Some days it went well, and some days it did not.
{name} practiced in the morning and in the evening. {He} practiced so much that {he} even did it in {his}
  dreams.

And then, one {hour}, it worked! {name} {did}.
One fine day {name} took a deep breath, and, without even thinking, {he} {did}.
Then came the great day. Everyone was watching as {name} {did}.

?
"[Hurrah/Bravo/Well done]!" called {pal} and clapped.
"I can do it!" <said_gladly>. "Look, I can {learn}!"
"I knew you could do it," said {Elder}.
{pal} had to smile. "I was wrong," said {pal}. "Will you teach me?"

?
<bedtime>

<moral> {name} liked nothing better than to {learn}.
The next year {name} taught a smaller {kin} to {learn}. "{tip}," {he} said, "and never give up."
So {name} learned to {learn}, and also that nothing is learned in a day.

?
<ending>
""")

PLOT = Plot("skill", "learn", (SKILLS,), BEATS)
