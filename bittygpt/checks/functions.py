"""Softmax, activations and the loss: each against PyTorch's own, values and gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bittygpt.checks.finding import (
    FORMS,
    Check,
    Finding,
    Named,
    Pairs,
    check,
    equal,
    paired,
    same_in_all_forms,
    value_and_gradients,
)
from bittygpt.checks.reference import ACTIVATIONS
from bittygpt.checks.subject import Subject
from bittygpt.core import (
    IGNORE_INDEX,
    cross_entropy,
    entropy,
    gelu,
    kl_divergence,
    log_softmax,
    relu,
    relu2,
    silu,
    softmax,
)
from bittygpt.core.chunked_loss import chunked_linear_cross_entropy, chunked_token_losses, logits_at_once

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
    return same_in_all_forms(lambda n: softmax(n["x"]), lambda n: torch.softmax(n["x"], -1), {"x": x})


@check("log_softmax equals torch's, likewise", look_in="core/activations.py")
def log_softmax_equals_torch(subject: Subject) -> Finding:
    """The logarithm of softmax, but without its zeros, whose logarithm is -infinity."""
    x = scores(subject)
    return same_in_all_forms(lambda n: log_softmax(n["x"]), lambda n: torch.log_softmax(n["x"], -1), {"x": x})


@check("silu, gelu, relu and relu2 equal torch's", look_in="core/activations.py")
def activations_equal_torch(subject: Subject) -> Finding:
    """Values and slopes, far to the left and to the right as well."""
    x = 4 * subject.normal(500)
    ours = {"swiglu": silu, "gelu": gelu, "relu": relu, "relu2": relu2}
    pairs: Pairs = {}
    for name, function in ours.items():
        found = value_and_gradients(lambda n, f=function: f(n["x"]), {"x": x})  # type: ignore[misc]
        right = value_and_gradients(lambda n, f=ACTIVATIONS[name]: f(n["x"]), {"x": x})  # type: ignore[misc]
        pairs |= paired(found, right, f" of {function.__name__}")
    return equal(pairs)


@check("cross-entropy equals torch's", look_in="core/cross_entropy.py")
def cross_entropy_equals_torch(subject: Subject) -> Finding:
    """The mean, the sum and each token's own loss, in nats."""
    logits, targets = scores(subject), subject.ids(1, 6, below=50)[0]

    def all_of(function: object) -> Tensor:
        parts = [function(reduction) for reduction in ("mean", "sum", "none")]  # type: ignore[operator]
        return torch.cat([part.flatten() for part in parts])

    def ours(n: Named) -> Tensor:
        return all_of(lambda how: cross_entropy(n["logits"], targets, reduction=how))

    def theirs(n: Named) -> Tensor:
        return all_of(lambda how: F.cross_entropy(n["logits"], targets, reduction=how))

    return same_in_all_forms(ours, theirs, {"logits": logits})


@check("ignored targets count in no sum or mean", look_in="core/cross_entropy.py")
def ignored_targets(subject: Subject) -> Finding:
    """Dividing by all positions would make the loss depend on how much padding a batch happens to have.

    With no valid target at all, loss and gradient are zero, where a plain division gives NaN.
    """
    logits, targets = subject.normal(6, 50), subject.ids(1, 6, below=50)[0]
    targets[[0, 4]] = IGNORE_INDEX
    kept = targets != IGNORE_INDEX
    none = torch.full_like(targets, IGNORE_INDEX)
    found = value_and_gradients(lambda n: cross_entropy(n["logits"], targets), {"logits": logits})
    right = value_and_gradients(
        lambda n: F.cross_entropy(n["logits"][kept], targets[kept]), {"logits": logits}
    )
    empty = value_and_gradients(lambda n: cross_entropy(n["logits"], none), {"logits": logits})
    pairs = paired(found, right, " with ignored targets")
    pairs |= {f"{name} without any target": (x, torch.zeros_like(x)) for name, x in empty.items()}
    return equal(pairs)


@check("the loss in chunks equals all at once", look_in="core/chunked_loss.py")
def chunked_loss(subject: Subject) -> Finding:
    """More tokens than one chunk holds, some of them ignored; gradients of hidden states and of the weight."""
    vocab_size, width = 4096, 8
    tokens = logits_at_once(subject.device.torch_device) // vocab_size + 3
    hidden, weight = subject.normal(tokens, width), subject.normal(vocab_size, width)
    targets = subject.ids(1, tokens, below=vocab_size)[0]
    targets[::5] = IGNORE_INDEX

    def theirs(n: Named) -> Tensor:
        logits = F.linear(n["hidden"], n["weight"])
        return F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="sum")

    inputs = {"hidden": hidden, "weight": weight}
    right = value_and_gradients(theirs, inputs)
    right["sum of each token's loss"] = right["value"]
    pairs: Pairs = {}
    for form, chosen in FORMS.items():
        with chosen():
            found = value_and_gradients(
                lambda n: chunked_linear_cross_entropy(n["hidden"], n["weight"], targets), inputs
            )
            found["sum of each token's loss"] = chunked_token_losses(hidden, weight, targets).sum()
        pairs |= paired(found, right, f" by the {form}")
    return equal(pairs)


@check("entropy and KL divergence equal torch's", look_in="core/cross_entropy.py")
def entropy_and_divergence(subject: Subject) -> Finding:
    """Both in nats; a token of probability zero counts nothing."""
    p, q = subject.normal(4, 30), subject.normal(4, 30)
    p[0, :5] = -torch.inf
    divergence = F.kl_div(
        torch.log_softmax(q, -1), torch.log_softmax(p, -1), reduction="none", log_target=True
    )
    right = torch.distributions.Categorical(logits=p.double().cpu()).entropy().to(p)
    return equal(
        {
            "entropy": (entropy(p), right),
            "KL divergence": (kl_divergence(p, q), divergence.nan_to_num(0.0).sum(-1)),
        }
    )


CHECKS: tuple[Check, ...] = (
    softmax_equals_torch,
    log_softmax_equals_torch,
    activations_equal_torch,
    cross_entropy_equals_torch,
    ignored_targets,
    chunked_loss,
    entropy_and_divergence,
)
