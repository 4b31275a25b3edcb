"""Plot: a thing is broken and hidden, and the truth is told."""

from bittygpt.text.story_template import Plot, beats, table

FRAGILE = table(
    "thing look use fix",
    """
vase | [blue/tall/glass] | for the roses | glue the pieces together
teapot | [white/round/painted] | for Sunday tea | glue the spout back on
clock | [wooden/tall/ticking] | on the shelf | put the wheels back in
mirror | [round/silver/little] | in the hall | put in a new glass
""",
)

BEATS = beats("""
{His} {elder} had a {look} {thing} {use}. "Please be careful with it," {Elder} always said.
There was a {look} {thing} {use}, and nobody was allowed to touch it.
{His} {elder} loved the {look} {thing} {use} more than anything else in the house.
In their home there was a {look} {thing} {use}. It was very old.

{day}, {name} was [dancing/hopping/playing ball/chasing a fly] indoors.
{day}, {name} and {pal} played [tag/pirates/hide and seek] in the house.
{day}, when {Elder} was [out/in the garden/at the market], {name} wanted to look at the {thing} up close.
{day}, {name} [ran/skipped] through the house much too fast.

Crash! The {thing} [was/lay] broken on the floor.
{He} slipped, something went crack, and the {thing} was broken.
{He} bumped into the {thing}. It [shook/tipped], and then it broke.
There was a loud bang. {name} opened {his} eyes, and the {thing} was in pieces.

{name}'s heart beat fast. {He} hid [the pieces/everything] under [the bed/a rug/a blanket].
{name} grew pale. "Nobody must see this," {he} thought, and {he} pushed the pieces [into a corner/under the
  bed].
"Maybe nobody will notice," {name} thought, and [ran outside/closed the door].

//

?
But {he} could not [play/eat/laugh] that day. {His} stomach felt [heavy/as if {he} had eaten a stone].
All day long {he} thought about the {thing}. Even the [soup/cake/bread] did not taste good.
{Elder} came home and [sang/hummed] a song, and that made {name} feel even worse.
In the evening {Elder} asked, "Are you ill, {dear}?" {name} only shook {his} head.

?
{pal} said, "You should tell the truth. It is hard for one minute, and then it is over."
"What shall I do?" {he} asked {pal}. "Tell {e_him}," said {pal}. "I will come with you."
{He} <thought>. A secret, {he} found, is [a heavy thing to carry/like a pebble in a shoe].
{He} lay awake and looked at the ceiling. Then {he} [stood/got] up.

//

"{Elder}," <said_sadly>, "I broke the {thing}. I am [so/very] sorry."
{name} took a deep breath. "It was me, {Elder}. I broke the {look} {thing}, and I hid it."
{name} brought the pieces. "I was too wild," {he} said, "and the {thing} broke. I should have told you."

{Elder} was quiet for a moment. "I am sad about the {thing}," {e_he} said, "but I am glad that you told me."
{e_His} eyes were [sad/serious], but {e_his} voice was [soft/kind]. "A {thing} can be mended," {e_he} said.
  "So can a lie."
"I knew something was wrong," said {Elder}. "Thank you for being honest, {dear}."
{Elder} took {him} in {e_his} arms. "You are worth more than any {thing}, {dear}," {e_he} said.

Then they sat down at the table to {fix}.
"Come," {e_he} said, "I will show you how to {fix}." And so they did.
{name} worked [all evening/for three days] to {fix}, and {his} {elder} helped {him}.

The {thing} was never quite the same, but {name} felt [light/free] again.
There was still a [small/thin] crack in the {thing}, and it reminded {name} always to tell the truth.
Now the {thing} looked almost new, and {name} <glad>.
<moral> {name} walked slowly past the {thing}, and {he} never hid a mistake again.

?
<ending>
""")

PLOT = Plot("broken thing", "thing", (FRAGILE,), BEATS)
