"""SIGINT and SIGTERM: what is being done ends, a wish is seen, and a second one is obeyed whatever the process does."""

import os
import signal
import subprocess
import sys
import time

import pytest

BUSY = "import hashlib; print('busy', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"  # minutes, all in C


def start(code, **environment):
    code = f"from bittygpt.stop_signals import *\nraise_on_signal()\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_process_that_no_handler_can_reach(first):
    process = start(BUSY)
    process.stdout.readline()
    time.sleep(0.3)  # it is in C now
    process.send_signal(first)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


def test_what_torchrun_passes_on_of_the_same_ctrl_c_is_not_a_second_one():
    process = start(BUSY, TORCHELASTIC_RUN_ID="x")
    process.stdout.readline()
    time.sleep(0.3)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.poll() is None
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGINT


def test_an_interruption_is_not_taken_for_an_error_that_can_be_passed_over():
    code = """
try:
    try:
        signal.raise_signal(signal.SIGTERM)
    except Exception:
        print("passed over")
except Interruption:
    print("ended")
"""
    assert start(code).communicate()[0] == "ended\n"


def test_a_wish_is_seen_also_when_the_interruption_before_it_was_lost():
    code = """
class Library:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
Library()
with stop_on_signal(lambda: print("never")) as stop_asked:
    print(stop_asked())
"""
    assert start(code).communicate()[0] == "True\n"


def test_a_library_broken_by_an_interruption_that_was_lost_is_an_interruption():
    """torch's own code passes over whatever numpy's import raises, and then has no numpy."""
    code = """
import sys, bittygpt.cli
from bittygpt.__main__ import main
class Library:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
def broken(**_):
    Library()
    raise AttributeError("module 'numpy' has no attribute 'matrix'")
bittygpt.cli.app = broken
main()
"""
    process = start(code)
    assert "bittygpt: interrupted; run the same command again" in process.communicate()[1]
    assert process.returncode == 75


def test_a_signal_after_the_last_word_does_not_change_the_exit_code():
    """A run that was asked to stop had saved, and died of a second Ctrl-C while Python took itself down."""
    code = """
import atexit, bittygpt.cli
from bittygpt.__main__ import main
class Last:
    def __del__(self, send=os.kill, this=os.getpid(), number=signal.SIGINT):
        send(this, number)
        send(this, number)
sys.kept = Last()  # let go of after Python's handlers
def done(**_):
    atexit.register(lambda: signal.raise_signal(signal.SIGTERM))
    print("done", end="")
    raise SystemExit(3)
bittygpt.cli.app = done
main()
"""
    process = start(code)
    assert process.communicate() == ("done", "")
    assert process.returncode == 3


def test_within_it_a_signal_is_a_wish_and_after_it_an_end():
    code = """
with stop_on_signal(lambda: print("heard")) as stop_asked:
    print(stop_asked())
    signal.raise_signal(signal.SIGTERM)
    print(stop_asked())
"""
    assert start(code).communicate()[0] == "False\nheard\nTrue\n"


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, "ended\n"), (signal.SIGHUP, "went on\n")])
def test_a_script_that_ignores_signals_means_sighup_alone(number, expected):
    """`command &` in a script ignores SIGINT for it, which is no wish of anybody's; nohup means what it says."""
    code = f"""
try:
    signal.raise_signal({int(number)})
    print("went on")
except Interruption:
    print("ended")
"""
    ignore = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{ignore}from bittygpt.stop_signals import *\nraise_on_signal()\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == expected
