"""The whole model: initial weights, first loss, causality, and its parts put together as they should be."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.checks import reference
from bittygpt.checks.finding import (
    MODEL,
    PART,
    Finding,
    Named,
    accelerated,
    check,
    counted,
    difference,
    equal,
    module_equals,
    number,
    size,
    ways,
    worst_of,
)
from bittygpt.checks.subject import CONTEXT, Subject
from bittygpt.core import IGNORE_INDEX, ModelConfig
from bittygpt.sampling.generate import SamplingOptions, generate

CUT = 0.98658  # standard deviation of a normal distribution that is cut at 3 of its own


@check("every weight starts at its size", look_in="core/transformer.py")
def initial_weights(subject: Subject) -> Finding:
    """Matrices N(0, 2 / (d_in + d_out)), embeddings N(0, 1) or, tied, N(0, 1/D), cut at 3 of these; gains are 1."""
    deviations = {
        name: _deviation(weight.detach(), _initial_std(name, weight, subject.own_shape))
        for name, weight in subject.own_model.named_parameters()
    }
    worst = max(deviations, key=lambda name: size(deviations[name]))
    value = deviations[worst]
    where = f", {worst}" if not value <= 1 else ""
    text = f"{value:.2f} of what is chance (limit 1){where}"
    return Finding(text, value, 1.0)


def _initial_std(name: str, weight: Tensor, shape: ModelConfig) -> float:
    """The standard deviation that a weight starts with, before it is cut; 0 for gains, which start at 1."""
    if weight.ndim < 2:
        return 0.0
    if name.startswith("token_embeddings."):
        return weight.shape[1] ** -0.5 if shape.tie_embeddings else 1.0
    return math.sqrt(2 / sum(weight.shape))


def _deviation(weight: Tensor, std: float) -> float:
    """How far spread, mean and largest entry are off, as a share of what chance explains."""
    if std == 0:
        return (weight - 1).abs().max().item() / 1e-6
    chance = 0.02 + 4 / math.sqrt(
        2 * weight.numel()
    )  # a spread measured on n is off by 1 / sqrt(2n), hardly by 4
    spread = abs(weight.std(correction=0).item() / (std * CUT) - 1)
    return (
        max(spread, abs(weight.mean().item() / std) / 2, weight.abs().max().item() / (3 * std) - 1) / chance
    )


@check("the first loss is near ln V", look_in="core/transformer.py")
def first_loss(subject: Subject) -> Finding:
    """Much above it, the first scores are too large; much below it, the model can see what it is to predict."""
    shape = subject.own_shape
    batch = subject.own_batch(max(2, 512 // shape.context_length), shape.context_length)
    device = subject.device.torch_device
    with torch.no_grad():
        total = subject.own_model(batch.ids.to(device), targets_BT=batch.targets.to(device))
    loss = total.item() / max(1, batch.num_valid())
    # scores of variance s² cost s²/2 nats on average; the rest is chance, and what the residual stream adds
    variance = 1.0 if shape.tie_embeddings else 2 * shape.d_model / (shape.d_model + shape.vocab_size)
    uniform, limit = math.log(shape.vocab_size), 0.4 + variance / 2
    off = abs(loss - uniform)
    return Finding(f"{loss:.3f}; ln {shape.vocab_size:,}: {uniform:.3f} (limit {limit:.2f} off)", off, limit)


@check("no future token moves a past score", look_in="core/attention.py", always=True)
def no_look_ahead(subject: Subject) -> Finding:
    """A token is changed: all scores before it stay, and those from it on move."""
    model, ids = subject.model(lively=True), subject.ids(2)
    moved, seen = 0.0, True
    for _, chosen, context in ways(model, accelerated(model)):
        with context(), torch.no_grad():
            before = chosen(ids)
            for at in (1, CONTEXT // 2, CONTEXT - 1):
                changed = ids.clone()
                changed[:, at] = (ids[:, at] + 1) % subject.shape.vocab_size
                after = chosen(changed)
                moved = max(moved, difference(after[:, :at], before[:, :at]))
                seen = seen and difference(after[:, at:], before[:, at:]) > PART
    if not seen:
        return Finding("a changed token changes nothing, not even its own position's scores", 1.0, 0.0)
    return Finding(f"moved by {number(moved)} (limit {number(PART)})", moved, PART)


@check("no gradient goes from past to future", look_in="core/attention.py", always=True)
def no_gradient_from_the_past(subject: Subject) -> Finding:
    """What position t says is sent back: only the embeddings of 0..t may feel it, and each of these must."""
    count = min(CONTEXT, subject.shape.vocab_size)
    model = subject.model(lively=True)
    order = torch.randperm(subject.shape.vocab_size)[:count].to(subject.device.torch_device)
    leaked = 0.0
    for _, chosen, context in ways(model, accelerated(model)):
        for at in (0, count // 2, count - 1):
            with context():
                hidden = chosen.hidden_states(order[None])[0, at]
                loss = (hidden * torch.linspace(1, 2, len(hidden), device=hidden.device)).sum()
                (gradient,) = torch.autograd.grad(loss, chosen.token_embeddings.weight)
            felt = gradient[order].abs().sum(-1)
            if not (felt[: at + 1] > 0).all():
                return Finding(f"position {at} does not see all tokens up to its own", 1.0, 0.0)
            leaked = max(leaked, (felt[at + 1 :].sum() / felt.sum()).item())
    return Finding(f"{number(leaked)} of it leaks (limit 0)", leaked, 0.0)


@check("the model equals one of torch's parts", look_in="core/transformer.py")
def model_equals_torch(subject: Subject) -> Finding:
    """Logits, and the gradients of all weights, from the same weights."""
    model, ids = subject.model(lively=True), subject.ids(2)
    shape = subject.shape
    return module_equals(model, lambda n: reference.model(ids, n, shape), MODEL, arguments=(ids,))


@check("the training loss equals torch's", look_in="core/transformer.py")
def loss_equals_torch(subject: Subject) -> Finding:
    """Summed, with some targets ignored; loss and gradients of all weights."""
    model, ids, targets = subject.model(lively=True), subject.ids(2), subject.ids(2)
    targets[0, 5:9] = IGNORE_INDEX

    def theirs(n: Named) -> Tensor:
        logits = torch.func.functional_call(model, n, (ids,))
        flat: Tensor = logits.flatten(0, 1)
        return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")

    return module_equals(model, theirs, MODEL, arguments=(ids, targets))


@check("tied embeddings are one table, others two", look_in="core/transformer.py", always=True)
def tied_embeddings(subject: Subject) -> Finding:
    """A copy would be tied at the first step only: the optimizer moves the two apart."""
    wrong = 0
    for tied in (True, False):
        model = subject.model(tie_embeddings=tied)
        table, head = model.token_embeddings.weight, model.output_weight
        is_one = table.data_ptr() == head.data_ptr()
        is_learned_once = sum(p.shape == table.shape for p in model.parameters()) == 1
        ones = torch.ones(1, model.config.d_model, device=table.device)
        before = model.logits(ones)
        with torch.no_grad():
            table.add_(1)
        follows = not torch.equal(before, model.logits(ones))
        wrong += sum(sign is not tied for sign in (is_one, is_learned_once, follows))
    return counted(wrong, 6, "signs")


@check("cached generation equals the full pass", look_in="sampling/decoding/decoder.py", always=True)
def cache_equals_full_pass(subject: Subject) -> Finding:
    """Each token is chosen greedily, with earlier keys and values from the cache; then all is read at once."""
    model = subject.model(lively=True).eval()
    findings = []
    for prompt_length in (1, CONTEXT // 2):
        prompt = subject.ids(1, prompt_length)[0].tolist()
        options = SamplingOptions(CONTEXT - prompt_length, temperature=0, ignore_eos=False)
        end = subject.shape.vocab_size  # of no token, so that all are generated
        steps = [tokens[0] for tokens in generate(model, prompt, options, end)]
        chosen = [token for token in steps if token is not None]
        ids = torch.tensor([*prompt, *(token.token_id for token in chosen)]).to(model.output_weight.device)
        with torch.no_grad():
            scores = torch.log_softmax(model(ids[None, :-1])[0, prompt_length - 1 :].float(), -1)
        said = torch.tensor([token.logprob for token in chosen], device=scores.device)
        right = scores.gather(-1, ids[prompt_length:, None])[:, 0], scores.amax(-1)
        names = "log-probability of a token", "log-probability of the likeliest token"
        findings.append(equal({name: (said, x) for name, x in zip(names, right, strict=True)}, MODEL))
    return worst_of(findings)
