"""A formula that was changed on purpose is held to itself: its gradient is that of its value, or it is broken."""

import pytest
import torch

from bittygpt.checks.runner import THEMES, make
from bittygpt.checks.subject import Subject
from bittygpt.core import Embedding, TransformerLM, activations, choices, cross_entropy, feed_forward, rmsnorm
from bittygpt.core.optimizer import Optimizer, zeros_for
from bittygpt.engine import formulas

CHECKS = {check.name: check for checks in THEMES.values() for check in checks}
QUICK = [check for theme, checks in THEMES.items() if theme != "compiler" for check in checks]


def states(subject, checks=QUICK):
    """The outcome of each check."""
    return {check.name: make(check, subject) for check in checks}


def names(outcomes, state):
    return {name for name, outcome in outcomes.items() if outcome.state == state}


class OfAnotherSign(torch.autograd.Function):
    """x · sigmoid(x) with a backward pass by hand."""

    factor = -1.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @classmethod
    def slope(cls, x):
        s = torch.sigmoid(x)
        return cls.factor * s * (1 + x * (1 - s))

    @staticmethod
    def backward(ctx, grad):
        return grad * OfAnotherSign.slope(*ctx.saved_tensors)


class OfAnotherFactor(OfAnotherSign):
    @staticmethod
    def backward(ctx, grad):
        return grad * -1.01 * OfAnotherSign.slope(*ctx.saved_tensors)


class Right(OfAnotherSign):
    @staticmethod
    def backward(ctx, grad):
        return grad * -OfAnotherSign.slope(*ctx.saved_tensors)


WRONG = {
    "another sign": lambda x: OfAnotherSign.apply(x),
    "another factor": lambda x: OfAnotherFactor.apply(x),
    "a detached part": lambda x: x * torch.sigmoid(x.detach()),
    "all detached": lambda x: x.detach() * torch.sigmoid(x.detach()),
}


def replace(monkeypatch, function, other):
    """Other code under the name of a formula, whoever holds that; `other` is called."""
    monkeypatch.setitem(function.__globals__, "the_other", other)
    monkeypatch.setattr(function, "__code__", eval("lambda x: the_other(x)").__code__)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_gradient_that_is_not_that_of_the_value_is_broken_and_the_smallest_part_is_named(
    subject, monkeypatch, wrong
):
    replace(monkeypatch, activations.silu, WRONG[wrong])
    for check in ("activations-equal-torch", "gradients-are-of-values"):
        outcome = make(CHECKS[check], subject())
        assert (outcome.state, outcome.look_in) == ("failed", "bittygpt/core/activations.py"), outcome
    assert "in SwiGLU layers.0.ffn" in outcome.found
    assert "its gradient is not that of its value" in make(CHECKS["activations-equal-torch"], subject()).found


def test_a_right_backward_pass_by_hand_is_right(subject, monkeypatch):
    replace(monkeypatch, activations.silu, Right.apply)
    for check in ("activations-equal-torch", "gradients-are-of-values"):
        assert make(CHECKS[check], subject()).state == "passed"


def test_a_part_in_float32_is_no_mistake(subject, monkeypatch):
    """The way in which most people write it: it has no digits for a narrow step."""
    replace(monkeypatch, activations.silu, lambda x: (1.5 * x.float() * torch.sigmoid(x.float())).to(x.dtype))
    assert make(CHECKS["gradients-are-of-values"], subject()).state == "passed"
    assert make(CHECKS["activations-equal-torch"], subject()).state == "changed"
    monkeypatch.setattr(activations, "upcast", lambda x: x.float())
    assert make(CHECKS["gradients-are-of-values"], subject()).state == "passed"


def test_a_z_loss_is_a_change_and_no_mistake(subject, monkeypatch):
    right = cross_entropy.__code__
    plain = type(cross_entropy)(right, cross_entropy.__globals__, argdefs=cross_entropy.__defaults__)

    def with_z_loss(logits, targets, ignore_index=-100, reduction="mean"):
        squares = torch.logsumexp(logits.float(), -1).square()
        kept = torch.where(targets != ignore_index, squares, 0.0)
        total = kept if reduction == "none" else kept.sum()
        count = (targets != ignore_index).sum().clamp(min=1) if reduction == "mean" else 1
        return plain(logits, targets, ignore_index, reduction) + 1e-2 * total / count

    monkeypatch.setitem(cross_entropy.__globals__, "with_z_loss", with_z_loss)
    code = eval(
        "lambda logits, targets, ignore_index, reduction: with_z_loss(logits, targets, ignore_index, reduction)"
    )
    monkeypatch.setattr(cross_entropy, "__code__", code.__code__)
    outcomes = states(subject())
    assert not names(outcomes, "failed"), outcomes
    assert {"cross-entropy-equals-torch", "ignored-targets", "loss-equals-torch"} <= names(
        outcomes, "changed"
    )
    found = outcomes["loss-equals-torch"].found
    assert found.startswith("you changed core/cross_entropy.py: cross_entropy; differs by ")
    assert "its gradient is that of its value" in found


def changed_config(subject, section, **changes):
    """A subject whose config holds what its schema does not know yet."""
    config = subject().config
    return Subject(config.model_copy(update={section: getattr(config, section).model_copy(update=changes)}))


def test_a_new_gate_needs_no_other_table(subject, monkeypatch):
    monkeypatch.setitem(feed_forward.GATED, "mishglu", lambda x: x * torch.tanh(torch.log1p(x.exp())))
    outcomes = states(changed_config(subject, "model", activation="mishglu"))
    assert not names(outcomes, "failed") | names(outcomes, "changed"), outcomes
    monkeypatch.setitem(feed_forward.GATED, "mishglu", WRONG["another sign"])
    outcomes = states(changed_config(subject, "model", activation="mishglu"))
    assert {"activations-equal-torch", "gradients-are-of-values"} <= names(outcomes, "failed")
    assert outcomes["activations-equal-torch"].found.endswith(", mishglu")


class Lion(Optimizer):
    """The sign of a running mean (Chen et al. 2023)."""

    def __init__(self, params, lr=1e-3, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def update(self, w, g, state, group):
        mean = state.setdefault("momentum_buffer", zeros_for(w))
        w.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * (0.9 * mean + 0.1 * g).sign())
        mean.lerp_(g, 0.01)


def test_a_new_optimizer_is_tried_on_one_batch(subject, monkeypatch):
    monkeypatch.setitem(choices.OPTIMIZERS, "lion", Lion)
    outcomes = states(changed_config(subject, "optim", name="lion", lr=3e-3))
    assert not names(outcomes, "failed") | names(outcomes, "changed"), outcomes
    monkeypatch.setattr(Lion, "update", lambda *_: None)
    outcome = make(CHECKS["one-batch-is-learned"], changed_config(subject, "optim", name="lion"))
    assert outcome.state == "failed", outcome


def test_a_learned_table_of_positions_is_a_change_and_generation_goes_by_it(subject, monkeypatch):
    begin = TransformerLM.__init__

    def with_positions(self, config):
        begin(self, config)
        self.positions = Embedding(config.context_length, config.d_model)

    def hidden_states(self, ids_BT):
        x_BTD = self.token_embeddings(ids_BT) + self.positions(torch.arange(ids_BT.shape[1]))
        for block in self.layers:
            x_BTD = block(x_BTD)
        return self.ln_final(x_BTD)

    monkeypatch.setattr(TransformerLM, "__init__", with_positions)
    monkeypatch.setattr(TransformerLM, "hidden_states", hidden_states)
    outcomes = states(subject())
    assert not names(outcomes, "failed"), outcomes
    assert outcomes["cache-equals-full-pass"].state == "passed"
    assert outcomes["model-equals-torch"].state == "changed"
    assert "its gradient is that of its value" in outcomes["model-equals-torch"].found


def test_where_an_oracle_does_not_apply_any_more_the_gradient_still_counts(subject, monkeypatch):
    """The check cannot even compare: the shape is another one."""
    right = rmsnorm.RMSNorm.forward
    monkeypatch.setattr(rmsnorm.RMSNorm, "forward", lambda self, x: right(self, x)[..., 1:])
    outcome = make(CHECKS["rmsnorm-equals-torch"], subject())
    assert outcome.state == "changed"
    assert "ValueError: the shape is (7, 31) and should be (7, 32)" in outcome.found
    assert "its gradient is that of its value" in outcome.found
    monkeypatch.setattr(rmsnorm.RMSNorm, "forward", lambda self, x: right(self, x.detach())[..., 1:])
    assert make(CHECKS["rmsnorm-equals-torch"], subject()).state == "failed"


def test_an_error_of_the_changed_formula_itself_is_a_mistake(subject, monkeypatch):
    monkeypatch.setattr(rmsnorm, "rms_norm", rmsnorm.upcast)
    outcome = make(CHECKS["rmsnorm-equals-torch"], subject())
    assert outcome.state == "failed"
    assert outcome.look_in.startswith("bittygpt/core/rmsnorm.py:")


def test_what_was_changed_in_the_source_is_found_by_what_was_executed(monkeypatch):
    def run():
        return rmsnorm.RMSNorm(4)(torch.ones(2, 4))

    assert formulas.changed_while_running(run) == []
    source = {
        "rmsnorm.py:rms_norm": "a",
        "rmsnorm.py:RMSNorm": "b",
        "activations.py:silu": "c",
        "sgd.py:SGD": "d",
    }
    source |= {"feed_forward.py:GATED['mishglu']": "e", "activations.py:gone": ""}
    monkeypatch.setattr(formulas, "changed", lambda: source)
    assert formulas.changed_while_running(run) == ["rmsnorm.py:RMSNorm", "rmsnorm.py:rms_norm"]
    assert formulas.changed_while_running(lambda: activations.silu(torch.ones(1))) == ["activations.py:silu"]
    monkeypatch.setattr(rmsnorm, "rms_norm", lambda x, *_: x)
    assert formulas.changed_while_running(run) == ["rmsnorm.py:RMSNorm", "rmsnorm.py:rms_norm"]
