"""Every fault of a file or an override: the whole line that the user reads, with file, line, key and remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bittygpt.config import load_config
from bittygpt.errors import ConfigError

Report = Callable[..., str]
TRAIN_KEYS = (
    "batch_size, micro_batch_size, max_steps, max_tokens, time_budget, eval_every, eval_tokens, save_every, keep, "
    "log_every, sample_every, tensorboard, wandb, "
    "parallel, precision, compile, device, ignore_tokens, init_from, trainable"
)
TIMES = "a time such as 45m, 90s or 2h30m, or seconds as a number"


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What load_config says of a text, as the file my.yaml of the working directory."""
    monkeypatch.chdir(tmp_path)

    def report_of(text: str | bytes, *overrides: str) -> str:
        Path("my.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as caught:
            load_config("my.yaml", overrides)
        return str(caught.value)

    return report_of


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        # unknown keys
        ("model", "d_modle: 3", "unknown key; did you mean model.d_model?"),
        ("run", "seeed: 3", "unknown key; did you mean run.seed?"),
        ("train", "lr: 3", "unknown key; did you mean optim.lr?"),
        ("train", "wramup_steps: 3", "unknown key; did you mean optim.warmup_steps?"),
        ("model", "seed: 3", "unknown key; did you mean run.seed or sample.seed?"),
        ("train", "deadline: 3h", f"unknown key; train has the keys {TRAIN_KEYS}"),
        # wrong types
        ("model", "d_model: '12'", 'must be a whole number, not "12"; write 12, without quotes'),
        ("model", "d_model: 1_000", 'must be a whole number, not "1_000"; write 1000, without underscores'),
        ("model", "d_model: 64.0", "must be a whole number, not 64.0; write 64"),
        ("model", "d_model: true", "must be a whole number, not true; the default is 256"),
        ("model", "d_ff: wide", 'must be a whole number, not "wide"; remove the key for its default'),
        ("model", "tie_embeddings: 1", "must be true or false, not 1; the default is false"),
        ("model", "tie_embeddings: 'true'", 'must be true or false, not "true"; write true, without quotes'),
        ("optim", "lr: '3e-4'", 'must be a number, not "3e-4"; write 0.0003, without quotes'),
        ("optim", "lr: true", "must be a number, not true; remove the key for its default"),
        ("optim", "eps:", "must be a number, not null; the default is 1e-08"),
        ("optim", "lr: [1]", "must be a number, not [1]; remove the key for its default"),
        ("optim", "betas: 0.9", "must be a list, not 0.9; the default is [0.9, 0.95]"),
        ("optim", "betas: [0.9]", "must be a list of 2 items, not [0.9]; the default is [0.9, 0.95]"),
        ("optim", "betas: []", "must be a list of 2 items, not []; the default is [0.9, 0.95]"),
        ("optim", "betas: [0, 0, 0]", "must be a list of 2 items, not [0, 0, 0]; the default is [0.9, 0.95]"),
        ("optim", "betas: [0.9, '1']", 'item 2 must be a number, not "1"; write 1, without quotes'),
        ("sample", "prompt: 5", "must be text, not 5; put it in quotes: '5'"),
        ("sample", "prompt: {a: 1}", 'must be text, not {"a": 1}; the default is ""'),
        ("tokenizer", "special_tokens: [3]", "item 1 must be text, not 3; put it in quotes: '3'"),
        ("train", "time_budget: soon", f'must be {TIMES}, not "soon"; remove the key for its default'),
        ("train", "time_budget: 45x", f'must be {TIMES}, not "45x"; remove the key for its default'),
        ("train", "time_budget: 30m2h", f'must be {TIMES}, not "30m2h"; remove the key for its default'),
        ("train", "time_budget: true", f"must be {TIMES}, not true; remove the key for its default"),
        ("train", "time_budget: [1]", f"must be {TIMES}, not [1]; remove the key for its default"),
        # out of range
        ("train", "time_budget: 0s", 'must be above 0, not "0s"; remove the key for its default'),
        ("train", "time_budget: -5", "must be above 0, not -5; remove the key for its default"),
        (
            "train",
            "time_budget: 400d",
            'must be at most 366 days, not "400d"; remove the key for its default',
        ),
        (
            "train",
            "time_budget: .inf",
            "must be at most 366 days, not Infinity; remove the key for its default",
        ),
        ("optim", "name: adamww", 'must be adamw, muon, adam or sgd, not "adamww"; did you mean adamw?'),
        ("optim", "name: adamW", 'must be adamw, muon, adam or sgd, not "adamW"; did you mean adamw?'),
        ("optim", "lr: 0", "must be above 0, not 0; remove the key for its default"),
        ("optim", "lr: .nan", "must be a finite number, not NaN; remove the key for its default"),
        ("optim", "betas: [0.9, 1]", "item 2 must be below 1, not 1; the default is [0.9, 0.95]"),
        ("optim", "warmup_steps: -1", "must be at least 0, not -1; remove the key for its default"),
        ("optim", "grad_clip: -1", "must be at least 0, not -1; the default is 1.0"),
        ("train", "batch_size: 0", "must be at least 1, not 0; the default is 32"),
        ("train", "micro_batch_size: -1", 'must be at least 1 or auto, not -1; the default is "auto"'),
        ("train", "compile: yes", 'must be auto or true or false, not "yes"; the default is "auto"'),
        ("train", "parallel: tp", 'must be auto, ddp or fsdp, not "tp"; the default is "auto"'),
        ("sample", "temperature: -0.1", "must be at least 0, not -0.1; the default is 0.8"),
        ("sample", "top_p: 0", "must be above 0, not 0; remove the key for its default"),
        ("sample", "top_p: 1.1", "must be at most 1, not 1.1; remove the key for its default"),
        ("sample", "min_p: -1", "must be at least 0, not -1; remove the key for its default"),
        ("run", "seed: -1", "must be at least 0, not -1; the default is 0"),
        ("run", "dir: ''", 'must be text of at least one character, not ""; the default is "runs"'),
        (
            "run",
            "name: a/b",
            "holds the character '/', but becomes a folder's name; take letters, digits, '-', '_' and '.'",
        ),
        (
            "run",
            "name: ..",
            "holds nothing but dots and spaces, but becomes a folder's name; "
            "take letters, digits, '-', '_' and '.'",
        ),
        # keys that cannot go together
        ("model", "d_model: 250", "d_model 250 is not a multiple of num_heads 4; take d_model 248 or 256"),
        (
            "model",
            "d_model: 12",
            "heads of d_model 12 / num_heads 4 have an odd width, but RoPE turns pairs; take d_model 8 or 16",
        ),
        (
            "model",
            "num_kv_heads: 3",
            "num_heads 4 is not a multiple of num_kv_heads 3: each key and value head serves a group of query "
            "heads; take a divisor of num_heads",
        ),
        ("optim", "min_lr: 1", "min_lr 1 is above lr 0.0023; take 0.0023 or less"),
        (
            "optim",
            "warmup_steps: 2001",
            "warmup_steps 2001 is more than the run's 2000 steps; take 2000 or fewer",
        ),
        (
            "train",
            "micro_batch_size: 5",
            "batch_size 32 is not a multiple of micro_batch_size 5; take a divisor of batch_size, or auto",
        ),
        (
            "tokenizer",
            "vocab_size: 256",
            "vocab_size 256 is too small for 256 bytes and 1 special token; take 257 or more",
        ),
        ("tokenizer", "special_tokens: []", "<|endoftext|> is missing, which ends every document; add it"),
        (
            "tokenizer",
            "special_tokens: [<|endoftext|>, a, a]",
            "a stands twice; keep one of them",
        ),
        (
            "tokenizer",
            "special_tokens: [<|endoftext|>, a]",
            "'a' is a single byte, which has an entry of its own; take a longer one",
        ),
        (
            "train",
            "ignore_tokens: [<|pad|>]",
            "'<|pad|>' is not among tokenizer.special_tokens; add it there or remove it here",
        ),
        (
            "train",
            "trainable: ['blocks.3.*']",
            "freezing all but some weights needs trained ones to start from; set train.init_from to a checkpoint",
        ),
    ],
)
def test_a_fault_of_one_key(report: Report, section: str, line: str, message: str) -> None:
    key = line.split(":")[0]
    text = f"data: {{train: a}}\n{section}:\n  # a comment\n  {line}\n"
    assert report(text) == f"my.yaml:4: {section}.{key}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.yaml: empty; a config needs at least a text to train on: data: {train: [my.txt]}"),
        ("# x\n", "my.yaml: empty; a config needs at least a text to train on: data: {train: [my.txt]}"),
        ("- a", "my.yaml: must be a mapping of sections, such as data: {train: [my.txt]}"),
        ("x: {}", "unknown section; the sections are run, data, tokenizer, model, optim, train, sample"),
        ("lr: 3", "my.yaml:1: lr: unknown key; did you mean optim.lr?"),
        ("modle: {x: 3}", "my.yaml:1: modle: unknown key; did you mean model?"),
        (
            "optim.lr: 3",
            "my.yaml:1: optim.lr: dotted keys are for the command line; in a file write optim: {lr: ...}",
        ),
        (
            "model: 3",
            "my.yaml:1: model: must be a mapping of keys, not 3; write model: {context_length: ...}",
        ),
        (
            "run: {}",
            "my.yaml: data.train: missing; name the text to train on, such as data: {train: [my.txt]}",
        ),
        (
            "\n\ndata: {}",
            "my.yaml:3: data.train: missing; name the text to train on, such as data: {train: [my.txt]}",
        ),
        (
            "data: {train: }",
            "my.yaml:1: data.train: must be a list, not null; write a list of texts, such as [my.txt]",
        ),
        ("data: {train: []}", "data.train: must be a list of at least 1 item, not []; write a list of texts"),
        ("run: {seed: 1}\nrun: {seed: 2}", "my.yaml:2: run: given twice, first on line 1; keep one of them"),
        ("run:\n  seed: 1\n  seed: 1", "my.yaml:3: run.seed: given twice, first on line 2; keep one of them"),
        (
            "a: 1\nb: c: d",
            "my.yaml:2:5: not valid YAML: mapping values are not allowed here; put quotes around",
        ),
        (
            "data: {train: a, val: b, val_fraction: 0.1}",
            "data.val and data.val_fraction both say what to validate on",
        ),
        ("tokenizer: {vocab: v.json, vocab_size: 300}", "none is trained; remove tokenizer.vocab_size"),
        ("tokenizer: {vocab: v.json, train_bytes: 300}", "none is trained; remove tokenizer.train_bytes"),
        (
            "train: {max_steps: 5, max_tokens: 5}",
            "max_steps and max_tokens both say how long to train; set one of",
        ),
        (b"run: {}\n# \xfc", "my.yaml:2: not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_a_fault_of_the_file(report: Report, text: str | bytes, message: str) -> None:
    assert message in report(text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("foo", "no '=' in it; write KEY=VALUE, such as optim.lr=3e-4"),
        ("--lr", "no '=' in it; write KEY=VALUE, such as optim.lr=3e-4"),
        ("lr=3", "unknown key; did you mean optim.lr?"),
        ("model.d_modle=3", "unknown key; did you mean model.d_model?"),
        ("model.d_model.x=3", "unknown key; did you mean model.d_model?"),
        ("modle.x=3", "unknown key; did you mean model?"),
        ("=3", "unknown section; the sections are run, data, tokenizer, model, optim, train, sample"),
        ("model={d_model: 3}", "model is a section; set one of its keys, such as model.context_length=..."),
        ("optim.lr=fast", 'must be a number, not "fast"; remove the key for its default'),
        ("optim.lr='3'", 'must be a number, not "3"; write 3, without quotes'),
        ("train.max_steps=1e6", "must be a whole number, not 1000000.0; write 1000000"),
        (
            "data.train=[a",
            "the value is not valid YAML: expected ',' or ']', but got '<stream end>'; "
            "check quotes, brackets and indentation there",
        ),
        # of two keys that clash, the one on the command line is to blame
        ("model.num_heads=3", "d_model 64 is not a multiple of num_heads 3; take d_model 60 or 66"),
    ],
)
def test_a_fault_of_an_override(report: Report, override: str, message: str) -> None:
    text = "data: {train: a}\nmodel: {d_model: 64}"
    assert report(text, override) == f"{override} on the command line: {message}"


def test_all_faults_are_reported_at_once_in_the_order_of_the_lines(report: Report) -> None:
    text = """
model:
  num_heads: 3
  d_modle: 64
  num_kv_heads: 3
optim:
  lr: -1
  min_lr: 5
  eps: 0
  eps: 1e-8
train: {ignore_tokens: [x], warmup: 3}
sample:
  top_p: '0.9'
modle: {}
"""
    assert report(text, "optim.beta=3", "model.num_layers=0").splitlines() == [
        "my.yaml: data.train: missing; name the text to train on, such as data: {train: [my.txt]}",
        "my.yaml:3: model.num_heads: d_model 256 is not a multiple of num_heads 3; take d_model 252 or 258",
        "my.yaml:4: model.d_modle: unknown key; did you mean model.d_model?",
        "my.yaml:7: optim.lr: must be above 0, not -1; remove the key for its default",
        "my.yaml:10: optim.eps: given twice, first on line 9; keep one of them",
        "my.yaml:11: train.warmup: unknown key; did you mean optim.warmup_steps?",
        "my.yaml:11: train.ignore_tokens: 'x' is not among tokenizer.special_tokens; add it there or remove it here",
        'my.yaml:13: sample.top_p: must be a number, not "0.9"; write 0.9, without quotes',
        "my.yaml:14: modle: unknown key; did you mean model?",
        "optim.beta=3 on the command line: unknown key; did you mean optim.betas?",
        "model.num_layers=0 on the command line: must be at least 1, not 0; the default is 4",
    ]


def test_a_value_at_fault_is_reported_once_and_not_again_through_what_follows_from_it(report: Report) -> None:
    text = (
        "data: {train: a}\nmodel: {num_heads: x, d_model: -1}\noptim: {lr: -1}\ntrain: {max_tokens: x}\n"
        "run: {name: 3}"
    )
    assert [line.split(": ")[1] for line in report(text).splitlines()] == [
        "model.d_model",
        "model.num_heads",
        "optim.lr",
        "train.max_tokens",
        "run.name",
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("configs/smal.yaml", "configs/smal.yaml: no such file; did you mean configs/small.yaml?"),
        ("configs/x", "configs/x: no such file; name a YAML file"),
        ("config/small.yaml", "config/small.yaml: no such file; nor is there a folder config"),
        ("configs", "configs: a folder, not a config file; name one of its files: base.yml, small.yaml"),
    ],
)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/small.yaml").touch()
    Path("configs/base.yml").touch()
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == message
