"""Plot: a beloved thing is lost, and someone helps to find it."""

from bittygpt.text.story_cast import GUIDES, MILD_SEASONS, PLACES
from bittygpt.text.story_template import Plot, beats, table

TREASURES = table(
    "thing look",
    """
whistle | [silver/tin/wooden/shiny]
music box | [tiny/painted/golden]
marble | [glass/green/shiny/blue]
toy train | [red/little/tin]
""",
)

BEATS = beats("""
What {he} loved most was {his} {look} {thing}.
{He} had a {look} {thing} and took it [everywhere/wherever {he} went].
Of all {his} things, {name} loved {his} {look} {thing} best.
{His} {elder} had given {him} a {look} {thing}, and it was {his} greatest treasure.
{name}'s best-loved toy was not new. It was a {look} {thing} that had once been {his} {elder}'s.

{day}, {name} took the {thing} to {place} and played there for a long time. {weather}
{day}, {he} went to {place}, and of course the {thing} came along. {weather}
{day}, {name} and {his} {elder} walked to {place}. {name} carried the {thing}.
{day}, {name} carried the {thing} down to {place}. {weather}

But when it was time to go home, the {thing} was gone.
Then {he} looked [around/down], and the {thing} was not there anymore.
On the way home {he} reached for the {thing}, but {he} could not find it.
{He} chased a [butterfly/grasshopper/cat] for a while, and when {he} came back, the {thing} had disappeared.

?
"Oh no!" cried {name}. "Where is my {thing}?"
"My {thing}!" {he} cried. "I have lost it!"
{name} <sad>. "I will never see my {thing} again," {he} said.
"It was here a moment ago," <said_sadly>.

?
{He} looked [high and low/left and right/here and there], but {he} found only [old leaves/a snail/a rusty
  nail].
{He} went back the way {he} had come and looked [everywhere/at every step].
{He} turned over [every stone/every leaf] and asked everyone {he} met, but nobody had seen it.
{name} searched and searched until {his} {hand}s were [dirty/dusty/cold].

//

<soon> {intro} came by. "{hail}," said {who}. "What are you looking for?"
<soon> {intro} came along and asked why {he} was so sad.
<soon> {name} met {intro} and told the whole story.
Then {name} heard a voice. It was {intro}. "{hail}. What is wrong?"

"Think," said {who}. "Where did you [sit down/stop/rest] last?" {name} <thought>. "{spot}!" {he} said.
"I saw something {look} {spot}," said {who}. "Come, I will show you!"
"Did you look {spot}?" asked {who}. "No," said {name}, "not there!"
"Two pairs of eyes see more than one," said {who}, and together they looked {spot}.
"When I lose something, I begin at the beginning," said {who}. So they went back and looked {spot}.

//

And there it was! The {thing} was lying {spot}, [safe and sound/a little wet/covered with dust].
There, {spot}, lay the {look} {thing}. {name} <glad>.
Something {look} was shining {spot}. It was the {thing}! {name} <glad>.
{name} [ran/hurried] there and, yes, there was the {thing}, {spot}!

?
"<thanks>, {called}!" <said_gladly>.
"<thanks>, {called}," said {name}. "Without you I would have [given up/gone home without it]."
{name} thanked {who} and held the {thing} tight.
"<thanks>!" {name} said to {who}. "Do you want to play with us?"

?
<homeward>

<moral> {name} always looked for {his} {thing} before {he} went home.
<moral>, whenever {name} came to {place}, {he} kept one {hand} on {his} {thing}.
<moral>, {name} tied a [string/ribbon] to {his} {thing} so that it could not get lost again.
<moral> the {thing} slept [under {name}'s pillow/beside {name}'s bed], where {he} could not lose it.
{name} learned that a [calm/patient] search is better than tears, and the {thing} was never lost again.

?
<ending>
""")

PLOT = Plot(
    "lost thing",
    "thing",
    (
        MILD_SEASONS,
        TREASURES,
        PLACES,
        GUIDES,
    ),
    BEATS,
)
