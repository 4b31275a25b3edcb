"""`bittygpt export`: checkpoint -> a folder that other programs load."""

import json
from pathlib import Path
from typing import Any

from bittygpt.config import RunConfig, load_config, overlay_sample
from bittygpt.core import TransformerLM
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.errors import UsageError
from bittygpt.export.hf_tokenizer import UnderivableError, tokenizer_files
from bittygpt.export.huggingface import DTYPES, check_layout, config_files, huggingface_weights
from bittygpt.export.model_card import model_card
from bittygpt.export.output_folder import check_output_folder, new_folder
from bittygpt.export.verification import Verification, transformers_is_installed, verify
from bittygpt.files import write_json, write_text
from bittygpt.terminal.console import result, talk
from bittygpt.training.checkpoint import load_checkpoint, read_state, save_tensors
from bittygpt.training.checkpoint_folder import find_checkpoint
from bittygpt.training.run_folder import RunFolder


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
    """Write a checkpoint as a Hugging Face folder, compare it with the model, and only then put it at `out`.

    Raises:
        UsageError: a flag is wrong, `out` is taken, or the model does not fit the layout or the dtype.
        CheckpointError: no good checkpoint is at `ckpt`.
        ExportError: what was written is not the model; nothing is left at `out`.
    """
    if format != "hf":
        raise UsageError(f"--format {format} is not known; the formats are: hf")
    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype} is none of {', '.join(DTYPES)}")
    checkpoint = find_checkpoint(ckpt, talk)
    target = check_output_folder(out, overwrite, checkpoint)
    talk(f"exporting {checkpoint}")
    run_config = load_config(checkpoint / "config.yaml")
    if config is not None:
        run_config = overlay_sample(run_config, config)
    model, tokenizer = load_checkpoint(checkpoint)
    check_layout(model.config)
    with new_folder(target) as folder:
        _write(folder, target.name, checkpoint, run_config, model, tokenizer, dtype)
        verification = _verify(folder, model, tokenizer, dtype) if verify else None
        if not verify:
            talk("not verified (--no-verify)")
        files = sorted(path.name for path in folder.iterdir())
    difference = verification.largest_difference if verification else None
    if as_json:
        report: dict[str, Any] = {
            "out": str(out),
            "format": format,
            "dtype": dtype,
            "checkpoint": str(checkpoint),
            "files": files,
        }
        report |= {"verified": verification is not None, "largest_difference": difference}
        result(json.dumps(report))
        return
    result(f"{out}: {', '.join(files)}")
    if verification is not None:
        texts = verification.texts_compared
        ids = "" if texts is None else f"; equal ids for {texts} hard texts"
        where = f"in the first {verification.positions_compared} positions"
        result(f"the same model in transformers: logits differ by at most {difference:.1e} {where}{ids}")


def _write(
    folder: Path,
    name: str,
    checkpoint: Path,
    config: RunConfig,
    model: TransformerLM,
    tokenizer: Tokenizer,
    dtype: str,
) -> None:
    weights = huggingface_weights(model, DTYPES[dtype])
    save_tensors(folder / "model.safetensors", weights)
    files = config_files(model.config, tokenizer.end_of_text_id, dtype, config.sample.model_dump())
    reason = (
        "encoding: bitty merges greedily, and no other program does" if tokenizer.encoding == "bitty" else ""
    )
    try:
        files |= {} if reason else tokenizer_files(tokenizer, model.config.context_length)
    except UnderivableError as error:
        reason = str(error)
    if reason:
        talk(f"exported without a tokenizer: {reason}; vocab.json goes along")
        tokenizer.save(folder / "vocab.json")
    for file_name, value in files.items():
        write_json(folder / file_name, value)
    events = list(RunFolder(checkpoint.parent.parent).events())
    yaml = (checkpoint / "config.yaml").read_text("utf-8")
    card = model_card(name, model, read_state(checkpoint), events, config.data.train, yaml, not reason)
    write_text(folder / "README.md", card)


def _verify(folder: Path, model: TransformerLM, tokenizer: Tokenizer, dtype: str) -> Verification | None:
    if not transformers_is_installed():
        talk("not verified: transformers is not installed (pip install 'bittygpt[verify]')")
        return None
    talk("comparing with transformers ...")
    return verify(folder, model, tokenizer, DTYPES[dtype])
