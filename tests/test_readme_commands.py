"""Every command of the READMEs is run as it stands there, one after the other, on configs of its names made small."""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from bittygpt.__main__ import main
from tests.test_readme import REPOSITORY, blocks, command_lines

SMALL = {
    "data": {"train": ["my.txt"], "val": None, "val_fraction": 0.2},
    "tokenizer": {"vocab_size": 270, "train_bytes": None},
    "model": {"context_length": 16, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 32},
    "optim": {"warmup_steps": 1},
    "train": {
        "batch_size": 512,  # of 512 devices, too
        "max_steps": None,
        "max_tokens": 2 * 512 * 16,
        "eval_every": 2,
        "save_every": 2,
        "sample_every": None,
        "device": "cpu",
    },
    "sample": {"max_tokens": 8},
}
STAND_INS = {"CONFIG": "configs/quickstart.yaml", "FILE": "my.txt", "45m": "4s", "2000000": "20000"}


def order(line: str) -> tuple[bool, bool, str]:
    """Runs come first, those that are only a config last of them: others sample and export them."""
    return not line.startswith("train"), line.endswith(".yaml"), line


LINES = sorted((line for line in command_lines() if line != "tokenize"), key=order)


def run(arguments: list[str], out: Path, err: Path) -> int:
    """The exit code of `bittygpt ARGUMENTS`, in a fork, which needs no imports; without input, output into files."""
    child = os.fork()
    if child == 0:
        for stream, (path, mode) in enumerate(((os.devnull, "r"), (out, "w"), (err, "w"))):
            with open(path, mode) as file:
                os.dup2(file.fileno(), stream)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        sys.argv = ["bittygpt", *arguments]
        main()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder with the README's names: configs/, my.txt, prompts.jsonl."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "configs").mkdir()
    for path in (REPOSITORY / "configs").glob("*.yaml"):
        values = yaml.safe_load(path.read_text())
        for section, changes in SMALL.items():
            values[section] = {
                k: v for k, v in ({**values.get(section, {}), **changes}).items() if v is not None
            }
        (folder / "configs" / path.name).write_text(yaml.safe_dump(values))
    own = yaml.safe_load("\n".join(blocks("yaml")))  # the config of six lines
    own["train"]["time_budget"] = "4s"
    (folder / "my.yaml").write_text(yaml.safe_dump(own))
    text = (REPOSITORY / "README.md").read_text()
    (folder / "README.md").write_text(text)
    (folder / "my.txt").write_text(
        text.replace("<|endoftext|>", "")
    )  # one document: its tail is for validation
    (folder / "prompts.jsonl").write_text('{"prompt": "The fox"}\n{"prompt": "An owl", "id": 7}\n')
    return folder


def test_commands_do_what_the_readme_has_them_do(house, monkeypatch):
    monkeypatch.chdir(house)
    for number, line in enumerate(LINES):
        command, _, target = line.partition(" > ")
        arguments = [
            re.sub(rf"\b({'|'.join(STAND_INS)})\b", lambda m: STAND_INS[m[0]], a)
            for a in shlex.split(command)
        ]
        if line.startswith("train"):  # each as if it were the first
            shutil.rmtree(house / "runs" / Path(arguments[1]).stem, ignore_errors=True)
        out, err = house / (target or f"out-{number}"), house / f"err-{number}"
        assert run(arguments, out, err) == 0, f"bittygpt {line}\n{err.read_text()}"
    made = ("my-model/model.safetensors", "my-model.gguf", "my-model-onnx/onnx/model.onnx", "my-model.pt2")
    for name in (*made, "small-hf/config.json", "comparison.html", "runs/mine/report.html"):
        assert (house / name).exists(), name
    written = [json.loads(entry) for entry in (house / "texts.jsonl").read_text().splitlines()]
    assert [entry["prompt"] for entry in written] == ["The fox", "An owl"]
