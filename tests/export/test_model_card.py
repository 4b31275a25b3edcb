"""The model card says what the run was."""

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.export.model_card import model_card


def test_says_size_data_losses_and_how_to_load():
    model = TransformerLM(ModelConfig(10, 8, 16, 1, 2))
    events = [
        {"event": "eval", "step": 5, "val_loss": 1.25, "val_bpb": 0.5},
        {"event": "eval", "step": 4, "val_loss": 9},
    ]
    card = model_card("tiny", model, {"step": 5, "tokens": 640}, events, ["my.txt"], "run: {}", True)
    for words in (
        "# tiny",
        f"{model.num_parameters():,} parameters",
        "my.txt: 5 steps, 640 tokens",
        "1.2500",
        "run: {}",
    ):
        assert words in card
    assert "AutoTokenizer.from_pretrained" in card
    bare = model_card("tiny", model, {"step": 6, "tokens": 1}, [], ["a"], "", False)
    assert "validation loss" not in bare
    assert "AutoTokenizer.from_pretrained" not in bare
