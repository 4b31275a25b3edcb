"""Softmax, activations and the loss: each against PyTorch's own, values and gradients."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.checks.finding import (
    Finding,
    Function,
    Named,
    check,
    compare,
    equal,
    same,
    value_and_gradients,
    worst_of,
)
from bittygpt.checks.subject import Subject
from bittygpt.checks.suite.gradients import finite_differences
from bittygpt.core import IGNORE_INDEX, cross_entropy, entropy, kl_divergence, log_softmax, softmax
from bittygpt.core.feed_forward import GATED, PLAIN
from bittygpt.engine.layers.loss import chunked_linear_cross_entropy, chunked_token_losses, logits_at_once

ORACLES = {"swiglu": F.silu, "geglu": F.gelu, "reglu": F.relu, "gelu": F.gelu, "relu": F.relu}
TOO_LARGE = 1000.0  # exp of it overflows


def scores(subject: Subject) -> Tensor:
    """Rows of scores: ordinary ones, and ones whose exponential overflows unless the largest is taken off first."""
    x = 3 * subject.normal(6, 50)
    x[3:] *= TOO_LARGE
    return x


@check("softmax equals torch's, huge scores, too", look_in="core/activations.py")
def softmax_equals_torch(subject: Subject) -> Finding:
    """Without the largest score taken off first, exp(1000) is infinite, and infinity by infinity is no number."""
    x = scores(subject)
    return same(lambda n: softmax(n["x"]), lambda n: torch.softmax(n["x"], -1), {"x": x})


@check("log_softmax equals torch's, likewise", look_in="core/activations.py")
def log_softmax_equals_torch(subject: Subject) -> Finding:
    """The logarithm of softmax, but without its zeros, whose logarithm is -infinity."""
    x = scores(subject)
    return same(lambda n: log_softmax(n["x"]), lambda n: torch.log_softmax(n["x"], -1), {"x": x})


@check("activations equal torch's", look_in="core/activations.py")
def activations_equal_torch(subject: Subject) -> Finding:
    """Values and slopes, far to the left and to the right as well. One that torch has not: is its slope its own?"""
    x = {"x": 4 * subject.normal(500)}
    oracles = {**ORACLES, "relu2": lambda x: F.relu(x).square()}
    findings = []
    for name, activation in {**GATED, **PLAIN}.items():
        ours, theirs = (lambda n, f=f: f(n["x"]) for f in (activation, oracles.get(name)))
        found = same(ours, theirs, x) if name in oracles else finite_differences(ours, x)
        text = found.text if found.is_right else f"{found.text}, {name}"
        findings.append(Finding(text, found.value, found.limit))
    return worst_of(findings)


@check("cross-entropy equals torch's", look_in="core/cross_entropy.py")
def cross_entropy_equals_torch(subject: Subject) -> Finding:
    """The mean, the sum and each token's own loss, in nats."""
    logits, targets = scores(subject), subject.ids(1, 6, below=50)[0]

    def all_of(loss: Callable[..., Tensor]) -> Function:
        hows = ("mean", "sum", "none")
        return lambda n: torch.cat([loss(n["logits"], targets, reduction=how).flatten() for how in hows])

    return same(all_of(cross_entropy), all_of(F.cross_entropy), {"logits": logits})


@check("ignored targets count in no sum or mean", look_in="core/cross_entropy.py")
def ignored_targets(subject: Subject) -> Finding:
    """Dividing by all positions would make the loss depend on how much padding a batch happens to have.

    With no valid target at all, loss and gradient are zero, where a plain division gives NaN.
    """
    logits, targets = subject.normal(6, 50), subject.ids(1, 6, below=50)[0]
    targets[[0, 4]] = IGNORE_INDEX
    kept, none = targets != IGNORE_INDEX, torch.full_like(targets, IGNORE_INDEX)

    def ours(which: Tensor) -> Function:
        return lambda n: cross_entropy(n["logits"], which)

    def theirs(n: Named) -> Tensor:
        return F.cross_entropy(n["logits"][kept], targets[kept])

    findings = [
        same(ours(targets), theirs, {"logits": logits}),
        same(ours(none), lambda n: 0 * n["logits"].sum(), {"logits": logits}),
    ]
    return worst_of(findings)


@check("the loss in chunks equals all at once", look_in="engine/layers/loss.py", always=True)
def chunked_loss(subject: Subject) -> Finding:
    """More tokens than one chunk holds, some of them ignored; gradients of hidden states and of the weight."""
    vocab_size, width = 4096, 8
    tokens = logits_at_once(subject.device.torch_device) // vocab_size + 3
    inputs = {"hidden": subject.normal(tokens, width), "weight": subject.normal(vocab_size, width)}
    targets = subject.ids(1, tokens, below=vocab_size)[0]
    targets[::5] = IGNORE_INDEX

    def compute(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Named:
        found = value_and_gradients(lambda n: loss(n["hidden"], n["weight"], targets), inputs)
        each = chunked_token_losses(inputs["hidden"], inputs["weight"], targets).sum()
        return {**found, "sum of each token's loss": each}

    def theirs(n: Named) -> Tensor:
        logits = F.linear(n["hidden"], n["weight"])
        return F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="sum")

    right = value_and_gradients(theirs, inputs)
    right["sum of each token's loss"] = right["value"]
    fast = chunked_linear_cross_entropy
    return compare(compute, fast, fast, right)


@check("entropy and KL divergence equal torch's", look_in="core/cross_entropy.py")
def entropy_and_divergence(subject: Subject) -> Finding:
    """Both in nats, with their gradients; a token of probability zero counts nothing."""
    p, q = subject.normal(4, 30), subject.normal(4, 30)
    divergence = same(
        lambda n: kl_divergence(n["p"], n["q"]),
        lambda n: (n["p"].softmax(-1) * (n["p"].log_softmax(-1) - n["q"].log_softmax(-1))).sum(-1),
        {"p": p, "q": q},
    )
    likewise = same(
        lambda n: entropy(n["p"]),
        lambda n: torch.distributions.Categorical(logits=n["p"]).entropy(),
        {"p": p},
    )
    p = p.index_fill(1, torch.arange(5, device=p.device), -torch.inf)
    right = torch.distributions.Categorical(logits=p.double().cpu()).entropy().to(p)
    log_p, log_q = (torch.log_softmax(x, -1) for x in (p, q))
    by_torch = F.kl_div(log_q, log_p, reduction="none", log_target=True).nan_to_num(0.0).sum(-1)
    pairs = {"entropy": (entropy(p), right), "KL divergence": (kl_divergence(p, q), by_torch)}
    return worst_of([divergence, likewise, equal(pairs)])
