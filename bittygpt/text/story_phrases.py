"""Sentences and phrases that all plots of `stories.py` share: openings, weather, feelings, last lines."""

from bittygpt.text.story_template import Variants, variants

OPENINGS: Variants = variants("""
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
If you had gone for a walk [long ago/that year], {lived}, you might have met a {trait} {kid} named {name}.
Everybody knew {name}, the {trait} {kid} who lived {lived}.
You must hear the story of {name}. {He} was a {trait} {kid}, and {he} lived {lived}.
My grandmother used to tell me about a {trait} {kid} called {name}, who lived {lived}.
There was [once/once upon a time] a {kid}, {trait} and {trait2}, who lived {lived}. {His} name was {name}.
What a {trait} {kid} {name} was! {He} lived {lived} with {his} {elder}.
Have you heard of {name}? {He} was a {trait} {kid} and lived {lived}.
In those days {name} was still a {kid}. {He} lived {lived} and was known to be {trait}.
{lived}, long before you were born, lived {name}. There was no [kinder/better/brighter] {kin} for miles around.
A {kid} and {his} {elder} lived {lived}. The {kin} was called {name}. They had little, but they were happy.
""")
WEATHER: dict[str, Variants] = {
    "spring": variants("""
The puddles shone, and [frogs/toads] were on their way to the pond.
A [cuckoo/thrush/blackbird] was calling from the [hedge/chimney/tallest tree].
[Cherry/Apple/Plum] blossoms floated down like snow.
It had rained in the night, and everything was [dripping/shining/green].
The farmers were [plowing/sowing], and [crows/gulls] walked behind them.
Someone had opened all the windows, and [carpets/pillows] hung outside.
The [first/new] leaves were [opening/coming out], and the birds were [building their nests/singing].
There were [yellow/white/purple] flowers [all along the path/in the grass/on every branch].
The air smelled of [wet earth/fresh grass/blossoms].
The snow was gone, and the [brook/stream] was running fast.
A [soft/warm] wind was blowing, and [lambs were jumping about/bees were humming].
"""),
    "summer": variants("""
The road was [white with dust/too hot for bare feet].
[Swallows/Swifts] were [darting/diving] over the roofs.
The [wheat/barley/rye] stood high and moved like the sea.
Every [cat/dog] in the place was asleep in the shade.
Somewhere a [scythe/saw/wagon] could be heard, far away.
[Poppies/Cornflowers/Daisies] were in bloom along the [ditch/wall/fence].
The [sky/air] was [blue/clear/warm], and there was not a cloud to be seen.
[Bees/Dragonflies/Butterflies] were flying [over the grass/from flower to flower].
The grass was [dry and warm/long and green], and the crickets were singing.
The sun had been [up/shining] for hours, and the stones were warm.
The air smelled of [hay/roses/ripe berries].
"""),
    "autumn": variants("""
[Pumpkins/Squashes/Cabbages] lay in the fields like [moons/sleeping cats].
Spiders had hung their [silver/wet] threads on every [fence/bush].
The wind was [shaking/tugging at] the [trees/shutters].
[Squirrels/Jays] were [hiding/burying] [nuts/acorns] for the winter.
People were [stacking wood/picking apples/pressing grapes], and the days grew short.
A [farmer/shepherd] was burning leaves, and the smoke was [blue/sweet].
[Red/Yellow/Brown] leaves were [dancing in the wind/falling from the trees/lying everywhere].
The air smelled of [apples/smoke/mushrooms/wet leaves].
Wild geese were flying south [over the roofs/in a long line].
A [thin/white] mist lay [on the fields/in the valley].
[Acorns/Chestnuts/Nuts] were [dropping/falling] [to the ground/with a soft knock].
"""),
    "winter": variants("""
The [pond/brook/well] was frozen, and [ducks/sparrows] stood around it and [waited/complained].
It was so quiet that you could hear the snow fall.
Ice flowers were growing on the windows.
A [crow/raven/magpie] sat on the [fence/gate] like a [black/small] [king/judge].
The snow [creaked/squeaked/crunched] at every step.
The sun was [low/pale/small] and had no warmth.
[Snow/Frost] lay on [the roofs/the ground/every branch] and [shone/sparkled] in the light.
The air was so cold that you could see your breath.
Icicles hung [from the roof/from the branches/over the window].
There were [tiny/bird] tracks in the [fresh/deep] snow.
Smoke was rising [straight up/slowly] from all the chimneys.
"""),
}
ENDINGS: Variants = variants("""
And {name} never forgot that {day_name}.
Even many years later, {name} liked to tell this story.
And if you ever come to {home}, {name} may tell you the story.
{Elder} still tells this story when the evenings are long, and {name} still likes to hear it.
And {name} lived happily at {home} for many years.
That is how it was, and {name} was [content/glad/happy] with it.
And {his} {elder} said, "{name}, I am proud of you."
That was the story of {name}, and it is true from beginning to end.
Wasn't that a good thing for {name} to learn?
And that, said {Elder}, is how {kin_plural} grow up. {name} only laughed.
And everyone who knew {name} was happy, too.
[Old people/Travelers/The birds] still talk about it in those parts.
And do you know what? {name} would do it all over again.
Some things, {name} found, you have to live through to understand.
"What a story!" people said when {name} told it, and {name} told it often.
And so ends the tale of {name}, the {trait} {kid}.
""")
HOMEWARD: Variants = variants("""
{name} [laughed/smiled/hummed/sang] all the way home to {home}.
{name} went home to {home} with a [light/happy/warm] heart.
When {name} came home and told {Elder} about it, {e_he} [hugged {him}/smiled/was very proud of {him}].
Back at {home} there was [hot soup/warm milk/fresh bread/honey cake/berry pie] for {name}.
"I am [so/very] proud of you, {dear}," {Elder} said when {he} told {e_him} everything.
{name} skipped home, and the way had never been so short.
""")
BEDTIME: Variants = variants("""
That night {name} fell asleep with a smile.
"{Elder}," said {name} that evening, "today was a [good/fine/wonderful] day."
"I am [so/very] proud of you, {dear}," {Elder} told {him} that evening.
At supper {name} talked about it so much that {his} [soup/porridge/milk] went cold.
It had been the best {day_name} of the whole {season}.
That night {he} dreamed about it all over again.
""")
PHRASES: dict[str, Variants] = {
    "ending": (*ENDINGS, "", "", ""),
    "homeward": (*HOMEWARD, "", ""),
    "bedtime": (*BEDTIME, "", ""),
    "sad": variants("""
[felt/was] [sad/very sad/unhappy]
sat down [on the ground/on a stone/on a step] and [sighed/cried a little]
hung {his} head
sniffed and rubbed {his} eyes
felt [small/empty/alone/miserable]
looked at {his} [toes/feet] and said nothing
could not keep back {his} tears
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
turned a somersault
felt warm all over
hopped [up and down/from one foot to the other]
was so happy that {he} [sang/whistled/hummed] a [little/silly] song
grinned
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
From that time on
"""),
    "thanks": variants("""
Thank you
Thank you so much
Oh, thank you
Thank you, thank you
"""),
}
