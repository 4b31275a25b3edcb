"""Many prompts to many texts: their order, how many at once, and breaking off."""

import pytest
import torch

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.sampling.batch import Batch
from bittygpt.sampling.completion import Completion
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.options import SamplingOptions
from bittygpt.sampling.texts import complete, rows_that_fit

CONFIG = ModelConfig(vocab_size=60, context_length=64, d_model=16, num_layers=1, num_heads=2, d_ff=16)
CPU = torch.device("cpu")


class Letters:
    """Each id is a letter."""

    def push(self, token_id):
        return chr(64 + token_id)

    def flush(self):
        return ""


def completion(stop=()):
    return Completion(Letters(), stop, end_of_text_id=0)


def batch(rows, **options):
    model = TransformerLM(CONFIG).eval()
    return Batch(
        Decoder(model, rows), SamplingOptions(**{"max_tokens": 20, **options}), 0, 64, lambda _: None
    )


def test_texts_come_in_the_order_of_their_prompts_with_all_samples():
    prompts = [[n, n + 1] for n in range(1, 12)]
    together = []
    for group in complete(batch(4, temperature=2.0), iter(prompts), 3, completion):
        assert all(c.is_finished for c in group)
        together.append(group)
    assert [len(group) for group in together] == [3] * 11
    assert {c.finish_reason for group in together for c in group} == {"eos", "length"}
    torch.manual_seed(0)
    for ids, group in zip(prompts, together, strict=True):
        torch.manual_seed(0)
        (alone,) = complete(batch(1, temperature=2.0), [ids], 3, completion)
        assert [c.text for c in group] == [c.text for c in alone]


def test_all_that_is_shown_is_the_text():
    torch.manual_seed(0)
    shown = []
    (group,) = complete(batch(1), [[5]], 1, lambda: completion(("ZZ",)), shown.append)
    assert "".join(shown) == group[0].text


def test_a_stop_string_ends_one_text_and_not_the_others():
    torch.manual_seed(0)
    (whole,) = complete(batch(3, ignore_eos=True), [[5]], 3, completion)
    stop = whole[1].text[4:6]
    torch.manual_seed(0)
    (stopped,) = complete(batch(3, ignore_eos=True), [[5]], 3, lambda: completion((stop,)))
    assert [c.text for c in stopped] == [c.text.split(stop)[0] for c in whole]
    assert stopped[1].finish_reason == "stop"


def test_broken_off_texts_are_what_they_are_by_then():
    asked = []
    (group,) = complete(
        batch(2, ignore_eos=True), [[5]], 2, completion, is_stopped=lambda: asked.append(1) or len(asked) == 6
    )
    assert [(len(c.token_ids), c.finish_reason) for c in group] == [(6, None)] * 2


@pytest.mark.parametrize(
    ("wanted", "capacity", "rows"), [(1, 64, 1), (5, 64, 5), (10**6, 64, 32), (10**6, 2_000_000, 4)]
)
def test_as_many_rows_as_pay_in_bounded_memory(wanted, capacity, rows):
    assert rows_that_fit(CONFIG, capacity, wanted, torch.float32, CPU) == rows
