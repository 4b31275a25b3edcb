"""What is checked: the user's config, made small enough for a minute, with the user's tokens if there are any."""

import math
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from bittygpt.config import RunConfig
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.data.batches import Batch, TrainingBatches
from bittygpt.data.prepared import PreparedTokens, read_manifest
from bittygpt.engine.accelerate import notes_on_changes
from bittygpt.engine.uninitialized import uninitialized_model
from bittygpt.errors import DataError
from bittygpt.tokenizer.tokenizer import END_OF_TEXT, Tokenizer
from bittygpt.training.devices.device import Device, choose_device

# Bounds of the small model; numbers of the config below them stay as they are.
WIDTH, LAYERS, D_FF, VOCABULARY, CONTEXT = 128, 2, 512, 512, 32
NARROWEST = 32  # or a batch could not be learned by heart
LONGEST = 256  # tokens of a sequence for the config's own model
MOST_HEADS = WIDTH // 2  # RoPE rotates pairs, so a head is at least two wide
WEIGHTS = 30_000_000  # of a model that is built as it is, to look at its initial weights
UNKNOWN_VOCABULARY = 10_000


class Subject:
    """A config, and what checks need of it.

    Attributes:
        device: the run's own; the CPU in place of an Apple GPU, which has no float64 to compare with.
        tokens: those of `data.dir`, None where there are none yet.
        shape: of the small model that most checks build.
        own_shape: of the config's model, or, where that is too large, of the small one with the whole vocabulary.
        notes: which formulas were changed, and what is not as the config says; a line each.
    """

    def __init__(self, config: RunConfig) -> None:
        """
        Raises:
            ConfigError: the config's device is not there.
        """
        self.config, self.notes = config, notes_on_changes()
        self.device = self._choose_device()
        self.tokens = self._find_tokens()
        self.vocab_size = self._find_vocab_size()
        whole = ModelConfig(vocab_size=self.vocab_size, **config.model.model_dump())
        self.shape = shrunk(whole)
        self.is_whole = uninitialized_model(whole, "meta").num_parameters() <= WEIGHTS
        self.own_shape = replace(
            whole if self.is_whole else self.shape,
            vocab_size=self.vocab_size,
            context_length=min(LONGEST, whole.context_length),
        )
        self._say_what_was_shrunk(whole)

    def _choose_device(self) -> Device:
        train = self.config.train
        device = choose_device(train.device, train.precision)
        if device.torch_device.type == "mps":
            self.notes.append("checked on the CPU: an Apple GPU has no float64 to compare with")
            return choose_device("cpu", train.precision)
        return device

    def _find_tokens(self) -> PreparedTokens | None:
        folder = Path(self.config.data.dir).expanduser()
        try:
            manifest = read_manifest(folder)
            if manifest is not None:
                tokens = PreparedTokens(folder, manifest)
                if tokens.split("train").num_tokens:
                    return tokens
            self.notes.append(f"random tokens: {folder} holds none yet (`bittygpt tokenize` makes them)")
        except (DataError, LookupError, TypeError) as error:
            self.notes.append(f"random tokens: {error}")
        return None

    def _find_vocab_size(self) -> int:
        settings = self.config.tokenizer
        if self.tokens is not None:
            return self.tokens.tokenizer.vocab_size
        if settings.vocab_size is not None:
            return settings.vocab_size
        try:
            return Tokenizer.load(Path(settings.vocab or "").expanduser()).vocab_size
        except DataError as error:
            self.notes.append(f"a vocabulary of {UNKNOWN_VOCABULARY:,}: {error}")
            return UNKNOWN_VOCABULARY

    def _say_what_was_shrunk(self, whole: ModelConfig) -> None:
        asked, taken = vars(whole), vars(self.shape)
        changes = [f"{key} {asked[key]:,} -> {taken[key]:,}" for key in asked if asked[key] != taken[key]]
        if changes:
            self.notes.append(f"a model of the same kind and of another size: {', '.join(changes)}")
        if not self.is_whole:
            self.notes.append(f"first loss and initial weights with all {self.vocab_size:,} tokens, too")
        if self.will_be_compiled:
            self.notes.append("the last check compiles a layer, which takes about half a minute")
        if self.config.train.init_from is not None:
            self.notes.append("fresh weights, all trained: train.init_from and train.trainable left out")

    def model(self, lively: bool = False, **changes: object) -> TransformerLM:
        """A small model of the config's kind, with fresh weights.

        Args:
            lively: with gains that are not 1 and larger matrices, so that no part of it is too quiet to be missed.
            changes: to its shape.
        """
        model = TransformerLM(replace(self.shape, **changes)).to(self.device.torch_device)  # type: ignore[arg-type]
        if lively:
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    if weight.ndim < 2:
                        weight.normal_(1, 0.3)
                    elif name.startswith("layers."):
                        weight.mul_(2)
        return model

    @property
    def will_be_compiled(self) -> bool:
        """Whether the run, if it is long enough, compiles its model."""
        asked = self.config.train.compile
        return asked is True or (asked == "auto" and self.device.is_cuda)

    @cached_property
    def own_model(self) -> TransformerLM:
        """A model of `own_shape`, with fresh weights that no check may change."""
        torch.manual_seed(self.config.run.seed)
        return TransformerLM(self.own_shape).to(self.device.torch_device)

    def normal(self, *shape: int) -> Tensor:
        """Normally distributed numbers on the run's device."""
        return torch.randn(shape, device=self.device.torch_device)

    def ids(self, batch: int, length: int = CONTEXT, below: int | None = None) -> Tensor:
        """Random token ids (batch, length) of the small model on the run's device."""
        return torch.randint(
            0, below or self.shape.vocab_size, (batch, length), device=self.device.torch_device
        )

    def random_batch(self, sequences: int, below: int | None = None) -> Batch:
        """Sequences of random tokens with the token after each as its target, in main memory."""
        rows = self.ids(sequences, CONTEXT + 1, below).cpu()
        return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())

    def own_batch(self, sequences: int, length: int) -> Batch:
        """A batch of the run's own tokens, or of random ones from its vocabulary."""
        if self.tokens is None:
            rows = torch.randint(0, self.vocab_size, (sequences, length + 1))
            return Batch(rows[:, :-1], rows[:, 1:])
        return TrainingBatches(self.tokens.split("train"), length, sequences, self.config.run.seed).batch(1)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The run's, or one that spells every byte."""
        if self.tokens is not None:
            return self.tokens.tokenizer
        return Tokenizer([END_OF_TEXT.encode(), *(bytes([b]) for b in range(256))], [END_OF_TEXT])


def shrunk(whole: ModelConfig) -> ModelConfig:
    """The same kind of model, with each of its sizes within the bounds; heads keep their number where that is possible.

    A very narrow one is widened. The context is the same for all, as it has no weights.
    """
    heads, groups = whole.num_heads, whole.num_kv_heads or whole.num_heads
    shared = min(heads // groups, MOST_HEADS)  # query heads to each key/value head
    groups = max(1, min(groups, MOST_HEADS // shared))
    heads = groups * shared
    narrowest, widest = -(-NARROWEST // (2 * heads)) * 2, max(2, WIDTH // heads // 2 * 2)
    head_dim = min(max(whole.d_model // whole.num_heads, narrowest), widest)
    d_model = heads * head_dim
    d_ff = math.ceil(whole.feed_forward_width * d_model / whole.d_model)
    return replace(
        whole,
        vocab_size=min(whole.vocab_size, VOCABULARY),
        context_length=CONTEXT,
        d_model=d_model,
        num_layers=min(whole.num_layers, LAYERS),
        num_heads=heads,
        num_kv_heads=groups,
        d_ff=min(max(d_ff, NARROWEST), D_FF),
    )
