"""A copy of the package whose core can be edited, as its readers do, and a process that imports the copy."""

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import bittygpt

ORIGINAL = Path(bittygpt.__file__).parent
TEXT = "<|endoftext|>".join(
    f"The owl {i} said hello to the fox, and the fox said nothing to the owl at all.\n" for i in range(60)
)


class Copy:
    """`folder/package/bittygpt`, and text.txt beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.core = folder, folder / "package/bittygpt/core"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ORIGINAL, self.core.parent, ignore=ignored, dirs_exist_ok=True)
        (folder / "text.txt").write_text(TEXT)

    def edit(self, file: str, old: str, new: str) -> None:
        """Put another text in the place of one that stands there once; an empty one: a new file."""
        path = self.core / file
        text = path.read_text() if old else ""
        assert not old or text.count(old) == 1, (file, old)
        path.write_text(text.replace(old, new) if old else new)

    def edited_lines(self) -> dict[str, int]:
        """For each file that is not the original: how many lines are new or changed, imports aside."""
        counts = {}
        for path in sorted(self.core.rglob("*.py")):
            original = ORIGINAL / "core" / path.relative_to(self.core)
            before = original.read_text().splitlines() if original.exists() else []
            diff = list(difflib.unified_diff(before, path.read_text().splitlines(), n=0))[2:]
            if diff:
                new = [line for line in diff if line[0] == "+" and not line.startswith("+from ")]
                counts[path.name] = len(new)
        return counts


# argv: a script, and the folders of copies; in each it runs in a process of its own, two at a time, and PyTorch
# is imported once. What it prints goes to `stdout.txt` and `stderr.txt` there.
FORKS = """
import os, runpy, sys
import torch, numpy, yaml, pydantic, safetensors.torch
script, *folders = sys.argv[1:]
torch.set_num_threads(1)
running, failed = 0, 0
for folder in [*folders, *[None, None]]:
    if running == 2 or folder is None and running:
        failed |= os.wait()[1]
        running -= 1
    if folder is None:
        continue
    if os.fork():
        running += 1
        continue
    code = 1
    try:
        os.chdir(folder)
        sys.path.insert(0, folder + "/package")
        for stream, name in ((1, "stdout.txt"), (2, "stderr.txt")):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
        runpy.run_path(script, run_name="__main__")
        code = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
sys.exit(failed != 0)
"""


def run_in_copies(script: Path, copies: Iterable[Copy]) -> None:
    """Run a script in the folder of each copy, with the copy for a package; see `stdout.txt` and `stderr.txt` there."""
    folders = [str(copy.folder) for copy in copies]
    command = [sys.executable, "-P", "-c", FORKS, str(script), *folders]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = "".join(f"{folder}: {(Path(folder) / 'stderr.txt').read_text()}\n" for folder in folders)
    assert done.returncode == 0, done.stderr + said
