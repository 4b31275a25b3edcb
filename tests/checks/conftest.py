"""Small configs to check."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bittygpt.checks.subject import Subject
from bittygpt.config import load_config

CONFIG = """
data: {train: [unused.txt], dir: tokens}
tokenizer: {vocab_size: 260}
model: {context_length: 16, d_model: 16, num_layers: 2, num_heads: 4, num_kv_heads: 2, qk_norm: true,
        rope_theta: 500}
train: {device: cpu, max_steps: 40}
"""


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Subject]:
    """A function from overrides to what is checked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(CONFIG)
    return lambda *overrides: Subject(load_config("run.yaml", overrides))
