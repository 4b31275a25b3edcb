"""A copy of the package whose core can be edited, as its readers do, and a process that imports the copy."""

import difflib
import os
import shutil
import subprocess
import sys
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

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the folder, with the copy for a package, to its end."""
        path = {"PYTHONPATH": str(self.core.parent.parent), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done
