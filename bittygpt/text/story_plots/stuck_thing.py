"""Plot: a thing is stuck, and only three together get it free."""

from bittygpt.text.story_cast import MILD_SEASONS
from bittygpt.text.story_template import Plot, beats, table

STUCK_THINGS = table(
    "thing look where first wrong together",
    """
ball | [yellow/striped/red] | on the roof of the barn | jump as high as {he} could | The roof was much too
  high
  | {neighbor} took {friend} on {n_his} back, and {friend} pushed the ball down with {name}'s long stick
boot | [left/brown/new] | in the deep mud | pull with one {hand} | The mud only said slurp
  | {neighbor} pulled at {name}, {name} pulled at {friend}, and {friend} pulled at the boot
bucket | [tin/blue/wooden] | at the bottom of the well | catch it with a hook | The hook only scratched the
  stones
  | {neighbor} turned the handle, {friend} held the lamp, and {name} guided the rope
cart | [little/green/hay] | in a ditch | push it from behind | The wheels sank even deeper
  | {neighbor} lifted, {friend} pulled, and {name} pushed a flat board under the wheels
""",
)

BEATS = beats("""
{day}, {name} was outdoors with {his} {look} {thing}. {weather}
{day}, {name} took {his} {look} {thing} outside. {weather}
{day}, {name} and {pal} wanted to play with the {look} {thing}. {weather}

Then something [silly/bad/unlucky] happened: the {thing} got stuck {where}.
A moment later the {thing} was stuck {where}.
{He} looked away for [one/a] moment, and the {thing} got stuck {where}.
But oh dear! All at once the {thing} was stuck {where}.

?
"Oh no, my {thing}!" cried {name}.
"How will I ever get my {thing} back?" <said_sadly>.
"Give me back my {thing}!" called {name}, but that did not help.
{name} <sad>.

?
First {he} tried to {first}. {wrong}.
{name} had an idea. {He} tried to {first}. {wrong}.
"I can do this [alone/by myself]," said {name}, and {he} tried to {first}. {wrong}.

//

<soon> {pal} came running. "Let me help," said {pal}. But {pal} could not do it alone either.
<soon> {pal} saw the trouble and tried too. "It is no use," said {pal}. "It is too hard for one."
{pal} tried next. {f_he} [huffed and puffed/did {f_his} best], but the {thing} stayed where it was.

<soon> {n_intro} walked by. "Even I cannot do it alone," said {n_intro}, "but there are three of us!"
{n_intro} heard the noise and came out. "One and one and one makes three," said {n_intro}. "Let us do it
  together!"
"Wait for me!" called {n_intro} from across the road. "This is a job for three."

So {together}. [One, two, three/Slowly, slowly/Heave, ho]!
They made a plan. {together}. "[Now/Ready, steady, go]!" shouted {name}.
Everyone had a task. {together}.

//

Pop! The {thing} was free. {name} <glad>.
And suddenly the {thing} came loose, so fast that all three of them fell [down/over] and laughed.
It creaked, it wobbled, and then the {thing} was free.
At last {name} held the {look} {thing} in {his} {hand}s again.

?
"<thanks>!" {name} said. "What one cannot do, three can."
"<thanks>, {friend}! <thanks>, {neighbor}!" <said_gladly>.
"We are a good team," said {pal}, and {n_intro} nodded.

After that they all had [lemonade/tea/a rest], and the {thing} lay beside {name} in the [grass/sun].
{name} brought [apples/cookies/cake] for the three of them, and they sat around the {thing} like kings.
<moral> {name} was not too proud to ask for help, with a {thing} or with anything else.
{name} never forgot how to free a {thing}: with friends.

?
<ending>
""")

PLOT = Plot(
    "stuck thing",
    "thing",
    (
        MILD_SEASONS,
        STUCK_THINGS,
    ),
    BEATS,
)
