"""A batch of many texts: neighbours that do not matter, rows that are given on, prompts that are read once."""

import dataclasses

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.sampling.batch import Batch, Sample
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.decoding.kv_cache import common_capacity
from bittygpt.sampling.options import SamplingOptions

END = 0
MODEL = ModelConfig(vocab_size=48, context_length=96, d_model=64, num_layers=2, num_heads=4, d_ff=100)
KINDS = {
    "plain": MODEL,
    "grouped": dataclasses.replace(MODEL, num_kv_heads=2, qk_norm=True),
    "multi-query": dataclasses.replace(MODEL, num_kv_heads=1, activation="gelu"),
}
WILD = SamplingOptions(60, temperature=2.0, top_p=0.99, seed=5, repetition_penalty=1.1)


def prompts_of(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, 48, (n,), generator=generator).tolist() for n in lengths]


def texts(model, samples, rows, options=WILD, notices=None):
    """What comes of each sample: its tokens with their log-probabilities."""
    capacity = common_capacity(model.config, [len(s.prompt_ids) for s in samples], options.max_tokens)
    batch = Batch(Decoder(model, rows), options, END, capacity, ([] if notices is None else notices).append)
    found = {sample: [] for sample in samples}
    for step in batch.run(samples):
        assert len(step) <= rows
        for sample, token in step:
            found[sample].append(token)
    return [found[sample] for sample in samples]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_does_not_change_with_its_neighbours(kind, dtype):
    """To the last bit of the log-probabilities: whoever its neighbours are, whenever it begins; also when it slides."""
    model = TransformerLM(KINDS[kind]).eval().to(dtype)
    prompts = prompts_of(1, 90, 40, 3, 96, 17, 64, 33)
    alone = [texts(model, [Sample(ids)], 1)[0] for ids in prompts]
    for rows in (2, 5, 8):
        assert texts(model, [Sample(ids) for ids in prompts], rows) == alone
        assert texts(model, [Sample(ids) for ids in reversed(prompts)], rows) == alone[::-1]
    assert any(text[-1].token_id == END for text in alone)
    assert any(len(text) == 60 for text in alone)


def test_of_a_vocabulary_too_large_for_one_thread_a_lone_sample_is_the_same():
    """PyTorch shares out a long sum among threads if it is the only one."""
    torch.set_num_threads(2)
    model = TransformerLM(dataclasses.replace(MODEL, vocab_size=70_000)).eval()
    prompts = prompts_of(4, 9, 2)
    options = dataclasses.replace(WILD, max_tokens=6)
    together = texts(model, [Sample(ids) for ids in prompts], 3, options)
    assert together == [texts(model, [Sample(ids)], 1, options)[0] for ids in prompts]


def test_samples_of_one_prompt_share_its_reading_also_when_they_begin_later(monkeypatch):
    model = TransformerLM(MODEL).eval()
    (prompt,) = prompts_of(20)
    read = []
    original = Decoder.read
    monkeypatch.setattr(Decoder, "read", lambda *arguments: read.append(1) or original(*arguments))
    samples = [Sample(prompt, index) for index in range(7)]
    together = texts(model, samples, 3)
    assert len(read) == 1
    alone = [texts(model, [Sample(list(prompt), index)], 1)[0] for index in range(7)]
    assert together == alone
    assert len({str(text) for text in alone}) == 7


def test_a_sample_that_has_slid_is_no_source_for_others():
    model = TransformerLM(MODEL).eval()
    (prompt,) = prompts_of(90)
    options = dataclasses.replace(WILD, ignore_eos=True, max_tokens=30)
    short = Sample([1, 2])
    samples = [Sample(prompt, 0), short, Sample(prompt, 1)]
    batch = Batch(Decoder(model, 2), options, END, 96, lambda _: None)
    found = {sample: [] for sample in samples}
    for number, step in enumerate(batch.run(samples)):
        for sample, token in step:
            found[sample].append(token)
        short.ended = number == 15  # the first has slid at the seventh
    assert found[samples[2]] == texts(model, [Sample(list(prompt), 1)], 1, options)[0]


def test_a_sample_that_is_ended_from_outside_gives_its_row_to_the_next():
    model = TransformerLM(MODEL).eval()
    samples = [Sample(ids) for ids in prompts_of(5, 6, 7)]
    batch = Batch(Decoder(model, 1), dataclasses.replace(WILD, ignore_eos=True), END, 96, lambda _: None)
    order = []
    for step in batch.run(samples):
        ((sample, _),) = step
        order.append(samples.index(sample))
        sample.ended = sample.ended or order.count(order[-1]) == 2
    assert order == [0, 0, 1, 1, 2, 2]


def test_samples_are_asked_for_only_when_there_is_room():
    model = TransformerLM(MODEL).eval()
    asked = []

    def samples():
        for ids in prompts_of(*[3] * 6):
            asked.append(1)
            yield Sample(ids)

    options = SamplingOptions(4, ignore_eos=True)
    steps = Batch(Decoder(model, 2), options, END, 96, lambda _: None).run(samples())
    next(steps)
    assert len(asked) == 2
    assert sum(1 for _ in steps) == 11


def test_notices_are_given_once_for_all_samples():
    model = TransformerLM(MODEL).eval()
    notices = []
    samples = [Sample(ids) for ids in prompts_of(100, 120, 96, 95)]
    texts(model, samples, 4, dataclasses.replace(WILD, ignore_eos=True), notices)
    assert len(notices) == 2
    assert "the prompt has 100 tokens and the context 96" in notices[0]
    assert "the context of 96 tokens is full: going on from the last 48" in notices[1]


def test_no_tensor_is_made_that_outlives_a_step():
    """Memory does not grow while texts do: the same tensors are alive after each step."""
    import gc

    model = TransformerLM(MODEL).eval()
    samples = [Sample(ids) for ids in prompts_of(2, 2, 9)]
    options = dataclasses.replace(WILD, ignore_eos=True)
    alive = set()
    for number, _ in enumerate(Batch(Decoder(model, 3), options, END, 96, lambda _: None).run(samples)):
        if number in (5, 25, 50):
            gc.collect()
            storages = (x.untyped_storage() for x in gc.get_objects() if type(x) is torch.Tensor)
            alive.add(sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()))
    assert len(alive) == 1
