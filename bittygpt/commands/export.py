"""`bittygpt export`: checkpoint -> a folder or file that other programs load."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from bittygpt.commands.export_formats import FORMATS, Format, Job
from bittygpt.commands.out_of_memory import of_export
from bittygpt.config import RunConfig, load_config, overlay_sample
from bittygpt.core import ModelConfig
from bittygpt.engine.formulas import by_file, of_architecture
from bittygpt.errors import DataError, UsageError
from bittygpt.export.comparison import Verification
from bittygpt.export.output_place import check_output, new_output
from bittygpt.export.validation_text import ValidationText, read_validation_text
from bittygpt.terminal.console import log, result
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import load_checkpoint
from bittygpt.training.checkpoints.checkpoint_folder import find_checkpoint
from bittygpt.training.checkpoints.saving import BESIDE_TENSORS
from bittygpt.training.devices.memory import memory_explained

SHORT_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "q8_0": 34 / 32}  # of a weight


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
        DiskFullError: nothing is left at `out`; says how much room is needed.
        OutOfMemoryError: says on what the memory went, and what to change; nothing is left at `out`.
    """
    kind, dtype = _check(format, dtype)
    if config is not None and kind.no_sampling:
        raise UsageError(f"--config: {kind.no_sampling}")
    checkpoint = find_checkpoint(ckpt, log)
    as_file = bool(kind.ending) and out.resolve().suffix == kind.ending
    target = check_output(out, overwrite, checkpoint, as_file)
    log(f"exporting {checkpoint}")
    run_config = load_config(checkpoint / "config.yaml")
    if config is not None:
        run_config = overlay_sample(run_config, config)
    explain = partial(of_export, checkpoint)
    with memory_explained(explain):
        model, tokenizer = load_checkpoint(checkpoint)
    _check_model(format, model.config)
    needed = kind.copies * int(BYTES[dtype] * model.num_parameters()) + BESIDE_TENSORS
    name = target.stem if as_file else target.name
    with memory_explained(explain), new_output(target, as_file, needed) as place:
        reason = kind.write(place, Job(name, checkpoint, run_config, model, tokenizer, dtype, None))
        if reason:
            log(f"exported without a tokenizer: {reason}")
        verification = None
        if _is_to_be_verified(kind, verify, has_tokenizer=not reason):
            validation = _validation_text(run_config, tokenizer)
            log(f"comparing with {kind.reader} ...")
            job = Job(name, checkpoint, run_config, model, tokenizer, dtype, validation)
            verification = kind.verify(place, job)
            for remark in verification.remarks:
                log(f"not verified: {remark}")
        paths = [path for path in place.rglob("*") if path.is_file()]
        files = [target.name] if as_file else sorted(str(path.relative_to(place)) for path in paths)
    if as_json:
        report: dict[str, Any] = {"out": str(out), "format": format, "dtype": dtype}
        report |= {"checkpoint": str(checkpoint), "files": files, "verified": verification is not None}
        for key in ("largest_difference", "kl_divergence", "texts_compared", "validation_tokens"):
            report[key] = getattr(verification, key) if verification else None
        result(json.dumps(report))
        return
    result(str(out) if as_file else f"{out}: {', '.join(files)}")
    if verification is not None:
        result(f"the same model in {kind.reader}: {_in_words(verification, kind.measure)}")


def _check(format: str, dtype: str) -> tuple[Format, str]:
    """The format, and the dtype by its full name.

    Raises:
        UsageError: the format is not known, or the dtype is none that it has.
    """
    if format not in FORMATS:
        known_formats = ", ".join((*FORMATS, "report"))
        raise UsageError(f"--format {format} is not known; the formats are: {known_formats}")
    dtype = SHORT_NAMES.get(dtype, dtype)
    known = FORMATS[format].dtypes
    if dtype not in known:
        raise UsageError(f"--dtype {dtype} is none that --format {format} has: {', '.join(known)}")
    return FORMATS[format], dtype


def _check_model(format: str, config: ModelConfig) -> None:
    """Raise UsageError for a model that the format cannot hold."""
    kind = FORMATS[format]
    if not kind.as_traced and (others := by_file(of_architecture(config.activation))):
        raise UsageError(
            f"--format {format}: core was changed in {', '.join(others)}, and {kind.reader} would compute what stood "
            "there before; --format torch holds the model's own operations"
        )
    kind.check(config)


def _is_to_be_verified(kind: Format, wanted: bool, has_tokenizer: bool) -> bool:
    """Whether the export can be verified; if not, a line says why."""
    if not wanted:
        log("not verified (--no-verify)")
        return False
    if not kind.is_readable():
        log(f"not verified: {kind.reader} is not installed (pip install 'bittygpt[verify]')")
        return False
    if kind.needs_tokenizer and not has_tokenizer:
        log(f"not verified: {kind.reader} runs no model that has no tokenizer")
        return False
    return True


def _validation_text(config: RunConfig, tokenizer: Tokenizer) -> ValidationText | None:
    """Some of the run's validation text; None, with a line that says why, where it is gone."""
    try:
        return read_validation_text(Path(config.data.dir).expanduser(), tokenizer)
    except DataError as error:
        log(f"the run's validation text is not compared: {error}")
        return None


def _in_words(verification: Verification, measure: str) -> str:
    texts, tokens = verification.texts_compared, verification.validation_tokens
    own = f" and {tokens:,} tokens of validation text" if tokens else ""
    return (
        f"{measure} differ by at most {verification.largest_difference:.1e} "
        f"in the first {verification.positions_compared} positions, "
        f"KL divergence {verification.kl_divergence:.1e}"
        f"{'' if texts is None else f'; equal ids for {texts} hard texts{own}'}"
    )
