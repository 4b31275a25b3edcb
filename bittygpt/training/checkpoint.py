"""Checkpoints: complete or absent, checked by hash, nothing pickled.

A checkpoint is a folder `step-00001000` with everything that `sample`, `export` and a resumed run need. It is written
under another name and moved into place as a whole; `manifest.json` holds the hash of every file.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.tokenizer import Tokenizer
from bittygpt.errors import CheckpointError
from bittygpt.files import as_json, sha256_of, sync_folder, write_json, write_text
from bittygpt.training.run_folder import RunFolder

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "config.yaml", "vocab.json")
MANIFEST = "manifest.json"
NAME = re.compile(r"step-(\d{8,})")


def save_checkpoint(
    folder: Path,
    step: int,
    model: TransformerLM,
    optimizers: Sequence[Optimizer],
    state: dict[str, Any],
    config_yaml: str,
    tokenizer: Tokenizer,
) -> Path:
    """Write `folder/step-NNNNNNNN`; it appears under that name only when every byte is on the disk.

    `state` is what a resumed run needs besides the tensors, as JSON; the model's shape and the tokenizer's kind are
    added, so that the model can be rebuilt from the folder alone.
    """
    target = folder / f"step-{step:08d}"
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        metadata = {"format": "pt"}
        save_file(_contiguous(model.state_dict()), temporary / "model.safetensors", metadata)
        save_file(
            _contiguous(optimizer_tensors(model, optimizers)), temporary / "optimizer.safetensors", metadata
        )
        shape = {**vars(model.config)}
        kind = {"special_tokens": tokenizer.special_tokens, "encoding": tokenizer.encoding}
        write_json(
            temporary / "state.json", {"format": 1, "step": step, **state, "model": shape, "tokenizer": kind}
        )
        write_text(temporary / "config.yaml", config_yaml)
        tokenizer.save(temporary / "vocab.json")
        for name in FILES:
            with open(temporary / name, "rb") as file:
                os.fsync(file.fileno())
        hashes = {name: sha256_of(temporary / name) for name in FILES}
        write_json(temporary / MANIFEST, {"format": 1, "files": hashes})
        if target.exists():  # a damaged one of the same step: the rename needs an empty place
            shutil.rmtree(target)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder)
    return target


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def optimizer_tensors(model: nn.Module, optimizers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """All state of the optimizers as tensors named `PARAMETER/KEY`."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore(path: Path, model: TransformerLM, optimizers: Iterable[Optimizer]) -> dict[str, Any]:
    """Put weights and moments of a checkpoint into model and optimizers; gives its `state.json` back.

    Raises:
        CheckpointError: its tensors are not those of this model.
    """
    _load_weights(path, model)
    owners = {
        p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
    }
    parameters = dict(model.named_parameters())
    for full_name, tensor in load_file(path / "optimizer.safetensors").items():
        name, key = full_name.rsplit("/", 1)
        parameter = parameters[name]
        value = int(tensor) if key == "step" else tensor.to(parameter.device)
        owners[parameter].state[parameter][key] = value
    return read_state(path)


def read_state(path: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint."""
    return dict(json.loads((path / "state.json").read_text("utf-8")))


def _load_weights(path: Path, model: TransformerLM) -> None:
    try:
        model.load_state_dict(load_file(path / "model.safetensors"))
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path / 'model.safetensors'} does not hold this model: {error}") from None


def find_fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None: every file is there and has the hash that the manifest says."""
    try:
        text = (path / MANIFEST).read_text("utf-8")
        manifest = json.loads(text)
        hashes = manifest["files"]
        missing = [name for name in FILES if name not in hashes]
        if manifest["format"] != 1 or text != as_json(manifest):
            return f"{MANIFEST} is damaged"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MANIFEST} is damaged"
    if missing:
        return f"{MANIFEST} does not list {missing[0]}"
    for name, expected in hashes.items():
        try:
            if sha256_of(path / name) != expected:
                return f"{name} is not what was written (its hash differs)"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of the checkpoints in a folder, the newest first."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)


def newest_good(folder: Path, on_damaged: Callable[[str], None]) -> Path | None:
    """The newest undamaged checkpoint, None when there is none; damaged ones are named on the way."""
    for _, path in list_checkpoints(folder):
        fault = find_fault(path)
        if fault is None:
            return path
        on_damaged(f"{path}: {fault}; taking the checkpoint before it")
    return None


def best_step(steps: Iterable[int], val_losses: dict[int, float]) -> int | None:
    """Of the steps that were evaluated, the one of the lowest validation loss; the earlier of two equal ones."""
    evaluated = sorted(step for step in steps if step in val_losses)
    return min(evaluated, key=lambda step: val_losses[step], default=None)


def remove_old(folder: Path, keep: int, val_losses: dict[int, float]) -> None:
    """Remove all checkpoints but the `keep` newest and the best by validation loss."""
    checkpoints = list_checkpoints(folder)
    best = best_step((step for step, _ in checkpoints), val_losses)
    for step, path in checkpoints[max(1, keep) :]:
        if step != best:
            doomed = path.with_name(
                f".{path.name}.removed"
            )  # a kill must not leave half a checkpoint under its name
            os.rename(path, doomed)
            shutil.rmtree(doomed)


def clean_up(folder: Path) -> None:
    """Remove what a killed process left: half-written and half-removed checkpoints."""
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def find_checkpoint(spec: str, on_damaged: Callable[[str], None]) -> Path:
    """The checkpoint folder that `--ckpt` means: `runs/NAME` (newest good), `runs/NAME:best`, or the folder itself.

    Raises:
        CheckpointError: there is none, or the one that is named is damaged.
    """
    name, wants_best = (spec[: -len(":best")], True) if spec.endswith(":best") else (spec, False)
    path = Path(name)
    if not path.is_dir():
        raise CheckpointError(
            f"--ckpt {spec}: there is no folder {path}; give runs/NAME, runs/NAME:best or a checkpoint"
        )
    if (path / "state.json").exists() or NAME.fullmatch(path.resolve().name):
        if fault := find_fault(path):
            raise CheckpointError(f"--ckpt {spec}: {fault}; take another checkpoint of the run")
        return path
    run = RunFolder(path)
    if wants_best:
        steps = dict(list_checkpoints(run.checkpoints))
        best = best_step((s for s, p in steps.items() if find_fault(p) is None), run.validation_losses())
        if best is None:
            raise CheckpointError(f"--ckpt {spec}: no checkpoint of the run has been evaluated; take {path}")
        return steps[best]
    found = newest_good(run.checkpoints, on_damaged)
    if found is None:
        raise CheckpointError(f"--ckpt {spec}: no complete checkpoint in {run.checkpoints}; train first")
    return found


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> tuple[TransformerLM, Tokenizer]:
    """Model (in evaluation mode) and tokenizer of a checkpoint folder."""
    state = read_state(path)
    kind = state["tokenizer"]
    model = TransformerLM(ModelConfig(**state["model"]))
    _load_weights(path, model)
    return model.to(device).eval(), Tokenizer.load(
        path / "vocab.json", kind["special_tokens"], kind["encoding"]
    )


def load_model(path: str | Path, device: str = "cpu") -> tuple[TransformerLM, Tokenizer]:
    """What `bittygpt.load` does; damaged checkpoints are passed over with a warning."""
    import warnings

    found = find_checkpoint(str(path), lambda message: warnings.warn(message, stacklevel=4))
    return load_checkpoint(found, device)
