"""`train.sample_every`: texts as training goes on, which leave no trace in the training."""

import json
import shutil
import sys

import pytest

EVERY = ["train.sample_every=5", "sample.num_samples=2", "sample.temperature=1.0"]


def weights(line, name):
    last = line.folder / f"runs/{name}/checkpoints/step-00000012"
    return [(last / f"{kind}.safetensors").read_bytes() for kind in ("model", "optimizer")]


def steps(line, name):
    return [
        (e["step"], e["loss"], e["grad_norm"], e["batch_hash"])
        for e in line.events(name)
        if e["event"] == "step"
    ]


def samples(line, name):
    return [(e["step"], e["prompt"], e["text"]) for e in line.events(name) if e["event"] == "sample"]


@pytest.fixture(scope="module")
def sampled(command_line, tmp_path_factory, trained):
    """A folder with runs/tiny, trained without, and runs/texts, trained with samples."""
    line = command_line(tmp_path_factory.mktemp("sampled"))
    for name in ("runs", "data"):
        shutil.copytree(trained.folder / name, line.folder / name)
    line.said = line("train", "tiny.yaml", "run.name=texts", "data.dir=data/tiny", *EVERY).stderr
    return line


def test_weights_are_the_same_with_and_without_samples(sampled):
    assert weights(sampled, "texts") == weights(sampled, "tiny")
    assert steps(sampled, "texts") == steps(sampled, "tiny")


def test_samples_are_events_and_said_and_in_the_page(sampled):
    events = [e for e in sampled.events("texts") if e["event"] == "sample"]
    assert [list(e) for e in events] == [["event", "step", "prompt", "text", "elapsed"]] * 6
    assert [e["step"] for e in events] == [5, 5, 10, 10, 12, 12]
    assert {e["prompt"] for e in events} == {"the"}
    assert events[0]["text"] != events[1]["text"]
    assert sampled.said.count("  writes: the") == 6
    assert "\x1b" not in sampled.said
    html = (sampled.folder / "runs/texts/report.html").read_text()
    assert html.count("<b>the</b>") == 6


def test_the_last_sample_is_what_sample_writes(sampled):
    done = sampled("sample", "--ckpt", "runs/texts", "--json")
    told = [json.loads(line)["text"] for line in done.stdout.splitlines()]
    assert told == [text for step, _, text in samples(sampled, "texts") if step == 12]


def test_a_resumed_run_writes_the_samples_of_the_run_that_nothing_stopped(sampled):
    runs = sampled.folder / "runs"
    shutil.copytree(runs / "texts", runs / "again")
    shutil.rmtree(runs / "again/checkpoints/step-00000012")
    said = sampled("train", "tiny.yaml", "run.name=again", "data.dir=data/tiny", *EVERY).stderr
    assert "going on after step 8" in said
    assert samples(sampled, "again") == samples(sampled, "texts")
    assert weights(sampled, "again") == weights(sampled, "texts")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_with_several_ranks_rank_0_writes_unless_the_model_is_shared_out(sampled, parallel):
    name = f"two-{parallel}"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "bittygpt",
    ]
    more = [f"run.name={name}", "data.dir=data/tiny", f"train.parallel={parallel}", "sample.num_samples=1"]
    done = sampled.run(*command, "train", "tiny.yaml", *EVERY, *more)
    assert done.returncode == 0, done.stderr
    assert [step for step, *_ in samples(sampled, name)] == ([5, 10, 12] if parallel == "ddp" else [])
    refusals = done.stderr.count("no texts are written: each rank holds only a part of the model")
    assert refusals == (0 if parallel == "ddp" else 1)
    assert [loss for _, loss, *_ in steps(sampled, name)] == pytest.approx(
        [loss for _, loss, *_ in steps(sampled, "tiny")], abs=1e-5
    )


def test_a_sample_that_fails_is_said_once_and_ends_no_run(sampled):
    code = """
import sys
import bittygpt.commands.train_samples as samples
def fail(*_):
    raise RuntimeError("no room")
samples.generate = fail
from bittygpt.__main__ import main
sys.argv = ["bittygpt", "train", "tiny.yaml", "run.name=failed", "data.dir=data/tiny", "train.sample_every=3"]
main()
"""
    done = sampled.run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train.sample_every: no texts are written: RuntimeError: no room") == 1
    assert weights(sampled, "failed") == weights(sampled, "tiny")
