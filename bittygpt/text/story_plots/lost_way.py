"""Plot: the way is lost, and good advice leads home."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

SIGNS = table(
    "sign advice followed",
    """
bell | listen for the church bell | heard it, far away: ding, dong. {He} walked toward the bell
stream | find the stream and go down with it | heard water running. {He} found the stream and went along it
evening star | look for the evening star above our roof | saw it between the clouds. {He} kept the evening
  star before {him}
smoke | look for the smoke of our chimney | climbed a rock and saw a thin line of smoke. {He} went straight
  to the smoke
""",
)
LURES = table(
    "lure",
    """
a [blue/yellow/white] butterfly
a [hare/hare/lizard] with a white spot
a leaf that danced in the wind
the sound of a far-off [flute/fiddle]
""",
)

BEATS = beats("""
"If you ever get lost," {his} {elder} used to say, "{advice}."
"If you get lost, {advice}," said {Elder}. "Yes, yes," said {name}, who was hardly listening.
{Elder} had taught {name} many things. One of them was this: "If you get lost, {advice}."

{day}, {name} saw {lure} and went after it. {weather}
{day}, {name} was picking [berries/flowers/mushrooms] when {he} noticed {lure}. {He} had to follow it!
  {weather}
{day}, {name} followed {lure}, farther and farther. {weather}

{He} did not look at the path. And when {he} turned around, everything looked strange.
When {he} stopped at last, {he} did not know where {he} was.
Then a fog came down, and there was no path anymore.

?
"Hello?" {he} called. Nobody answered but the echo.
{He} went to the left, and {he} went to the right. Each tree looked like the other.
"This is not the way home," <said_sadly>.

It was getting dark, and {name} <sad>.
The sun went down. {name} shivered.
{name} was tired and hungry, and it grew dark.
Soon it was night, and {name} thought of {his} warm bed.

//

?
<soon> {he} met a {helper_look} {helper}. "{sound}," said the {helper}. "Are you lost? Think! What did they
  teach you?"
"{sound}!" said someone. It was a {helper_look} {helper}. "Don't cry. You have a head, so use it!"
{name} told a {helper_look} {helper} that {he} was lost. "{sound}," said the {helper}. "You know more than
  you think."

{name} <thought>. Then {he} remembered the words of {his} {elder}: "If you get lost, {advice}."
Then it came back to {him}. "{Elder} told me what to do!" {he} said.
{name} closed {his} eyes, and it was as if {he} could hear {Elder}'s voice.

//

And {he} {followed}.
{He} did just as {he} had been told, and soon {he} {followed}.
So {name} stood still and waited. After a while {he} {followed}.

At last {he} saw a light. It was {home}!
And there, behind the last bush, was {home}.
Then {he} smelled soup and knew that {he} was near {home}.

?
{Elder} was standing at the door with a lamp. "There you are, {dear}!" {e_he} cried and held {him} tight.
{Elder} came running, with wet eyes. "I looked for you everywhere!" {e_he} said.

"How did you find the way?" asked {Elder}. "The {sign}," said {name}. "I remembered the {sign}."
"I did as you said," said {name}, "and the {sign} brought me home."
"I will always listen to you," said {name}. "But without the {sign} I would still be out there."

?
<bedtime>

<moral> {name} did not go so far anymore, and {he} always thought of the {sign}.
<moral>, when {name} told a smaller {kin} about it, {he} said, "Remember the {sign}."
{name} still likes to go out alone, but never without a thought of the {sign}.

?
<ending>
""")

PLOT = Plot(
    "lost way",
    "sign",
    (
        MILD_SEASONS,
        SIGNS,
        LURES,
    ),
    BEATS,
)
