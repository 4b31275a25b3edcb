"""`bittygpt sample` on a tiny untrained checkpoint: stdout, stderr, prompts, flags, JSON; and as a program."""

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bittygpt.commands.sample.command import sample
from bittygpt.config import config_to_yaml, load_config
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import CheckpointError, UsageError
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.generate import SamplingOptions, generate
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import begin_checkpoint, save_checkpoint
from bittygpt.training.distributed.ranks import Ranks

TOKENIZER = Tokenizer([b"<|endoftext|>", *(bytes([b]) for b in range(256))], ["<|endoftext|>"])
NO_FLAGS = {
    "config": None,
    "prompt": None,
    "prompt_file": None,
    "max_tokens": None,
    "temperature": None,
    "top_k": None,
    "top_p": None,
    "min_p": None,
    "repetition_penalty": None,
    "num_samples": None,
    "stop": [],
    "seed": None,
    "ignore_eos": False,
    "interactive": False,
    "score": None,
    "as_json": False,
    "device": "cpu",
}
CONFIG = """
data: {train: builtin:stories}
model: {context_length: 32, d_model: 16, num_layers: 1, num_heads: 2}
sample: {prompt: "from the config", max_tokens: 7, temperature: 0.5, num_samples: 1, seed: 3}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model of printable ASCII: all other bytes, and the end of the text, get low scores."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(CONFIG)
    config = load_config(folder / "tiny.yaml")
    torch.manual_seed(0)
    model = TransformerLM(ModelConfig(vocab_size=257, tie_embeddings=False, **shape(config)))
    with torch.no_grad():
        direction = torch.ones(16)
        model.token_embeddings.weight += 3 * direction
        printable = torch.tensor([token in range(33, 128) for token in range(257)])
        model.lm_head.weight += torch.where(printable, 1.0, -1.0)[:, None] * direction
    begin_checkpoint(folder, 1)
    return save_checkpoint(folder, 1, model, [], {}, config_to_yaml(config), TOKENIZER, Ranks())


def shape(config):
    return {
        key: getattr(config.model, key) for key in ("context_length", "d_model", "num_layers", "num_heads")
    }


@pytest.fixture
def run(checkpoint, capsys):
    """Runs the command; gives stdout and stderr."""

    def run(**flags):
        sample(str(checkpoint), **{**NO_FLAGS, "prompt": "Once", **flags})
        return capsys.readouterr()

    return run


def pipe_in(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_stdout_is_the_prompt_and_its_continuation_and_stderr_the_speed(run):
    output = run(max_tokens=20, seed=5)
    record = json.loads(run(max_tokens=20, seed=5, as_json=True).out)
    assert output.out == f"Once{record['text']}\n"
    assert re.fullmatch(r"20 tokens in \d+\.\d\d s, [\d,]+ tokens/s\n", output.err)


def test_what_no_flag_says_is_as_the_checkpoints_config_says(run, monkeypatch):
    pipe_in(monkeypatch, b"")
    record = json.loads(run(prompt=None, as_json=True).out)
    assert (record["prompt"], len(record["tokens"]), record["seed"]) == ("from the config", 7, 3)
    explicit = json.loads(run(prompt="from the config", temperature=0.5, seed=3, as_json=True).out)
    assert record == explicit


def test_another_files_sample_section_is_laid_over(run, tmp_path, monkeypatch):
    pipe_in(monkeypatch, b"")
    (tmp_path / "other.yaml").write_text("sample: {prompt: other, max_tokens: 4}")
    record = json.loads(run(prompt=None, config=tmp_path / "other.yaml", as_json=True).out)
    assert (record["prompt"], len(record["tokens"]), record["seed"]) == ("other", 4, 3)
    record = json.loads(run(config=tmp_path / "other.yaml", max_tokens=5, as_json=True).out)
    assert (record["prompt"], len(record["tokens"])) == ("Once", 5)


def test_json_holds_tokens_and_the_models_own_logprobs(run, checkpoint):
    lines = run(num_samples=3, temperature=0.3, top_k=3, as_json=True).out.splitlines()
    records = [json.loads(line) for line in lines]
    model = load_model(checkpoint)
    for index, record in enumerate(records):
        assert set(record) == {"prompt", "text", "tokens", "logprobs", "finish_reason", "seed", "index"}
        assert (record["index"], record["prompt"], record["finish_reason"]) == (index, "Once", "length")
        assert record["text"] == TOKENIZER.decode(record["tokens"])
        ids = TOKENIZER.encode("Once") + record["tokens"]
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([ids]))[0], -1)
        expected = [float(logprobs[at - 1, ids[at]]) for at in range(4, len(ids))]
        assert record["logprobs"] == pytest.approx(expected, abs=1e-4)
    assert len({record["text"] for record in records}) == 3


def load_model(checkpoint):
    from bittygpt import load

    return load(checkpoint)[0]


def test_several_samples_are_separated_and_the_first_is_the_lone_one(run):
    texts = run(num_samples=3, temperature=1.0).out.split("\n\n---\n")
    assert len(texts) == 3
    assert all(text.startswith("Once") for text in texts)
    assert texts[0] + "\n" == run(temperature=1.0).out
    assert texts[2].endswith("\n")


def test_greedy_is_the_same_for_every_seed(run):
    assert run(temperature=0.0, seed=1).out == run(temperature=0.0, seed=2).out
    assert run(temperature=2.0, seed=1).out != run(temperature=2.0, seed=2).out


def test_stop_ends_the_text_before_it(run):
    whole = json.loads(run(max_tokens=30, as_json=True).out)
    stop = whole["text"][10:12]
    record = json.loads(run(max_tokens=30, stop=["not there", stop], as_json=True).out)
    assert record["text"] == whole["text"].split(stop)[0]
    assert record["finish_reason"] == "stop"
    assert run(max_tokens=30, stop=[stop]).out == f"Once{record['text']}\n"


class RecordingStream(io.BytesIO):
    """Keeps each piece apart that is flushed to it."""

    def __init__(self):
        super().__init__()
        self.pieces = []

    def write(self, content):
        self.pieces.append(bytes(content))
        return len(content)


def test_text_is_flushed_as_it_comes_and_in_whole_characters(run, monkeypatch):
    stream = RecordingStream()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding="utf-8"))  # buffered, as in a pipe
    run(prompt="é", max_tokens=25, temperature=3.0)
    sys.stdout.flush()
    assert stream.pieces[0].decode() == "é"
    assert len(stream.pieces) > 15
    assert all(piece.decode() for piece in stream.pieces)


def test_what_could_have_become_a_stop_string_is_printed_at_the_end(run):
    whole = run(max_tokens=30)
    assert run(max_tokens=30, stop=[whole.out[-4:-1] + "\x00"]).out == whole.out


def test_no_step_is_made_after_all_texts_have_ended(run, monkeypatch):
    steps = []
    step = Decoder.step
    monkeypatch.setattr(Decoder, "step", lambda *arguments: steps.append(1) or step(*arguments))
    record = json.loads(run(max_tokens=1000, stop=["e"], temperature=2.0, as_json=True).out)
    assert record["finish_reason"] == "stop"
    assert len(steps) == len(record["tokens"]) < 1000


def test_eos_ends_the_text_and_is_not_shown(run, checkpoint):
    steps = list(generate(load_model(checkpoint), [], SamplingOptions(300, temperature=50.0), 0))
    assert steps[-1][0].token_id == 0, "at this temperature the end should come within 300 tokens"
    flags = {"prompt": "", "max_tokens": 300, "temperature": 50.0, "seed": 0, "as_json": True}
    record = json.loads(run(**flags).out)
    assert record["finish_reason"] == "eos"
    assert record["tokens"] == [step[0].token_id for step in steps[:-1]]
    assert "<|endoftext|>" not in record["text"]
    record = json.loads(run(**flags, ignore_eos=True).out)
    assert (record["finish_reason"], len(record["tokens"])) == ("length", 300)


def test_special_tokens_in_a_prompt_are_plain_text(run):
    record = json.loads(run(prompt="<|endoftext|>", max_tokens=3, as_json=True).out)
    assert record["prompt"] == "<|endoftext|>"
    assert 0 not in TOKENIZER.encode(record["prompt"])


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"Two\nlines\n", "Two\nlines"),
        (b"Windows\r\n", "Windows"),
        (b"\xef\xbb\xbf\xc3\xa9\n\n", "é\n"),
    ],
)
def test_prompt_from_a_file_or_a_pipe_without_its_last_newline(run, tmp_path, monkeypatch, content, prompt):
    (tmp_path / "prompt.txt").write_bytes(content)
    record = json.loads(run(prompt=None, prompt_file=tmp_path / "prompt.txt", as_json=True).out)
    assert record["prompt"] == prompt
    for prompt_file in (None, Path("-")):
        pipe_in(monkeypatch, content)
        assert json.loads(run(prompt=None, prompt_file=prompt_file, as_json=True).out)["prompt"] == prompt


def test_a_prompt_on_the_command_line_leaves_the_pipe_alone(run, monkeypatch):
    pipe_in(monkeypatch, b"piped")
    assert run().out.startswith("Once")
    assert sys.stdin.read() == "piped"


def test_an_argument_that_is_no_utf8_is_printable(run):
    assert run(prompt="a\udcff").out.startswith("a\N{REPLACEMENT CHARACTER}")


def test_a_long_prompt_and_a_full_context_are_said_once_on_stderr(run):
    output = run(prompt="x" * 50, max_tokens=60)
    assert output.out.startswith("x" * 50)
    assert output.err.count("the prompt has 50 tokens and the context 32") == 1
    assert output.err.count("the context of 32 tokens is full") == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--max-tokens", 0),
        ("--temperature", -0.1),
        ("--temperature", math.nan),
        ("--temperature", math.inf),
        ("--top-k", 0),
        ("--top-p", 0.0),
        ("--top-p", 1.1),
        ("--min-p", -0.1),
        ("--min-p", 1.1),
        ("--repetition-penalty", 0.0),
        ("--num-samples", 0),
        ("--seed", -1),
        ("--seed", 2**63),
    ],
)
def test_a_flag_out_of_range_is_named_with_its_range(run, flag, value, tmp_path):
    name = flag.removeprefix("--").replace("-", "_")
    with pytest.raises(UsageError, match=f"^{flag} .* is out of range; give .*[01]"):
        run(**{name: value})
    (tmp_path / "same.yaml").write_text(f"sample: {{{name}: {value}}}")
    with pytest.raises(UsageError, match=f"{name}|64 bits"):  # the config draws the line at the same place
        run(config=tmp_path / "same.yaml")


def test_the_ends_of_the_ranges_are_within(run):
    for flags in (
        {"temperature": 0.0, "top_k": 1, "top_p": 1.0, "min_p": 1.0, "seed": 2**63 - 1},
        {"temperature": 1e-300, "top_p": 1e-300, "min_p": 0.0, "max_tokens": 1, "top_k": 10**9},
    ):
        assert run(**flags).out.startswith("Once")


def test_bad_input_is_named(run, tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    for flags, message in (
        ({"prompt_file": tmp_path / "latin1.txt"}, "--prompt and --prompt-file both"),
        ({"prompt": None, "prompt_file": tmp_path / "latin1.txt"}, r"latin1.txt is not UTF-8 \(byte 4\)"),
        ({"prompt": None, "prompt_file": tmp_path / "none.txt"}, "none.txt cannot be read: No such file"),
        ({"stop": [""]}, "--stop needs a text"),
        ({"device": "tpu"}, "--device tpu is none of auto, cpu, cuda, mps"),
        ({"top_k": 0, "top_p": 2.0}, r"--top-k 0 .*\n--top-p 2.0"),
    ):
        with pytest.raises(UsageError, match=message):
            run(**flags)
    with pytest.raises(CheckpointError, match="no-such-run"):
        sample("no-such-run", **{**NO_FLAGS, "prompt": "x"})


def program(checkpoint, *flags, **more):
    command = [sys.executable, "-m", "bittygpt", "sample", "--ckpt", str(checkpoint), *flags]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **more)


def test_as_a_program_with_a_prompt_from_a_pipe(checkpoint, run):
    flags = ("--max-tokens", "12", "--top-p", "0.9", "--device", "cpu")
    process = program(checkpoint, *flags, stdin=subprocess.PIPE)
    out, err = process.communicate("Once é\n".encode(), timeout=60)
    assert process.returncode == 0
    assert out.decode() == run(prompt="Once é", max_tokens=12, top_p=0.9).out
    assert b"tokens/s" in err


def test_a_reader_that_leaves_early_gets_no_traceback(checkpoint):
    process = program(checkpoint, "--prompt", "Once", "--max-tokens", "100000", "--ignore-eos")
    assert process.stdout.read(6).startswith(b"Once")
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert b"Traceback" not in err
    assert b"Error" not in err
