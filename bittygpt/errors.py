"""Every way in which bittygpt can refuse or stop: one base class, one class per cause, one exit code each.

A message says what is wrong, where, and what to do about it. `__main__.py` prints it, and ends with
the class's exit code (75 after Ctrl-C: `InterruptedRunError`).
"""


class BittyGPTError(Exception):
    """Base of all errors that bittygpt raises on purpose."""

    exit_code = 1


def exit_code_of(error: Exception) -> int:
    """The exit code of CONTRACT: a BittyGPTError's own, 1 for anything else."""
    return error.exit_code if isinstance(error, BittyGPTError) else 1


class UsageError(BittyGPTError):
    """The command line, the config or the input is at fault."""

    exit_code = 2


class ConfigError(UsageError):
    """The config file or an override is wrong. Holds all faults of the file, a line each."""


class DataError(UsageError):
    """A source, a vocabulary or the tokens on disk are missing or not what they should be."""


class SourceMissingError(DataError):
    """A source of text is not where the config says, or not on this machine."""


class BadRecordError(DataError):
    """A record of a source cannot be read: what is wrong with it, and what a config can do about it."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(fault, remedy)
        self.fault = fault  # for those who read a text without a config

    def __str__(self) -> str:
        return "; ".join(self.args)


class CheckpointError(UsageError):
    """A checkpoint is missing, damaged or does not fit what is asked of it."""


class RunInUseError(UsageError):
    """Another process is training the same run; says which."""


class ExportError(BittyGPTError):
    """The exported model is not the trained model; nothing is left at the target."""


class DivergedError(BittyGPTError):
    """Loss or gradient norm is no longer finite; names the last good checkpoint."""

    exit_code = 3


class OutOfMemoryError(BittyGPTError):
    """The device's memory is spent; says on what, and which key to change."""

    exit_code = 4


class RankLostError(BittyGPTError):
    """Another process of the run has ended without saying why."""


class DiskFullError(BittyGPTError):
    """There is no room for what is to be written; what was there before is whole."""


class InterruptedRunError(BittyGPTError):
    """SIGINT or SIGTERM; what was done is saved, and the same command goes on."""

    exit_code = 75
