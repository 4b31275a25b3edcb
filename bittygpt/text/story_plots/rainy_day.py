"""Plot: rain spoils a plan, which then takes place indoors."""

from bittygpt.text.story_template import Plot, beats, table

PLANS = table(
    "plan packed indoors",
    """
picnic | a basket with sandwiches | spread the blanket under the table and ate the sandwiches there
trip to the sea | a bucket and a towel | filled the tub, floated paper boats in it, and listened to a shell
parade | flags and a drum | marched through every room, up the stairs and down again
boat ride | two oars and a rope | turned the big laundry basket into a boat and rowed across the carpet
""",
)

BEATS = beats("""
{name} had been looking forward to the {plan} for days.
"Tomorrow is the {plan}!" said {name} before {he} went to bed.
For a whole week {name} could think of nothing but the {plan}.

{He} had packed {packed}, and {pal} was going to come along.
Everything was ready: {packed}. And {pal} was coming, too.
{pal} was invited, and by the door stood everything they needed: {packed}.

But [on the great day/when the day came], {name} looked out of the window, and it was raining.
But [on the great day/early in the morning], {he} heard a sound on the roof: drip, drop, drip, drop.
But when the day came, dark clouds came over the hill, and it began to pour.

"No {plan} today," said {Elder}. {name} <sad>.
"Stop it, rain!" shouted {name}. The rain only fell harder.
"The {plan}!" cried {name}. "Everything is spoiled!"

?
{pal} came in, as wet as a [fish/sponge], and sat down with a long face.
<soon> there was a knock. It was {pal}, dripping from head to toe. "What now?" {f_he} asked.
{pal} came anyway, under a huge umbrella. "What shall we do with our {plan}?" {f_he} asked.

//

?
For a while they sat and counted the drops on the glass.
"I hate rain," said {pal}. "Me too," said {name}.
They looked at all the things by the door and sighed.

"The rain does not know about your {plan}," said {Elder}. "It only stays outside. What about the inside?"
"Who says that you need the sun for a {plan}?" asked {Elder}.
{name} <thought>. Suddenly {he} jumped up. "We can have our {plan} in here!" {he} said.

?
{name}'s eyes grew wide. "I know!" {he} said, and whispered something in {pal}'s ear.
{name} looked around the room, and {he} had an idea. And then another.
"You get the things, I'll make room!" {name} told {pal}.

//

They {indoors}.
So they {indoors}. {Elder} had to come, too.
And this is what they did: they {indoors}.

?
They laughed so much that they did not hear the rain anymore.
{Elder} played along and was the loudest of all.
"Watch out!" called {name}. "Here comes a [whale/bear/dragon]!" And they screamed with laughing.

?
When {name} looked out again, the sun was shining. "Let us stay inside a bit longer," said {pal}.
In the evening the rain stopped. There was a rainbow over the roofs.
"It has stopped raining," said {Elder}. But nobody was listening.

"Even the sun could not have made a better {plan}," said {name}.
"That was the best {plan} ever," said {pal}, and {name} thought so too.
"I hope it rains again soon," said {name}, "for the next {plan}."

?
<ending>
""")

PLOT = Plot("rainy day", "plan", (PLANS,), BEATS)
