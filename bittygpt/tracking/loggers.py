"""Passes the scalars of metrics.jsonl on to TensorBoard and Weights & Biases, under the same names."""

import secrets
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

from bittygpt.errors import ConfigError
from bittygpt.files import write_text
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.loop import Trainer

PATIENCE = 30  # seconds that Weights & Biases may take to answer at first, and to send the rest
STEPS = frozenset({"step", "eval", "sample"})  # events that belong to a step


class Logger(Protocol):
    """An open logger. If it raises, the run goes on without it."""

    name: str

    def take(self, event: dict[str, Any]) -> None:
        """An event of metrics.jsonl."""

    def flush(self) -> None:
        """A checkpoint is about to rely on what was taken."""

    def close(self) -> None:
        """The process ends."""


class Loggers:
    """All open loggers. One that fails is reported once and dropped: no logger is worth a run."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._open: list[Logger] = []

    def add(self, name: str, make: Callable[[], Logger]) -> None:
        """Open one more."""
        try:
            self._open.append(make())
        except ConfigError:
            raise
        except Exception as error:
            self._warn(name, error)

    def take(self, event: dict[str, Any]) -> None:
        """An event of metrics.jsonl, for all of them."""
        self._all(lambda logger: logger.take(event))

    def flush(self) -> None:
        """Before a checkpoint is saved."""
        self._all(lambda logger: logger.flush())

    def close(self) -> None:
        """At the end; may be called again."""
        self._all(lambda logger: logger.close())
        self._open = []

    def _all(self, act: Callable[[Logger], None]) -> None:
        for logger in list(self._open):
            try:
                act(logger)
            except Exception as error:
                self._open.remove(logger)
                self._warn(logger.name, error)

    def _warn(self, name: str, error: Exception) -> None:
        self.say(f"{name} failed, and the run goes on without it: {type(error).__name__}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def check_loggers(tensorboard: bool, wandb: str | None) -> None:
    """Raises ConfigError where a package is missing that the config asks for; before any work is done."""
    for key, wanted, off in (("tensorboard", tensorboard, "false"), ("wandb", wandb is not None, "null")):
        if wanted and find_spec(key) is None:
            raise ConfigError(
                f"train.{key}: the package {key} is not installed; pip install 'bittygpt[{key}]', or set it to {off}"
            )


def open_loggers(loggers: Loggers, run: RunFolder, trainer: Trainer) -> None:
    """Open those that the config asks for.

    Raises:
        ConfigError: nobody is logged in to Weights & Biases.
    """
    config = trainer.config
    if config.train.tensorboard:
        loggers.add("TensorBoard", lambda: TensorBoard(run, trainer.step))
    if project := config.train.wandb:
        settings = config.model_dump(mode="json")
        loggers.say(f"logging to the project {project} of Weights & Biases ...")
        loggers.add("Weights & Biases", lambda: WeightsAndBiases(run, project, config.run.name, settings))


def scalars(event: dict[str, Any]) -> dict[str, float]:
    """The numbers of an event but its step, which is where they stand. An evaluation's time is that of its step."""
    left_out = {"step"} if event["event"] == "step" else {"step", "elapsed"}
    return {
        key: value
        for key, value in event.items()
        if key not in left_out and isinstance(value, int | float) and not isinstance(value, bool)
    }


class TensorBoard:
    """Writes `runs/NAME/tensorboard/`. What a resumed or rewound run makes again takes the place of what was there."""

    name = "TensorBoard"

    def __init__(self, run: RunFolder, step: int) -> None:
        self._folder = str(run.path / "tensorboard")
        self._writer = self._open(step)

    def _open(self, step: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages that it imports
            from torch.utils.tensorboard import SummaryWriter

            return SummaryWriter(self._folder, purge_step=step + 1)

    def take(self, event: dict[str, Any]) -> None:
        """Scalars by name, texts as `sample`."""
        step = event["step"]
        if event["event"] == "rewind":
            self._writer.close()
            self._writer = self._open(step)
        elif event["event"] == "sample":
            self._writer.add_text("sample", event["prompt"] + event["text"], step)
        elif event["event"] in STEPS:
            for name, value in scalars(event).items():
                self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """On to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()


class WeightsAndBiases:
    """Logs to a project of wandb.ai, or with WANDB_MODE=offline to `runs/NAME/wandb/`, for `wandb sync`.

    The id of the run there lies in `runs/NAME/wandb/run-id.txt`, so that a resumed run goes on with it. What was sent
    cannot be taken back: steps that a resumed or rewound run makes again are not sent again.
    """

    name = "Weights & Biases"

    def __init__(self, run: RunFolder, project: str, name: str, config: dict[str, Any]) -> None:
        import wandb

        place = run.path / "wandb" / "run-id.txt"
        if not place.exists():
            write_text(place, secrets.token_hex(8))
        try:
            self._run = wandb.init(
                project=project,
                name=name,
                id=place.read_text("utf-8"),
                resume="allow",
                dir=str(run.path),
                config=config,
                settings=wandb.Settings(
                    silent=True, console="off", init_timeout=PATIENCE, finish_timeout=PATIENCE
                ),
            )
        except wandb.errors.UsageError as error:
            raise ConfigError(
                f"train.wandb: {_one_line(error)}; run `wandb login`, set WANDB_MODE=offline, or set the key to null"
            ) from None
        self._sent = int(self._run.step)

    def take(self, event: dict[str, Any]) -> None:
        """Scalars by name, texts as `sample`."""
        step = event["step"]
        if event["event"] == "resume":
            self._sent = max(self._sent, event["reached"] + 1)
        if event["event"] not in STEPS or step < self._sent:
            return
        self._sent = step
        is_text = event["event"] == "sample"
        self._run.log({"sample": event["prompt"] + event["text"]} if is_text else scalars(event), step=step)

    def flush(self) -> None:
        """It sends by itself."""

    def close(self) -> None:
        """Send the rest."""
        self._run.finish()
