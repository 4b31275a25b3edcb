"""RunConfig: its defaults, the values that follow from others, and that nothing in it can be changed."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from bittygpt.config import RunConfig


def config(**sections: dict[str, Any]) -> RunConfig:
    """A config of these sections, with a text to train on."""
    return RunConfig.model_validate({"data": {"train": ["a.txt"]}, **sections})


def test_every_key_but_data_train_has_the_promised_default() -> None:
    assert config(run={"name": "mine"}).model_dump() == {
        "run": {"name": "mine", "dir": "runs", "seed": 0},
        "data": {
            "train": ("a.txt",),
            "val": (),
            "val_fraction": 0.05,
            "text_key": "text",
            "separator": "<|endoftext|>",
            "on_bad_record": "error",
            "windows": "stream",
            "dir": "data/mine",
            "workers": None,
        },
        "tokenizer": {
            "vocab_size": 10000,
            "special_tokens": ("<|endoftext|>",),
            "vocab": None,
            "train_bytes": 100_000_000,
            "encoding": "bpe",
        },
        "model": {
            "context_length": 256,
            "d_model": 256,
            "num_layers": 4,
            "num_heads": 4,
            "num_kv_heads": 4,
            "d_ff": 704,
            "activation": "swiglu",
            "rope_theta": 10000.0,
            "norm_eps": 1e-5,
            "tie_embeddings": False,
            "qk_norm": False,
        },
        "optim": {
            "name": "adamw",
            "lr": 2.3e-3,
            "min_lr": 2.3e-4,
            "warmup_steps": 100,
            "schedule": "cosine",
            "decay_fraction": 0.2,
            "betas": (0.9, 0.95),
            "eps": 1e-8,
            "weight_decay": 0.1,
            "grad_clip": 1.0,
        },
        "train": {
            "batch_size": 32,
            "micro_batch_size": "auto",
            "max_steps": 2000,
            "max_tokens": None,
            "time_budget": None,
            "eval_every": 250,
            "eval_tokens": None,
            "save_every": 250,
            "keep": 3,
            "log_every": 10,
            "sample_every": None,
            "tensorboard": False,
            "wandb": None,
            "parallel": "auto",
            "precision": "auto",
            "compile": "auto",
            "device": "auto",
            "ignore_tokens": (),
            "init_from": None,
            "trainable": (),
        },
        "sample": {
            "prompt": "",
            "max_tokens": 256,
            "temperature": 0.8,
            "top_k": None,
            "top_p": None,
            "min_p": None,
            "repetition_penalty": 1.0,
            "num_samples": 1,
            "seed": 0,
        },
    }


# 8/3 d_model by hand: 42.7, 341.3, 682.7, 1365.3, 2048, 2730.7
@pytest.mark.parametrize(
    ("d_model", "d_ff"), [(16, 64), (128, 320), (256, 704), (512, 1344), (768, 2048), (1024, 2752)]
)
def test_d_ff_is_eight_thirds_of_d_model_to_the_nearest_multiple_of_64(d_model: int, d_ff: int) -> None:
    assert config(model={"d_model": d_model}).model.d_ff == d_ff
    assert abs(d_ff - d_model * 8 / 3) <= 32


@pytest.mark.parametrize(("activation", "d_ff"), [("reglu", 704), ("gelu", 1024), ("relu2", 1024)])
def test_without_a_gate_d_ff_is_four_times_d_model(activation: str, d_ff: int) -> None:
    """The same number of weights, in two matrices instead of three."""
    assert config(model={"activation": activation}).model.d_ff == d_ff


@pytest.mark.parametrize(
    ("max_steps", "warmup_steps"), [(1, 1), (39, 1), (40, 2), (2000, 100), (20_000, 1000), (10**6, 1000)]
)
def test_the_warm_up_takes_a_twentieth_of_the_steps_within_limits(max_steps: int, warmup_steps: int) -> None:
    assert config(train={"max_steps": max_steps}).optim.warmup_steps == warmup_steps


def test_max_tokens_become_as_many_steps_as_it_takes() -> None:
    sizes = {"model": {"context_length": 64}, "train": {"batch_size": 10, "max_tokens": 6401}}
    train = config(**sizes).train
    assert (train.max_steps, train.max_tokens) == (11, None)  # 10 steps are 6400 tokens


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[
            ("90s", 90),
            ("45m", 2700),
            ("2h30m", 9000),
            ("1d12h", 129600),
            ("1h 30m 5s", 5405),
            ("1.5h", 5400),
        ],
        *[("45M", 2700), (" 5 m ", 300), (".5m", 30), (75, 75), (0.5, 0.5), (None, None)],
    ],
)
def test_times_that_a_budget_is_given_in(text: str | float | None, seconds: float | None) -> None:
    assert config(train={"time_budget": text}).train.time_budget == seconds


def test_with_a_time_budget_nobody_knows_the_steps_unless_they_are_given() -> None:
    by_clock = config(train={"time_budget": "45m"})
    assert (by_clock.train.max_steps, by_clock.optim.warmup_steps) == (None, None)
    both = config(train={"time_budget": "45m", "max_tokens": 10 * 32 * 256}, optim={"warmup_steps": 4})
    assert (both.train.max_steps, both.optim.warmup_steps) == (10, 4)
    assert RunConfig.model_validate(by_clock.model_dump()) == by_clock


@pytest.mark.parametrize(
    ("name", "d_model", "lr"),
    [
        ("adamw", 128, 4.7e-3),
        ("adam", 256, 2.3e-3),
        ("adamw", 768, 7.8e-4),
        ("muon", 128, 0.027),
        ("muon", 512, 0.013),
    ],
)
def test_the_learning_rate_falls_with_the_width(name: str, d_model: int, lr: float) -> None:
    assert config(model={"d_model": d_model}, optim={"name": name}).optim.lr == lr


def test_other_derived_values() -> None:
    assert config(model={"num_heads": 8}).model.num_kv_heads == 8
    assert config(optim={"lr": 1}).optim.min_lr == 0.1
    assert config(optim={"name": "sgd"}).optim.lr == 0.1
    assert config(optim={"lr": 1, "min_lr": 0}).optim.min_lr == 0.0
    assert config(optim={"warmup_steps": 0}).optim.warmup_steps == 0
    assert config(data={"train": "a.txt", "val": "b.txt"}).data.val_fraction == 0.0
    assert config(data={"train": "a.txt"}).data.train == ("a.txt",)
    assert config(tokenizer={"vocab": "vocab.json"}).tokenizer.vocab_size is None
    assert config(model={"d_ff": None}).model.d_ff == 704


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"num_heads": 4, "num_kv_heads": 2}},
        {"model": {"num_heads": 4, "num_kv_heads": 1}},
        {"model": {"d_model": 8}},
        {"optim": {"lr": 1e-3, "min_lr": 1e-3}},
        {"optim": {"warmup_steps": 5}, "train": {"max_steps": 5}},
        {"tokenizer": {"vocab_size": 258, "special_tokens": ["<|endoftext|>", "<|pad|>"]}},
        {"train": {"batch_size": 6, "micro_batch_size": 3, "ignore_tokens": ["<|endoftext|>"]}},
        {"train": {"trainable": ["blocks.*"], "init_from": "runs/x"}},
        {"sample": {"top_p": 1, "min_p": 0, "temperature": 0}},
        {"data": {"train": "a", "val_fraction": 0}},
        {"data": {"train": "a", "val": "b", "val_fraction": 0}},
    ],
)
def test_what_is_just_within_the_limits_is_accepted(sections: dict[str, Any]) -> None:
    made = config(**sections).model_dump()
    for section, keys in sections.items():
        for key, value in keys.items():
            assert made[section][key] in (value, (value,), tuple(value) if isinstance(value, list) else value)


def test_nothing_can_be_changed() -> None:
    made = config()
    with pytest.raises(ValidationError, match="frozen"):
        made.run = made.run  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        made.model.d_model = 3  # type: ignore[misc]
    hash(made)  # so that no list hides in it


def test_clashes_are_found_without_a_file() -> None:
    with pytest.raises(
        ValidationError, match="d_model 256 is not a multiple of num_heads 3; take d_model 252 or 258"
    ):
        config(model={"num_heads": 3})


def test_reading_a_config_does_not_import_torch() -> None:
    code = (
        "import sys; from bittygpt.config import RunConfig as R\n"
        "R.model_validate({'data': {'train': 'a'}, 'model': {'activation': 'gelu'}, 'optim': {'name': 'sgd'}})\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
