"""What the READMEs say is so: their links, files, tests, commands, and the numbers that a program can work out."""

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
READMES = {
    path: path.read_text()
    for folder in ("bittygpt", "tests", "configs")
    for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / folder).rglob("README.md"))]
}
TEXT = "\n\n".join(READMES.values())
PACKAGE = REPOSITORY / "bittygpt"
COMMANDS = get_command(app).commands
EACH = pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.parent.relative_to(REPOSITORY)))


def blocks(*languages):
    """The lines of all code blocks of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    return [line for language, text in found if language in languages for line in text.splitlines()]


def command_lines():
    """Every `bittygpt` call of the READMEs, in code blocks and in running text, without what surrounds it."""
    text = (
        "\n".join(blocks("", "bash")) + "\n" + "\n".join(re.findall(r"`((?:torchrun|bittygpt) [^`]+)`", TEXT))
    )
    text = text.replace("\\\n", " ")
    calls = re.findall(r"\b(?:bittygpt|-m bittygpt) ((?:tokenize|train|sample|export)\b[^\n;|<&)]*)", text)
    return sorted({call.split(" #")[0].strip() for call in calls})


def anchors(path):
    """What a README's headings are called in a link, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", READMES[path], flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(text):
    """The paragraphs and list items, without code, formulas and tables."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?=- |\d+\. )", text)
    return [part.strip() for part in parts if not part.strip().startswith(("|", "$$", "<!--"))]


def test_every_folder_has_a_page_and_the_first_is_short():
    for folder in PACKAGE.iterdir():
        if (folder / "__init__.py").exists():
            assert folder / "README.md" in READMES, folder
    assert len(READMES[REPOSITORY / "README.md"].splitlines()) <= 250


def test_links_are_found():
    assert len(re.findall(r"\]\(([^)\s]+)\)", TEXT)) > 100


@EACH
def test_no_paragraph_is_long(path):
    for paragraph in prose(READMES[path]):
        assert len(paragraph) <= 600, paragraph


@EACH
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", READMES[path]):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            found = (path.parent / file).resolve() if file else path
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


@EACH
def test_files_that_are_named_exist(path):
    """From the page's own folder, or one that it speaks of; made files and those of users aside."""
    folders = [path.parent, *(each for each in path.parent.rglob("*") if each.is_dir()), REPOSITORY, PACKAGE]
    folders += [REPOSITORY / "configs", REPOSITORY / "tests", REPOSITORY / "tests" / path.parent.name]
    for name in re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|c|yaml))`", READMES[path]):
        is_made = name in ("my.yaml", "config.yaml") or "NAME" in name
        assert is_made or any((folder / name).exists() for folder in folders), name


def test_every_file_of_a_room_is_named_on_its_page():
    for path, text in READMES.items():
        for file in path.parent.glob("*.py"):
            if not file.name.startswith("__") and path.parent.parent == PACKAGE:
                assert file.name in text, file


def test_tests_that_are_named_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 20
    for path, name in named:
        assert f"def {name}(" in (REPOSITORY / path).read_text(), f"{path}::{name}"


def test_make_targets_that_are_named_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", TEXT)) | {
        line.split()[1] for line in blocks("") if line.startswith("make ")
    }:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_options_that_are_named_exist():
    known = {"--help", "--version", "--max-restarts"}  # the last is torchrun's
    for command in COMMANDS.values():
        known |= {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
    assert set(re.findall(r"`(--[a-z][a-z-]*)", TEXT)) <= known


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
    config = next((a for a in arguments if a.endswith(".yaml") and a != "my.yaml"), None)
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


def test_the_config_of_six_lines_is_one(tmp_path):
    (tmp_path / "my.yaml").write_text("\n".join(blocks("yaml")))
    assert load_config(tmp_path / "my.yaml", []).data.train == ("my.txt",)


def test_every_table_of_figures_is_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "tests" / "benchmarks")
    import readme

    assert {block[2] for block in readme.BLOCK.finditer(TEXT)} == set(readme.TABLES)
    for text in READMES.values():
        assert readme.with_tables(text) == text, "`make figures` writes them anew"
