"""Who is in the stories of `stories.py`, and where and when they live."""

from bittygpt.text.story_template import table, variants, words

# A small cast that comes back in every story, as in a series of picture books, everybody always beside the same people:
# a model of a million weights then learns within minutes to keep them apart. (`dear`: what the elder calls the hero.)

_COLUMNS = "name sex kin friend f_sex f_kid neighbor n_sex job elder Elder e_sex dear"

CHILDREN = table(
    _COLUMNS,
    """
Ada | she | girl | Nora | she | girl | Mr. Bell | he | baker | father | Dad | he | [my dear/sunshine/kiddo]
Lena | she | girl | Emma | she | girl | Mrs. Rose | she | gardener | grandmother | Grandma | she
  | [my dear/sweet pea/my treasure]
Mia | she | girl | Jack | he | boy | Mr. Stone | he | clockmaker | aunt | Aunt Dora | she | [dear/honey/pumpkin]
Ben | he | boy | Finn | he | boy | Mr. Wood | he | carpenter | grandfather | Grandpa | he
  | [my dear/my friend/my little friend]
Max | he | boy | Ruby | she | girl | Mrs. Finch | she | teacher | mother | Mom | she | [my love/sweetheart/darling]
Theo | he | boy | Sam | he | boy | Miss Lark | she | painter | uncle | Uncle Ned | he | [my friend/champ]
""",
)
ANIMALS = table(
    _COLUMNS,
    """
Clover | she | rabbit | Biscuit | he | puppy | Mrs. Heron | she | weaver | mother | Mom | she | [my love/sweetheart]
Fern | she | fox | Hazel | she | badger | Mrs. Owl | she | storyteller | aunt | Aunt Tilly | she | [dear/honey]
Honey | she | bear | Ivy | she | mole | Mr. Pelican | he | boatbuilder | grandfather | Grandpa | he
  | [my dear/my little friend]
Gus | he | hedgehog | Bramble | he | raccoon | Mr. Toad | he | blacksmith | father | Dad | he | [my dear/sunshine]
Pip | he | mouse | Willow | she | otter | Miss Goose | she | cook | grandmother | Grandma | she
  | [little one/my treasure]
Rusty | he | squirrel | Whiskers | he | kitten | Mr. Crow | he | tailor | uncle | Uncle Bob | he | [my friend/champ]
""",
)

TRAITS = words("""
    brave-hearted bright-eyed calm careful chatty cheerful clever contented curious down-to-earth dreamy eager
    earnest friendly gentle gentle-hearted giggly good-hearted hardworking helpful honest hopeful inventive
    jolly kind kindhearted lighthearted lively loving merry modest neat patient playful plucky polite quiet
    sensible soft-hearted soft-spoken spirited steady sweet thoughtful tidy tireless trusting warm-hearted
""")

HELPERS = table(
    "helper helper_look sound",
    """
owl | [wise old/sleepy/brown] | Hoo, hoo
robin | [small/plump/cheerful] | Tweet, tweet
frog | [green/fat green/tiny] | Ribbit, ribbit
crow | [shiny black/clever/noisy] | Caw, caw
duck | [plump white/brown/busy] | Quack, quack
goose | [proud gray/white/long-necked] | Honk, honk
cricket | [tiny/thin green/merry] | Chirp, chirp
bee | [busy/golden/fuzzy] | Buzz, buzz
turtle | [slow old/wrinkled/patient] | Well, well
snail | [tiny/patient/striped] | Hmm, hmm
donkey | [gray/shaggy/long-eared] | Hee-haw, hee-haw
hen | [speckled/brown/fussy] | Cluck, cluck
sparrow | [little/bold/dusty] | Cheep, cheep
pigeon | [gray/round/gentle] | Coo, coo
sheep | [woolly/white/sleepy] | Baa, baa
horse | [old brown/white/gentle] | Neigh, neigh
""",
)

# Whoever comes along when the hero is in trouble: a friend, a neighbor, or an animal that talks.
GUIDES = table(
    "who intro called hail",
    """
{friend} | {pal} | {friend} | [Don't worry, {name}/Cheer up, {name}/Don't be sad, {name}/Listen, {name}]
{neighbor} | {neighbor}, the {job}, | {neighbor} | [Now, now/Dry your eyes, {name}/Dear me/Oh my]
the {helper} | a {helper_look} {helper} | {helper} | {sound}
""",
)

CHILD_HOMES = table(
    "lived home",
    """
in a white [house/cottage] by the sea | the [white house/house by the sea]
on a [small/little/quiet] farm at the end of a long lane | the farm
in a tall, [thin/narrow] house in the middle of a [busy/noisy] town | the tall house
in a log house at the edge of a [great/dark/deep] forest | the log house
in a [small/sleepy/little] village between two [green/blue] hills | the village
in a mill beside a [slow/wide/quick] river | the mill
in a [red/green/yellow] houseboat on the river | the boat
in a stone [house/cottage] high up in the mountains | the stone house
above a [bakery/bookshop/toy shop/flower shop] on a crooked street | the crooked street
in a lighthouse on a [rocky/windy] island | the lighthouse
in a little house with a [blue/red/green] door | the house with the [bright/little] door
next to an old apple orchard | the house by the orchard
at the foot of a [snowy/tall] mountain | the house at the foot of the mountain
on the edge of a wide [meadow/desert/plain] | the house at the edge of the land
""",
)
ANIMAL_HOMES = table(
    "lived home",
    """
in a [snug/cozy/warm] burrow under a hazel bush | the burrow
in a [deep/dry/round] den among the roots of an old oak | the den
in a hollow [tree/log] by the stream | the hollow
in a tiny house with a [mossy/leafy] roof | the mossy house
under the floor of an empty [barn/mill/church] | the hole under the floor
at the edge of a [quiet/sunny] clearing in the woods | the clearing
in a heap of [warm/dry] leaves behind the garden wall | the garden wall
on the bank of a [lazy/clear/winding] river | the river bank
in a [sandy/stony] cave on the side of a hill | the cave
in a cozy hole beneath the blackberry [hedge/bushes] | the blackberry bushes
""",
)
PLACES = table(
    "place spot",
    """
the meadow | [under a tall thistle/beside the old gate/behind a gray stone/in the long grass]
the river | [under the willow tree/between two round stones/beside the wooden bridge/among the reeds]
the hill | [behind a mossy rock/under a thorn bush/next to the stone wall/beside the signpost]
the orchard | [under the pear tree/in a basket of apples/beside the ladder/behind the tool shed]
the beach | [behind a big rock/under an old boat/next to a heap of shells/in a pile of seaweed]
the market | [under the fish stall/behind a barrel of plums/beside the fountain/under a cart of hay]
the park | [under the green bench/behind the rose bush/next to the duck pond/at the foot of the statue]
the forest | [in a hollow log/under a fern/at the foot of a birch tree/on a bed of moss]
the garden | [between two cabbages/under the rhubarb leaves/behind a flower pot/beside the well]
the barn | [in the hay/behind the milk cans/under the old wagon/beside the feed box]
the mill pond | [beside the water wheel/under a bench/behind the flour sacks/among the cattails]
the old bridge | [under the first arch/beside a lamp post/behind a heap of leaves/next to the railing]
""",
)

GARMENT_LOOKS = words("""
    blue brown checkered gray green orange patched pink plain purple red spotted striped velvet white woolen
    yellow
""")
GARMENTS = words("apron belt bow cap cape coat hat hood jacket ribbon scarf shawl sweater vest")

FOODS = variants("""
[apple/plum/cherry/berry] pie
[pumpkin/pea/leek/noodle] soup
[cheese/egg/cucumber] sandwiches
[honey/nut/seed/poppy] cake
[roasted/boiled] chestnuts
[corn/banana/rye] bread
pancakes with [jam/syrup/lemon]
baked [apples/potatoes/beans]
dumplings with [butter/plums/mushrooms]
[oat/barley/rice] porridge
[vanilla/almond/caramel] pudding
fried [fish/eggs/mushrooms]
[lentil/carrot/cabbage] stew
[raisin/cinnamon/sugar] buns
waffles with [cream/berries]
macaroni with [cheese/tomatoes]
""")
CHARMS = words(
    "acorn button chestnut clover-leaf coin feather horseshoe pebble ribbon seashell thimble walnut"
)
CHARM_LOOKS = words(
    "blue brass brown golden green gray little old polished red round silver tiny white yellow"
)
HABITS = variants("""
hopped on [one leg/both feet]
whistled [like a bird/an old tune/through {his} teeth]
turned around [twice/three times]
hummed [a march/a waltz/the same four notes]
pulled {his} own [ear/nose]
clapped [twice/three times/seven times]
stood on {his} head
sneezed [twice/three times]
walked backward
danced a [jig/polka/little dance]
sang [out of tune/at the top of {his} voice/in a deep voice]
wiggled {his} [ears/nose/toes]
counted to [ten/twenty/a hundred] aloud
bowed to [the moon/every tree/the nearest fence]
talked in rhymes
skipped [like a lamb/in circles]
""")

WEEKDAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

SEASONS = table(
    "season sky",
    """
spring | [bright/mild/breezy/fresh/soft/sweet-smelling]
summer | [sunny/warm/golden/lazy/hot/clear]
autumn | [crisp/windy/golden/cool/misty/mellow]
winter | [cold/frosty/still/clear/chilly/white]
""",
)
WARM_SEASONS = table("season", "spring\nsummer")
MILD_SEASONS = table("season", "spring\nsummer\nautumn")
