"""Plot: a present is made by hand because there is no money to buy one."""

from bittygpt.text.story_template import Plot, beats, table

PRESENTS = table(
    "gift of work used",
    """
birdhouse | three old boards | sawed the wood and hammered in the nails | hung it in the tree by the window
bookmark | a pressed fern and stiff paper | cut, glued and pressed | put it into {e_his} best-loved book
cushion | an old curtain and soft wool | sewed the seams, stitch by stitch, | took {e_his} nap on it
picture frame | driftwood and shells | glued the corners and polished the shells | put a picture of {name} in it
""",
)
LUXURIES = table(
    "luxury",
    """
a [silver/golden/pearl] brooch
a [silk/fur/feathered] hat
a pair of [leather/red/shiny] boots
a [crystal/china/painted] vase
""",
)

BEATS = beats("""
It would soon be {his} {elder}'s birthday, and {name} wanted to give {e_him} something special.
"{Elder} has a birthday on Sunday," {name} told {pal}. "What shall I give {e_him}?"
{name} loved {his} {elder} very much, and {e_his} birthday was only [five/six/seven] days away.

In the shop window {he} saw {luxury}. But it cost [ten/twenty/a hundred] coins, and {name} had only [one/two].
At the market {he} wanted to buy {luxury}, but {his} money was not nearly enough.
{n_intro} had {luxury} for sale. {name} counted {his} coins. There were three of them, and one was a button.

?
{name} <sad>. "I have no money for a present," {he} said.
"Then I have nothing for {Elder}," <said_sadly>.
{name} walked home slowly and kicked a stone.

?
"[Why don't you make something/Make something yourself]!" said {pal}. "That is worth more than gold."
Then {he} remembered what {Elder} always said: "The best presents come from your own {hand}s."
At home {name} <thought>. Then {he} jumped up. {He} would make something!

//

{day}, {he} found {of}, and that was enough for a {gift}. {weather}
{day}, {he} looked in every corner and found {of}. "That will make a {gift}!" {he} said.
What could {he} make from {of}? A {gift}! {He} began at once.

{name} {work} in secret, and it took [three days/all week/two long evenings].
Behind a closed door {name} {work} until late.
{name} {work}. The first one went wrong, and so did the second one. The third one was good.

?
"What are you doing in there?" called {Elder}. "Nothing!" called {name}, and hid the {gift}.
It was not perfect. The {gift} was a little crooked, and {name} was worried. Would {Elder} like it?
{pal} helped a bit and promised not to tell anyone about the {gift}.

//

At last the birthday came. "This is for you," said {name}, and {his} {hand}s shook a little. "I made it."
On the birthday there were many presents. {name}'s came last. "It is only a {gift}," {he} said. "I made it
  myself."
When the day came, {name} said, "Happy birthday, {Elder}!" and gave {e_him} the {gift}.

{Elder} was quiet for a moment. "You made this for me?" {e_he} asked. There were tears in {e_his} eyes.
"A {gift}!" cried {Elder}. "I have never had such a beautiful one."
{Elder} looked at it from all sides and hugged {him} tight. "There is no other like it in the whole world,"
  {e_he} said.

Then {e_he} {used}.
And right away {Elder} {used}.

{name} <glad>. No {gift} from a shop could have been better.
It was better than {luxury}, and {name} knew why: there was love in that {gift}.
For years and years {his} {elder} kept the {gift}, and {name} never forgot {e_his} smile.

?
<ending>
""")

PLOT = Plot(
    "present",
    "gift",
    (
        PRESENTS,
        LUXURIES,
    ),
    BEATS,
)
