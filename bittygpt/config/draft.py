"""A config file as it was read: its values, the line of each key, and the faults found so far."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bittygpt.config.yaml_format import CoreLoader, YamlSyntaxError, core_loader
from bittygpt.errors import ConfigError

AFTER_ALL_LINES = 10**9


class Place(NamedTuple):
    """Where a key was given, as the report says it, and the rank of its faults in the report."""

    label: str
    order: int

    @property
    def on_command_line(self) -> bool:
        """Whether an override gave the key; the label then names it."""
        return self.order >= AFTER_ALL_LINES


class Fault(NamedTuple):
    """One line of the report."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        subject = "" if self.place.on_command_line else f"{self.key}: "
        return f"{self.place.label}: {subject}{self.message}"


@dataclass
class Draft:
    """The values of a file, section -> key -> value, not yet checked; places by dotted key; faults."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add_fault(self, key: str, message: str) -> None:
        """Report `message` at the place of `key`, or of its section, or of the whole file."""
        section = self.places.get(key.partition(".")[0], Place(str(self.path), 0))
        self.faults.append(Fault(self.places.get(key, section), key, message))

    def raise_faults(self) -> None:
        """Raise one ConfigError with all faults, by line, those of the command line last; if there are any."""
        if self.faults:
            faults = sorted(self.faults, key=lambda fault: fault.place.order)
            raise ConfigError("\n".join(str(fault) for fault in faults))


def read_draft(path: Path) -> Draft:
    """Read a config file.

    Raises:
        ConfigError: nothing can be read: no such file, not UTF-8, not YAML, empty, or no mapping of sections.
    """
    text = _read_text(path)
    draft = Draft(path)
    try:
        with core_loader(text) as loader:
            root = loader.get_single_node()
            if isinstance(root, yaml.MappingNode):
                _read_sections(draft, loader, root)
    except YamlSyntaxError as fault:
        raise ConfigError(f"{path}:{fault.line}:{fault.column}: not valid YAML: {fault.message}") from None
    if root is None:
        raise ConfigError(
            f"{path}: empty; a config needs at least a text to train on: data: {{train: [my.txt]}}"
        )
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: must be a mapping of sections, such as data: {{train: [my.txt]}}")
    return draft


def _read_sections(draft: Draft, loader: CoreLoader, root: yaml.MappingNode) -> None:
    for section_node, content in root.value:
        section = _note_key(draft, section_node, "")
        if not isinstance(content, yaml.MappingNode):
            draft.values[section] = loader.construct_object(content, deep=True)
            continue
        values = draft.values[section] = {}
        for key_node, value_node in content.value:
            key = _note_key(draft, key_node, f"{section}.")
            values[key] = loader.construct_object(value_node, deep=True)


def _note_key(draft: Draft, node: yaml.Node, prefix: str) -> str:
    """The key's own name; its place is noted, and a fault where it stood before."""
    line = node.start_mark.line + 1
    name = node.value if isinstance(node, yaml.ScalarNode) else "[...]"
    key = f"{prefix}{name}"
    earlier = draft.places.get(key)
    draft.places[key] = Place(f"{draft.path}:{line}", line)
    if earlier is not None:
        draft.add_fault(key, f"given twice, first on line {earlier.order}; keep one of them")
    return name


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: a folder, not a config file{_suggest_file(path, '')}")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{_suggest_file(path.parent, path.name)}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from None


def _suggest_file(folder: Path, name: str) -> str:
    """The nearest config of `folder`, or for no name all of them, as the end of a message."""
    if not folder.is_dir():
        return f"; nor is there a folder {folder}"
    files = sorted(file.name for file in folder.iterdir() if file.suffix in {".yaml", ".yml"})
    near = difflib.get_close_matches(name, files, n=1) if name else files
    if not near:
        return "; name a YAML file"
    if name:
        return f"; did you mean {folder / near[0]}?"
    return f"; name one of its files: {', '.join(near)}"
