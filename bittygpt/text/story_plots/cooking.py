"""Plot: a dish lacks something that a neighbor has."""

from bittygpt.text.story_template import Plot, beats, table

DISHES = table(
    "dish missing begun served",
    """
apple pie | cinnamon | peeled the apples and rolled out the dough | with cream
[chicken/pea/bean] soup | salt | cut the onions and filled the pot with water | with bread
[carrot/honey/lemon] cake | butter | broke the eggs and sifted the flour | with tea
berry jam | sugar | washed the berries and picked out the leaves | on warm toast
""",
)

BEATS = beats("""
{day}, {name} wanted to make {dish} all by {himself}.
{day}, {his} {elder} lay in bed with a cold. "I will make {dish} for you," said {name}.
{day}, {name} woke up with a great wish for {dish}.
{pal} was coming to visit, and {name} wanted to make {dish}.

{He} put on [a old/a big] apron and {begun}.
{He} opened the old cookbook and {begun}.
{He} washed {his} {hand}s and {begun}.

But when {he} looked for the {missing}, the jar was empty. "No {missing}, no {dish}!" said {name}.
Then {he} reached for the {missing}. There was none!
"And now the {missing}," {he} said, and opened the cupboard. But there was no {missing} left.

//

So {he} knocked at the door of {n_intro} with a cup in {his} {hand}. "Could you lend me some {missing}?"
{name} ran to {n_intro} and asked for some {missing}.
"I will ask {neighbor}," thought {name}, and ran over. "Do you have a little {missing}, please?"

"Gladly," said {neighbor}, who was sitting all alone at a big table.
"Of course," said {neighbor}. "What are you making?" "{dish}!" said {name}.
"Take as much as you need," said {neighbor} and sighed. "I never cook for more than one."

?
On the way back {he} met {pal}. "Where are you going with that {missing}?" asked {pal}. "May I help you?"
At home {he} met {pal} at the door. "I can stir," said {pal}, "and I can taste!"
{pal} came in and sniffed. "What are you cooking?" asked {pal}. "I am hungry already."

//

{name} and {pal} put in the {missing}, stirred and tasted. "More," said {name}. "Enough," said {friend}.
{name} put in the {missing}, and {pal} watched the fire.
First {name} and {pal} spilled some, and then they put in too much. But when they tasted it, it was just
  right.

?
Soon a wonderful smell filled the kitchen, and then the whole street.
It bubbled and steamed, and it smelled so good that a [dog/cat/crow] came to the window.
They waited with their noses close to the fire. At last the {dish} was done.

?
There was so much {dish} that {name} put six plates on the table.
"It is too much for us," said {name}. "Let us ask {neighbor} to come!"
"{neighbor} must have some, too," said {name}, "for without {n_him} we would have none."

So {name}, {Elder}, {pal} and {neighbor} sat down together and ate the {dish} {served}.
{Elder} and {neighbor} and {pal} sat around the table, and everyone had {dish} {served}.
{name} invited everyone. {Elder}, {pal} and {neighbor} came, and they ate the {dish} {served}.

?
"This is the best {dish} I have ever eaten," said {n_intro}.
"What did you put into it?" asked {Elder}. "Only {missing}," said {name}, "and some friends."
Nobody said a word until every plate was empty. Then they clapped for {name}.

<moral> {n_intro} came to eat with them every week, and {name} never ran out of {missing} again.
And that is why {dish} always made {name} think of good neighbors.
{name} washed the cup, filled it with {dish}, and brought it to {neighbor}'s door the next day.

?
<ending>
""")

PLOT = Plot("cooking", "dish", (DISHES,), BEATS)
