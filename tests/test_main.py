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
