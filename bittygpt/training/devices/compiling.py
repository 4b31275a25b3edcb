"""Whether `torch.compile` pays for a run: what it saves on every step against what it takes once, at the start."""

import math

from bittygpt.core import TransformerLM
from bittygpt.training.devices.device import Device

# Figures of one GPU, an H100, within a factor of two; a decision that is wrong by that costs less than a minute.
COMPILE_SECONDS, COMPILE_SECONDS_A_LAYER = 20.0, 2.0
SHARE_OF_PEAK = 0.75  # at which products go
# Bytes that go through memory between them, for each token, layer and feature; and how many fewer when compiled.
BYTES, SAVED_BYTES = 1050, 450
UNKNOWN_PEAK, UNKNOWN_MEMORY_RATE = 100e12, 1e12
# Starting the kernels of a layer's passes one by one, where they are not captured; and that much less when compiled.
LAUNCHING, SAVED_LAUNCHING = 2.5e-3, 2e-3


def compiling_pays(
    model: TransformerLM,
    device: Device,
    steps: int | None,
    sequences: int,
    micro_batch_size: int,
    time_budget: float | None = None,
    *,
    captured: bool = True,
) -> bool:
    """Whether a run of `steps` steps, of `sequences` sequences on this device each, ends sooner with a compiled model.

    With a `time_budget` in seconds: whether it takes more steps in that time, or its `steps` sooner. `captured`: steps
    are replayed (`engine/cuda_graphs.py`), and wait for no launch.

    Asked of the whole run, not of what is left of it: a resumed run must compute as it began. On a CPU it never is: the
    fast paths do there what a compiler would, at once.
    """
    if not device.is_cuda:
        return False
    config, sheet = model.config, device.data_sheet()
    tokens = sequences * config.context_length
    products = tokens * model.flops_per_token() / (SHARE_OF_PEAK * (device.peak_flops() or UNKNOWN_PEAK))
    features = tokens * config.num_layers * config.d_model
    byte = features / (sheet.memory_rate if sheet else UNKNOWN_MEMORY_RATE)
    launches = 0 if captured else math.ceil(sequences / micro_batch_size) * config.num_layers
    step = max(products + BYTES * byte, LAUNCHING * launches)
    saved = max(SAVED_BYTES * byte, SAVED_LAUNCHING * launches)
    number = min(
        math.inf if steps is None else steps, math.inf if time_budget is None else time_budget / step
    )
    return number * saved > COMPILE_SECONDS + COMPILE_SECONDS_A_LAYER * config.num_layers
