"""`bittygpt train --check`: what did I just break? Checks the code as it is, on the config's own model and tokens."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bittygpt.checks.outcome import Outcome, describe_error
from bittygpt.config import RunConfig, load_config
from bittygpt.errors import BittyGPTError, UsageError
from bittygpt.terminal.checks import ChecksDisplay
from bittygpt.terminal.console import result


def check(config_path: Path, overrides: Sequence[str], *, fresh: bool, as_json: bool) -> None:
    """Make all checks and show them; ends with exit code 1 where one fails. No run is touched, nothing is written.

    What is "changed" has not failed: a formula of core is another one, and its gradient is right.

    Raises:
        UsageError: asked to start over as well.
    """
    if fresh:
        raise UsageError("--check trains nothing and leaves the run as it is: leave out --fresh")
    config = load_config(config_path, overrides)
    if os.environ.get("RANK", "0") != "0":
        return  # one process checks for all
    started = time.monotonic()
    outcomes = []
    with ChecksDisplay(is_quiet=as_json) as display:
        for outcome in _outcomes(config, display):
            outcomes.append(outcome)
            display.show(outcome)
    display.conclude(outcomes, time.monotonic() - started)
    if as_json:
        result(json.dumps([outcome.as_dict() for outcome in outcomes]))
    if any(outcome.state == "failed" for outcome in outcomes):
        raise SystemExit(1)  # all is said


def _outcomes(config: RunConfig, display: ChecksDisplay) -> Iterator[Outcome]:
    """All outcomes; of code that cannot even be imported, that alone."""
    started = time.monotonic()
    try:
        import torch

        from bittygpt.checks.runner import run_checks
        from bittygpt.checks.subject import Subject

        torch.set_num_threads(1)  # for what is so small, several only wait for one another
        subject = Subject(config)
    except BittyGPTError:
        raise
    except Exception as error:
        found, place = describe_error(error, "bittygpt/core")
        promise = "the code can be imported"
        yield Outcome("start", "import", promise, "failed", found, place, time.monotonic() - started)
        return
    for note in subject.notes:
        display.note(note)
    yield from run_checks(subject)
