"""Generation against a plain loop of full forward passes; seeds, ends, neighbours, the sliding context."""

import dataclasses
import math
from collections import Counter

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import CheckpointError
from bittygpt.sampling.choice import choose, draw
from bittygpt.sampling.generate import SamplingOptions, generate

END = 0
PLAIN = ModelConfig(vocab_size=40, context_length=16, d_model=32, num_layers=2, num_heads=4, d_ff=48)
VARIANTS = {
    "plain": PLAIN,
    "grouped": dataclasses.replace(PLAIN, num_kv_heads=2),
    "multi-query": dataclasses.replace(PLAIN, num_kv_heads=1),
    "tied": dataclasses.replace(PLAIN, tie_embeddings=True),
    "qk-norm": dataclasses.replace(PLAIN, qk_norm=True),
}
GREEDY = SamplingOptions(max_tokens=10, temperature=0, ignore_eos=True)


def ids_of(steps, sample=0):
    return [step[sample].token_id for step in steps if step[sample] is not None]


def greedy_by_full_passes(model, prompt, count, context):
    """No cache: the whole window is read for each token; a window that is too long keeps its last half."""
    window, chosen, logprobs = list(prompt), [], []
    with torch.no_grad():
        for _ in range(count):
            logits = model(torch.tensor([window]))[0, -1]
            logprob = torch.log_softmax(logits, -1)
            logits[END] = -math.inf
            chosen.append(int(logits.argmax()))
            logprobs.append(float(logprob[chosen[-1]]))
            window.append(chosen[-1])
            if len(window) > context:
                window = window[-max(1, context // 2) :]
    return chosen, logprobs


@pytest.mark.parametrize("name", VARIANTS)
def test_greedy_equals_full_passes(name):
    model = TransformerLM(VARIANTS[name]).eval()
    prompt = [3, 1, 4, 1, 5]
    steps = list(generate(model, prompt, GREEDY, END))
    tokens, logprobs = greedy_by_full_passes(model, prompt, 10, 16)
    assert ids_of(steps) == tokens
    assert [step[0].logprob for step in steps] == pytest.approx(logprobs, abs=1e-5)


@pytest.mark.parametrize("context", [1, 2, 5, 16])
@pytest.mark.parametrize("prompt_length", [1, 15, 16])
def test_beyond_the_context_the_last_half_is_read_anew(context, prompt_length):
    model = TransformerLM(dataclasses.replace(PLAIN, context_length=context)).eval()
    prompt = torch.randint(1, 40, (prompt_length,)).tolist()
    notices = []
    options = dataclasses.replace(GREEDY, max_tokens=45)
    steps = list(generate(model, prompt, options, END, num_samples=2, on_notice=notices.append))
    expected, _ = greedy_by_full_passes(model, prompt[-context:], 45, context)
    assert ids_of(steps, 0) == ids_of(steps, 1) == expected
    assert len([n for n in notices if "is full" in n]) == 1
    assert len([n for n in notices if "the prompt has" in n]) == (prompt_length > context)


def test_the_same_seed_gives_the_same_text_and_another_another():
    model = TransformerLM(PLAIN).eval()
    texts = [
        ids_of(generate(model, [5, 6], SamplingOptions(30, seed=seed), END)) for seed in (1, 1, 2, 2**32 + 1)
    ]
    assert texts[0] == texts[1]
    assert len({tuple(text) for text in texts}) == 3


def test_a_sample_does_not_change_with_its_neighbours():
    model = TransformerLM(PLAIN).eval()
    options = SamplingOptions(40, temperature=1.3, top_p=0.95, seed=7)
    together = list(generate(model, [5, 6], options, END, num_samples=5))
    fewer = list(generate(model, [5, 6], options, END, num_samples=2))
    alone = list(generate(model, [5, 6], options, END, num_samples=1))
    assert ids_of(together, 0) == ids_of(fewer, 0) == ids_of(alone, 0)
    assert ids_of(together, 1) == ids_of(fewer, 1)
    assert len({tuple(ids_of(together, i)) for i in range(5)}) == 5


def test_an_empty_prompt_starts_a_document():
    model = TransformerLM(PLAIN).eval()
    options = SamplingOptions(12, seed=3, ignore_eos=True)
    assert ids_of(generate(model, [], options, END)) == ids_of(generate(model, [END], options, END))


def model_that_says(next_ids, vocab_size=8):
    """A model in which token i is followed by next_ids[i], nearly surely: the last layer looks the answer up."""
    config = ModelConfig(vocab_size, context_length=8, d_model=8, num_layers=1, num_heads=1, d_ff=8)
    model = TransformerLM(config).eval()
    with torch.no_grad():
        for parameter in model.layers.parameters():
            parameter.zero_()  # each block then adds nothing
        model.token_embeddings.weight.copy_(torch.eye(8))
        model.lm_head.weight.zero_()
        for token, following in enumerate(next_ids):
            model.lm_head.weight[following, token] += 20.0
    return model


def test_a_sample_ends_with_end_of_text_and_the_step_shows_it():
    model = model_that_says([1, 2, 3, END, 0, 0, 0, 0])
    steps = list(generate(model, [], SamplingOptions(20), END))
    assert ids_of(steps) == [1, 2, 3, END]


def test_ended_samples_are_none_while_others_go_on():
    model = TransformerLM(dataclasses.replace(PLAIN, vocab_size=5)).eval()
    steps = list(generate(model, [], SamplingOptions(60, temperature=3.0, seed=1), END, num_samples=6))
    for sample in range(6):
        tokens = [step[sample] and step[sample].token_id for step in steps]
        end = tokens.index(END)
        assert None not in tokens[:end]
        assert set(tokens[end + 1 :]) <= {None}
    assert any(token is not None for token in steps[-1])
    assert any(token is None for token in steps[-1])


def test_ignore_eos_never_chooses_it_and_logprobs_stay_the_models_own():
    model = model_that_says([1, 2, 3, END, 0, 0, 0, 0])
    for temperature in (0.0, 1.0, 50.0):
        steps = list(generate(model, [], SamplingOptions(50, temperature, ignore_eos=True), END))
        assert len(steps) == 50
        assert END not in ids_of(steps)
    greedy = list(generate(model, [3], SamplingOptions(1, 0.0, ignore_eos=True), END))
    logits = model(torch.tensor([[3]]))[0, -1]
    assert greedy[0][0].logprob == pytest.approx(torch.log_softmax(logits, -1)[1].item(), rel=1e-5)
    assert greedy[0][0].logprob < -20  # nearly all probability lies on the end of the text


def test_greedy_takes_the_lowest_id_of_equal_logits():
    model = model_that_says([5, 5, 5, 5, 5, 5, 5, 5])
    with torch.no_grad():
        model.lm_head.weight[2] = model.lm_head.weight[5]
    assert ids_of(generate(model, [1], SamplingOptions(1, 0.0), END)) == [2]


def test_top_k_of_one_is_greedy():
    model = TransformerLM(PLAIN).eval()
    options = dataclasses.replace(GREEDY, temperature=2.0, top_k=1, seed=9)
    assert ids_of(generate(model, [7], options, END)) == ids_of(generate(model, [7], GREEDY, END))


def test_repetition_penalty_counts_prompt_and_text():
    model = TransformerLM(PLAIN).eval()
    options = dataclasses.replace(GREEDY, max_tokens=30, repetition_penalty=1e6)
    with torch.no_grad():
        # All logits positive: a seen token's is divided by a million, so none comes twice while others are left.
        for parameter in model.layers.parameters():
            parameter.zero_()
        model.token_embeddings.weight.fill_(1)
        model.lm_head.weight.uniform_(0.1, 0.2)
    prompt = [11, 12, 13]
    tokens = ids_of(generate(model, prompt, options, END))
    assert len(set(tokens)) == 30
    assert not set(tokens) & set(prompt)


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([[0.5, 0.0, 0.2, 0.3]])
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(draw(probabilities, [generator]).item() for _ in range(4000))
    assert drawn[1] == 0
    for token, p in ((0, 0.5), (2, 0.2), (3, 0.3)):
        assert drawn[token] / 4000 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 4000))


@pytest.mark.parametrize(("uniform", "expected"), [(0.0, 1), (0.3, 3), (1 - 2**-53, 3)])
@pytest.mark.parametrize("total", [1.0, 1 - 2**-24, 1 + 2**-23, 0.7])
def test_no_draw_is_out_of_range_or_of_probability_zero(uniform, expected, total, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([uniform], dtype=torch.float64))
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]) * total
    assert draw(probabilities, [torch.Generator()]).item() == expected


@pytest.mark.parametrize(
    ("filters", "possible"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"top_p": 0.6}, {0, 1}),
        ({"min_p": 0.6}, {0, 1}),
        ({"min_p": 0.3}, {0, 1, 2}),
        ({"top_p": 0.75}, {0, 1, 2}),
        ({"top_p": 0.75, "top_k": 3}, {0, 1}),  # of the 0.9 that top-k leaves, 0.4 + 0.3 are 0.778
        ({"temperature": 0.5, "top_p": 0.8}, {0, 1}),  # squared: 0.533, 0.3, 0.133, 0.033
    ],
)
def test_only_what_the_filters_leave_is_chosen_and_all_of_it(filters, possible):
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    generators = [torch.Generator().manual_seed(1)]
    options = SamplingOptions(1, **filters)
    seen = torch.zeros(1, 4, dtype=torch.bool)
    assert {choose(logits, seen, options, generators).item() for _ in range(300)} == possible


def test_inference_mode_does_not_leak_out_between_steps():
    model = TransformerLM(PLAIN).eval()
    for _ in generate(model, [1], GREEDY, END):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


def test_scores_that_are_not_finite_are_refused():
    model = TransformerLM(PLAIN).eval()
    with torch.no_grad():
        model.ln_final.weight[0] = math.nan
    for temperature in (0.0, 1.0):
        with pytest.raises(CheckpointError, match="not finite"):
            next(generate(model, [1], SamplingOptions(3, temperature), END))
