"""Which keys may change between a checkpoint's config and today's."""

from typing import Any

import pytest

from bittygpt.config import RunConfig, fit_differences


def config(**sections: dict[str, Any]) -> RunConfig:
    """A config of these sections, with a text to train on."""
    return RunConfig.model_validate(sections | {"data": {"train": ["a.txt"]} | sections.get("data", {})})


def test_each_difference_is_named_with_both_values() -> None:
    old, new = config(), config(model={"d_model": 512, "d_ff": 704}, optim={"name": "muon"}, run={"seed": 1})
    assert fit_differences(old, new) == [
        "run.seed: the checkpoint has 0, the config says 1",
        "model.d_model: the checkpoint has 256, the config says 512",
        'optim.name: the checkpoint has "adamw", the config says "muon"',
        "optim.lr: the checkpoint has 0.0023, the config says 0.013",
        "optim.min_lr: the checkpoint has 0.00023, the config says 0.0013",
    ]


@pytest.mark.parametrize(
    "free",
    [
        {"run": {"name": "x", "dir": "y"}},
        {"data": {"train": ["b.txt"], "val": ["c.txt"], "dir": "z", "separator": "\n"}},
        {"sample": {"prompt": "x", "seed": 3}},
        {"train": {"eval_every": 1, "eval_tokens": 5, "save_every": 1, "keep": 1, "log_every": 1}},
        {"train": {"sample_every": 1, "tensorboard": True, "wandb": "project"}},
        {"train": {"device": "cpu", "compile": False}},
        {"train": {"micro_batch_size": 8, "parallel": "fsdp"}},  # as the message about memory advises
    ],
)
def test_what_does_not_change_a_step_may_change(free: dict[str, Any]) -> None:
    assert fit_differences(config(), config(**free)) == []


def test_a_time_budget_may_change_but_not_come_or_go() -> None:
    short, long = config(train={"time_budget": "1m"}), config(train={"time_budget": "2m"})
    assert fit_differences(short, long) == []
    none = config()
    for old, new in ((short, none), (none, short)):
        lines = fit_differences(old, new)
        assert any(line.startswith("train.time_budget: the checkpoint has ") for line in lines)


@pytest.mark.parametrize(
    "bound",
    [
        {"tokenizer": {"vocab_size": 300}},
        {"data": {"windows": "documents"}},
        {"optim": {"warmup_steps": 3}},
        {"optim": {"betas": [0.9, 0.99]}},
        {"train": {"batch_size": 8}},
        {"train": {"precision": "bf16"}},
        {"train": {"ignore_tokens": ["<|endoftext|>"]}},
    ],
)
def test_all_else_may_not(bound: dict[str, Any]) -> None:
    (line,) = fit_differences(config(), config(**bound))
    section, keys = next(iter(bound.items()))
    assert line.startswith(f"{section}.{next(iter(keys))}: the checkpoint has ")
