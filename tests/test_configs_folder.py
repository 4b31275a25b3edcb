"""What ships in configs/: every file loads, completes in an editor, and is what the documentation says it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bittygpt.config import RunConfig, config_to_yaml, load_config

FOLDER = Path(__file__).resolve().parent.parent / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))


def weights(config: RunConfig) -> int:
    """Weights of the model, counted by hand: embeddings, attention, a gated feed-forward layer, norms."""
    model, vocab_size = config.model, config.tokenizer.vocab_size
    assert vocab_size is not None
    assert model.activation == "swiglu"
    assert model.num_kv_heads == model.num_heads
    block = 4 * model.d_model**2 + 3 * model.d_model * model.d_ff + 2 * model.d_model
    embeddings = (1 if model.tie_embeddings else 2) * vocab_size * model.d_model
    return embeddings + model.num_layers * block + model.d_model


def test_there_are_files() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_and_says_how_to_complete_it(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert config.run.name == path.stem
    assert path.read_text("utf-8").splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    written = tmp_path / "config.yaml"
    written.write_text(config_to_yaml(config), encoding="utf-8")
    assert load_config(written) == config


def test_the_schema_in_the_folder_is_what_the_command_prints() -> None:
    command = [sys.executable, "-m", "bittygpt.config"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == json.loads((FOLDER / "schema.json").read_text("utf-8")), (
        "run: python -m bittygpt.config > configs/schema.json"
    )


def test_the_schema_describes_every_key_and_requires_only_the_text() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text("utf-8"))
    assert schema["required"] == ["data"]
    for name, section in schema["$defs"].items():
        assert section["additionalProperties"] is False
        assert section.get("required", []) == (["train"] if name == "DataSection" else [])
        for key in section["properties"].values():
            assert key["description"].endswith(".")
    d_ff = schema["$defs"]["ModelSection"]["properties"]["d_ff"]
    assert (d_ff["type"], d_ff["default"]) == (["integer", "null"], None)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("quickstart", 1.3), ("shakespeare", 0.81), ("small", 23), ("base", 122), ("gpt2-124m", 124)],
)
def test_a_model_has_as_many_weights_as_its_comment_says(name: str, millions: float) -> None:
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    assert f"# {'about ' * (name == 'quickstart')}{millions} million weights" in text
    assert weights(load_config(FOLDER / f"{name}.yaml")) / 1e6 == pytest.approx(millions, rel=0.03)


def test_the_promised_shapes() -> None:
    small, base = load_config(FOLDER / "small.yaml"), load_config(FOLDER / "base.yaml")
    shakespeare = load_config(FOLDER / "shakespeare.yaml")
    assert small.model.model_dump(
        include={"d_model", "num_layers", "num_heads", "d_ff", "context_length"}
    ) == {
        "d_model": 512,
        "num_layers": 4,
        "num_heads": 16,
        "d_ff": 1344,
        "context_length": 256,
    }
    assert (small.tokenizer.vocab_size, base.tokenizer.vocab_size, base.model.d_model) == (10000, 10000, 1024)
    assert base.data == small.data  # so that both share one folder of tokens
    assert base.tokenizer == small.tokenizer
    assert load_config(FOLDER / "quickstart.yaml").data.train == ("builtin:stories",)
    assert weights(shakespeare) <= 850_000
    assert (small.train.max_steps, base.train.max_steps) == (10_000, 15_259)
    assert load_config(FOLDER / "gpt2-124m.yaml").train.max_steps == 19_074
