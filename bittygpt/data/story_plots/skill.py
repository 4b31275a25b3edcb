"""Plot: a skill is learned, slowly."""

from bittygpt.data.story_template import Draw, Plot, beats, table

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
{season} | play the fiddle | it sounded like a door in need of oil | Move the bow slowly, as if
  you were stroking a cat | played the fiddle so well that people danced
{season} | play the flute | it made no sound at all | Blow across the hole, not into it | played
  a song on the flute
[spring/summer/autumn] | walk on stilts | {he} fell into a [bush/puddle] | Keep walking, for
  standing still is harder | walked on stilts down the whole street
[spring/summer] | skip rope | the rope caught {his} feet | Listen to the beat of the rope | skipped
  the rope a hundred times
[summer/autumn] | make a stone skip across the water | the stone went plop and sank | Take a flat
  stone and throw it low | made a stone skip seven times
{season} | paint a horse | it looked like a table with ears | Look at the horse longer than at
  the paper | painted a horse that seemed to run
{season} | dance the jig | {he} tripped over {his} own feet | Count to four and let the music
  do the rest | danced until the floor shook
summer | row a boat | the boat went around in circles | Pull both oars with the same strength | rowed
  straight across the lake
autumn | fly a kite | the kite fell on its nose | Wait for the wind before you run | flew the kite
  high over the church
{season} | tie sailors' knots | all the knots fell apart | Over, under, around, and then pull |
  tied ten good knots in a row
{season} | read | the letters looked like ants | Take one letter at a time and say it aloud | read
  a whole page without a mistake
[spring/summer] | ride a bicycle | {he} ended up in the hedge | Look at the road and not at the
  wheel | rode all the way around the square
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

PLOT = Plot("skill", "learn", (Draw(SKILLS),), BEATS)
