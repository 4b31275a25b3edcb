"""Motifs for the heroes of `stories.py`: a garment, a dish, a charm, a habit, told of at both ends of a story."""

from bittygpt.text.story_template import Variants, variants

# A motif is one more fact about a hero: told at the beginning, and perhaps once more at the end, where it then
# takes the place of the phrase of the same name in PHRASES.
MOTIFS: dict[str, dict[str, Variants]] = {
    "none": {},
    "garment": {
        "opening": variants("""
{He} always wore a {garment}.
{name} was never seen without a {garment}.
{His} {elder} had made {him} a {garment}, and {he} wore it every day.
[In sun and in rain/In summer and in winter/At home and outdoors], {he} wore a {garment}.
You could tell {him} from far away by {his} {garment}.
"""),
        "ending": variants("""
And when you see a {kid} in a {garment}, you will know that it is {name}.
And {name} still wears the {garment}, even if it has a hole or two by now.
The {garment} grew too small one day, but {name} kept it, to remember.
And if you look for {name}, look for the {garment}.
"""),
        "homeward": variants("""
{name} straightened {his} {garment} and walked home, [humming/whistling/smiling].
{name} danced home so fast that {his} {garment} [nearly flew away/could hardly keep up].
Even {his} old {garment} looked brighter that day, [thought {name}/{name} thought].
At home {Elder} brushed the dust off {his} {garment} and [kissed {him}/hugged {him}/asked what had happened].
"""),
        "bedtime": variants("""
That night {name} hung {his} {garment} by the door and [slept well/went to bed with a smile].
{He} was so tired that night that {he} went to bed in {his} {garment}.
In the evening {Elder} hung up {his} {garment} and [kissed/hugged] {him} good night.
"""),
    },
    "food": {
        "opening": variants("""
There was nothing {he} liked to eat so much as {food}.
For a plate of {food} {he} would have walked to the end of the world.
{He} could eat {food} [every day/three times a day/from morning to night].
On Sundays {his} {elder} made {food}, and {name} ate [two/three/four] helpings.
"""),
        "ending": variants("""
And ever since, there has been {food} on that day, every year.
"Such a story," says {Elder}, "goes well with {food}." And {name} always agrees.
And {name} still likes {food} best of all.
"""),
        "homeward": variants("""
At home there was {food} for {name}, a whole plate of it.
And what did {Elder} put on the table when {name} came home? It was {food}!
The smell of {food} came to meet {name} at the door.
"""),
        "bedtime": variants("""
For supper there was {food}, because {name} had earned it.
"Tonight we shall have {food}," said {Elder}, and {name} cheered.
That evening {name} ate so much {food} that {he} could hardly climb into bed.
"""),
    },
    "charm": {
        "opening": variants("""
{He} kept a {charm} for luck.
Wherever {he} went, {he} carried a {charm} with {him}, for luck.
{His} {elder} had given {him} a {charm}. "It will bring you luck," {Elder} had said.
Under {his} pillow {name} kept a {charm} that was said to be lucky.
"""),
        "ending": variants("""
And the {charm}? {name} gave it to someone who needed luck more than {he} did.
Had the {charm} brought {him} luck? {name} was sure of it.
And {name} has the {charm} to this day.
"""),
        "homeward": variants("""
{name} patted the {charm} and went home, [humming/whistling/smiling].
"You do bring luck," {name} said to the {charm} on the way home.
On the way home {he} held the {charm} tight.
"""),
        "bedtime": variants("""
That night {name} put the {charm} under {his} pillow and [slept well/smiled/closed {his} eyes].
In bed {name} told the {charm} everything, from beginning to end.
"""),
    },
    "habit": {
        "opening": variants("""
When {he} was happy, {he} always {habit}.
You could tell when {name} was happy, for then {he} {habit}.
{He} had a funny way. Whenever something good happened, {he} {habit}.
Each time {he} was happy, {he} {habit}. Nobody knew why.
"""),
        "ending": variants("""
And whenever {name} thought of that day, {he} {habit}.
{name} was happy. How do we know? {He} {habit}.
"""),
        "homeward": variants("""
On the way home {name} {habit}, for {he} was happy.
{name} was so happy that {he} {habit}, right there on the road.
{Elder} knew at once that it had been a good day, for {name} {habit}.
"""),
        "bedtime": variants("""
Before {he} went to bed, {name} {habit}, because {he} was so happy.
"You are happy today," said {Elder}. And indeed {name} {habit}.
"""),
    },
}
