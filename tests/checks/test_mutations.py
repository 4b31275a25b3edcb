"""`train --check` catches every planted mistake, by the right line; and finds nothing where nothing is wrong."""

import pytest
import torch

from bittygpt.checks.runner import THEMES, make
from bittygpt.core import AdamW, MultiHeadAttention
from bittygpt.engine.kernels import c_compiler
from bittygpt.engine.layers.feed_forward import SiLUGate
from bittygpt.sampling.decoding.kv_cache import KeyValueCache
from bittygpt.tokenizer.tokenizer import Tokenizer
from tests.checks.mutations import C_MUTATIONS, MUTATIONS

CHECKS = {check.name: check for checks in THEMES.values() for check in checks}
NOT_MADE_WITHOUT_TOKENS = {"own-tokens-fit"}


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_is_found_where_nothing_is_wrong(subject, name):
    outcome = make(CHECKS[name], subject())
    assert outcome.state == ("skipped" if name in NOT_MADE_WITHOUT_TOKENS else "passed"), outcome
    if outcome.state == "passed":
        assert outcome.value <= outcome.limit


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mistake_in_the_source_is_named_by_the_right_line(subject, monkeypatch, mutation):
    monkeypatch.setattr(mutation.find(), "__code__", mutation.code())
    outcome = make(CHECKS[mutation.check], subject(*mutation.overrides))
    assert outcome.state == mutation.state, outcome
    assert outcome.value is not None, f"it was an error that was found: {outcome.found}"
    assert outcome.found.startswith("you changed core/") or outcome.state == "failed"
    if not mutation.elsewhere:
        assert outcome.look_in.split(":")[0] == mutation.file
    torch.compiler.reset()


@pytest.mark.skipif(c_compiler.library(torch.float32) is None, reason="there is no C compiler")
@pytest.mark.parametrize(("check", "old", "new"), C_MUTATIONS)
def test_a_mistake_in_cpu_c_is_caught(subject, monkeypatch, tmp_path, check, old, new):
    source = c_compiler.SOURCE.read_text()
    assert source.count(old) == 1, f"cpu.c holds {old!r} {source.count(old)} times: plant this mistake anew"
    (tmp_path / "wrong.c").write_text(source.replace(old, new))
    monkeypatch.setenv("BITTYGPT_CACHE", str(tmp_path))
    monkeypatch.setattr(c_compiler, "SOURCE", tmp_path / "wrong.c")
    monkeypatch.setattr(c_compiler, "_try", lambda *_: None)
    monkeypatch.setattr(c_compiler, "FLAGS", ["-O1", *c_compiler.FLAGS[2:]])  # half the time
    c_compiler._library.cache_clear()
    try:
        assert make(CHECKS[check], subject()).state == "failed"
    finally:
        c_compiler._library.cache_clear()


def without_norms_of_queries_and_keys(monkeypatch):
    right = MultiHeadAttention.__init__

    def wrong(self, *arguments, **options):
        right(self, *arguments, **options)
        self.q_norm.forward = self.k_norm.forward = lambda x: x

    monkeypatch.setattr(MultiHeadAttention, "__init__", wrong)


def with_keys_rotated_the_other_way(monkeypatch):
    right = MultiHeadAttention.__init__

    def swapped(x):
        return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)

    def wrong(self, *arguments, **options):
        right(self, *arguments, **options)
        rope, keys = self.rope, self.num_kv_heads

        class Rotated(torch.nn.Module):
            def forward(self, x, positions=None):
                return swapped(rope(swapped(x), positions)) if x.shape[1] == keys else rope(x, positions)

        self.rope = Rotated()

    monkeypatch.setattr(MultiHeadAttention, "__init__", wrong)


def with_a_wrong_slope_of_the_gate(monkeypatch):
    right = SiLUGate.backward
    monkeypatch.setattr(SiLUGate, "backward", staticmethod(lambda ctx, *grads: 0.5 * right(ctx, *grads)))


def with_decay_in_the_gradient(monkeypatch):
    monkeypatch.setattr(AdamW, "decoupled", False)


def with_new_tokens_one_position_late(monkeypatch):
    right = KeyValueCache.begin_step
    monkeypatch.setattr(KeyValueCache, "begin_step", lambda self: (right(self) + 1).clamp(max=31))


def with_values_one_place_off_in_the_cache(monkeypatch):
    right = KeyValueCache.append

    def wrong(self, layer, kv):
        keys, values, mask = right(self, layer, kv)
        return keys, values.roll(1, dims=2), mask

    monkeypatch.setattr(KeyValueCache, "append", wrong)


def with_text_stripped(monkeypatch):
    right = Tokenizer.encode
    monkeypatch.setattr(Tokenizer, "encode", lambda self, text: right(self, text.strip()))


@pytest.mark.parametrize(
    ("plant", "check", "state"),
    [
        (without_norms_of_queries_and_keys, "attention-layer", "changed"),
        (with_keys_rotated_the_other_way, "attention-layer", "changed"),
        (with_a_wrong_slope_of_the_gate, "fast-paths-equal-formulas", "failed"),
        (with_a_wrong_slope_of_the_gate, "feed-forward-layer", "failed"),
        (with_decay_in_the_gradient, "adamw-equals-torch", "failed"),
        (with_new_tokens_one_position_late, "cache-equals-full-pass", "failed"),
        (with_values_one_place_off_in_the_cache, "cache-equals-full-pass", "failed"),
        (with_text_stripped, "text-comes-back", "failed"),
    ],
)
def test_another_function_in_the_place_of_one_is_noticed(subject, monkeypatch, plant, check, state):
    plant(monkeypatch)
    assert make(CHECKS[check], subject()).state == state


def test_every_check_has_been_seen_to_notice():
    planted = {mutation.check for mutation in MUTATIONS} | {"text-comes-back"}
    assert planted | NOT_MADE_WITHOUT_TOKENS == set(CHECKS)
