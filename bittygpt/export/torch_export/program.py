"""The model as one `.pt2` file: its operations written down by torch.export, to be run without bittygpt.

    program = torch.export.load("model.pt2").module()
    logits = program(ids)       # (B, T) int64 -> (B, T, V), for any B and any T up to the context length

Shapes: B batch, T positions, V vocabulary.
"""

import copy
import io
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from bittygpt.core import TransformerLM
from bittygpt.engine.accelerate import prepare_for_compile
from bittygpt.errors import ExportError
from bittygpt.export.comparison import (
    Verification,
    compare_logits,
    compare_tokenizer_file,
    compared_ids,
    compared_length,
    first_difference,
    greedy_start,
    greedy_text,
)
from bittygpt.export.huggingface.folder import rounded
from bittygpt.export.torch_export import reader as torch_reader
from bittygpt.export.validation_text import ValidationText
from bittygpt.tokenizer.tokenizer import Tokenizer

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@torch.no_grad()
def write_program(path: Path, model: TransformerLM, dtype: str, extra_files: dict[str, str]) -> None:
    """Write the model's program, and texts that `torch.export.load(…, extra_files={name: ""})` gives back.

    Raises:
        UsageError: a weight is too large for `dtype`.
    """
    context = model.config.context_length
    traced = copy.deepcopy(model).to("cpu").eval().requires_grad_(False)
    for name, parameter in traced.named_parameters():
        parameter.data = rounded(name, parameter.data, DTYPES[dtype])
    batch = torch.export.Dim("batch", min=1)
    length: dict[int, Any] = {} if context == 1 else {1: torch.export.Dim("length", min=1, max=context)}
    example = torch.zeros(
        2, min(context, 32), dtype=torch.int64
    )  # of one token, it would take no other length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare_for_compile(traced)
        program = torch.export.export(traced, (example,), dynamic_shapes=({0: batch, **length},))
        # in memory first: where the disk is full, torch's own writer of files takes the whole process down
        archive = io.BytesIO()
        torch.export.save(program, archive, extra_files=dict(extra_files))
    path.write_bytes(archive.getbuffer())


@torch.inference_mode()
def verify_program(
    path: Path,
    model: TransformerLM,
    tokenizer: Tokenizer,
    dtype: str,
    validation: ValidationText | None = None,
) -> Verification:
    """Compare a program with the model that it was made from, in a process that cannot import bittygpt.

    Raises:
        ExportError: it does not run there, or logits, greedy text or ids differ.
    """
    ours = model.to("cpu").float().eval()
    context, asked = ours.config.context_length, compared_ids(ours, tokenizer, validation)
    prompt, count = greedy_start(ours, tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        answers = _ask(
            path, Path(folder), {"ids": asked, "prompt": prompt, "count": count, "too_long": context + 1}
        )
        found = answers["logits"]
        largest, kl = compare_logits(
            [(ours(ids), other) for ids, other in zip(asked, found, strict=True)], dtype
        )
        if dtype == "float32":  # elsewhere rounding may choose another token, and all after it differ
            expected, margins = greedy_text(ours, prompt, count, tokenizer.end_of_text_id)
            first_difference(expected, answers["greedy"], margins)
        if not answers["refuses_too_long"]:
            raise ExportError(f"the export takes more than the model's {context} positions")
        tokenizer_file = Path(folder) / "tokenizer.json"
        texts, tokens, remarks = compare_tokenizer_file(tokenizer_file, tokenizer, validation)
    return Verification(largest, kl, compared_length(ours), texts, tokens, remarks)


def _ask(path: Path, folder: Path, questions: dict[str, Any]) -> dict[str, Any]:
    """What the program says, asked by `torch_reader` in a process of its own."""
    torch.save(questions, folder / "questions.pt")
    command = [sys.executable, torch_reader.__file__, str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ExportError(f"PyTorch cannot run the export: {said[:300]}")
    answers: dict[str, Any] = torch.load(folder / "answers.pt")
    return answers
