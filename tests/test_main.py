"""What the program does before it imports anything heavy."""

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
