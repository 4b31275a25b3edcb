"""`bittygpt sample --interactive`: a line is a prompt, and what the model makes of it follows."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from bittygpt.commands.sample.texts import Sampler, Speed, write
from bittygpt.errors import UsageError
from bittygpt.sampling.decoding.choose_decoder import AnyDecoder, decoder_for
from bittygpt.sampling.texts import complete
from bittygpt.stop_signals import take_ctrl_c
from bittygpt.terminal.console import log, result_while_read

PROMPT = "> "
MOST_LINES = 1000  # of history that are kept
WELCOME = "A line is a prompt. Enter alone goes on, Ctrl-C stops the text, Ctrl-D leaves."


@dataclass
class _CtrlC:
    """Handles Ctrl-C: at the prompt it discards the line, during a text it asks to stop."""

    at_prompt: bool = False
    came: bool = False

    def __call__(self) -> None:
        if self.at_prompt:
            raise KeyboardInterrupt
        self.came = True


def converse(sampler: Sampler) -> None:
    """Read a line, continue it, and so on until the input ends. An empty line continues the text so far.

    Each line is a prompt of its own. The first is continued as `--prompt` would; with each one more the seed's next
    sample is drawn, so that a line that is given again brings another text.
    """
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    readline = _line_editing() if is_terminal else None
    decoder = decoder_for(sampler.model, 1, log)
    text, turn, ctrl_c = "", 0, _CtrlC()
    if is_terminal:
        log(WELCOME)
    with take_ctrl_c(ctrl_c):
        while (line := _next_line(ctrl_c, PROMPT if is_terminal else "")) is not None:
            text = line or text
            text += _continue(sampler, decoder, text, turn, ctrl_c)
            turn += 1
            if readline is not None:
                _save_history(readline)
    if is_terminal:
        result_while_read("")  # the shell's prompt gets a line of its own


def _next_line(ctrl_c: _CtrlC, prompt: str) -> str | None:
    while True:
        ctrl_c.at_prompt = True
        try:
            return input(prompt)
        except EOFError:
            return None
        except KeyboardInterrupt:
            result_while_read("")
        except UnicodeDecodeError:
            raise UsageError("the standard input is not UTF-8; convert it first") from None
        finally:
            ctrl_c.at_prompt = False


def _continue(sampler: Sampler, decoder: AnyDecoder, text: str, turn: int, ctrl_c: _CtrlC) -> str:
    """Print a continuation of a text, and return it."""
    ids = sampler.tokenizer.encode(text)
    notices: list[str] = []
    speed, ctrl_c.came = Speed(), False
    batch = sampler.batch(len(ids), 1, notices.append, decoder)
    (completion,) = next(
        complete(batch, [ids], 1, sampler.new_completion, write, lambda: ctrl_c.came, first_index=turn)
    )
    speed.count([completion])
    result_while_read("")
    sampler.say_novelty([completion])
    for notice in notices:
        log(notice)
    log(str(speed))
    return completion.text


def _history_file() -> Path:
    """`$XDG_STATE_HOME/bittygpt/history`: where a terminal's programs keep what was typed."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "bittygpt" / "history"


def _line_editing() -> ModuleType | None:
    """Let `input` edit lines, with the history of earlier times; None where Python was built without it."""
    try:
        import readline
    except ImportError:
        return None
    with suppress(OSError):
        readline.read_history_file(_history_file())
    readline.set_history_length(MOST_LINES)
    return readline


def _save_history(readline: ModuleType) -> None:
    with suppress(OSError):  # a history that cannot be kept is no reason to stop
        path = _history_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        readline.write_history_file(path)
