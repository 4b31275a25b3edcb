"""YAML file + KEY=VALUE overrides -> one validated, frozen RunConfig. The one place that knows pydantic and YAML."""

from bittygpt.config.loading import config_to_yaml, load_config, overlay_sample
from bittygpt.config.resuming import fit_differences
from bittygpt.config.run_config import RunConfig
from bittygpt.config.sections import OptimSection, TrainSection
