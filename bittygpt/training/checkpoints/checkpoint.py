"""Writes and reads a checkpoint: complete or absent, with a hash of every file, nothing pickled.

A checkpoint is a folder `step-00001000` with everything that `sample`, `export` and a resumed run need. It is written
under another name and moved into place as a whole; `manifest.json` holds the hash of every file.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.engine.accelerate import accelerate
from bittygpt.engine.formulas import by_file, changed, of_texts, unlike
from bittygpt.errors import CheckpointError
from bittygpt.files import sha256_of, sync_folder, write_json, write_text
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint_folder import FILES, MANIFEST, checkpoint_path, find_checkpoint
from bittygpt.training.distributed.parallel import distribute_like, is_sharded, local_shard
from bittygpt.training.distributed.ranks import Ranks

NUMBERS: dict[str, type[float]] = {"int": int, "float": float, "bool": bool}  # in an optimizer's state


def begin_checkpoint(folder: Path, step: int) -> None:
    """Make the empty folder that `save_checkpoint` writes into; rank 0 does, before any rank writes."""
    shutil.rmtree(_temporary(folder, step), ignore_errors=True)
    _temporary(folder, step).mkdir(parents=True)


def _temporary(folder: Path, step: int) -> Path:
    return folder / f".step-{step:08d}.tmp"


def save_checkpoint(
    folder: Path,
    step: int,
    model: TransformerLM,
    optimizers: Sequence[Optimizer],
    state: dict[str, Any],
    config_yaml: str,
    tokenizer: Tokenizer,
    ranks: Ranks,
) -> Path:
    """Write `folder/step-NNNNNNNN`; it appears under that name only when every byte is on the disk.

    `state` is what a resumed run needs besides the tensors, as JSON; what a model is rebuilt from (its shape, the
    tokenizer's kind, core's changed formulas) is added. Rank 0 writes. All ranks must call this for a sharded model:
    each writes its shards, which are joined on the disk. `begin_checkpoint` must have been called before.
    """
    target = checkpoint_path(folder, step)
    temporary = _temporary(folder, step)
    tensors = {"model": model.state_dict(), "optimizer": optimizer_tensors(model, optimizers)}
    try:
        for name, group in tensors.items():
            if is_sharded(model):
                _save_shards(temporary / f"{name}.safetensors", group, ranks)
            elif ranks.is_main:
                save_tensors(temporary / f"{name}.safetensors", group)
        if ranks.is_main:
            _write_rest(temporary, {"format": 1, "step": step, **state}, model, config_yaml, tokenizer)
            if target.exists():  # a damaged one of the same step: the rename needs an empty place
                shutil.rmtree(target)
            os.rename(temporary, target)
            sync_folder(folder)
    except BaseException:
        if ranks.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def _write_rest(
    folder: Path, state: dict[str, Any], model: TransformerLM, config_yaml: str, tokenizer: Tokenizer
) -> None:
    """All files but the tensors; the manifest last, when the others are on the disk."""
    kind = {"special_tokens": tokenizer.special_tokens, "encoding": tokenizer.encoding}
    built = {"model": {**vars(model.config)}, "tokenizer": kind, "formulas": changed()}
    write_json(folder / "state.json", {**state, **built})
    write_text(folder / "config.yaml", config_yaml)
    tokenizer.save(folder / "vocab.json")
    for name in FILES:
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    hashes = {name: sha256_of(folder / name) for name in FILES}
    write_json(folder / MANIFEST, {"format": 1, "files": hashes})


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, readable by whom the umask lets (the library itself leaves them to the owner)."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, {"format": "pt"})
    path.chmod(mode)


def _save_shards(path: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Each rank writes its parts into a folder, and one puts them together, piece by piece."""
    import torch.distributed.checkpoint as dcp

    parts = path.with_suffix("")
    writer = dcp.HuggingFaceStorageWriter(str(parts), save_distributed=True, enable_consolidation=True)
    try:
        dcp.save(dict(tensors), storage_writer=writer)
    except dcp.CheckpointException as error:  # a BaseException that holds those of all ranks
        raise RuntimeError(str(error)) from None
    if ranks.is_main:
        os.rename(parts / "model-00001-of-00001.safetensors", path)
        shutil.rmtree(parts)


def optimizer_tensors(model: nn.Module, optimizers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """All state of the optimizers as tensors `PARAMETER/KEY`; a count of steps as one float32 of shape (1,), any other
    number as a float64 `PARAMETER/KEY:KIND`: torch.distributed.checkpoint (2.13) joins sharded files wrongly where a
    tensor has no dimension or is no floating-point number."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    tensors = {}
    for parameter, state in (item for optimizer in optimizers for item in optimizer.state.items()):
        for key, value in state.items():
            name = f"{names[parameter]}/{key}"
            if not isinstance(value, Tensor) and key != "step":
                name, value = f"{name}:{type(value).__name__}", torch.tensor([value], dtype=torch.float64)
            tensors[name] = value if isinstance(value, Tensor) else torch.tensor([float(value)])
    return tensors


def restore(path: Path, model: TransformerLM, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Put weights and moments of a checkpoint into model and optimizers; gives its `state.json` back.

    One tensor is read at a time; of a sharded model each rank keeps its shard of it.

    Raises:
        CheckpointError: its tensors are not those of this model.
    """
    load_weights(path, model)
    owners = {
        p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
    }
    parameters = dict(model.named_parameters())
    for optimizer in optimizers:
        optimizer.state.clear()
    with safe_open(path / "optimizer.safetensors", "pt") as file:
        for full_name in file.keys():  # noqa: SIM118
            name, key = full_name.rsplit("/", 1)
            parameter, tensor = parameters[name], file.get_tensor(full_name)
            key, _, kind = key.partition(":")
            number = NUMBERS.get("int" if key == "step" and tensor.shape == (1,) else kind)
            owners[parameter].state[parameter][key] = (
                number(tensor) if number else distribute_like(parameter, tensor)
            )
    return read_state(path)


def read_state(path: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint."""
    return dict(json.loads((path / "state.json").read_text("utf-8")))


@torch.no_grad()
def load_weights(path: Path, model: TransformerLM) -> None:
    """Copy the weights of a checkpoint into a model.

    Raises:
        CheckpointError: they are not those of this model.
    """
    weights, source = dict(model.named_parameters()), path / "model.safetensors"
    try:
        with safe_open(source, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            expected = {name: tuple(p.shape) for name, p in weights.items()}
            if different := {name for name, _ in shapes.items() ^ expected.items()}:
                raise CheckpointError(f"{source} does not hold this model: {min(different)} differs")
            for name, parameter in weights.items():
                local_shard(parameter).copy_(local_shard(distribute_like(parameter, file.get_tensor(name))))
    except SafetensorError as error:
        raise CheckpointError(f"{source} does not hold this model: {error}") from None


def load_checkpoint(
    path: Path, device: str | torch.device = "cpu", scored: bool = False, same_formulas: bool = True
) -> tuple[TransformerLM, Tokenizer]:
    """Model (in evaluation mode) and tokenizer of a checkpoint folder.

    Raises:
        CheckpointError: it was trained with other formulas than today's (`scored`: those of the loss count, too).
    """
    state = read_state(path)
    if same_formulas and (others := other_formulas(state, scored)):
        raise CheckpointError(
            f"{path} was trained with other formulas than today's: {others}; put core/ back as it was in training, "
            "or train again"
        )
    kind = state["tokenizer"]
    model = accelerate(TransformerLM(ModelConfig(**state["model"])))
    load_weights(path, model)
    return model.to(device).eval(), Tokenizer.load(
        path / "vocab.json", kind["special_tokens"], kind["encoding"]
    )


def other_formulas(state: Mapping[str, Any], scored: bool = False) -> str:
    """Files and names of the formulas by which the model of a checkpoint computed, and today would not."""
    return ", ".join(by_file(of_texts(unlike(state.get("formulas", {})), scored)))


def load_model(path: str | Path, device: str = "cpu") -> tuple[TransformerLM, Tokenizer]:
    """What `bittygpt.load` does; damaged checkpoints are passed over with a warning."""
    found = find_checkpoint(str(path), lambda message: warnings.warn(message, stacklevel=4), asked_by="path")
    return load_checkpoint(found, device)
