"""What the README says is so: its links, its tests, its commands, and the numbers that a program can work out."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from bittygpt.cli import app
from bittygpt.config import load_config
from bittygpt.core.activations import gelu, relu, silu

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
COMMANDS = get_command(app).commands


def blocks(*languages):
    """The lines of all code blocks of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [line for language, text in found if language in languages for line in text.splitlines()]


def command_lines():
    """Every `bittygpt` call of the README, in code blocks and in running text, without what surrounds it."""
    text = (
        "\n".join(blocks("", "bash"))
        + "\n"
        + "\n".join(re.findall(r"`((?:torchrun|bittygpt) [^`]+)`", README))
    )
    text = text.replace("\\\n", " ")
    calls = re.findall(r"\b(?:bittygpt|-m bittygpt) ((?:tokenize|train|sample|export)\b[^\n;|<&)]*)", text)
    return sorted({call.split(" #")[0].strip() for call in calls})


def anchors():
    """What a heading is called in a link, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)\s]+)\)", README)
    assert len(targets) > 30
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors(), target
        elif not target.startswith("http"):
            assert (REPOSITORY / target).exists(), target


def test_tests_that_are_named_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", README)
    assert len(named) > 20
    for path, name in named:
        assert f"def {name}(" in (REPOSITORY / path).read_text(), f"{path}::{name}"


def test_make_targets_that_are_named_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", README)) | {
        line.split()[1] for line in blocks("") if line.startswith("make ")
    }:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("line", command_lines())
def test_commands_are_understood(line):
    """The verb knows every option, and a config that is named is there and takes the overrides."""
    verb, *arguments = shlex.split(line.replace("…", ""))
    placeholders = {"CONFIG", "TEXT", "FILE", "A", "B", "X"}
    command = COMMANDS[verb]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            assert argument.split("=")[0] in options, argument
    config = next((a for a in arguments if a.endswith(".yaml")), None)
    if config and not placeholders & {config}:
        overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
        load_config(REPOSITORY / config, overrides)


def test_the_curves_of_the_activations_are_their_values():
    lines = [
        json.loads(line.split(" ", 1)[1])
        for line in map(str.strip, blocks("mermaid"))
        if line.startswith("line")
    ]
    x = torch.linspace(-3, 3, 13)
    for values, function in zip(lines, (relu, gelu, silu), strict=True):
        torch.testing.assert_close(torch.tensor(values), function(x), atol=6e-4, rtol=0)


def test_the_road_visits_every_file_of_core():
    unvisited = {"__init__.py", "optimizer.py"}  # what is shared by the optimizers explains nothing
    for path in (REPOSITORY / "bittygpt/core").glob("*.py"):
        assert path.name in unvisited or f"(bittygpt/core/{path.name})" in README, path.name


def test_every_table_of_figures_is_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "tests" / "benchmarks")
    import readme

    assert {block[2] for block in readme.BLOCK.finditer(README)} == set(readme.TABLES)
    assert readme.with_tables(README) == README, "`make figures` writes them anew"
