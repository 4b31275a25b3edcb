"""Plot: a fear is overcome."""

from bittygpt.text.story_template import Plot, beats, table

FEARS = table(
    "fear season hour moment truth deed",
    """
the dark | {season} | evening | the lamp went out, and everything turned black
  | The dark is only the day with its eyes closed
  | counted to ten and looked again. Little by little {he} saw the chair, the door and the stars outside
thunder | [spring/summer] | afternoon | a storm came over the hills and shook the windows
  | Thunder is only the clouds bumping their heads
  | counted between the flash and the rumble. Each time the storm was farther away
deep water | summer | {hour} | the others jumped into the lake and called for {him} to come
  | Water will carry you if you let it
  | put in one foot, then the other, and lay back. The lake held {him} up like a big, soft bed
the big dog | {season} | {hour} | a huge, shaggy dog stood in the middle of the path
  | A dog that wags its tail is asking to be friends
  | held out one {hand}. The dog sniffed it, wagged its tail, and licked {his} nose
""",
)

BEATS = beats("""
{name} was afraid of only one thing: {fear}.
There was one thing that {name} was afraid of, and that was {fear}.
{name} was not afraid of [mice/wasps] or [cold baths/strangers]. But {he} was terribly afraid of {fear}.
Nobody knew it, but {name} was afraid of {fear}.

?
"[Silly {kin}/You baby]," said {pal}. "Nobody is afraid of {fear}!"
{He} never talked about it, because {he} thought everyone would laugh.
When anyone so much as spoke of {fear}, {he} [covered {his} ears/hid behind {his} {elder}].
{pal} was never afraid, and {name} wished to be just as brave.

{day}, {moment}.
Then, {day}, it happened: {moment}.
But {day} it happened: {moment}.

?
{name}'s knees began to shake. "I can't," {he} whispered.
{His} heart was beating like a drum. "Help!" {he} squeaked.
{name} wanted to run away, but {his} feet would not move.
{He} shut {his} eyes. "I want to go home," <said_sadly>.

//

"I know a secret," said {Elder} and took {his} {hand}. "{truth}."
"Shall I tell you something, {dear}?" said {Elder}. "I used to be afraid of {fear}, too. {truth}."
Then {he} remembered what {his} {elder} had once told {him}: "{truth}."
{Elder} did not laugh. "{truth}," {e_he} said softly. "Try it, {dear}."

?
"Really?" asked {name}. "Really and truly," said {Elder}.
"To be brave does not mean that you are not afraid," {Elder} added. "It means that you do it anyway."
{name} <thought>. Then {he} nodded.
"Now watch," said {Elder}.

//

So {name} took a deep breath. {He} {deed}.
{name} made a fist. {He} {deed}.
Slowly, very slowly, {name} {deed}.
And then, with a dry mouth, {name} {deed}.

?
"I did it!" <said_gladly>. "I was afraid, and I did it!"
{name} began to laugh. Was that all?
"That was not so bad," said {name}, quite surprised.
{pal} stared at {him}. "You are braver than I am," said {pal}.

<moral> {name} was no longer afraid of {fear}.
{He} was still a little afraid of {fear}, but now {name} knew what to do about it.
And when a smaller {kin} was afraid of {fear}, {name} said, "I know a secret. {truth}."
"{fear}?" {name} would say later. "That is an old friend of mine."

?
<ending>
""")

PLOT = Plot("fear", "fear", (FEARS,), BEATS)
