"""Starting from weights that are already there, and leaving some of them as they are."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bittygpt.core import TransformerLM
from bittygpt.errors import ConfigError
from bittygpt.layouts.hf_folder import copy_weights, is_hf_folder
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import load_checkpoint, other_formulas, read_state
from bittygpt.training.checkpoints.checkpoint_folder import find_checkpoint


def start_from(
    model: TransformerLM, tokenizer: Tokenizer, spec: str, on_damaged: Callable[[str], None]
) -> None:
    """Copy the weights of `train.init_from` (a run, a checkpoint or a Hugging Face folder) into a new model.

    Raises:
        ConfigError: its tokens or its shape are others.
        CheckpointError: there is no good checkpoint.
    """
    folder = Path(spec).expanduser()
    if is_hf_folder(folder):
        copy_weights(folder, model, tokenizer, "train.init_from", on_damaged)
        return
    checkpoint = find_checkpoint(spec, on_damaged, asked_by="train.init_from")
    if others := other_formulas(read_state(checkpoint)):
        on_damaged(f"train.init_from: {spec} was trained with other formulas than today's: {others}")
    source, source_tokenizer = load_checkpoint(checkpoint, same_formulas=False)
    if source_tokenizer.hash() != tokenizer.hash():
        raise ConfigError(
            f"train.init_from: {spec} was trained on other tokens; set tokenizer.vocab to its vocab.json, "
            "and tokenizer.encoding to its encoding"
        )
    mine, theirs = vars(model.config), vars(source.config)
    free = {"context_length"}  # of which only a table of positions would have the size
    differences = [
        f"model.{key} is {theirs[key]} there and {mine[key]} here"
        for key in mine
        if mine[key] != theirs[key] and key not in free
    ]
    shapes = [{(name, p.shape) for name, p in each.named_parameters()} for each in (model, source)]
    if (differing := shapes[0] ^ shapes[1]) and not differences:
        differences = [f"its {min(differing)[0]} is not this one's"]
    if differences:
        raise ConfigError(f"train.init_from: {spec} is another model: {'; '.join(differences)}")
    model.load_state_dict(source.state_dict())


def freeze_all_but(model: TransformerLM, patterns: Sequence[str]) -> None:
    """Leave only the parameters trainable whose name fits one of `train.trainable`'s patterns; none given: all.

    Frozen weights get no gradient and no optimizer state.

    Raises:
        ConfigError: a pattern that fits no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                f"train.trainable: no weight is called {pattern!r}; the names are like "
                f"{', '.join(sorted({name for name in names if '.1.' not in name})[:14])}"
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not patterns or any(fnmatchcase(name, pattern) for pattern in patterns))
