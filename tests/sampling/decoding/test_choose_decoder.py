"""Which decoder a model takes, and the one that goes by the model itself."""

import dataclasses
import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from bittygpt.core import TransformerLM, rms_norm
from bittygpt.engine.accelerate import accelerate
from bittygpt.sampling.decoding.choose_decoder import decoder_for
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.decoding.formula_decoder import FormulaDecoder
from bittygpt.sampling.generate import SamplingOptions, generate
from tests.sampling.conftest import PLAIN

END = 0
GREEDY = SamplingOptions(9, temperature=0, ignore_eos=True)


@pytest.fixture
def model():
    return accelerate(TransformerLM(PLAIN)).eval()


def kind_and_reason(model):
    said = []
    return type(decoder_for(model, 1, said.append)), "".join(said)


def tokens(model, options, prompt=(3, 1, 4), num_samples=1):
    steps = list(generate(model, prompt, options, END, num_samples))
    return [[step[i] and step[i].token_id for step in steps] for i in range(num_samples)]


def full_passes(model, ids, count):
    """Greedy text without an end by the model alone, in a context that is never full."""
    ids = list(ids)
    for _ in range(count):
        logits_V = model(torch.tensor([ids]))[0, -1]
        logits_V[END] = -math.inf
        ids.append(int(logits_V.argmax()))
    return ids[-count:]


def test_a_model_as_in_core_takes_the_cache(variant):
    for model in (TransformerLM(variant), accelerate(TransformerLM(variant)).bfloat16()):
        assert kind_and_reason(model) == (Decoder, "")


@pytest.mark.parametrize(
    ("options", "prompt", "num_samples"),
    [
        (SamplingOptions(40, temperature=0, ignore_eos=True), (3, 1, 4), 1),  # a context of 16 that slides
        (
            SamplingOptions(30, temperature=1.5, top_p=0.9, seed=4),
            (3, 1, 4),
            5,
        ),  # samples that end, one by one
        (SamplingOptions(12, temperature=0.8, repetition_penalty=1.4, seed=2), tuple(range(20)), 3),
        (SamplingOptions(6, seed=1), (), 2),
    ],
)
def test_both_decoders_give_the_same_texts(model, monkeypatch, options, prompt, num_samples):
    expected = tokens(model, options, prompt, num_samples)
    monkeypatch.setattr(
        "bittygpt.sampling.generate.decoder_for", lambda model, rows, _: FormulaDecoder(model, rows)
    )
    assert tokens(model, options, prompt, num_samples) == expected


class Replaced(nn.Module):
    """Neither a Linear nor anything like it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 0.5 * self.inner(x) + x.mean(dim=-1, keepdim=True)


def with_bias(model):
    model.layers[1].attn.q_proj.register_parameter("bias", nn.Parameter(torch.ones(32)))


def set_on(path, name, value):
    return lambda model: setattr(model.get_submodule(path), name, value)


def cumulative(x):
    return x.cumsum(dim=-2)


CHANGES = {
    "layers.0.attn has a hook": lambda m: m.layers[0].attn.register_forward_hook(lambda _m, _a, y: 2 * y),
    "the model has a hook": lambda m: m.register_forward_hook(lambda _m, _a, y: y.roll(1, -1)),
    "layers.1.ffn.w2 has a hook, or is not": lambda m: setattr(
        m.layers[1].ffn, "w2", Replaced(m.layers[1].ffn.w2)
    ),
    "ln_final has a hook, or is not": lambda m: setattr(m, "ln_final", nn.LayerNorm(32)),
    "layers.1.attn.q_proj has a hook, or is not": with_bias,
    "the model has a hook, or": lambda m: setattr(
        m, "hidden_states", lambda ids: 2 * m.token_embeddings(ids)
    ),
    "layers.1.ln2 has a hook, or is not": set_on("layers.1.ln2", "eps", 0.5),
    "mixes positions": set_on("layers.0.ffn", "activation", cumulative),
    "of one dtype": lambda m: m.double(),
}


@torch.no_grad()
@pytest.mark.parametrize("reason", CHANGES)
def test_a_model_that_is_not_as_in_core_computes_itself(model, reason):
    CHANGES[reason](model)
    kind, said = kind_and_reason(model)
    assert kind is FormulaDecoder
    assert reason in said
    assert tokens(model, GREEDY, (5, 6)) == [full_passes(model, (5, 6), 9)]


@torch.no_grad()
def test_a_formula_that_was_replaced_in_the_program_computes(model, monkeypatch):
    monkeypatch.setattr("bittygpt.core.rmsnorm.rms_norm", lambda x, gain, eps: rms_norm(x, gain, eps) ** 3)
    assert kind_and_reason(model)[0] is FormulaDecoder
    assert tokens(model, GREEDY, (5, 6)) == [full_passes(model, (5, 6), 9)]


@torch.no_grad()
def test_an_activation_and_a_table_may_be_anyones(model):
    for block in model.layers:
        block.ffn.activation = torch.tanh
    model.layers[0].attn.rope.cos_sin = model.layers[0].attn.rope.cos_sin.flip(-1).contiguous()
    assert kind_and_reason(model) == (Decoder, "")
    assert tokens(model, GREEDY, (5, 6)) == [full_passes(model, (5, 6), 9)]


def test_other_layers_than_the_config_says_are_not_taken(model):
    model.layers = model.layers[:1]
    assert kind_and_reason(model)[0] is FormulaDecoder
    more = TransformerLM(dataclasses.replace(PLAIN, num_layers=3))
    more.config = PLAIN
    assert kind_and_reason(more)[0] is FormulaDecoder


def test_to_choose_loads_no_compiler():
    """Which takes more than a second: to compute RoPE's table on the meta device would."""
    code = (
        "import sys, torch\n"
        "from bittygpt.core import ModelConfig, TransformerLM\n"
        "from bittygpt.sampling.decoding.choose_decoder import decoder_for\n"
        "decoder_for(TransformerLM(ModelConfig(50, 24, 32, 2, 4)), 1, print)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
