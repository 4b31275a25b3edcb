"""What the program does before it imports anything heavy, and how it ends."""

import json
import os
import subprocess
import sys

import pytest

AT_ITS_END = """
import atexit, os, sys
atexit.register(lambda: print("spins", os.environ.get("GOMP_SPINCOUNT")))
sys.argv = ["bittygpt", "--help"]
from bittygpt.__main__ import main
assert "torch" not in sys.modules
main()
"""


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="set there alone")
@pytest.mark.parametrize(
    ("settings", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_that_wait_soon_sleep_unless_the_user_says_how(settings, spins):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))} | settings
    command = [sys.executable, "-c", AT_ITS_END]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"spins {spins}"


@pytest.mark.parametrize("command", [["train"], ["train", "x.yaml", "--oh"], ["sample", "--top-k", "many"]])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_command_line_is_exit_2_and_an_object_if_that_was_asked_for(command, as_json):
    whole = [sys.executable, "-m", "bittygpt", *command, *["--json"] * as_json]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    if not as_json:
        assert not done.stdout
        return
    found = json.loads(done.stdout)
    assert (found["error"], found["exit_code"]) == ("UsageError", 2)
    assert f"Error: {found['message']}" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_has_closed_is_no_fault(closed):
    command = f'"{sys.executable}" -m bittygpt --version {closed}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("" if ">&- " in f"{closed} ".replace("2>&-", "") else "bittygpt 0.1.0\n")


def ends_with(raised: str) -> subprocess.CompletedProcess[str]:
    """The program, all of whose work is to raise an error."""
    code = f"""
import bittygpt.cli, errno
from bittygpt.__main__ import main
def work(**_):
    print("\\u2026")
    raise {raised}
bittygpt.cli.app = work
main()
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("PermissionError(errno.EACCES, 'x', 'my.txt')", 2, "my.txt: permission denied; give this user"),
        (
            "OSError(errno.ENOSPC, 'No space left on device', 'data/t')",
            1,
            "data/t: No space left on device; make room",
        ),
        ("OSError(errno.ENOSPC, 'No space left')", 1, "standard output, or a temporary file: No space left"),
        ("OSError(errno.EIO, 'x', 'data/t')", 1, "x: 'data/t'"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(raised, code, words):
    done = ends_with(raised)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == "\\u2026\n", "a letter that stdout has not is escaped"


def test_a_warning_of_ours_is_a_line_and_others_say_where_they_come_from():
    code = """
import bittygpt.cli, warnings
from bittygpt.__main__ import __file__ as ours, main
def work(**_):
    warnings.warn_explicit("a word", UserWarning, ours, 7)
    warnings.warn_explicit("another", UserWarning, "library.py", 8)
bittygpt.cli.app = work
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "a word\nlibrary.py:8: UserWarning: another\n"
