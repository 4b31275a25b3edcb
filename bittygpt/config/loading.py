"""File + overrides -> RunConfig, and back; every fault of both in one ConfigError."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bittygpt.config.draft import AFTER_ALL_LINES, Draft, Fault, Place, read_draft
from bittygpt.config.messages import bad_value, format_value, unknown_key
from bittygpt.config.rules import rule_faults
from bittygpt.config.run_config import SECTIONS, RunConfig, with_defaults
from bittygpt.config.yaml_format import YamlSyntaxError, dump, parse_value
from bittygpt.errors import ConfigError


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a config file and lay `KEY=VALUE` overrides over it, the last one of a key winning.

    Args:
        path: a YAML file; its name without the ending is the default of run.name.
        overrides: each a dotted key, "=", and a value in YAML, such as `optim.lr=3e-4`.

    Raises:
        ConfigError: a line per fault of the file and of the overrides: place, key, what is wrong, the remedy.
    """
    draft = read_draft(Path(path))
    _make_mappings(draft)
    for number, override in enumerate(overrides):
        _apply_override(draft, Place(f"{override} on the command line", AFTER_ALL_LINES + number), override)
    run = draft.values["run"]
    if run.get("name") is None:
        run["name"] = draft.path.stem
    return _validate(draft)


def overlay_sample(config: RunConfig, path: Path | str) -> RunConfig:
    """Lay the sample section of another file over that of `config`; the file's other sections are ignored.

    Raises:
        ConfigError: the file cannot be read or has no sample section, or that section has faults.
    """
    draft = read_draft(Path(path))
    if "sample" not in draft.values:
        raise ConfigError(f"{path}: no sample section; add one, such as sample: {{temperature: 0.8}}")
    draft.values = {"sample": draft.values["sample"]}
    draft.places = {key: place for key, place in draft.places.items() if key.split(".")[0] == "sample"}
    draft.faults = [fault for fault in draft.faults if fault.key in draft.places]
    _make_mappings(draft)
    values = config.model_dump()
    draft.values = values | {"sample": values["sample"] | draft.values["sample"]}
    return _validate(draft)


def config_to_yaml(config: RunConfig) -> str:
    """The config in full, defaults included, derived values resolved; load_config reads an equal one from it."""
    return dump(config.model_dump(mode="json"))


def _make_mappings(draft: Draft) -> None:
    """Make every known section a mapping: an empty one may stand there with all its keys commented out."""
    for section in SECTIONS:
        content = draft.values.setdefault(section, {})
        if content is not None and not isinstance(content, dict):
            example = f"{section}: {{{next(iter(SECTIONS[section].model_fields))}: ...}}"
            draft.add_fault(
                section, f"must be a mapping of keys, not {format_value(content)}; write {example}"
            )
        if not isinstance(content, dict):
            draft.values[section] = {}


def _apply_override(draft: Draft, place: Place, override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    section, _, name = key.partition(".")
    fields = SECTIONS[section].model_fields if section in SECTIONS else {}
    problem = None
    if key in SECTIONS:
        problem = f"{key} is a section; set one of its keys, such as {key}.{next(iter(fields))}=..."
    elif not equals:
        problem = "no '=' in it; write KEY=VALUE, such as optim.lr=3e-4"
    elif name not in fields:
        problem = unknown_key(key)
    else:
        try:
            draft.values[section][name] = parse_value(text)
            draft.places[key] = place
        except YamlSyntaxError as fault:
            problem = f"the value is not valid YAML: {fault.message}"
    if problem is not None:
        draft.faults.append(Fault(place, key, problem))


def _validate(draft: Draft) -> RunConfig:
    """The config that the draft says, all of it checked even where parts are at fault."""
    config, errors = None, []
    try:
        config = RunConfig.model_validate(draft.values)
    except ValidationError as error:
        # Those without a key are the rules, which `rule_faults` reports below, with their keys.
        errors = [details for details in error.errors(include_url=False) if details["loc"]]
    at_fault = {_key_of(error) for error in errors}
    _report_errors(draft, errors)
    for rule in rule_faults(with_defaults(draft.values), at_fault):
        given = [key for key in rule.keys if key in draft.places]
        from_command_line = [key for key in given if draft.places[key].on_command_line]
        draft.add_fault([*from_command_line, *given, *rule.keys][0], rule.message)
    draft.raise_faults()
    assert config is not None
    return config


def _key_of(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"][:2])


def _report_errors(draft: Draft, errors: list[ErrorDetails]) -> None:
    for key, group in groupby(sorted(errors, key=_key_of), key=_key_of):
        of_key = list(group)
        if of_key[0]["type"] == "extra_forbidden":
            draft.add_fault(key, unknown_key(key))
            continue
        section, name = key.split(".")
        given = draft.values[section]
        if name in given or of_key[0]["type"] == "missing":  # else it follows from a key that is at fault
            draft.add_fault(key, bad_value(key, given.get(name), of_key))
