"""Who is in the stories of `stories.py`, and where and when they live."""

from bittygpt.data.story_template import Table, table

GIRLS = tuple(
    """Ada Alice Amina Anna Anya Astrid Bella Beth Carmen Cara Celia Chloe Clara Dalia Edith Elena Ella Elsa Emma
    Esther Eva Freya Greta Hana Hannah Helen Ida Ines Iris Ivy Jane Jasmine Joy Julia June Kate Keiko Lara Leah
    Leila Lena Lily Lola Lucy Maria Martha Maya Mei Mia Mina Molly Nadia Nell Nina Nora Noor Olga Paula Priya Rita
    Rosa Ruby Ruth Sally Sara Selma Sofia Stella Suki Tess Tina Vera Wanda Yara Zara Zoe""".split()
)
BOYS = tuple(
    """Adam Ali Amir Andy Anton Arlo Arthur Axel Ben Boris Carl Carlos Charlie Cody Dan Daniel David Diego Edgar
    Eli Emil Eric Felix Finn Frank Fred George Gus Hans Harry Henry Hugo Ian Idris Ivan Jack Jacob James Jamal Joe
    John Jonas Jude Kai Karl Kenji Kofi Leo Levi Liam Louis Luca Luke Marco Mark Martin Max Milo Mohan Nico Noah
    Oliver Omar Oscar Otto Owen Paul Peter Ravi Rob Sam Simon Stefan Theo Tim Tom Victor Will Yusuf""".split()
)
ANIMAL_GIRLS = tuple(
    """Bluebell Clover Cinnamon Daisy Dot Fern Hazel Honey Juniper Maple Marigold Minnow Myrtle Olive Pearl Petal
    Plum Poppy Posy Primrose Rosie Snowdrop Tansy Tilly Tulip Violet Willow""".split()
)
ANIMAL_BOYS = tuple(
    """Acorn Barley Basil Biscuit Bramble Bristle Bruno Buster Button Chester Digby Flint Moss Nutmeg Oakley Pepper
    Pip Rowan Rufus Rusty Sorrel Thistle Toby Tumble Twig Waffles Whiskers""".split()
)
ANIMALS = "badger bear beaver fox hamster hedgehog kitten mole mouse otter panda puppy rabbit raccoon squirrel".split()

TRAITS = """bright-eyed busy careful cheerful clever curious dreamy eager friendly gentle good-hearted hopeful kind
    lively merry mild patient polite quick quiet sensible soft-hearted sunny sweet thoughtful warm-hearted
    well-mannered""".split()

ELDERS = table(
    "elder Elder sex dear",
    """
mother | Mom | she | [my love/sweetheart/my dear/darling]
father | Dad | he | [my dear/my little {kin}/sunshine/kiddo]
grandmother | Grandma | she | [my dear/little one/sweet pea/my treasure]
grandfather | Grandpa | he | [little one/my dear/my little friend/young {kin}]
aunt | Aunt [Rose/May/Flora/Dora/Lottie] | she | [dear/honey/pumpkin/my little {kin}]
uncle | Uncle [Bob/Ned/Walter/Theodore/Rob] | he | [my friend/champ/young {kin}/little one]
""",
)
SURNAMES = """Apple Bell Berry Bloom Brook Brown Cherry Cook Dale Fairweather Field Frost Glen Green Gray Hill Hobbs
    Lake Lark Marsh Moon Moss Nettle Parsley Pepper Potts Reed Rivers Snow Stone Thorn Tuttle White Wick
    Winter Wood""".split()
ANIMAL_SURNAMES = (
    "Crane Crow Duck Goat Goose Hen Heron Newt Owl Pheasant Raven Sheep Stork Toad Tortoise Turkey".split()
)
JOBS = """baker beekeeper blacksmith bookseller boatbuilder carpenter clockmaker cook farmer gardener hatmaker
    lamplighter miller musician painter potter shoemaker shopkeeper storyteller tailor teacher toymaker weaver""".split()

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
PLACES: Table = table(
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

GARMENT_LOOKS = """blue checkered brown gray green orange patched pink plain purple red spotted striped velvet white
    woolen yellow""".split()
GARMENTS = "apron belt bow cap cape coat hat hood jacket ribbon scarf shawl sweater vest".split()

SEASONS = table(
    "season sky",
    """
spring | [bright/mild/breezy/fresh/soft/sweet-smelling]
summer | [sunny/warm/golden/lazy/hot/clear]
autumn | [crisp/windy/golden/cool/misty/mellow]
winter | [cold/frosty/still/clear/chilly/white]
""",
)
