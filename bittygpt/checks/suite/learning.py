"""One step, one batch learned by heart; and that cutting the batch, saving and compiling change no step."""

import copy
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from bittygpt.checks.finding import MODEL, PART, Finding, Pairs, check, equal, paired
from bittygpt.checks.subject import Subject
from bittygpt.config import OptimSection
from bittygpt.config.run_config import with_defaults
from bittygpt.core import IGNORE_INDEX, TransformerLM, clip_grad_norm
from bittygpt.data.batches import Batch
from bittygpt.engine.accelerate import accelerate
from bittygpt.training.checkpoints.checkpoint import (
    begin_checkpoint,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from bittygpt.training.devices.device import Device
from bittygpt.training.distributed.ranks import Ranks
from bittygpt.training.evaluation import evaluate
from bittygpt.training.optimizers import build_optimizers
from bittygpt.training.step import StepResult, compute_gradients, update_weights

SEQUENCES, MOST_STEPS, LEARNED = 4, 60, 0.1
FEW_TOKENS = 64  # different ones in the batch that is learned by heart: to tell them apart takes attention


def uneven_batch(subject: Subject) -> Batch:
    """Six sequences with very different numbers of targets; one has none at all."""
    batch = subject.random_batch(6)
    batch.targets[0] = IGNORE_INDEX
    batch.targets[3, 2:] = IGNORE_INDEX
    batch.targets[4, ::2] = IGNORE_INDEX
    return batch


def gradients(
    subject: Subject,
    model: TransformerLM,
    batch: Batch,
    clip: float = 0.0,
    at_once: int = 6,
    precision: str = "fp32",
) -> StepResult:
    """A step's gradients."""
    device = Device(subject.device.torch_device, precision)
    return compute_gradients(
        model, batch, grad_clip=clip, micro_batch_size=at_once, device=device, ranks=Ranks()
    )


def grads_of(model: TransformerLM) -> dict[str, Tensor]:
    """The gradients that a model holds, by the names of its weights."""
    return {f"gradient of {n}": p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@check("a step's gradients equal the formula's", look_in="training/step.py", always=True)
def step_equals_formula(subject: Subject) -> Finding:
    """The mean over all valid targets of the batch, one norm over all gradients; what was there before is gone."""
    other, batch, clip = subject.model(lively=True), uneven_batch(subject), 0.5
    model = accelerate(copy.deepcopy(other))
    gradients(subject, model, subject.random_batch(2))  # of a step before, which must leave nothing behind
    result = gradients(subject, model, batch, clip)
    ids, targets = (x.to(subject.device.torch_device) for x in (batch.ids, batch.targets))
    loss = other(ids, targets) / (targets != IGNORE_INDEX).sum()
    loss.backward()
    norm = clip_grad_norm(other.parameters(), clip)
    pairs = {
        "loss": (torch.tensor(result.loss), loss.detach().cpu()),
        "norm of the gradients": (torch.tensor(result.grad_norm), norm.cpu()),
    }
    return equal(pairs | paired(grads_of(model), grads_of(other)), MODEL)


@check("accumulated gradients equal the large batch", look_in="training/step.py", always=True)
def accumulation_equals_large_batch(subject: Subject) -> Finding:
    """With uneven numbers of targets, where a mean of means is another number than the mean over all."""
    model, batch = accelerate(subject.model(lively=True)), uneven_batch(subject)
    whole = gradients(subject, model, batch)
    right = grads_of(model)
    pairs: Pairs = {}
    for size in (1, 2, 4):
        result = gradients(subject, model, batch, at_once=size)
        pairs |= paired(grads_of(model), right, f", {size} at once")
        pairs[f"loss, {size} at once"] = torch.tensor(result.loss), torch.tensor(whole.loss)
    return equal(pairs, MODEL)


@check("one batch can be learned by heart", look_in="training/step.py", always=True)
def one_batch_is_learned(subject: Subject) -> Finding:
    """With the config's own optimizer: a model that cannot even do that is not connected as it should be."""
    return learn_one_batch(subject, subject.config.optim.name)


def learn_one_batch(subject: Subject, name: str) -> Finding:
    """With an optimizer, by the config's settings if it is the config's.

    Settings may be right for a long run, or for fine-tuning, and yet too slow for so few steps; where they are, the
    optimizer's defaults must do.
    """
    width, optim = subject.shape.d_model, subject.config.optim
    plain, tried = default_settings(name, width), list[Finding]()
    if name == optim.name:
        converted = optim.lr * plain.lr / default_settings(name, subject.config.model.d_model).lr
        tried.append(_learn(subject, optim.model_copy(update={"lr": converted}), "the config's settings"))
    if not (tried and tried[0].is_right):
        tried.append(_learn(subject, plain, "the optimizer's own settings"))
    return Finding(", ".join(each.text for each in tried), tried[-1].value, LEARNED)


def default_settings(name: str, d_model: int) -> OptimSection:
    """The optim section of a config that only names its optimizer, without weight decay."""
    values = {"data": {"train": ["-"]}, "model": {"d_model": d_model}, "optim": {"name": name}}
    # not validated: what the config does not know yet can be tried, too
    return OptimSection.model_construct(**{**with_defaults(values)["optim"], "weight_decay": 0.0})


def _learn(subject: Subject, optim: OptimSection, by: str) -> Finding:
    """The loss on one batch after as many steps as it takes to learn it, or after the most."""
    torch.manual_seed(subject.config.run.seed)
    model = accelerate(subject.model().train())
    batch = subject.random_batch(SEQUENCES, below=min(FEW_TOKENS, subject.shape.vocab_size))
    optimizers = build_optimizers(model, optim, subject.device.precision)
    for step in range(MOST_STEPS + 1):
        result = gradients(subject, model, batch, optim.grad_clip, SEQUENCES, subject.device.precision)
        if result.loss <= LEARNED or step == MOST_STEPS:
            break
        update_weights(optimizers, optim.lr)
    text = f"loss {result.loss:.3f} after {step} steps by {by} (limit {LEARNED})"
    return Finding(text, result.loss, LEARNED)


@check("a checkpoint brings back the same model", look_in="training/checkpoints/checkpoint.py", always=True)
def checkpoint_round_trip(subject: Subject) -> Finding:
    """Weights and moments, to the last bit: the next step after loading is the next step without."""
    model, batch = accelerate(subject.model(lively=True)), subject.random_batch(4)
    optimizers = build_optimizers(model, subject.config.optim)

    def step(which: TransformerLM, by: Iterable[torch.optim.Optimizer]) -> None:
        gradients(subject, which, batch)
        update_weights(list(by), subject.config.optim.lr)

    step(model, optimizers)
    with tempfile.TemporaryDirectory() as folder:
        begin_checkpoint(Path(folder), 1)
        path = save_checkpoint(Path(folder), 1, model, optimizers, {}, "", subject.tokenizer, Ranks())
        loaded, tokenizer = load_checkpoint(path, subject.device.torch_device)
        resumed = accelerate(subject.model())
        again = build_optimizers(resumed, subject.config.optim)
        restore(path, resumed, again)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    pairs = paired(dict(loaded.named_parameters()), before)
    step(model, optimizers)
    step(resumed, again)
    pairs |= paired(dict(resumed.named_parameters()), dict(model.named_parameters()), " a step later")
    finding = equal(pairs, PART if subject.device.is_cuda else 0.0)  # a GPU may add up in another order
    if tokenizer.vocabulary != subject.tokenizer.vocabulary:
        return Finding("the vocabulary is another one", 1.0, 0.0)
    return finding


@check("validation loss is the mean over targets", look_in="training/evaluation.py", always=True)
def evaluation_is_the_mean(subject: Subject) -> Finding:
    """Not a mean of batches' means; and as many bits per byte of text as its tokens stand for."""
    model, batches = subject.model(lively=True), [uneven_batch(subject), subject.random_batch(2)]
    token_bytes = torch.arange(subject.shape.vocab_size)
    device = Device(subject.device.torch_device, "fp32")
    result = evaluate(accelerate(copy.deepcopy(model)), batches, token_bytes, device, Ranks())
    assert result is not None
    losses, targets = [], torch.cat([batch.targets.flatten() for batch in batches])
    for batch in batches:
        with torch.no_grad():
            ids, wanted = (x.to(device.torch_device) for x in (batch.ids, batch.targets))
            losses.append(model(ids, wanted, "none").flatten().double().cpu())
    valid = targets != IGNORE_INDEX
    mean = torch.cat(losses)[valid].mean()
    bits = mean / math.log(2) / token_bytes[targets[valid]].double().mean()
    found = torch.tensor(result.loss), torch.tensor(result.bits_per_byte)
    return equal({"loss": (found[0], mean), "bits per byte": (found[1], bits)})
