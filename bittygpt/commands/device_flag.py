"""What `--device` says."""

from bittygpt.errors import ConfigError, UsageError
from bittygpt.training.devices import Device, choose_device

DEVICES = ("auto", "cpu", "cuda", "mps")


def device_of_flag(name: str) -> Device:
    """The device of a flag. Raises UsageError where there is none of that name, or it is not there."""
    if name not in DEVICES:
        raise UsageError(f"--device {name} is none of {', '.join(DEVICES)}")
    try:
        return choose_device(name, "auto")
    except ConfigError as error:
        raise UsageError(str(error).replace("train.device:", "--device:")) from None
