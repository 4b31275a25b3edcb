"""`bittygpt export --format onnx` and `--format torch`: every kind of model, wrong ones caught, mistakes named."""

import copy
import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from bittygpt.commands import export as command
from bittygpt.errors import ExportError, UsageError
from bittygpt.export.onnx import model as onnx_model
from bittygpt.export.torch_export import program as torch_program
from bittygpt.export.torch_export import reader as torch_reader
from bittygpt.layouts import huggingface
from bittygpt.tokenizer.tokenizer import Tokenizer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SPECIAL = ["<|endoftext|>"]
BYTES_AND_THE = [*SPECIAL[0:1], *(bytes([value]) for value in range(256)), b"the"]
SHAPES = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "tied": {"tie_embeddings": True},
    "QK-norm": {"qk_norm": True, "rope_theta": 1000.0},
}
REST = ["README.md", "config.json", "genai_config.json", "generation_config.json"]
ONNX_FILES = [*REST, "onnx/model.onnx", "onnx/model_plain.onnx", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture
def here(monkeypatch):
    """Programs are asked in this process, which has PyTorch at hand already."""

    def ask(path, folder, questions):
        answers, tokenizer_json = torch_reader.answer(str(path), questions)
        if tokenizer_json:
            (folder / "tokenizer.json").write_text(tokenizer_json, "utf-8")
        return answers

    monkeypatch.setattr(torch_program, "_ask", ask)


def export(run: Path, out: Path, format: str, **changes) -> None:
    options = {"config": None, "dtype": "float32", "verify": True, "overwrite": False, "as_json": True}
    command.export(str(run), **({"format": format, "out": out} | options | changes))


def test_the_command_line_writes_graphs_that_are_the_model(bittygpt, tokenizer, save_run):
    save_run(bittygpt.folder, tokenizer)
    done = bittygpt("export", "--ckpt", "runs/tiny", "--format", "onnx", "--out", "out")
    files, verdict = done.stdout.splitlines()
    assert files == f"out: {', '.join(ONNX_FILES)}"
    assert verdict.startswith("the same model in ONNX Runtime: logits differ by at most ")
    assert "KL divergence" in verdict
    assert "; equal ids for " in verdict
    assert done.stderr.splitlines()[-1] == "comparing with ONNX Runtime ..."
    for name in ("model", "model_plain"):
        onnx.checker.check_model(str(bittygpt.folder / f"out/onnx/{name}.onnx"), full_check=True)
    code = (bittygpt.folder / "out/README.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    exec(code.replace("PATH", str(bittygpt.folder / "out")), {})
    genai = json.loads((bittygpt.folder / "out/genai_config.json").read_text())["model"]["decoder"]
    assert (bittygpt.folder / "out" / genai["filename"]).exists()
    config = json.loads((bittygpt.folder / "out/config.json").read_text())
    assert config["transformers.js_config"] == {"dtype": "fp32", "kv_cache_dtype": "float32"}
    inputs = {i.name for i in onnx.load(bittygpt.folder / "out/onnx/model.onnx").graph.input}
    caches = {f"past_key_values.{layer}.{what}" for layer in (0, 1) for what in ("key", "value")}
    assert inputs == {"input_ids", "attention_mask", "position_ids"} | caches


def test_the_command_line_writes_a_program_that_runs_without_bittygpt(bittygpt, tokenizer, save_run):
    run = save_run(bittygpt.folder, tokenizer)
    done = bittygpt("export", "--ckpt", "runs/tiny", "--format", "torch", "--out", "owl.pt2")
    path, verdict = done.stdout.splitlines()
    assert path == "owl.pt2"
    assert done.stderr.splitlines()[-1] == "comparing with PyTorch without bittygpt ..."
    assert not re.search(r"^[WE]\d{4} ", done.stderr, flags=re.MULTILINE), "a message of torch's own"
    assert verdict.startswith("the same model in PyTorch without bittygpt: logits differ by at most ")
    assert "; equal ids for " in verdict
    model, _ = command.load_checkpoint(run / "checkpoints/step-00000003")
    texts = {"config.json": "", "tokenizer.json": ""}
    program = torch.export.load(bittygpt.folder / "owl.pt2", extra_files=texts).module()
    ids = torch.randint(0, tokenizer.vocab_size, (3, 32))
    for shape in ((3, 32), (1, 1), (2, 7)):
        part = ids[: shape[0], : shape[1]]
        assert (program(part) - model(part)).abs().max() < 1e-5
    with pytest.raises((RuntimeError, AssertionError)):
        program(torch.zeros(1, 33, dtype=torch.int64))
    assert json.loads(texts["config.json"])["end_of_text_id"] == 0


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_model_as_graphs(tmp_path, tokenizer, save_run, capsys, shape, dtype):
    export(save_run(tmp_path, tokenizer, SHAPES[shape]), tmp_path / "out", "onnx", dtype=dtype)
    report = json.loads(capsys.readouterr().out)
    assert report["verified"]
    assert report["largest_difference"] < {"float32": 2e-4, "float16": 0.05}[dtype]
    assert report["kl_divergence"] < 1e-3
    kinds = {
        t.data_type for t in onnx.load(tmp_path / "out/onnx/model.onnx").graph.initializer if len(t.dims) == 2
    }
    half = onnx.TensorProto.FLOAT16
    assert (half in kinds) == (dtype == "float16")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("shape", "dtype"), [*((s, "float32") for s in SHAPES), ("plain", "float16"), ("QK-norm", "bfloat16")]
)
def test_every_kind_of_model_as_program(tmp_path, tokenizer, save_run, capsys, shape, dtype):
    run = save_run(tmp_path, tokenizer, SHAPES[shape] | {"num_layers": 1})
    export(run, tmp_path / "out", "torch", dtype=dtype)
    report = json.loads(capsys.readouterr().out)
    assert report["verified"]
    assert report["files"] == ["README.md", "out.pt2"]
    assert report["largest_difference"] < {"float32": 2e-4, "float16": 0.05}.get(dtype, 1)
    assert report["kl_divergence"] < 1e-3


@pytest.mark.parametrize("activation", ["geglu", "reglu", "gelu", "relu", "relu2"])
def test_graphs_know_every_activation(tmp_path, tokenizer, save_run, capsys, activation):
    export(save_run(tmp_path, tokenizer, {"activation": activation}), tmp_path / "out", "onnx")
    report = json.loads(capsys.readouterr().out)
    assert report["verified"]
    assert ("config.json" in report["files"]) == (activation in {"geglu", "reglu"})


def test_large_weights_lie_beside_the_graphs_once(tmp_path, tokenizer, save_run, capsys, monkeypatch):
    run = save_run(tmp_path, tokenizer)
    export(run, tmp_path / "small", "onnx", verify=False)
    monkeypatch.setattr(onnx_model, "MOST_BYTES_IN_A_GRAPH", 1000)
    export(run, tmp_path / "large", "onnx")
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["verified"]
    assert "onnx/model.onnx_data" in report["files"]
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "large/onnx").iterdir()}
    assert sizes["model.onnx"] + sizes["model_plain.onnx"] < sizes["model.onnx_data"]
    config = json.loads((tmp_path / "large/config.json").read_text())
    assert config["transformers.js_config"]["use_external_data_format"]


def without_permutation(monkeypatch):
    monkeypatch.setattr(huggingface, "halves_first", lambda weight, _: weight)
    monkeypatch.setattr(onnx_model, "halves_first", lambda weight, _: weight)


def of_another_model(module, writer, change):
    """The exported model is a copy that `change` has spoilt."""

    def plant(monkeypatch):
        right = getattr(module, writer)

        def wrong(path, model, *rest):
            twin = copy.deepcopy(model)
            change(twin)
            return right(path, twin, *rest)

        monkeypatch.setattr(module, writer, wrong)

    return plant


def other_theta(model):
    for layer in model.layers:
        layer.attn.rope.theta = 9e3
        layer.attn.rope.cos_sin = layer.attn.rope.table()


def other_eps(model):
    model.config = dataclasses.replace(model.config, norm_eps=1e-6)
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-6


def frozen_length(model):
    model.config = dataclasses.replace(model.config, context_length=16)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("format", "plant"),
    [
        ("onnx", without_permutation),
        *(
            (f, of_another_model(m, w, c))
            for c in (other_theta, other_eps)
            for f, m, w in (("onnx", onnx_model, "write_onnx"), ("torch", torch_program, "write_program"))
        ),
    ],
    ids=["onnx: permutation left out", "onnx: theta", "torch: theta", "onnx: eps", "torch: eps"],
)
def test_a_wrong_export_is_caught_and_leaves_what_was_there(
    tmp_path,
    tokenizer,
    save_run,
    monkeypatch,
    capsys,
    format,
    plant,
):
    run = save_run(tmp_path, tokenizer)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/vocab.json").write_text("precious")
    before = sorted(tmp_path.iterdir())
    plant(monkeypatch)
    with pytest.raises(ExportError, match="logits differ by"):
        export(run, tmp_path / "out", format, overwrite=True)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "out/vocab.json").read_text() == "precious"
    assert capsys.readouterr().out == ""


def test_a_program_that_is_none_or_too_patient_is_caught(tmp_path, tokenizer, save_run, monkeypatch):
    run = save_run(tmp_path, tokenizer)
    right = torch_program.write_program
    monkeypatch.setattr(torch_program, "write_program", lambda path, *_: path.write_text("garbage"))
    with pytest.raises(ExportError, match="PyTorch cannot run the export: "):
        export(run, tmp_path / "out.pt2", "torch")
    assert not (tmp_path / "out.pt2").exists()
    monkeypatch.setattr(torch_program, "write_program", right)
    monkeypatch.setattr(
        torch_program, "_ask", lambda *_: {"logits": [], "greedy": [], "refuses_too_long": False}
    )
    monkeypatch.setattr(torch_program, "compare_logits", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(torch_program, "compared_ids", lambda *_: [])
    with pytest.raises(ExportError, match="takes more than the model's 32 positions"):
        export(run, tmp_path / "out.pt2", "torch")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (
            Tokenizer([b"<|endoftext|>", *BYTES_AND_THE[1:]], SPECIAL),
            "token 257, b'the', is made of 3 earlier",
        ),
        (Tokenizer([b"<|endoftext|>", *BYTES_AND_THE[1:-1]], SPECIAL, "bitty"), "encoding: bitty merges"),
    ],
    ids=["edited vocabulary", "encoding: bitty"],
)
def test_without_an_equal_tokenizer_the_weights_go_alone(tmp_path, save_run, capsys, kind, reason):
    run = save_run(tmp_path, kind)
    for format in ("onnx", "torch") if kind.encoding == "bpe" else ("onnx",):  # both write the same files
        export(run, tmp_path / format, format)
        output = capsys.readouterr()
        assert f"exported without a tokenizer: {reason}" in output.err
        report = json.loads(output.out)
        assert (report["verified"], report["texts_compared"]) == (True, None)
    assert (tmp_path / "onnx/vocab.json").exists()
    assert not (tmp_path / "onnx/tokenizer.json").exists()
    if kind.encoding == "bitty":
        return
    texts = {"vocab.json": "", "tokenizer.json": ""}
    torch.export.load(tmp_path / "torch/torch.pt2", extra_files=texts)
    assert (texts["tokenizer.json"], len(json.loads(texts["vocab.json"]))) == ("", kind.vocab_size)


def test_what_is_not_installed_is_named(tmp_path, tokenizer, save_run, monkeypatch, capsys):
    run = save_run(tmp_path, tokenizer)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    export(run, tmp_path / "a", "onnx")
    assert "not verified: its tokenizer.json is not compared: tokenizers is not" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    export(run, tmp_path / "b", "onnx")
    output = capsys.readouterr()
    assert "not verified: ONNX Runtime is not installed (pip install 'bittygpt[verify]')" in output.err
    assert json.loads(output.out)["verified"] is False
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        UsageError, match=r"onnx is not installed; install it with pip install 'bittygpt\[onnx\]'"
    ):
        export(run, tmp_path / "c", "onnx")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": "onnx", "dtype": "bf16"},
            "--dtype bfloat16 is none that --format onnx has: float32, float16",
        ),
        ({"format": "torch", "dtype": "q8_0"}, "--dtype q8_0 is none that --format torch has"),
        ({"format": "torch", "config": Path("x.yaml")}, "--config: a .pt2 program gives logits"),
    ],
)
def test_what_a_format_has_not_is_said(tmp_path, tokenizer, save_run, changes, message):
    with pytest.raises(UsageError, match=message):
        export(**({"run": save_run(tmp_path, tokenizer), "out": tmp_path / "out"} | changes))
    assert not (tmp_path / "out").exists()
