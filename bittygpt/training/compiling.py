"""Whether `torch.compile` pays for a run: what it saves on every step against what it takes once, at the start."""

import math

from bittygpt.core import TransformerLM
from bittygpt.training.devices import Device

# Rough figures of one GPU; a decision that is wrong by a factor of two costs less than a minute either way.
COMPILE_SECONDS, COMPILE_SECONDS_A_LAYER = 20.0, 2.0
SAVED = 0.3  # of an uncompiled step's time
UNCOMPILED_SHARE_OF_PEAK = 0.3
UNKNOWN_PEAK = 100e12
LAUNCHES_A_LAYER, LAUNCH_SECONDS = (
    150,
    6e-6,
)  # kernels of forward and backward pass; small models wait for these


def compiling_pays(
    model: TransformerLM,
    device: Device,
    steps: int | None,
    sequences: int,
    micro_batch_size: int,
    time_budget: float | None = None,
) -> bool:
    """Whether a run of `steps` steps, of `sequences` sequences on this device each, ends sooner with a compiled model.

    With a `time_budget` in seconds: whether it takes more steps in that time, or its `steps` sooner.

    Asked of the whole run, not of what is left of it: a resumed run must compute as it began. On a CPU it never is: the
    twins do there what a compiler would, at once.
    """
    if not device.is_cuda:
        return False
    layers = model.config.num_layers
    flops = sequences * model.config.context_length * model.flops_per_token()
    computing = flops / (UNCOMPILED_SHARE_OF_PEAK * (device.peak_flops() or UNKNOWN_PEAK))
    launching = math.ceil(sequences / micro_batch_size) * layers * LAUNCHES_A_LAYER * LAUNCH_SECONDS
    seconds = math.inf if steps is None else steps * max(computing, launching)
    saved = SAVED * min(seconds, math.inf if time_budget is None else time_budget)
    return saved > COMPILE_SECONDS + COMPILE_SECONDS_A_LAYER * layers
