"""`bittygpt export` through the real command line."""

import json

import pytest
import torch

import bittygpt as package

transformers = pytest.importorskip("transformers")


def test_the_folder_loads_offline_and_is_the_model(trained, bittygpt):
    run = trained.folder / "runs/tiny"
    done = bittygpt("export", "--ckpt", str(run), "--format", "hf", "--out", "out")
    assert "logits differ by at most" in done.stdout
    folder = bittygpt.folder / "out"
    expected = ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(p.name for p in folder.iterdir()) == [*expected, "tokenizer_config.json"]
    assert [p.name for p in bittygpt.folder.iterdir() if p.name.startswith(".")] == []
    model, tokenizer = package.load(run)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode("The owl said hello.")
    assert their_tokenizer("The owl said hello.")["input_ids"] == ids
    with torch.no_grad():
        ours, theirs = model(torch.tensor([ids])), loaded(torch.tensor([ids])).logits
    assert (ours - theirs).abs().max() < 1e-4
    assert "validation loss" in (folder / "README.md").read_text()
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["max_new_tokens"], generation["eos_token_id"]) == (12, 0)


def test_json_dtype_and_anothers_sample_section(trained, bittygpt):
    (bittygpt.folder / "s.yaml").write_text("sample: {temperature: 0.5, top_k: 7}\n")
    arguments = [
        "--ckpt",
        str(trained.folder / "runs/tiny"),
        "--format",
        "hf",
        "--out",
        "out",
        "--dtype",
        "bfloat16",
    ]
    report = json.loads(bittygpt("export", *arguments, "--config", "s.yaml", "--json").stdout)
    assert report["verified"] is True
    assert report["largest_difference"] < 1e-4
    generation = json.loads((bittygpt.folder / "out/generation_config.json").read_text())
    assert (generation["temperature"], generation["top_k"], generation["do_sample"]) == (0.5, 7, True)


def test_what_exists_is_kept_unless_it_may_be_replaced(trained, bittygpt):
    (bittygpt.folder / "out").mkdir()
    (bittygpt.folder / "out/mine.txt").write_text("precious")
    arguments = [
        "export",
        "--ckpt",
        str(trained.folder / "runs/tiny"),
        "--format",
        "hf",
        "--out",
        "out",
        "--no-verify",
    ]
    assert "--overwrite" in bittygpt(*arguments, code=2).stderr
    assert (bittygpt.folder / "out/mine.txt").read_text() == "precious"
    assert "not verified" in bittygpt(*arguments, "--overwrite").stderr
    assert not (bittygpt.folder / "out/mine.txt").exists()
    assert (bittygpt.folder / "out/config.json").exists()


def test_bittys_encoding_leaves_without_a_tokenizer(bittygpt):
    bittygpt("train", "tiny.yaml", "tokenizer.encoding=bitty", "train.max_steps=1", "optim.warmup_steps=1")
    done = bittygpt("export", "--ckpt", "runs/tiny", "--format", "hf", "--out", "out")
    assert "exported without a tokenizer: encoding: bitty" in done.stderr
    names = {p.name for p in (bittygpt.folder / "out").iterdir()}
    assert "vocab.json" in names
    assert not {n for n in names if n.startswith("tokenizer")}


def test_a_model_without_a_layout_and_wrong_flags_are_exit_2_and_leave_nothing(trained, bittygpt):
    overrides = ["model.activation=relu2", "train.max_steps=1", "optim.warmup_steps=1"]
    bittygpt("train", "tiny.yaml", *overrides)
    cases = {
        ("--ckpt", "runs/tiny", "--format", "hf"): "model.activation: relu2",
        ("--ckpt", "runs/nothing", "--format", "hf"): "there is no folder runs/nothing",
        ("--ckpt", str(trained.folder / "runs/tiny"), "--format", "pt"): "--format pt is not known",
        ("--ckpt", str(trained.folder / "runs/tiny"), "--format", "hf", "--dtype", "int3"): "--dtype int3",
    }
    for arguments, message in cases.items():
        assert message in bittygpt("export", *arguments, "--out", "out", code=2).stderr
        assert not (bittygpt.folder / "out").exists()
