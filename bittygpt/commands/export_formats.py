"""The formats of `bittygpt export`: for each, what it can hold, how it is written, and who reads it back.

A new format is a `Format` in `FORMATS`; what it needs of other packages is imported in its functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.export.comparison import Verification
from bittygpt.export.gguf.llama_cpp import llama_cpp_is_installed
from bittygpt.export.gguf.verify import verify_gguf
from bittygpt.export.huggingface.folder import DTYPES, check_layout, config_files, huggingface_weights
from bittygpt.export.huggingface.model_card import USAGE, model_card
from bittygpt.export.huggingface.tokenizer import tokenizer_files
from bittygpt.export.huggingface.verify import transformers_is_installed, verify_hf
from bittygpt.export.onnx.folder import CACHED, WEIGHTS, check_onnx_is_installed, onnx_config_files
from bittygpt.export.onnx.verify import onnx_runtime_is_installed, verify_onnx
from bittygpt.export.validation_text import ValidationText
from bittygpt.files import as_json, write_json, write_text
from bittygpt.tokenizer.byte_level import UnderivableError
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.tokenizer.vocabulary import vocabulary_as_text
from bittygpt.training.checkpoints.checkpoint import read_state, save_tensors
from bittygpt.training.checkpoints.run_folder import RunFolder


@dataclass(frozen=True)
class Job:
    """One export: of which checkpoint, under which name, in which dtype."""

    name: str
    checkpoint: Path
    config: RunConfig
    model: TransformerLM
    tokenizer: Tokenizer
    dtype: str
    validation: ValidationText | None

    @property
    def sample(self) -> dict[str, Any]:
        """The config's `sample:` section."""
        return self.config.sample.model_dump()

    def tokenizer_files(self) -> tuple[dict[str, Any], str]:
        """The tokenizer as JSON, by file name, or none and the reason why."""
        try:
            return tokenizer_files(self.tokenizer, self.model.config.context_length), ""
        except UnderivableError as error:
            return {}, f"{error}; vocab.json goes along"

    def write_card(self, folder: Path, format: str, has_tokenizer: bool) -> None:
        """Write README.md."""
        events = list(RunFolder(self.checkpoint.parent.parent).events())
        yaml = (self.checkpoint / "config.yaml").read_text("utf-8")
        state, sources = read_state(self.checkpoint), self.config.data.train
        library, code = USAGE[format]
        usage = code(has_tokenizer)
        card = model_card(self.name, self.model, state, events, sources, yaml, library, usage)
        write_text(folder / "README.md", card)


@dataclass(frozen=True)
class Format:
    """What the command needs to know of a format.

    Attributes:
        dtypes: the first is the default of `--dtype`.
        reader: the program that its exports are compared in.
        is_readable: whether that program is installed.
        check: raises UsageError for a model that the format cannot hold, or if what writes it is not installed.
        write: writes to the place, and returns why there is no tokenizer, or nothing.
        verify: compares; told whether there is a tokenizer.
        ending: of an `--out` that is to be a file and no folder.
        copies: how often the weights are in it.
        measure: what of the two models is compared.
        needs_tokenizer: the reader runs no model that has none.
        no_sampling: why it takes no `--config`.
        as_traced: it holds the model's own operations, whatever they are.
    """

    dtypes: tuple[str, ...]
    reader: str
    is_readable: Callable[[], bool]
    check: Callable[[ModelConfig], None]
    write: Callable[[Path, Job], str]
    verify: Callable[[Path, Job], Verification]
    ending: str = ""
    copies: int = 1
    measure: str = "logits"
    needs_tokenizer: bool = False
    no_sampling: str = ""
    as_traced: bool = False


def _write_hf(folder: Path, job: Job) -> str:
    weights = huggingface_weights(job.model, DTYPES[job.dtype])
    save_tensors(folder / "model.safetensors", weights)
    return _write_rest(
        folder, job, "hf", config_files(job.model.config, job.tokenizer.end_of_text_id, job.dtype, job.sample)
    )


def _write_onnx(folder: Path, job: Job) -> str:
    from bittygpt.export.onnx.model import write_onnx

    (folder / CACHED).parent.mkdir()
    write_onnx((folder / CACHED).parent, job.model, job.dtype)
    files = onnx_config_files(job.model.config, job.tokenizer.end_of_text_id, job.dtype, job.sample)
    if (folder / WEIGHTS).exists() and "config.json" in files:
        files["config.json"]["transformers.js_config"]["use_external_data_format"] = True
    return _write_rest(folder, job, "onnx", files)


def _write_rest(folder: Path, job: Job, format: str, files: dict[str, Any]) -> str:
    """Write tokenizer, configs and card; returns why there is no tokenizer, if so."""
    found, reason = job.tokenizer_files()
    if reason:
        job.tokenizer.save(folder / "vocab.json")
    for file_name, value in (files | found).items():
        write_json(folder / file_name, value)
    job.write_card(folder, format, not reason)
    return reason


def _write_gguf(place: Path, job: Job) -> str:
    from bittygpt.export.gguf.file import write_gguf

    return write_gguf(_file_in(place, job, ".gguf"), job.name, job.model, job.tokenizer, job.dtype)


def _write_torch(place: Path, job: Job) -> str:
    from bittygpt.export.torch_export.program import write_program

    found, reason = job.tokenizer_files()
    extra = {name: as_json(value) for name, value in found.items()}
    if reason:
        reason = reason.replace("vocab.json goes along", "the file's vocab.json has it")
        extra["vocab.json"] = vocabulary_as_text(job.tokenizer.vocabulary)
    extra["config.json"] = as_json({**vars(job.model.config), "end_of_text_id": job.tokenizer.end_of_text_id})
    write_program(_file_in(place, job, ".pt2"), job.model, job.dtype, extra)
    if place.is_dir():
        job.write_card(place, "torch", not reason)
    return reason


def _file_in(place: Path, job: Job, ending: str) -> Path:
    return place / f"{job.name}{ending}" if place.is_dir() else place


def _verify_gguf(place: Path, job: Job) -> Verification:
    return verify_gguf(_file_in(place, job, ".gguf"), job.model, job.tokenizer, job.dtype, job.validation)


def _verify_torch(place: Path, job: Job) -> Verification:
    from bittygpt.export.torch_export.program import verify_program

    return verify_program(_file_in(place, job, ".pt2"), job.model, job.tokenizer, job.dtype, job.validation)


def _check_gguf(config: ModelConfig) -> None:
    from bittygpt.export.gguf.file import check_gguf_layout

    check_gguf_layout(config)


FORMATS = {
    "hf": Format(
        dtypes=("float32", "float16", "bfloat16"),
        reader="transformers",
        is_readable=transformers_is_installed,
        check=check_layout,
        write=_write_hf,
        verify=lambda place, job: verify_hf(place, job.model, job.tokenizer, job.dtype, job.validation),
    ),
    "gguf": Format(
        dtypes=("float32", "float16", "bfloat16", "q8_0"),
        reader="llama.cpp",
        is_readable=llama_cpp_is_installed,
        check=_check_gguf,
        write=_write_gguf,
        verify=_verify_gguf,
        ending=".gguf",
        measure="log-probabilities",
        needs_tokenizer=True,
        no_sampling="a GGUF file holds no sampling settings; give them to the program that runs it",
    ),
    "onnx": Format(
        dtypes=("float32", "float16"),
        reader="ONNX Runtime",
        is_readable=onnx_runtime_is_installed,
        check=lambda _: check_onnx_is_installed(),
        write=_write_onnx,
        verify=lambda place, job: verify_onnx(place, job.model, job.tokenizer, job.dtype, job.validation),
        copies=2,
    ),
    "torch": Format(
        dtypes=("float32", "float16", "bfloat16"),
        reader="PyTorch without bittygpt",
        is_readable=lambda: True,
        check=lambda _: None,
        write=_write_torch,
        verify=_verify_torch,
        ending=".pt2",
        no_sampling="a .pt2 program gives logits and samples nothing",
        as_traced=True,
    ),
}
