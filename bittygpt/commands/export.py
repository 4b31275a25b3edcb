"""`bittygpt export`: checkpoint -> a folder or file that other programs load."""

import json
from pathlib import Path
from typing import Any

from bittygpt.config import RunConfig, load_config, overlay_sample
from bittygpt.core import TransformerLM
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.errors import UsageError
from bittygpt.export.comparison import Verification
from bittygpt.export.gguf_file import KINDS, check_gguf_layout, write_gguf
from bittygpt.export.gguf_verification import verify_gguf
from bittygpt.export.hf_tokenizer import UnderivableError, tokenizer_files
from bittygpt.export.hf_verification import transformers_is_installed, verify_hf
from bittygpt.export.huggingface import DTYPES, check_layout, config_files, huggingface_weights
from bittygpt.export.llama_cpp import llama_cpp_is_installed
from bittygpt.export.model_card import model_card
from bittygpt.export.output_place import check_output, new_output
from bittygpt.files import write_json, write_text
from bittygpt.terminal.console import result, talk
from bittygpt.training.checkpoint import load_checkpoint, read_state, save_tensors
from bittygpt.training.checkpoint_folder import find_checkpoint
from bittygpt.training.run_folder import RunFolder

READERS = {"hf": ("transformers", transformers_is_installed), "gguf": ("llama.cpp", llama_cpp_is_installed)}
SHORT_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def export(
    ckpt: str,
    *,
    format: str,
    out: Path,
    config: Path | None,
    dtype: str,
    verify: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a checkpoint in another program's format, compare it with the model, and only then put it at `out`.

    Raises:
        UsageError: a flag is wrong, `out` is taken, or the model does not fit the layout or the dtype.
        CheckpointError: no good checkpoint is at `ckpt`.
        ExportError: what was written is not the model; nothing is left at `out`.
    """
    dtype = _check(format, dtype)
    if config is not None and format == "gguf":
        raise UsageError(
            "--config: a GGUF file holds no sampling settings; give them to the program that runs it"
        )
    checkpoint = find_checkpoint(ckpt, talk)
    target = check_output(out, overwrite, checkpoint)
    talk(f"exporting {checkpoint}")
    run_config = load_config(checkpoint / "config.yaml")
    if config is not None:
        run_config = overlay_sample(run_config, config)
    model, tokenizer = load_checkpoint(checkpoint)
    as_file = format == "gguf" and target.suffix == ".gguf"
    (check_layout if format == "hf" else check_gguf_layout)(model.config)
    with new_output(target, as_file) as place:
        if format == "hf":
            reason = _write_hf(place, target.name, checkpoint, run_config, model, tokenizer, dtype)
            written = place
        else:
            written = place if as_file else place / f"{target.name}.gguf"
            reason = write_gguf(written, target.stem if as_file else target.name, model, tokenizer, dtype)
        if reason:
            talk(f"exported without a tokenizer: {reason}")
        verification = _verify(format, written, model, tokenizer, dtype, not reason) if verify else None
        if not verify:
            talk("not verified (--no-verify)")
        files = [target.name] if as_file else sorted(path.name for path in place.iterdir())
    if as_json:
        report: dict[str, Any] = {"out": str(out), "format": format, "dtype": dtype}
        report |= {"checkpoint": str(checkpoint), "files": files, "verified": verification is not None}
        report["largest_difference"] = verification.largest_difference if verification else None
        report["kl_divergence"] = verification.kl_divergence if verification else None
        result(json.dumps(report))
        return
    result(str(out) if as_file else f"{out}: {', '.join(files)}")
    if verification is not None:
        result(f"the same model in {READERS[format][0]}: {_in_words(verification, format)}")


def _in_words(verification: Verification, format: str) -> str:
    texts = verification.texts_compared
    return (
        f"{'logits' if format == 'hf' else 'log-probabilities'} differ by at most "
        f"{verification.largest_difference:.1e} in the first {verification.positions_compared} positions, "
        f"KL divergence {verification.kl_divergence:.1e}"
        f"{'' if texts is None else f'; equal ids for {texts} hard texts'}"
    )


def _check(format: str, dtype: str) -> str:
    """The dtype by its full name. Raises UsageError for a format that is not known, or a dtype that it has not."""
    if format not in READERS:
        raise UsageError(
            f"--format {format} is not known; the formats are: {', '.join((*READERS, 'report'))}"
        )
    dtype = SHORT_NAMES.get(dtype, dtype)
    known = DTYPES if format == "hf" else KINDS
    if dtype not in known:
        raise UsageError(f"--dtype {dtype} is none that --format {format} has: {', '.join(known)}")
    return dtype


def _write_hf(
    folder: Path,
    name: str,
    checkpoint: Path,
    config: RunConfig,
    model: TransformerLM,
    tokenizer: Tokenizer,
    dtype: str,
) -> str:
    """Fill the folder; if it gets no tokenizer, why."""
    weights = huggingface_weights(model, DTYPES[dtype])
    save_tensors(folder / "model.safetensors", weights)
    files = config_files(model.config, tokenizer.end_of_text_id, dtype, config.sample.model_dump())
    reason = ""
    try:
        files |= tokenizer_files(tokenizer, model.config.context_length)
    except UnderivableError as error:
        reason = str(error)
    if reason:
        reason = f"{reason}; vocab.json goes along"
        tokenizer.save(folder / "vocab.json")
    for file_name, value in files.items():
        write_json(folder / file_name, value)
    events = list(RunFolder(checkpoint.parent.parent).events())
    yaml = (checkpoint / "config.yaml").read_text("utf-8")
    card = model_card(name, model, read_state(checkpoint), events, config.data.train, yaml, not reason)
    write_text(folder / "README.md", card)
    return reason


def _verify(
    format: str, path: Path, model: TransformerLM, tokenizer: Tokenizer, dtype: str, has_tokenizer: bool
) -> Verification | None:
    """The comparison with the program that the format is for, None where that is not installed."""
    reader, is_installed = READERS[format]
    if not is_installed():
        talk(f"not verified: {reader} is not installed (pip install 'bittygpt[verify]')")
        return None
    if format == "gguf" and not has_tokenizer:
        talk("not verified: llama.cpp runs no model that has no tokenizer")
        return None
    talk(f"comparing with {reader} ...")
    if format == "hf":
        return verify_hf(path, model, tokenizer, DTYPES[dtype])
    return verify_gguf(path, model, tokenizer, dtype)
