"""Second derivatives, torch.func, modes, odd tensors, compilers, copies: what the formula does, the fast paths do."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.utils.checkpoint import checkpoint

from bittygpt.core import (
    ModelConfig,
    RMSNorm,
    RotaryEmbedding,
    TransformerBlock,
    TransformerLM,
    cross_entropy,
)
from bittygpt.engine.accelerate import accelerate, prepare_for_compile
from tests.engine.pairs import (
    LENGTH,
    VOCABULARY,
    a_batch,
    a_model,
    assert_same,
    fast_copy,
    of_model,
    value_and_gradients,
    with_gains,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # PyTorch's own, compiling


def a_block(**changes):
    settings = {"num_kv_heads": 1, "d_ff": 12, "qk_norm": True} | changes
    config = ModelConfig(5, 8, 8, 1, 2, **settings)
    return with_gains(TransformerBlock(config, RotaryEmbedding(4, 8)))


def both(module):
    return fast_copy(module), module


@pytest.mark.usefixtures("with_and_without_c")
@pytest.mark.parametrize("changes", [{}, {"activation": "geglu"}, {"qk_norm": False, "num_kv_heads": 2}])
def test_the_hessian_of_a_block(changes):
    x = torch.randn(1, 2, 8)
    hessians = [
        torch.autograd.functional.hessian(lambda x, block=block: block(x).square().sum(), x)
        for block in both(a_block(**changes))
    ]
    assert hessians[1].abs().max() > 0.1
    assert_same(*hessians)


@pytest.mark.usefixtures("with_and_without_c")
@pytest.mark.parametrize(
    "module", [RMSNorm(8), a_block(), a_block(activation="reglu")], ids=["norm", "block", "reglu"]
)
def test_a_gradient_penalty(module):
    with_gains(module)

    def penalty(module):
        x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
        parameters = [x, *module.parameters()]
        first = torch.autograd.grad(module(x).square().sum(), parameters, create_graph=True)
        loss = sum(each.square().sum() for each in first)
        second = torch.autograd.grad(loss, parameters, create_graph=True)
        third = torch.autograd.grad(sum(each.square().sum() for each in second), x)
        return [loss, *second, *third]

    fast, formula = (penalty(each) for each in both(module))
    assert formula[1].abs().max() > 0.1
    for mine, expected in zip(fast, formula, strict=True):
        assert (mine - expected).norm() <= 1e-3 * expected.norm()


def test_second_derivatives_of_the_models_loss():
    def penalty(model):
        parameters = list(model.parameters())
        first = torch.autograd.grad(model(*a_batch()), parameters, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), parameters)

    fast, formula = (penalty(each) for each in both(a_model(num_layers=1)))
    assert all(each.abs().max() > 0 for each in formula)
    for mine, expected in zip(fast, formula, strict=True):
        assert (mine - expected).norm() <= 1e-3 * expected.norm()


@pytest.mark.usefixtures("with_and_without_c")
def test_numbers_agree_with_differences_in_float64():
    block = accelerate(a_block().double())
    x = torch.randn(1, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)
    assert torch.autograd.gradgradcheck(block, x)


def loss_of(model, parameters, ids, targets):
    return functional_call(model, parameters, (ids, targets))


def test_torch_func():
    ids, targets = a_batch()
    results = []
    for model in both(a_model()):
        parameters = {name: p.detach() for name, p in model.named_parameters()}

        def loss(parameters, ids, targets, model=model):
            return loss_of(model, parameters, ids, targets)

        gradients = grad(loss)(parameters, ids, targets)
        each = vmap(grad(loss), (None, 0, 0))(parameters, ids[:, None], targets[:, None])
        tangents = {name: torch.ones_like(p) for name, p in parameters.items()}
        value, along = jvp(lambda ps: loss(ps, ids, targets), (parameters,), (tangents,))
        plain = functional_call(model, parameters, (ids, targets))
        results.append([*gradients.values(), *each.values(), value, along, plain])
    assert_same(*results, rtol=1e-3, atol=1e-4)
    assert_same([results[0][-1]], [a_model_loss := results[0][-3]])
    assert a_model_loss > 0


def test_jacobians_of_a_block():
    x = torch.randn(1, 2, 8)
    fast, formula = both(a_block())
    expected = torch.autograd.functional.jacobian(formula, x)
    found = [jacrev(fast)(x), torch.autograd.functional.jacobian(fast, x, vectorize=True)]
    assert_same(found, [expected] * 2)


@pytest.mark.parametrize(
    "module", [RMSNorm(8), a_block(), a_block(activation="geglu")], ids=["norm", "block", "geglu"]
)
def test_forward_mode_and_gradients_in_a_batch(module):
    x, direction = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    directions = torch.randn(5, 2, 3, 8)
    results = []
    for each in both(module):
        with forward_ad.dual_level():
            along = forward_ad.unpack_dual(each(forward_ad.make_dual(x, direction))).tangent
        leaf = x.clone().requires_grad_()
        y = each(leaf)
        batched = torch.autograd.grad(y, [leaf, *each.parameters()], directions, is_grads_batched=True)
        results.append([along, *batched])
    assert_same(*results)


def test_a_model_built_on_meta_and_filled():
    source = a_model()
    with torch.device("meta"):
        model = a_model()
    accelerate(model).load_state_dict(source.state_dict(), assign=True)
    for _ in range(2):
        assert_same(of_model(model, *a_batch()), of_model(source, *a_batch()))


@pytest.mark.parametrize("on_meta", [False, True])
def test_a_fake_pass_leaves_nothing_behind(on_meta):
    source = a_model()
    fast = fast_copy(source)
    if on_meta:
        with torch.device("meta"):
            fast = accelerate(a_model())
        fast.load_state_dict(source.state_dict(), assign=True)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        ids, targets = (mode.from_tensor(x) for x in a_batch())
        assert fast(ids, targets).shape == ()
    assert_same(of_model(fast, *a_batch()), of_model(source, *a_batch()))


TARGETS = {
    "meta": lambda targets: targets.to("meta"),
    "transposed": lambda targets: targets.T,
    "too few": lambda targets: targets[:, :5],
    "too few rows": lambda targets: targets[:1],
    "flat": lambda targets: targets.flatten(),
    "int32": lambda targets: targets.int(),
    "one more dimension": lambda targets: targets[None],
}


@pytest.mark.parametrize("what", TARGETS)
@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_targets_that_do_not_go_with_the_logits(what, reduction):
    ids, targets = a_batch()
    wrong = TARGETS[what](targets)
    errors = []
    for model in both(a_model()):
        for mode in (torch.enable_grad(), torch.no_grad()):
            with mode, pytest.raises(ValueError, match="targets") as error:
                model(ids, wrong, reduction)
            errors.append(str(error.value))
    with pytest.raises(ValueError, match="targets") as error:
        cross_entropy(torch.zeros(*ids.shape, VOCABULARY), wrong, reduction=reduction)
    assert {*errors} == {str(error.value)}
    assert str(tuple(wrong.shape)) in errors[0]
    if what not in ("meta", "int32"):
        assert str(tuple(ids.shape)) in errors[0]


def test_fake_targets_are_an_error_and_no_crash():
    ids, targets = a_batch()
    with FakeTensorMode():
        fake = torch.zeros(targets.shape, dtype=torch.int64)
    for model in both(a_model()):
        with pytest.raises(Exception, match="FakeTensor"):
            model(ids, fake)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions_are_those_of_cross_entropy(reduction, tied):
    ids, targets = a_batch()
    formula = a_model(tie_embeddings=tied)
    fast = fast_copy(formula)

    def by_hand(ids, targets):
        return cross_entropy(formula(ids), targets, reduction=reduction)

    parameters = list(formula.parameters())
    expected = value_and_gradients(lambda *_: by_hand(ids, targets), parameters)
    for model in (fast, formula):
        assert_same(of_model(model, ids, targets, reduction), expected)
        with torch.no_grad():
            assert_same([model(ids, targets, reduction)], expected[:1])


def test_another_reduction_is_refused():
    for model in both(a_model()):
        with pytest.raises(ValueError, match="'Sum' is none of mean, sum, none"):
            model(*a_batch(), "Sum")


def negated(x):
    return torch._neg_view(-x)


def conjugated(x):
    """The numbers of x, as what a conjugate's imaginary parts are: lazily negated."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


@pytest.mark.usefixtures("with_and_without_c")
@pytest.mark.parametrize("view", [negated, conjugated])
@pytest.mark.parametrize("module", [RMSNorm(8), a_block()], ids=["norm", "block"])
def test_lazily_negated_numbers(module, view):
    x = torch.randn(2, 3, 8, requires_grad=True)
    for fast in (False, True):
        other = fast_copy(module) if fast else module
        assert_same(value_and_gradients(lambda x, m=other: m(view(x)), [x]), value_and_gradients(module, [x]))
    y = module(x)
    direction = torch.randn_like(y)
    expected = torch.autograd.grad(y, x, direction, retain_graph=True)
    assert_same(torch.autograd.grad(fast_copy(module)(x), x, view(direction)), expected)
    with torch.no_grad():
        fast = fast_copy(module)
        for p, q in zip(fast.parameters(), module.parameters(), strict=True):
            p.data = view(q.data)
    assert_same([fast(x)], [y])


def test_copies_and_checkpoints_of_an_accelerated_model(used):
    source = a_model()
    fast = fast_copy(source)
    expected = of_model(source, *a_batch())
    of_model(fast, *a_batch())
    file = io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    restored = accelerate(a_model())
    restored.load_state_dict(fast.state_dict())
    back = a_model()
    back.load_state_dict(fast.state_dict())
    copies = [
        copy.deepcopy(fast),
        torch.load(file, weights_only=False),
        pickle.loads(pickle.dumps(fast)),
        restored,
    ]
    for each in copies:
        used.clear()
        assert_same(of_model(each, *a_batch()), expected)
        assert used["NormAndAttention"] == 2
    assert_same(of_model(back, *a_batch()), expected)
    assert fast.state_dict().keys() == source.state_dict().keys()
    assert isinstance(fast, TransformerLM)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("changes", [{}, {"activation": "geglu"}])
def test_activation_checkpointing(reentrant, changes):
    x = torch.randn(2, 3, 8, requires_grad=True)
    block = a_block(**changes)
    fast = fast_copy(block)
    checkpoint(fast, x, use_reentrant=reentrant).square().sum().backward()
    found = [x.grad.clone(), *(p.grad for p in fast.parameters())]
    expected = torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()])
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("settled", "changes"),
    [(True, {}), (True, {"qk_norm": False, "activation": "geglu", "tie_embeddings": True}), (False, {})],
)
def test_a_compiled_model(settled, changes):
    torch.compiler.reset()
    source = a_model(num_layers=1, **changes)
    fast = fast_copy(source)
    if settled:
        prepare_for_compile(fast)
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    expected = of_model(source, *a_batch())
    found = value_and_gradients(lambda *_: compiled(*a_batch()), list(fast.parameters()))
    assert_same(found, expected)
    with torch.no_grad():
        each = compiled(*a_batch(), "none")
        assert_same([each], [source(*a_batch(), "none")])
        assert_same([compiled(a_batch(5)[0])], [source(a_batch(5)[0])])


def test_a_compiled_model_whose_table_lies_elsewhere():
    """As where a model is settled, and then moved to its device."""
    torch.compiler.reset()
    source = a_model(num_layers=1, qk_norm=False)
    with torch.device("meta"):
        fast = accelerate(a_model(num_layers=1, qk_norm=False))
    fast.load_state_dict(source.state_dict(), assign=True)
    prepare_for_compile(fast)
    fast.layers[0].attn.for_compiler = (True, True, True)
    fast.layers[0].attn.rope.cos_sin = fast.layers[0].attn.rope.cos_sin.to("meta")
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        found = value_and_gradients(lambda *_: compiled(*a_batch()), list(fast.parameters()))
        assert_same(found, of_model(source, *a_batch()))
    assert fast.layers[0].attn.rope.cos_sin.device.type == "cpu"


@pytest.mark.parametrize("settled", [False, True])
def test_an_exported_model(settled):
    source = a_model(num_layers=1).eval()
    fast = fast_copy(source)
    if settled:
        prepare_for_compile(fast)
    length = torch.export.Dim("length", min=2, max=LENGTH)
    program = torch.export.export(fast, (a_batch(5)[0],), dynamic_shapes=({1: length},))
    for count in (5, 7, LENGTH):
        ids = a_batch(count)[0]
        assert_same([program.module()(ids)], [source(ids)])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_traced_model_has_no_constants_of_its_example():
    source = a_model(num_layers=1).eval()
    fast = fast_copy(source)
    traced = torch.jit.trace(fast, (a_batch(5)[0],), check_trace=False)
    for count in (5, 7, LENGTH):
        ids = a_batch(count)[0]
        assert_same([traced(ids)], [source(ids)])


def tensors_held(module):
    return sum(isinstance(value, torch.Tensor) for part in module.modules() for value in vars(part).values())


def test_nothing_is_kept_for_each_length():
    config = ModelConfig(VOCABULARY, 128, 16, 1, 2, d_ff=16)
    for model in both(TransformerLM(config)):
        before = tensors_held(model), {name: len(vars(part)) for name, part in model.named_modules()}
        for length in range(1, 129):
            with torch.no_grad():
                model(torch.zeros(1, length, dtype=torch.int64))
        assert (
            tensors_held(model),
            {name: len(vars(part)) for name, part in model.named_modules()},
        ) == before
        (rope,) = {id(layer.attn.rope): layer.attn.rope for layer in model.layers}.values()
        assert rope.cos_sin.shape == (128, 4, 2)


def test_weights_that_are_changed_between_two_passes_are_seen():
    source = a_model()
    fast = fast_copy(source)
    of_model(fast, *a_batch())
    with torch.no_grad():
        for model in (source, fast):
            for p in model.parameters():
                p.mul_(0.5)
            model.layers[0].attn.q_proj.weight = nn.Parameter(
                torch.ones_like(model.layers[0].attn.q_proj.weight)
            )
    assert_same(of_model(fast, *a_batch()), of_model(source, *a_batch()))


def test_a_weight_changed_before_its_backward_pass_is_an_error():
    model = fast_copy(a_model())
    loss = model(*a_batch())
    with torch.no_grad():
        model.layers[0].attn.q_proj.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_was_settled_for_a_compiler_is_for_it_alone(used):
    model = fast_copy(a_model())
    prepare_for_compile(model)
    ids, targets = a_batch()
    weights = dict(model.named_parameters())
    torch.func.grad(lambda w: torch.func.functional_call(model, w, (ids, targets)))(weights)
    assert not used
