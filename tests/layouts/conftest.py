"""A Hugging Face folder that bittygpt did not write: transformers saves it, and tokenizers trained its vocabulary."""

import json
from pathlib import Path

import pytest
import torch

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
SPECIAL = ["<|endoftext|>", "<|pad|>"]
TEXT = "The owl said hello to the fox, and the foxes didn't say a thing to the owls at all. " * 10


@pytest.fixture(scope="session")
def their_tokenizer():
    """Byte-level BPE as `tokenizers` trains it: bytes in GPT-2's order, special tokens in the middle of the ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    found.train_from_iterator([TEXT], trainer)
    found.add_special_tokens(SPECIAL)
    return found


@pytest.fixture(scope="session")
def save_folder(their_tokenizer):
    """A function that saves a model: where, of which kind (llama or qwen3), with what changed in its config."""

    def save(folder: Path, kind: str = "llama", dtype=torch.float32, shard_size="1MB", **changes):
        size = their_tokenizer.get_vocab_size()
        shape = {
            "vocab_size": size,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        }
        config_class, model_class = {
            "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
            "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        }[kind]
        torch.manual_seed(5)
        model = model_class(config_class(**(shape | changes))).eval()
        for name, p in model.named_parameters():
            p.data.normal_(1, 0.3) if p.ndim == 1 else p.data.mul_(3 if "layers" in name else 20)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
        their_tokenizer.save(str(folder / "tokenizer.json"))
        return model_class.from_pretrained(
            folder, dtype=torch.float32
        ).eval()  # .to() rounds RoPE's table, too

    return save


@pytest.fixture
def change_config():
    """A function that changes keys of a folder's config.json; None removes a key."""

    def change(folder: Path, **changes):
        values = json.loads((folder / "config.json").read_text()) | changes
        values = {key: value for key, value in values.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(values))

    return change
