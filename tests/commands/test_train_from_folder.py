"""`train.init_from` a Hugging Face folder: one exported here, and one made by transformers, by the command line."""

import pytest
import torch

from bittygpt.commands.export import export
from bittygpt.core import TransformerLM
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import load_checkpoint
from bittygpt.training.fine_tuning import start_from

transformers = pytest.importorskip("transformers")
ONE_STEP = ["train.max_steps=1", "optim.warmup_steps=1"]


def test_an_exported_run_comes_back_bit_for_bit(tmp_path, tokenizer, save_run):
    run = save_run(tmp_path, tokenizer, {"qk_norm": True, "num_kv_heads": 2})
    options = {"config": None, "dtype": "float32", "verify": False, "overwrite": False, "as_json": True}
    export(str(run), format="hf", out=tmp_path / "hf", **options)
    before, _ = load_checkpoint(run / "checkpoints/step-00000003")
    after = TransformerLM(before.config)
    start_from(after, tokenizer, str(tmp_path / "hf"), pytest.fail)
    for name, weight in before.state_dict().items():
        assert weight.equal(after.state_dict()[name])


def test_a_folder_of_transformers_with_its_tokenizer_is_trained(bittygpt):
    from tokenizers import Tokenizer as Theirs
    from tokenizers import models, pre_tokenizers, trainers

    folder = bittygpt.folder / "theirs"
    theirs = Theirs(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=270, show_progress=False, initial_alphabet=alphabet)
    theirs.train_from_iterator([(bittygpt.folder / "text.txt").read_text()], trainer)
    theirs.add_special_tokens(["<|endoftext|>"])
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=theirs.get_vocab_size(),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        rms_norm_eps=1e-5,
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    theirs.save(str(folder / "tokenizer.json"))
    command = ["train", "tiny.yaml", "train.init_from=theirs", *ONE_STEP]
    other = bittygpt(*command, "model.num_heads=4", "model.rope_theta=500", code=2)
    for words in (
        "train.init_from: theirs is another model: ",
        "num_attention_heads is 2 there, and model.num_heads is 4 here",
        "rope_theta is 10000.0 there, and model.rope_theta is 500.0 here",
        "its tokenizer has other tokens than the run's; set tokenizer.vocab to theirs/tokenizer.json",
    ):
        assert words in other.stderr
    own = ["tokenizer.vocab=theirs/tokenizer.json", "tokenizer.vocab_size=null"]
    done = bittygpt(*command, *own, "data.dir=other", "run.name=tuned")
    assert "runs/tuned: finished after 1 steps" in done.stdout
    written = Tokenizer.load(bittygpt.folder / "runs/tuned/checkpoints/step-00000001/vocab.json")
    assert written.vocabulary == Tokenizer.load(folder / "tokenizer.json").vocabulary
