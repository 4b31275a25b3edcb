"""Which parameter is decayed and which optimizer moves it; the learning rate by step."""

import pytest
import torch

from bittygpt.config.sections import OptimSection
from bittygpt.core import Muon
from bittygpt.training.optimizers import build_optimizers, learning_rate


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_every_parameter_once_and_decay_on_matrices_alone(make_trainer, name):
    trainer = make_trainer(f"optim.name={name}", "optim.weight_decay=0.3")
    owned = [
        (p, g["weight_decay"]) for o in trainer.engine.optimizers for g in o.param_groups for p in g["params"]
    ]
    assert len(owned) == len(list(trainer.model.parameters())) == len({id(p) for p, _ in owned})
    assert all(decay == (0.3 if p.ndim == 2 else 0.0) for p, decay in owned)


def test_muon_takes_the_matrices_inside_the_layers(make_trainer):
    trainer = make_trainer("optim.name=muon")
    muon = next(o for o in trainer.engine.optimizers if isinstance(o, Muon))
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    taken = {names[id(p)] for g in muon.param_groups for p in g["params"]}
    parts = ("q_proj", "k_proj", "v_proj", "output_proj", "w1", "w2", "w3")
    assert taken == {name for name in names.values() if name.split(".")[-2] in parts}


def test_frozen_parameters_have_no_optimizer(make_trainer):
    model = make_trainer().model
    model.lm_head.weight.requires_grad_(False)
    owned = [p for o in build_optimizers(model, OptimSection()) for g in o.param_groups for p in g["params"]]
    assert not any(p is model.lm_head.weight for p in owned)


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_learning_rate_warms_up_and_ends_where_the_schedule_says(schedule):
    optim = OptimSection(lr=1.0, min_lr=0.1, warmup_steps=10, schedule=schedule)
    assert learning_rate(5, optim, 100) == pytest.approx(0.5)
    assert learning_rate(10, optim, 100) == pytest.approx(1.0)
    assert learning_rate(100, optim, 100) == pytest.approx(1.0 if schedule == "constant" else 0.1)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_every_optimizer_learns(make_trainer, finish, name):
    lr = "0.3" if name == "sgd" else "1e-2"
    reports = finish(
        make_trainer(f"optim.name={name}", f"optim.lr={lr}", "train.max_steps=30", "train.save_every=30")
    )
    losses = torch.tensor([r.loss for r in reports.StepReport])
    assert losses[-3:].mean() < losses[:3].mean() - 0.5
