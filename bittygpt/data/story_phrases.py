"""Sentences and phrases that all plots of `stories.py` share: openings, weather, feelings, last lines."""

from bittygpt.data.story_template import Beat, variants

OPENINGS: Beat = variants("""
Once upon a time there was a {trait} {kid} named {name}, who lived {lived}.
Once upon a time, {lived}, there lived a {trait} {kid} called {name}.
There once was a {trait} {kid} named {name}. {He} lived {lived} with {his} {elder}.
{name} was a {trait} {kid} who lived {lived}.
{name} lived {lived}. {He} was a {trait} {kid}, and everyone [liked/loved] {him}.
{lived} lived a {trait} {kid} whose name was {name}.
This is the story of {name}, a {trait} {kid} who lived {lived}.
Long ago, {lived}, there lived a {kid} named {name}. {He} was {trait} and {trait2}.
[In a land not far from here/Far away, where the road ends/A long time ago], a {trait} {kid} named {name}
  lived {lived}.
Do you know {name}? {He} was a {trait} {kid} who lived {lived} with {his} {elder}.
A {kid} named {name} and {his} {elder} lived {lived}. {name} was {trait}, and {his} {elder} was {trait2}.
If you had gone for a walk [long ago/that year], {lived} you might have met a {trait} {kid} named {name}.
Everybody knew {name}, the {trait} {kid} who lived {lived}.
{name} and {his} {elder} lived {lived}. They did not have much, but they were happy.
""")
OPENINGS_WITH_GARMENT: Beat = variants("""
{He} always wore a {garment}.
{name} was never seen without a {garment}.
{His} {elder} had made {him} a {garment}, and {he} wore it every day.
[In sun and in rain/In summer and in winter/At home and outdoors], {he} wore a {garment}.
You could tell {him} from far away by {his} {garment}.
Around the house and out of doors {he} wore the same old {garment}.
""")
WEATHER: dict[str, Beat] = {
    "spring": variants("""
The [first/new] leaves were [opening/coming out], and the birds were [building their nests/singing].
There were [yellow/white/purple] flowers [all along the path/in the grass/on every branch].
The air smelled of [wet earth/fresh grass/blossoms].
The snow was gone, and the [brook/stream] was running fast.
A [soft/warm] wind was blowing, and [lambs were jumping about/bees were humming].
"""),
    "summer": variants("""
The [sky/air] was [blue/clear/warm], and there was not a cloud to be seen.
[Bees/Dragonflies/Butterflies] were flying [over the grass/from flower to flower].
The grass was [dry and warm/long and green], and the crickets were singing.
The sun had been [up/shining] for hours, and the stones were warm.
The air smelled of [hay/roses/ripe berries].
"""),
    "autumn": variants("""
[Red/Yellow/Brown] leaves were [dancing in the wind/falling from the trees/lying everywhere].
The air smelled of [apples/smoke/mushrooms/wet leaves].
Wild geese were flying south [over the roofs/in a long line].
A [thin/white] mist lay [on the fields/in the valley].
[Acorns/Chestnuts/Nuts] were [dropping/falling] [to the ground/with a soft knock].
"""),
    "winter": variants("""
[Snow/Frost] lay on [the roofs/the ground/every branch] and [shone/sparkled] in the light.
The air was so cold that you could see your breath.
Icicles hung [from the roof/from the branches/over the window].
There were [tiny/bird] tracks in the [fresh/deep] snow.
Smoke was rising [straight up/slowly] from all the chimneys.
"""),
}
ENDINGS: Beat = variants("""
That night {name} fell asleep with a smile.
And {name} never forgot that {day_name}.
{name} [laughed/smiled] all the way home to {home}.
When {name} told {his} {elder} about it, {Elder} [hugged {him}/smiled/was very proud of {him}].
And back at {home} there was [hot soup/warm milk/fresh bread/honey cake/berry pie] for {name}.
It had been a [good/fine/wonderful/long] day for {name}.
And that was the best {day_name} {name} had ever had.
Even many years later, {name} liked to tell this story.
"{Elder}," said {name} that evening, "today was a [good/fine/wonderful] day."
"I am [so/very] proud of you, {dear}," {Elder} told {name} [that evening/at supper].
{name} went home to {home} with a [light/happy/warm] heart.
And if you ever pass {home}, {name} may tell you the story.
-
""")
ENDINGS_WITH_GARMENT: Beat = variants("""
That night {name} hung {his} {garment} by the door and [slept well/went to bed with a smile].
{name} straightened {his} {garment} and walked home, [humming/whistling/smiling].
Even {his} old {garment} looked brighter that day, [thought {name}/{name} thought].
And when you see a {kid} in a {garment}, you will know that it is {name}.
{name} danced home so fast that {his} {garment} [nearly flew away/could hardly keep up].
{Elder} brushed the dust off {name}'s {garment} and [kissed/hugged] {him}.
""")

PHRASES: dict[str, Beat] = {
    "sad": variants("""
[felt/was] [sad/very sad/unhappy]
sat down [on the ground/on a stone/on a step] and [sighed/cried a little]
hung {his} head
had tears in {his} eyes
wanted to cry
felt a lump in {his} throat
did not know what to do
"""),
    "glad": variants("""
[felt/was] [very happy/so glad/as happy as could be]
jumped for joy
clapped {his} {hand}s
laughed [out loud/with joy]
smiled from ear to ear
danced [around/in a circle]
could not stop smiling
"""),
    "smiled": variants("""
smiled
smiled [warmly/kindly/gently]
nodded
laughed
gave {him} a [smile/nod/wink]
"""),
    "thought": variants("""
thought [hard/for a while/for a long time/about it]
sat very still and thought
scratched {his} head and thought
looked at the sky and thought
"""),
    "said_sadly": variants("""
said {name} [sadly/in a small voice/with a sigh]
sighed {name}
whispered {name}
{he} said [sadly/in a small voice/with a sigh]
"""),
    "said_gladly": variants("""
[cried/called/shouted/cheered] {name}
{he} [cried/called/shouted/cheered]
said {name} [happily/with a big smile/with shining eyes]
"""),
    "soon": variants("""
Just then
At that moment
A little later
Before long
Then
After a while
"""),
    "moral": variants("""
From that day on
From then on
After that
Ever since that day
"""),
    "thanks": variants("""
Thank you
Thank you so much
Oh, thank you
Thank you, thank you
"""),
}
