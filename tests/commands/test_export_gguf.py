"""`bittygpt export --format gguf`: what llama.cpp reads is the model, and a wrong file is caught."""

import json
from pathlib import Path

import gguf
import pytest

from bittygpt.commands import export as command
from bittygpt.errors import ExportError, UsageError
from bittygpt.layouts import huggingface
from bittygpt.tokenizer.tokenizer import Tokenizer

pytest.importorskip("xllamacpp")
SPECIAL = ["<|endoftext|>"]
BYTES = [b"<|endoftext|>", *(bytes([value]) for value in range(256))]
THETA_1000 = {"rope_theta": 1000.0}
TOKENIZER_FIELDS = {
    "model": "gpt2",
    "pre": "gpt-2",
    "bos_token_id": 0,
    "eos_token_id": 0,
    "add_bos_token": False,
    "add_eos_token": False,
    "add_space_prefix": False,
}


def export(run: Path, out: str = "owl.gguf", **changes) -> None:
    options = {"format": "gguf", "config": None, "dtype": "float32", "verify": True, "overwrite": False}
    command.export(str(run), **({"out": Path(out), "as_json": True} | options | changes))


def test_the_command_line_writes_a_file_that_is_the_model(bittygpt, tokenizer, save_run):
    save_run(bittygpt.folder, tokenizer)
    done = bittygpt(
        "export", "--ckpt", "runs/tiny", "--format", "gguf", "--out", "owl.gguf", "--dtype", "f32"
    )
    path, verdict = done.stdout.splitlines()
    assert path == "owl.gguf"
    assert verdict.startswith("the same model in llama.cpp: log-probabilities differ by at most ")
    assert "; equal ids for " in verdict
    assert done.stderr.splitlines()[-1] == "comparing with llama.cpp ..."
    reader = gguf.GGUFReader(bittygpt.folder / "owl.gguf")
    assert reader.get_field("general.name").contents() == "owl"
    fields = {key: reader.get_field(f"tokenizer.ggml.{key}").contents() for key in TOKENIZER_FIELDS}
    assert fields == TOKENIZER_FIELDS  # where one is missing, readers take another value and say nothing
    assert [p.name for p in bittygpt.folder.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "q8_0"])
@pytest.mark.parametrize(
    "shape",
    [{}, {"num_kv_heads": 2}, {"num_kv_heads": 1}, {"tie_embeddings": True}, {"qk_norm": True, **THETA_1000}],
    ids=["plain", "grouped", "multi-query", "tied", "QK-norm"],
)
def test_every_kind_of_model_in_every_dtype(tmp_path, tokenizer, save_run, capsys, shape, dtype):
    export(save_run(tmp_path, tokenizer, shape), str(tmp_path / "owl.gguf"), dtype=dtype)
    report = json.loads(capsys.readouterr().out)
    assert report["verified"]
    assert report["largest_difference"] < {"float32": 2e-4, "float16": 0.05}.get(dtype, 1)
    assert report["kl_divergence"] < 1e-3
    kinds = {str(tensor.tensor_type.name) for tensor in gguf.GGUFReader(tmp_path / "owl.gguf").tensors}
    assert kinds == {"F32", {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}[dtype]}


def test_rows_that_q8_0_cannot_hold_are_float16(tmp_path, tokenizer, save_run, capsys):
    export(save_run(tmp_path, tokenizer, {"d_ff": 40}), str(tmp_path / "owl.gguf"), dtype="q8_0")
    assert json.loads(capsys.readouterr().out)["verified"]
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "owl.gguf").tensors}
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.0.ffn_up.weight"]) == ("F16", "Q8_0")


def without_permutation(monkeypatch):
    monkeypatch.setattr(huggingface, "halves_first", lambda weight, _: weight)


def with_wrong(add, value):
    def plant(monkeypatch):
        right = getattr(gguf.GGUFWriter, add)
        monkeypatch.setattr(gguf.GGUFWriter, add, lambda writer, _: right(writer, value))

    return plant


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (without_permutation, "log-probabilities differ"),
        (with_wrong("add_rope_freq_base", 9e3), "log-probabilities differ"),
        (with_wrong("add_layer_norm_rms_eps", 1e-6), "log-probabilities differ"),
        (with_wrong("add_tokenizer_pre", "default"), "gives other ids"),
        (with_wrong("add_tokenizer_pre", "of-its-own"), "llama.cpp cannot read the export: .*of-its-own"),
    ],
    ids=["permutation left out", "wrong theta", "wrong eps", "wrong splitting of text", "not to be read"],
)
def test_a_wrong_export_is_caught_and_leaves_what_was_there(
    tmp_path, tokenizer, save_run, monkeypatch, plant, message
):
    run = save_run(tmp_path, tokenizer, {"qk_norm": True})
    (tmp_path / "owl.gguf").write_text("precious")
    before = sorted(tmp_path.iterdir())
    plant(monkeypatch)
    with pytest.raises(ExportError, match=message):
        export(run, str(tmp_path / "owl.gguf"), overwrite=True)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "owl.gguf").read_text() == "precious"


def test_a_vocabulary_without_merges_splits_text_into_bytes_there_too(tmp_path, save_run, capsys):
    export(save_run(tmp_path, Tokenizer(BYTES, SPECIAL)), str(tmp_path / "owl.gguf"))
    output = capsys.readouterr()
    assert "without a tokenizer" not in output.err
    assert json.loads(output.out)["verified"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Tokenizer([*BYTES, b"the"], SPECIAL), "token 257, b'the', is made of 3 earlier tokens"),
        (Tokenizer(BYTES, SPECIAL, "bitty"), "encoding: bitty merges greedily"),
    ],
    ids=["edited vocabulary", "encoding: bitty"],
)
def test_without_an_equal_tokenizer_the_weights_go_alone(tmp_path, save_run, capsys, kind, reason):
    run = save_run(tmp_path, kind)
    export(run, str(tmp_path / "folder"))
    output = capsys.readouterr()
    assert f"exported without a tokenizer: {reason}" in output.err
    assert "not verified: llama.cpp runs no model that has no tokenizer" in output.err
    report = json.loads(output.out)
    assert (report["verified"], report["files"]) == (False, ["folder.gguf"])
    fields = gguf.GGUFReader(tmp_path / "folder/folder.gguf").fields
    assert "tokenizer.ggml.tokens" not in fields


def test_a_model_that_llama_cpp_does_not_have_is_refused(tmp_path, tokenizer, save_run):
    run = save_run(tmp_path, tokenizer, {"activation": "geglu"})
    with pytest.raises(UsageError, match=r"the model has .*: geglu"):
        export(run, str(tmp_path / "owl.gguf"))


def test_a_sample_section_has_no_place_there(tmp_path, tokenizer, save_run):
    with pytest.raises(UsageError, match="--config: a GGUF file holds no sampling settings"):
        export(save_run(tmp_path, tokenizer), config=tmp_path / "tiny.yaml")


def test_a_weight_too_large_for_float16_is_named(tmp_path, tokenizer, save_run, monkeypatch):
    right = command.load_checkpoint

    def with_a_large_weight(checkpoint):
        model, tokenizer = right(checkpoint)
        model.layers[0].ffn.w2.weight.data[0, 0] = 1e5
        return model, tokenizer

    run = save_run(tmp_path, tokenizer)
    monkeypatch.setattr(command, "load_checkpoint", with_a_large_weight)
    with pytest.raises(UsageError, match=r"layers.0.ffn.w2.weight goes up to 1e\+05, too large for float16"):
        export(run, str(tmp_path / "owl.gguf"), dtype="float16")
    assert not (tmp_path / "owl.gguf").exists()
