"""YAML file + KEY=VALUE overrides -> one validated, frozen RunConfig. The one place that knows pydantic and YAML."""

from bittygpt.config.loading import config_to_yaml, load_config, overlay_sample
from bittygpt.config.resuming import fit_differences
from bittygpt.config.run_config import RunConfig, schema_text
from bittygpt.config.sections import (
    DataSection,
    ModelSection,
    OptimSection,
    RunSection,
    SampleSection,
    TokenizerSection,
    TrainSection,
)

__all__ = [
    "DataSection",
    "ModelSection",
    "OptimSection",
    "RunConfig",
    "RunSection",
    "SampleSection",
    "TokenizerSection",
    "TrainSection",
    "config_to_yaml",
    "fit_differences",
    "load_config",
    "overlay_sample",
    "schema_text",
]
