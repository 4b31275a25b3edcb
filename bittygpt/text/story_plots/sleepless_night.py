"""Plot: a noise in the night becomes a lullaby."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

SLEEP_THIEVES = table(
    "thief worry found",
    """
clock | went tick, tock, tick, tock | counting the steps of the night
moon | shone right into {his} eyes | keeping watch over all the roofs
rain | drummed on the roof | playing a song for the flowers
owl | called and called from the barn | saying good night to its children
""",
)

BEATS = beats("""
One {season} night {name} could not sleep.
One {season} night {name} lay in bed with {his} eyes wide open.
It was late on a {season} night. Everyone was asleep but {name}.

{He} turned to the left, and {he} turned to the right. But the {thief} {worry}.
Every time {he} was nearly asleep, it started again: the {thief} {worry}.
It was all because of the {thief}, which {worry} all night long.

?
"Be quiet, please!" said {name}. But the {thief} did not listen.
{He} put {his} head under the pillow. It did not help.
{He} counted sheep. At the [tenth/hundredth] sheep {he} was still awake.
{He} pulled the blanket over {his} ears, but then {his} feet were cold.

At last {name} got up and went to find {his} {elder}.
"{Elder}!" {he} called. "I cannot sleep!"
{He} went through the dark on the tips of {his} toes and tugged at {his} {elder}'s sleeve.

//

"What is it, {dear}?" asked {Elder}. "It is the {thief}," said {name}. "It keeps me awake."
"The {thief} will not let me sleep," <said_sadly>. {Elder} sat down beside {him}.

"Let us listen together," said {Elder}. They sat very still, side by side.
{Elder} made some [warm milk/mint tea] with honey, and they sat down together and listened.
{Elder} opened the window a little. "Don't fight it," {e_he} said. "Ask what it wants to tell you."

//

{name} listened. "What do you hear?" asked {Elder}. It seemed to {name} that the {thief} was {found}.
"Do you know what it is doing?" {Elder} asked. "It is {found}."
"I think," {name} said slowly, "it is {found}." "I think so too," said {Elder}.

?
"Then it is not so bad," {name} yawned.
"Oh," said {name}. {His} eyes were already small.
{name} smiled and leaned against {Elder}. {His} head was growing heavy.

?
{Elder} hummed an old song about [a ship/a star/a sleepy bear], and soon {name} did not hear the end of it.
{Elder} told a story about a {kin} who sailed to the moon in a [shoe/teacup/nutshell].
{Elder} tucked {him} in and [kissed {him}/stroked {his} head].

A moment later {name} was fast asleep, and the {thief} went on, all night long, {found}.
The {thief} did not stop, but now {name} liked the sound of it, and before {he} could say so, {he} was asleep.
"Good night, {thief}," murmured {name}, and then {he} slept until the sun came up.

In the morning {Elder} asked, "How did you sleep?" "Like a stone," said {name}.
The next night {name} was sorry when it was quiet.
{name} dreamed of [a flying bed/a ship with silver sails/a cake as big as a house/a talking teapot/a bear on
  skates], and it was a good dream.
And if you cannot sleep tonight, do as {name} did, and listen.
""")

PLOT = Plot(
    "sleepless night",
    "thief",
    (
        MILD_SEASONS,
        SLEEP_THIEVES,
    ),
    BEATS,
)
