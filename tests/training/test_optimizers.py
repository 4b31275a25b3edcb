"""Which parameter is decayed and which optimizer moves it; the learning rate by step."""

import pytest
import torch

from bittygpt.config.sections import OptimSection
from bittygpt.core import AdamW, Muon
from bittygpt.engine.optimizers import muon as muon_module
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import update_weights
from bittygpt.training.timing.learning_rate import learning_rate


def scale(group):
    return group.get("lr_scale", 1.0)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_every_parameter_once_and_decay_on_matrices_alone(make_trainer, name):
    trainer = make_trainer(f"optim.name={name}", "optim.weight_decay=0.3")
    groups = [group for optimizer in trainer.executor.optimizers for group in optimizer.param_groups]
    owned = [(p, g["weight_decay"] * scale(g)) for g in groups for p in g["params"]]
    assert len(owned) == len(list(trainer.model.parameters())) == len({id(p) for p, _ in owned})
    assert all(decay == pytest.approx(0.3 if p.ndim == 2 else 0.0) for p, decay in owned)


@pytest.mark.parametrize(
    ("name", "tied", "expected"),
    [("adamw", False, 8.0), ("muon", False, 8.0), ("adamw", True, 1.0), ("sgd", False, 1.0)],
)
def test_an_embedding_moves_in_proportion_to_its_size(make_trainer, name, tied, expected):
    trainer = make_trainer(f"optim.name={name}", "model.d_model=64", f"model.tie_embeddings={tied}")
    update_weights(trainer.executor.optimizers, 0.1)
    groups = [group for optimizer in trainer.executor.optimizers for group in optimizer.param_groups]
    embedding = trainer.model.token_embeddings.weight
    for group in groups:
        holds_embedding = any(p is embedding for p in group["params"])
        assert group["lr"] == pytest.approx(0.1 * (expected if holds_embedding else 1.0))


@pytest.mark.parametrize("name", ["muon", "sgd"])
def test_momentum_is_the_first_beta(make_trainer, name):
    optimizers = make_trainer(f"optim.name={name}", "optim.betas=[0.7,0.9]").executor.optimizers
    assert [o.param_groups[0]["momentum"] for o in optimizers if not isinstance(o, AdamW)] == [0.7]


def test_muon_takes_the_matrices_inside_the_layers(make_trainer):
    trainer = make_trainer("optim.name=muon")
    muon = next(o for o in trainer.executor.optimizers if isinstance(o, Muon))
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    taken = {names[id(p)] for g in muon.param_groups for p in g["params"]}
    parts = ("q_proj", "k_proj", "v_proj", "output_proj", "w1", "w2", "w3")
    assert taken == {name for name in names.values() if name.split(".")[-2] in parts}


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_muons_own_products_are_in_the_precision_of_the_run(monkeypatch, make_trainer, precision, dtype):
    used, right = [], muon_module.orthogonalize
    monkeypatch.setattr(
        muon_module,
        "orthogonalize",
        lambda x, **options: used.append(options["dtype"]) or right(x, **options),
    )
    trainer = make_trainer("optim.name=muon", f"train.precision={precision}")
    used.clear()  # of the step that counts an optimizer's moments
    for p in trainer.model.parameters():
        p.grad = torch.ones_like(p)
    update_weights(trainer.executor.optimizers, 0.1)
    assert set(used) == {dtype}


def test_frozen_parameters_have_no_optimizer(make_trainer):
    model = make_trainer().model
    model.lm_head.weight.requires_grad_(False)
    owned = [
        p for o in build_optimizers(model, OptimSection(lr=0.1)) for g in o.param_groups for p in g["params"]
    ]
    assert not any(p is model.lm_head.weight for p in owned)


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_learning_rate_warms_up_and_ends_where_the_schedule_says(schedule):
    optim = OptimSection(lr=1.0, min_lr=0.1, warmup_steps=10, schedule=schedule)
    assert learning_rate(5, optim, 100) == pytest.approx(0.5)
    assert learning_rate(10, optim, 100) == pytest.approx(1.0)
    assert learning_rate(100, optim, 100) == pytest.approx(1.0 if schedule == "constant" else 0.1)


def test_wsd_begins_to_decay_where_the_config_says():
    optim = OptimSection(lr=1.0, min_lr=0.0, warmup_steps=0, schedule="wsd", decay_fraction=0.5)
    assert [learning_rate(step, optim, 100) for step in (50, 75, 100)] == pytest.approx([1.0, 0.5, 0.0])


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_every_optimizer_learns(make_trainer, finish, name):
    lr = "0.3" if name == "sgd" else "1e-2"
    reports = finish(
        make_trainer(f"optim.name={name}", f"optim.lr={lr}", "train.max_steps=30", "train.save_every=30")
    )
    losses = torch.tensor([r.loss for r in reports.StepReport])
    assert losses[-3:].mean() < losses[:3].mean() - 0.5
