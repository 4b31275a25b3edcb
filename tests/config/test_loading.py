"""load_config, overrides, overlay_sample and the way back to YAML."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bittygpt.config import RunConfig, config_to_yaml, load_config, overlay_sample
from bittygpt.errors import ConfigError

Load = Callable[..., RunConfig]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as the file my.yaml of the working directory."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, *overrides: str) -> RunConfig:
        Path("my.yaml").write_text(text, encoding="utf-8")
        return load_config("my.yaml", overrides)

    return load_text


def test_the_run_is_named_after_the_file_unless_it_has_a_name(load: Load) -> None:
    assert load("data: {train: a.txt}").run.name == "my"
    assert load("data: {train: a.txt}").data.dir == "data/my"
    assert load("data: {train: a.txt}\nrun: {name: other}").data.dir == "data/other"
    assert load("data: {train: a.txt}", "run.name=third").data.dir == "data/third"


def test_a_path_and_a_string_name_the_same_file(load: Load) -> None:
    assert load("data: {train: a.txt}") == load_config(Path("my.yaml"))


@pytest.mark.parametrize("written", ["3e-4", "3E-4", "3.0e-4", "0.0003", ".3e-3", "+3e-4"])
def test_numbers_in_every_notation_of_yaml_12(load: Load, written: str) -> None:
    assert load(f"data: {{train: a}}\noptim: {{lr: {written}}}").optim.lr == 3e-4
    assert load("data: {train: a}", f"optim.lr={written}").optim.lr == 3e-4


def test_a_section_with_all_its_keys_commented_out_is_empty(load: Load) -> None:
    assert load("data: {train: a}\nmodel:\n  # d_model: 3\n").model.d_model == 256


def test_overrides_take_yaml_and_the_last_one_of_a_key_wins(load: Load) -> None:
    made = load(
        "data: {train: a}\noptim: {lr: 1}",
        "optim.lr=2e-3",
        "optim.betas=[0.8, 9e-1]",
        "train.compile=false",
        "data.train=[x.txt, 'y z.txt']",
        "optim.lr=3",
        "sample.prompt=a = b",
        "train.keep = 7",
        "model.d_ff=null",
    )
    assert (made.optim.lr, made.optim.betas, made.train.compile) == (3.0, (0.8, 0.9), False)
    assert (made.data.train, made.sample.prompt, made.train.keep) == (("x.txt", "y z.txt"), "a = b", 7)
    assert made.model.d_ff == 704


def test_an_override_mends_a_fault_of_the_file(load: Load) -> None:
    assert load("data: {train: a}\nmodel: {d_model: wide}", "model.d_model=64").model.d_model == 64


def test_a_config_written_in_full_reads_back_equal(load: Load) -> None:
    first = load(
        "data: {train: [a, b], val: c}\ntokenizer: {vocab: v.json}\n"
        "optim: {lr: 7e-5}\ntrain: {max_tokens: 100000, compile: true}\nsample: {prompt: 'yes', top_p: 0.5}"
    )
    text = config_to_yaml(first)
    assert load(text) == first
    assert {section: list(keys) for section, keys in yaml.safe_load(text).items()} == {
        section: list(keys) for section, keys in first.model_dump().items()
    }


@pytest.mark.parametrize(
    "text", ["1e5", "null", "on", " a\n", "\x85", "'\"", "\U0001f600", "- [x: #", "\u2028"]
)
def test_an_awkward_prompt_survives_the_way_to_yaml_and_back(load: Load, text: str) -> None:
    made = RunConfig.model_validate({"data": {"train": "a"}, "sample": {"prompt": text}})
    assert load(config_to_yaml(made)) == made


def test_overlay_takes_the_sample_section_and_nothing_else(load: Load, tmp_path: Path) -> None:
    base = load("data: {train: a}\nsample: {top_k: 5, prompt: Hello}")
    other = tmp_path / "other.yaml"
    other.write_text("sample: {prompt: Bye, seed: 3}\nmodel: {nonsense: 1}\noptim: 3\nextra: {x: 1, x: 2}\n")
    laid = overlay_sample(base, other)
    assert (laid.sample.prompt, laid.sample.seed, laid.sample.top_k) == ("Bye", 3, 5)
    assert laid.model_copy(update={"sample": base.sample}) == base


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample:\n  sed: 3", "other.yaml:2: sample.sed: unknown key; did you mean sample.seed?"),
        (
            "sample: {top_k: 0}",
            "other.yaml:1: sample.top_k: must be at least 1, not 0; remove the key for its default",
        ),
        ("sample: 3", "other.yaml:1: sample: must be a mapping of keys, not 3; write sample: {prompt: ...}"),
        ("model: {}", "other.yaml: no sample section; add one, such as sample: {temperature: 0.8}"),
        (
            "sample: {seed: 1, seed: 2}",
            "other.yaml:1: sample.seed: given twice, first on line 1; keep one of them",
        ),
        (
            "sample: [",
            "other.yaml:1:10: not valid YAML: expected the node content, but found '<stream end>'; "
            "check quotes, brackets and indentation there",
        ),
    ],
)
def test_faults_of_an_overlay_name_its_file(load: Load, text: str, message: str) -> None:
    base = load("data: {train: a}")
    Path("other.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        overlay_sample(base, Path("other.yaml"))
    assert str(caught.value) == message
