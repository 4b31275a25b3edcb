"""The seven sections of a config: what each key means, and what it is when nobody gives it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bittygpt.config.core_names import ACTIVATIONS, OPTIMIZERS
from bittygpt.config.value_types import (
    Beta,
    Count,
    Duration,
    NonNegative,
    Positive,
    Seed,
    Sources,
    Text,
    Texts,
    derived,
    sources,
    tuple_of,
)


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RunSection(Section):
    """Which run this is and where it lies."""

    name: Text = derived("Name of the run's folder; null: the config file's name without its ending.")
    dir: Text = Field("runs", description="Folder that holds all runs; this one lies in DIR/NAME.")
    seed: Seed = Field(0, description="Seed of the initial weights and of the order of the batches.")


class DataSection(Section):
    """The text, and the tokens made of it."""

    train: Sources = sources("Text to train on: paths, globs, http(s) URLs or builtin:stories.", min_length=1)
    val: Sources = sources("Text to validate on; empty: val_fraction of data.train.", default=())
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = derived(
        "Share of the documents of data.train that is validated on, never trained on; "
        "null: 0.05, or 0 where data.val is given. 0 and no data.val: no validation."
    )
    text_key: Text = Field("text", description="Field (.jsonl) or column (.parquet) that holds the text.")
    separator: Text = Field("<|endoftext|>", description="What stands between two documents in .txt files.")
    on_bad_record: Literal["error", "skip"] = Field(
        "error", description="What to do with an unreadable record."
    )
    windows: Literal["stream", "documents"] = Field(
        "stream",
        description="Where the model's windows begin: stream: anywhere, none of the T positions unused; documents: "
        "with a document, as many whole ones as fit.",
    )
    dir: Text = derived("Folder for the tokens; null: data/NAME, NAME being run.name.")
    workers: Count | None = Field(
        None, description="Processes that read and encode the text; null: one for each core."
    )


class TokenizerSection(Section):
    """How text becomes tokens."""

    vocab_size: Count | None = Field(
        None, description="Entries of the vocabulary: special tokens + 256 bytes + merges; null: 10000."
    )
    special_tokens: Texts = Field(
        ("<|endoftext|>",), description="Special tokens, in the order of their ids."
    )
    vocab: Text | None = Field(
        None, description="Path of a vocab.json or tokenizer.json; null: train a vocabulary."
    )
    train_bytes: Count | None = Field(
        None,
        description="Bytes of text, spread over the corpus, that the vocabulary learns from; null: 100 million, "
        "which bounds the memory.",
    )
    encoding: Literal["bpe", "bitty"] = Field(
        "bpe", description="bpe: merges in rank order; bitty: the ids of bitty-tokenizer's own encoder."
    )


class ModelSection(Section):
    """The shape of the Transformer."""

    context_length: Count = Field(256, description="Tokens that the model sees at once (T).")
    d_model: Count = Field(256, description="Width of the residual stream (D).")
    num_layers: Count = Field(4, description="Transformer blocks.")
    num_heads: Count = Field(4, description="Query heads (H); each is d_model / num_heads wide.")
    num_kv_heads: Count = derived("Key and value heads, shared by groups of query heads; null: num_heads.")
    d_ff: Count = derived(
        "Width of the feed-forward layer; null: 8/3 d_model, to the nearest multiple of 64; without a gate 4 d_model."
    )
    activation: Annotated[str, ACTIVATIONS] = Field(
        "swiglu", description="Non-linearity of the feed-forward layer; those that end in -glu have a gate."
    )
    rope_theta: Positive = Field(10000.0, description="Base of the RoPE wavelengths.")
    norm_eps: Positive = Field(1e-5, description="Added to the mean square in RMSNorm.")
    tie_embeddings: bool = Field(False, description="Use the token embedding as the output layer, too.")
    qk_norm: bool = Field(False, description="Normalise queries and keys per head before attention.")


class OptimSection(Section):
    """The optimizer and its learning rate."""

    name: Annotated[str, OPTIMIZERS] = Field("adamw", description="The optimizer.")
    lr: Positive = derived(
        "Highest learning rate, reached after the warm-up; null: one that fits the optimizer and d_model."
    )
    min_lr: NonNegative = derived("Learning rate of the last step; null: lr / 10.")
    warmup_steps: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Steps over which the learning rate rises from 0; null: 5 % of all steps, at least 1, at most "
        "1000; with train.time_budget 5 % of the run.",
    )
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        "cosine",
        description="How the learning rate goes after the warm-up (wsd: constant, then a decay).",
    )
    decay_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="Share of the steps, at the end, in which wsd takes the learning rate down to min_lr.",
    )
    betas: Annotated[tuple[Beta, Beta], BeforeValidator(tuple_of)] = Field(
        (0.9, 0.95),
        description="Decay of the running mean of the gradient (muon's and sgd's momentum), and of its square.",
    )
    eps: Positive = Field(1e-8, description="Added to the root of the mean square gradient.")
    weight_decay: NonNegative = Field(
        0.1, description="Share of a weight taken off per step, times lr (sgd, adam: added to its gradient)."
    )
    grad_clip: NonNegative = Field(1.0, description="Highest norm of the whole gradient; 0: no clipping.")


class TrainSection(Section):
    """How long, how much at once, how often to look and save, and on what."""

    batch_size: Count = Field(32, description="Sequences in one optimizer step, over all ranks.")
    micro_batch_size: Count | Literal["auto"] = Field(
        "auto", description="Sequences in one forward pass on one rank; auto: as many as fit."
    )
    max_steps: Count | None = Field(
        None,
        description="Optimizer steps of the whole run; null: enough for max_tokens, else as many as time_budget has "
        "room for, else 2000.",
    )
    max_tokens: Count | None = Field(None, description="Tokens to train on, instead of max_steps.")
    time_budget: Duration | None = Field(
        None,
        description="Time for the whole run, such as 45m, 90s, 2h30m, or seconds, start-up, evaluations and "
        "checkpoints included; the learning rate falls so as to be at its end then. With max_steps or max_tokens, "
        "what comes first ends the run.",
    )
    eval_every: Count = Field(250, description="Steps between two validations.")
    eval_tokens: Count | None = Field(None, description="Tokens of one validation; null: the whole split.")
    save_every: Count = Field(250, description="Steps between two checkpoints.")
    keep: Count = Field(3, description="Newest checkpoints that stay; the best one stays besides.")
    log_every: Count = Field(10, description="Steps between two lines of progress.")
    sample_every: Count | None = Field(
        None,
        description="Steps between two texts of the model in training, written as sample: says; null: none.",
    )
    tensorboard: bool = Field(
        False, description="Log for TensorBoard as well, in the run's folder (bittygpt[tensorboard])."
    )
    wandb: Text | None = Field(
        None, description="Project of Weights & Biases to log to as well (bittygpt[wandb]); null: none."
    )
    parallel: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="ddp: each rank holds the whole model; fsdp: a part of it; auto: fsdp where it does not fit whole.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Number format of matrix products. auto: bf16 on CUDA, else fp32; bf16: where the device has "
        "instructions for it, else fp32.",
    )
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="Whether torch.compile translates the model; auto: where it saves more time than it takes.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where to compute.")
    ignore_tokens: Texts = Field((), description="Special tokens that are no target of the loss.")
    init_from: Text | None = Field(
        None, description="Run, checkpoint or Hugging Face folder whose weights to start from."
    )
    trainable: Texts = Field((), description="Name patterns of the weights left unfrozen; empty: all.")


class SampleSection(Section):
    """How text is generated from the trained model."""

    prompt: str = Field("", description="Text to go on from; empty: the start of a document.")
    max_tokens: Count = Field(256, description="Most tokens to generate per sample.")
    temperature: NonNegative = Field(0.8, description="Below 1: safer, above 1: wilder; 0: greedy.")
    top_k: Count | None = Field(None, description="Sample from the k likeliest tokens; null: from all.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Sample from the likeliest tokens that hold this much probability; null: from all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Drop tokens less likely than this share of the likeliest one's; null: none."
    )
    repetition_penalty: Positive = Field(1.0, description="Above 1: tokens seen before get less likely.")
    num_samples: Count = Field(1, description="Texts to generate.")
    seed: Seed = Field(0, description="Seed of the sampling.")
