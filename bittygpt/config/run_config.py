"""RunConfig: what all other code reads. Every value checked, every derived value resolved, nothing to change."""

import json
from typing import Any, cast

from pydantic import Field, model_validator

from bittygpt.config.derived import fill_derived
from bittygpt.config.rules import rule_faults
from bittygpt.config.sections import (
    DataSection,
    ModelSection,
    OptimSection,
    RunSection,
    SampleSection,
    Section,
    TokenizerSection,
    TrainSection,
)


def _optional_section() -> Any:
    """A section that may be left out of the file: `with_defaults` fills it."""
    return Field(default_factory=dict)


class RunConfig(Section):
    """All that describes a run of bittygpt. Every key but data.train has a default."""

    run: RunSection = _optional_section()
    data: DataSection
    tokenizer: TokenizerSection = _optional_section()
    model: ModelSection = _optional_section()
    optim: OptimSection = _optional_section()
    train: TrainSection = _optional_section()
    sample: SampleSection = _optional_section()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        return with_defaults(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _keys_go_together(self) -> "RunConfig":
        if faults := rule_faults(self.model_dump()):
            raise ValueError("; ".join(fault.message for fault in faults))
        return self


SECTIONS: dict[str, type[Section]] = {
    name: cast(type[Section], field.annotation) for name, field in RunConfig.model_fields.items()
}


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Add every default and derived value to `values` (section -> key -> value), which may hold faults.

    Unknown keys and values of a wrong type stay as they are, for pydantic to find.
    """
    filled = dict(values)
    for name, section in SECTIONS.items():
        given = values.get(name)
        if isinstance(given, Section):
            given = given.model_dump()
        if given is not None and not isinstance(given, dict):
            return values
        defaults = {
            key: field.default for key, field in section.model_fields.items() if not field.is_required()
        }
        filled[name] = defaults | (given or {})
    fill_derived(filled)
    return filled


def schema_text() -> str:
    """The JSON schema of a config file, as configs/schema.json holds it."""
    return json.dumps(RunConfig.model_json_schema(), indent=2) + "\n"
