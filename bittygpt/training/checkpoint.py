"""Checkpoints: complete or absent, checked by hash, nothing pickled.

A checkpoint is a folder `step-00001000` with everything that `sample`, `export` and a resumed run need. It is written
under another name and moved into place as a whole; `manifest.json` holds the hash of every file.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
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
from bittygpt.files import sha256_of, sync_folder, write_json, write_text
from bittygpt.training.checkpoint_folder import FILES, MANIFEST, find_checkpoint


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
        save_tensors(temporary / "model.safetensors", model.state_dict())
        save_tensors(temporary / "optimizer.safetensors", optimizer_tensors(model, optimizers))
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


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, readable by whom the umask lets (the library itself leaves them to the owner)."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, {"format": "pt"})
    path.chmod(mode)


def optimizer_tensors(model: nn.Module, optimizers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """All state of the optimizers as tensors named `PARAMETER/KEY`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
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

    found = find_checkpoint(str(path), lambda message: warnings.warn(message, stacklevel=4), asked_by="path")
    return load_checkpoint(found, device)
