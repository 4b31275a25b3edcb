"""`bittygpt export` from a checkpoint to a folder: twice through the real command line, else called directly."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bittygpt.commands import export as command
from bittygpt.commands import export_formats
from bittygpt.errors import CheckpointError, ExportError, UsageError
from bittygpt.export.huggingface.folder import config_files
from bittygpt.export.huggingface.tokenizer import tokenizer_files
from bittygpt.export.onnx import model as onnx_model
from bittygpt.layouts import huggingface
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import load_checkpoint

transformers = pytest.importorskip("transformers")
TEXT = "The owl said hello to the fox, and the foxes didn't say a thing to the owls at all. " * 10
SPECIAL = ["<|endoftext|>"]
MODEL_FILES = ["README.md", "config.json", "generation_config.json", "model.safetensors"]
ALL_FILES = [*MODEL_FILES, "tokenizer.json", "tokenizer_config.json"]
BYTES_AND_THE = [*(bytes([value]) for value in range(256)), b"the"]  # but neither "th" nor "he"


def export(run: Path, out: str = "out", **changes) -> None:
    options = {"format": "hf", "config": None, "dtype": "float32", "verify": True, "overwrite": False}
    command.export(str(run), **({"out": Path(out), "as_json": False} | options | changes))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_command_line_writes_a_folder_that_is_the_model(bittygpt, tokenizer, save_run):
    run = save_run(bittygpt.folder, tokenizer)
    done = bittygpt("export", "--ckpt", "runs/tiny", "--format", "hf", "--out", "out")
    path, verdict = done.stdout.splitlines()
    assert path == f"out: {', '.join(ALL_FILES)}"
    assert verdict.startswith("the same model in transformers: logits differ by at most ")
    assert " in the first 32 positions, KL divergence " in verdict
    assert "; equal ids for " in verdict
    assert done.stderr.splitlines() == [
        "exporting runs/tiny/checkpoints/step-00000003",
        "the run's validation text is not compared: there are no tokens in data/tiny",
        "comparing with transformers ...",
    ]
    assert [name for name in names(bittygpt.folder) if name.startswith(".")] == []
    model, _ = load_checkpoint(run / "checkpoints/step-00000003")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(bittygpt.folder / "out", dtype=torch.float32)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(bittygpt.folder / "out")
    ids = their_tokenizer(TEXT[:80], return_tensors="pt")["input_ids"]
    assert ids.tolist() == [tokenizer.encode(TEXT[:80])]
    with torch.no_grad():
        assert (model(ids) - loaded(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["words", "JSON"])
def test_a_reader_that_leaves_changes_nothing(bittygpt, tokenizer, save_run, flags):
    save_run(bittygpt.folder, tokenizer)
    command = ["export", "--ckpt", "runs/tiny", "--format", "hf", "--no-verify", "--out", "out"]
    code, said = bittygpt.unread(*command, *flags)
    assert (code, said.splitlines()[1:]) == (0, ["not verified (--no-verify)"])
    assert names(bittygpt.folder / "out") == ALL_FILES


def test_the_command_line_ends_with_2_and_nothing_at_out(bittygpt, tokenizer, save_run):
    save_run(bittygpt.folder, tokenizer, {"activation": "relu2"})
    done = bittygpt("export", "--ckpt", "runs/tiny", "--format", "hf", "--out", "out", "--json", code=2)
    assert "model.activation: relu2 is; models with swiglu, geglu, reglu can be exported" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2
    assert "out" not in names(bittygpt.folder)


def test_mistakes_on_the_command_line_are_one_message_each(bittygpt, tokenizer, save_run):
    save_run(bittygpt.folder, tokenizer)
    (bittygpt.folder / "out").mkdir()
    (bittygpt.folder / "out/vocab.json").write_text("precious")
    before = names(bittygpt.folder)
    for format, dtype, out, message in (
        (
            "safetensors",
            "f32",
            "new",
            "--format safetensors is not known; the formats are: hf, gguf, onnx, torch",
        ),
        ("torch", "f32", "out", "--out out exists; name another place, or replace it with --overwrite"),
        ("onnx", "f32", "tiny.yaml/new", "no folder can be made there (File exists); name another place"),
    ):
        command = ["export", "--ckpt", "runs/tiny", "--format", format, "--dtype", dtype, "--out", out]
        done = bittygpt(*command, code=2)
        assert message in done.stderr
        assert done.stdout == ""
    assert (names(bittygpt.folder), names(bittygpt.folder / "out")) == (before, ["vocab.json"])


@pytest.mark.parametrize("format", ["hf", "gguf", "onnx"])
def test_the_runs_own_validation_text_is_compared_where_it_lies(
    trained, tmp_path, monkeypatch, capsys, format
):
    pytest.importorskip({"gguf": "xllamacpp", "onnx": "onnxruntime"}.get(format, "torch"))
    monkeypatch.chdir(trained.folder)
    export(Path("runs/tiny"), str(tmp_path / "out"), format=format, as_json=True)
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["verified"]
    assert report["validation_tokens"] > 100
    assert "is not compared" not in output.err


def test_a_tokenizer_that_is_wrong_in_validation_text_alone_is_caught(trained, tmp_path, monkeypatch):
    from bittygpt.export.validation_text import ValidationText

    validation = ValidationText([1], "a word that the run's own text has and no hard text: zyzzyva")
    monkeypatch.setattr(command, "read_validation_text", lambda *_: validation)
    monkeypatch.chdir(trained.folder)

    def without_zy(*arguments):
        files = tokenizer_files(*arguments)
        files["tokenizer.json"]["normalizer"] = {
            "type": "Replace",
            "pattern": {"String": "zy"},
            "content": "yz",
        }
        return files

    monkeypatch.setattr(export_formats, "tokenizer_files", without_zy)
    with pytest.raises(ExportError, match=r"gives other ids for .*zy"):
        export(Path("runs/tiny"), str(tmp_path / "out"), format="onnx")
    assert not (tmp_path / "out").exists()


def test_readme_tells_how_it_was_trained_and_its_lines_run(run, capsys):
    export(run, verify=False)
    readme = Path("out/README.md").read_text("utf-8")
    for words in ("# out", "owls.txt: 3 steps, 12,345 tokens", "3.2500 nats per token, 1.7500 bits per byte"):
        assert words in readme
    assert len({path.stat().st_mode for path in Path("out").iterdir()}) == 1
    code = readme.split("```python\n")[1].split("```")[0]
    assert code.count("\n") <= 6
    capsys.readouterr()
    exec(code.replace("PATH", str(Path("out").resolve())), {})
    assert capsys.readouterr().out.startswith("Once upon a time")


def test_json_dtype_and_anothers_sample_section(run, capsys):
    Path("s.yaml").write_text("sample: {temperature: 0.5, top_k: 7}\n")
    export(run, dtype="bfloat16", config=Path("s.yaml"), as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert 1e-4 < report.pop("largest_difference") < 1  # of the model as it was trained
    assert 0 < report.pop("kl_divergence") < 1e-3
    assert report == {
        "out": "out",
        "format": "hf",
        "dtype": "bfloat16",
        "checkpoint": str(run / "checkpoints/step-00000003"),
        "files": ALL_FILES,
        "verified": True,
        "texts_compared": 19,
        "validation_tokens": 0,
    }
    assert {t.dtype for t in load_file("out/model.safetensors").values()} == {torch.bfloat16}
    generation = json.loads(Path("out/generation_config.json").read_text())
    assert generation == {
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "do_sample": True,
        "max_new_tokens": 9,
        "repetition_penalty": 1.0,
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.9,
    }


def without_permutation(monkeypatch):
    monkeypatch.setattr(huggingface, "halves_first", lambda weight, _: weight)


def with_wrong(**wrong):
    def plant(monkeypatch):
        def files(*arguments):
            right = config_files(*arguments)
            return right | {"config.json": right["config.json"] | wrong}

        monkeypatch.setattr(export_formats, "config_files", files)

    return plant


@pytest.mark.parametrize(
    "plant",
    [
        without_permutation,
        with_wrong(rope_theta=9e3, rope_parameters={"rope_type": "default", "rope_theta": 9e3}),
        with_wrong(rms_norm_eps=1e-6),
    ],
    ids=["permutation left out", "wrong theta", "wrong eps"],
)
def test_a_wrong_export_is_caught_and_leaves_nothing(run, monkeypatch, capsys, plant):
    plant(monkeypatch)
    before = names(Path())
    with pytest.raises(ExportError, match="logits differ by"):
        export(run)
    assert names(Path()) == before
    Path("out").mkdir()
    Path("out/vocab.json").write_text("precious")
    with pytest.raises(ExportError, match="logits differ by"):
        export(run, overwrite=True)
    assert (names(Path()), names(Path("out"))) == (sorted([*before, "out"]), ["vocab.json"])
    assert capsys.readouterr().out == ""


def test_what_exists_is_kept_unless_it_may_be_replaced(run):
    Path("out").mkdir()
    Path("out/vocab.json").write_text("precious")
    with pytest.raises(UsageError, match=r"--out out exists.*--overwrite"):
        export(run, verify=False)
    assert names(Path("out")) == ["vocab.json"]
    export(run, verify=False, overwrite=True)
    assert names(Path("out")) == ALL_FILES


def test_every_export_may_be_replaced_by_every_other(tmp_path, tokenizer, save_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_model, "MOST_BYTES_IN_A_GRAPH", 1000)  # the weights are a file beside the graphs
    without_tokenizer = save_run(tmp_path, Tokenizer([b"<|endoftext|>", *BYTES_AND_THE], SPECIAL))
    for format in ("onnx", "hf"):
        export(without_tokenizer, format=format, verify=False, overwrite=True)
    shutil.rmtree("runs")
    run = save_run(tmp_path, tokenizer)
    for format in ("gguf", "torch", "onnx", "hf"):
        export(run, format=format, verify=False, overwrite=True)
    assert names(Path("out")) == ALL_FILES
    for name in ("owl.gguf", "owl.gguf"):
        export(run, name, format="gguf", verify=False, overwrite=True)


def test_overwrite_never_takes_what_is_no_export(bittygpt, tokenizer, save_run):
    save_run(bittygpt.folder, tokenizer)
    for name in ("data/notes/a.txt", "page.txt"):
        (bittygpt.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (bittygpt.folder / name).write_text("precious")
    for format, out, message in (
        ("hf", "data", "--out data holds what no export writes: notes/, and only an export is ever replaced"),
        ("gguf", "data", "--out data holds what no export writes: notes/"),
        ("hf", "page.txt", "--out page.txt is no folder"),
        ("report", "page.txt", "--out page.txt does not end with .html"),
    ):
        command = ["export", "--ckpt", "runs/tiny", "--format", format, "--overwrite", "--out", out]
        done = bittygpt(*command, code=2)
        assert message in done.stderr
        assert "name another place, or remove it yourself" in done.stderr
    assert all(
        (bittygpt.folder / name).read_text() == "precious" for name in ("data/notes/a.txt", "page.txt")
    )


def test_the_run_itself_is_never_replaced(run):
    with pytest.raises(UsageError, match="--out runs is or holds the checkpoint"):
        export(run, "runs", verify=False, overwrite=True)
    assert (run / "checkpoints/step-00000003/model.safetensors").exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Tokenizer([b"<|endoftext|>", *BYTES_AND_THE], SPECIAL), "token 257, b'the', is made of 3 earlier"),
        (Tokenizer([b"<|endoftext|>", *BYTES_AND_THE[:-1]], SPECIAL, "bitty"), "encoding: bitty merges"),
    ],
    ids=["edited vocabulary", "encoding: bitty"],
)
def test_without_an_equal_tokenizer_the_weights_go_alone(
    tmp_path, monkeypatch, capsys, save_run, kind, reason
):
    monkeypatch.chdir(tmp_path)
    export(save_run(tmp_path, kind))
    output = capsys.readouterr()
    assert f"exported without a tokenizer: {reason}" in output.err
    assert "logits differ by at most" in output.out
    assert names(Path("out")) == [*MODEL_FILES, "vocab.json"]
    assert "AutoTokenizer.from_pretrained" not in Path("out/README.md").read_text("utf-8")


def test_unverified_says_so(run, monkeypatch, capsys):
    export(run, "asked", verify=False)
    assert "not verified (--no-verify)" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    export(run, "missing", as_json=True)
    output = capsys.readouterr()
    assert "not verified: transformers is not installed (pip install 'bittygpt[verify]')" in output.err
    report = json.loads(output.out)
    assert (report["verified"], report["largest_difference"]) == (False, None)
    assert names(Path("asked")) == names(Path("missing")) == ALL_FILES


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": "pt"}, UsageError, "--format pt is not known; the formats are: hf, gguf, onnx, torch"),
        (
            {"dtype": "int3"},
            UsageError,
            "--dtype int3 is none that --format hf has: float32, float16, bfloat16",
        ),
        ({"dtype": "q8_0"}, UsageError, "--dtype q8_0 is none that --format hf has"),
        ({"run": "runs/nothing"}, CheckpointError, "there is no folder runs/nothing"),
        ({"out": "tiny.yaml/out"}, UsageError, "no folder can be made there"),
    ],
    ids=["format", "dtype", "gguf's dtype", "checkpoint", "place"],
)
def test_wrong_arguments_leave_nothing(run, changes, error, message):
    before = names(Path())
    with pytest.raises(error, match=message):
        export(**({"run": run} | changes))
    assert names(Path()) == before
