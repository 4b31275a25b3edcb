"""The decoder against the model's full forward pass, token by token."""

import pytest
import torch

from bittygpt.core import TransformerLM
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.decoding.row_products import block_of


def model_of(config, dtype=torch.float32):
    """A model with gains that are not all 1."""
    model = TransformerLM(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data.uniform_(0.5, 1.5)
    return model.to(dtype)


def stepwise(decoder, texts, lengths):
    """The scores after each token of texts, a row each, from the first `lengths` tokens of each on, which are read."""
    cache = decoder.new_cache(len(texts), 16)
    rows = list(range(len(texts)))  # which text each row of the cache holds
    for row, ids in enumerate(texts):
        decoder.read(ids[: lengths[row]], cache, row)
    found = [[] for _ in texts]
    while rows:
        ids = [texts[text][lengths[text] + len(found[text])] for text in rows]
        for text, logits in zip(rows, decoder.step(ids, cache), strict=True):
            found[text].append(logits)
        for row in reversed(range(len(rows))):
            if lengths[rows[row]] + len(found[rows[row]]) == len(texts[rows[row]]):
                cache.remove(row)
                rows[row] = rows[-1]
                rows.pop()
    return [torch.stack(of_text) for of_text in found]


@torch.no_grad()
def test_steps_equal_the_full_pass(variant):
    model = model_of(variant)
    text = torch.randint(0, 40, (16,))
    expected = model(text[None])[0]
    for length in (0, 1, 7, 15):
        (found,) = stepwise(Decoder(model, 1), [text.tolist()], [length])
        torch.testing.assert_close(found, expected[length:], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_texts_of_different_lengths_in_one_batch_equal_the_full_pass_of_each(variant):
    model = model_of(variant)
    texts = [torch.randint(0, 40, (14,)).tolist() for _ in range(5)]
    lengths = [13, 0, 4, 9, 4]
    for ids, length, found in zip(texts, lengths, stepwise(Decoder(model, 5), texts, lengths), strict=True):
        expected = model(torch.tensor([ids]))[0, length:]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16(variant, autocast):
    """Rounding is another, as weights and norms meet in another order: about as far from fp32 as the model itself."""
    model = model_of(variant)
    text = torch.randint(0, 40, (16,))
    exact = model(text[None])[0]
    if not autocast:
        model = model.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        rounded = model(text[None])[0].float()
        (found,) = stepwise(Decoder(model, 1), [text.tolist()], [5])
    assert found.dtype == torch.float32
    error = (rounded - exact).abs().max()
    assert 0 < (found - exact[5:]).abs().max() < 3 * error + 0.01


def test_what_is_computed_with_autocast_is_bfloat16(variant):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Decoder(model_of(variant), 1).dtype == torch.bfloat16
    assert Decoder(model_of(variant), 1).dtype == torch.float32


def test_a_decoder_keeps_the_weights_that_it_was_made_of(variant):
    model = model_of(variant)
    decoder = Decoder(model, 1)
    cache = decoder.new_cache(1, 4)
    decoder.read([], cache, 0)
    before = decoder.step([1], cache)
    with torch.no_grad():
        for block in model.layers:
            block.attn.q_proj.weight.zero_()
    decoder.read([], cache, 0)
    assert torch.equal(decoder.step([1], cache), before)


def test_a_cpu_has_a_small_block():
    assert block_of(torch.device("cpu")) < block_of(torch.device("cuda"))
