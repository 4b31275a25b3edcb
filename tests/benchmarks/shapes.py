"""The shapes that `make bench` measures, and who runs them. Needs no torch, so that the table's process stays small."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A model and a batch. `steps` are those of one turn, `feed_forward` is ours (None: its default, 8/3 of the width).

    Ours and nanoGPT's have as many parameters, but for nanoGPT's table of positions and our rounding of 8/3: their
    feed-forward layers are two matrices of 4 times the width, ours three of 8/3; both tie the embeddings to the head.
    """

    name: str
    layers: int
    heads: int
    width: int
    context: int
    vocabulary: int
    batch: int
    steps: int
    feed_forward: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch * self.context


TINY = Shape("tiny", 1, 2, 32, 8, 65, 2, 1)
SMALL = Shape("0.8M", 4, 4, 128, 64, 65, 12, 25, feed_forward=344)
ON_CPU = (SMALL, Shape("10M", 6, 6, 384, 256, 65, 4, 2))
ON_CUDA = (
    Shape("10M", 6, 6, 384, 256, 65, 64, 20),
    Shape("124M", 12, 12, 768, 1024, 50_304, 32, 5),
    Shape("350M", 24, 16, 1024, 1024, 50_304, 8, 5),
)
# A vocabulary of 50,000 over a small model: here logits are most of the memory, where they are held.
VOCABULARY_ON_CPU = Shape("50,000", 4, 4, 256, 256, 50_000, 32, 1)
VOCABULARY_ON_CUDA = Shape("50,000", 4, 4, 256, 256, 50_000, 64, 10)

OURS, OURS_BF16, OURS_MUON = "bittygpt", "bittygpt, bf16", "bittygpt, Muon"
WITHOUT_C = "bittygpt, CC=none"
FULL_LOGITS = "bittygpt, full logits"
MATRIX_RATE = "matrix rate"
NANOGPT, NANOCHAT = "nanoGPT", "nanochat"
# whom a contender's time and memory are divided by: AdamW goes with AdamW, and nanochat's Muon with Muon
AGAINST = {FULL_LOGITS: OURS, WITHOUT_C: OURS, NANOGPT: OURS, OURS_BF16: NANOGPT, NANOCHAT: OURS_MUON}


def shapes_for(device: str, names: list[str] | None) -> list[Shape]:
    """Those that suit the device, the one with the large vocabulary last; or those that are named.

    Raises:
        ValueError: a name that the device has no shape for.
    """
    fitting = [*ON_CUDA, VOCABULARY_ON_CUDA] if device == "cuda" else [*ON_CPU, VOCABULARY_ON_CPU]
    if not names:
        return fitting
    known = {shape.name: shape for shape in [*fitting, TINY]}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no shape {', '.join(unknown)} on {device}; there are {', '.join(known)}")
    return [known[name] for name in names]


def has_large_vocabulary(shape: Shape) -> bool:
    """Whether it is the shape on which the loss without logits is compared with the one that makes them all."""
    return shape.name == VOCABULARY_ON_CPU.name


def contenders_for(shape: Shape, peers: list[str], device: str, bf16_on_cpu: bool = False) -> list[str]:
    """Who takes turns on a shape, in this order: whom another is divided by stands right beside it."""
    if has_large_vocabulary(shape):
        return [OURS, FULL_LOGITS, *(peer for peer in peers if peer == NANOGPT)]
    return [
        *([WITHOUT_C] if device == "cpu" else []),
        OURS,
        *(peer for peer in peers if peer == NANOGPT),
        *([OURS_BF16] if bf16_on_cpu else []),
        OURS_MUON,
        *(peer for peer in peers if peer == NANOCHAT),
    ]
