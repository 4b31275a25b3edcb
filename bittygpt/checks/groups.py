"""Which weight is decayed, by which optimizer it is moved, and how fast."""

import math

import torch

from bittygpt.checks.finding import Finding, Pairs, check, counted, equal
from bittygpt.checks.subject import Subject
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import update_weights

LR, DECAY = 0.05, 0.2


@check("decay on matrices alone, each weight once", look_in="training/optimizers.py", always=True)
def parameter_groups(subject: Subject) -> Finding:
    """Without any gradient, a step shrinks matrices by lr · decay and leaves gains as they are: theirs is about 1."""
    model = subject.model(qk_norm=True)
    optim = subject.config.optim.model_copy(update={"weight_decay": DECAY})
    optimizers = build_optimizers(model, optim)
    owners = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    once = {id(p) for p in owners} == {id(p) for p in model.parameters()} and len(owners) == len(set(owners))
    wrong = [] if once else ["some weights are in no optimizer or in two"]
    names = {id(p): name for name, p in model.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                decay = group["weight_decay"] * group.get("lr_scale", 1.0)
                if not math.isclose(decay, DECAY if p.ndim >= 2 else 0.0, rel_tol=1e-6):
                    wrong.append(
                        f"{names[id(p)]} decays by {decay:g} instead of {DECAY if p.ndim >= 2 else 0.0:g}"
                    )
    finding = counted(len(wrong), len(names), "weights")
    return Finding(f"{finding.text}{': ' * bool(wrong)}{wrong[0] if wrong else ''}", len(wrong), 0)


@check("embeddings learn at a rate of their own", look_in="training/optimizers.py", always=True)
def learning_rates_of_groups(subject: Subject) -> Finding:
    """Entries of 1 are sqrt(D) times as large as a matrix's, so the adaptive optimizers move them as much faster."""
    model, optim = subject.model(), subject.config.optim
    optimizers = build_optimizers(model, optim)
    update_weights(optimizers, LR)
    embedding = model.token_embeddings.weight
    tied = subject.shape.tie_embeddings
    fast = 1.0 if tied or optim.name == "sgd" else math.sqrt(subject.shape.d_model)
    pairs: Pairs = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            is_embedding = any(p is embedding for p in group["params"])
            right = LR * (fast if is_embedding else 1.0)
            name = f"learning rate of the {'embedding' if is_embedding else 'matrices and gains'}"
            pairs[name] = torch.tensor(group["lr"]), torch.tensor(right)
    return equal(pairs, 1e-6)
