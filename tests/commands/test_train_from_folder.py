"""`train.init_from` a Hugging Face folder, through the real command line: exported here, or made by transformers."""

import json

import pytest
import torch

from bittygpt.data.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")
ONE_STEP = ["train.max_steps=1", "optim.warmup_steps=1"]


def test_an_exported_run_goes_on_as_the_checkpoint_would(trained, bittygpt):
    """The first step's loss is that of the weights, to the last bit of them."""
    source = trained.folder / "runs/tiny"
    bittygpt("export", "--ckpt", str(source), "--format", "hf", "--out", "hf", "--no-verify")
    bittygpt("train", "tiny.yaml", "train.init_from=hf", "run.name=a", *ONE_STEP, "data.dir=d")
    bittygpt("train", "tiny.yaml", f"train.init_from={source}", "run.name=b", *ONE_STEP, "data.dir=d")
    (a,), (b,) = ([e for e in bittygpt.events(name) if e["event"] == "step"] for name in "ab")
    assert (a["loss"], a["grad_norm"]) == (b["loss"], b["grad_norm"])


def test_a_folder_of_transformers_with_its_tokenizer_is_trained_and_sampled(bittygpt):
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
    bittygpt("export", "--ckpt", "runs/tuned", "--format", "hf", "--out", "again")
    vocab = json.loads((bittygpt.folder / "again/tokenizer.json").read_text())["model"]["vocab"]
    assert set(vocab) - {"<|endoftext|>"} == set(theirs.get_vocab()) - {"<|endoftext|>"}


def test_a_damaged_folder_is_one_message(bittygpt):
    folder = bittygpt.folder / "broken"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    done = bittygpt("train", "tiny.yaml", "train.init_from=broken", code=2)
    assert "hidden_size is 4096 there" in done.stderr
    assert "it has neither model.safetensors nor model.safetensors.index.json" in done.stderr
