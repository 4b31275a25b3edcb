"""Plot: a shy newcomer turns out to love what the hero loves."""

from bittygpt.text.story_template import Plot, beats, table

HOBBIES = table(
    "hobby carried together",
    """
chess | a chessboard | played chess under the old tree
painting | a box of paints | painted the [bridge/sunset/pond]
singing | a book of songs | sang until the birds joined in
baking | a rolling pin | baked a [crooked/huge/plum] cake
""",
)

BEATS = beats("""
{name} loved {hobby}, but nobody {he} knew liked it.
{name}'s great love was {hobby}. "If only I had someone to share it with!" {he} often said.
There was one thing {name} liked above all, and that was {hobby}. But {he} always did it alone.

{day}, a new family moved in next door. {weather}
{day}, a wagon full of boxes stopped nearby. Someone new had come to live there!
{day}, {name} saw a new face at the window across the way. {weather}

The newcomer was a [shy/quiet/pale] {f_kid} named {friend}, who looked at the ground and said nothing.
With them came a [shy/quiet/pale] {f_kid}. "This is {friend}," said {n_intro}, "from far away."
Behind a pile of boxes sat a [shy/quiet/pale] {f_kid} called {friend}, all alone.

?
The others whispered, "{friend} never talks. {friend} must be proud."
The others did not ask {friend} to play. "We have enough friends," they said.
Everyone stared at {friend}, but no one said hello.

//

?
But {name} thought, "I would be scared too, in a new place."
{name} remembered how {he} had once felt [alone/lonely], and {he} was sorry for {friend}.
"I think {friend} is only shy," {name} said to {himself}.

Then {he} saw something: {friend} was holding {carried}!
<soon> {friend} dropped something. It was {carried}.
And what was that under {friend}'s arm? It was {carried}.

{name} went over. "Hello, I am {name}. Do you like {hobby}?"
"Do you like {hobby}?" asked {name}. "I do too!"
{name} took a deep breath and walked up to {friend}. "I like {hobby} too," {he} said.

{friend} looked up. "More than anything," {f_he} said, and smiled for the first time.
{friend} nodded, slowly at first, and then very fast. "Nobody ever asked me that," {f_he} said.
"You do?" whispered {friend}. "I thought I was the only one here."

//

That same day they {together}.
So they went off side by side and {together}.
The next day they met and {together}.

?
Soon the others came to watch, and {friend} showed them how it was done.
"May we join you?" asked the others. {friend} looked at {name}, and both of them nodded.
{friend} talked and laughed so much that the others could hardly believe it.

?
<bedtime>

<moral> {name} and {friend} met every day for {hobby}.
{name} never had to be alone with {his} {hobby} again, and {friend} felt at home.
"{hobby} is good," said {name}, "but {hobby} with a friend is better."

?
<ending>
""")

PLOT = Plot("newcomer", "hobby", (HOBBIES,), BEATS)
