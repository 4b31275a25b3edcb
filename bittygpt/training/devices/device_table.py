"""The one table of devices: what their makers' data sheets say of them."""

from typing import NamedTuple


class DataSheet(NamedTuple):
    """What a device can do at most, no sparsity counted.

    `bf16`, `fp32`: FLOP/s of dense matrix products, bfloat16 with float32 sums, and float32 without TF32. `memory`:
    bytes. `memory_rate`: bytes/s. `link`: bytes/s to the others in its machine, one way (NVLink, else PCIe). `network`:
    bytes/s to other machines, one way: that of the adapter that a rented machine usually has for each such device.
    """

    bf16: float
    fp32: float
    memory: float
    memory_rate: float
    link: float
    network: float


T, G = 1e12, 1e9
# The first name that is found decides: the longer stands before the shorter.
DEVICES = {
    "B200": DataSheet(2250 * T, 75 * T, 180 * G, 8000 * G, 900 * G, 50 * G),
    "H200": DataSheet(989 * T, 67 * T, 141 * G, 4800 * G, 450 * G, 50 * G),
    "H100 NVL": DataSheet(835 * T, 60 * T, 94 * G, 3900 * G, 300 * G, 50 * G),
    "H100 PCIe": DataSheet(756 * T, 51 * T, 80 * G, 2000 * G, 64 * G, 25 * G),
    "H100": DataSheet(989 * T, 67 * T, 80 * G, 3350 * G, 450 * G, 50 * G),
    "A100 40GB": DataSheet(312 * T, 19.5 * T, 40 * G, 1555 * G, 300 * G, 25 * G),
    "A100": DataSheet(312 * T, 19.5 * T, 80 * G, 2039 * G, 300 * G, 25 * G),
    "A10G": DataSheet(70 * T, 35 * T, 24 * G, 600 * G, 32 * G, 6 * G),
    "A10": DataSheet(125 * T, 31 * T, 24 * G, 600 * G, 32 * G, 6 * G),
    "L40S": DataSheet(362 * T, 91.6 * T, 48 * G, 864 * G, 32 * G, 12.5 * G),
    "L4": DataSheet(121 * T, 30.3 * T, 24 * G, 300 * G, 32 * G, 6 * G),
    "RTX 4090": DataSheet(165 * T, 82.6 * T, 24 * G, 1008 * G, 32 * G, 1.25 * G),
    "RTX 3090": DataSheet(71 * T, 35.6 * T, 24 * G, 936 * G, 32 * G, 1.25 * G),
}


def data_sheet_of(name: str) -> DataSheet | None:
    """The row of a device by its full name, as PyTorch or a person says it; None when it is in no row."""
    # whole words, as in "NVIDIA A100-SXM4-80GB": an L40 is no L4
    words = name.lower().replace("-", " ").split()
    return next((sheet for key, sheet in DEVICES.items() if _stands_in(key, words)), None)


def _stands_in(key: str, words: list[str]) -> bool:
    """Whether a row's words stand in a name, together or (as in "A100 SXM4 40GB") with others in between."""
    rest = iter(words)
    return all(word in rest for word in key.lower().split())  # `in` goes on behind the word before
