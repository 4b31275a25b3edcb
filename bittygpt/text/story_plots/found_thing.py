"""Plot: a thing is found and brought back to its owner."""

from bittygpt.text.story_cast import MILD_SEASONS, PLACES
from bittygpt.text.story_template import Plot, beats, table

OWNERS = table(
    "thing look cry",
    """
purse | [brown/leather/heavy] | All my money is in it
ring | [golden/silver/thin] | My mother gave it to me
key | [big/rusty/iron] | Now I cannot open my own door
pair of glasses | [round/golden] | I cannot read a word without them
""",
)
REWARDS = table(
    "reward",
    """
a ride on the [hay wagon/gray horse/wooden boat]
a bag of [warm buns/sugared nuts/red apples]
a [little/shiny] silver bell
the first slice of a [cherry/plum/berry] pie
""",
)

BEATS = beats("""
{day}, {name} was on {his} way to {place}. {weather}
{day}, {name} went for a walk to {place} with {pal}. {weather}
{day}, {his} {elder} sent {name} to {place} to pick some [herbs/flowers/berries].

There, {spot}, lay a {look} {thing}.
{spot} {he} saw something strange. It was a {look} {thing}!
{He} nearly stepped on something {spot}. It was a {look} {thing}.

?
{name} picked it up and looked at it from all sides. What a fine {thing} it was!
"A {thing}!" said {name}. "Now it is mine." But was it?
{He} had always wanted a {thing} like that.
"Finders, keepers," croaked a crow on a fence, but {name} was not so sure.

?
"I could keep it," {he} thought. "Nobody would know." But {he} would know.
{He} wanted to put it in {his} pocket. Then {he} thought, "Somebody must be [looking for it/missing it]."
"If I had lost my {thing}," thought {name}, "I would be very sad."

//

?
So {name} went from [door to door/house to house] and asked, "Have you lost a {thing}?" Everyone shook their
  heads.
{He} asked the [miller/priest/mayor] and the [mail carrier/sweep/soldier]. {He} asked everyone on the road.
  Nobody had lost a {thing}.
{name} sat down {spot} and waited for someone to come back for it. [A cart/A cow/A flock of sheep] went by,
  but nobody stopped.

At last {he} came to {n_intro} who was [looking under the table/turning out every drawer/close to tears].
Near the end of the road {he} saw {n_intro} on {n_his} knees, looking for something in the grass.
Then {he} heard someone sigh. It was {n_intro} and {n_he} looked very unhappy.

"I have lost my {thing}," said {n_intro}. "{cry}."
"My {look} {thing} is gone!" {n_intro} told {him}. "{cry}."

//

"Is this it?" asked {name}, and [held out/showed {n_him}] the {look} {thing}.
{name} [smiled/did not wait a moment]. "Look, {neighbor}, here is your {thing}. It was {spot}."
"Don't cry, {neighbor}," said {name}. "I found your {thing} {spot}."

?
{n_intro} could hardly believe it. "You honest {kin}! <thanks>!"
"My {thing}!" cried {n_intro} and [hugged {him}/nearly danced]. "How can I ever thank you?"
{neighbor}'s whole face lit up. "There are not many who would bring it back," {n_he} said.

{name} did not want any money, but {n_intro} gave {him} {reward}.
As a thank-you, {name} got {reward}.
"Wait here," said {n_intro}, and came back with {reward}.

{reward} was nice, but it was even nicer to see {n_intro} smile at the {thing}.
And whenever they met, {n_intro} [waved/winked] and showed {name} that the {thing} was still there.
"It is better than keeping the {thing}," {name} told {his} {elder}, "because now I have a new friend."
The {thing} was back where it belonged, and {name} felt [ten feet tall/as light as a feather].

?
<ending>
""")

PLOT = Plot(
    "found thing",
    "thing",
    (
        MILD_SEASONS,
        OWNERS,
        PLACES,
        REWARDS,
    ),
    BEATS,
)
