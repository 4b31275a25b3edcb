"""Plot: a single wish is given away, and comes true after all."""

from bittygpt.text.story_template import Plot, beats, table

WISHES = table(
    "wish want got",
    """
pony | ride like the wind | let {him} ride the old gray pony every Sunday
pair of wings | see the world from above | took {him} up in a big balloon
boat | sail around the world | gave {him} an old boat, and together they mended it
castle | live in a tower | built {him} a tower of old boxes, with a flag on top
""",
)
GRANTERS = table(
    "granter trapped",
    """
golden fish | caught in a net
fairy | stuck in a spider's web
fallen star | caught in a thorn bush
silver bee | shut in a jar
""",
)
NEEDS = table(
    "need relief",
    """
the well had run dry, and nobody had water | clear water rose in the well
the bridge was gone, and nobody could cross the river | a new bridge stood over the river
{friend} had been ill in bed for weeks | {friend} sat up and asked for pancakes
{neighbor}'s barn had burned down | a new barn stood in its place
""",
)

BEATS = beats("""
{name} had one great wish: {he} wanted a {wish}, so that {he} could {want}.
Every evening {name} looked at the stars and wished for a {wish}. {He} wanted to {want}.
If you had asked {name} what {he} wanted most, {he} would have said, "A {wish}! Then I could {want}."

{day}, in a lonely place, {he} found a {granter} {trapped}.
{day}, {name} heard a thin voice calling for help. It was a {granter} {trapped}.
{day}, {he} could hardly believe {his} eyes. There was a {granter} {trapped}!

"Please set me free!" it begged. {name} did so at once.
{name} did not think twice and set it free.
"Don't move," said {name}, and carefully, very carefully, {he} set it free.

"<thanks>," it said. "For that you may have one wish, but only one."
"You have a good heart," it said. "I will grant you one wish."
"Now you may wish for something," it said. "Choose well!"

"I know what I want!" cried {name}. "I wish for..." But then {he} stopped.
{name} <glad>. At last {he} would have a {wish}! {He} opened {his} mouth and then closed it again.

//

For {he} had to think of home, where {need}.
{He} remembered how things were at home: {need}.
That very morning {he} had heard some bad news: {need}.

?
"A {wish} would be for me alone," thought {name}.
{name} thought of the {wish}, and then {he} thought of all the sad faces.
It was not easy. {He} wanted the {wish} so much!

"I wish," {name} said slowly, "that everything were well again at home."
{name} took a deep breath. "Please help them," {he} said. "That is my wish."
"Help them instead of me," said {name}.

?
"Are you sure?" it asked. {name} nodded.
"That is the best wish I have ever heard," it said. There was a puff of [silver/blue/green] smoke.
There was a [flash/golden light/sound like a small bell], and then {name} was alone.

//

When {name} came home, {relief}.
{He} ran home as fast as {he} could. And see, {relief}!
At that very moment {relief}.

?
Everybody [laughed and sang/hugged each other], and nobody knew how it had happened. Only {name} knew.
"It is a wonder!" they all said. {name} just smiled.
"Who did that?" everyone asked. At last {name} told them the whole story.

And the {wish}? When {n_intro} heard about it, {n_he} {got}.
But {n_intro} had found out what {name} had given up. And so {n_he} {got}.
"You wanted a {wish}, didn't you?" {n_intro} said one day. Then {n_he} {got}.

That was not magic, but {name} liked it even better.
So {name} had {his} {wish} after all, and everyone was happy with {him}.
"Sometimes," said {name}, "you get your wish by giving it away."

?
<ending>
""")

PLOT = Plot(
    "magic wish",
    "wish",
    (
        WISHES,
        GRANTERS,
        NEEDS,
    ),
    BEATS,
)
