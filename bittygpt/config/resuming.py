"""Whether a run that began with one config can go on with another."""

from bittygpt.config.messages import format_value
from bittygpt.config.run_config import SECTIONS, RunConfig

# Where the run lies, what is done with the model, and how often one looks or saves do not change a step.
# What the tokens are is compared elsewhere, by their hash; how they are cut into windows is not seen there.
_FREE_SECTIONS = ("data", "sample")
_FIXED_KEYS = ("data.windows",)
_FREE_KEYS = {
    *("run.name", "run.dir", "train.eval_every", "train.eval_tokens", "train.save_every", "train.keep"),
    *("train.log_every", "train.sample_every", "train.tensorboard", "train.wandb"),
    *("train.micro_batch_size", "train.parallel", "train.device", "train.compile"),
}


def fit_differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Why a checkpoint made with `old` cannot go on with `new`: a line per key; empty when it can."""
    lines = []
    for section, model in SECTIONS.items():
        for name in model.model_fields:
            key = f"{section}.{name}"
            was, is_now = getattr(getattr(old, section), name), getattr(getattr(new, section), name)
            free = key in _FREE_KEYS or (section in _FREE_SECTIONS and key not in _FIXED_KEYS)
            # more or less time: what is left of the run is laid over what is left of the time, as ever
            free = free or (key == "train.time_budget" and None not in (was, is_now))
            if not free and was != is_now:
                lines.append(
                    f"{key}: the checkpoint has {format_value(was)}, the config says {format_value(is_now)}"
                )
    return lines
