"""Whatever is done to a model's parts, the accelerated model does what the formula does."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from bittygpt.core import RMSNorm, RotaryEmbedding, SwiGLU, rmsnorm, transformer
from bittygpt.core import attention as core_attention
from bittygpt.core import feed_forward as core_feed_forward
from bittygpt.engine.accelerate import accelerate
from tests.engine.pairs import a_batch, a_model, assert_same, fast_copy, of_model

FIRST = "layers.0."
PARTS = ["", "token_embeddings", "layers.0", "lm_head", "ln_final"]
PARTS += [FIRST + name for name in ("attn", "ffn", "ln1", "ln2", "attn.rope", "attn.q_norm", "attn.k_norm")]
PARTS += [FIRST + name for name in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.output_proj")]
PARTS += [FIRST + name for name in ("ffn.w1", "ffn.w2", "ffn.w3")]
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # ids have no gradient
ALL_FAST = {"NormAndAttention": 2, "NormAndSwiGLU": 2, "RMSNormFunction": 1}
ALL_FAST |= {"LinearCrossEntropy": 1}


def part(model, name):
    return model.get_submodule(name)


def replace(model, name, new):
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, new)


def assert_alike(change, model=None):
    """A change made to a model and to its accelerated copy leaves the two alike; it may give back a tally."""
    formula = a_model() if model is None else model
    fast = fast_copy(formula)
    torch.manual_seed(4)
    expected_tally = change(formula)
    torch.manual_seed(4)
    tally = change(fast)
    batch = a_batch()
    assert_same(of_model(fast, *batch), of_model(formula, *batch))
    assert tally == expected_tally
    if expected_tally is not None:
        assert sum(expected_tally.values()) > 0


def test_an_untouched_model_takes_all_fast_paths(used):
    model = fast_copy(a_model())
    of_model(model, *a_batch())
    assert used == ALL_FAST


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
@pytest.mark.parametrize("name", PARTS)
def test_hooks_are_called(name, kind):
    def change(model):
        tally = Counter()
        register = getattr(part(model, name), f"register_{kind}_hook")
        register(lambda module, *_: tally.update([type(module).__mro__[-2].__name__]))
        return tally

    assert_alike(change)


@pytest.mark.parametrize("name", PARTS)
def test_what_a_hook_changes_is_changed(name):
    def change(model):
        if name == "":
            return
        part(model, name).register_forward_hook(lambda _, __, y: y * 0.5)

    assert_alike(change)


@pytest.mark.parametrize("kind", ["forward_pre_hook", "forward_hook", "full_backward_hook"])
def test_hooks_on_all_modules_are_called(kind):
    modules = torch.nn.modules.module

    def run(model):
        tally = Counter()
        names = {module: name for name, module in model.named_modules()}
        handle = getattr(modules, f"register_module_{kind}")(lambda m, *_: tally.update([names[m]]))
        try:
            return of_model(model, *a_batch()), tally
        finally:
            handle.remove()

    formula = a_model()
    (found, tally), (expected, expected_tally) = run(fast_copy(formula)), run(formula)
    assert_same(found, expected)
    assert tally == expected_tally
    assert set(tally) >= set(PARTS)


def test_the_siblings_of_what_is_hooked_stay_fast(used):
    model = fast_copy(a_model())
    model.layers[0].ffn.w1.register_forward_hook(lambda *_: None)
    of_model(model, *a_batch())
    assert used == ALL_FAST | {"NormAndSwiGLU": 1, "RMSNormFunction": 2}
    used.clear()
    model.layers[1].attn.q_proj.register_forward_hook(lambda *_: None)
    of_model(model, *a_batch())
    assert used["NormAndAttention"] == used["NormAndSwiGLU"] == 1
    assert used["causal_attention"] == 1  # the layer's own fast path, for its scores
    assert (
        used["RMSNormFunction"] == 1 + 1 + 3
    )  # the last; ln2 of the first layer; ln1, q_norm, k_norm of the second


class LoRA(nn.Module):
    """As fine-tuning libraries wrap a layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        rows, columns = inner.weight.shape
        self.a, self.b = nn.Parameter(torch.randn(2, columns)), nn.Parameter(torch.randn(rows, 2))

    @property
    def weight(self):
        return self.inner.weight

    def forward(self, x):
        return self.inner(x) + x @ self.a.T @ self.b.T


class WithBias(nn.Linear):
    """A projection of another kind with the same name of its weight."""


MATRICES = [name for name in PARTS if "proj" in name or "ffn.w" in name] + ["lm_head"]


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("how", ["LoRA", "bias", "bias in place", "parametrized", "pruned", "own forward"])
def test_a_projection_of_another_kind(name, how):
    def change(model):
        layer = part(model, name)
        rows, columns = layer.weight.shape
        if how == "LoRA":
            replace(model, name, LoRA(layer))
        elif how == "bias":
            replace(model, name, nn.Linear(columns, rows))
        elif how == "bias in place":
            layer.bias = nn.Parameter(torch.randn(rows))
            forward = type(layer).forward
            layer.forward = lambda x: forward(layer, x) + layer.bias
        elif how == "parametrized":
            parametrize.register_parametrization(layer, "weight", nn.Tanh())
        elif how == "pruned":
            prune.l1_unstructured(layer, "weight", amount=0.5)
        else:
            layer.forward = lambda x: x @ layer.weight.T * 2

    assert_alike(change)


@pytest.mark.parametrize("name", ["layers.0.ln1", "layers.0.ln2", "layers.1.ln1", "ln_final"])
@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm, lambda _: nn.Identity()])
def test_a_norm_of_another_kind(name, kind):
    assert_alike(lambda model: replace(model, name, kind(16)))


@pytest.mark.parametrize("name", ["attn.q_norm", "attn.k_norm"])
def test_a_head_norm_of_another_eps_or_kind(name):
    assert_alike(lambda model: setattr(part(model, FIRST + name), "eps", 0.5))
    assert_alike(lambda model: replace(model, FIRST + name, nn.LayerNorm(4)))


def test_dropout_by_a_hook():
    def change(model):
        dropout = nn.Dropout(0.5)
        for layer in model.layers:
            layer.ffn.register_forward_hook(lambda _, __, y: dropout(y))

    formula = a_model()
    fast = fast_copy(formula)
    outcomes = []
    for model in (fast, formula):
        change(model)
        torch.manual_seed(5)
        outcomes.append(of_model(model, *a_batch()))
    assert_same(*outcomes)


class Doubled(SwiGLU):
    """A layer of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


class Attenuated(RMSNorm):
    """A norm of its own."""

    def forward(self, x):
        return 0.5 * super().forward(x)


def test_subclasses_with_a_forward_of_their_own():
    assert_alike(lambda model: replace(model, "layers.0.ffn", accelerate(Doubled(16, 24))))
    assert_alike(lambda model: replace(model, "layers.0.ln2", accelerate(Attenuated(16))))
    assert_alike(lambda model: replace(model, "ln_final", accelerate(Attenuated(16))))


@pytest.mark.parametrize("name", [name for name in PARTS if name])
def test_a_forward_of_the_instance(name):
    def change(model):
        module = part(model, name)
        forward = module.forward
        module.forward = lambda *a, **k: 1.5 * forward(*a, **k)

    assert_alike(change)


@pytest.mark.parametrize("name", ["attend", "logits", "loss"])
def test_another_method_of_the_instance(name):
    def change(model):
        owner = model.layers[0].attn if name == "attend" else model
        method = getattr(owner, name)
        setattr(owner, name, lambda *a: 1.5 * method(*a))

    assert_alike(change)


def twice(function):
    return lambda *a, **k: 2 * function(*a, **k)


PATCHES = [
    (rmsnorm, "rms_norm"),
    (RMSNorm, "forward"),
    (core_attention, "softmax"),
    (core_attention, "scaled_dot_product_attention"),
    (core_attention.MultiHeadAttention, "attend"),
    (core_attention.MultiHeadAttention, "forward"),
    (core_feed_forward.GatedFeedForward, "forward"),
    (core_feed_forward.Linear, "forward"),
    (RotaryEmbedding, "forward"),
    (transformer, "cross_entropy"),
    (transformer.TransformerBlock, "forward"),
    (transformer.TransformerLM, "loss"),
    (transformer.TransformerLM, "logits"),
    (transformer.TransformerLM, "hidden_states"),
    (transformer.Embedding, "forward"),
    (SwiGLU, "forward"),
]


@pytest.mark.parametrize(("owner", "name"), PATCHES, ids=lambda x: getattr(x, "__name__", x))
def test_a_function_that_is_replaced_while_the_program_runs(owner, name, monkeypatch):
    formula = a_model()
    before = of_model(formula, *a_batch())
    fast = fast_copy(formula)
    of_model(fast, *a_batch())
    monkeypatch.setattr(owner, name, twice(getattr(owner, name)))
    expected = of_model(formula, *a_batch())
    assert not torch.allclose(expected[0], before[0])
    assert_same(of_model(fast, *a_batch()), expected)


@pytest.mark.parametrize("name", ["swiglu", "geglu"])
def test_an_activation_that_is_replaced_in_the_table(name, monkeypatch):
    monkeypatch.setitem(core_feed_forward.GATED, name, torch.tanh)
    assert_alike(lambda _: None, a_model(activation=name))


def test_code_that_is_replaced_within_a_function(monkeypatch):
    def rms_norm(x, gain_D, eps):
        return x * gain_D + eps

    formula = a_model()
    fast = fast_copy(formula)
    monkeypatch.setattr(rmsnorm.rms_norm, "__code__", rms_norm.__code__)
    assert_same(of_model(fast, *a_batch()), of_model(formula, *a_batch()))


def test_rope_of_another_kind():
    class Scaled(RotaryEmbedding):
        def angles(self, x, positions=None):
            return 0.5 * super().angles(x, positions)

    assert_alike(lambda model: setattr(model.layers[0].attn, "rope", Scaled(4, 8)))
    assert_alike(lambda model: setattr(model.layers[0].attn, "rope", None))
    assert_alike(lambda model: setattr(model.layers[0].attn, "rope", RotaryEmbedding(4, 100, 10.0)))

    def in_float64(model):
        model.layers[0].attn.rope = RotaryEmbedding(4, 8)
        model.layers[0].attn.rope.cos_sin = model.layers[0].attn.rope.cos_sin.double()

    assert_alike(in_float64)


@pytest.mark.parametrize("rope", [RotaryEmbedding(6, 8), RotaryEmbedding(2, 8), RotaryEmbedding(4, 3)])
def test_rope_that_does_not_suit_is_refused(rope):
    formula = a_model()
    for model in (formula, fast_copy(formula)):
        model.layers[0].attn.rope = copy.deepcopy(rope)
        with pytest.raises(ValueError, match="cannot rotate vectors"):
            model(a_batch()[0])


def test_a_removed_hook_leaves_the_fast_path(used):
    model = fast_copy(a_model())
    handle = model.layers[0].register_forward_hook(lambda *_: None)
    of_model(model, *a_batch())
    handle.remove()
    used.clear()
    of_model(model, *a_batch())
    assert used == ALL_FAST


def learned_angles(model):
    rope = model.layers[0].attn.rope
    rope.cos_sin = nn.Parameter(rope.cos_sin)


def a_module_as_activation(model):
    model.layers[0].ffn.activation = nn.SiLU()


def an_activation_in_place(model):
    model.layers[0].ffn.activation = torch.relu_


def epsilon_for_each_feature(model):
    model.layers[0].ln2.eps = torch.full((16,), 0.1)
    model.ln_final.eps = torch.tensor(0.1)


def a_gain_for_each_head(model):
    model.layers[0].attn.q_norm.weight = nn.Parameter(torch.rand(4, 4))


def weights_that_are_spread_out(model):
    model.layers[0].ffn.w3.weight = nn.Parameter(torch.rand(1, 16))
    model.layers[0].attn.output_proj.weight = nn.Parameter(torch.rand(1, 16))
    model.layers[1].ffn.w2.weight = nn.Parameter(torch.rand(1, 24))


def a_hidden_state_that_lies_otherwise(model):
    model.token_embeddings.register_forward_hook(
        lambda _, __, x: x.transpose(0, 1).contiguous().transpose(0, 1)
    )
    model.layers[0].attn.register_forward_hook(lambda _, __, x: x * 2)


@pytest.mark.parametrize(
    "change",
    [
        learned_angles,
        a_module_as_activation,
        an_activation_in_place,
        epsilon_for_each_feature,
        a_gain_for_each_head,
        weights_that_are_spread_out,
        a_hidden_state_that_lies_otherwise,
    ],
    ids=lambda change: change.__name__,
)
def test_what_the_formula_takes(change):
    assert_alike(change)
