"""`bittygpt sample --score FILE`: against the model's own losses, in every format, and what does not go with it."""

import gzip
import json
import math
from pathlib import Path

import pytest
import torch

from bittygpt import load
from bittygpt.commands.sample.command import check_modes
from bittygpt.errors import UsageError

TEXT = "The owl said hello to the fox, é, and the fox said nothing to the owl at all.\n"


def scored(line, path, *flags):
    return json.loads(line("sample", "--ckpt", "runs/tiny", "--score", str(path), "--json", *flags).stdout)


def test_a_text_that_fits_the_context_has_the_loss_of_one_pass(trained, tmp_path):
    model, tokenizer = load(trained.folder / "runs/tiny")
    text = "The owl said"
    (tmp_path / "text").write_text(text)  # a name that says nothing: plain text
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(text), tokenizer.end_of_text_id]
    assert len(ids) <= 17
    with torch.no_grad():
        logits = model(torch.tensor([ids[:-1]]))[0]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum").item()
    found = scored(trained, tmp_path / "text")
    assert found["loss"] == pytest.approx(loss / (len(ids) - 1), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(loss / math.log(2) / len(text), rel=1e-5)
    assert (found["tokens"], found["bytes"]) == (len(ids) - 1, len(text))
    plain = trained("sample", "--ckpt", "runs/tiny", "--score", str(tmp_path / "text")).stdout
    assert plain.startswith(
        f"loss {found['loss']:.4f} nats per token, {found['bits_per_byte']:.4f} bits per byte"
    )


def test_every_format_gives_the_same_documents(trained, tmp_path):
    (tmp_path / "a.txt").write_text(f"{TEXT}<|endoftext|>{TEXT * 3}")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress((tmp_path / "a.txt").read_bytes()))
    lines = [json.dumps({"text": text}) for text in (TEXT, TEXT * 3)]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    figures = [{**scored(trained, tmp_path / name), "file": ""} for name in ("a.txt", "b.txt.gz", "c.jsonl")]
    assert figures[0] == figures[1] == figures[2]
    assert figures[0]["bytes"] == 4 * len(TEXT.encode())


def test_what_cannot_be_scored_is_named(trained, tmp_path):
    def message(*flags):
        return trained("sample", "--ckpt", "runs/tiny", *flags, code=2).stderr

    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    assert "there is no such file" in message("--score", str(tmp_path / "none.txt"))
    assert "there is no text in it" in message("--score", str(tmp_path / "empty.txt"))
    assert "is a folder; give one of its files" in message("--score", str(tmp_path))
    refused = message("--score", str(tmp_path / "latin1.txt"))
    assert "byte 3 is not UTF-8 (unexpected end of data); convert or mend the file" in refused
    assert "data.on_bad_record" not in refused


@pytest.mark.parametrize(
    ("given", "interactive", "score", "as_json", "message"),
    [
        ({"prompt": "a"}, False, Path("a.txt"), True, "--prompt says nothing to --score"),
        ({"seed": 0}, False, Path("a.txt"), True, "--seed says nothing to --score"),
        ({"stop": ["x"]}, False, Path("a.txt"), False, "--stop says nothing to --score"),
        ({"ignore_eos": True}, False, Path("a.txt"), False, "--ignore-eos says nothing to --score"),
        ({}, True, Path("a.txt"), False, "keep one of them"),
        ({"prompt": "a"}, True, None, False, "--prompt says nothing to --interactive"),
        ({"num_samples": 2}, True, None, False, "--num-samples says nothing to --interactive"),
        ({}, True, None, True, "--json says nothing to --interactive"),
    ],
)
def test_flags_that_do_not_go_together(given, interactive, score, as_json, message):
    nothing = {"prompt": None, "prompt_file": None, "stop": [], "ignore_eos": False}
    with pytest.raises(UsageError, match=message):
        check_modes({**nothing, **given}, interactive, score, as_json)
    check_modes({**nothing, "seed": 0}, True, None, False)
