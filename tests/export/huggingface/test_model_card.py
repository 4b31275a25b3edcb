"""The model card says what the run was."""

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.export.huggingface.model_card import USAGE, model_card


def test_says_size_data_losses_and_how_to_load():
    model = TransformerLM(ModelConfig(10, 8, 16, 1, 2))
    events = [
        {"event": "eval", "step": 4, "val_loss": 8.0, "val_bpb": 8.0},
        {"event": "eval", "step": 5, "val_loss": 1.25, "val_bpb": 0.5},
        {"event": "step", "step": 6, "loss": 3.0},
        {"event": "eval", "step": 7, "val_loss": 9.0, "val_bpb": 9.0},
    ]
    card = model_card(
        "tiny", model, {"step": 5, "tokens": 640}, events, ["my.txt"], "run: {}", "transformers", "load()\n"
    )
    for words in (
        "# tiny",
        f"{model.num_parameters():,} parameters",
        "my.txt: 5 steps, 640 tokens",
        "1.2500 nats per token, 0.5000 bits per byte (at step 5)",
        "run: {}",
    ):
        assert words in card
    assert "library_name: transformers" in card
    assert "```python\nload()\n```" in card
    later = model_card("tiny", model, {"step": 6, "tokens": 768}, events, ["my.txt"], "", "onnx", "")
    assert "1.2500 nats per token, 0.5000 bits per byte (at step 5)" in later
    bare = model_card("tiny", model, {"step": 6, "tokens": 1}, [], ["a"], "", "onnx", "")
    assert "validation loss" not in bare


def test_the_lines_that_load_it_ask_for_a_tokenizer_only_if_there_is_one():
    for _, usage in USAGE.values():
        assert "vocab.json" not in usage(True)
        assert "vocab.json" in usage(False)
        assert "tokenizer.json" not in usage(False)
        assert "AutoTokenizer" not in usage(False)
